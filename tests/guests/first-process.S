/* SPDX-License-Identifier: MIT
 *
 * The first user process of a Linux that does nothing else: says `FIRST N`, the time-stamp counter when it began, in sixteen
 * hexadecimal digits, and turns the machine off.  System calls: Linux's x86-64 numbers and its console by descriptor 1.
 */
    .set sys_write, 1
    .set sys_sync, 162
    .set sys_reboot, 169
    .text
    .globl _start
_start:
    rdtsc
    shlq $32, %rdx
    orq %rax, %rdx
    leaq digits(%rip), %rdi
    movl $16, %ecx
1:  rolq $4, %rdx
    movl %edx, %eax
    andl $15, %eax
    leaq alphabet(%rip), %rsi
    movb (%rsi, %rax), %al
    movb %al, (%rdi)
    incq %rdi
    decl %ecx
    jnz 1b
    movl $sys_write, %eax
    movl $1, %edi
    leaq line(%rip), %rsi
    movl $line_end - line, %edx
    syscall
    movl $sys_sync, %eax
    syscall
    movl $sys_reboot, %eax
    movl $0xfee1dead, %edi
    movl $672274793, %esi
    movl $0x4321fedc, %edx              /* LINUX_REBOOT_CMD_POWER_OFF */
    syscall
2:  jmp 2b

    .section .rodata
alphabet: .ascii "0123456789abcdef"
    .data
line: .ascii "\nFIRST "
digits: .ascii "................\n"
line_end:
    .section .note.GNU-stack, "", @progbits
