// SPDX-License-Identifier: MIT
//
// What a guest finds in its memory and registers when it starts.
#include "image/guest_image.hpp"

#include <gtest/gtest.h>

#include "base/failure.hpp"
#include "hv/base/bytes.hpp"
#include "image/guest_layout.hpp"
#include "image/start_registers.hpp"
#include "kernel_files.hpp"

namespace hv::xl {
namespace {

constexpr std::uint64_t mib{1 << 20};

/// The guest's memory as far as an image fills it.
class Memory {
public:
    explicit Memory(const GuestImage& image) : image_{image} {}

    template <typename T>
    T read(std::uint64_t address) const
    {
        T value{};
        const auto raw = std::as_writable_bytes(std::span{&value, 1});
        for (std::size_t i = 0; i < sizeof(T); ++i)
            raw[i] = byte(address + i);
        return value;
    }
    std::string text(std::uint64_t address) const
    {
        std::string result;
        for (; byte(address) != std::byte{0}; ++address)
            result += static_cast<char>(byte(address));
        return result;
    }

private:
    std::byte byte(std::uint64_t address) const
    {
        for (const ImagePart& part : image_.parts)
            if (address >= part.address() && address - part.address() < part.bytes().size())
                return part.bytes()[address - part.address()];
        return std::byte{0};
    }
    const GuestImage& image_;
};

struct Built {
    ByteBuffer file;
    std::vector<std::byte> ramdisk;
    Kernel kernel;
    GuestImage image;

