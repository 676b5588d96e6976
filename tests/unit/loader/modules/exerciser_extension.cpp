// SPDX-License-Identifier: MIT
//
// A module that has every hook and every kind of table, so that the compile-time layer and the loader meet
// all of them; its hooks do just enough to be told apart by a test.
#include "hv/ext/extension.hpp"
#include "hv/ext/guest_page.hpp"
#include "hv/ext/timer.hpp"

using namespace hv;

namespace {

std::uint64_t calls{};               // .bss: of this instance
std::uint64_t initialised{41};       // .data: of this instance
std::uint64_t* const where{&calls};  // .data.rel.ro, or folded away

}  // namespace

struct Exerciser {
    struct DomainState {
        std::uint64_t guest_id;
        ext::Overlay page;
    };
    struct VcpuState {
        std::uint64_t value;
        ext::Timer timer;
    };
    static constexpr std::uint32_t state_version{3};
    using Domain = ext::Domain<Exerciser>;
    using Vcpu = ext::Vcpu<Exerciser>;

    static constexpr ext::Info info{.name = "exerciser",
                                    .version_major = 1,
                                    .version_minor = 2,
                                    .version_patch = 3,
                                    .needs = abi::need_guest_memory | abi::need_overlays |
                                             abi::need_pinned_pages | abi::need_time | abi::need_timers,
                                    .flags = abi::manifest_serial,
                                    .hypercall_pages = 1,
                                    .description = "has every hook"};

    static constexpr std::array windows{
        ext::cpuid_block(1, 4),
        ext::fixed_msrs(2, 0x4000'0000, 0x200),
        ext::hypercalls_where(3, {.modes = abi::match_long_64 | abi::match_protected_32,
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
                          .values = ext::signature("ExerciserHV ", 3)},
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
    static constexpr std::array counters{ext::counter("values", offsetof(VcpuState, value)),
                                         ext::counter("timers", offsetof(VcpuState, timer))};

    static abi::Verdict parameter_set(Domain domain, const abi::Parameter& parameter)
    {
        ext::explain(domain.handle(), "no parameter is called ",
                     std::string_view{parameter.key, parameter.key_length});
        return ext::refuse(Error::not_found);
    }
    static abi::Verdict domain_create(Domain domain)
    {
        const auto state = domain.update();
        const auto page = ext::Overlay::create(domain.handle());
        if (!state || !page)
            return ext::refuse(Error::no_memory);
        state.value()->page = page.value();
        calls = ++initialised;
        ext::log(abi::LogLevel::info, "created, ", *where);
        return abi::done;
    }
    static abi::Verdict domain_destroy(Domain) { return abi::done; }
    static abi::Verdict freeze(Domain) { return abi::done; }
    static abi::Verdict thaw(Domain) { return abi::done; }
    static abi::Verdict hypercall_page(Domain, const abi::HypercallPageRequest& request)
    {
        std::copy_n(request.instruction, request.instruction_length, request.bytes);
        request.bytes[request.instruction_length] = 0xc3;  // RET
        return abi::done;
    }
    static abi::Verdict channel_message(Domain, std::uint64_t, const void*, std::uint64_t)
    {
        return abi::done;
    }
    static abi::Verdict export_state(Domain, std::uint8_t*, std::uint64_t, std::uint64_t& used)
    {
        used = 0;
        return abi::done;
    }
    static abi::Verdict import_state(Domain, const std::uint8_t*, std::uint64_t) { return abi::done; }

    static abi::Verdict vcpu_initialise(Vcpu& vcpu)
    {
        const auto timer = ext::Timer::create(vcpu.handle(), 7);
        if (!timer)
            return ext::refuse(timer.error());
        vcpu.state().timer = timer.value();
        return abi::done;
    }
    static abi::Verdict vcpu_reset(Vcpu& vcpu)
    {
        return vcpu.state().timer.cancel() ? abi::done : abi::refuse(abi::status_gone);
    }
    static abi::Verdict vcpu_destroy(Vcpu&) { return abi::done; }
    static abi::Verdict before_entry(Vcpu&) { return abi::done_unchanged; }
    static abi::Verdict interrupt_window(Vcpu&) { return abi::done_unchanged; }
    static abi::Verdict interrupt_accepted(Vcpu&, std::uint32_t) { return abi::done_unchanged; }
    static abi::Verdict interrupt_ended(Vcpu&, std::uint32_t) { return abi::done_unchanged; }
    static abi::Verdict run_state_changed(Vcpu&, abi::RunState, abi::RunState, std::uint64_t)
    {
        return abi::done;
    }
    static abi::Verdict timer(Vcpu& vcpu, std::uint64_t, std::uint64_t cookie, std::uint64_t missed)
    {
        vcpu.state().value += cookie + missed;
        return abi::done;
    }
    static abi::Verdict mmio_read(Vcpu&, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t& value)
    {
        value = 0x55;
        return abi::done_unchanged;
    }
    static abi::Verdict mmio_write(Vcpu&, std::uint32_t, std::uint64_t, std::uint32_t, std::uint64_t)
    {
        return abi::done;
    }
    static abi::Verdict port_read(Vcpu&, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t& value)
    {
        value = 0xaa;
        return abi::done_unchanged;
    }
    static abi::Verdict port_write(Vcpu&, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t)
    {
        return abi::done;
    }
    static abi::Verdict hypercall_continue(Vcpu&, abi::HypercallFrame&) { return abi::done; }
    static abi::Verdict exit(Vcpu&, abi::ExitFrame&) { return abi::not_mine; }

    static abi::CpuidResult compute(const Vcpu& vcpu, std::uint32_t leaf, std::uint32_t)
    {
        return {.eax = leaf, .ebx = vcpu.initial_apic_id()};
    }
    static constexpr std::array computed_leaves{ext::LeafRule<Exerciser>{1, 2, 3, compute}};

    static Expected<std::uint64_t> read_id(const Vcpu& vcpu, std::uint32_t)
    {
        return vcpu.domain_state().guest_id;
    }
    static Status write_id(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
    {
        HV_TRY(vcpu.update_domain())->guest_id = value;
        return Done{};
    }
    static constexpr std::array msrs{ext::MsrRule<Exerciser>{2, 0, 0, ~0ull, read_id, write_id},
                                     ext::MsrRule<Exerciser>{2, 1, 1, 0xffff, nullptr, write_id}};

    static std::uint64_t hypercall_code(const abi::HypercallFrame& frame) { return frame.general[0]; }
    static abi::Verdict count(Vcpu& vcpu, abi::HypercallFrame& frame)
    {
        vcpu.state().value += 1;
        frame.general[0] = ++calls;
        return abi::done;
    }
    static abi::Verdict hypercall_unknown(Vcpu&, abi::HypercallFrame& frame)
    {
        frame.general[0] = ~0ull;
        return abi::done_unchanged;
    }
    static constexpr std::array hypercalls{ext::HypercallRule<Exerciser>{1, count}};
};

HV_EXTENSION(Exerciser)
