// SPDX-License-Identifier: MIT
//
// The HVM function table: all that the core asks of a processor's virtualization support.  SVM, later VMX, and the fake
// of the host tests each fill one; hypervisor/main/compose.cpp picks.  Each member's contract says whether it may fail;
// none may be absent (null): what a processor cannot do is in `capabilities`, and the core asks there first.
//
// Unless a line says otherwise a member is called on the processor that the VCPU is loaded on, with interrupts
// disabled, and cannot fail.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/hvm/exit.hpp"
#include "hv/core/hvm/intercepts.hpp"
#include "hv/core/hvm/system_registers.hpp"
#include "hv/core/vcpu/registers.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::core {

class Ledger;

/// Guests are scheduled on the guest processors and see none of the machine; the control domain owns processor 0.
enum class VcpuKind : std::uint8_t { guest, control };

/// What the core looks at in most exits, where the back end keeps it: a pointer costs less than a call.  Set by vcpu_create,
/// valid until vcpu_destroy, true while the VCPU is outside of the guest.
struct LiveRegisters {
    const std::uint64_t* cr3{};
    const std::uint64_t* efer{};  ///< for comparing with itself only: it may hold bits of the back end's own
    /// Eight bytes that differ wherever CS differs in anything but its base.
    const std::byte* code_segment{};
    const std::uint16_t* code_attributes{};  ///< of CS, as in Segment
    const std::uint8_t* privilege_level{};   ///< CPL
    const std::uint8_t* task_priority{};  ///< that the guest set through CR8: bits 3–0
    std::uint64_t* interrupt_shadow{};    ///< bit 0: in the shadow of STI or MOV SS
};

/// The part of a VCPU that core and back end share.  The core's Vcpu derives from it.
struct VcpuContext {
    Registers registers{};    ///< the guest's, in step with the control block outside of the guest
    LiveRegisters live{};
    void* backend{};          ///< the back end's own state; null before vcpu_create
    Exit exit{};              ///< why the guest was left last; the back end writes it
    std::uint32_t id{};       ///< within the domain
    VcpuKind kind{};
    Ledger* ledger{};         ///< what the back end allocates is charged here
    /// Root of the nested page table that it runs on.  Whoever changes it, outside of the guest, asks for a
    /// flush.
    HostPhysical nested_root{};
    /// Raised by whoever takes away or narrows a nested translation, before the VCPU is kicked; an entry flushes when it
    /// has changed since the last entry.
    const std::atomic<std::uint64_t>* nested_generation{};
    /// That of the last entry, at least; written before the guest runs.
    std::atomic<std::uint64_t> entered_generation{};

    /// Ends the STI or MOV SS shadow and RFLAGS.RF: after an instruction was emulated.
    void end_instruction()
    {
        *live.interrupt_shadow &= ~std::uint64_t{1};
        registers.rflags &= ~x86::Rflags::RF::mask;
    }
};

/// An event to be delivered at the next entry.
enum class EventKind : std::uint8_t { interrupt, nmi, exception, software_interrupt };
struct Event {
    EventKind kind{};
    std::uint8_t vector{};
    bool has_error_code{};
    std::uint32_t error_code{};
};

/// Bits that a guest may set, by what it is shown of the processor.
struct OfferedBits {
    std::uint64_t cr4;
    std::uint64_t efer;
    std::uint64_t xcr0;  ///< 0: XSETBV is #UD for it
};

struct HvmCapabilities {
    bool next_rip{};          ///< exits carry the instruction length
    bool decode_assists{};    ///< nested faults carry instruction bytes
    bool flush_by_address_space{};
    bool clean_bits{};
    bool tsc_scaling{};
    bool gigabyte_pages{};    ///< of the nested tables
    std::uint32_t address_spaces{};  ///< ASIDs or VPIDs per processor
};

/// How this processor writes nested page-table entries.  Tables have 512 entries of 64 bits, four levels.
struct NestedEntryFormat {
    std::uint64_t table;    ///< bits of an entry that points to a table
    std::uint64_t leaf;     ///< bits of every leaf: present, user, memory type write-back
    std::uint64_t read, write, execute;  ///< bits that grant (set), after `deny_execute` is considered
    std::uint64_t deny_execute;          ///< bit that forbids execution where the format has one, else 0
    std::uint64_t large;    ///< bit of a 2 MiB or 1 GiB leaf
    std::uint64_t address_mask;
};

/// What the core does about an exit, which VcpuContext::exit describes, before the next entry.  True: the guest goes on at once.
using ExitAnswer = bool (*)(VcpuContext&);

struct HvmTable {
    std::string_view name;
    HvmCapabilities capabilities;
    NestedEntryFormat nested_format;
    std::uint8_t hypercall_instruction[3];  ///< VMMCALL or VMCALL: what a hypercall page holds

    /// Turns virtualization on, on the calling processor.  Fails with not_supported (firmware locked it) or no_memory.
    Status (*enable_processor)();

    /// Allocates and initialises the control block in reset state ([SDM3-083 §10.1.1], INIT: real mode, paused).
    /// Callable on any processor.  Fails with no_memory, changing nothing.
    Status (*vcpu_create)(VcpuContext&);
    /// Releases what vcpu_create allocated.  The VCPU is loaded nowhere.  Any processor.
    void (*vcpu_destroy)(VcpuContext&);

