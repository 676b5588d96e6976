// SPDX-License-Identifier: MIT
//
// The first instructions of a further processor: from the real mode that a startup message leaves it in to 64-bit code with the
// first one's page tables, on a stack of its own, and on to guest_processor_entered(its number).  The first part is copied to
// where the message says.  [APM2-3.41 §14.8] for the way to long mode.

.set STARTUP_ADDRESS, 0x8000
.set CR0_WORKING, 0x80000011            // PG, ET, PE; caches on
.set CR4_PAE, 1 << 5
.set MSR_EFER, 0xc0000080
.set EFER_LME, 1 << 8
.set STACK_SHIFT, 13
.set MAXIMUM, 64

.section .text
.global guest_startup_begin, guest_startup_end
.code16
guest_startup_begin:
    cli
    cld
    xor %ax, %ax
    mov %ax, %ds
    lgdtl STARTUP_ADDRESS + startup_gdt_pointer - guest_startup_begin
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $0x18, $(STARTUP_ADDRESS + startup_protected - guest_startup_begin)
.code32
startup_protected:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %cr4, %eax
    or $CR4_PAE, %eax
    mov %eax, %cr4
    mov $guest_page_tables_begin, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    mov $CR0_WORKING, %eax
    mov %eax, %cr0
    ljmp $0x08, $startup_long_mode
.balign 8
startup_gdt_pointer:
    .word 31
    .long guest_gdt
guest_startup_end:

.code64
startup_long_mode:
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $1, %edi
    lock xadd %edi, startup_number
    cmp $MAXIMUM, %edi
    jae 1f
    lea 1(%rdi), %rsp
    shl $STACK_SHIFT, %rsp
    add $startup_stacks, %rsp
    xor %ebp, %ebp
    call guest_processor_entered
1:  cli
    hlt
    jmp 1b

.section .data
.balign 4
startup_number: .long 0

.section .bss
.balign 4096
startup_stacks: .skip MAXIMUM << STACK_SHIFT

.section .note.GNU-stack, "", @progbits
