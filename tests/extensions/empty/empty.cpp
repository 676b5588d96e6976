// SPDX-License-Identifier: MIT
//
// A module whose hooks do nothing, beside declared answers of the same kinds: what a call of a hook costs (scripts/bench).
#include "empty.hpp"
#include "hv/ext/extension.hpp"

using namespace hv;

struct Empty {
    enum Window : std::uint32_t { leaves_window = 1, msrs_window, calls_window, ports_window, mmio_window };
    using Vcpu = ext::Vcpu<Empty>;

    static constexpr ext::Info info{.name = "empty", .version_major = 1, .description = "hooks that do nothing, for scripts/bench"};
    static constexpr std::array windows{
        ext::cpuid_block(leaves_window, 2, empty::first_leaf),
        ext::fixed_msrs(msrs_window, empty::first_msr, 2),
        ext::hypercalls_where(calls_window, {.modes = abi::match_long_64, .operand = abi::match_always}),
        ext::fixed_ports(ports_window, empty::port, 1),
        ext::fixed_mmio(mmio_window, empty::mmio, 4096),
    };
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = leaves_window, .leaf = 0, .flags = abi::leaf_any_subleaf, .values = {.eax = empty::first_leaf + 1}}};
    static constexpr std::array msr_reads{
        abi::DeclaredMsrRead{.window = msrs_window, .offset = 0, .kind = abi::MsrReadKind::constant, .value = 1}};
    static constexpr std::array msr_writes{
        abi::DeclaredMsrWrite{.window = msrs_window, .offset = 0, .kind = abi::MsrWriteKind::ignore, .writable = ~0ull}};

    static abi::Verdict cpuid(Vcpu&, std::uint32_t, std::uint32_t, std::uint32_t, abi::CpuidResult&) { return abi::done_unchanged; }
    static abi::Verdict msr_read(Vcpu&, std::uint32_t, std::uint32_t, std::uint64_t&) { return abi::done_unchanged; }
    static abi::Verdict msr_write(Vcpu&, std::uint32_t, std::uint32_t, std::uint64_t) { return abi::done_unchanged; }
    static abi::Verdict hypercall(Vcpu&, abi::HypercallFrame&) { return abi::done_unchanged; }
    static abi::Verdict port_read(Vcpu&, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t&) { return abi::done_unchanged; }
    static abi::Verdict port_write(Vcpu&, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t) { return abi::done_unchanged; }
    static abi::Verdict mmio_read(Vcpu&, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t&) { return abi::done_unchanged; }
    static abi::Verdict mmio_write(Vcpu&, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t) { return abi::done_unchanged; }
};

HV_EXTENSION(Empty)
