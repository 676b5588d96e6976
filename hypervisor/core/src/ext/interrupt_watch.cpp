// SPDX-License-Identifier: MIT
//
// Interrupts whose course a module has a say in: it is told when the guest takes or ends a vector, or has the core end a vector as
// soon as it is taken.  Where no module of the domain watches one, a VCPU pays one comparison at each.
#include "hook_call.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "service_call.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t lowest_vector{16};  // [SDM3-083 §11.5.2]: those below are illegal
constexpr std::uint32_t highest_vector{255};

void set(VectorBitmap& vectors, std::uint8_t vector, bool on)
{
    if (on)
        vectors.set(vector);
    else
        vectors.clear(vector);
}

/// Notes it for every instance that watches it, by the members of its VectorWatch.
void note(Vcpu& vcpu, std::uint8_t vector, VectorBitmap VectorWatch::*watched, VectorBitmap VectorWatch::*untold)
{
    for (Binding* const binding : vcpu.domain.extensions->implementation().bindings) {
        VcpuBinding& own = binding->of(vcpu);
        if (!(own.watch.*watched).test(vector))
            continue;
        (own.watch.*untold).set(vector);
        own.ask(VcpuBinding::Pending::watched);
    }
}

VectorBitmap united(const VectorBitmap& one, const VectorBitmap& other)
{
    VectorWords words = one.words();
    for (std::size_t index = 0; index < words.size(); ++index)
        words[index] |= other.words()[index];
    VectorBitmap both;
    both.assign(words);
    return both;
}

using WatchHook = abi::Verdict (*)(const abi::VcpuContext*, std::uint32_t vector);

/// One hook for each vector that waits; false: the instance failed to hear of one, and is told again.
bool tell(VcpuBinding& own, Hook hook, WatchHook function, VectorBitmap& untold)
{
    while (const auto vector = untold.highest()) {
        const abi::Verdict verdict = call_hook(own, hook, function, *vector);
        if (is_retry(verdict))
            return false;
        untold.clear(*vector);
        settle(own, verdict);
        const bool ends = hook == Hook::interrupt_accepted && is_well(verdict) && verdict.detail == abi::accepted_auto_eoi;
        if (ends && own.vcpu.apic.highest_in_service() == vector)
            end_interrupt(own.vcpu);
    }
    return true;
}

}  // namespace

void renew_watched(Vcpu& vcpu)
{
    WatchedVectors all{};
    for (Binding* const binding : vcpu.domain.extensions->implementation().bindings) {
        const VectorWatch& watch = binding->of(vcpu).watch;
        all.accepted = united(all.accepted, watch.accepted);
        all.ended = united(all.ended, watch.ended);
        all.auto_eoi = united(all.auto_eoi, watch.auto_eoi);
    }
    all.any_taken = all.accepted.highest() || all.auto_eoi.highest();
    all.any_ended = all.ended.highest().has_value();
    vcpu.watched = all;
}

void deliver_watched(VcpuBinding& own)
{
    const abi::HookTable& hooks = own.binding.hooks;
    if (!tell(own, Hook::interrupt_accepted, hooks.interrupt_accepted, own.watch.accepted_untold) ||
        !tell(own, Hook::interrupt_ended, hooks.interrupt_ended, own.watch.ended_untold))
        own.ask(VcpuBinding::Pending::watched);
}

void ExtensionStack::interrupt_accepted(Vcpu& vcpu, std::uint8_t vector)
{
    note(vcpu, vector, &VectorWatch::accepted, &VectorWatch::accepted_untold);
}

void ExtensionStack::interrupt_ended(Vcpu& vcpu, std::uint8_t vector)
{
    note(vcpu, vector, &VectorWatch::ended, &VectorWatch::ended_untold);
}

abi::Answer services::interrupt_watch(std::uint64_t vcpu, std::uint32_t vector, std::uint32_t what)
{
    return serve_vcpu(vcpu, abi::need_interrupt_watch | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        const abi::HookTable& hooks = call.binding->hooks;
        const auto wants = [what](std::uint32_t flag) { return (what & flag) != 0; };
        if (vector < lowest_vector || vector > highest_vector || (what & ~abi::watch_known) != 0 ||
            (wants(abi::watch_accepted) && hooks.interrupt_accepted == nullptr) ||
            (wants(abi::watch_ended) && hooks.interrupt_ended == nullptr))
            return Error::invalid_argument;
        HV_TRY(check_still(call, own));
        const auto number = static_cast<std::uint8_t>(vector);
        set(own.watch.accepted, number, wants(abi::watch_accepted));
        set(own.watch.ended, number, wants(abi::watch_ended));
        set(own.watch.auto_eoi, number, wants(abi::watch_auto_eoi));
        renew_watched(own.vcpu);
        return Done{};
    });
}

}  // namespace hv::core
