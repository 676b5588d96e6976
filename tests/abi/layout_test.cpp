// SPDX-License-Identifier: MIT
//
// The layout of every structure of the extension ABI, as this compiler sees it, against what each published
// version froze (golden/VERSION.json): a member of a published version is where it was and as large as it
// was, for ever.  A new version appends, gets a golden file of its own, and keeps the old ones passing.
//
// `abi_layout_test --print` writes the present layout in the golden files' form.
#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "hv/abi/manifest.hpp"
#include "hv/abi/state_record.hpp"
#include "hv/base/expected.hpp"

namespace hv::test {
namespace {

struct Member {
    std::string name;
    std::size_t offset;
    std::size_t size;
};

struct Layout {
    std::string name;
    std::size_t size;
    std::vector<Member> members;
};

#define HV_MEMBER(type, member)                                                                              \
    Member                                                                                                   \
    {                                                                                                        \
#member, offsetof(abi::type, member), sizeof(abi::type::member)                                      \
    }

const std::vector<Layout>& layouts()
{
    static const std::vector<Layout> all{
        {"AbiHeader",
         sizeof(abi::AbiHeader),
         {
             HV_MEMBER(AbiHeader, magic),
             HV_MEMBER(AbiHeader, major),
             HV_MEMBER(AbiHeader, minor),
             HV_MEMBER(AbiHeader, size),
             HV_MEMBER(AbiHeader, reserved),
         }},
        {"Verdict",
         sizeof(abi::Verdict),
         {
             HV_MEMBER(Verdict, kind),
             HV_MEMBER(Verdict, flags),
             HV_MEMBER(Verdict, detail),
         }},
        {"HypercallFrame",
         sizeof(abi::HypercallFrame),
         {
             HV_MEMBER(HypercallFrame, general),
             HV_MEMBER(HypercallFrame, rip),
             HV_MEMBER(HypercallFrame, rflags),
             HV_MEMBER(HypercallFrame, cpl),
             HV_MEMBER(HypercallFrame, mode),
             HV_MEMBER(HypercallFrame, window),
             HV_MEMBER(HypercallFrame, instruction_length),
             HV_MEMBER(HypercallFrame, continuation),
         }},
        {"SegmentRegister",
         sizeof(abi::SegmentRegister),
         {
             HV_MEMBER(SegmentRegister, selector),
             HV_MEMBER(SegmentRegister, attributes),
             HV_MEMBER(SegmentRegister, limit),
             HV_MEMBER(SegmentRegister, base),
         }},
        {"GuestRegisters",
         sizeof(abi::GuestRegisters),
         {
             HV_MEMBER(GuestRegisters, general),      HV_MEMBER(GuestRegisters, rip),
             HV_MEMBER(GuestRegisters, rflags),       HV_MEMBER(GuestRegisters, cr0),
             HV_MEMBER(GuestRegisters, cr2),          HV_MEMBER(GuestRegisters, cr3),
             HV_MEMBER(GuestRegisters, cr4),          HV_MEMBER(GuestRegisters, cr8),
             HV_MEMBER(GuestRegisters, efer),         HV_MEMBER(GuestRegisters, es),
             HV_MEMBER(GuestRegisters, cs),           HV_MEMBER(GuestRegisters, ss),
             HV_MEMBER(GuestRegisters, ds),           HV_MEMBER(GuestRegisters, fs),
             HV_MEMBER(GuestRegisters, gs),           HV_MEMBER(GuestRegisters, ldtr),
             HV_MEMBER(GuestRegisters, tr),           HV_MEMBER(GuestRegisters, gdtr),
             HV_MEMBER(GuestRegisters, idtr),         HV_MEMBER(GuestRegisters, dr6),
             HV_MEMBER(GuestRegisters, dr7),          HV_MEMBER(GuestRegisters, kernel_gs_base),
             HV_MEMBER(GuestRegisters, star),         HV_MEMBER(GuestRegisters, lstar),
             HV_MEMBER(GuestRegisters, cstar),        HV_MEMBER(GuestRegisters, sfmask),
             HV_MEMBER(GuestRegisters, sysenter_cs),  HV_MEMBER(GuestRegisters, sysenter_esp),
             HV_MEMBER(GuestRegisters, sysenter_eip), HV_MEMBER(GuestRegisters, pat),
             HV_MEMBER(GuestRegisters, reserved),
         }},
        {"CpuidResult",
         sizeof(abi::CpuidResult),
         {
             HV_MEMBER(CpuidResult, eax),
             HV_MEMBER(CpuidResult, ebx),
             HV_MEMBER(CpuidResult, ecx),
             HV_MEMBER(CpuidResult, edx),
         }},
        {"HypercallMatch",
         sizeof(abi::HypercallMatch),
         {
             HV_MEMBER(HypercallMatch, modes),
             HV_MEMBER(HypercallMatch, maximum_cpl),
             HV_MEMBER(HypercallMatch, operand),
             HV_MEMBER(HypercallMatch, reserved),
             HV_MEMBER(HypercallMatch, mask),
             HV_MEMBER(HypercallMatch, value),
         }},
        {"WindowRequest",
         sizeof(abi::WindowRequest),
         {
             HV_MEMBER(WindowRequest, id),
             HV_MEMBER(WindowRequest, kind),
             HV_MEMBER(WindowRequest, flags),
             HV_MEMBER(WindowRequest, alignment),
             HV_MEMBER(WindowRequest, base),
             HV_MEMBER(WindowRequest, length),
             HV_MEMBER(WindowRequest, hypercall),
             HV_MEMBER(WindowRequest, pci_vendor_device),
             HV_MEMBER(WindowRequest, pci_class),
             HV_MEMBER(WindowRequest, reserved),
             HV_MEMBER(WindowRequest, acpi_hardware_id),
             HV_MEMBER(WindowRequest, label),
         }},
        {"WindowGrant",
         sizeof(abi::WindowGrant),
         {
             HV_MEMBER(WindowGrant, id),
             HV_MEMBER(WindowGrant, kind),
             HV_MEMBER(WindowGrant, granted),
             HV_MEMBER(WindowGrant, reserved),
             HV_MEMBER(WindowGrant, base),
             HV_MEMBER(WindowGrant, length),
         }},
        {"DeclaredLeaf",
         sizeof(abi::DeclaredLeaf),
         {
             HV_MEMBER(DeclaredLeaf, window),
             HV_MEMBER(DeclaredLeaf, leaf),
             HV_MEMBER(DeclaredLeaf, subleaf),
             HV_MEMBER(DeclaredLeaf, flags),
             HV_MEMBER(DeclaredLeaf, values),
             HV_MEMBER(DeclaredLeaf, field),
             HV_MEMBER(DeclaredLeaf, field_register),
             HV_MEMBER(DeclaredLeaf, field_shift),
             HV_MEMBER(DeclaredLeaf, condition),
         }},
        {"DeclaredMsrRead",
         sizeof(abi::DeclaredMsrRead),
         {
             HV_MEMBER(DeclaredMsrRead, window),
             HV_MEMBER(DeclaredMsrRead, offset),
             HV_MEMBER(DeclaredMsrRead, kind),
             HV_MEMBER(DeclaredMsrRead, condition),
             HV_MEMBER(DeclaredMsrRead, value),
             HV_MEMBER(DeclaredMsrRead, addend),
             HV_MEMBER(DeclaredMsrRead, argument),
             HV_MEMBER(DeclaredMsrRead, reserved),
         }},
        {"DeclaredMsrWrite",
         sizeof(abi::DeclaredMsrWrite),
         {
             HV_MEMBER(DeclaredMsrWrite, window),
             HV_MEMBER(DeclaredMsrWrite, offset),
             HV_MEMBER(DeclaredMsrWrite, kind),
             HV_MEMBER(DeclaredMsrWrite, condition),
             HV_MEMBER(DeclaredMsrWrite, writable),
             HV_MEMBER(DeclaredMsrWrite, reserved),
         }},
        {"DeadlinePlaces",
         sizeof(abi::DeadlinePlaces),
         {
             HV_MEMBER(DeadlinePlaces, value_at),
             HV_MEMBER(DeadlinePlaces, timer_at),
             HV_MEMBER(DeadlinePlaces, unit_ns),
         }},
        {"DeclaredEoiAssist",
         sizeof(abi::DeclaredEoiAssist),
         {
             HV_MEMBER(DeclaredEoiAssist, page),
             HV_MEMBER(DeclaredEoiAssist, offset),
             HV_MEMBER(DeclaredEoiAssist, bit),
         }},
        {"TimerSetting",
         sizeof(abi::TimerSetting),
         {
             HV_MEMBER(TimerSetting, deadline_ns),
             HV_MEMBER(TimerSetting, period_ns),
             HV_MEMBER(TimerSetting, action),
             HV_MEMBER(TimerSetting, vector),
         }},
        {"StateRecordHeader",
         sizeof(abi::StateRecordHeader),
         {
             HV_MEMBER(StateRecordHeader, type),
             HV_MEMBER(StateRecordHeader, version),
             HV_MEMBER(StateRecordHeader, flags),
             HV_MEMBER(StateRecordHeader, length),
             HV_MEMBER(StateRecordHeader, vcpu),
         }},
        {"StateField",
         sizeof(abi::StateField),
         {
             HV_MEMBER(StateField, number),
             HV_MEMBER(StateField, length),
         }},
        {"DomainContext",
         sizeof(abi::DomainContext),
         {
             HV_MEMBER(DomainContext, domain),
             HV_MEMBER(DomainContext, domain_state),
             HV_MEMBER(DomainContext, grants),
             HV_MEMBER(DomainContext, grant_count),
             HV_MEMBER(DomainContext, vcpu_count),
             HV_MEMBER(DomainContext, start_reason),
             HV_MEMBER(DomainContext, reserved),
         }},
        {"VcpuContext",
         sizeof(abi::VcpuContext),
         {
             HV_MEMBER(VcpuContext, domain),
             HV_MEMBER(VcpuContext, vcpu),
             HV_MEMBER(VcpuContext, domain_state),
             HV_MEMBER(VcpuContext, vcpu_state),
             HV_MEMBER(VcpuContext, index),
             HV_MEMBER(VcpuContext, initial_apic_id),
             HV_MEMBER(VcpuContext, reserved),
         }},
        {"Parameter",
         sizeof(abi::Parameter),
         {
             HV_MEMBER(Parameter, key),
             HV_MEMBER(Parameter, text),
             HV_MEMBER(Parameter, number),
             HV_MEMBER(Parameter, key_length),
             HV_MEMBER(Parameter, text_length),
             HV_MEMBER(Parameter, kind),
             HV_MEMBER(Parameter, index),
             HV_MEMBER(Parameter, count),
             HV_MEMBER(Parameter, reserved),
         }},
        {"HypercallPageRequest",
         sizeof(abi::HypercallPageRequest),
         {
             HV_MEMBER(HypercallPageRequest, page),
             HV_MEMBER(HypercallPageRequest, instruction_length),
             HV_MEMBER(HypercallPageRequest, instruction),
             HV_MEMBER(HypercallPageRequest, bytes),
         }},
        {"ExitSubscription",
         sizeof(abi::ExitSubscription),
         {
             HV_MEMBER(ExitSubscription, kind),
             HV_MEMBER(ExitSubscription, flags),
             HV_MEMBER(ExitSubscription, first),
             HV_MEMBER(ExitSubscription, last),
         }},
        {"ExitFrame",
         sizeof(abi::ExitFrame),
         {
             HV_MEMBER(ExitFrame, kind),
             HV_MEMBER(ExitFrame, cpl),
             HV_MEMBER(ExitFrame, number),
             HV_MEMBER(ExitFrame, value),
             HV_MEMBER(ExitFrame, general),
             HV_MEMBER(ExitFrame, rip),
             HV_MEMBER(ExitFrame, rflags),
             HV_MEMBER(ExitFrame, mode),
             HV_MEMBER(ExitFrame, write),
             HV_MEMBER(ExitFrame, instruction_length),
             HV_MEMBER(ExitFrame, reserved),
         }},
        {"HookTable",
         sizeof(abi::HookTable),
         {
             HV_MEMBER(HookTable, header),
             HV_MEMBER(HookTable, parameter_set),
             HV_MEMBER(HookTable, domain_create),
             HV_MEMBER(HookTable, domain_destroy),
             HV_MEMBER(HookTable, vcpu_initialise),
             HV_MEMBER(HookTable, vcpu_reset),
             HV_MEMBER(HookTable, vcpu_destroy),
             HV_MEMBER(HookTable, cpuid),
             HV_MEMBER(HookTable, msr_read),
             HV_MEMBER(HookTable, msr_write),
             HV_MEMBER(HookTable, hypercall_page),
             HV_MEMBER(HookTable, hypercall),
             HV_MEMBER(HookTable, hypercall_continue),
             HV_MEMBER(HookTable, timer),
             HV_MEMBER(HookTable, mmio_read),
             HV_MEMBER(HookTable, mmio_write),
             HV_MEMBER(HookTable, port_read),
             HV_MEMBER(HookTable, port_write),
             HV_MEMBER(HookTable, channel_message),
             HV_MEMBER(HookTable, before_entry),
             HV_MEMBER(HookTable, interrupt_window),
             HV_MEMBER(HookTable, interrupt_accepted),
             HV_MEMBER(HookTable, interrupt_ended),
             HV_MEMBER(HookTable, run_state_changed),
             HV_MEMBER(HookTable, freeze),
             HV_MEMBER(HookTable, thaw),
             HV_MEMBER(HookTable, export_state),
             HV_MEMBER(HookTable, import_state),
             HV_MEMBER(HookTable, exit),
             HV_MEMBER(HookTable, leaves),
             HV_MEMBER(HookTable, msr_reads),
             HV_MEMBER(HookTable, msr_writes),
             HV_MEMBER(HookTable, exits),
             HV_MEMBER(HookTable, leaf_count),
             HV_MEMBER(HookTable, msr_read_count),
             HV_MEMBER(HookTable, msr_write_count),
             HV_MEMBER(HookTable, exit_count),
         }},
        {"TimeSnapshot",
         sizeof(abi::TimeSnapshot),
         {
             HV_MEMBER(TimeSnapshot, guest_ns),
             HV_MEMBER(TimeSnapshot, guest_tsc),
             HV_MEMBER(TimeSnapshot, tsc_hz),
             HV_MEMBER(TimeSnapshot, wall_clock_ns),
         }},
        {"RunStateTimes",
         sizeof(abi::RunStateTimes),
         {
             HV_MEMBER(RunStateTimes, ns),
             HV_MEMBER(RunStateTimes, now),
             HV_MEMBER(RunStateTimes, reserved),
             HV_MEMBER(RunStateTimes, since_ns),
         }},
        {"DomainInfo",
         sizeof(abi::DomainInfo),
         {
             HV_MEMBER(DomainInfo, domain_id),
             HV_MEMBER(DomainInfo, vcpu_count),
             HV_MEMBER(DomainInfo, memory_bytes),
             HV_MEMBER(DomainInfo, apic_timer_hz),
             HV_MEMBER(DomainInfo, uuid),
             HV_MEMBER(DomainInfo, name),
             HV_MEMBER(DomainInfo, hypervisor_major),
             HV_MEMBER(DomainInfo, hypervisor_minor),
         }},
        {"GuestFault",
         sizeof(abi::GuestFault),
         {
             HV_MEMBER(GuestFault, vector),
             HV_MEMBER(GuestFault, error_code),
             HV_MEMBER(GuestFault, address),
         }},
        {"HostTable",
         sizeof(abi::HostTable),
         {
             HV_MEMBER(HostTable, header),
             HV_MEMBER(HostTable, log),
             HV_MEMBER(HostTable, explain),
             HV_MEMBER(HostTable, domain_update_begin),
             HV_MEMBER(HostTable, declare_leaves),
             HV_MEMBER(HostTable, declare_msr_reads),
             HV_MEMBER(HostTable, declare_msr_writes),
             HV_MEMBER(HostTable, declare_eoi_assist),
             HV_MEMBER(HostTable, set_condition),
             HV_MEMBER(HostTable, registers_read),
             HV_MEMBER(HostTable, registers_write),
             HV_MEMBER(HostTable, vector_registers_read),
             HV_MEMBER(HostTable, vector_registers_write),
             HV_MEMBER(HostTable, inject_interrupt),
             HV_MEMBER(HostTable, inject_nmi),
             HV_MEMBER(HostTable, interrupt_window_request),
             HV_MEMBER(HostTable, interrupt_watch),
             HV_MEMBER(HostTable, intercept_msr),
             HV_MEMBER(HostTable, tlb_flush),
             HV_MEMBER(HostTable, hypercall_instruction),
             HV_MEMBER(HostTable, guest_read),
             HV_MEMBER(HostTable, guest_write),
             HV_MEMBER(HostTable, guest_read_linear),
             HV_MEMBER(HostTable, guest_write_linear),
             HV_MEMBER(HostTable, translate),
             HV_MEMBER(HostTable, hypercall_page_place),
             HV_MEMBER(HostTable, overlay_create),
             HV_MEMBER(HostTable, overlay_place),
             HV_MEMBER(HostTable, overlay_remove),
             HV_MEMBER(HostTable, overlay_destroy),
             HV_MEMBER(HostTable, page_read),
             HV_MEMBER(HostTable, page_write),
             HV_MEMBER(HostTable, page_pin),
             HV_MEMBER(HostTable, page_unpin),
             HV_MEMBER(HostTable, page_load),
             HV_MEMBER(HostTable, page_store),
             HV_MEMBER(HostTable, page_exchange),
             HV_MEMBER(HostTable, page_compare_exchange),
             HV_MEMBER(HostTable, page_test_and_set),
             HV_MEMBER(HostTable, page_test_and_clear),
             HV_MEMBER(HostTable, page_map),
             HV_MEMBER(HostTable, page_unmap),
             HV_MEMBER(HostTable, physical_map_add),
             HV_MEMBER(HostTable, physical_map_remove),
             HV_MEMBER(HostTable, page_offer),
             HV_MEMBER(HostTable, page_accept),
             HV_MEMBER(HostTable, allocate),
             HV_MEMBER(HostTable, release),
             HV_MEMBER(HostTable, mmio_claim),
             HV_MEMBER(HostTable, mmio_withdraw),
             HV_MEMBER(HostTable, vcpu_by_index),
             HV_MEMBER(HostTable, vcpu_pause),
             HV_MEMBER(HostTable, vcpu_unpause),
             HV_MEMBER(HostTable, vcpu_kick),
             HV_MEMBER(HostTable, vcpu_yield),
             HV_MEMBER(HostTable, vcpu_block),
             HV_MEMBER(HostTable, apic_read),
             HV_MEMBER(HostTable, apic_write),
             HV_MEMBER(HostTable, run_state_times),
             HV_MEMBER(HostTable, time_now),
             HV_MEMBER(HostTable, time_snapshot),
             HV_MEMBER(HostTable, timer_create),
             HV_MEMBER(HostTable, timer_set),
             HV_MEMBER(HostTable, timer_cancel),
             HV_MEMBER(HostTable, timer_destroy),
             HV_MEMBER(HostTable, domain_shutdown),
             HV_MEMBER(HostTable, domain_reset),
             HV_MEMBER(HostTable, domain_info),
             HV_MEMBER(HostTable, console_write),
             HV_MEMBER(HostTable, console_read),
             HV_MEMBER(HostTable, channel_open),
             HV_MEMBER(HostTable, channel_send),
             HV_MEMBER(HostTable, channel_close),
             HV_MEMBER(HostTable, settled),
             HV_MEMBER(HostTable, processor_leaf),
         }},
        {"StateBlock",
         sizeof(abi::StateBlock),
         {
             HV_MEMBER(StateBlock, size),
             HV_MEMBER(StateBlock, version),
         }},
        {"CounterDescription",
         sizeof(abi::CounterDescription),
         {
             HV_MEMBER(CounterDescription, name),
             HV_MEMBER(CounterDescription, offset),
             HV_MEMBER(CounterDescription, reserved),
         }},
        {"ParameterDescription",
         sizeof(abi::ParameterDescription),
         {
             HV_MEMBER(ParameterDescription, key),
             HV_MEMBER(ParameterDescription, kind),
             HV_MEMBER(ParameterDescription, flags),
             HV_MEMBER(ParameterDescription, minimum),
             HV_MEMBER(ParameterDescription, maximum),
             HV_MEMBER(ParameterDescription, choices),
             HV_MEMBER(ParameterDescription, help),
         }},
        {"Manifest",
         sizeof(abi::Manifest),
         {
             HV_MEMBER(Manifest, header),        HV_MEMBER(Manifest, name),
             HV_MEMBER(Manifest, version_major), HV_MEMBER(Manifest, version_minor),
             HV_MEMBER(Manifest, version_patch), HV_MEMBER(Manifest, reserved),
             HV_MEMBER(Manifest, flags),         HV_MEMBER(Manifest, hypercall_pages),
             HV_MEMBER(Manifest, needs),         HV_MEMBER(Manifest, hooks),
             HV_MEMBER(Manifest, host),          HV_MEMBER(Manifest, windows),
             HV_MEMBER(Manifest, parameters),    HV_MEMBER(Manifest, host_size),
             HV_MEMBER(Manifest, window_count),  HV_MEMBER(Manifest, parameter_count),
             HV_MEMBER(Manifest, reserved_2),    HV_MEMBER(Manifest, domain_state),
             HV_MEMBER(Manifest, vcpu_state),    HV_MEMBER(Manifest, description),
             HV_MEMBER(Manifest, counters),      HV_MEMBER(Manifest, counter_count),
             HV_MEMBER(Manifest, reserved_3),
         }},
    };
    return all;
}

std::string as_json()
{
    std::ostringstream text;
    text << "{\n";
    for (std::size_t index = 0; index < layouts().size(); ++index) {
        const Layout& layout = layouts()[index];
        text << "  \"" << layout.name << "\": { \"size\": " << layout.size << ", \"members\": {\n";
        for (std::size_t member = 0; member < layout.members.size(); ++member) {
            const Member& one = layout.members[member];
            text << "    \"" << one.name << "\": [" << one.offset << ", " << one.size << "]"
                 << (member + 1 < layout.members.size() ? ",\n" : "\n");
        }
        text << "  } }" << (index + 1 < layouts().size() ? ",\n" : "\n");
    }
    text << "}\n";
    return text.str();
}

/// What a golden file says: structure.member (or structure alone, for the size) to its numbers.  The files
/// are written by as_json, so that reading them needs no more than their words and numbers in order.
std::map<std::string, std::vector<std::size_t>> golden(const std::string& version)
{
    std::ifstream stream{std::string{GOLDEN_FOLDER} + "/" + version + ".json"};
    EXPECT_TRUE(stream.good()) << version;
    std::map<std::string, std::vector<std::size_t>> found;
    std::string structure;
    std::string line;
    while (std::getline(stream, line)) {
        const auto open = line.find('"');
        if (open == std::string::npos)
            continue;
        const std::string name{line.substr(open + 1, line.find('"', open + 1) - open - 1)};
        std::vector<std::size_t> numbers;
        for (std::size_t at = open + name.size() + 2; at < line.size(); ++at)
            if (std::isdigit(static_cast<unsigned char>(line[at])) != 0) {
                std::size_t used{};
                numbers.push_back(std::stoul(line.substr(at), &used));
                at += used;
            }
        const bool opens{line.find("\"members\"") != std::string::npos};
        if (opens)
            structure = name;
        found[opens ? structure : structure + "." + name] = numbers;
    }
    return found;
}

/// Tables that grow at their end; every other structure keeps its size for ever.
bool grows(const std::string& structure)
{
    return structure == "Manifest" || structure == "HookTable" || structure == "HostTable";
}

class PublishedAbi : public testing::TestWithParam<const char*> {};

TEST_P(PublishedAbi, KeepsEveryMemberWhereItWas)
{
    const auto published = golden(GetParam());
    ASSERT_GT(published.size(), 100u);
    std::map<std::string, std::vector<std::size_t>> now;
    for (const Layout& layout : layouts()) {
        now[layout.name] = {layout.size};
        for (const Member& member : layout.members)
            now[layout.name + "." + member.name] = {member.offset, member.size};
    }
    for (const auto& [name, numbers] : published) {
        ASSERT_TRUE(now.contains(name)) << name << " of " << GetParam() << " is gone";
        if (grows(name))
            EXPECT_GE(now[name], numbers) << name;
        else
            EXPECT_EQ(now[name], numbers) << name;
    }
}

INSTANTIATE_TEST_SUITE_P(Versions, PublishedAbi, testing::Values("0.1", "0.2"));

TEST(PresentAbi, IsInAGoldenFileOfItsOwn)
{
    const std::string version{std::to_string(abi::abi_major) + "." + std::to_string(abi::abi_minor)};
    std::ifstream stream{std::string{GOLDEN_FOLDER} + "/" + version + ".json"};
    std::stringstream text;
    text << stream.rdbuf();
    EXPECT_EQ(text.str(), as_json()) << "a published version changed, or a new one has no golden file: "
                                        "see `abi_layout_test --print`";
}

TEST(PresentAbi, HasNoHoleThatAMemberCouldSlipInto)
{
    for (const Layout& layout : layouts()) {
        std::size_t end{0};
        for (const Member& member : layout.members) {
            EXPECT_EQ(member.offset, end) << layout.name << "." << member.name;
            end = member.offset + member.size;
        }
        EXPECT_EQ(end, layout.size) << layout.name;
    }
}

TEST(PresentAbi, SaysItsReasonsAsTheErrorsOfTheSameName)
{
    const auto is = [](std::int32_t status, Error error) {
        return status == -static_cast<std::int32_t>(error);
    };
    EXPECT_TRUE(is(abi::status_invalid_argument, Error::invalid_argument));
    EXPECT_TRUE(is(abi::status_out_of_range, Error::out_of_range));
    EXPECT_TRUE(is(abi::status_no_memory, Error::no_memory));
    EXPECT_TRUE(is(abi::status_not_supported, Error::not_supported));
    EXPECT_TRUE(is(abi::status_already_exists, Error::already_exists));
    EXPECT_TRUE(is(abi::status_not_found, Error::not_found));
    EXPECT_TRUE(is(abi::status_busy, Error::busy));
    EXPECT_TRUE(is(abi::status_permission_denied, Error::permission_denied));
    EXPECT_TRUE(is(abi::status_malformed, Error::malformed));
    EXPECT_TRUE(is(abi::status_abi_mismatch, Error::abi_mismatch));
    EXPECT_TRUE(is(abi::status_timed_out, Error::timed_out));
    EXPECT_TRUE(is(abi::status_limit_reached, Error::limit_reached));
    EXPECT_TRUE(is(abi::status_conflict, Error::conflict));
    EXPECT_TRUE(is(abi::status_gone, Error::gone));
}

TEST(HypercallRule, TakesWhatItsMaskAndModeSay)
{
    const abi::HypercallMatch set{.modes = abi::match_long_64,
                                  .maximum_cpl = 0,
                                  .operand = 0,
                                  .mask = 0x8000'0000,
                                  .value = 0x8000'0000};
    const abi::HypercallMatch clear{
        .modes = abi::match_long_64, .maximum_cpl = 0, .operand = 0, .mask = 0x8000'0000};
    std::uint64_t general[16]{0x8000'0001};
    EXPECT_TRUE(abi::matches(set, abi::GuestMode::long_64, 0, general));
    EXPECT_FALSE(abi::matches(clear, abi::GuestMode::long_64, 0, general));
    EXPECT_FALSE(abi::matches(set, abi::GuestMode::protected_32, 0, general));
    EXPECT_FALSE(abi::matches(set, abi::GuestMode::long_64, 3, general));
    const abi::HypercallMatch any{.modes = abi::match_long_64, .operand = abi::match_always};
    EXPECT_TRUE(abi::matches(any, abi::GuestMode::long_64, 0, general));
    EXPECT_FALSE(abi::shadows(set, clear));
    EXPECT_FALSE(abi::shadows(set, any));
    EXPECT_TRUE(abi::shadows(any, set));
    EXPECT_TRUE(abi::shadows(set, set));
}

}  // namespace
}  // namespace hv::test

int main(int argc, char** argv)
{
    if (argc == 2 && std::string{argv[1]} == "--print") {
        std::cout << hv::test::as_json();
        return 0;
    }
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
