// SPDX-License-Identifier: MIT
//
// The control domain in its memory: what its kernel finds there, that no two pieces overlap and all lie in its own RAM, and
// a sentence where it does not fit.  Specification: [BOOT-6.1 "64-bit Boot Protocol"].
#include "hv/core/control_domain/builder.hpp"

#include <gtest/gtest.h>

#include "fake_platform.hpp"
#include "firmware_tables.hpp"
#include "hv/core/platform/platform.hpp"
#include "kernel_file.hpp"

using namespace hv;
using namespace hv::test;
using core::E820Entry;
using core::E820Type;

namespace {

constexpr std::uint64_t mib{1 << 20};

class ControlDomainBuilder : public testing::Test {
protected:
    ControlDomainBuilder()
    {
        fake::reset_platform(2);
        for (std::size_t index = 0; index < initramfs.size(); ++index)
            initramfs[index] = static_cast<std::byte>(index * 3 + 5);
    }

    Expected<core::ControlDomainEntry> build()
    {
        why.clear();
        return core::build_control_domain({.kernel = kernel.bytes,
                                           .initramfs = initramfs,
                                           .command_line = command_line,
                                           .memory = memory,
                                           .firmware = firmware.memory.view(),
                                           .rsdp = HostPhysical{Firmware::rsdp},
                                           .apic_id = 1},
                                          why);
    }
    void expect_refused(Error error, std::string_view sentence)
    {
        const auto built = build();
        ASSERT_FALSE(built) << sentence;
        EXPECT_EQ(built.error(), error);
        EXPECT_EQ(why.view(), sentence);
    }

    static const std::byte* at_address(std::uint64_t address)
    {
        return static_cast<const std::byte*>(core::platform::to_pointer(HostPhysical{address}));
    }
    template <typename T>
    static T peek(std::uint64_t address)
    {
        T value{};
        std::memcpy(&value, at_address(address), sizeof value);
        return value;
    }
    static std::vector<E820Entry> memory_map(std::uint64_t zero_page)
    {
        std::vector<E820Entry> entries;
        for (unsigned index = 0; index < peek<std::uint8_t>(zero_page + 0x1e8); ++index) {
            const std::uint64_t entry = zero_page + 0x2d0 + 20 * index;
            entries.push_back({peek<std::uint64_t>(entry), peek<std::uint64_t>(entry + 8),
                               static_cast<E820Type>(peek<std::uint32_t>(entry + 16))});
        }
        return entries;
    }
    /// The linear address, walked through the page tables as the processor does.
    static std::uint64_t translate(std::uint64_t root, std::uint64_t linear)
    {
        std::uint64_t table{root};
        for (unsigned shift = 39; shift >= 21; shift -= 9) {
            const auto entry = peek<std::uint64_t>(table + (linear >> shift & 511) * 8);
            if ((entry & 3) != 3)
                return ~0ull;
            table = entry & 0x000f'ffff'ffff'f000;
            if ((entry & 0x80) != 0)
                return shift == 21 ? table + linear % (2 * mib) : ~0ull;
        }
        return ~0ull;
    }

