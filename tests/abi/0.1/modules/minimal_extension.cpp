// SPDX-License-Identifier: MIT
//
// The complete example of extensions/README.md: a signature, a hypercall that adds, and a count that outlives a restart.
#include "hv/ext/extension.hpp"

using namespace hv;

struct Minimal {
    enum Window : std::uint32_t { leaves_window = 1, calls_window = 2 };

    static constexpr ext::Info info{.name = "minimal",
                                    .version_major = 1,
                                    .description = "a signature and one hypercall: RDI + RSI in RAX"};

    struct VcpuState {
        std::uint64_t calls;
    };

    static constexpr std::array windows{
        ext::cpuid_block(leaves_window, 2),
        ext::hypercalls_where(calls_window, {.modes = abi::match_long_64, .operand = abi::match_always}),
    };
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = leaves_window, .leaf = 0, .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("MinimalGraft", 1)},
    };

    static std::uint64_t hypercall_code(const abi::HypercallFrame& frame)
    {
        return reg(frame, abi::GeneralRegister::rax);
    }
    static abi::Verdict add(ext::Vcpu<Minimal>& vcpu, abi::HypercallFrame& frame)
    {
        vcpu.state().calls += 1;
        reg(frame, abi::GeneralRegister::rax) =
            reg(frame, abi::GeneralRegister::rdi) + reg(frame, abi::GeneralRegister::rsi);
        return abi::done;
    }
    static constexpr std::array hypercalls{ext::HypercallRule<Minimal>{.code = 1, .call = add}};

private:
    static constexpr auto reg = [](auto& frame, abi::GeneralRegister name) -> auto& { return ext::reg(frame, name); };
};

HV_EXTENSION(Minimal)
