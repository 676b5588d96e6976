// SPDX-License-Identifier: MIT
//
// Guest-physical accesses that the nested tables do not allow: RAM that was not touched before, devices, nothing at all,
// and pages that the hypervisor laid there.
#include "machine_fixture.hpp"

using namespace hv;
using namespace hv::test;

namespace {

struct Denied {
    bool write{};
    bool execute{};
    bool present{};
    bool table_walk{};
};

class DeviceExits : public VcpuTest {
protected:
    void fault(std::uint64_t address, Denied what)
    {
        Exit exit = plain_exit(ExitKind::nested_fault);
        exit.fault = {.address = GuestPhysical{address},
                      .write = what.write,
                      .execute = what.execute,
                      .present = what.present,
                      .table_walk = what.table_walk,
                      .instruction_bytes = 0,
                      .bytes = {}};
        run({exits(exit)});
    }
    void mov_to_ecx(std::uint32_t address)  // MOV ECX, [address]
    {
        code({0x8b, 0x0d});
        put(0x1002, address);
        vcpu().registers.rip = 0x1000;
        fault(address, {.write = false});
    }
    void mov_from_ecx(std::uint32_t address)
    {
        code({0x89, 0x0d});
        put(0x1002, address);
        vcpu().registers.rip = 0x1000;
        fault(address, {.write = true});
    }
};

}  // namespace

