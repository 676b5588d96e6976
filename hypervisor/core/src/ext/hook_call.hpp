// SPDX-License-Identifier: MIT
//
// One call of a hook: what the framework does around a module's function.  Before it, the call is noted as
// the processor's current one, which is where every service finds its binding; after it, the verdict is
// judged, the state blocks are kept or taken back, locks that the hook took are released, and what it asked
// for "at the return" happens.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "binding.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {

inline constexpr std::size_t longest_explanation{240};

/// The hook that runs on a processor now.  A cache line: it is written at each call.
struct alignas(64) HookCall {
    /// What the end of the call has to do beside the common.
    enum After : std::uint32_t {
        domain_updated = 1,  ///< domain_update_begin: the domain block's lock is held
        guest_map_changed = 2,
        flushed = 4,  ///< VCPUs in `flushed_vcpus` must have left the guest
        ends_domain = 8,
        yields = 16,
        serialised = 32,  ///< the instance's serial lock is held
    };

    Binding* binding{};   ///< null: none runs
    VcpuBinding* vcpu{};  ///< of a VCPU hook
    HookEvent* event{};   ///< where its verdict is to be noted
    std::uint32_t after{};
    std::uint32_t explanation_length{};
    std::uint64_t flushed_vcpus{};
    Hook hook{};
    EndReason end_reason{};
    std::uint32_t end_text_length{};
};

/// What a hook has said in words, apart from the call since few do.
struct HookSpeech {
    char explanation[longest_explanation];
    char end_text[longest_explanation];
};

/// Vcpu::guest_turns of those that must have left the guest when the call ends, since what they are to find is there and
/// before they were kicked.
struct AwaitedTurns {
    std::uint64_t of[maximum_vcpus];
};

extern HookCall hook_calls[platform::maximum_processors];
extern HookSpeech hook_speech[platform::maximum_processors];
extern AwaitedTurns awaited_turns[platform::maximum_processors];

/// The current call of the calling processor.
[[nodiscard]] inline HookCall& current_call()
{
    HookCall* call = &hook_calls[platform::current_processor()];
    asm("" : "+r"(call));  // else the compiler finds it anew for each member
    return *call;
}
[[nodiscard]] inline HookSpeech& current_speech()
{
    return hook_speech[platform::current_processor()];
}
[[nodiscard]] inline AwaitedTurns& current_turns()
{
    return awaited_turns[platform::current_processor()];
}
[[nodiscard]] inline std::string_view explained()
{
    return {current_speech().explanation, current_call().explanation_length};
}

/// True in a hook that may change nothing but its own instance, and whose failure is not the guest's: of an
/// instance that is not in its place yet, or one that tells its state.
[[nodiscard]] inline bool rehearses(const HookCall& call)
{
    return call.binding->rehearsing || call.hook == Hook::export_state;
}

template <typename T>
std::uint64_t as_word(T argument)
{
    if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<std::uintptr_t>(argument);
    else
        return static_cast<std::uint64_t>(argument);
}

/// `words`: the arguments after the context.
template <typename... Words>
[[gnu::always_inline]] inline void begin_call(HookCall& call, Binding& binding, VcpuBinding* vcpu, EventLog& events,
                                              Hook hook, Words... words)
{
    HV_ASSERT(call.binding == nullptr);  // hooks do not nest
    if (binding.serial)
        binding.serial_lock.lock();
    call.binding = &binding;
    call.vcpu = vcpu;
    call.hook = hook;
    call.after = binding.serial ? std::uint32_t{HookCall::serialised} : 0;
    call.explanation_length = 0;
    call.event = events.hook_begins(static_cast<std::uint64_t>(hook), words...);
}

/// The end of any call: the verdict, or what the guest gets of an instance that has failed when it was not a legal one.
abi::Verdict judge_call(HookCall& call, abi::Verdict verdict);

/// The same, with the common end in line: `done`, and nothing asked for.  `whole` is a verdict as it comes back in a register.
[[gnu::always_inline]] inline abi::Verdict end_call(HookCall& call, std::uint64_t whole)
{
    call.event->verdict = whole;
    constexpr auto plain = static_cast<std::uint64_t>(abi::VerdictKind::done);
    constexpr std::uint64_t unchanged{plain | std::uint64_t{abi::verdict_unchanged} << 16};
    if (call.after != 0 || (whole != plain && whole != unchanged)) [[unlikely]]  // one with a detail goes back as it is
        return judge_call(call, std::bit_cast<abi::Verdict>(whole));
    if (whole == plain && call.vcpu != nullptr)
        call.vcpu->state.keep();
    call.binding = nullptr;
    return abi::done;
}

