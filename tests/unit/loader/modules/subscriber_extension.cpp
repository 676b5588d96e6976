// SPDX-License-Identifier: MIT
//
// A module that subscribes to exits, for the tests that break one subscription at a time.
#include "hv/ext/extension.hpp"

using namespace hv;

struct Subscriber {
    using Vcpu = ext::Vcpu<Subscriber>;

    static constexpr ext::Info info{
        .name = "subscriber", .version_major = 1, .needs = abi::need_exits, .description = "subscribes to exits"};

    static constexpr std::array exits{
        abi::ExitSubscription{abi::ExitKind::cpuid, 0, 0, 0x10},
        abi::ExitSubscription{abi::ExitKind::port, abi::exit_instead, 0x80, 0x8f},
        abi::ExitSubscription{abi::ExitKind::control_register, abi::exit_writes, 3, 4},
        abi::ExitSubscription{abi::ExitKind::exception, 0, 14, 14},
        abi::ExitSubscription{abi::ExitKind::debug_register, abi::exit_reads, 0, 7},
    };

    static abi::Verdict exit(Vcpu&, abi::ExitFrame&) { return abi::done; }
};

HV_EXTENSION(Subscriber)
