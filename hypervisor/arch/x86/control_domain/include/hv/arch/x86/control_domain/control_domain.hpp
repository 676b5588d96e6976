// SPDX-License-Identifier: MIT
//
// The control domain's processor: enters the control domain, 1:1 and with its interrupts, timers and devices
// its own, and answers the few things that exit.  Nobody watches this processor and its exits hold devices
// up, so an exit takes note and sends an IPI, and does no work.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hv/arch/x86/control_domain/address_plan.hpp"
#include "hv/arch/x86/control_domain/control_function.hpp"
#include "hv/arch/x86/control_domain/sleep_control.hpp"
#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/control_domain/builder.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/emulate/intercepted.hpp"
#include "hv/core/hvm/backend.hpp"
#include "hv/core/memory/guest_memory.hpp"
#include "hv/core/memory/nested_map.hpp"
#include "hv/core/vcpu/code_reader.hpp"
#include "hv/core/vcpu/exit_counters.hpp"
#include "hv/x86/exceptions.hpp"

namespace hv::control_domain {

struct Setup {
    const core::HvmTable& hvm;
    core::FrameAllocator& frames;
    core::Ledger& ledger;            ///< nested tables and the VCPU are charged to it
    const core::MemoryMap& machine;  ///< all of the machine's memory
    const core::MemoryMap& own;      ///< the control domain's, as split_memory made it
    core::FirmwareMemory firmware;
    HostPhysical rsdp;
    std::uint64_t physical_address_end;  ///< what the processor can address
    std::uint16_t serial_port;           ///< the first of eight that the hypervisor logs on, or 0
};

class ControlDomain {
public:
    /// What `setup` refers to lives for ever.
    explicit ControlDomain(const Setup& setup);
    ControlDomain(const ControlDomain&) = delete;
    ControlDomain& operator=(const ControlDomain&) = delete;

    /// Makes nested map and VCPU, finds a free place for the PCI function (which may be null), and sets the
    /// registers.  On processor 0, after HvmTable::enable_processor, before run().  Fails with no_memory,
    /// not_found (no free place on PCI bus 0) or invalid_argument; `why` then holds one sentence.
    Status create(const core::ControlDomainEntry& entry, ControlFunction* function, TextWriter& why);

    /// Processor 0 is the control domain's from here on.
    [[noreturn]] void run();

    /// The function's registers answer at `range` from now on, or nowhere.  In an exit, or before run().
    void place_window(std::optional<GuestRange> range);

    /// The control domain's own RAM, for a device that serves it: empty where a byte of the range is
    /// something else.  Any processor.
    [[nodiscard]] std::span<std::byte> ram(GuestPhysical address, std::uint64_t bytes) const;

    /// Where the function is.  After create().
    [[nodiscard]] PciAddress function_address() const { return function_address_; }
    /// Exits so far.  Any processor.
    [[nodiscard]] const core::ExitCounters& exits() const { return counters_; }

private:
    friend struct MemoryAccess;

    Status create_vcpu(const core::ControlDomainEntry& entry, TextWriter& why);
    Status map_own_ram();
    void find_sleep_control();
    void intercept_ports();

    void deliver_nmi();
    void dispatch(const core::Exit& exit);
    void answer_cpuid(const core::Exit& exit);
    void answer_msr(const core::Exit& exit, bool write);
    Status write_msr(std::uint32_t msr, std::uint64_t value);
    Expected<std::uint64_t> read_msr(std::uint32_t msr);
    void answer_port(const core::Exit& exit);
    std::uint32_t read_port(std::uint16_t port, unsigned size);
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value);
    bool config_target(unsigned port_offset, unsigned& register_offset) const;
    void write_sleep_port(std::uint16_t port, unsigned offset, unsigned size, std::uint32_t value);
    void answer_nested_fault(const core::Exit& exit);
    bool map_on_demand(GuestPhysical address);
    void emulate_access(const core::Exit& exit);
    [[noreturn]] void end_machine(const core::Exit& exit);

    std::span<const std::byte> code();
    bool skip(const core::Exit& exit, core::emulate::Intercepted which);
    void advance(std::uint64_t next_rip);
    void raise(x86::Exception vector, bool has_error_code = false);

    Setup setup_;
    AddressPlan plan_;
    core::NestedMap map_;      ///< what its processor runs on: RAM, and devices on demand
    core::NestedMap ram_map_;  ///< its RAM alone: what the hypervisor may touch for it
    core::GuestMemory memory_;
    core::CodeReader reader_;
    core::VcpuContext context_{};
    ControlFunction* function_{};
    PciAddress function_address_{};
    SleepPorts sleep_{};
    std::optional<std::uint8_t> power_off_type_;
    bool nmi_waiting_{};  ///< an NMI of its own that it could not take yet
    core::ExitCounters counters_{};
    core::OncePerDomain hidden_access_, refused_sleep_, refused_msr_, odd_port_access_, odd_memory_access_,
        wild_access_;
};

}  // namespace hv::control_domain
