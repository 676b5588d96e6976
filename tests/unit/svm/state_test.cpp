// SPDX-License-Identifier: MIT
//
// Registers in and out of the control block, what VMRUN would refuse, the MSRs that it holds, extended state,
// and what a guest reaches without an exit.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "hv/arch/x86/svm/intercepts.hpp"
#include "hv/arch/x86/svm/permission_map.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"
#include "svm_machine.hpp"

using namespace hv;
using namespace hv::test;

namespace {

class State : public testing::Test {
protected:
    core::SystemRegisters read()
    {
        core::SystemRegisters system{};
        hvm.read_system(vcpu.context, system);
        return system;
    }
    Status write_msr(x86::Msr msr, std::uint64_t value)
    {
        return hvm.write_msr(vcpu.context, static_cast<std::uint32_t>(msr), value);
    }
    Expected<std::uint64_t> read_msr(x86::Msr msr)
    {
        return hvm.read_msr(vcpu.context, static_cast<std::uint32_t>(msr));
    }

    SvmMachine machine;
    TestVcpu vcpu{machine};
    const core::HvmTable& hvm{machine.hvm()};
};

/// Bytes of the registers without what the compiler puts between them.
std::vector<std::uint64_t> values(const core::SystemRegisters& system)
{
    std::vector<std::uint64_t> all{system.gdtr.base, system.gdtr.limit, system.idtr.base, system.idtr.limit};
    const auto add = [&](const core::Segment& segment) {
        all.insert(all.end(), {segment.selector, segment.attributes, segment.limit, segment.base});
    };
    for (const core::Segment& segment : system.segments)
        add(segment);
    add(system.ldtr);
    add(system.tr);
    const auto* const plain = &system.cr0;
    all.insert(all.end(), plain, reinterpret_cast<const std::uint64_t*>(&system + 1));
    return all;
}
bool same(const core::SystemRegisters& a, const core::SystemRegisters& b)
{
    return values(a) == values(b);
}

}  // namespace

