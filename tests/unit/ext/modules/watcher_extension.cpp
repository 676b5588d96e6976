// SPDX-License-Identifier: MIT
//
// The module that the tests of subscriptions bind: it wants to see an exit of every kind that there is, in every way.  What
// its hook does the tests put in its place.
#include "hv/ext/extension.hpp"

using namespace hv;

struct Watcher {
    struct VcpuState {
        std::uint64_t seen;
    };
    using Vcpu = ext::Vcpu<Watcher>;

    static constexpr ext::Info info{
#if defined(WATCHES_MANY_MSRS)
        .name = "watcher-many",
#elif defined(WATCHES_PAGES)
        .name = "watcher-pages",
#elif defined(WATCHES_STEPS)
        .name = "watcher-steps",
#else
        .name = "watcher",
#endif
        .version_major = 1,
        .needs = abi::need_exits | abi::need_time,
        .description = "sees what a test subscribes to"};

    static constexpr std::array exits{
        abi::ExitSubscription{abi::ExitKind::port, 0, 0x80, 0x8f},
#if defined(WATCHES_MANY_MSRS)
        abi::ExitSubscription{abi::ExitKind::msr, 0, 0, 0xffff'ffff},
        abi::ExitSubscription{abi::ExitKind::msr, 0, 1, 2},
#elif defined(WATCHES_PAGES)
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_writes, 0x2000, 0x2001},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_reads | 1 << abi::exit_condition_shift, 0x2010, 0x2010},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_executes, 0x2020, 0x2020},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_instead | abi::exit_writes, 0x2030, 0x2030},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_writes, 0xf'ee00, 0xf'ee00},
#elif defined(WATCHES_STEPS)
        abi::ExitSubscription{abi::ExitKind::single_step, 1 << abi::exit_condition_shift, abi::step_instruction, abi::step_delivery},
        abi::ExitSubscription{abi::ExitKind::single_step, abi::exit_instead | 2 << abi::exit_condition_shift, abi::step_instruction,
                              abi::step_delivery},
        abi::ExitSubscription{abi::ExitKind::single_step, abi::exit_passive | 3 << abi::exit_condition_shift, abi::step_delivery,
                              abi::step_delivery},
        abi::ExitSubscription{abi::ExitKind::page_watch, abi::exit_writes | 4 << abi::exit_condition_shift, 0x2000, 0x2000},
        abi::ExitSubscription{abi::ExitKind::cpuid, abi::exit_after, 0x99, 0x99},
#elif !defined(WATCHES_PORTS_ALONE)
        abi::ExitSubscription{abi::ExitKind::port, abi::exit_instead, 0x90, 0x93},
        abi::ExitSubscription{abi::ExitKind::cpuid, 0, 0, 0x10},
        abi::ExitSubscription{abi::ExitKind::cpuid, abi::exit_instead, 0x77, 0x77},
        abi::ExitSubscription{abi::ExitKind::cpuid, abi::exit_after, 0x99, 0x99},
        abi::ExitSubscription{abi::ExitKind::msr, abi::exit_reads, 0x10, 0x10},
        abi::ExitSubscription{abi::ExitKind::msr, abi::exit_writes | 3 << abi::exit_condition_shift, 0xc000'0102,
                              0xc000'0102},
        abi::ExitSubscription{abi::ExitKind::msr, abi::exit_instead, 0x1234, 0x1235},
        abi::ExitSubscription{abi::ExitKind::control_register, abi::exit_writes | abi::exit_instead, 3, 4},
        abi::ExitSubscription{abi::ExitKind::debug_register, abi::exit_instead | abi::exit_reads, 0, 6},
        abi::ExitSubscription{abi::ExitKind::debug_register, abi::exit_writes, 7, 7},
        abi::ExitSubscription{abi::ExitKind::control_register, abi::exit_instead, 0, 0},
        abi::ExitSubscription{abi::ExitKind::exception, 0, 14, 14},
        abi::ExitSubscription{abi::ExitKind::exception, abi::exit_instead, 12, 13},
        abi::ExitSubscription{abi::ExitKind::exception, abi::exit_instead, 1, 1},
        abi::ExitSubscription{abi::ExitKind::halt, 0, 0, 0},
        abi::ExitSubscription{abi::ExitKind::pause, 0, 0, 0},
        abi::ExitSubscription{abi::ExitKind::read_tsc, abi::exit_instead, 0, 0},
        abi::ExitSubscription{abi::ExitKind::invalidate_page, 0, 0, 0},
#endif
    };

    static abi::Verdict exit(Vcpu& vcpu, abi::ExitFrame&)
    {
        ++vcpu.state().seen;
        return abi::done;
    }
};

HV_EXTENSION(Watcher)
