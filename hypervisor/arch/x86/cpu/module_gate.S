/* SPDX-License-Identifier: MIT
 *
 * The gate between the hypervisor and an isolated module (module_gate.hpp): into ring 3 by IRETQ, back by INT 4 and by nothing
 * else.  Vector 4 is raised by no instruction of 64-bit mode but INT 4 itself (INTO is #UD there), and no local APIC delivers a
 * vector below 16, so whoever comes in from ring 3 here has asked for it [APM2-3.41 §8.2.5, §16.6.3].
 *
 * The page of stubs is all of the hypervisor's text that a module sees, at isolated_area_base: it is mapped for ring 3 there,
 * and read-only at its own address.  Stub N leads to the service at position N - 1 of the table, stub 0 is where hooks return.
 */
#include "hv/arch/x86/cpu/module_gate_offsets.h"

    .macro stub number
    .balign 16
    .if \number == 0
    movq %rax, %rdi                     /* the verdict */
    xorl %eax, %eax
    .else
    movl $\number, %eax
    movq 8(%rsp), %r10                  /* the seventh argument, if there is one */
    .endif
    int $4
    ret
    .endm

/* Those that the ABI of x86-64 wants kept by a function that is called. */
    .macro save_registers
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm
    .macro restore_registers
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    .endm

    .section .rodata.module_stubs, "a", @progbits
    .balign 4096
    .globl hv_module_stubs
hv_module_stubs:
    .set number, 0
    .rept 256
    stub number
    .set number, number + 1
    .endr
    .balign 4096

    .text
    .balign 16
/* ModuleExit hv_enter_module(five arguments of the hook, its address, its stack).  The frame of an interrupt or of INT 4 comes to
 * lie below the saved registers, on this very stack. */
    .globl hv_enter_module
    .type hv_enter_module, @function
hv_enter_module:
    save_registers
    movq 56(%rsp), %r10
    movq %rsp, %gs:PER_CPU_RSP0
    pushq $USER_DATA
    pushq %r10
    pushq $0x202                        /* IF, and IOPL 0 */
    pushq $USER_CODE
    pushq %r9
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %ebp, %ebp
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
    swapgs
    iretq

/* INT 4: a service (EAX), or the end of the hook (0).  Interrupts are disabled: it is an interrupt gate. */
    .balign 16
    .globl hv_module_gate
hv_module_gate:
    testb $3, 8(%rsp)
    jz 8f
    swapgs
    cld
    cmpb $0, has_smap(%rip)
    je 1f
    clac
1:  testl %eax, %eax
    jz hook_returned
    movl %eax, %eax                     /* the upper half is the module's */
    cmpl hv_isolated_service_count(%rip), %eax
    ja 3f
    pushq %r10
    leaq isolated_services(%rip), %r11
    call *(SERVICE_TABLE_HEADER - 8)(%r11,%rax,8)
    addq $8, %rsp
    movl %eax, %eax
2:  xorl %ecx, %ecx                     /* nothing of ours goes out in a register */
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %edi, %edi
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    swapgs
    iretq
3:  movl $STATUS_NOT_SUPPORTED, %eax
    jmp 2b
8:  pushq $0                            /* from ring 0: as unexpected as any exception */
    pushq $4
    jmp interrupt_common

hook_returned:
    movq %rdi, %rax
    xorl %edx, %edx
leave_module:
    movq %gs:PER_CPU_RSP0, %rsp
    movl $KERNEL_DATA, %ecx             /* IRETQ and the module changed them; nobody uses them, but leaks nothing */
    movl %ecx, %ds
    movl %ecx, %es
    restore_registers
    ret
    .size hv_enter_module, . - hv_enter_module

/* Where IRETQ goes when a hook is thrown out.  The paranoid entry path has exchanged GS back, as if ring 3 went on. */
    .globl hv_module_thrown_out_paranoid
hv_module_thrown_out_paranoid:
    swapgs
    .globl hv_module_thrown_out
hv_module_thrown_out:
    xorl %eax, %eax
    movl $1, %edx
    jmp leave_module

/* TrustedOutcome hv_run_trusted_hook(five arguments of the hook, its address): a call, but for the place to come back to.  A hook
 * that returns has kept the registers that it must keep; for one that is thrown out they are here. */
    .balign 16
    .globl hv_run_trusted_hook
    .type hv_run_trusted_hook, @function
hv_run_trusted_hook:
    save_registers
    subq $8, %rsp
    incq %gs:PER_CPU_TRUSTED_HOOKS
    movq %rsp, %gs:PER_CPU_TRUSTED_STACK
    call *%r9
    xorl %edx, %edx
    movq $0, %gs:PER_CPU_TRUSTED_STACK
    addq $56, %rsp
    ret
/* Where IRETQ goes when it is thrown out, with the stack as it was at the call. */
    .globl hv_trusted_thrown_out
hv_trusted_thrown_out:
    movl $1, %edx
    movq $0, %gs:PER_CPU_TRUSTED_STACK
    addq $8, %rsp
    restore_registers
    ret
    .size hv_run_trusted_hook, . - hv_run_trusted_hook

    .section .note.GNU-stack, "", @progbits
