// SPDX-License-Identifier: MIT
//
// An extension: a signature in CPUID, an MSR that adds up what is written to it, and a hypercall that adds two numbers.
#include "hv/ext/extension.hpp"

using namespace hv;

struct Mine {
    static constexpr ext::Info info{.name = "mine",
                                    .version_major = 1,
                                    .description = "an MSR that adds up, a hypercall that adds"};

    enum Window : std::uint32_t { leaves_window = 1, registers_window = 2, calls_window = 3 };
    static constexpr std::array windows{
        ext::cpuid_block(leaves_window, 1),
        ext::fixed_msrs(registers_window, 0x4000'0300, 1),
        ext::hypercalls_where(calls_window, {.modes = abi::match_long_64, .operand = abi::match_always}),
    };

    // What a guest can see lives in state blocks, which outlive a crash and a swap of the module.
    struct VcpuState {
        std::uint64_t total;
    };
    using Vcpu = ext::Vcpu<Mine>;

    // What does not change from call to call is declared, and costs no call.
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = leaves_window,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("MineMineMine", 0)},
    };

    static Expected<std::uint64_t> read_total(const Vcpu& vcpu, std::uint32_t) { return vcpu.state().total; }
    static Status add_to_total(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
    {
        vcpu.state().total += value;
        return Done{};
    }
    static constexpr std::array msrs{
        ext::MsrRule<Mine>{registers_window, 0, 0, 0xffff'ffff, read_total, add_to_total},
    };

    static std::uint64_t hypercall_code(const abi::HypercallFrame& frame)
    {
        return ext::reg(frame, abi::GeneralRegister::rax);
    }
    static abi::Verdict add(Vcpu&, abi::HypercallFrame& frame)
    {
        ext::reg(frame, abi::GeneralRegister::rax) =
            ext::reg(frame, abi::GeneralRegister::rdi) + ext::reg(frame, abi::GeneralRegister::rsi);
        return abi::done_unchanged;
    }
    static constexpr std::array hypercalls{ext::HypercallRule<Mine>{.code = 1, .call = add}};
};

HV_EXTENSION(Mine)
