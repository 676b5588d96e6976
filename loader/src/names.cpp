// SPDX-License-Identifier: MIT
#include "hv/loader/names.hpp"

#include <array>

#include "hv/abi/manifest.hpp"

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
    static constexpr std::array<std::string_view, 19> names{
        "registers",    "injection",    "intercepts", "tlb",   "guest_memory",    "overlays",
        "pinned_pages", "physical_map", "allocation", "mmio",  "vcpus",           "time",
        "timers",       "domain",       "channel",    "exits", "interrupt_watch", "run_states",
        "vector_registers"};
    static_assert(abi::known_needs == (1ull << names.size()) - 1);
    return bit < names.size() ? names[bit] : std::string_view{};
}

std::string_view window_kind_name(std::uint32_t kind)
{
    switch (static_cast<abi::WindowKind>(kind)) {
    case abi::WindowKind::cpuid: return "cpuid";
    case abi::WindowKind::msr: return "msr";
    case abi::WindowKind::hypercall: return "hypercall";
    case abi::WindowKind::mmio: return "mmio";
    case abi::WindowKind::port: return "port";
    case abi::WindowKind::pci: return "pci";
    case abi::WindowKind::acpi: return "acpi";
    }
    return "?";
}

std::string_view exit_kind_name(std::uint32_t kind)
{
    switch (static_cast<abi::ExitKind>(kind)) {
    case abi::ExitKind::cpuid: return "cpuid";
    case abi::ExitKind::msr: return "msr";
    case abi::ExitKind::port: return "port";
    case abi::ExitKind::exception: return "exception";
    case abi::ExitKind::control_register: return "control_register";
    case abi::ExitKind::debug_register: return "debug_register";
    case abi::ExitKind::halt: return "halt";
    case abi::ExitKind::pause: return "pause";
    case abi::ExitKind::read_tsc: return "read_tsc";
    case abi::ExitKind::invalidate_page: return "invalidate_page";
    case abi::ExitKind::single_step: return "single_step";
    case abi::ExitKind::page_watch: return "page_watch";
    }
    return "?";
}

std::string_view signature_state_name(SignatureState state)
{
    switch (state) {
    case SignatureState::none: return "none";
    case SignatureState::unchecked: return "unchecked";
    case SignatureState::good: break;
    }
    return "good";
}

}  // namespace hv::loader
