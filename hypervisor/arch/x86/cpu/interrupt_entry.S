// SPDX-License-Identifier: MIT
//
// One stub for each of the 256 vectors, and the two common paths behind them.  All general registers are
// saved in the order of struct InterruptFrame (interrupts.hpp), direction flag and AC are cleared, and GS is
// made the hypervisor's: by the privilege that was interrupted, or, for NMI, #DB, #DF and #MC, which can
// come between two instructions of an entry path, by looking at the base itself.  [APM2-3.41 §8.9.3].

#define GS_BASE 0xc0000101

        .macro save_registers
        cld
        pushq   %rax
        pushq   %rbx
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %rbp
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        .endm

        .macro restore_registers
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rbp
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rbx
        popq    %rax
        addq    $16, %rsp                           // vector and error code
        .endm

        // CLAC is #UD where the processor has no SMAP.
        .macro clear_ac
        cmpb    $0, has_smap(%rip)
        je      9f
        clac
9:
        .endm

        .section .text
        .balign 16
        .globl interrupt_common
interrupt_common:
        save_registers
        clear_ac
        testb   $3, 18 * 8(%rsp)                    // CS of the interrupted code
        jz      1f
        swapgs
1:      movq    %rsp, %rdi
        pushq   17 * 8(%rsp)                        // a frame for backtraces: return address …
        pushq   8 * 8 + 8(%rsp)                     // … and the interrupted frame pointer
        movq    %rsp, %rbp
        call    interrupt_dispatch
        addq    $16, %rsp
        testb   $3, 18 * 8(%rsp)
        jz      2f
        swapgs
2:      restore_registers
        iretq

        .balign 16
interrupt_paranoid:
        save_registers
        clear_ac
        xorl    %ebx, %ebx                          // EBX: was GS somebody else's?
        movl    $GS_BASE, %ecx
        rdmsr
        testl   %edx, %edx
        js      1f                                  // the upper half is ours
        swapgs
        incl    %ebx
1:      movq    %rsp, %rdi
        pushq   17 * 8(%rsp)
        pushq   8 * 8 + 8(%rsp)
        movq    %rsp, %rbp
        call    interrupt_dispatch
        addq    $16, %rsp
        testl   %ebx, %ebx
        jz      2f
        swapgs
2:      restore_registers
        iretq

        // The stubs, 16 bytes each: vectors without an error code push a zero in its place.
        .balign 16
        .globl interrupt_stubs
interrupt_stubs:
        .set vector, 0
        .rept 256
        .balign 16
        .if vector < 32 && ((0x60227d00 >> vector) & 1)     // 8, 10-14, 17, 21, 29, 30
        .else
        pushq   $0
        .endif
        pushq   $vector
        .if (vector == 1) || (vector == 2) || (vector == 8) || (vector == 18)
        jmp     interrupt_paranoid
        .else
        jmp     interrupt_common
        .endif
        .set vector, vector + 1
        .endr

        .section .note.GNU-stack, "", @progbits