    Built(ByteBuffer bytes, std::uint64_t memory, std::string cmdline = "a=b c",
          std::size_t ramdisk_bytes = 5000, std::uint32_t vcpus = 2)
        : file{std::move(bytes)},
          ramdisk(ramdisk_bytes, std::byte{0x5a}),
          kernel{parse_kernel(file.view())},
          image{build_guest_image(
              {kernel, ramdisk, "kernel.bin", "disk.img", std::move(cmdline), memory, vcpus})}
    {
    }
};

void expect_no_overlap_and_in_ram(const GuestImage& image, std::uint64_t memory)
{
    for (std::size_t i = 0; i < image.parts.size(); ++i) {
        const GuestRange range{GuestPhysical{image.parts[i].address()}, image.parts[i].bytes().size()};
        EXPECT_LE(range.begin.raw() + range.bytes, memory);
        for (std::size_t j = 0; j < i; ++j)
            EXPECT_FALSE(
                range.overlaps({GuestPhysical{image.parts[j].address()}, image.parts[j].bytes().size()}));
    }
}

TEST(GuestImage, Linux64StartsInLongModeOnIdentityTables)
{
    const Built built{test::bzimage(true), 64 * mib};
    const Memory memory{built.image};
    const auto& registers = built.image.registers;
    expect_no_overlap_and_in_ram(built.image, 64 * mib);
    EXPECT_EQ(registers.rip, 0x100'0200u);
    EXPECT_EQ(registers.cr0, 0x8000'0011u);
    EXPECT_EQ(registers.cr4, 0x20u);
    EXPECT_EQ(registers.efer, 0x500u);
    EXPECT_EQ(registers.rflags, 2u);
    EXPECT_EQ(registers.segments[1].selector, 0x10u);
    EXPECT_EQ(registers.segments[1].attributes, 0xa9bu);
    EXPECT_EQ(memory.read<std::uint64_t>(registers.gdtr.base + 0x10) >> 53 & 1, 1u);  // L
    for (const std::uint64_t address : {0ull, 0x100'0200ull, 0xffff'f000ull}) {
        const auto pdpt = memory.read<std::uint64_t>(registers.cr3) & ~0xfffull;
        const auto directory = memory.read<std::uint64_t>(pdpt + 8 * (address >> 30)) & ~0xfffull;
        const auto entry = memory.read<std::uint64_t>(directory + 8 * ((address >> 21) & 511));
        EXPECT_EQ(entry, (address & ~0x1f'ffffull) | 0x83);
    }
}

TEST(GuestImage, ZeroPageTellsLinuxItsMachine)
{
    const Built built{test::bzimage(true), 64 * mib};
    const Memory memory{built.image};
    const std::uint64_t page{built.image.registers.general[RSI]};
    EXPECT_EQ(memory.read<std::uint32_t>(page + 0x202), 0x5372'6448u);
    EXPECT_EQ(memory.read<std::uint8_t>(page + 0x210), 0xff);
    EXPECT_EQ(memory.text(memory.read<std::uint32_t>(page + 0x228)), "a=b c");
    const auto ramdisk = memory.read<std::uint32_t>(page + 0x218);
    EXPECT_EQ(memory.read<std::uint32_t>(page + 0x21c), 5000u);
    EXPECT_EQ(memory.read<std::uint8_t>(ramdisk), 0x5a);
    EXPECT_GT(ramdisk, 0x100'0000u + 0x80'0000u);
    EXPECT_EQ(memory.read<std::uint64_t>(page + 0x70), 0xe'0000u);
    EXPECT_EQ(memory.read<std::uint64_t>(0xe'0000), 0x2052'5450'2044'5352u);  // "RSD PTR "
    ASSERT_EQ(memory.read<std::uint8_t>(page + 0x1e8), 6);
    EXPECT_EQ(memory.read<std::uint64_t>(page + 0x2d0), 0u);
    EXPECT_EQ(memory.read<std::uint64_t>(page + 0x2d8), 0x9'fc00u);
    EXPECT_EQ(memory.read<std::uint32_t>(page + 0x2e0), 1u);
}

TEST(GuestImage, Linux32StartsInFlatProtectedMode)
{
    const Built built{test::bzimage(false), 64 * mib};
    const auto& registers = built.image.registers;
    EXPECT_EQ(registers.rip, 0x100'0000u);
    EXPECT_EQ(registers.cr0, 0x11u);
    EXPECT_EQ(registers.cr4, 0u);
    EXPECT_EQ(registers.efer, 0u);
    EXPECT_EQ(registers.segments[1].attributes, 0xc9bu);
    EXPECT_EQ(registers.segments[3].selector, 0x18u);
    EXPECT_EQ(registers.general[RBX], 0u);
    EXPECT_EQ(registers.general[RBP], 0u);
    EXPECT_EQ(registers.general[RDI], 0u);
    EXPECT_NE(registers.general[RSI], 0u);
}

TEST(GuestImage, PvhGetsAStartInfoOfVersion1)
{
    const Built built{test::elf(true, true), 16 * mib};
    const Memory memory{built.image};
    const std::uint64_t info{built.image.registers.general[RBX]};
    EXPECT_EQ(built.image.registers.rip, 0x10'0004u);
    EXPECT_EQ(memory.read<std::uint32_t>(info), 0x336e'c578u);
    EXPECT_EQ(memory.read<std::uint32_t>(info + 4), 1u);
    EXPECT_EQ(memory.read<std::uint32_t>(info + 12), 1u);
    const auto module = memory.read<std::uint64_t>(info + 16);
    EXPECT_EQ(memory.read<std::uint8_t>(memory.read<std::uint64_t>(module)), 0x5a);
    EXPECT_EQ(memory.read<std::uint64_t>(module + 8), 5000u);
    EXPECT_EQ(memory.text(memory.read<std::uint64_t>(info + 24)), "a=b c");
    EXPECT_EQ(memory.read<std::uint64_t>(info + 32), 0xe'0000u);
    const auto map = memory.read<std::uint64_t>(info + 40);
    EXPECT_EQ(memory.read<std::uint32_t>(info + 48), 6u);
    EXPECT_EQ(memory.read<std::uint64_t>(map + 24), 0x9'fc00u);
    EXPECT_EQ(memory.read<std::uint32_t>(map + 40), 2u);
}

TEST(GuestImage, PvhWithoutRamdiskHasNoModule)
{
    const Built built{test::elf(false, true), 16 * mib, "", 0};
    const Memory memory{built.image};
    const std::uint64_t info{built.image.registers.general[RBX]};
    EXPECT_EQ(memory.read<std::uint32_t>(info + 12), 0u);
    EXPECT_EQ(memory.read<std::uint64_t>(info + 16), 0u);
}

TEST(GuestImage, MultibootCommandLineBeginsWithTheKernelsFileName)
{
    const Built built{test::multiboot_flat(), 16 * mib};
    const Memory memory{built.image};
    const std::uint64_t info{built.image.registers.general[RBX]};
    EXPECT_EQ(built.image.registers.general[RAX], 0x2bad'b002u);
    EXPECT_EQ(memory.read<std::uint32_t>(info) & 0x24du, 0x24du);
    EXPECT_EQ(memory.text(memory.read<std::uint32_t>(info + 16)), "kernel.bin a=b c");
    EXPECT_EQ(memory.read<std::uint32_t>(info + 20), 1u);
    const auto module = memory.read<std::uint32_t>(info + 24);
    const auto start = memory.read<std::uint32_t>(module);
    EXPECT_EQ(start % 4096, 0u);
    EXPECT_EQ(memory.read<std::uint32_t>(module + 4) - start, 5000u);
    EXPECT_EQ(memory.text(memory.read<std::uint32_t>(module + 8)), "disk.img");
    EXPECT_EQ(memory.read<std::uint32_t>(info + 44), 6u * 24);
    EXPECT_EQ(memory.read<std::uint32_t>(memory.read<std::uint32_t>(info + 48)), 20u);
}

TEST(GuestImage, SaysWhatDoesNotFit)
{
    const auto refused = [](auto... arguments) -> Problem {
        try {
            const Built built{arguments...};
        } catch (const Failure& failure) {
            return failure.problems().front();
        }
        return {};
    };
    // The kernel moves itself to its preferred address of 16 MiB, and needs 8 MiB there.
    EXPECT_EQ(refused(test::bzimage(true), 24 * mib).pointer, "/memory");
    EXPECT_EQ(refused(test::bzimage(true), 25 * mib).pointer, "");
    EXPECT_EQ(refused(test::elf(true, true), 2 * mib, "", 8 * mib).pointer, "/memory");
    EXPECT_EQ(refused(test::bzimage(true), 64 * mib, std::string(2048, 'x')).pointer, "/boot/cmdline");
    EXPECT_EQ(refused(test::elf(true, true), 16 * mib, std::string(2048, 'x')).pointer, "/boot/cmdline");
}

TEST(GuestLayout, MapsRamAround3And4GiB)
{
    const auto map = GuestLayout{6ull << 30, 0x1000}.memory_map();
    ASSERT_EQ(map.size(), 7u);
    EXPECT_EQ(map[2], (MemoryMapEntry{0x10'0000, 0xc000'0000 - 0x1000 - 0x10'0000, MemoryType::ram}));
    EXPECT_EQ(map[3], (MemoryMapEntry{0xc000'0000 - 0x1000, 0x1000, MemoryType::acpi_reclaimable}));
    EXPECT_EQ(map[6], (MemoryMapEntry{1ull << 32, 3ull << 30, MemoryType::ram}));
    for (std::size_t i = 1; i < map.size(); ++i)
        EXPECT_GE(map[i].address, map[i - 1].address + map[i - 1].bytes);
}

TEST(GuestLayout, PlacesAroundWhatIsTaken)
{
    GuestLayout layout{16 * mib, 0x1000};
    layout.claim(0x2000, 0x1000, "a");
    EXPECT_EQ(layout.place_low(0x1000, 0x1000, "b"), 0x1000u);
    EXPECT_EQ(layout.place_low(0x2000, 0x1000, "c"), 0x3000u);
    EXPECT_EQ(layout.place_high(0x1000, 0x1000, 1ull << 32, "d"), 16 * mib - 0x2000);
    EXPECT_EQ(layout.place_high(0x1000, 0x1000, 16 * mib - 0x1000, "e"), 16 * mib - 0x3000);
    EXPECT_THROW(layout.claim(0x2fff, 1, "f"), Failure);
    EXPECT_THROW(layout.claim(0x9'f000, 0x1000, "into the hole"), Failure);
    EXPECT_THROW(layout.claim(16 * mib - 0x1000, 1, "into the tables"), Failure);
    EXPECT_THROW(static_cast<void>(layout.place_low(0xa0000, 1, "g")), Failure);
    EXPECT_THROW(static_cast<void>(layout.place_high(16 * mib, 1, ~0ull, "h")), Failure);
    EXPECT_FALSE(layout.is_free(~0ull, 2));
}

}  // namespace
}  // namespace hv::xl
