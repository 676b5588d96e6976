/* SPDX-License-Identifier: MIT
 *
 * One round trip through guest mode (processor.hpp: run_guest, which says what it keeps).  GIF is clear from CLGI to STGI, so
 * that nothing is taken while FS, GS, TR, LDTR and the SYSCALL registers are the guest's; the interrupt flag is set meanwhile,
 * so that a physical interrupt ends guest mode.  #VMEXIT brings back the host's RFLAGS, RSP and RAX, direction flag included.
 * [APM2-3.41 §15.5, §15.6, §15.17].
 */
    .text
    .globl hv_svm_run
    .type hv_svm_run, @function
hv_svm_run:                             /* rdi: registers, rax: VMCB, rdx: the host's VMCB */
    pushq %rbp
    pushq %rdx
    pushq %rdi
    clgi
    sti
    vmload %rax
    movq 8(%rdi), %rcx
    movq 16(%rdi), %rdx
    movq 24(%rdi), %rbx
    movq 40(%rdi), %rbp
    movq 48(%rdi), %rsi
    movq 64(%rdi), %r8
    movq 72(%rdi), %r9
    movq 80(%rdi), %r10
    movq 88(%rdi), %r11
    movq 96(%rdi), %r12
    movq 104(%rdi), %r13
    movq 112(%rdi), %r14
    movq 120(%rdi), %r15
    movq 56(%rdi), %rdi
    vmrun %rax
    vmsave %rax
    movq (%rsp), %rax
    movq %rdi, 56(%rax)
    popq %rdi
    movq %rcx, 8(%rdi)
    movq %rdx, 16(%rdi)
    movq %rbx, 24(%rdi)
    movq %rbp, 40(%rdi)
    movq %rsi, 48(%rdi)
    movq %r8, 64(%rdi)
    movq %r9, 72(%rdi)
    movq %r10, 80(%rdi)
    movq %r11, 88(%rdi)
    movq %r12, 96(%rdi)
    movq %r13, 104(%rdi)
    movq %r14, 112(%rdi)
    movq %r15, 120(%rdi)
    popq %rax
    vmload %rax
    cli
    stgi
    popq %rbp
    ret
    .size hv_svm_run, . - hv_svm_run

    .section .note.GNU-stack, "", @progbits
