// SPDX-License-Identifier: MIT
//
// What the control domain sees of the machine: its physical addresses, CPUID, and which sleep states it may
// ask for.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <vector>

#include "hv/arch/x86/control_domain/address_plan.hpp"
#include "hv/arch/x86/control_domain/cpuid_view.hpp"
#include "hv/arch/x86/control_domain/sleep_control.hpp"
#include "../control_domain/firmware_tables.hpp"
#include "hv/x86/control_registers.hpp"

using namespace hv;
using namespace hv::control_domain;
using core::E820Entry;
using core::E820Type;

namespace {

constexpr std::uint64_t mib{1ull << 20};
constexpr std::uint64_t gib{1ull << 30};

core::MemoryMap map_of(std::initializer_list<E820Entry> entries)
{
    core::MemoryMap map;
    for (const E820Entry& entry : entries)
        EXPECT_TRUE(map.push_back(entry));
    return map;
}

/// 3 GiB below the hole, 1 GiB above 4 GiB; the control domain has the first 512 MiB but for one page.
class Plan : public testing::Test {
protected:
    core::MemoryMap machine{map_of({{0, 0x9fc00, E820Type::ram},
                                    {0xf0000, 0x10000, E820Type::reserved},
                                    {mib, 3 * gib - mib, E820Type::ram},
                                    {4 * gib, gib, E820Type::ram}})};
    core::MemoryMap own{map_of({{0, 0x9e000, E820Type::ram},
                                {0x9e000, 0x1c00, E820Type::reserved},
                                {mib, 511 * mib, E820Type::ram},
                                {512 * mib, 3 * gib - 512 * mib, E820Type::reserved},
                                {4 * gib, gib, E820Type::reserved}})};
    AddressPlan plan{machine, own, 1ull << 40};

    Region at(std::uint64_t address) { return plan.region(GuestPhysical{address}); }
    bool may_map(std::uint64_t begin, std::uint64_t bytes)
    {
        return plan.may_map({GuestPhysical{begin}, bytes});
    }
};

}  // namespace

