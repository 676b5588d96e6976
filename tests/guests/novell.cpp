// SPDX-License-Identifier: MIT
//
// Asks the novell extension for each of its features and says what came of it; what the features are, its
// README says.
#include <cstring>

#include "kit/apic.hpp"
#include "kit/console.hpp"
#include "kit/interfaces.hpp"
#include "kit/interrupts.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "novell_defs.hpp"

namespace {

using namespace guest;
using namespace novell;

constexpr std::uint8_t vector{0x50};
constexpr std::uint32_t self{0b01u << 18};  // destination shorthand [APM2-3.41 §16.5]

std::uint32_t eoi_msr;
volatile unsigned interrupts;
alignas(4096) std::uint8_t second_space[4096];  // a copy of the first page table's top level
alignas(32) std::uint64_t input[8];

void take_interrupt(InterruptFrame&)
{
    interrupts = interrupts + 1;
    write_msr_that_exists(eoi_msr, 0);
}

/// True when an interrupt sent by the ICR register arrived.
bool interrupt_arrives(std::uint32_t icr_msr)
{
    const unsigned before{interrupts};
    write_msr_that_exists(icr_msr, self | vector);
    asm volatile("sti\n nop\n nop\n cli" ::: "memory");
    return interrupts == before + 1;
}

void try_apic(std::uint32_t base)
{
    eoi_msr = base + msr_eoi;
    set_handler(vector, take_interrupt);
    enable_xapic();
    expect("novell-icr", interrupt_arrives(base + msr_icr));
    expect("novell-eoi", interrupt_arrives(base + msr_icr));  // none of its class while one is in service
    expect("novell-eoi-read-refused", !read_msr(base + msr_eoi));
    write_msr_that_exists(base + msr_tpr, 0x60);
    expect("novell-tpr-holds-back", !interrupt_arrives(base + msr_icr));
    expect_equal("novell-tpr", 0x60, apic_read(hv::x86::ApicRegister::TPR));
    const unsigned before{interrupts};
    write_msr_that_exists(base + msr_tpr, 0);
    asm volatile("sti\n nop\n nop\n cli" ::: "memory");
    expect("novell-tpr-lets-through", interrupts == before + 1);
}

std::uint64_t call_with_memory(const HypercallPage& page, std::uint64_t control)
{
    return page.call(control, reinterpret_cast<std::uint64_t>(input));
}

void try_address_spaces(const HypercallPage& page)
{
    constexpr std::uint64_t one_rep{1ull << control_count_shift};
    const std::uint64_t first{read_cr3()};
    std::memcpy(second_space, reinterpret_cast<const void*>(first), sizeof second_space);
    const auto second = reinterpret_cast<std::uint64_t>(second_space);
    expect_equal("novell-switch", status_success,
                 page.call(call_switch_address_space | control_fast, second));
    expect_equal("novell-switched-to", second, read_cr3());
    input[0] = first;
    expect_equal("novell-switch-from-memory", status_success,
                 call_with_memory(page, call_switch_address_space));
    expect_equal("novell-switched-back", first, read_cr3());
    input[1] = flush_all_processors | flush_all_address_spaces;
    input[2] = 0;
    expect_equal("novell-flush", status_success, call_with_memory(page, call_flush_address_space));
    input[1] = 0;
    input[2] = 1;
    input[3] = second;
    expect_equal("novell-flush-list", one_rep, call_with_memory(page, call_flush_address_list | one_rep));
    expect_equal("novell-unknown-call", status_invalid_code, page.call(0x7777));
    expect_equal("novell-misaligned-call", status_invalid_alignment, page.call(call_flush_address_space, 4));
}

void try_everything(const Block& block)
{
    const CpuidResult version{cpuid(block.base + leaf_version)};
    const std::uint32_t base{version.ebx};
    fact("novell-version", version.eax >> 16, '.', version.eax & 0xffff);
    fact("novell-msrs", hv::Hex{base}, ", ", version.ecx);
    fact("novell-features", hv::Hex{cpuid(block.base + leaf_features).eax});
    expect("novell-vp-index", read_msr(base + msr_vp_index) == 0u);
    expect("novell-vp-index-read-only", !write_msr(base + msr_vp_index, 1));
    expect("novell-unknown-msr-refused", !read_msr(base + 3));
    const auto second = reinterpret_cast<std::uint64_t>(second_space);
    expect("novell-page-needs-identity", write_msr(base + msr_hypercall, second | hypercall_enable) &&
                                             read_msr(base + msr_hypercall) == second);
    try_apic(base);
    const auto page = enable_hypercalls(novell_msrs());
    expect("novell-hypercall-page", page.has_value());
    if (page)
        try_address_spaces(*page);
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("novell");
    if (const auto block = find_block(novell_signature))
        try_everything(*block);
    else
        fact("novell", "absent");
    say_end();
}
