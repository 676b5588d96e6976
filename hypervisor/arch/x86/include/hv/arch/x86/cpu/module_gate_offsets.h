/* SPDX-License-Identifier: MIT
 *
 * What module_gate.S needs to know of C++ types; module_gate.cpp asserts each. */
#define PER_CPU_RSP0 116
#define PER_CPU_TRUSTED_STACK 32
#define PER_CPU_TRUSTED_HOOKS 40
#define KERNEL_DATA 0x10
#define USER_DATA 0x1b
#define USER_CODE 0x23
#define SERVICE_TABLE_HEADER 16
#define STATUS_NOT_SUPPORTED -4