TEST_F(Plan, TellsOwnMemoryFromDevicesAndFromWhatBelongsToOthers)
{
    EXPECT_EQ(at(0), Region::own_ram);
    EXPECT_EQ(at(0x9e000), Region::hidden) << "the page that processors start in";
    EXPECT_EQ(at(0x9f800), Region::device) << "a page that is RAM in part belongs to nobody";
    EXPECT_EQ(at(0xb8000), Region::device);
    EXPECT_EQ(at(512 * mib - 1), Region::own_ram);
    EXPECT_EQ(at(512 * mib), Region::hidden);
    EXPECT_EQ(at(3 * gib - 1), Region::hidden);
    EXPECT_EQ(at(0xfee0'0000), Region::device);
    EXPECT_EQ(at(4 * gib), Region::hidden);
    EXPECT_EQ(at(5 * gib), Region::device);
    EXPECT_EQ(at((1ull << 40) - 1), Region::device);
    EXPECT_EQ(at(1ull << 40), Region::outside);
    EXPECT_EQ(at(~0ull), Region::outside);
}

TEST_F(Plan, LetsAPageBeMappedOnlyWhenNothingInItIsHidden)
{
    EXPECT_TRUE(may_map(3 * gib, gib));
    EXPECT_TRUE(may_map(0x9f000, page_size));
    EXPECT_TRUE(may_map(0xa0000, 0x60000));
    EXPECT_TRUE(may_map(mib, 511 * mib));
    EXPECT_FALSE(may_map(0x9e000, page_size));
    EXPECT_FALSE(may_map(0, 2 * mib));
    EXPECT_FALSE(may_map(0, gib));
    EXPECT_FALSE(may_map(3 * gib - page_size, 2 * page_size));
    EXPECT_FALSE(may_map(3 * gib, 2 * gib));
    EXPECT_TRUE(may_map((1ull << 40) - gib, gib));
    EXPECT_FALSE(may_map(1ull << 40, page_size));
    EXPECT_FALSE(may_map((1ull << 40) - page_size, 2 * page_size));
    EXPECT_FALSE(may_map(page_size, ~0ull));
}

TEST_F(Plan, KeepsWindowsOutOfEveryMappingUntilTheyMove)
{
    const GuestRange registers{GuestPhysical{0xc000'0000}, 0x4000};
    plan.set_window(Window::registers, registers);
    EXPECT_EQ(at(0xc000'0000), Region::window);
    EXPECT_EQ(at(0xc000'3fff), Region::window);
    EXPECT_EQ(at(0xc000'4000), Region::device);
    EXPECT_FALSE(may_map(3 * gib, gib));
    EXPECT_FALSE(may_map(0xc000'3000, page_size));
    EXPECT_TRUE(may_map(0xc000'4000, page_size));
    plan.set_window(Window::registers, std::nullopt);
    EXPECT_EQ(at(0xc000'0000), Region::device);
    EXPECT_TRUE(may_map(3 * gib, gib));
}

TEST(SleepControl, FindsThePowerOffTypeInADefinitionBlock)
{
    const auto find = [](std::vector<int> bytes) {
        std::vector<std::byte> block;
        for (const int byte : bytes)
            block.push_back(static_cast<std::byte>(byte));
        return find_sleep_type(block, "_S5_");
    };
    EXPECT_EQ(find({0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00}), 0);
    EXPECT_EQ(find({0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x01, 0x00, 0x00, 0x00}), 1);
    EXPECT_EQ(find({'\\', '_', 'S', '5', '_', 0x12, 0x07, 0x04, 0x0a, 0x05, 0x0a, 0x05, 0x00, 0x00}), 5);
    EXPECT_EQ(find({0x08, '_', 'S', '5', '_', 0x12, 0x40, 0x08, 0x04, 0x0a, 0x07, 0, 0, 0}), 7)
        << "a longer PkgLength";
    // The name alone (a reference to it), before the object.
    EXPECT_EQ(find({'_', 'S', '5', '_', 0x70, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x00, 0, 0, 0}), 0);
    EXPECT_EQ(find({'_', 'S', '4', '_', 0x12, 0x06, 0x04, 0x00, 0, 0, 0}), std::nullopt);
    const std::vector<int> whole{0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a};
    for (std::size_t length = 0; length <= whole.size(); ++length)
        EXPECT_EQ(find({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)}), std::nullopt)
            << length;
}

TEST(SleepControl, LooksForThePowerOffTypeInTheDsdtAndThenInEverySsdt)
{
    const test::Bytes without{0x10, 0x01, 0x02};
    const auto with = [](std::uint8_t type) {
        return test::Bytes{0x08, '_', 'S', '5', '_', 0x12, 0x07, 0x04, 0x0a, type, 0x0a, type, 0x00, 0x00};
    };
    const auto find = [&](const test::Bytes& dsdt, const std::vector<test::Bytes>& ssdts, bool damaged = false) {
        test::Firmware firmware;
        const std::uint64_t dsdt_at = firmware.add(test::acpi_table("DSDT", dsdt));
        std::vector<std::uint64_t> listed{firmware.add(test::usual_madt())};
        for (const test::Bytes& ssdt : ssdts)
            listed.push_back(firmware.add(test::acpi_table("SSDT", ssdt)));
        firmware.finish(listed);
        if (damaged)
            firmware.memory.put<std::uint8_t>(listed[1] + 8, 0x77);
        return find_power_off_type(firmware.memory.view(), HostPhysical{test::Firmware::rsdp}, HostPhysical{dsdt_at});
    };
    EXPECT_EQ(find(with(5), {with(7)}), 5);
    EXPECT_EQ(find(without, {without, with(7)}), 7);
    EXPECT_EQ(find(without, {with(5), with(7)}, true), 7) << "dom0 does not see the damaged one";
    EXPECT_EQ(find(without, {without}), std::nullopt);
}

TEST(SleepControl, ReadsThePortsOfTheFixedTable)
{
    std::vector<std::byte> fadt(276);
    const std::uint32_t pm1a{0x604}, dsdt{0x7fe0'0000};
    std::memcpy(fadt.data() + 64, &pm1a, 4);
    std::memcpy(fadt.data() + 40, &dsdt, 4);
    const auto ports = parse_sleep_ports(fadt);
    ASSERT_TRUE(ports.has_value());
    EXPECT_EQ(ports->control[0], 0x604);
    EXPECT_EQ(ports->control[1], 0);
    EXPECT_EQ(ports->dsdt, 0x7fe0'0000u);
    const std::uint64_t x_dsdt{0x1'2345'0000};
    std::memcpy(fadt.data() + 140, &x_dsdt, 8);
    EXPECT_EQ(parse_sleep_ports(fadt)->dsdt, x_dsdt);
    EXPECT_EQ(parse_sleep_ports({fadt.data(), 116})->dsdt, 0x7fe0'0000u) << "ACPI 1.0";
    EXPECT_FALSE(parse_sleep_ports({fadt.data(), 70}).has_value());
    const std::uint32_t no_port{0x10000};
    std::memcpy(fadt.data() + 64, &no_port, 4);
    EXPECT_FALSE(parse_sleep_ports(fadt).has_value());
}

TEST(SleepControl, AllowsPowerOffAndRefusesSleep)
{
    constexpr std::uint32_t enable{1u << 13};
    const auto type = [](std::uint32_t value) { return value << 10; };
    EXPECT_EQ(judge_sleep_write(0, 2, type(5) | 1, 5), SleepRequest::none);
    EXPECT_EQ(judge_sleep_write(0, 2, type(5) | enable | 1, 5), SleepRequest::power_off);
    EXPECT_EQ(judge_sleep_write(0, 2, type(1) | enable, 5), SleepRequest::refused);
    EXPECT_EQ(judge_sleep_write(0, 4, type(1) | enable, 5), SleepRequest::refused);
    EXPECT_EQ(judge_sleep_write(1, 1, (type(5) | enable) >> 8, 5), SleepRequest::power_off);
    EXPECT_EQ(judge_sleep_write(1, 1, (type(1) | enable) >> 8, 5), SleepRequest::refused);
    EXPECT_EQ(judge_sleep_write(0, 1, type(1) | enable, 5), SleepRequest::none) << "the low byte alone";
    EXPECT_EQ(judge_sleep_write(0, 2, type(5) | enable, std::nullopt), SleepRequest::refused);
}

TEST(CpuidView, HidesVirtualizationAndShowsTheHypervisor)
{
    const x86::CpuidResult all{~0u, ~0u, ~0u, ~0u};
    const CpuidView view{x86::Cr4::OSXSAVE::mask, false};
    const auto features = view_cpuid(1, all, view);
    EXPECT_EQ(features.ecx, ~(1u << 21)) << "no way into x2APIC mode";
    EXPECT_EQ(view_cpuid(1, {}, view).ecx, 1u << 31 | 1u << 27);
    EXPECT_EQ(view_cpuid(1, all, {0, true}).ecx, ~(1u << 27));
    EXPECT_EQ(view_cpuid(7, all, view).ecx, ~(1u << 16 | 1u << 4));
    EXPECT_EQ(view_cpuid(7, all, {x86::Cr4::PKE::mask, false}).ecx, ~(1u << 16));
    EXPECT_EQ(view_cpuid(0x8000'0001, all, view).ecx, ~(1u << 2 | 1u << 12));
    EXPECT_EQ(view_cpuid(0x8000'000a, all, view), x86::CpuidResult{});
    EXPECT_EQ(view_cpuid(0x8000'0008, all, view), all);
}

TEST(CpuidView, NamesGraftInTheFirstHypervisorLeafAndNothingElseThere)
{
    const auto leaf = view_cpuid(0x4000'0000, {}, {});
    std::array<char, 12> name{};
    std::memcpy(name.data(), &leaf.ebx, 4);
    std::memcpy(name.data() + 4, &leaf.ecx, 4);
    std::memcpy(name.data() + 8, &leaf.edx, 4);
    EXPECT_EQ(std::string_view(name.data(), name.size()), "GraftGraftHV");
    EXPECT_EQ(leaf.eax, 0x4000'0000u);
    for (const std::uint32_t other : {0x4000'0001u, 0x4000'0100u, 0x4fff'ffffu})
        EXPECT_EQ(view_cpuid(other, {1, 2, 3, 4}, {}), x86::CpuidResult{});
}
