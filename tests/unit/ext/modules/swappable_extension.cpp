// SPDX-License-Identifier: MIT
//
// The module that the tests of hot swap swap: it has a state in every place that must survive, and tells which
// version answers.  Built in several versions, of which some must be refused.
#include "hv/abi/state_record.hpp"
#include "hv/ext/extension.hpp"
#include "hv/ext/guest_page.hpp"

using namespace hv;

#ifndef VERSION
#define VERSION 1
#endif

struct Swappable {
    struct DomainState {
        std::uint64_t word;
        ext::Overlay page;
#if defined(CONVERTS) || defined(GROWS)
        std::uint64_t converted;
        std::uint64_t reserved;
#endif
    };
    struct VcpuState {
        std::uint64_t fired;
        std::uint64_t calls;
        std::uint64_t timer;
        std::uint64_t imported_steps;
    };
    using Domain = ext::Domain<Swappable>;
    using Vcpu = ext::Vcpu<Swappable>;
#if defined(CONVERTS) || defined(UNREADABLE) || defined(GROWS)
    static constexpr std::uint32_t state_version{2};
#endif
#if defined(GROWS)
    static constexpr std::uint32_t oldest_state_version{1};
#endif
    static constexpr ext::Info info{
#ifdef OTHER_NAME
                                    .name = "another",
#else
                                    .name = "swappable",
#endif
                                    .version_major = 1,
                                    .version_minor = VERSION,
                                    .needs = abi::need_overlays | abi::need_vcpus | abi::need_time |
                                             abi::need_timers | abi::need_domain | abi::need_guest_memory,
                                    .hypercall_pages = 1,
                                    .description = "is swapped by a test"};
#ifdef OTHER_WINDOWS
    static constexpr std::uint64_t msr_count{32};
#else
    static constexpr std::uint64_t msr_count{16};
#endif
    static constexpr std::array windows{
        ext::cpuid_block(1, 0x10),
        ext::any_msrs(2, msr_count),
        ext::hypercalls_where(3, {.modes = abi::match_long_64,
                                  .operand = static_cast<std::uint32_t>(abi::GeneralRegister::rcx),
                                  .mask = 0xff,
                                  .value = 7}),
    };
    static constexpr std::array leaves{
        abi::DeclaredLeaf{.window = 1,
                          .flags = abi::leaf_any_subleaf | abi::leaf_eax_plus_base,
                          .values = ext::signature("SwapSwapSwap", 1)},
#ifndef FEWER_LEAVES
        abi::DeclaredLeaf{.window = 1, .leaf = 1, .flags = abi::leaf_any_subleaf, .values = {.eax = 5}},
#endif
    };

    static abi::Verdict domain_create(Domain domain)
    {
#ifdef ACTS_TOO_EARLY
        std::uint64_t page{};
        if (domain.start_reason() == abi::start_import &&
            ext::host().overlay_create(domain.handle(), &page) != abi::status_busy)
            return ext::refuse(Error::conflict);
#endif
#ifdef BAD_VERDICT
        if (domain.start_reason() == abi::start_import)
            return abi::again;
#endif
        const std::array reads{abi::DeclaredMsrRead{
            .window = 2, .offset = 5, .kind = abi::MsrReadKind::constant, .value = 0x77}};
        return domain.declare(std::span<const abi::DeclaredMsrRead>{reads}) ? abi::done
                                                                            : ext::refuse(Error::no_memory);
    }
    static abi::Verdict hypercall_page(Domain, const abi::HypercallPageRequest& request)
    {
#ifdef OTHER_PAGE
        request.bytes[9] = 0x90;
#endif
        request.bytes[0] = 0xc3;
        return abi::done;
    }

    static Expected<std::uint64_t> read(const Vcpu& vcpu, std::uint32_t offset)
    {
        switch (offset) {
        case 0: return vcpu.domain_state().word;
        case 1: return vcpu.state().fired;
        default: return std::uint64_t{VERSION};
        }
    }
    static Status write(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value)
    {
        if (offset == 0) {
            HV_TRY(vcpu.update_domain())->word = value;
            return Done{};
        }
        if (offset == 3) {
            auto* const state = HV_TRY(vcpu.update_domain());
            if (state->page.page == 0)
                state->page = HV_TRY(ext::Overlay::create(vcpu.domain()));
            HV_TRY(state->page.view(vcpu.domain()).store<std::uint32_t>(0, 0x5a5a));
            return state->page.place(vcpu.domain(), GuestPhysical{value}, true);
        }
        if (vcpu.state().timer == 0)
            HV_TRY(ext::check(ext::host().timer_create(vcpu.handle(), 42, &vcpu.state().timer)));
        const abi::TimerSetting setting{.deadline_ns = HV_TRY(vcpu.now()) + value};
        return ext::check(ext::host().timer_set(vcpu.state().timer, &setting));
    }
    static constexpr std::array msrs{
        ext::MsrRule<Swappable>{2, 0, 0, ~0ull, read, write},
        ext::MsrRule<Swappable>{2, 1, 1, 0, read, nullptr},
        ext::MsrRule<Swappable>{2, 2, 2, ~0ull, nullptr, write},
        ext::MsrRule<Swappable>{2, 3, 3, ~0ull, nullptr, write},
        ext::MsrRule<Swappable>{2, 4, 4, 0, read, nullptr},
    };

    static abi::Verdict timer(Vcpu& vcpu, std::uint64_t, std::uint64_t cookie, std::uint64_t)
    {
        vcpu.state().fired += cookie == 42 ? 1 : 100;
        return abi::done;
    }
    /// Gives way RDX times; the answer is in RAX.
    static abi::Verdict hypercall(Vcpu& vcpu, abi::HypercallFrame& frame)
    {
        ++vcpu.state().calls;
        frame.continuation[0] = frame.general[static_cast<unsigned>(abi::GeneralRegister::rdx)];
        return abi::again;
    }
    static abi::Verdict hypercall_continue(Vcpu&, abi::HypercallFrame& frame)
    {
        ++frame.continuation[1];
        if (--frame.continuation[0] != 0)
            return abi::again;
        frame.general[0] = frame.continuation[1];
        return abi::done;
    }
#if defined(CONVERTS)
    static abi::Verdict import_state(Domain domain, const std::uint8_t* bytes, std::uint64_t length)
    {
        abi::StateRecordHeader header{};
        for (std::uint64_t at = 0; at + sizeof header <= length;) {
            __builtin_memcpy(&header, bytes + at, sizeof header);
            if (header.type == abi::record_domain_block && header.version == 1) {
                const auto state = domain.update();
                __builtin_memcpy(state.value(), bytes + at + sizeof header, header.length);
                state.value()->converted = 1;
            }
            at += sizeof header + (header.length + 7) / 8 * 8;
        }
        return abi::done;
    }
#elif defined(REFUSES)
    static abi::Verdict import_state(Domain domain, const std::uint8_t*, std::uint64_t)
    {
        ext::explain(domain.handle(), "this state is not to its taste");
        return ext::refuse(Error::conflict);
    }
#endif
};

HV_EXTENSION(Swappable)
