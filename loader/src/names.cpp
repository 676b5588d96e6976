// SPDX-License-Identifier: MIT
//
// Names of the ABI's numbers, for sentences that people read.
#include <array>

#include "hv/loader/judged_manifest.hpp"

namespace hv::loader {

std::string_view hook_name(std::uint32_t index)
{
    static constexpr std::array<std::string_view, abi::hook_count> names{"parameter_set",
                                                                         "domain_create",
                                                                         "domain_destroy",
                                                                         "vcpu_initialise",
                                                                         "vcpu_reset",
                                                                         "vcpu_destroy",
                                                                         "cpuid",
                                                                         "msr_read",
                                                                         "msr_write",
                                                                         "hypercall_page",
                                                                         "hypercall",
                                                                         "hypercall_continue",
                                                                         "timer",
                                                                         "mmio_read",
                                                                         "mmio_write",
                                                                         "port_read",
                                                                         "port_write",
                                                                         "channel_message",
                                                                         "before_entry",
                                                                         "interrupt_window",
                                                                         "interrupt_accepted",
                                                                         "interrupt_ended",
                                                                         "run_state_changed",
                                                                         "freeze",
                                                                         "thaw",
                                                                         "export_state",
                                                                         "import_state",
                                                                         "exit"};
    return index < names.size() ? names[index] : std::string_view{"?"};
}

std::string_view need_name(unsigned bit)
{
    static constexpr std::array<std::string_view, 18> names{
        "registers",    "injection",    "intercepts", "tlb",   "guest_memory",    "overlays",
        "pinned_pages", "physical_map", "allocation", "mmio",  "vcpus",           "time",
        "timers",       "domain",       "channel",    "exits", "interrupt_watch", "run_states"};
    static_assert(abi::known_needs == (1ull << names.size()) - 1);
    return bit < names.size() ? names[bit] : std::string_view{};
}

}  // namespace hv::loader
