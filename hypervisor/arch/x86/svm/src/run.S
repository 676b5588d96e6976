/* SPDX-License-Identifier: MIT
 *
 * One round trip through guest mode (processor.hpp: hv_svm_run).  GIF is clear from CLGI to STGI, so that nothing is taken
 * while FS, GS, TR, LDTR and the SYSCALL registers are the guest's; the interrupt flag is set meanwhile, so that a physical
 * interrupt ends guest mode.  #VMEXIT brings back the host's RFLAGS, RSP and RAX, direction flag included.
 * [APM2-3.41 §15.5, §15.6, §15.17].
 */
    .text
    .globl hv_svm_run
    .type hv_svm_run, @function
hv_svm_run:                             /* rdi: registers, rsi: VMCB, rdx: the host's VMCB */
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdi
    pushq %rdx
    movq %rsi, %rax
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
    movq 8(%rsp), %rax
    movq %rcx, 8(%rax)
    movq %rdx, 16(%rax)
    movq %rbx, 24(%rax)
    movq %rbp, 40(%rax)
    movq %rsi, 48(%rax)
    movq %rdi, 56(%rax)
    movq %r8, 64(%rax)
    movq %r9, 72(%rax)
    movq %r10, 80(%rax)
    movq %r11, 88(%rax)
    movq %r12, 96(%rax)
    movq %r13, 104(%rax)
    movq %r14, 112(%rax)
    movq %r15, 120(%rax)
    popq %rax
    vmload %rax
    cli
    stgi
    popq %rdi
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size hv_svm_run, . - hv_svm_run

    .section .note.GNU-stack, "", @progbits