    KernelFile kernel;
    std::vector<std::byte> initramfs = std::vector<std::byte>(0x12345);
    std::string command_line{"console=ttyS1 quiet"};
    std::vector<E820Entry> memory{{0, 0x9'f000, E820Type::ram},
                                  {0x9'f000, 0x1000, E820Type::reserved},
                                  {mib, 63 * mib, E820Type::ram},
                                  {64 * mib, 64 * mib, E820Type::reserved},
                                  {4096 * mib, 64 * mib, E820Type::ram}};
    Firmware firmware = Firmware::usual();
    BoundedText<200> why;
};

std::uint64_t size_of(const std::vector<E820Entry>& map, E820Type type)
{
    std::uint64_t sum{};
    for (const E820Entry& entry : map)
        sum += entry.type == type ? entry.bytes : 0;
    return sum;
}

}  // namespace

TEST_F(ControlDomainBuilder, PutsKernelInitramfsAndCommandLineWhereTheBootParametersSay)
{
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    const std::uint64_t zero_page = built.value().boot_parameters;
    EXPECT_EQ(built.value().rip, KernelFile::preferred + 0x200);
    EXPECT_EQ(std::memcmp(at_address(KernelFile::preferred), kernel.bytes.data() + KernelFile::payload_begin, 0x3000), 0);
    EXPECT_EQ(std::memcmp(at_address(zero_page + 0x1f1), kernel.bytes.data() + 0x1f1, 0x1f), 0);
    EXPECT_EQ(peek<std::uint8_t>(zero_page + at::type_of_loader), 0xff);
    EXPECT_EQ(std::memcmp(at_address(zero_page + 0x211), kernel.bytes.data() + 0x211, 7), 0);

    const std::uint64_t ramdisk = peek<std::uint32_t>(zero_page + at::ramdisk_image);
    EXPECT_EQ(peek<std::uint32_t>(zero_page + at::ramdisk_size), initramfs.size());
    EXPECT_EQ(std::memcmp(at_address(ramdisk), initramfs.data(), initramfs.size()), 0);
    EXPECT_EQ(peek<std::uint32_t>(zero_page + at::ext_ramdisk_image), 0u);

    const auto* text = reinterpret_cast<const char*>(at_address(peek<std::uint32_t>(zero_page + at::cmd_line_ptr)));
    EXPECT_STREQ(text, "console=ttyS1 quiet nr_cpus=1 no_ipi_broadcast=1");
    EXPECT_EQ(peek<std::uint8_t>(zero_page + 0x264), 0) << "nothing behind the header but zeros";
}

TEST_F(ControlDomainBuilder, LeavesTheRamdiskFieldsZeroWithoutOne)
{
    initramfs.clear();
    kernel.put<std::uint32_t>(at::ramdisk_image, 0x1111'1111);
    kernel.put<std::uint32_t>(at::ramdisk_size, 0);
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    EXPECT_EQ(peek<std::uint32_t>(built.value().boot_parameters + at::ramdisk_size), 0u);
}

TEST_F(ControlDomainBuilder, IdentityMapsTheFirstFourGibibytesAndGivesFlatSegments)
{
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    for (const std::uint64_t linear : {0ull, 0x1f'ffffull, 0x20'0000ull, 0x3fff'ffffull, 0x4000'0000ull, 0xfee0'0020ull,
                                       0xffff'ffffull})
        EXPECT_EQ(translate(built.value().page_table, linear), linear) << std::hex << linear;
    EXPECT_EQ(translate(built.value().page_table, 1ull << 32), ~0ull);
    EXPECT_EQ(built.value().page_table % page_size, 0u);
    EXPECT_EQ(built.value().gdt_limit, 31);
    EXPECT_EQ(peek<std::uint64_t>(built.value().gdt), 0u);
    EXPECT_EQ(peek<std::uint64_t>(built.value().gdt + 0x10), 0x00af'9b00'0000'ffffu);
    EXPECT_EQ(peek<std::uint64_t>(built.value().gdt + 0x18), 0x00cf'9300'0000'ffffu);
}

TEST_F(ControlDomainBuilder, CutsTheAcpiTablesOutOfTheRamThatTheyWereTakenFrom)
{
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    const auto map = memory_map(built.value().boot_parameters);
    const auto acpi = peek<std::uint64_t>(built.value().boot_parameters + at::acpi_rsdp_addr);
    EXPECT_EQ(size_of(map, E820Type::ram) + core::edited_acpi_capacity, size_of(memory, E820Type::ram));
    EXPECT_EQ(size_of(map, E820Type::reserved), size_of(memory, E820Type::reserved));
    std::uint64_t end{};
    unsigned acpi_entries{};
    for (const E820Entry& entry : map) {
        EXPECT_GE(entry.begin, end) << "ascending and disjoint";
        EXPECT_GT(entry.bytes, 0u);
        end = entry.begin + entry.bytes;
        if (entry.type != E820Type::acpi_tables)
            continue;
        ++acpi_entries;
        EXPECT_EQ(entry.begin, acpi);
        EXPECT_EQ(entry.bytes, core::edited_acpi_capacity);
    }
    EXPECT_EQ(acpi_entries, 1u);
    const EditedTables tables{at_address(acpi), acpi};
    EXPECT_EQ(tables.text(acpi, 8), "RSD PTR ");
    EXPECT_EQ(tables.listed().size(), 3u);
}

TEST_F(ControlDomainBuilder, SplitsRamThatDoesNotEndOnAPage)
{
    memory[2].bytes = 63 * mib - 0x123;
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    const auto map = memory_map(built.value().boot_parameters);
    EXPECT_EQ(size_of(map, E820Type::ram) + core::edited_acpi_capacity, size_of(memory, E820Type::ram));
    EXPECT_EQ(map.size(), memory.size() + 2);
}

TEST_F(ControlDomainBuilder, KeepsItsPiecesApartAndInItsOwnRam)
{
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    const std::uint64_t zero_page = built.value().boot_parameters;
    std::vector<HostRange> pieces{
        {HostPhysical{built.value().rip - 0x200}, KernelFile::memory_size},
        {HostPhysical{peek<std::uint32_t>(zero_page + at::ramdisk_image)}, initramfs.size()},
        {HostPhysical{peek<std::uint32_t>(zero_page + at::cmd_line_ptr)}, command_line.size() + 30},
        {HostPhysical{zero_page}, page_size},
        {HostPhysical{built.value().page_table}, 6 * page_size},
        {HostPhysical{built.value().gdt}, 32},
        {HostPhysical{peek<std::uint64_t>(zero_page + at::acpi_rsdp_addr)}, core::edited_acpi_capacity}};
    for (std::size_t one = 0; one < pieces.size(); ++one) {
        EXPECT_TRUE((HostRange{HostPhysical{mib}, 63 * mib}.contains(pieces[one].begin, pieces[one].bytes))) << one;
        for (std::size_t other = 0; other < one; ++other)
            EXPECT_FALSE(pieces[one].overlaps(pieces[other])) << one << ' ' << other;
    }
}

TEST_F(ControlDomainBuilder, MovesARelocatableKernelToTheNextAlignedPlaceAndNoOther)
{
    memory[2] = {KernelFile::preferred + 0x1000, 48 * mib, E820Type::ram};
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    EXPECT_EQ(built.value().rip, KernelFile::preferred + 2 * mib + 0x200);
    kernel.put<std::uint8_t>(at::relocatable_kernel, 0);
    expect_refused(Error::no_memory, "dom0's memory has no room for its kernel: raise dom0_mem");
}

TEST_F(ControlDomainBuilder, RefusesMemoryThatIsTooSmall)
{
    constexpr std::string_view no_kernel_room{"dom0's memory has no room for its kernel: raise dom0_mem"};
    memory[2].bytes = 15 * mib + KernelFile::memory_size;  // to the byte what the kernel alone needs
    expect_refused(Error::no_memory, no_kernel_room);
    memory[2].bytes = 10 * mib;
    expect_refused(Error::no_memory, no_kernel_room);
    initramfs.resize(11 * mib);
    expect_refused(Error::no_memory, "dom0's memory has no room for its initramfs: raise dom0_mem");
    memory[2].type = E820Type::reserved;
    expect_refused(Error::no_memory, "dom0 has no memory below 4 GiB");
}

TEST_F(ControlDomainBuilder, NeedsNotAByteMoreThanItsPieces)
{
    const std::uint64_t others = core::edited_acpi_capacity + 0x13000 + 6 * page_size + 3 * page_size;
    memory[2].bytes = 15 * mib + KernelFile::memory_size + others;
    EXPECT_TRUE(build()) << why.view();
    kernel.put(at::init_size, KernelFile::memory_size + 1);
    EXPECT_FALSE(build());
    kernel.put(at::init_size, KernelFile::memory_size);
    memory[2].bytes -= page_size;
    EXPECT_FALSE(build());
}

TEST_F(ControlDomainBuilder, RefusesACommandLineThatIsLongerThanTheKernelTakes)
{
    command_line.assign(2047 - core::control_domain_arguments.size(), 'x');
    EXPECT_TRUE(build()) << why.view();
    command_line += 'x';
    expect_refused(Error::out_of_range, "dom0's command line is longer than its kernel takes");
}

TEST_F(ControlDomainBuilder, RefusesAMemoryMapThatOutgrowsTheBootParameters)
{
    const auto fill = [this](std::size_t count) {
        memory.resize(5);
        while (memory.size() < count)
            memory.push_back({8192 * mib + memory.size() * mib, mib, E820Type::reserved});
    };
    fill(127);
    const auto built = build();
    ASSERT_TRUE(built) << why.view();
    EXPECT_EQ(memory_map(built.value().boot_parameters).size(), 128u);
    fill(128);
    expect_refused(Error::out_of_range, "the firmware's memory map has more entries than Linux takes");
}

TEST_F(ControlDomainBuilder, PassesOnWhyKernelOrTablesWereRefused)
{
    firmware.memory.put<std::uint8_t>(Firmware::rsdp + 8, 0);
    expect_refused(Error::malformed, "the ACPI root pointer is not valid");
    kernel.put<std::uint16_t>(at::xloadflags, 0);
    expect_refused(Error::not_supported, "the kernel has no 64-bit entry point");
}
