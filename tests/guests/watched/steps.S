// SPDX-License-Identifier: MIT
//
// Pieces of code that the module of this folder follows step by step, and the boundaries between instructions that it must have been
// shown for each: pairs of an address and how the guest came there (0 an instruction, 1 the delivery of an event).  Following is
// switched on and off by the module's MSR; the instructions that switch it off are followed, too.  Each piece may change RAX, RCX,
// RDX, RSI, RDI and R8 to R11.
.set SWITCH_ON, 0x10d                   // condition 13, bit 8: on
.set SWITCH_OFF, 0x00d
.set TRAP_FLAG, 0x100
.set EOI, 0xfee000b0

// `piece NAME` … `end_piece`, `boundaries NAME` … `end_boundaries NAME`.
.macro piece name
    .section .text
    .global step_\name
step_\name:
    push %rbx
    mov steps_msr, %ecx
    mov $SWITCH_ON, %eax
    xor %edx, %edx
    wrmsr
.endm
.macro end_piece
    jmp switch_off
.endm
.macro boundaries name
    .section .rodata
    .balign 8
    .global step_\name\()_list, step_\name\()_end
step_\name\()_list:
.endm
.macro boundary at, delivery=0
    .quad \at, \delivery
.endm
.macro end_boundaries name
    boundary switch_off
    boundary switch_off_1
    boundary switch_off_2
    boundary switch_off_3
step_\name\()_end:
.endm

.section .text
switch_off:
    mov steps_msr, %ecx
switch_off_1:
    mov $SWITCH_OFF, %eax
switch_off_2:
    xor %edx, %edx
switch_off_3:
    wrmsr
    pop %rbx
    ret

// ---- instructions without anything about them, and some that the hypervisor carries out

piece plain
    nop
plain_1:
    jmp plain_2
    ud2
plain_2:
    mov $3, %ecx
plain_3:
    loop plain_3
plain_4:
    xor %eax, %eax
plain_5:
    cpuid
plain_6:
    mov steps_msr, %ecx
plain_7:
    in $0x80, %al
plain_8:
    rdtsc
plain_9:
    end_piece
boundaries plain
    boundary plain_1
    boundary plain_2
    boundary plain_3
    boundary plain_3
    boundary plain_3
    boundary plain_4
    boundary plain_5
    boundary plain_6
    boundary plain_7
    boundary plain_8
    boundary plain_9
end_boundaries plain

// ---- repeated ones: each turn

piece repeated
    mov $steps_bytes, %edi
repeated_1:
    mov $3, %ecx
repeated_2:
    rep stosb
repeated_3:
    mov $steps_bytes, %esi
repeated_4:
    mov $2, %ecx
repeated_5:
    mov $0x80, %edx
repeated_6:
    rep outsb
repeated_7:
    end_piece
boundaries repeated
    boundary repeated_1
    boundary repeated_2
    boundary repeated_2
    boundary repeated_2
    boundary repeated_3
    boundary repeated_4
    boundary repeated_5
    boundary repeated_6
    boundary repeated_6
    boundary repeated_7
end_boundaries repeated

// ---- the flags, read and written; behind MOV SS, which is one with the next

piece flags
    pushfq
flags_1:
    pop %rax
flags_2:
    mov %rax, steps_flags
flags_3:
    mov %ss, %ecx
flags_4:
    mov %ecx, %ss
    pushfq
flags_5:
    pop %rax
flags_6:
    mov %rax, steps_flags + 8
flags_7:
    push $0x202
flags_8:
    popfq
flags_9:
    cli
flags_10:
    end_piece
boundaries flags
    boundary flags_1
    boundary flags_2
    boundary flags_3
    boundary flags_4
    boundary flags_5
    boundary flags_6
    boundary flags_7
    boundary flags_8
    boundary flags_9
    boundary flags_10
end_boundaries flags

// ---- software interrupts; the handler keeps what was pushed

.section .text
.global step_keep_flags
step_keep_flags:
    mov 16(%rsp), %rax
keep_flags_1:
    mov %rax, steps_flags
