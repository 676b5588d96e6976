// SPDX-License-Identifier: MIT
//
// The hypercall instruction out of 32-bit code: void guest_vmmcall_32(uint32_t registers[6]), EAX, EBX, ECX,
// EDX, ESI, EDI in and EAX and EDX out.  The stack lies below 4 GiB, so that the way there and back keeps it
// [APM2-3.41 §4.8].
.section .text
.global guest_vmmcall_32
guest_vmmcall_32:
    push %rbx
    push %rbp
    mov %rdi, %rbp
    push $0x18
    push $in_32_bit_code
    lretq
.code32
in_32_bit_code:
    mov (%ebp), %eax
    mov 4(%ebp), %ebx
    mov 8(%ebp), %ecx
    mov 12(%ebp), %edx
    mov 16(%ebp), %esi
    mov 20(%ebp), %edi
    vmmcall
    mov %eax, (%ebp)
    mov %edx, 12(%ebp)
    ljmp $0x08, $in_64_bit_code
.code64
in_64_bit_code:
    pop %rbp
    pop %rbx
    ret

.section .note.GNU-stack, "", @progbits
