// SPDX-License-Identifier: MIT
//
// The registers that place a page over the guest's memory, and the identity without which there is no hypercall page.
// Specification: [TLFS-6.0b §3.12, §3.13, §10.3.5, §11.8, §12.7].
#include <cstring>

#include "kit/console.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "tlfs/probes.hpp"

namespace guest::tlfs {
namespace {

constexpr std::uint32_t guest_id{0x4000'0000}, hypercall{0x4000'0001}, reference_count{0x4000'0020}, reference_tsc{0x4000'0021};
constexpr std::uint64_t enable{1}, nowhere{1ull << 51};
constexpr std::uint64_t own{0x6a09'e667'f3bc'c908};

alignas(4096) std::uint64_t call_page[512];
alignas(4096) volatile std::uint64_t some_page[512];
volatile bool undefined;
volatile std::uint64_t page_of_the_call;

/// An undefined opcode in the hypercall page: back to who called it.
void took_undefined(InterruptFrame& frame)
{
    if (frame.rip - page_of_the_call >= sizeof call_page) {
        fact("trap", "an undefined opcode at ", hv::Hex{frame.rip});
        stop_for_good();
    }
    undefined = true;
    std::memcpy(&frame.rip, reinterpret_cast<const void*>(frame.rsp), sizeof frame.rip);
    frame.rsp += sizeof frame.rip;
}

void rule(std::string_view name, std::uint64_t value)
{
    print_line("tlfs: rule ", name, ": ", hv::Hex{value});
}
void rule(std::string_view name, std::string_view what)
{
    print_line("tlfs: rule ", name, ": ", what);
}
std::string_view answer(bool written)
{
    return written ? "taken" : "#GP";
}

void probe_identity()
{
    const auto page = reinterpret_cast<std::uint64_t>(call_page);
    rule("hypercall-page-without-identity", answer(write_msr(hypercall, page | enable)));
    rule("hypercall-page-without-identity-enabled", read_msr(hypercall).value_or(0) & enable);
    write_msr(guest_id, identity);
    rule("hypercall-page-beyond-memory", answer(write_msr(hypercall, nowhere | enable)));
    write_msr(hypercall, page | enable);
    rule("hypercall-page-enabled", read_msr(hypercall).value_or(0) & enable);
    rule("hypercall-page-covers-memory", std::uint64_t{call_page[0] != own});
    std::uint32_t faulted{};
    asm volatile(GUEST_FIXUP_BEGIN "movq $0, (%1)" GUEST_FIXUP_END : [faulted] "+r"(faulted) : "r"(page) : "memory");
    rule("hypercall-page-write", faulted == 0 ? "taken" : last_fixed_vector() == 13 ? "#GP" : "another fault");
    write_msr(guest_id, 0);
    rule("hypercall-page-after-identity-is-cleared-enabled", read_msr(hypercall).value_or(0) & enable);
    rule("memory-comes-back", std::uint64_t{call_page[0] == own});
    write_msr(hypercall, 0);
}

std::uint64_t count_by_page()
{
    const auto* const page = some_page;
    for (;;) {
        const auto sequence = static_cast<std::uint32_t>(page[0]);
        if (sequence == 0)
            return 0;
        const std::uint64_t scale{page[1]};
        const std::uint64_t offset{page[2]};
        std::uint64_t low, high;
        asm volatile("mulq %3" : "=a"(low), "=d"(high) : "a"(read_tsc()), "r"(scale) : "cc");
        if (static_cast<std::uint32_t>(page[0]) == sequence)
            return high + offset;
    }
}

void probe_reference_tsc()
{
    const auto page = reinterpret_cast<std::uint64_t>(some_page);
    rule("reference-tsc-page-beyond-memory", answer(write_msr(reference_tsc, nowhere | enable)));
    some_page[0] = ~0ull;
    some_page[1] = ~0ull;
    rule("reference-tsc-page", answer(write_msr(reference_tsc, page | enable)));
    rule("reference-tsc-page-sequence-is-valid", std::uint64_t{static_cast<std::uint32_t>(some_page[0]) - 1 < 0xffff'fffe});
    unsigned between{};
    for (unsigned round = 0; round < 100; ++round) {
        const std::uint64_t before{read_msr(reference_count).value_or(0)};
        const std::uint64_t seen{count_by_page()};
        const std::uint64_t after{read_msr(reference_count).value_or(0)};
        between += seen + 2 >= before && seen <= after + 2 ? 1 : 0;
    }
    rule("reference-tsc-page-agrees-with-the-counter", between);
    rule("reference-tsc-page-off", answer(write_msr(reference_tsc, 0)));
    rule("reference-tsc-page-off-memory-comes-back", std::uint64_t{some_page[1] == ~0ull});
}

/// A page of one VP's: enabled it is zero at first, kept while it moves, and gone when it is off.
void probe_page(std::string_view name, std::uint32_t msr)
{
    const auto page = reinterpret_cast<std::uint64_t>(some_page);
    some_page[0] = own;
    some_page[100] = own;
    print_line("tlfs: rule ", name, "-beyond-memory: ", answer(write_msr(msr, nowhere | enable)));
    static_cast<void>(write_msr(msr, 0));
    print_line("tlfs: rule ", name, "-enabled: ", answer(write_msr(msr, page | enable)));
    print_line("tlfs: rule ", name, "-begins-with-zeros: ", hv::Hex{std::uint64_t{some_page[0] == 0 && some_page[100] == 0}});
    some_page[100] = 7;
    print_line("tlfs: rule ", name, "-is-writable: ", hv::Hex{std::uint64_t{some_page[100] == 7}});
    print_line("tlfs: rule ", name, "-disabled: ", answer(write_msr(msr, 0)));
    print_line("tlfs: rule ", name, "-off-memory-comes-back: ", hv::Hex{std::uint64_t{some_page[100] == own}});
}

}  // namespace

std::optional<CallPage> CallPage::enable()
{
    const auto page = reinterpret_cast<std::uint64_t>(call_page);
    if (!write_msr(guest_id, identity) || !write_msr(hypercall, page | tlfs::enable) || read_msr(hypercall) != (page | tlfs::enable))
        return std::nullopt;
    set_handler(6, took_undefined);
    return CallPage{page};
}

void CallPage::disable()
{
    static_cast<void>(write_msr(hypercall, 0));
    static_cast<void>(write_msr(guest_id, 0));
}

std::optional<std::uint64_t> CallPage::call(std::uint64_t control, std::uint64_t input, std::uint64_t output) const
{
    undefined = false;
    page_of_the_call = address_;
    const std::uint64_t result{HypercallPage{address_}.call(control, input, output)};
    if (undefined)
        return std::nullopt;
    return result;
}

void probe_pages(const Offer& offer)
{
    call_page[0] = own;
    probe_identity();
    if (offer.may(access_reference_tsc))
        probe_reference_tsc();
    if (offer.may(access_interrupt_control))
        probe_page("assist-page", 0x4000'0073);
    if (offer.may(access_synic)) {
        probe_page("event-page", 0x4000'0082);
        probe_page("message-page", 0x4000'0083);
    }
}

void probe_lock()
{
    const auto page = reinterpret_cast<std::uint64_t>(call_page);
    write_msr(guest_id, identity);
    rule("hypercall-page-lock", answer(write_msr(hypercall, page | enable | 2)));
    static_cast<void>(write_msr(hypercall, 0));
    rule("hypercall-page-locked-stays", std::uint64_t{read_msr(hypercall) == (page | enable | 2)});
}

}  // namespace guest::tlfs