keep_flags_2:
    iretq
piece software
    int $0x90
software_1:
    int3
software_2:
    end_piece
boundaries software
    boundary step_keep_flags, 1
    boundary keep_flags_1
    boundary keep_flags_2
    boundary software_1
    boundary step_keep_flags, 1
    boundary keep_flags_1
    boundary keep_flags_2
    boundary software_2
end_boundaries software

// ---- faults

.section .text
.global step_behind_undefined
step_behind_undefined:
    addq $2, (%rsp)
behind_undefined_1:
    iretq
.global step_behind_page_fault
step_behind_page_fault:
    add $8, %rsp
behind_page_fault_1:
    addq $3, (%rsp)
behind_page_fault_2:
    iretq
piece faults
    ud2
faults_1:
    mov $0x2000000008, %rsi
faults_2:
    movb (%rsi), %ch
    nop
faults_3:
    end_piece
boundaries faults
    boundary step_behind_undefined, 1
    boundary behind_undefined_1
    boundary faults_1
    boundary faults_2
    boundary step_behind_page_fault, 1
    boundary behind_page_fault_1
    boundary behind_page_fault_2
    boundary faults_3
end_boundaries faults

// ---- the guest's own trap flag: set by POPF, taken back by its handler, which reads DR6

.section .text
.global step_own_trap
step_own_trap:
    mov %dr6, %rax
own_trap_1:
    mov %rax, steps_status
own_trap_2:
    mov 16(%rsp), %rax
own_trap_3:
    mov %rax, steps_flags
own_trap_4:
    andq $~TRAP_FLAG, 16(%rsp)
own_trap_5:
    iretq
piece traced
    pushfq
traced_1:
    orq $TRAP_FLAG, (%rsp)
traced_2:
    popfq
traced_3:
    nop
traced_4:
    nop
traced_5:
    end_piece
boundaries traced
    boundary traced_1
    boundary traced_2
    boundary traced_3
    boundary traced_4
    boundary step_own_trap, 1
    boundary own_trap_1
    boundary own_trap_2
    boundary own_trap_3
    boundary own_trap_4
    boundary own_trap_5
    boundary traced_4
    boundary traced_5
end_boundaries traced

// ---- interrupts: one waits for the instruction behind STI, the other one ends a halt

.section .text
.global step_interrupt
step_interrupt:
    mov $EOI, %eax
interrupt_1:
    movl $0, (%rax)
interrupt_2:
    mov 16(%rsp), %rax
interrupt_3:
    mov %rax, steps_flags
interrupt_4:
    iretq
piece interrupts
    sti
interrupts_1:
    nop
interrupts_2:
    nop
interrupts_3:
    cli
interrupts_4:
    end_piece
boundaries interrupts
    boundary interrupts_1
    boundary interrupts_2
    boundary step_interrupt, 1
    boundary interrupt_1
    boundary interrupt_2
    boundary interrupt_3
    boundary interrupt_4
    boundary interrupts_2
    boundary interrupts_3
    boundary interrupts_4
end_boundaries interrupts

piece halted
    sti
halted_1:
    hlt
halted_2:
    cli
halted_3:
    end_piece
boundaries halted
    boundary halted_1
    boundary halted_2
    boundary step_interrupt, 1
    boundary interrupt_1
    boundary interrupt_2
    boundary interrupt_3
    boundary interrupt_4
    boundary halted_2
    boundary halted_3
end_boundaries halted

// ---- SYSCALL, to code of the same privilege

.section .text
.global step_system_call
step_system_call:
    mov %r11, steps_flags
system_call_1:
    jmp *%rcx
piece system
    syscall
system_1:
    end_piece
boundaries system
    boundary step_system_call
    boundary system_call_1
    boundary system_1
end_boundaries system

.section .bss
.balign 8
.global steps_msr, steps_flags, steps_status
steps_msr: .skip 8
steps_flags: .skip 16
steps_status: .skip 8
steps_bytes: .skip 16

.section .note.GNU-stack, "", @progbits