    /// Makes the calling processor carry this VCPU's FPU, XCR0 and debug registers; unload saves them away.
    void (*load)(VcpuContext&);
    void (*unload)(VcpuContext&);
    /// Runs the guest, and calls `answer` at each exit; until that says false.  Pending requests (events,
    /// flushes) are carried out before each entry.  An event whose delivery the exit interrupted is queued again by the back
    /// end, unless the core injects another.  So is the exception of an `exception` exit, which the core needs only count; #MC
    /// alone is left to it.
    void (*run)(VcpuContext&, ExitAnswer answer);

    /// Runs a control VCPU until it exits, and describes why; unless `nmi` is set, which the handler of an NMI that is the
    /// control domain's does: it is looked at when no NMI can come any more before the guest runs.  Where it is set nothing
    /// runs and the exit is physical_nmi.
    void (*enter_control)(VcpuContext&, Exit&, const std::atomic<bool>& nmi);

    /// Queues one event for the next entry; replaces a queued one.  `event_pending` tells whether one is queued.
    void (*inject)(VcpuContext&, const Event&);
    bool (*event_pending)(const VcpuContext&);
    /// The exception of this `exception` exit has not happened: it is not queued any more, and CR2 is what it was.  An event
    /// whose delivery raised it stays queued.
    void (*cancel_exception)(VcpuContext&);
    /// True when the guest would take an external interrupt at once: IF set, no shadow, nothing queued.
    bool (*interrupt_possible)(const VcpuContext&);
    /// The same for an NMI (none in service, no shadow).
    bool (*nmi_possible)(const VcpuContext&);
    /// Asks for an interrupt_window exit as soon as interrupt_possible is true and the task priority is below this class (1
    /// to 15: bits 7–4 of the waiting vector); 0 withdraws.
    void (*request_interrupt_window)(VcpuContext&, std::uint8_t priority_class);
    /// The task priority as the guest reads it through CR8; `live.task_priority` is the reverse.
    void (*set_task_priority)(VcpuContext&, std::uint8_t priority_class);

    void (*read_context)(const VcpuContext&, ExecutionContext&);
    /// Whole state; any processor while the VCPU is loaded nowhere, else its own.
    void (*read_system)(const VcpuContext&, SystemRegisters&);
    /// Refuses with invalid_argument what the processor would refuse to run, changing nothing.
    Status (*write_system)(VcpuContext&, const SystemRegisters&);
    /// The MSRs that the control block holds (EFER, PAT, STAR … SYSENTER_*, FS/GS base, DEBUGCTL).  not_found: it is
    /// none of them; invalid_argument: the value is illegal, the guest gets #GP.
    Expected<std::uint64_t> (*read_msr)(const VcpuContext&, std::uint32_t msr);
    Status (*write_msr)(VcpuContext&, std::uint32_t msr, std::uint64_t value);
    /// A control_register, debug_register, set_extended_control exit carried out as the processor would; `bytes` is the
    /// instruction.  invalid_argument: the guest gets #GP(0); not_supported: #UD; conflict: #DB, DR6 says why.
    Status (*emulate_system_instruction)(VcpuContext&, const Exit&, const std::byte* bytes, std::uint8_t length);

    /// CR0 as a MOV by the guest would write it; invalid_argument: that would be #GP(0).
    Status (*write_control_0)(VcpuContext&, std::uint64_t value);

    /// XCR0 as the guest set it.
    std::uint64_t (*extended_control)(const VcpuContext&);
    /// XMM registers of a guest VCPU from `first` on, 16 bytes each; those named exist (0 to 15).  Any processor while the
    /// VCPU is loaded nowhere, else its own.
    void (*read_vectors)(VcpuContext&, unsigned first, std::span<std::byte> bytes);
    void (*write_vectors)(VcpuContext&, unsigned first, std::span<const std::byte> bytes);
    /// Which bits of CR4, EFER and XCR0 the guest may set; of those, what the processor has counts.  Setting another is
    /// #GP for the guest whatever the processor has, and invalid_argument for write_system and write_msr.  By default all
    /// of CR4 and EFER, and none of XCR0.  A control VCPU's are its own: not called for it.  Any processor, while the VCPU
    /// is loaded nowhere.
    void (*offer)(VcpuContext&, const OfferedBits& bits);

    /// Added to the host's time-stamp counter to make the guest's.
    void (*set_tsc_offset)(VcpuContext&, std::uint64_t offset);
    /// All translations of this VCPU, guest and nested, are dropped before its next instruction, which runs
    /// on the nested_root of now.
    void (*flush)(VcpuContext&);

    /// What a guest VCPU exits for beyond the usual, from its next entry on; replaces what was asked before.
    void (*intercept)(VcpuContext&, const Intercepts& wanted);
    /// A domain's own choice of MSRs that exit, which begins as the usual one.  Any processor.  Fails with no_memory.
    Expected<void*> (*msr_map_create)(Ledger&);
    /// No VCPU is told to use it any more.  Any processor.
    void (*msr_map_destroy)(void* map, Ledger&);
    /// What exits beyond the usual; replaces what was asked before.  VCPUs that use the map are told by `intercept` again.  Any
    /// processor, one at a time.
    void (*msr_map_set)(void* map, std::span<const MsrIntercept> wanted);

    /// Makes accesses of control VCPUs to these ports exit; all other ports are theirs.  Before one of them has run.
    void (*intercept_control_ports)(std::uint16_t first, std::uint16_t count);
};

}  // namespace hv::core
