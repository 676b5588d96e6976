// SPDX-License-Identifier: MIT
//
// A local APIC that its guest moves by APIC_BASE onto memory hides it, from its own VCPU and from no other,
// and gives it back as it was.  The fake processor keeps translations until it is told to flush, and its
// tables' root with them.
#include "machine_fixture.hpp"

#include <cstring>

#include "hv/core/vcpu/exit_handlers.hpp"

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint32_t there{0x40'0000};
constexpr std::uint32_t usual{0xfee0'0000};
constexpr std::uint32_t version{0x30};
constexpr std::uint32_t priority{0x80};
constexpr std::uint32_t apic_base_number{0x1b};

class MovedApic : public VcpuTest {
protected:
    MovedApic()
    {
        put<std::uint32_t>(there + version, 0x1234);
        put<std::uint32_t>(there + priority, 0x5678);
        vcpu(1).started = true;
        flat(code_32, 1);
        machine().scheduler.unblock(vcpu(1), Blocker::waiting_for_startup);
    }

    [[nodiscard]] std::uint64_t original(unsigned index = 0) const { return vcpu(index).apic.apic_base(); }
    /// WRMSR of APIC_BASE; the vectors that the guest got.
    std::vector<unsigned> write(std::uint64_t value, unsigned index = 0)
    {
        code({0x0f, 0x30}, 0x2000);
        vcpu(index).registers.rip = 0x2000;
        reg(rcx, index) = apic_base_number;
        reg(rax, index) = static_cast<std::uint32_t>(value);
        reg(rdx, index) = value >> 32;
        run({exits(plain_exit(ExitKind::msr_write))}, index);
        return delivered(index);
    }
    std::vector<unsigned> move(std::uint64_t page, unsigned index = 0)
    {
        return write((original(index) & page_mask) | page, index);
    }
    /// MOV ECX, [address] or the reverse: in the guest, or where that exits, emulated.  True: it exited.
    bool access(std::uint32_t address, bool writes, unsigned index)
    {
        code({static_cast<std::uint8_t>(writes ? 0x89 : 0x8b), 0x0d}, 0x2000);
        put(0x2002, address);
        vcpu(index).registers.rip = 0x2000;
        bool exited{};
        run({[&](VcpuContext& context, FakeVcpu&) {
                Exit fault = plain_exit(ExitKind::physical_nmi);
                std::uint32_t value = static_cast<std::uint32_t>(reg(rcx, index));
                exited = writes ? !fake::guest_write(context, GuestPhysical{address}, &value, 4, fault)
                                : !fake::guest_read(context, GuestPhysical{address}, &value, 4, fault);
                if (!exited && !writes)
                    reg(rcx, index) = value;
                return fault;
            }},
            index);
        EXPECT_TRUE(delivered(index).empty());
        return exited;
    }
    bool read(std::uint32_t address, unsigned index = 0) { return access(address, false, index); }
    bool write_ecx(std::uint32_t address, std::uint32_t value, unsigned index = 0)
    {
        reg(rcx, index) = value;
        return access(address, true, index);
    }
    void expect_ram(unsigned index = 0, std::uint32_t value = 0x1234)
    {
        EXPECT_FALSE(read(there + version, index)) << "RAM is reached without an exit";
        EXPECT_EQ(reg(rcx, index), value);
    }
    void expect_apic(std::uint32_t at, unsigned index = 0)
    {
        EXPECT_TRUE(read(at + version, index));
        EXPECT_EQ(reg(rcx, index), vcpu(index).apic.read_mmio(version, 4, 0));
    }
};

}  // namespace

TEST_F(MovedApic, HidesTheRamBelowItAndGivesItBackAsItWas)
{
    const std::uint64_t before = original();
    expect_ram();  // the processor remembers the translation from now on
    EXPECT_TRUE(move(there).empty());
    EXPECT_EQ(original(), (before & page_mask) | there);
    expect_apic(there);
    EXPECT_TRUE(write_ecx(there + priority, 0x30));
    EXPECT_EQ(vcpu().apic.task_priority(), 0x30);
    EXPECT_TRUE(read(usual + version));
    EXPECT_EQ(reg(rcx), 0xffff'ffffu) << "it is at its old address no more";
    EXPECT_FALSE(read(there + 0x1000)) << "its neighbour is RAM";
    EXPECT_EQ(domain->memory.map().lookup(GuestPhysical{there})->page_bytes, 2u << 20);

    EXPECT_TRUE(write(before).empty());
    expect_ram();
    EXPECT_FALSE(read(there + priority));
    EXPECT_EQ(reg(rcx), 0x5678u) << "what was written there went to the APIC";
    expect_apic(usual);
}

TEST_F(MovedApic, HidesRamThatNobodyTouchedBefore)
{
    EXPECT_TRUE(move(0x60'0000).empty());
    expect_apic(0x60'0000);
    EXPECT_FALSE(domain->memory.map().lookup(GuestPhysical{0x60'0000}));
    EXPECT_TRUE(read(0x60'1000));  // populates the large page of both
    EXPECT_FALSE(read(0x60'1000));
    expect_apic(0x60'0000);
}

TEST_F(MovedApic, MovesOnWithItsHole)
{
    put<std::uint32_t>(there + 0x1000 + version, 0x4321);
    expect_ram();
    EXPECT_FALSE(read(there + 0x1000 + version));
    EXPECT_TRUE(move(there).empty());
    expect_apic(there);
    const std::uint64_t charged = domain->ledger.frames();
    EXPECT_TRUE(move(there + 0x1000).empty());
    expect_apic(there + 0x1000);
    expect_ram();
    EXPECT_EQ(domain->ledger.frames(), charged);
    EXPECT_TRUE(move(usual).empty());
    EXPECT_FALSE(read(there + 0x1000 + version));
    EXPECT_EQ(reg(rcx), 0x4321u);
    EXPECT_EQ(domain->ledger.frames(), charged - 4) << "four tables";
}

TEST_F(MovedApic, HidesRamFromItsOwnVcpuAlone)
{
    EXPECT_TRUE(move(there).empty());
    expect_apic(there);
    expect_ram(1);
    EXPECT_FALSE(write_ecx(there + version, 0x4321, 1));
    expect_apic(there);
    expect_apic(usual, 1);
    EXPECT_TRUE(move(usual).empty());
    expect_ram(0, 0x4321);
}

TEST_F(MovedApic, LiesWithAnotherOnOnePageOrOnTwo)
{
    put<std::uint32_t>(there + 0x1000 + version, 0x4321);
    EXPECT_TRUE(move(there).empty());
    EXPECT_TRUE(move(there + 0x1000, 1).empty());
    expect_apic(there);
    expect_apic(there + 0x1000, 1);
    expect_ram(1);
    EXPECT_FALSE(read(there + 0x1000 + version));
    EXPECT_EQ(reg(rcx), 0x4321u);

    EXPECT_TRUE(move(there, 1).empty());
    EXPECT_TRUE(write_ecx(there + priority, 0x40, 1));
    EXPECT_EQ(vcpu(1).apic.task_priority(), 0x40);
    EXPECT_EQ(vcpu(0).apic.task_priority(), 0);
    EXPECT_TRUE(move(usual, 0).empty());
    expect_ram();
    expect_apic(there, 1);
}

TEST_F(MovedApic, StopsHidingWhenItsRegistersAreNoMemoryAnyMore)
{
    constexpr std::uint64_t extended{1 << 10}, enable{1 << 11};
    const std::uint64_t before = original();
    EXPECT_TRUE(move(there).empty());
    EXPECT_TRUE(write(original() | extended).empty());
    expect_ram();
    EXPECT_TRUE(write(original() & ~(extended | enable)).empty());
    expect_ram();
    EXPECT_TRUE(write(original() | enable).empty());
    expect_apic(there);
    EXPECT_TRUE(write(before).empty());
    expect_ram();
}

TEST_F(MovedApic, CoversWhatTheHypervisorLaysThereBeforeOrAfter)
{
    NestedMap& map = domain->memory.map();
    const HostPhysical own = domain->memory.ram_page(GuestPhysical{there}).value();
    const HostPhysical overlay = frames.allocate(0, domain->ledger).value();
    auto* const shown = static_cast<std::byte*>(platform::to_pointer(overlay));
    constexpr std::uint32_t word{0x4321};
    std::memcpy(shown + version, &word, sizeof word);
    const auto lay = [&](HostPhysical page, std::uint64_t at) {
        ASSERT_TRUE(map.replace(GuestPhysical{at}, page, page_size, access_all));
    };
    lay(overlay, there);
    expect_ram(0, word);
    EXPECT_TRUE(move(there).empty());
    expect_apic(there);
    lay(own, there);
    lay(overlay, there);
    expect_apic(there);
    expect_ram(1, word);
    EXPECT_EQ(domain->memory.ram_page(GuestPhysical{there}).value(), own) << "what is pinned stays";
    EXPECT_TRUE(move(usual).empty());
    expect_ram(0, word);
    lay(own, there);
    expect_ram();

    constexpr std::uint64_t beyond_ram{0x4000'0000};  // an overlay where there is no RAM
    lay(overlay, beyond_ram);
    EXPECT_FALSE(read(beyond_ram + version));
    EXPECT_TRUE(move(beyond_ram).empty());
    expect_apic(beyond_ram);
    EXPECT_TRUE(move(usual).empty());
    ASSERT_TRUE(map.unmap(GuestPhysical{beyond_ram}, page_size));
    frames.release(overlay, 0, domain->ledger);
}

TEST_F(MovedApic, StaysWhereItIsWhenTheWriteIsRefused)
{
    const std::uint64_t before = original();
    EXPECT_EQ(write(((before & page_mask) | there) | 1), std::vector<unsigned>{13}) << "a reserved bit";
    expect_ram();
    expect_apic(usual);
    domain->ledger.set_limit(domain->ledger.frames());
    EXPECT_EQ(move(there), std::vector<unsigned>{13}) << "no memory for tables";
    EXPECT_EQ(original(), before);
    expect_ram();
    expect_apic(usual);
    domain->ledger.set_limit(Ledger::unlimited);
    EXPECT_TRUE(move(there).empty());
    EXPECT_EQ(write(original() | 1), std::vector<unsigned>{13});
    expect_apic(there);
}

TEST_F(MovedApic, IsNoPlaceForCodeOrPageTables)
{
    EXPECT_TRUE(move(there).empty());
    Exit fault = plain_exit(ExitKind::nested_fault);
    fault.fault = {.address = GuestPhysical{there},
                   .write = false,
                   .execute = true,
                   .present = false,
                   .table_walk = false,
                   .instruction_bytes = 0,
                   .bytes = {}};
    run({exits(fault)});
    EXPECT_EQ(delivered(), std::vector<unsigned>{6});
    fault.fault.execute = false;
    fault.fault.table_walk = true;
    run({exits(fault)});
    EXPECT_EQ(domain->end_reason(), EndReason::crash);
    EXPECT_NE(domain->end_text().find("where its local APIC is"), std::string_view::npos)
        << domain->end_text();
}
