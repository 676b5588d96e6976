// SPDX-License-Identifier: MIT
//
// The module in which the fuzzer changes the manifest and the tables: one of every table, several kinds of window, and few
// hooks, since the loader's time for one goes with the square of their number.
#include "hv/ext/extension.hpp"

using namespace hv;

struct Carrier {
    struct DomainState {
        std::uint64_t word;
    };
    struct VcpuState {
        std::uint64_t word;
    };
    static constexpr std::uint32_t state_version{1};
    using Domain = ext::Domain<Carrier>;
    using Vcpu = ext::Vcpu<Carrier>;

    static constexpr ext::Info info{.name = "carrier",
                                    .version_major = 1,
                                    .needs = abi::need_time,
                                    .description = "is changed by a fuzzer"};
    static constexpr std::array windows{
        ext::cpuid_block(1, 4),
        ext::fixed_msrs(2, 0x4000'0000, 0x200),
        ext::hypercalls_where(3, {.modes = abi::match_long_64,
                                  .operand = static_cast<std::uint32_t>(abi::GeneralRegister::rax),
                                  .mask = 0x8000'0000,
                                  .value = 0}),
        ext::any_msrs(4, 1),
        ext::fixed_ports(5, 0x510, 4),
        ext::fixed_mmio(6, 0xfed0'0000, 0x1000),
    };
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = 1,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("CarrierFuzz ", 3)},
        abi::DeclaredLeaf{.window = 1,
                          .leaf = 1,
                          .values = {.eax = 7},
                          .field = abi::VcpuField::index,
                          .field_register = 1},
    };
    static constexpr std::array msr_reads{
        abi::DeclaredMsrRead{.window = 2, .offset = 2, .kind = abi::MsrReadKind::vcpu_field, .argument = 1}};
    static constexpr std::array msr_writes{abi::DeclaredMsrWrite{
        .window = 2, .offset = 0x70, .kind = abi::MsrWriteKind::apic_eoi, .writable = ~0ull}};
    static constexpr std::array parameters{abi::ParameterDescription{.key = "features",
                                                                     .kind = abi::ParameterKind::text,
                                                                     .flags = abi::parameter_list,
                                                                     .maximum = 16,
                                                                     .choices = "base|time",
                                                                     .help = "groups to offer"}};

    static abi::Verdict parameter_set(Domain, const abi::Parameter&) { return abi::done; }
    static abi::Verdict mmio_read(Vcpu&, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t&)
    {
        return abi::not_mine;
    }
    static abi::Verdict mmio_write(Vcpu&, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t)
    {
        return abi::not_mine;
    }
    static abi::Verdict port_read(Vcpu&, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t&)
    {
        return abi::not_mine;
    }
    static abi::Verdict port_write(Vcpu&, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t)
    {
        return abi::not_mine;
    }
    static abi::Verdict hypercall(Vcpu&, abi::HypercallFrame&) { return abi::not_mine; }
    static Expected<std::uint64_t> read(const Vcpu& vcpu, std::uint32_t) { return vcpu.domain_state().word; }
    static constexpr std::array msrs{ext::MsrRule<Carrier>{2, 0, 0, 0, read, nullptr}};
};

HV_EXTENSION(Carrier)
