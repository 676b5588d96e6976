// SPDX-License-Identifier: MIT
//
// A module that says its parameters to the guest: the words of a list are its signature, so that the smallest guest shows
// whether a list went all the way.  Where `pause` is true the guest's first look at it pauses the domain.  It demands the
// first block of leaves, as an interface does whose guests look nowhere else.  For tests alone.
#include "hv/ext/extension.hpp"

using namespace hv;

namespace {

constexpr std::size_t letters{12};

struct Herald {
    enum Window : std::uint32_t { leaves_window = 1 };

    struct DomainState {
        char signature[16];  ///< the words, one after the other
        std::uint32_t length;
        std::uint32_t elements;  ///< of the list, as the last one said
        std::uint64_t pause;     ///< 1: the next look pauses
    };
    struct VcpuState {
        std::uint64_t looks;
    };
    using Domain = ext::Domain<Herald>;
    using Vcpu = ext::Vcpu<Herald>;

    static constexpr ext::Info info{
        .name = "herald", .version_major = 1, .description = "tells the guest its parameters, for a test"};
    static constexpr std::array windows{ext::cpuid_block(leaves_window, 2, abi::cpuid_first_block)};
    static constexpr std::array parameters{
        abi::ParameterDescription{.key = "words",
                                  .kind = abi::ParameterKind::text,
                                  .flags = abi::parameter_list,
                                  .maximum = letters,
                                  .help = "twelve letters together"},
        abi::ParameterDescription{.key = "pause",
                                  .kind = abi::ParameterKind::boolean,
                                  .maximum = 1,
                                  .help = "the first look pauses"},
    };

    static abi::Verdict parameter_set(Domain domain, const abi::Parameter& parameter)
    {
        const auto state = domain.update();
        if (!state)
            return ext::refuse(state.error());
        DomainState& own = *state.value();
        if (parameter.kind == abi::ParameterKind::boolean) {
            own.pause = static_cast<std::uint64_t>(parameter.number);
            return abi::done;
        }
        own.elements = parameter.count;
        if (own.length + parameter.text_length > letters) {
            ext::explain(domain.handle(), "the words have more than ", letters, " letters");
            return ext::refuse(Error::invalid_argument);
        }
        std::copy_n(parameter.text, parameter.text_length, own.signature + own.length);
        own.length += parameter.text_length;
        return abi::done;
    }

    /// Leaf 0 is the signature, leaf 1 has the number of words in EAX.
    static abi::Verdict cpuid(Vcpu& vcpu, std::uint32_t, std::uint32_t leaf, std::uint32_t, abi::CpuidResult& result)
    {
        const DomainState& own = vcpu.domain_state();
        if (leaf == 1) {
            result.eax = own.elements;
            return abi::done;
        }
        const auto word = [&](std::size_t at) {
            return abi::table_magic(own.signature[at], own.signature[at + 1], own.signature[at + 2],
                                    own.signature[at + 3]);
        };
        result = {.eax = abi::cpuid_first_block + 1, .ebx = word(0), .ecx = word(4), .edx = word(8)};
        if (own.pause == 0 || vcpu.state().looks++ != 0)
            return abi::done;
        ext::explain(vcpu.domain(), "somebody looked");
        return {abi::VerdictKind::pause, 0, 7};
    }
};

}  // namespace

HV_EXTENSION(Herald)