TEST_F(DeviceExits, ReadsAndWritesOnBothSidesOfAPageBoundary)
{
    constexpr std::uint32_t end_of_ram{8u << 20};
    const auto move = [&](std::uint8_t opcode, std::uint32_t address) {
        code({opcode, 0x0d});  // 8B: MOV ECX, [address], 89: the reverse
        put(0x1002, address);
        vcpu().registers.rip = 0x1000;
        fault(end_of_ram, {.write = opcode == 0x89});
    };
    put<std::uint32_t>(end_of_ram - 4, 0x4433'2211);
    for (unsigned inside = 1; inside < 4; ++inside) {
        move(0x8b, end_of_ram - inside);
        const std::uint32_t from_ram = 0x4433'2211u >> (8 * (4 - inside));
        EXPECT_EQ(reg(rcx), 0xffff'ffffu << (8 * inside) | from_ram) << inside;
        EXPECT_EQ(vcpu().registers.rip, 0x1006u);
    }
    reg(rcx) = 0xaabb'ccdd;
    move(0x89, end_of_ram - 3);
    EXPECT_EQ(get<std::uint32_t>(end_of_ram - 4), 0xbbcc'dd11u);
    mov_to_ecx(0xfee0'0000 - 2);  // nothing, and the local APIC's first register, which reads 0
    EXPECT_EQ(reg(rcx), 0x0000'ffffu);
    EXPECT_TRUE(delivered().empty());
}

TEST_F(DeviceExits, RaisesThePageFaultThatTheProcessorNeverComesTo)
{
    long_mode();
    put<std::uint64_t>(0x1'1010, 0x1'4007);                // linear 2 GiB and on
    put<std::uint64_t>(0x1'4000, 0x1'5007);
    put<std::uint64_t>(0x1'5000, 0xf000'0000 | 7);         // a page where there is nothing, and none behind it
    code({0x8b, 0x0c, 0x25, 0xfe, 0x0f, 0x00, 0x80});      // MOV ECX, [0x80000ffe], sign-extended
    put<std::uint64_t>(0x1'0ff8, 0x1'1007);                // so that it is also at the top
    put<std::uint64_t>(0x1'1ff0, 0x1'4007);
    reg(rcx) = 0x1234;
    fault(0xf000'0ffe, {});
    EXPECT_EQ(delivered(), std::vector<unsigned>{14});
    EXPECT_EQ(guest().system.cr2, 0xffff'ffff'8000'1000u);
    EXPECT_EQ(vcpu().registers.rip, 0x1000u);
    EXPECT_EQ(reg(rcx), 0x1234u);
    code({0xa4});  // MOVSB from the device to a page that is not there
    reg(rsi) = 0x8000'0000;
    reg(rdi) = 0x8000'1000;
    vcpu().registers.rip = 0x1000;
    fault(0xf000'0000, {});
    EXPECT_EQ(delivered(), std::vector<unsigned>{14});
    EXPECT_EQ(guest().system.cr2, 0x8000'1000u);
    EXPECT_EQ(reg(rsi), 0x8000'0000u);
}

TEST_F(DeviceExits, EntersRamThatTheGuestTouchesForTheFirstTime)
{
    EXPECT_FALSE(domain->memory.map().lookup(GuestPhysical{0x60'0000}));
    guest().script.push_back([](VcpuContext& context, FakeVcpu&) {
        Exit exit{};
        const std::uint32_t value{0x1234};
        EXPECT_FALSE(fake::guest_write(context, GuestPhysical{0x60'0010}, &value, 4, exit));
        return exit;
    });
    guest().script.push_back([](VcpuContext& context, FakeVcpu&) {
        Exit exit = plain_exit(ExitKind::physical_nmi);
        const std::uint32_t value{0x1234};
        EXPECT_TRUE(fake::guest_write(context, GuestPhysical{0x60'0010}, &value, 4, exit));
        return exit;
    });
    turn();
    EXPECT_EQ(get<std::uint32_t>(0x60'0010), 0x1234u);
    EXPECT_EQ(vcpu().registers.rip, 0x1000u);
    EXPECT_TRUE(delivered().empty());
}

TEST_F(DeviceExits, EndsTheDomainWithWordsWhenNoTableCanBeHad)
{
    domain->ledger.set_limit(domain->ledger.frames());
    fault(0x60'0000, {.write = true});
    EXPECT_EQ(domain->end_reason(), EndReason::crash);
    EXPECT_EQ(domain->end_text(), "the hypervisor has no memory for its nested tables");
    domain->ledger.set_limit(Ledger::unlimited);
}

TEST_F(DeviceExits, ReachesTheLocalApicInItsPage)
{
    mov_to_ecx(0xfee0'0030);
    EXPECT_EQ(reg(rcx), vcpu().apic.read_mmio(0x30, 4, 0));
    EXPECT_EQ(vcpu().registers.rip, 0x1006u);
    reg(rcx) = 0x30;
    mov_from_ecx(0xfee0'0080);
    EXPECT_EQ(guest().task_priority, 3);
    guest().task_priority = 7;
    mov_to_ecx(0xfee0'0080);
    EXPECT_EQ(reg(rcx), 0x70u);
}

TEST_F(DeviceExits, ReachesTheIoApicAndFindsNothingElsewhere)
{
    reg(rcx) = 1;
    mov_from_ecx(0xfec0'0000);
    mov_to_ecx(0xfec0'0010);
    EXPECT_EQ(reg(rcx) >> 16 & 0xff, 23u) << "version register: 24 pins";
    mov_to_ecx(0xd000'0000);
    EXPECT_EQ(reg(rcx), 0xffff'ffffu);
    EXPECT_EQ(vcpu().registers.rip, 0x1006u);
    reg(rcx) = 5;
    mov_from_ecx(0xd000'0000);
    EXPECT_EQ(vcpu().registers.rip, 0x1006u);
    EXPECT_TRUE(delivered().empty());
}

TEST_F(DeviceExits, RaisesUndefinedOpcodeForWhatCannotBeUsedOnADevice)
{
    code({0xdb, 0x2d, 0x00, 0x00, 0xe0, 0xfe});  // FLD of ten bytes
    fault(0xfee0'0000, {.write = false});
    EXPECT_EQ(delivered(), std::vector<unsigned>{6});
    EXPECT_EQ(vcpu().registers.rip, 0x1000u);
    EXPECT_NE(fake::console().find("cannot be used on the device"), std::string::npos);
    fault(0xd000'0000, {.execute = true});
    EXPECT_EQ(delivered(), std::vector<unsigned>{6});
}

TEST_F(DeviceExits, EndsADomainThatKeepsItsPageTablesWhereThereIsNoMemory)
{
    fault(0xd000'1000, {.write = true, .table_walk = true});
    EXPECT_EQ(domain->end_reason(), EndReason::crash);
    EXPECT_EQ(domain->end_text(), "VCPU 0 uses a page table at 0xd0001000, where there is no memory");
}

TEST_F(DeviceExits, RaisesGeneralProtectionForAWriteToAPageThatIsReadOnlyAndRetriesOnceItIsNot)
{
    put<std::uint32_t>(0x5000, 0x77);
    ASSERT_TRUE(domain->memory.map().protect(GuestPhysical{0x5000}, page_size, access_read_only));
    fault(0x5000, {.write = true, .present = true});
    EXPECT_EQ(delivered(), std::vector<unsigned>{13});
    ASSERT_TRUE(domain->memory.map().protect(GuestPhysical{0x5000}, page_size, access_all));
    fault(0x5000, {.write = true, .present = true});
    EXPECT_TRUE(delivered().empty());
    EXPECT_EQ(vcpu().registers.rip, 0x1000u);
    EXPECT_EQ(get<std::uint32_t>(0x5000), 0x77u);
}
