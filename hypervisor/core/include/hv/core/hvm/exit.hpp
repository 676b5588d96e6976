// SPDX-License-Identifier: MIT
//
// Why a virtual processor left guest mode, as data that no vendor's numbering shows through.  A back end fills an Exit
// from its control block; the core decides by it and never looks at the control block.
#pragma once

#include <cstdint>

#include "hv/base/address.hpp"

namespace hv::core {

enum class ExitKind : std::uint8_t {
    physical_interrupt,  ///< a host interrupt is pending; it is taken at the next interrupt window
    physical_nmi,        ///< a host NMI is pending or was taken
    interrupt_window,    ///< the guest can take an interrupt now (asked for by request_interrupt_window)
    cpuid,
    msr_read,
    msr_write,
    port,                ///< IN, OUT, INS, OUTS: `port` says which
    hypercall,           ///< the instruction that calls a hypervisor: VMMCALL or VMCALL
    halt,
    pause,
    nested_fault,        ///< guest-physical access that the nested tables do not allow: `fault` says which
    exception,           ///< an intercepted exception: `exception` says which
    control_register,    ///< MOV to or from a control register, CLTS or LMSW
    debug_register,
    invalidate_page,     ///< INVLPG
    cache_control,       ///< INVD, WBINVD
    read_tsc,            ///< RDTSC or RDTSCP
    set_extended_control,  ///< XSETBV
    monitor,             ///< MONITOR, MWAIT
    privileged_instruction,  ///< a virtualization instruction, SKINIT, RSM …: the guest gets #UD
    task_switch,
    init_signal,
    shutdown,            ///< triple fault
    invalid_state,       ///< the processor refused the control block
    unknown,             ///< anything else: `code` says what
};
inline constexpr unsigned exit_kinds{static_cast<unsigned>(ExitKind::unknown) + 1};

/// The instruction lengths are in `instruction_length`; 0 means that the processor did not say and that the instruction
/// must be read from guest memory.
struct PortAccess {
    std::uint16_t port;
    std::uint8_t size;  ///< bytes: 1, 2 or 4
    bool in;
    bool string;
    bool repeated;
    std::uint8_t segment;        ///< of OUTS, as an index of Segments; 0xff when the processor did not say
    std::uint64_t next_rip;      ///< always given by the processor for this exit
};

struct NestedFault {
    GuestPhysical address;
    bool write;
    bool execute;
    bool present;      ///< a translation existed and forbade the access
    bool table_walk;   ///< the access was to a guest page table, by the processor itself
    std::uint8_t instruction_bytes;  ///< how many of `bytes` the processor gave (decode assists), else 0
    std::uint8_t bytes[15];
};

struct ExceptionExit {
    std::uint8_t vector;
    /// An exception that HvmTable::intercept alone makes exit, raised while another event was delivered: that event is queued, not
    /// the exception.  Were it delivered again with the exception intercepted, it would end here again.
    bool in_delivery;
    bool delivering_exception;       ///< that event is an exception
    std::uint8_t delivering_vector;  ///< its vector
    std::uint32_t error_code;
    std::uint64_t address;  ///< of a page fault
};

struct Exit {
    constexpr Exit() : information{} {}

    ExitKind kind{ExitKind::unknown};
    std::uint8_t instruction_length{};
    std::uint64_t code{};  ///< the processor's own number of this exit, for counting and messages
    union {
        PortAccess port;
        NestedFault fault;
        ExceptionExit exception;
        std::uint64_t information[2];  ///< raw qualification of the kinds without a structure of their own
    };
};

}  // namespace hv::core
