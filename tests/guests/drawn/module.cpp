// SPDX-License-Identifier: MIT
//
// A module that declares leaves and MSRs drawn at random from the seed in its parameter: what an answer costs must not
// depend on which they are (tests/system/answer-cost).
#include "draw.hpp"
#include "hv/ext/extension.hpp"

using namespace hv;

namespace {

struct Drawn {
    enum Window : std::uint32_t { leaves_window = 1, msrs_window = 2 };

    static constexpr ext::Info info{
        .name = "drawn", .version_major = 1, .description = "leaves and MSRs drawn at random, for a test"};
    static constexpr std::array windows{ext::cpuid_block(leaves_window, drawn::leaves),
                                        ext::any_msrs(msrs_window, drawn::msrs)};
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = leaves_window,
                          .leaf = 0,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("DrawnAnswers", drawn::leaves - 1)},
    };
    static constexpr std::array parameters{
        abi::ParameterDescription{.key = "seed",
                                  .kind = abi::ParameterKind::integer,
                                  .minimum = 0,
                                  .maximum = 0x7fff'ffff,
                                  .help = "what is drawn"},
    };

    struct DomainState {
        std::uint64_t seed;
    };
    using Domain = ext::Domain<Drawn>;

    static abi::Verdict parameter_set(Domain domain, const abi::Parameter& parameter)
    {
        const auto state = domain.update();
        if (!state)
            return ext::refuse(state.error());
        state.value()->seed = static_cast<std::uint64_t>(parameter.number);
        return abi::done;
    }

    static Status declare(Domain domain)
    {
        const drawn::Draw draw = drawn::draw(domain.state().seed);
        const abi::WindowGrant* const granted = domain.grant(msrs_window);
        if (granted == nullptr)
            return Error::not_found;
        std::array<abi::DeclaredLeaf, drawn::of_each + 1> all{};
        all[drawn::of_each] = {.window = leaves_window,
                               .leaf = 1,
                               .flags = abi::leaf_any_subleaf,
                               .values = {.eax = static_cast<std::uint32_t>(domain.state().seed),
                                          .ebx = static_cast<std::uint32_t>(granted->base)}};
        std::array<abi::DeclaredMsrRead, drawn::of_each> reads{};
        std::array<abi::DeclaredMsrWrite, drawn::of_each> writes{};
        for (unsigned index = 0; index < drawn::of_each; ++index) {
            const drawn::Answer& leaf = draw.leaves[index];
            all[index] = {.window = leaves_window,
                          .leaf = leaf.place,
                          .flags = abi::leaf_any_subleaf,
                          .values = {.eax = static_cast<std::uint32_t>(leaf.value)}};
            reads[index] = {.window = msrs_window,
                            .offset = draw.reads[index].place,
                            .kind = abi::MsrReadKind::constant,
                            .value = draw.reads[index].value};
            writes[index] = {.window = msrs_window,
                             .offset = draw.writes[index].place,
                             .kind = abi::MsrWriteKind::ignore,
                             .writable = ~0ull};
        }
        HV_TRY(domain.declare(std::span<const abi::DeclaredLeaf>{all}));
        HV_TRY(domain.declare(std::span<const abi::DeclaredMsrRead>{reads}));
        return domain.declare(std::span<const abi::DeclaredMsrWrite>{writes});
    }

    static abi::Verdict domain_create(Domain domain)
    {
        const auto declared = declare(domain);
        return declared ? abi::done : ext::refuse(declared.error());
    }
};

}  // namespace

HV_EXTENSION(Drawn)
