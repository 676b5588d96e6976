// SPDX-License-Identifier: MIT
//
// The first instructions: headers for both boot protocols, and the way from 32-bit protected mode without
// paging to 64-bit code in the upper half, on page tables that map the first 4 GiB three times (1:1, direct
// map, image).  The final tables are made in C++ (mm/address_space.cpp).  [MB2-2.0 §3.1, §3.3], the x86/HVM
// direct boot ABI, [APM2-3.41 §14.6].

#define IMAGE_BASE 0xffffffff80000000
#define PHYSICAL(symbol) ((symbol) - IMAGE_BASE)

#define BOOT_STACK_BYTES 131072                   // memory maps are worked on as values
#define PROTOCOL_PVH 0
#define PROTOCOL_MULTIBOOT2 1
#define MULTIBOOT2_LOADER_MAGIC 0x36d76289

        // ---- multiboot2 header: in the first 32 KiB of the file, 8-aligned ------------------------------------------
        .section .multiboot2, "a"
        .balign 8
multiboot2_header:
        .long 0xe85250d6
        .long 0                                     // i386, protected mode
        .long multiboot2_header_end - multiboot2_header
        .long -(0xe85250d6 + 0 + (multiboot2_header_end - multiboot2_header))
        // information request, needed: memory map
        .balign 8
        .short 1, 0
        .long 12, 6
        // information request, optional: command line, modules, ACPI root pointers
        .balign 8
        .short 1, 1
        .long 24, 1, 3, 14, 15
        // entry address
        .balign 8
        .short 3, 0
        .long 12, PHYSICAL(multiboot2_start)
        // modules on page boundaries
        .balign 8
        .short 6, 0
        .long 8
        // end
        .balign 8
        .short 0, 0
        .long 8
multiboot2_header_end:

        // ---- PVH entry: ELF note 18 of the name "Xen" (the note's own name, given by the boot ABI) ------------------
        .section .note.pvh, "a", @note
        .balign 4
        .long 4, 8, 18
        .asciz "Xen"                                // name of the PVH note
        .quad PHYSICAL(pvh_start)

        .section .text.boot, "ax"
        .code32

        .globl pvh_start
pvh_start:
        cld
        movl    $PROTOCOL_PVH, %edi
        jmp     common_start

        .globl multiboot2_start
multiboot2_start:
        cld
        cmpl    $MULTIBOOT2_LOADER_MAGIC, %eax
        jne     unknown_loader
        movl    $PROTOCOL_MULTIBOOT2, %edi

        // EDI: protocol, EBX: what the loader left there.
common_start:
        cli
        movl    $PHYSICAL(boot_stack_top), %esp
        movl    %ebx, %esi

        movl    $0x80000000, %eax                   // is there a long mode?
        cpuid
        cmpl    $0x80000001, %eax
        jb      no_long_mode
        movl    $0x80000001, %eax
        cpuid
        btl     $29, %edx
        jnc     no_long_mode

        // Four page directories of 2 MiB pages: 4 GiB.  The tables are in .bss, so they are zero.
        movl    $PHYSICAL(boot_directories), %ecx
        movl    $0x83, %eax                         // present, writable, large
        xorl    %edx, %edx
1:      movl    %eax, (%ecx, %edx, 8)
        addl    $0x200000, %eax
        incl    %edx
        cmpl    $2048, %edx
        jne     1b
        // The low pointer table leads to all four, the image's to the first for its 1 GiB.
        movl    $PHYSICAL(boot_directories) + 3, %eax
        movl    $PHYSICAL(boot_pointers_low), %ecx
        movl    %eax, PHYSICAL(boot_pointers_image) + 510 * 8
        xorl    %edx, %edx
2:      movl    %eax, (%ecx, %edx, 8)
        addl    $4096, %eax
        incl    %edx
        cmpl    $4, %edx
        jne     2b
        movl    $PHYSICAL(boot_pointers_low) + 3, PHYSICAL(boot_top_table)
        movl    $PHYSICAL(boot_pointers_low) + 3, PHYSICAL(boot_top_table) + 256 * 8
        movl    $PHYSICAL(boot_pointers_image) + 3, PHYSICAL(boot_top_table) + 511 * 8

        movl    %cr4, %eax
        orl     $0x20, %eax                         // PAE
        movl    %eax, %cr4
        movl    $PHYSICAL(boot_top_table), %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx                   // EFER
        rdmsr
        orl     $0x100, %eax                        // LME
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000001, %eax                   // PG, PE
        movl    %eax, %cr0
        lgdt    PHYSICAL(boot_gdt_pointer)
        ljmpl   $0x08, $PHYSICAL(long_mode_low)

unknown_loader:
        movl    $PHYSICAL(unknown_loader_text), %esi
        jmp     say_and_stop
no_long_mode:
        movl    $PHYSICAL(no_long_mode_text), %esi
        // No command line has been read yet: the first serial port it is.
say_and_stop:
        lodsb
        testb   %al, %al
        jz      4f
        movb    %al, %bl
        movl    $100000, %ecx
        movw    $0x3fd, %dx
3:      inb     %dx, %al
        testb   $0x20, %al
        loopz   3b
        movb    %bl, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        jmp     say_and_stop
4:      cli
        hlt
        jmp     4b

        .code64
long_mode_low:
        movabsq $long_mode_high, %rax
        jmp     *%rax
long_mode_high:
        lgdt    boot_gdt_pointer_high(%rip)
        movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movq    $boot_stack_top, %rsp
        xorl    %ebp, %ebp                          // the end of every backtrace
        movl    %edi, %edi                          // first argument: protocol
        movl    %esi, %esi                          // second: physical address of the loader's information
        call    boot_main
5:      cli
        hlt
        jmp     5b

        // switch_stack(top, function, argument): goes on in function(argument) on another stack and never returns.
        .globl switch_stack
        .type switch_stack, @function
switch_stack:
        movq    %rdi, %rsp
        movq    %rdx, %rdi
        xorl    %ebp, %ebp
        pushq   $0                                  // as if called, from nowhere
        jmp     *%rsi

        .section .rodata
        .balign 8
boot_gdt:
        .quad 0
        .quad 0x00af9b000000ffff                    // 64-bit code
        .quad 0x00cf93000000ffff                    // data
boot_gdt_end:
boot_gdt_pointer:
        .short boot_gdt_end - boot_gdt - 1
        .long PHYSICAL(boot_gdt)
boot_gdt_pointer_high:
        .short boot_gdt_end - boot_gdt - 1
        .quad boot_gdt
unknown_loader_text:
        .asciz "Graft was started by a loader that speaks neither multiboot2 nor PVH.\r\n"
no_long_mode_text:
        .asciz "Graft needs a 64-bit processor, and this one is not.\r\n"

        .section .bss
        .balign 4096
        .globl boot_top_table
boot_top_table:         .skip 4096
boot_pointers_low:      .skip 4096
boot_pointers_image:    .skip 4096
boot_directories:       .skip 4 * 4096
        .globl boot_stack
boot_stack:             .skip BOOT_STACK_BYTES
        .globl boot_stack_top
boot_stack_top:

        .section .note.GNU-stack, "", @progbits
