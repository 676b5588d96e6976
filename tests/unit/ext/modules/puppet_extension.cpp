// SPDX-License-Identifier: MIT
//
// The module that the framework's tests bind: it says each hook that is called, fails where a parameter tells
// it to, and has a window of every kind; what its hooks do while a guest runs the tests put in their place.
// Built twice, so that two can stand in one stack.
#include "hv/ext/extension.hpp"

using namespace hv;

#if defined(PUPPET_SERIAL)
constexpr std::string_view puppet_name{"puppet-serial"};
constexpr std::uint64_t rule_value{0x3000};
constexpr std::uint16_t first_port{0x630};
constexpr std::uint64_t mmio_base{0xfed2'0000};
#elif defined(PUPPET_FIXED)
constexpr std::string_view puppet_name{"puppet-fixed"};
constexpr std::uint64_t rule_value{0x2100};  // some of the calls of puppet-two's rule
constexpr std::uint16_t first_port{0x640};
constexpr std::uint64_t mmio_base{0xfed3'0000};
#elif defined(PUPPET_SECOND)
constexpr std::string_view puppet_name{"puppet-two"};
constexpr std::uint64_t rule_value{0x2000};
constexpr std::uint16_t first_port{0x620};
constexpr std::uint64_t mmio_base{0xfed1'0000};
#else
#ifdef PUPPET_CLASHES
constexpr std::string_view puppet_name{"puppet-clash"};
#else
constexpr std::string_view puppet_name{"puppet-one"};
#endif
constexpr std::uint64_t rule_value{0x1000};
constexpr std::uint16_t first_port{0x610};
constexpr std::uint64_t mmio_base{0xfed0'0000};
#endif

enum class FailAt : std::uint64_t {
    nowhere,
    parameter_set,
    domain_create,
    hypercall_page,
    vcpu_initialise
};

struct Puppet {
    struct DomainState {
        FailAt fail;
        std::uint64_t words[7];
    };
    struct VcpuState {
        std::uint64_t words[8];
    };
    using Domain = ext::Domain<Puppet>;
    using Vcpu = ext::Vcpu<Puppet>;

    static constexpr ext::Info info{.name = puppet_name,
                                    .version_major = 1,
                                    .version_minor = 2,
                                    .version_patch = 3,
                                    .needs = abi::provided_needs & ~abi::need_allocation,
#ifdef PUPPET_SERIAL
                                    .flags = abi::manifest_serial,
#endif
                                    .hypercall_pages = 1,
                                    .description = "does what a test says"};

    static constexpr std::array counters{ext::counter("first", offsetof(VcpuState, words)),
                                         ext::counter("last", offsetof(VcpuState, words) + 56)};

    static constexpr std::array windows{
#ifdef PUPPET_FIXED
        ext::cpuid_block(1, 0x40, abi::cpuid_first_block),
#else
        ext::cpuid_block(1, 0x40),
#endif
#if defined(PUPPET_CLASHES) || defined(PUPPET_FIXED)
        ext::fixed_msrs(2, 0x4000'8000, 0x100),
#else
        ext::any_msrs(2, 0x100),
#endif
        ext::hypercalls_where(3, {.modes = abi::match_long_64,
                                  .maximum_cpl = 0,
                                  .operand = static_cast<std::uint32_t>(abi::GeneralRegister::rcx),
                                  .mask = rule_value == 0x2100 ? 0xff00 : 0xf000,
                                  .value = rule_value}),
        ext::fixed_ports(4, first_port, 4),
        ext::fixed_mmio(5, mmio_base, 0x1000),
        ext::any_msrs(6, 0x1000),
    };
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = 1,
                          .leaf = 0,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("PuppetPuppet", 3)},
        abi::DeclaredLeaf{.window = 1,
                          .leaf = 1,
                          .values = {.eax = 7},
                          .field = abi::VcpuField::index,
                          .field_register = 1,
                          .field_shift = 8},
    };
    static constexpr std::array msr_reads{abi::DeclaredMsrRead{
        .window = 2, .offset = 0, .kind = abi::MsrReadKind::constant, .value = 0x1234'5678'9abc}};
    static constexpr std::array msr_writes{
        abi::DeclaredMsrWrite{.window = 2, .offset = 1, .kind = abi::MsrWriteKind::ignore, .writable = 0xff}};
    static constexpr std::array parameters{
        abi::ParameterDescription{.key = "fail",
                                  .kind = abi::ParameterKind::text,
                                  .flags = abi::parameter_list,
                                  .maximum = 32,
                                  .choices =
                                      "nowhere|parameter_set|domain_create|hypercall_page|vcpu_initialise",
                                  .help = "hook that refuses"},
        abi::ParameterDescription{.key = "count",
                                  .kind = abi::ParameterKind::integer,
                                  .minimum = 1,
                                  .maximum = 5,
                                  .help = "a number"},
        abi::ParameterDescription{
            .key = "loud", .kind = abi::ParameterKind::boolean, .maximum = 1, .help = "a switch"},
        abi::ParameterDescription{.key = "word",
                                  .kind = abi::ParameterKind::text,
                                  .minimum = 2,
                                  .maximum = 4,
                                  .help = "a short text"},
    };

    static void said(std::string_view hook)
    {
        ext::log(abi::LogLevel::info, puppet_name, " ", hook);
    }
    static abi::Verdict answer(const DomainState& state, FailAt here, std::uint64_t domain)
    {
        if (state.fail != here)
            return abi::done;
        ext::explain(domain, "the puppet was told to");
        return ext::refuse(Error::busy);
    }

    static abi::Verdict parameter_set(Domain domain, const abi::Parameter& parameter)
    {
        if (parameter.count == 1)
            said("parameter_set");
        else
            ext::log(abi::LogLevel::info, puppet_name, " parameter_set ", parameter.index, " of ",
                     parameter.count);
        constexpr std::string_view names[]{"nowhere", "parameter_set", "domain_create", "hypercall_page",
                                           "vcpu_initialise"};
        const auto state = domain.update();
        if (!state)
            return ext::refuse(state.error());
        for (std::uint64_t index = 0; index < std::size(names); ++index)
            if (names[index] == std::string_view{parameter.text, parameter.text_length})
                state.value()->fail = static_cast<FailAt>(index);
        return answer(*state.value(), FailAt::parameter_set, domain.handle());
    }
    static abi::Verdict domain_create(Domain domain)
    {
        said("domain_create");
        return answer(domain.state(), FailAt::domain_create, domain.handle());
    }
    static abi::Verdict hypercall_page(Domain domain, const abi::HypercallPageRequest& request)
    {
        said("hypercall_page");
        std::copy_n(request.instruction, request.instruction_length, request.bytes);
        request.bytes[request.instruction_length] = 0xc3;  // RET
        return answer(domain.state(), FailAt::hypercall_page, domain.handle());
    }
    static abi::Verdict vcpu_initialise(Vcpu& vcpu)
    {
        said("vcpu_initialise");
        return vcpu.index() == 0 ? abi::done
                                 : answer(vcpu.domain_state(), FailAt::vcpu_initialise, vcpu.domain());
    }
    static abi::Verdict vcpu_destroy(Vcpu&)
    {
        said("vcpu_destroy");
        return abi::done;
    }
    static abi::Verdict domain_destroy(Domain)
    {
        said("domain_destroy");
        return abi::done;
    }
    static abi::Verdict freeze(Domain)
    {
        said("freeze");
        return abi::done;
    }
    static abi::Verdict thaw(Domain)
    {
        said("thaw");
        return abi::done;
    }
};

HV_EXTENSION(Puppet)
