// SPDX-License-Identifier: MIT
//
// Where an application processor begins: real mode, at a page below 1 MiB, into which this code is copied.
// It goes by way of protected mode to 64-bit code in the upper half, on the hypervisor's own page tables.
// The page is mapped readable and executable only, so the descriptors have their accessed bits set already.
// platform/processors.cpp fills in the parameters.  [APM2-3.41 §14.6, §16.5 (startup IPI)].

        .section .rodata
        .balign 16
        .globl trampoline_begin
        .globl trampoline_end
        .globl trampoline_parameters
        .code16
trampoline_begin:
        cli
        cld
        movw    %cs, %ax
        movw    %ax, %ds
        xorl    %ebx, %ebx
        movw    %cs, %bx
        shll    $4, %ebx                            // EBX: linear address of this page
        lgdtl   parameter_gdt_pointer - trampoline_begin
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   *(parameter_far32 - trampoline_begin)

        .code32
        .globl trampoline_code32
trampoline_code32:
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %cr4, %eax
        orl     $0x20, %eax                         // PAE
        movl    %eax, %cr4
        movl    (parameter_cr3 - trampoline_begin)(%ebx), %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx                   // EFER
        rdmsr
        orl     $0x900, %eax                        // LME, NXE
        wrmsr
        movl    %cr0, %eax
        andl    $0x9fffffff, %eax                   // caches on: not CD, not NW
        orl     $0x80010001, %eax                   // PG, WP, PE
        movl    %eax, %cr0
        ljmpl   *(parameter_far64 - trampoline_begin)(%ebx)

        .code64
        .globl trampoline_code64
trampoline_code64:
        movl    %ebx, %ebx
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movq    (parameter_stack - trampoline_begin)(%rbx), %rsp
        movq    (parameter_number - trampoline_begin)(%rbx), %rdi
        movq    (parameter_entry - trampoline_begin)(%rbx), %rax
        xorl    %ebp, %ebp
        pushq   $0
        jmp     *%rax

        .balign 8
trampoline_gdt:
        .quad 0
        .quad 0x00af9b000000ffff                    // 0x08: 64-bit code
        .quad 0x00cf93000000ffff                    // 0x10: data
        .quad 0x00cf9b000000ffff                    // 0x18: 32-bit code

        // struct TrampolineParameters in platform/processors.cpp
        .balign 8
trampoline_parameters:
parameter_gdt_pointer:
        .short 4 * 8 - 1
        .long 0
        .short 0
parameter_far32:
        .long 0
        .short 0x18, 0
parameter_far64:
        .long 0
        .short 0x08, 0
parameter_cr3:          .quad 0
parameter_stack:        .quad 0
parameter_entry:        .quad 0
parameter_number:       .quad 0
        .globl trampoline_gdt
trampoline_end:

        .section .note.GNU-stack, "", @progbits
