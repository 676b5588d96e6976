// SPDX-License-Identifier: MIT
//
// A module that subscribes to one exit of each kind and tells the guest what it was shown (tests/system/exit-hooks).
#include "hv/ext/extension.hpp"
#include "watched.hpp"

using namespace hv;

namespace {

constexpr std::uint32_t kinds{13};

constexpr std::uint32_t while_on(watched::Condition condition)
{
    return condition << abi::exit_condition_shift;
}

struct Watched {
    enum Window : std::uint32_t { leaves_window = 1, msrs_window = 2 };
    struct Shown {
        std::uint64_t count, number, value;
    };
    struct VcpuState {
        Shown shown[kinds];
        std::uint64_t answered_msr;
        std::uint64_t step_rip;  ///< where its last step ended
        std::uint32_t steps_taken, steps_broken;  ///< how many; how many that did not begin where the one before had ended
    };
    using Vcpu = ext::Vcpu<Watched>;

    static constexpr ext::Info info{.name = "watched",
                                    .version_major = 1,
                                    .needs = abi::need_exits,
                                    .description = "one exit of each kind, for a test"};
    static constexpr std::array windows{ext::cpuid_block(leaves_window, watched::leaves), ext::any_msrs(msrs_window, 1)};

    static constexpr std::array exits{
        abi::ExitSubscription{abi::ExitKind::cpuid, abi::exit_instead, watched::answered_leaf, watched::answered_leaf},
        abi::ExitSubscription{abi::ExitKind::cpuid, abi::exit_after, watched::counted_leaf, watched::counted_leaf},
        abi::ExitSubscription{abi::ExitKind::msr, abi::exit_instead, watched::answered_msr, watched::answered_msr},
        abi::ExitSubscription{abi::ExitKind::msr, while_on(watched::segment_bases), 0xc000'0102, 0xc000'0102},
        abi::ExitSubscription{abi::ExitKind::port, abi::exit_instead, watched::answered_port, watched::answered_port},
        abi::ExitSubscription{abi::ExitKind::port, abi::exit_writes, 0x80, 0x80},
        abi::ExitSubscription{abi::ExitKind::exception, 0, 0, 0},    // #DE
        abi::ExitSubscription{abi::ExitKind::exception, 0, 6, 6},    // #UD
        abi::ExitSubscription{abi::ExitKind::exception, abi::exit_instead, 14, 14},  // #PF
        abi::ExitSubscription{abi::ExitKind::exception, abi::exit_instead | while_on(watched::faults), 1, 1},  // #DB
        abi::ExitSubscription{abi::ExitKind::exception, abi::exit_instead | while_on(watched::faults), 13, 13},  // #GP
        abi::ExitSubscription{abi::ExitKind::control_register, while_on(watched::address_spaces), 3, 4},
        abi::ExitSubscription{abi::ExitKind::control_register, while_on(watched::control_0), 0, 0},
        abi::ExitSubscription{abi::ExitKind::debug_register, while_on(watched::debug_registers), 0, 1},
        abi::ExitSubscription{abi::ExitKind::debug_register, abi::exit_instead | abi::exit_reads | while_on(watched::debug_registers),
                              2, 2},
        abi::ExitSubscription{abi::ExitKind::debug_register, abi::exit_writes | while_on(watched::debug_registers), 6, 7},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_writes | while_on(watched::page_writes), watched::written_page,
                              watched::written_page + 1},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_reads | while_on(watched::page_reads), watched::read_page,
                              watched::read_page},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_executes | while_on(watched::page_fetches), watched::fetched_page,
                              watched::fetched_page},
        abi::ExitSubscription{abi::ExitKind::single_step, while_on(watched::steps), abi::step_instruction, abi::step_delivery},
        abi::ExitSubscription{abi::ExitKind::halt, while_on(watched::halts), 0, 0},
        abi::ExitSubscription{abi::ExitKind::pause, while_on(watched::pauses), 0, 0},
        abi::ExitSubscription{abi::ExitKind::read_tsc, abi::exit_instead | while_on(watched::clocks), 0, 0},
        abi::ExitSubscription{abi::ExitKind::invalidate_page, while_on(watched::translations), 0, 0},
    };

    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = leaves_window,
                          .leaf = 0,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("WatchedExits", watched::leaves - 1)}};

    static abi::Verdict domain_create(ext::Domain<Watched> domain)
    {
        const abi::WindowGrant* const granted{domain.grant(msrs_window)};
        const std::array place{
            abi::DeclaredLeaf{.window = leaves_window,
                              .leaf = watched::leaf_place,
                              .flags = abi::leaf_any_subleaf,
                              .values = {.eax = static_cast<std::uint32_t>(granted != nullptr ? granted->base : 0)}}};
        const auto declared = domain.declare(std::span<const abi::DeclaredLeaf>{place});
        return declared ? abi::done : ext::refuse(declared.error());
    }

    static abi::CpuidResult tell(const Vcpu& vcpu, std::uint32_t, std::uint32_t kind)
    {
        const Shown& shown = vcpu.state().shown[kind % kinds];
        return {static_cast<std::uint32_t>(shown.count), static_cast<std::uint32_t>(shown.number),
                static_cast<std::uint32_t>(shown.value), 0};
    }
    struct Step {
        std::uint64_t rip, number;
    };
    static constexpr std::uint32_t maximum_steps{256};
    static inline Step steps[maximum_steps];  ///< of the first VCPU, for one instance
    static inline std::uint32_t step_count;

    static abi::CpuidResult tell_step(const Vcpu& vcpu, std::uint32_t, std::uint32_t index)
    {
        if (index == watched::count_of_steps)
            return {step_count, vcpu.state().steps_taken, vcpu.state().steps_broken, 0};
        const Step step = index < maximum_steps ? steps[index] : Step{};
        return {static_cast<std::uint32_t>(step.rip), static_cast<std::uint32_t>(step.number), 0, 0};
    }
    static constexpr std::array computed_leaves{
        ext::LeafRule<Watched>{leaves_window, watched::leaf_shown, watched::leaf_shown, tell},
        ext::LeafRule<Watched>{leaves_window, watched::leaf_steps, watched::leaf_steps, tell_step}};

    static Status set_condition(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
    {
        if (value == (watched::steps | watched::switch_on))
            step_count = 0;
        return ext::check(ext::host().set_condition(vcpu.domain(), static_cast<std::uint32_t>(value & 0xff),
                                                    (value & watched::switch_on) != 0 ? 1 : 0));
    }
    static constexpr std::array msrs{ext::MsrRule<Watched>{msrs_window, 0, 0, 0x1ff, nullptr, set_condition}};

    static abi::Verdict exit(Vcpu& vcpu, abi::ExitFrame& frame)
    {
        VcpuState& state = vcpu.state();
        if (frame.kind == abi::ExitKind::single_step) {
            state.steps_broken += state.steps_taken++ != 0 && frame.value != state.step_rip ? 1 : 0;
            state.step_rip = frame.rip;
            if (vcpu.index() == 0 && step_count < maximum_steps)
                steps[step_count++] = {frame.rip, frame.number};
            return abi::done;
        }
        Shown& shown = state.shown[static_cast<std::uint32_t>(frame.kind) % kinds];
        ++shown.count;
        shown.number = frame.number;
        shown.value = frame.value;
        return answer(state, frame);
    }

private:
    static abi::Verdict answer_exception(abi::ExitFrame& frame)
    {
        constexpr std::uint64_t divide{0}, general_protection{13}, load_length{3};
        constexpr unsigned rdi{7};
        if (frame.number == divide)
            return abi::inject_general_protection;
        if (frame.number < general_protection)
            return abi::done;
        if (frame.general[rdi] != watched::no_address && frame.general[rdi] != watched::unmapped_address)
            return abi::not_mine;
        frame.general[0] = watched::load_answer;  // the guest's load is done
        frame.rip += load_length;
        return {abi::VerdictKind::done, abi::verdict_keep_rip, 0};
    }
    static abi::Verdict answer(VcpuState& state, abi::ExitFrame& frame)
    {
        switch (frame.kind) {
        case abi::ExitKind::cpuid: frame.general[0] = watched::leaf_answer; return abi::done;
        case abi::ExitKind::msr:
            if (frame.number != watched::answered_msr)
                return abi::done;
            (frame.write != 0 ? state.answered_msr : frame.value) = frame.write != 0 ? frame.value : state.answered_msr;
            return abi::done;
        case abi::ExitKind::port: frame.value = watched::port_answer; return abi::done;
        case abi::ExitKind::exception: return answer_exception(frame);
        case abi::ExitKind::halt: return frame.value < watched::polls_of_halt ? abi::again : abi::done;
        case abi::ExitKind::debug_register: frame.value = watched::debug_answer; return abi::done;
        case abi::ExitKind::read_tsc: frame.value = watched::clock_answer; return abi::done;
        default: return abi::done;
        }
    }
};

}  // namespace

HV_EXTENSION(Watched)