TEST_F(State, OfANewVcpuIsThatOfReset)
{
    const core::SystemRegisters system = read();
    EXPECT_EQ(system.cr0, 0x6000'0010u);
    EXPECT_EQ(system.cr3 | system.cr4 | system.efer, 0u);
    const core::Segment& code = system.segments[core::segment_cs];
    EXPECT_EQ(code.selector, 0xf000);
    EXPECT_EQ(code.base, 0xffff'0000u);
    EXPECT_EQ(code.limit, 0xffffu);
    EXPECT_EQ(system.idtr.limit, 0xffffu);
    EXPECT_EQ(system.dr6, 0xffff'0ff0u);
    EXPECT_EQ(system.dr7, 0x400u);
    EXPECT_EQ(vcpu.context.registers.rip, 0xfff0u);
    EXPECT_EQ(vcpu.context.registers.rflags, 2u);
    vcpu.load(0);
    vcpu.enter();
    EXPECT_TRUE(model().violations.empty());
}

TEST_F(State, ComesBackAsItWasWritten)
{
    core::SystemRegisters system = long_mode_state();
    system.star = 1;
    system.lstar = 2;
    system.cstar = 3;
    system.sfmask = 4;
    system.kernel_gs_base = 5;
    system.sysenter_cs = 6;
    system.sysenter_esp = 7;
    system.sysenter_eip = 8;
    system.cr2 = 9;
    system.segments[core::segment_fs].base = 0xffff'8000'0000'0000;
    ASSERT_TRUE(hvm.write_system(vcpu.context, system).has_value());
    EXPECT_TRUE(same(read(), system));
    core::ExecutionContext context{};
    hvm.read_context(vcpu.context, context);
    EXPECT_TRUE(context.code_64());
    EXPECT_EQ(context.privilege_level, 0);
    EXPECT_EQ(context.efer, system.efer) << "SVME is ours";
}

TEST_F(State, RefusesWhatTheProcessorWouldRefuse)
{
    const std::function<void(core::SystemRegisters&)> illegal[]{
        [](auto& s) { s.cr0 |= 1ull << 32; },
        [](auto& s) { s.cr0 |= x86::Cr0::NW::mask; },
        [](auto& s) { s.cr0 &= ~x86::Cr0::PE::mask; },
        [](auto& s) { s.cr3 |= 1ull << 60; },
        [](auto& s) { s.cr4 |= 1ull << 40; },
        [](auto& s) { s.cr4 |= x86::Cr4::LA57::mask; },  // not of this processor
        [](auto& s) { s.cr4 &= ~x86::Cr4::PAE::mask; },
        [](auto& s) { s.efer |= 1ull << 40; },
        [](auto& s) { s.efer |= x86::Efer::SVME::mask; },
        [](auto& s) { s.efer &= ~x86::Efer::LMA::mask; },
        [](auto& s) { s.dr6 |= 1ull << 32; },
        [](auto& s) { s.dr7 |= 1ull << 32; },
        [](auto& s) { s.segments[core::segment_cs].attributes |= 0x400; },
        [](auto& s) { s.segments[core::segment_ds].attributes |= 0x1000; },
        [](auto& s) { s.segments[core::segment_gs].base = 1ull << 50; },
        [](auto& s) { s.gdtr.base = 1ull << 50; },
        [](auto& s) { s.lstar = 1ull << 50; },
        [](auto& s) { s.pat = 2; },
    };
    const core::SystemRegisters before = long_mode_state();
    ASSERT_TRUE(hvm.write_system(vcpu.context, before).has_value());
    for (std::size_t index = 0; index < std::size(illegal); ++index) {
        core::SystemRegisters system = before;
        illegal[index](system);
        EXPECT_EQ(hvm.write_system(vcpu.context, system).error(), Error::invalid_argument) << index;
        EXPECT_TRUE(same(read(), before)) << index;
    }
}

TEST_F(State, MsrsAreHeldWithTheirRules)
{
    ASSERT_TRUE(hvm.write_system(vcpu.context, long_mode_state()).has_value());
    EXPECT_EQ(read_msr(x86::Msr::EFER).value(), 0x500u);
    EXPECT_TRUE(write_msr(x86::Msr::EFER, 0xd01).has_value());
    EXPECT_EQ(read_msr(x86::Msr::EFER).value(), 0xd01u);
    EXPECT_EQ(write_msr(x86::Msr::EFER, 0x1d01).error(), Error::invalid_argument);
    EXPECT_EQ(write_msr(x86::Msr::EFER, 0).error(), Error::invalid_argument)
        << "long mode cannot end with paging on";
    EXPECT_EQ(read_msr(x86::Msr::EFER).value(), 0xd01u);
    EXPECT_EQ(write_msr(x86::Msr::PAT, 2).error(), Error::invalid_argument);
    EXPECT_EQ(write_msr(x86::Msr::LSTAR, 1ull << 50).error(), Error::invalid_argument);
    EXPECT_EQ(write_msr(x86::Msr::GS_BASE, 1ull << 50).error(), Error::invalid_argument);
    EXPECT_TRUE(write_msr(x86::Msr::GS_BASE, 0x1234).has_value());
    EXPECT_EQ(read_msr(x86::Msr::GS_BASE).value(), 0x1234u);
    EXPECT_EQ(read().segments[core::segment_gs].base, 0x1234u);
    EXPECT_EQ(write_msr(x86::Msr::DebugCtl, 1).error(), Error::invalid_argument);
    EXPECT_EQ(read_msr(x86::Msr::APIC_BASE).error(), Error::not_found);
    EXPECT_EQ(write_msr(x86::Msr::VM_HSAVE_PA, 0).error(), Error::not_found);
}

TEST_F(State, TscAuxFollowsTheVcpuFromProcessorToProcessor)
{
    const auto tsc_aux = static_cast<std::uint32_t>(x86::Msr::TSC_AUX);
    EXPECT_TRUE(write_msr(x86::Msr::TSC_AUX, 17).has_value());
    EXPECT_EQ(write_msr(x86::Msr::TSC_AUX, 1ull << 32).error(), Error::invalid_argument);
    vcpu.load(1);
    EXPECT_EQ(here().msrs[tsc_aux], 17u);
    EXPECT_TRUE(write_msr(x86::Msr::TSC_AUX, 18).has_value());
    EXPECT_EQ(here().msrs[tsc_aux], 18u);
    EXPECT_EQ(read_msr(x86::Msr::TSC_AUX).value(), 18u);
}

TEST_F(State, DebugAddressesAreReadAndWrittenWhereverTheyAre)
{
    core::SystemRegisters system = long_mode_state();
    for (unsigned index = 0; index < 4; ++index)
        system.dr[index] = 0x1000 + index;
    ASSERT_TRUE(hvm.write_system(vcpu.context, system).has_value());
    EXPECT_EQ(read().dr[3], 0x1003u);
    vcpu.load(0);
    vcpu.enter([](Guest& guest) {
        if (guest.state.control.intercept_dr != 0)
            guest.exits(svm::number(svm::ExitCode::DR0_READ));  // its first access: they go into the processor
        else
            guest.exits(cpuid_exit);
    });
    EXPECT_EQ(here().debug_addresses[3], 0x1003u);
    here().debug_addresses[3] = 0x2003;  // a MOV without an exit
    EXPECT_EQ(read().dr[3], 0x2003u);
    system.dr[2] = 0x3002;
    ASSERT_TRUE(hvm.write_system(vcpu.context, system).has_value());
    EXPECT_EQ(here().debug_addresses[2], 0x3002u);
    vcpu.unload();
    EXPECT_EQ(read().dr[2], 0x3002u);
}

TEST_F(State, ExtendedControlTakesWhatWasOfferedAndIsLegal)
{
    core::SystemRegisters system = long_mode_state();
    system.cr4 |= x86::Cr4::OSXSAVE::mask;
    ASSERT_TRUE(hvm.write_system(vcpu.context, system).has_value());
    vcpu.load(0);
    const auto set = [&](std::uint64_t value, std::uint64_t index = 0) {
        vcpu.context.registers.general[core::rax] = value;
        vcpu.context.registers.general[core::rdx] = 0;
        vcpu.context.registers.general[core::rcx] = index;
        core::Exit exit{};
        exit.kind = core::ExitKind::set_extended_control;
        return hvm.emulate_system_instruction(vcpu.context, exit, nullptr, 0);
    };
    EXPECT_EQ(set(1).error(), Error::not_supported) << "nothing was offered";
    hvm.offer(vcpu.context, {~0ull, ~0ull, 7});
    EXPECT_TRUE(set(7).has_value());
    EXPECT_EQ(here().extended_control, 7u);
    EXPECT_EQ(hvm.extended_control(vcpu.context), 7u);
    for (const std::uint64_t illegal : {0ull, 2ull, 5ull, 0x207ull, 0xfull})
        EXPECT_EQ(set(illegal).error(), Error::invalid_argument) << illegal;
    EXPECT_EQ(set(7, 1).error(), Error::invalid_argument);
    EXPECT_EQ(here().extended_control, 7u);
    vcpu.unload();
    vcpu.load(1);
    EXPECT_EQ(here().extended_control, 7u);
    here().extended_control = 3;  // an XSETBV without an exit
    EXPECT_EQ(hvm.extended_control(vcpu.context), 3u);
    vcpu.unload();
    here().extended_control = 0x207;
    vcpu.load(0);
    EXPECT_EQ(here().extended_control, 3u);
}

TEST_F(State, VectorRegistersAreFoundInTheProcessorAndInTheSaveArea)
{
    const auto of = [](unsigned first, std::uint8_t value, std::size_t count) {
        std::vector<std::byte> bytes(count * 16, std::byte{value});
        bytes[0] = static_cast<std::byte>(first);
        return bytes;
    };
    const auto read = [&](unsigned first, std::size_t count) {
        std::vector<std::byte> bytes(count * 16, std::byte{0xee});
        hvm.read_vectors(vcpu.context, first, bytes);
        return bytes;
    };
    EXPECT_EQ(read(0, 16), std::vector<std::byte>(256)) << "zero after reset, whatever the area holds";
    hvm.write_vectors(vcpu.context, 3, of(3, 0x33, 2));
    EXPECT_EQ(read(3, 2), of(3, 0x33, 2));
    EXPECT_EQ(read(5, 11), std::vector<std::byte>(11 * 16));
    vcpu.load(0);
    here().extended_control = 3;
    EXPECT_EQ(std::memcmp(here().vectors + 48, of(3, 0x33, 2).data(), 32), 0) << "the guest finds what was written";
    std::memset(here().vectors + 240, 0x77, 16);  // and changes another
    EXPECT_EQ(read(15, 1), std::vector<std::byte>(16, std::byte{0x77}));
    hvm.write_vectors(vcpu.context, 0, of(0, 0x44, 1));
    EXPECT_EQ(std::memcmp(here().vectors, of(0, 0x44, 1).data(), 16), 0);
    EXPECT_EQ(std::memcmp(here().vectors + 48, of(3, 0x33, 2).data(), 32), 0) << "the others stay";
    EXPECT_EQ(here().extended_control, 3u) << "XCR0 is the guest's again";
    vcpu.enter();
    vcpu.unload();
    EXPECT_EQ(read(0, 1), of(0, 0x44, 1));
    EXPECT_EQ(read(15, 1), std::vector<std::byte>(16, std::byte{0x77}));
}

TEST_F(State, WritesOfCr4ExitOnlyWhereTheProcessorHasABitThatTheGuestIsNotShown)
{
    constexpr std::uint32_t write_exits{1u << (16 + 4)};
    vcpu.load(0);
    vcpu.enter();
    EXPECT_EQ(model().entered.control.intercept_cr & write_exits, 0u) << "by default all is offered";
    for (const std::uint64_t hidden : {x86::Cr4::PKE::mask, x86::Cr4::FSGSBASE::mask, x86::Cr4::SMEP::mask}) {
        vcpu.unload();
        hvm.offer(vcpu.context, {~hidden, ~0ull, 0});
        vcpu.load(0);
        vcpu.enter();
        EXPECT_EQ(model().entered.control.intercept_cr & write_exits, write_exits) << std::hex << hidden;
    }
    vcpu.unload();
    hvm.offer(vcpu.context, {~x86::Cr4::LA57::mask, ~0ull, 0});
    vcpu.load(0);
    vcpu.enter();
    EXPECT_EQ(model().entered.control.intercept_cr & write_exits, 0u) << "the processor refuses that one itself";
    EXPECT_EQ(model().wrongly_clean, 0u);
}

TEST_F(State, RefusesBitsThatWereNotOfferedHoweverTheyAreWritten)
{
    ASSERT_TRUE(hvm.write_system(vcpu.context, long_mode_state()).has_value());
    hvm.offer(vcpu.context, {~(x86::Cr4::PKE::mask | x86::Cr4::SMEP::mask), ~x86::Efer::NXE::mask, 0});
    const auto move_to_cr4 = [&](std::uint64_t value) {
        constexpr std::byte instruction[]{std::byte{0x0f}, std::byte{0x22}, std::byte{0xe3}};  // MOV CR4, RBX
        vcpu.context.registers.general[core::rbx] = value;
        core::Exit exit{};
        exit.kind = core::ExitKind::control_register;
        return hvm.emulate_system_instruction(vcpu.context, exit, instruction, sizeof instruction);
    };
    constexpr std::uint64_t paging{x86::Cr4::PAE::mask};
    EXPECT_TRUE(move_to_cr4(paging | x86::Cr4::SMAP::mask).has_value());
    EXPECT_EQ(read().cr4, paging | x86::Cr4::SMAP::mask);
    for (const std::uint64_t illegal : {paging | x86::Cr4::PKE::mask, paging | x86::Cr4::SMEP::mask,
                                        paging | x86::Cr4::LA57::mask, paging | std::uint64_t{1} << 63, std::uint64_t{0}}) {
        EXPECT_EQ(move_to_cr4(illegal).error(), Error::invalid_argument) << std::hex << illegal;
        core::SystemRegisters system = long_mode_state();
        system.cr4 = illegal;
        EXPECT_EQ(hvm.write_system(vcpu.context, system).error(), Error::invalid_argument) << std::hex << illegal;
    }
    EXPECT_EQ(read().cr4, paging | x86::Cr4::SMAP::mask);
    constexpr std::uint64_t long_mode{x86::Efer::LME::mask};
    EXPECT_TRUE(write_msr(x86::Msr::EFER, long_mode | x86::Efer::SCE::mask).has_value());
    // Not offered; not this processor's; SVME, LMSLE, TCE, AIBRSE [APM2-3.41 §3.1.7].
    for (const std::uint64_t bit : {x86::Efer::NXE::mask, x86::Efer::FFXSR::mask, x86::Efer::SVME::mask,
                                    x86::Efer::LMSLE::mask, std::uint64_t{1} << 15, std::uint64_t{1} << 21})
        EXPECT_EQ(write_msr(x86::Msr::EFER, long_mode | bit).error(), Error::invalid_argument) << std::hex << bit;
}

TEST_F(State, GivesBackWhatItTook)
{
    const std::uint64_t before = machine.frames.free_frames();
    {
        TestVcpu other{machine};
        EXPECT_GT(other.ledger.frames(), other.map.table_frames());
    }
    EXPECT_EQ(machine.frames.free_frames(), before);
}

TEST_F(State, CreatesNothingWithoutMemory)
{
    core::Ledger empty{0};
    core::VcpuContext context{};
    context.ledger = &empty;
    context.nested_generation = &vcpu.map.generation();
    EXPECT_EQ(hvm.vcpu_create(context).error(), Error::limit_reached);
    EXPECT_EQ(context.backend, nullptr);
}

TEST(PermissionMaps, LetAGuestReachItsOwnRegistersAndNothingElse)
{
    auto msrs = std::make_unique<svm::MsrPermissionMap>();
    auto ports = std::make_unique<svm::PortPermissionMap>();
    svm::fill_guest_maps(*msrs, *ports);
    const std::uint32_t allowed[]{0xc000'0081, 0xc000'0082, 0xc000'0083, 0xc000'0084, 0xc000'0100,
                                  0xc000'0101, 0xc000'0102, 0x174,       0x175,       0x176};
    for (const std::uint32_t base : {0u, 0xc000'0000u, 0xc001'0000u})
        for (std::uint32_t msr = base; msr < base + 0x2000; ++msr) {
            const bool passes = std::find(std::begin(allowed), std::end(allowed), msr) != std::end(allowed);
            EXPECT_EQ(msrs->write_exits(msr), !passes) << std::hex << msr;
            EXPECT_EQ(msrs->read_exits(msr), !passes && msr != 0x10) << std::hex << msr;
        }
    for (std::uint32_t port = 0; port < 0x10000; ++port)
        ASSERT_TRUE(ports->exits(port));
}

TEST(PermissionMaps, KeepTheControlDomainFromVirtualizationAndMemoryTypes)
{
    auto msrs = std::make_unique<svm::MsrPermissionMap>();
    auto ports = std::make_unique<svm::PortPermissionMap>();
    svm::fill_control_maps(*msrs, *ports);
    for (const std::uint32_t msr : {0x1bu, 0x200u, 0x20fu, 0x250u, 0x268u, 0x2ffu, 0xc000'0080u, 0xc001'0010u,
                                    0xc001'001au, 0xc001'001du, 0xc001'0020u, 0xc001'0114u, 0xc001'0117u})
        EXPECT_TRUE(msrs->write_exits(msr)) << std::hex << msr;
    for (const std::uint32_t msr : {0x10u, 0x277u, 0x6e0u, 0x830u, 0xc000'0082u, 0xc001'0015u})
        EXPECT_FALSE(msrs->write_exits(msr)) << std::hex << msr;
    EXPECT_FALSE(msrs->read_exits(0x1b));
    EXPECT_TRUE(msrs->read_exits(0xc000'0080));
    ports->intercept(0xcfc, 4);
    for (std::uint32_t port = 0; port < 0x10000; ++port)
        ASSERT_EQ(ports->exits(port), port >= 0xcfc && port < 0xd00) << std::hex << port;
}

TEST(Intercepts, GiveTheControlDomainItsInterruptsAndHaltAndTakeThemFromGuests)
{
    using svm::ExitCode;
    constexpr auto control = svm::intercepts_for(core::VcpuKind::control, false);
    constexpr auto guest = svm::intercepts_for(core::VcpuKind::guest, false);
    for (const ExitCode code : {ExitCode::INTR, ExitCode::HLT, ExitCode::INVD, ExitCode::RDPMC}) {
        EXPECT_EQ(control.instructions & svm::intercept_bit(code), 0u);
        EXPECT_NE(guest.instructions & svm::intercept_bit(code), 0u);
    }
    for (const ExitCode code :
         {ExitCode::VMRUN, ExitCode::VMLOAD, ExitCode::VMSAVE, ExitCode::STGI, ExitCode::CLGI}) {
        EXPECT_NE(control.svm & svm::intercept_bit(code), 0u);
        EXPECT_NE(guest.svm & svm::intercept_bit(code), 0u);
    }
}

TEST(GuestProcessors, MakeOfAnInitAnExceptionAndTheControlDomainsDoesNot)
{
    SvmMachine machine{{}, 3};
    constexpr auto vm_cr = static_cast<std::uint32_t>(x86::Msr::VM_CR);
    EXPECT_FALSE(x86::VmCr::R_INIT::get(model().processors[0].msrs[vm_cr]));
    EXPECT_TRUE(x86::VmCr::R_INIT::get(model().processors[1].msrs[vm_cr]));
    EXPECT_TRUE(x86::VmCr::R_INIT::get(model().processors[2].msrs[vm_cr]));
}

TEST(ControlVcpu, IsNotEnteredWhereAnNmiOfItsOwnCameAtTheLastMoment)
{
    SvmMachine machine;
    TestVcpu control{machine, core::VcpuKind::control};
    control.load(0);
    std::atomic<bool> nmi{};
    model().program = [](Guest& guest) { guest.exits(cpuid_exit); };
    core::Exit exit{};
    machine.hvm().enter_control(control.context, exit, nmi);
    EXPECT_EQ(exit.kind, core::ExitKind::cpuid);
    EXPECT_FALSE(here().events_held);
    model().before_hold = [&] { nmi.store(true); };
    machine.hvm().enter_control(control.context, exit, nmi);
    EXPECT_EQ(exit.kind, core::ExitKind::physical_nmi);
    EXPECT_EQ(model().runs, 1u);
    EXPECT_FALSE(here().events_held);
}

TEST(ControlVcpu, WaitsForAWindowWithItsTaskPriorityItsOwn)
{
    SvmMachine machine;
    TestVcpu control{machine, core::VcpuKind::control};
    control.load(0);
    machine.hvm().inject(control.context, {core::EventKind::nmi, 2, false, 0});
    control.enter();
    EXPECT_FALSE(machine.hvm().nmi_possible(control.context));
    machine.hvm().request_interrupt_window(control.context, 15);
    control.enter();
    EXPECT_NE(model().entered.control.intercept_instructions & svm::intercept_bit(svm::ExitCode::VINTR), 0u);
    EXPECT_EQ(model().entered.control.intercept_cr, 0u);
}

TEST(ControlVcpu, HasTheMachinesInterruptsForItsOwn)
{
    SvmMachine machine;
    TestVcpu control{machine, core::VcpuKind::control};
    TestVcpu guest{machine};
    control.load(0);
    control.enter();
    EXPECT_FALSE(svm::VirtualInterrupt::Masking::get(model().entered.control.virtual_interrupt));
    guest.load(1);
    guest.enter();
    EXPECT_TRUE(svm::VirtualInterrupt::Masking::get(model().entered.control.virtual_interrupt));
    EXPECT_TRUE(model().violations.empty());
}
