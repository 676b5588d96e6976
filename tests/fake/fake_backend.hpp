// SPDX-License-Identifier: MIT
//
// A processor's virtualization support as host tests have it: an HvmTable whose guests are scripts.  Each
// entry delivers what was injected, opens the interrupt window if that is due, and else runs the next step of
// the guest's script, which returns the exit.  Nested translations, once used, stay until a flush is asked
// for or the domain's generation has moved, as on hardware: a core that forgets either reads the old page.
// Vendor's control blocks are tests/unit/svm's matter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "hv/core/hvm/backend.hpp"

namespace hv::fake {

struct FakeVcpu;

/// What a guest does until it exits.  Registers are the context's; a step may change them as instructions
/// would.
using Step = std::function<core::Exit(core::VcpuContext&, FakeVcpu&)>;

struct Translation {
    HostPhysical page;
    bool write;
    bool execute;
};

struct FakeVcpu {
    std::deque<Step> script;
    Step when_done;  ///< runs when the script is empty; by default a physical interrupt

    core::SystemRegisters system{};
    std::map<std::uint32_t, std::uint64_t>
        msrs;  ///< those that are not in `system`; absent ones do not exist
    std::uint64_t interrupt_shadow{};  ///< bit 0
    bool nmi_in_service{};  ///< set by delivery; the script's IRET clears it
    std::uint8_t privilege_level{};  ///< CPL, as of the last exit
    std::uint8_t task_priority{};
    std::uint8_t window_class{};
    std::uint64_t tsc_offset{};
    std::uint64_t extended_control{1};
    std::array<std::byte, 256> vectors{};  ///< XMM0 to XMM15
    core::OfferedBits offered{~0ull, ~0ull, 0};

    core::Intercepts intercepts{};
    std::optional<core::Event> queued;
    std::vector<core::Event> delivered;  ///< in order
    std::uint64_t cr2_before{};          ///< the last exception that exited
    bool exception_queued{};             ///< it is what is queued
    unsigned entries{};
    unsigned flushes{};  ///< that took effect, for whichever reason
    std::optional<unsigned> loaded_on;

    std::map<std::uint64_t, Translation> translations;  ///< by guest page number; stale until flushed
    std::uint64_t generation_seen{};
    bool flush_wanted{};
    HostPhysical nested_root{};  ///< as of the last flush
};

/// A table with these capabilities, and no VCPUs.  A table that was handed out before changes with it.
const core::HvmTable& reset_backend(const core::HvmCapabilities& capabilities = {.gigabyte_pages = true,
                                                                                 .address_spaces = 16});
[[nodiscard]] FakeVcpu& fake_vcpu(const core::VcpuContext& vcpu);
/// VCPUs that exist; 0 after a test that destroyed what it made.
[[nodiscard]] unsigned fake_vcpus();
/// The domain's own choices of MSRs that exist, and what one has.
[[nodiscard]] std::size_t fake_msr_maps();
[[nodiscard]] const std::vector<core::MsrIntercept>& fake_msr_map(const core::VcpuContext& vcpu);
/// Makes the next msr_map_create fail.
void fail_msr_map();
/// Makes the next `count` calls of vcpu_create fail.
void fail_vcpu_create(unsigned count);
/// Processors that enable_processor was called on.
[[nodiscard]] std::vector<unsigned> enabled_processors();

// ---- steps
// ------------------------------------------------------------------------------------------------------

[[nodiscard]] core::Exit plain_exit(core::ExitKind kind, std::uint8_t instruction_length = 0);
[[nodiscard]] core::Exit port_exit(const core::PortAccess& access);
/// A step that makes this exit and nothing else.
[[nodiscard]] Step exits(const core::Exit& exit);
/// A step that raises an intercepted exception: as part of `delivering`, where there is one.
[[nodiscard]] Step raises(std::uint8_t vector, std::uint32_t error_code = 0, std::uint64_t address = 0,
                          std::optional<core::Event> delivering = {});

/// What the guest's access to its memory gives, by the translation that it used before if it has one: true,
/// or false and the nested fault that the access causes.
bool guest_read(core::VcpuContext& vcpu, GuestPhysical address, void* to, std::size_t bytes,
                core::Exit& fault);
bool guest_write(core::VcpuContext& vcpu, GuestPhysical address, const void* from, std::size_t bytes,
                 core::Exit& fault);
/// The same for what is fetched to be executed.
bool guest_fetch(core::VcpuContext& vcpu, GuestPhysical address, core::Exit& fault);
/// The end of an instruction: what RFLAGS.TF makes of it, or another turn.
[[nodiscard]] core::Exit end_of_instruction(core::VcpuContext& vcpu);

}  // namespace hv::fake
