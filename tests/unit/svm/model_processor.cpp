// SPDX-License-Identifier: MIT
#include "model_processor.hpp"

#include <cstring>

#include "hv/arch/x86/svm/exit_code.hpp"
#include "hv/arch/x86/svm/processor.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"

namespace hv::test {

namespace {

using svm::Vmcb;

Model the_model;

/// One field, or several in a row, and the clean bit that covers it [APM2-3.41 §15.15.3].
struct Covered {
    std::size_t offset;
    std::size_t bytes;
    svm::CleanBit group;
};
#define HV_CONTROL(first, last)                                                                              \
    offsetof(Vmcb, control.first),                                                                           \
        offsetof(Vmcb, control.last) + sizeof(svm::VmcbControlArea::last) - offsetof(Vmcb, control.first)
#define HV_SAVE(first, last)                                                                                 \
    offsetof(Vmcb, save.first),                                                                              \
        offsetof(Vmcb, save.last) + sizeof(svm::VmcbSaveArea::last) - offsetof(Vmcb, save.first)
constexpr Covered covered_fields[]{
    {HV_CONTROL(intercept_cr, intercept_more), svm::clean_intercepts},
    {HV_CONTROL(pause_filter_threshold, pause_filter_count), svm::clean_intercepts},
    {HV_CONTROL(tsc_offset, tsc_offset), svm::clean_intercepts},
    {HV_CONTROL(iopm_base, msrpm_base), svm::clean_permissions},
    {HV_CONTROL(guest_asid, guest_asid), svm::clean_address_space},
    {HV_CONTROL(virtual_interrupt, virtual_interrupt), svm::clean_virtual_interrupt},
    {HV_CONTROL(nested_control, nested_control), svm::clean_nested_paging},
    {HV_CONTROL(nested_cr3, nested_cr3), svm::clean_nested_paging},
    {HV_SAVE(g_pat, g_pat), svm::clean_nested_paging},
    {HV_SAVE(efer, efer), svm::clean_control_registers},
    {HV_SAVE(cr4, cr0), svm::clean_control_registers},
    {HV_SAVE(dr7, dr6), svm::clean_debug_registers},
    {HV_SAVE(gdtr, gdtr), svm::clean_descriptor_tables},
    {HV_SAVE(idtr, idtr), svm::clean_descriptor_tables},
    {HV_SAVE(es, ds), svm::clean_segments},
    {HV_SAVE(cpl, cpl), svm::clean_segments},
    {HV_SAVE(cr2, cr2), svm::clean_cr2},
};
#undef HV_CONTROL
#undef HV_SAVE

std::byte* bytes_of(Vmcb& vmcb)
{
    return reinterpret_cast<std::byte*>(&vmcb);
}

/// The state that the processor really runs: its own copy where a clean bit lets it.
Vmcb compose(ModelProcessor& processor, std::uint64_t address, Vmcb& memory)
{
    Vmcb running = memory;
    const auto known = processor.remembered.find(address);
    if (!the_model.features.clean_bits)
        return running;
    for (const Covered& field : covered_fields) {
        if ((memory.control.clean_bits & field.group) == 0)
            continue;
        if (known == processor.remembered.end()) {
            the_model.wrongly_clean |= field.group;  // it would use whatever it has
            continue;
        }
        std::byte* const target = bytes_of(running) + field.offset;
        const std::byte* const own = bytes_of(known->second) + field.offset;
        if (std::memcmp(target, own, field.bytes) != 0)
            the_model.wrongly_clean |= field.group;
        std::memcpy(target, own, field.bytes);
    }
    return running;
}

void check(bool holds, const char* rule)
{
    if (!holds)
        the_model.violations.emplace_back(rule);
}

void check_rules(const Vmcb& vmcb)
{
    const std::uint32_t vmrun = svm::intercept_bit(svm::ExitCode::VMRUN);
    check((vmcb.control.intercept_svm & vmrun) != 0, "VMRUN is intercepted");
    check(vmcb.control.guest_asid != 0, "the address space is not the host's");
    check(vmcb.control.guest_asid < the_model.features.address_spaces, "the address space exists");
    check(x86::Efer::SVME::get(vmcb.save.efer), "EFER.SVME is set");
    check((vmcb.control.clean_bits & ~svm::clean_all) == 0, "reserved clean bits are clear");
    check(vmcb.control.tlb_control == svm::TlbControl::keep ||
              vmcb.control.tlb_control == svm::TlbControl::flush_all ||
              the_model.features.flush_by_address_space,
          "flushing one address space is a feature");
    check(here().host_state_saved, "the host's state was saved on this processor");
    check(here().msrs[static_cast<std::uint32_t>(x86::Msr::VM_HSAVE_PA)] != 0, "there is a host save area");
    check(x86::Efer::SVME::get(here().msrs[static_cast<std::uint32_t>(x86::Msr::EFER)]), "SVM is on");
    check(here().extended_area != nullptr, "the guest's extended state is loaded");
}

void flush_tlb(ModelProcessor& processor, const Vmcb& vmcb)
{
    if (vmcb.control.tlb_control == svm::TlbControl::flush_all)
        processor.tlb.clear();
    else if (vmcb.control.tlb_control == svm::TlbControl::flush_address_space)
        std::erase_if(processor.tlb,
                      [&](const auto& entry) { return entry.first.first == vmcb.control.guest_asid; });
}

/// What #VMEXIT writes back [APM2-3.41 §15.6]: guest state, and the parts of the control area that a guest
/// moves.
void write_back(Vmcb& memory, const Vmcb& running)
{
    memory.save = running.save;
    memory.control.virtual_interrupt = running.control.virtual_interrupt;
    memory.control.interrupt_state = running.control.interrupt_state;
    memory.control.exit_code = running.control.exit_code;
    memory.control.exit_info_1 = running.control.exit_info_1;
    memory.control.exit_info_2 = running.control.exit_info_2;
    memory.control.exit_interrupt_info = running.control.exit_interrupt_info;
    memory.control.next_rip = the_model.features.next_rip ? running.control.next_rip : 0;
    memory.control.instruction_byte_count = running.control.instruction_byte_count;
    std::memcpy(memory.control.instruction_bytes, running.control.instruction_bytes,
                sizeof memory.control.instruction_bytes);
}

}  // namespace

std::optional<std::uint64_t> Guest::translate(std::uint64_t guest_page)
{
    constexpr std::uint64_t address_mask{0x000f'ffff'ffff'f000};
    ModelProcessor& processor = here();
    const std::pair key{state.control.guest_asid, guest_page};
    if (const auto known = processor.tlb.find(key); known != processor.tlb.end())
        return known->second;
    std::uint64_t table = state.control.nested_cr3.raw();
    for (unsigned level = 4; level > 0; --level) {
        const unsigned shift = 9 * (level - 1);
        const auto* const entries =
            static_cast<const std::uint64_t*>(core::platform::to_pointer(HostPhysical{table}));
        const std::uint64_t entry = entries[(guest_page >> shift) & 511];
        if ((entry & 1) == 0)
            return std::nullopt;
        if (level == 1 || (entry & 0x80) != 0) {
            const std::uint64_t inside = guest_page & ((1ull << shift) - 1);
            const std::uint64_t page = (entry & address_mask) / page_size + inside;
            processor.tlb.emplace(key, page);
            return page;
        }
        table = entry & address_mask;
    }
    return std::nullopt;
}

Model& reset_model(const ModelFeatures& features)
{
    the_model = Model{};
    the_model.features = features;
    return the_model;
}
Model& model()
{
    return the_model;
}
ModelProcessor& here()
{
    return the_model.processors[core::platform::current_processor()];
}

}  // namespace hv::test

void hv_svm_run(hv::core::Registers* registers, std::uint64_t vmcb, std::uint64_t host_vmcb)
{
    using namespace hv;
    using namespace hv::test;
    HV_ASSERT(host_vmcb != 0);
    auto& memory = *static_cast<svm::Vmcb*>(core::platform::to_pointer(HostPhysical{vmcb}));
    ModelProcessor& processor = here();
    svm::Vmcb running = compose(processor, vmcb, memory);
    check_rules(running);
    flush_tlb(processor, running);
    processor.events_held = false;
    ++model().runs;
    model().entered = running;
    running.control.exit_interrupt_info = 0;
    running.control.next_rip = 0;
    running.control.instruction_byte_count = 0;
    Guest guest{running, *registers};
    HV_ASSERT(model().program != nullptr);
    model().program(guest);
    write_back(memory, running);
    processor.remembered[vmcb] = running;
}

namespace hv::svm::processor {

using test::here;
using test::model;

x86::CpuidResult cpuid(std::uint32_t leaf, std::uint32_t)
{
    const test::ModelFeatures& features = model().features;
    using namespace x86;
    switch (static_cast<CpuidLeaf>(leaf)) {
    case CpuidLeaf::features: return {.ecx = features.extended_state ? 1u << 26 | 1u << 27 : 0};
    case CpuidLeaf::extended_state: return {.eax = 0x207, .ecx = 0xa88};
    case CpuidLeaf::structured_features:
        return {.ebx = 1u << 0 | 1u << 7 | 1u << 20, .ecx = 1u << 2 | 1u << 3};
    case CpuidLeaf::extended_maximum: return {.eax = 0x8000'001f};
    case CpuidLeaf::extended_features: return {.ecx = 1u << 2, .edx = 1u << 11 | 1u << 20 | 1u << 26 | 1u << 27 | 1u << 29};
    case CpuidLeaf::address_sizes: return {.eax = 0x3028};
    case CpuidLeaf::svm_features:
        return {.eax = 1,
                .ebx = features.address_spaces,
                .edx = 1u | (features.next_rip ? 1u << 3 : 0) | (features.clean_bits ? 1u << 5 : 0) |
                       (features.flush_by_address_space ? 1u << 6 : 0) |
                       (features.decode_assists ? 1u << 7 : 0)};
    default: return {};
    }
}

void hold_events()
{
    if (model().before_hold)
        model().before_hold();
    here().events_held = true;
}
void release_events()
{
    here().events_held = false;
}

std::uint64_t read_msr(std::uint32_t msr)
{
    return here().msrs[msr];
}
void write_msr(std::uint32_t msr, std::uint64_t value)
{
    here().msrs[msr] = value;
}
void save_host_state(HostPhysical)
{
    here().host_state_saved = true;
}
void enable_extended_state(std::uint64_t mask)
{
    here().extended_control = mask;
}
void save_extended_state(void* area, std::uint64_t)
{
    HV_ASSERT(here().extended_area == area);
    here().extended_area = nullptr;
    here().extended_control = 7;
    std::memcpy(static_cast<std::byte*>(area) + 160, here().vectors, sizeof here().vectors);
    static_cast<std::byte*>(area)[512] |= std::byte{2};
}
void load_extended_state(const void* area, std::uint64_t, std::uint64_t guest_control)
{
    HV_ASSERT(here().extended_area == nullptr && reinterpret_cast<std::uintptr_t>(area) % 64 == 0);
    here().extended_area = area;
    here().extended_control = guest_control;
    const auto* const bytes = static_cast<const std::byte*>(area);
    const bool present{!model().features.extended_state || (bytes[512] & std::byte{2}) != std::byte{}};
    std::memset(here().vectors, 0, sizeof here().vectors);
    if (present)
        std::memcpy(here().vectors, bytes + 160, sizeof here().vectors);
}
void write_extended_control(std::uint64_t value)
{
    here().extended_control = value;
}
std::uint64_t read_extended_control()
{
    return here().extended_control;
}
void save_debug_addresses(std::uint64_t (&addresses)[4])
{
    std::memcpy(addresses, here().debug_addresses, sizeof addresses);
}
void load_debug_addresses(const std::uint64_t (&addresses)[4])
{
    std::memcpy(here().debug_addresses, addresses, sizeof addresses);
}

}  // namespace hv::svm::processor
