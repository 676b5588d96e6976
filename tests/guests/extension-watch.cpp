// SPDX-License-Identifier: MIT
//
// Looks again and again at what its machine offers, while somebody puts extensions under it and takes them away: the first
// block of leaves, an MSR, a call by the hypercall page that it once had, and a page of its own that an overlay may hide.
// Says each change in one line; it never ends by itself.
#include <atomic>

#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "kit/processors.hpp"

namespace {

using namespace guest;

// Numbers as the interface's specification fixes them [TLFS-6.0b appendix C].
constexpr std::uint32_t vp_index{0x4000'0002};
constexpr std::uint32_t reference_tsc{0x4000'0021};
constexpr std::uint64_t no_such_call{0x7777};
constexpr std::uint64_t invalid_code{2};
constexpr std::uint8_t invalid_opcode{6};

alignas(4096) volatile std::uint64_t own_page[512];
std::atomic<std::uint32_t> refused_calls;
std::atomic<std::uint64_t> second_rounds;

/// At a page of hypercalls: the instruction is VMMCALL or VMCALL, 3 bytes [APM3-3.35 "VMMCALL"].
void call_is_refused(InterruptFrame& frame)
{
    refused_calls.fetch_add(1);
    frame.rip += 3;
    frame.rax = ~0ull;
}

struct Seen {
    bool viridian;
    bool msr;
    bool calls;
    bool overlay;
    friend bool operator==(const Seen&, const Seen&) = default;
};

const char* word(bool there) { return there ? "yes" : "no"; }

/// Another processor that uses the leaves all the time.
void look_too(unsigned)
{
    for (;;) {
        static_cast<void>(block_at(0));
        static_cast<void>(read_msr(vp_index));
        second_rounds.fetch_add(1);
    }
}

Seen look(const std::optional<HypercallPage>& page)
{
    const auto block = block_at(0);
    return {.viridian = block && block->signature() == viridian_signature,
            .msr = read_msr(vp_index) == std::optional<std::uint64_t>{0},
            .calls = page && (page->call(no_such_call) & 0xffff) == invalid_code,
            .overlay = own_page[0] != 0x5a5a};
}

/// As a guest does that finds the interface for the first time.
std::optional<HypercallPage> use_interface()
{
    const auto page = enable_hypercalls(viridian_msrs());
    write_msr(reference_tsc, reinterpret_cast<std::uint64_t>(own_page) | 1);
    return page;
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("extension-watch");
    set_handler(invalid_opcode, call_is_refused);
    own_page[0] = 0x5a5a;
    ApicIds others;
    static_cast<void>(others.push_back(1));
    start_processors(others, 0, look_too);
    std::optional<HypercallPage> page;
    std::optional<Seen> told;
    for (std::uint64_t changes = 0;;) {
        Seen seen{look(page)};
        if (seen != look(page))
            continue;  // something has changed in the middle of it
        if (seen.viridian && seen.msr && !(seen.calls && seen.overlay)) {
            page = use_interface();
            seen = look(page);
        }
        if (seen == told)
            continue;
        told = seen;
        const std::uint64_t before{second_rounds.load()};
        while (second_rounds.load() - before < 100) {
        }
        fact("sees", ++changes, ": viridian ", word(seen.viridian), ", msr ", word(seen.msr), ", calls ",
             word(seen.calls), ", overlay ", word(seen.overlay), ", refused ", refused_calls.load() != 0 ? "some" : "none");
    }
}
