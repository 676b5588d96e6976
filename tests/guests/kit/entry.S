// SPDX-License-Identifier: MIT
//
// A test guest's first instructions: from multiboot's 32-bit flat mode to 64-bit long mode with the first 4
// GiB mapped one to one in 2 MiB pages, and on to guest_main.  Also the 256 interrupt stubs, which all end in
// one C++ function.
// Specification: [MB1-0.6.96 §3.1, §3.2] for the header and the state at entry, [APM2-3.41 §14.8] for the way
// to long mode, [APM2-3.41 §8.9.3] for what an interrupt pushes.

.set MULTIBOOT_MAGIC, 0x1badb002
.set MULTIBOOT_FLAGS, 3                 // modules on pages, memory information
.set CR0_PE, 1
.set CR0_PG, 1 << 31
.set CR4_PAE, 1 << 5
.set MSR_EFER, 0xc0000080
.set EFER_LME, 1 << 8
.set PRESENT_WRITABLE, 3
.set LARGE, 1 << 7
.set STACK_BYTES, 64 * 1024

.section .multiboot, "a"
.balign 4
    .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

.section .entry, "ax"
.code32
.global guest_entry
guest_entry:
    cli
    cld
    mov $stack_end, %esp
    mov %eax, guest_boot_magic
    mov %ebx, guest_boot_information

    mov $level3 + PRESENT_WRITABLE, %eax
    mov %eax, level4
    mov $level2 + PRESENT_WRITABLE, %eax
    xor %ecx, %ecx
1:  mov %eax, level3(, %ecx, 8)
    add $4096, %eax
    inc %ecx
    cmp $4, %ecx
    jb 1b
    mov $PRESENT_WRITABLE | LARGE, %eax
    xor %ecx, %ecx
2:  mov %eax, level2(, %ecx, 8)
    add $0x200000, %eax
    inc %ecx
    cmp $2048, %ecx
    jb 2b

    mov %cr4, %eax
    or $CR4_PAE, %eax
    mov %eax, %cr4
    mov $level4, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    mov %cr0, %eax
    or $CR0_PG | CR0_PE, %eax
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $0x08, $long_mode

.code64
long_mode:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $stack_end, %rsp
    xor %ebp, %ebp
    call guest_start
3:  cli
    hlt
    jmp 3b

// The stubs: those vectors that push no error code push a zero, so that every frame has one shape [APM2-3.41
// §8.2].
.macro stub vector
    .balign 16
    .if \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30
    .else
    push $0
    .endif
    push $\vector
    jmp common
.endm

.section .text
.balign 16
.global guest_interrupt_stubs
guest_interrupt_stubs:
.set vector, 0
.rept 256
    stub vector
    .set vector, vector + 1
.endr

common:
    .irp register, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    push %\register
    .endr
    mov %rsp, %rdi
    mov %rsp, %rbp
    and $-16, %rsp
    cld
    call guest_interrupt
    mov %rbp, %rsp
    .irp register, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
    pop %\register
    .endr
    add $16, %rsp
    iretq

.section .rodata
.balign 8
.global guest_gdt
guest_gdt:
gdt:
    .quad 0
    .quad 0x00af9b000000ffff            // 64-bit code
    .quad 0x00cf93000000ffff            // data
    .quad 0x00cf9b000000ffff            // 32-bit code, for the 32-bit hypercall conventions
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt

.section .bss
.balign 4096
.global guest_page_tables_begin, guest_page_tables_end
guest_page_tables_begin:
level4: .skip 4096
level3: .skip 4096
level2: .skip 4 * 4096
guest_page_tables_end:
.balign 16
stack: .skip STACK_BYTES
stack_end:
.global guest_boot_magic
guest_boot_magic: .skip 4
.global guest_boot_information
guest_boot_information: .skip 4

.section .note.GNU-stack, "", @progbits
