// SPDX-License-Identifier: MIT
//
// One call of a hook: what the framework does around a module's function.  Before it, the call is noted as the processor's
// current one, which is where every service finds its binding; after it, the verdict is judged, the state blocks are kept or
// taken back, locks that the hook took are released, and what it asked for "at the return" happens.
#pragma once

#include <cstdint>

#include "binding.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {

inline constexpr std::size_t longest_explanation{240};

/// The hook that runs on a processor now.
struct HookCall {
    /// What the end of the call has to do beside the common.
    enum After : std::uint32_t {
        domain_updated = 1,  ///< domain_update_begin: the domain block's lock is held
        guest_map_changed = 2,
        flushed = 4,         ///< VCPUs in `flushed_vcpus` must have left the guest
        ends_domain = 8,
        yields = 16,
    };

    Binding* binding{};  ///< null: none runs
    VcpuBinding* vcpu{};  ///< of a VCPU hook
    Hook hook{};
    std::uint32_t after{};
    std::uint64_t flushed_vcpus{};
    EndReason end_reason{};
    std::uint32_t explanation_length{};
    std::uint32_t end_text_length{};
    char explanation[longest_explanation]{};
    char end_text[longest_explanation]{};

    [[nodiscard]] std::string_view explained() const { return {explanation, explanation_length}; }
};

/// The current call of the calling processor.
[[nodiscard]] HookCall& current_call();

void begin_call(HookCall& call, Binding& binding, VcpuBinding* vcpu, Hook hook);
/// The verdict, or one of kind 0 when it was not a legal one: the domain has then ended.
abi::Verdict end_call(HookCall& call, abi::Verdict verdict);

template <typename... Parameters, typename... Arguments>
abi::Verdict call_hook(VcpuBinding& vcpu, Hook hook, abi::Verdict (*function)(const abi::VcpuContext*, Parameters...),
                       Arguments... arguments)
{
    HookCall& call = current_call();
    begin_call(call, vcpu.binding, &vcpu, hook);
    return end_call(call, function(&vcpu.context, arguments...));
}

template <typename... Parameters, typename... Arguments>
abi::Verdict call_hook(Binding& binding, Hook hook, abi::Verdict (*function)(const abi::DomainContext*, Parameters...),
                       Arguments... arguments)
{
    HookCall& call = current_call();
    begin_call(call, binding, nullptr, hook);
    return end_call(call, function(&binding.context, arguments...));
}

/// What a verdict of a hook that serves a guest's access means to the exit handler.
Answered settle(VcpuBinding& vcpu, abi::Verdict verdict);
/// The same for a hook that only hears of an event.
void settle(Binding& binding, abi::Verdict verdict);

/// True for a verdict that says the hook did what it should.
constexpr bool is_well(abi::Verdict verdict)
{
    return verdict.kind == abi::VerdictKind::done || verdict.kind == abi::VerdictKind::block ||
           verdict.kind == abi::VerdictKind::pause;
}

}  // namespace hv::core
