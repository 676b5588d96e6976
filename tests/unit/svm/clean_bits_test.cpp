// SPDX-License-Identifier: MIT
//
// Every change of a control block reaches a processor that believes clean bits: one test per way to change
// something. The processor remembers the group from a run before; without the mark it would go on with what
// it remembers.
#include <gtest/gtest.h>

#include <functional>
#include <ostream>

#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"
#include "svm_machine.hpp"

using namespace hv;
using namespace hv::test;

namespace {

struct Bench {
    SvmMachine machine;
    TestVcpu vcpu{machine};
    const core::HvmTable& hvm{machine.hvm()};
};

struct Change {
    const char* name;
    std::function<void(Bench&)> make;
    std::function<bool(const svm::Vmcb&)> arrived;
};
void PrintTo(const Change& change, std::ostream* out)
{
    *out << change.name;
}

/// The state of long_mode_state() with one register changed.
template <typename Edit>
std::function<void(Bench&)> written(Edit edit)
{
    return [edit](Bench& bench) {
        core::SystemRegisters system = long_mode_state();
        edit(system);
        ASSERT_TRUE(bench.hvm.write_system(bench.vcpu.context, system).has_value());
    };
}

std::uint32_t raw(x86::Msr msr)
{
    return static_cast<std::uint32_t>(msr);
}

std::function<void(Bench&)> msr_written(x86::Msr msr, std::uint64_t value)
{
    return [=](Bench& bench) {
        ASSERT_TRUE(bench.hvm.write_msr(bench.vcpu.context, raw(msr), value).has_value());
    };
}

/// MOV CRn, RAX, emulated.
std::function<void(Bench&)> moved(std::uint8_t modrm, std::uint64_t value, std::uint8_t rex = 0)
{
    return [=](Bench& bench) {
        bench.vcpu.context.registers.general[core::rax] = value;
        core::Exit exit{};
        exit.kind = core::ExitKind::control_register;
        const std::byte with_rex[]{std::byte{rex}, std::byte{0x0f}, std::byte{0x22}, std::byte{modrm}};
        const std::byte* const bytes = rex != 0 ? with_rex : with_rex + 1;
        const std::uint8_t length = rex != 0 ? 4 : 3;
        ASSERT_TRUE(
            bench.hvm.emulate_system_instruction(bench.vcpu.context, exit, bytes, length).has_value());
    };
}

bool window_open(const svm::Vmcb& vmcb)
{
    return svm::VirtualInterrupt::IRQ::get(vmcb.control.virtual_interrupt) &&
           (vmcb.control.intercept_instructions & svm::intercept_bit(svm::ExitCode::VINTR)) != 0;
}
bool cr8_watched(const svm::Vmcb& vmcb)
{
    return (vmcb.control.intercept_cr & 1u << 24) != 0;
}
bool iret_watched(const svm::Vmcb& vmcb)
{
    return (vmcb.control.intercept_instructions & svm::intercept_bit(svm::ExitCode::IRET)) != 0;
}

const Change changes[]{
    {"CR0", written([](auto& s) { s.cr0 |= x86::Cr0::WP::mask; }),
     [](auto& v) { return (v.save.cr0 >> 16 & 1) == 1; }},
    {"CR2", written([](auto& s) { s.cr2 = 0x123; }), [](auto& v) { return v.save.cr2 == 0x123; }},
    {"CR3", written([](auto& s) { s.cr3 = 0x9000; }), [](auto& v) { return v.save.cr3 == 0x9000; }},
    {"CR4", written([](auto& s) { s.cr4 |= 1 << 7; }), [](auto& v) { return (v.save.cr4 >> 7 & 1) == 1; }},
    {"EFER", written([](auto& s) { s.efer |= 1; }), [](auto& v) { return (v.save.efer & 1) == 1; }},
    {"DR7", written([](auto& s) { s.dr7 = 0x500; }), [](auto& v) { return v.save.dr7 == 0x500; }},
    {"GDTR", written([](auto& s) { s.gdtr.base = 0x777; }),
     [](auto& v) { return v.save.gdtr.base == 0x777; }},
    {"IDTR", written([](auto& s) { s.idtr.limit = 0x77; }),
     [](auto& v) { return v.save.idtr.limit == 0x77; }},
    {"CS", written([](auto& s) { s.segments[core::segment_cs].base = 16; }),
     [](auto& v) { return v.save.cs.base == 16; }},
    {"CPL", written([](auto& s) { s.segments[core::segment_ss].attributes |= 0x60; }),
     [](auto& v) { return v.save.cpl == 3; }},
    {"PAT", written([](auto& s) { s.pat = 6; }), [](auto& v) { return v.save.g_pat == 6; }},
    {"MsrPat", msr_written(x86::Msr::PAT, 0x0606), [](auto& v) { return v.save.g_pat == 0x0606; }},
    {"MsrEfer", msr_written(x86::Msr::EFER, 0xd00), [](auto& v) { return v.save.efer == 0x1d00; }},
    {"MsrLstar", msr_written(x86::Msr::LSTAR, 0x42), [](auto& v) { return v.save.lstar == 0x42; }},
    {"MovToCr0", moved(0xc0, 0x8000'0021), [](auto& v) { return v.save.cr0 == 0x8000'0031; }},
    {"MovToCr2", moved(0xd0, 0x99), [](auto& v) { return v.save.cr2 == 0x99; }},
    {"MovToCr3", moved(0xd8, 0xb000), [](auto& v) { return v.save.cr3 == 0xb000; }},
    {"MovToCr4", moved(0xe0, 0xa0), [](auto& v) { return v.save.cr4 == 0xa0; }},
    {"MovToCr8", moved(0xc0, 7, 0x44),
     [](auto& v) { return svm::VirtualInterrupt::TPR::get(v.control.virtual_interrupt) == 7; }},
    {"TaskPriority", [](Bench& b) { b.hvm.set_task_priority(b.vcpu.context, 9); },
     [](auto& v) { return svm::VirtualInterrupt::TPR::get(v.control.virtual_interrupt) == 9; }},
    {"TscOffset", [](Bench& b) { b.hvm.set_tsc_offset(b.vcpu.context, 4711); },
     [](auto& v) { return v.control.tsc_offset == 4711; }},
    {"NestedRoot",
     [](Bench& b) {
         b.vcpu.context.nested_root = HostPhysical{0x7'7000};
         b.hvm.flush(b.vcpu.context);
     },
     [](auto& v) { return v.control.nested_cr3 == HostPhysical{0x7'7000}; }},
    {"Window", [](Bench& b) { b.hvm.request_interrupt_window(b.vcpu.context, 4); },
     [](auto& v) { return window_open(v) && cr8_watched(v); }},
    {"WindowWithdrawn",
     [](Bench& b) {
         b.hvm.request_interrupt_window(b.vcpu.context, 4);
         b.vcpu.enter();
         b.hvm.request_interrupt_window(b.vcpu.context, 0);
     },
     [](auto& v) { return !window_open(v) && !cr8_watched(v); }},
    {"WindowWaitsForPriority",
     [](Bench& b) {
         b.hvm.set_task_priority(b.vcpu.context, 4);
         b.hvm.request_interrupt_window(b.vcpu.context, 4);
     },
     [](auto& v) { return !window_open(v) && cr8_watched(v); }},
    {"WindowOpensWithPriority",
     [](Bench& b) {
         b.hvm.set_task_priority(b.vcpu.context, 4);
         b.hvm.request_interrupt_window(b.vcpu.context, 4);
         b.vcpu.enter();
         b.hvm.set_task_priority(b.vcpu.context, 3);
     },
     [](auto& v) { return window_open(v) && cr8_watched(v); }},
    {"NmiInjected",
     [](Bench& b) {
         b.hvm.inject(b.vcpu.context, {core::EventKind::nmi, 0, false, 0});
     },
     iret_watched},
    {"NmiReturned",
     [](Bench& b) {
         b.hvm.inject(b.vcpu.context, {core::EventKind::nmi, 0, false, 0});
         b.vcpu.enter([](Guest& guest) { guest.exits(svm::number(svm::ExitCode::IRET)); });
     },
     [](auto& v) { return !iret_watched(v); }},
    {"DebugRegistersPassed",
     [](Bench& b) {
         b.vcpu.enter([](Guest& guest) {
             guest.exits(guest.state.control.intercept_dr != 0 ? svm::number(svm::ExitCode::DR0_WRITE)
                                                               : cpuid_exit);
         });
     },
     [](auto& v) { return v.control.intercept_dr == 0; }},
    {"DebugRegistersTaken",
     [](Bench& b) {
         b.vcpu.enter([](Guest& guest) {
             guest.exits(guest.state.control.intercept_dr != 0 ? svm::number(svm::ExitCode::DR0_WRITE)
                                                               : cpuid_exit);
         });
         b.vcpu.unload();
         b.vcpu.load(0);
     },
     [](auto& v) { return v.control.intercept_dr == 0xffff'ffff; }},
    {"Reset",  // as INIT does it: the whole state at once
     [](Bench& b) {
         TestVcpu fresh{b.machine};
         core::SystemRegisters system{};
         b.hvm.read_system(fresh.context, system);
         ASSERT_TRUE(b.hvm.write_system(b.vcpu.context, system).has_value());
     },
     [](auto& v) { return v.save.cr0 == 0x6000'0010 && v.save.cs.base == 0xffff'0000; }},
};

class CleanBits : public testing::TestWithParam<Change> {};
INSTANTIATE_TEST_SUITE_P(Changes, CleanBits, testing::ValuesIn(changes),
                         [](const auto& each) { return each.param.name; });

}  // namespace

TEST_P(CleanBits, AChangeReachesAProcessorThatRemembersWhatWasThere)
{
    Bench bench;
    ASSERT_TRUE(bench.hvm.write_system(bench.vcpu.context, long_mode_state()).has_value());
    bench.vcpu.load(0);
    bench.vcpu.enter();
    bench.vcpu.enter();
    ASSERT_EQ(model().wrongly_clean, 0u);
    GetParam().make(bench);
    bench.vcpu.enter();
    EXPECT_TRUE(GetParam().arrived(model().entered));
    EXPECT_EQ(model().wrongly_clean, 0u);
    EXPECT_TRUE(model().violations.empty());
}

TEST(CleanBits, EverythingIsCleanWhenNothingChanges)
{
    Bench bench;
    bench.vcpu.load(0);
    bench.vcpu.enter();
    EXPECT_EQ(model().entered.control.clean_bits, 0u);
    for (unsigned run = 0; run < 3; ++run) {
        bench.vcpu.enter();
        EXPECT_EQ(model().entered.control.clean_bits, svm::clean_all);
    }
}

TEST(CleanBits, AProcessorThatRanTheVcpuLongAgoIsNotBelieved)
{
    Bench bench;
    const auto count_up = [](Guest& guest) {
        ++guest.state.save.cr2;
        guest.state.save.cs.base += 0x10;
        guest.exits(cpuid_exit);
    };
    for (unsigned round = 0; round < 6; ++round) {
        bench.vcpu.load(round % 2);
        bench.vcpu.enter(count_up);
        bench.vcpu.enter(count_up);
        EXPECT_EQ(model().entered.save.cr2, 2 * round + 1);
        bench.vcpu.unload();
    }
    EXPECT_EQ(model().wrongly_clean, 0u);
}

TEST(CleanBits, AControlBlockInAnothersOldPlaceIsNotBelieved)
{
    Bench bench;
    std::optional<TestVcpu> first{bench.machine};
    const svm::Vmcb* const place = &first->vmcb();
    first->load(0);
    first->enter([](Guest& guest) {
        guest.state.save.cr2 = 0x1234;
        guest.exits(cpuid_exit);
    });
    first.reset();
    TestVcpu second{bench.machine};
    ASSERT_EQ(&second.vmcb(), place);
    second.load(0);
    second.enter();
    EXPECT_EQ(model().entered.save.cr2, 0u);
    EXPECT_EQ(model().wrongly_clean, 0u);
}