/// A hook's arguments after the context, as they go into registers; those that it does not have are zero.
using HookWords = std::array<std::uint64_t, platform::hook_arguments - 1>;

/// The call of a hook that is not to be called directly: through the gate, or not at all.
abi::Verdict call_isolated(HookCall& call, Seat& seat, std::uint64_t function, const HookWords& arguments);

/// The call of a trusted hook that did not return.
abi::Verdict end_thrown_out(HookCall& call);

/// The call of a trusted hook.
inline abi::Verdict call_trusted(HookCall& call, std::uint64_t context, std::uint64_t function, const HookWords& arguments)
{
    const platform::TrustedOutcome outcome = platform::hv_run_trusted_hook(context, arguments[0], arguments[1], arguments[2],
                                                                           arguments[3], function);
    if (outcome.thrown_out != 0) [[unlikely]]
        return end_thrown_out(call);
    return end_call(call, outcome.verdict);
}

template <typename... Parameters, typename... Arguments>
[[gnu::always_inline]] inline abi::Verdict
call_hook(VcpuBinding& vcpu, Hook hook, abi::Verdict (*function)(const abi::VcpuContext*, Parameters...),
          Arguments... arguments)
{
    HookCall& call = current_call();
    begin_call(call, vcpu.binding, &vcpu, vcpu.events, hook, as_word(static_cast<Parameters>(arguments))...);
    if (vcpu.binding.route.load(std::memory_order_relaxed) != Route::direct)
        return call_isolated(call, vcpu.seat, as_word(function), {as_word(static_cast<Parameters>(arguments))...});
    return call_trusted(call, as_word(&vcpu.context), as_word(function), {as_word(static_cast<Parameters>(arguments))...});
}

template <typename... Parameters, typename... Arguments>
abi::Verdict call_hook(Binding& binding, Hook hook,
                       abi::Verdict (*function)(const abi::DomainContext*, Parameters...),
                       Arguments... arguments)
{
    HookCall& call = current_call();
    begin_call(call, binding, nullptr, binding.events, hook, as_word(static_cast<Parameters>(arguments))...);
    if (binding.route.load(std::memory_order_relaxed) != Route::direct)
        return call_isolated(call, binding.seat, as_word(function), {as_word(static_cast<Parameters>(arguments))...});
    return call_trusted(call, as_word(&binding.context), as_word(function), {as_word(static_cast<Parameters>(arguments))...});
}

/// Holds a binding's seat_lock.  Who waits for it watches meanwhile whether the hook that has it ever ends.
class [[nodiscard]] SeatHold {
public:
    explicit SeatHold(Binding& binding) : lock_{binding.seat_lock}
    {
        while (!lock_.try_lock()) {
            platform::watch_trusted_hooks();
            __builtin_ia32_pause();
        }
    }
    ~SeatHold() { lock_.unlock(); }
    SeatHold(const SeatHold&) = delete;
    SeatHold& operator=(const SeatHold&) = delete;

private:
    Spinlock& lock_;
};

/// Of a hook that did not return well and whose instance is restarted: an access is left as if the guest had not made it yet, an
/// event is told again.  No hook that serves the guest may answer so by itself.
inline constexpr abi::Verdict retry{abi::VerdictKind::refuse, 0, 0};
[[nodiscard]] constexpr bool is_retry(abi::Verdict verdict)
{
    return verdict.kind == abi::VerdictKind::refuse;
}

Answered settle_rare(VcpuBinding& vcpu, abi::Verdict verdict);

/// What a verdict of a hook that serves a guest's access means to the exit handler.
inline Answered settle(VcpuBinding& vcpu, abi::Verdict verdict)
{
    return verdict.kind == abi::VerdictKind::done ? Answered::done : settle_rare(vcpu, verdict);
}
/// The same for a hook that only hears of an event.
void settle(Binding& binding, abi::Verdict verdict);

/// True for a verdict that says the hook did what it should.
constexpr bool is_well(abi::Verdict verdict)
{
    return verdict.kind == abi::VerdictKind::done || verdict.kind == abi::VerdictKind::block ||
           verdict.kind == abi::VerdictKind::pause;
}

}  // namespace hv::core
