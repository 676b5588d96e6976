// SPDX-License-Identifier: MIT
//
// Kernels of every kind, right ones and wrong ones, cut off everywhere.
#include "kernel/kernel.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "base/failure.hpp"
#include "kernel_files.hpp"

namespace hv::xl {
namespace {

std::string refusal_of(std::span<const std::byte> file)
{
    try {
        static_cast<void>(parse_kernel(file));
    } catch (const Failure& failure) {
        EXPECT_EQ(failure.code(), ExitCode::failed);
        return failure.what();
    }
    return {};
}

TEST(Kernel, BzimageOf64BitsIsEnteredBehindItsFirstSector)
{
    const ByteBuffer file{test::bzimage(true)};
    const Kernel kernel{parse_kernel(file.view())};
    EXPECT_EQ(kernel.kind, KernelKind::linux_64);
    EXPECT_EQ(kernel.entry, 0x200u);
    EXPECT_EQ(kernel.linux_setup.payload.size(), 0x1000u);
    EXPECT_EQ(kernel.linux_setup.payload.data(), file.view().data() + 1024);
    EXPECT_EQ(kernel.linux_setup.setup_header.size(), 0x26cu - 0x1f1);
    EXPECT_EQ(kernel.linux_setup.preferred_address, 0x100'0000u);
    EXPECT_EQ(kernel.linux_setup.memory_bytes, 0x80'0000u);
    EXPECT_EQ(kernel.linux_setup.ramdisk_limit, 0x8000'0000u);
}

TEST(Kernel, BzimageWithout64BitEntryTakesThe32BitOne)
{
    const Kernel kernel{parse_kernel(test::bzimage(false).view())};
    EXPECT_EQ(kernel.kind, KernelKind::linux_32);
    EXPECT_EQ(kernel.entry, 0u);
}

TEST(Kernel, TrailingBytesAreNoError)
{
    EXPECT_EQ(parse_kernel(test::bzimage(true, 0x1000, 1472).view()).linux_setup.payload.size(), 0x1000u);
    ByteBuffer longer{test::elf(true, true)};
    longer.put<std::uint64_t>(0);
    EXPECT_EQ(parse_kernel(longer.view()).kind, KernelKind::pvh);
}

TEST(Kernel, PvhNoteIsFoundInFilesOf32And64Bits)
{
    for (const bool wide : {false, true}) {
        const ByteBuffer file{test::elf(wide, true)};
        const Kernel kernel{parse_kernel(file.view())};
        EXPECT_EQ(kernel.kind, KernelKind::pvh);
        EXPECT_EQ(kernel.entry, 0x10'0004u);
        ASSERT_EQ(kernel.segments.size(), 1u);
        EXPECT_EQ(kernel.segments[0].address, 0x10'0000u);
        EXPECT_EQ(kernel.segments[0].bytes.size(), 64u);
        EXPECT_EQ(kernel.segments[0].memory_bytes, 256u);
    }
}

TEST(Kernel, MultibootByAddressFields)
{
    const Kernel kernel{parse_kernel(test::multiboot_flat().view())};
    EXPECT_EQ(kernel.kind, KernelKind::multiboot);
    EXPECT_EQ(kernel.entry, 0x10'0040u);
    EXPECT_TRUE(kernel.align_modules);
    ASSERT_EQ(kernel.segments.size(), 1u);
    EXPECT_EQ(kernel.segments[0].bytes.size(), 0x80u);
    EXPECT_EQ(kernel.segments[0].memory_bytes, 0x200u);
}

TEST(Kernel, MultibootOfElf32EntersAtThePhysicalAddress)
{
    const Kernel kernel{parse_kernel(test::multiboot_elf(false).view())};
    EXPECT_EQ(kernel.kind, KernelKind::multiboot);
    EXPECT_EQ(kernel.entry, 0x10'0004u);
}

TEST(Kernel, MultibootOfElf64NeedsAddressFields)
{
    EXPECT_NE(refusal_of(test::multiboot_elf(true).view()).find("64-bit ELF"), std::string::npos);
}

TEST(Kernel, ThePvhNoteComesBeforeTheMultibootHeader)
{
    ByteBuffer file{test::elf(false, true)};
    const std::size_t data{52 + 2 * 32};
    file.set<std::uint32_t>(data, 0x1bad'b002);
    file.set<std::uint32_t>(data + 8, 0u - 0x1bad'b002u);
    file.set<std::uint32_t>(data + 4, 0);
    EXPECT_EQ(parse_kernel(file.view()).kind, KernelKind::pvh);
}

TEST(Kernel, SaysWhenAFileIsOfNoKind)
{
    EXPECT_NE(refusal_of({}).find("neither"), std::string::npos);
    EXPECT_NE(refusal_of(ByteBuffer{5000}.view()).find("neither"), std::string::npos);
    EXPECT_NE(refusal_of(test::elf(true, false).view()).find("PVH note"), std::string::npos);
}

struct Spoiled {
    const char* name;
    std::function<ByteBuffer()> file;
    const char* says;
};

class SpoiledKernels : public testing::TestWithParam<Spoiled> {};

TEST_P(SpoiledKernels, AreRefusedByName)
{
    EXPECT_NE(refusal_of(GetParam().file().view()).find(GetParam().says), std::string::npos)
        << refusal_of(GetParam().file().view());
}

template <typename T>
std::function<ByteBuffer()> with(ByteBuffer file, std::size_t offset, std::type_identity_t<T> value)
{
    file.set<T>(offset, value);
    return [file] { return file; };
}

INSTANTIATE_TEST_SUITE_P(
    , SpoiledKernels,
    testing::Values(
        Spoiled{"OldProtocol", with<std::uint16_t>(test::bzimage(true), 0x206, 0x201), "2.02"},
        Spoiled{"NotLoadedHigh", with<std::uint8_t>(test::bzimage(true), 0x211, 0), "zImage"},
        Spoiled{"HeaderTooLong", with<std::uint8_t>(test::bzimage(true), 0x201, 0xff), "setup header"},
        Spoiled{"SetupBeyondTheFile", with<std::uint8_t>(test::bzimage(true), 0x1f1, 64), "setup_sects"},
        Spoiled{"PayloadBeyondTheFile", with<std::uint32_t>(test::bzimage(true), 0x1f4, 0xffff'ffff),
                "syssize"},
        Spoiled{"NoPayload", with<std::uint32_t>(test::bzimage(true), 0x1f4, 0), "syssize is 0"},
        Spoiled{"AlignmentNotAPower", with<std::uint32_t>(test::bzimage(true), 0x230, 0x30'0000),
                "power of two"},
        Spoiled{"AlignmentZero", with<std::uint32_t>(test::bzimage(true), 0x230, 0), "power of two"},
        Spoiled{"CmdlineSizeZero", with<std::uint32_t>(test::bzimage(true), 0x238, 0), "cmdline_size"},
        Spoiled{"ElfClass", with<std::uint8_t>(test::elf(true, true), 4, 3), "EI_CLASS"},
        Spoiled{"ElfBigEndian", with<std::uint8_t>(test::elf(true, true), 5, 2), "little-endian"},
        Spoiled{"ElfRelocatable", with<std::uint16_t>(test::elf(true, true), 16, 1), "e_type"},
        Spoiled{"ElfForArm", with<std::uint16_t>(test::elf(true, true), 18, 183), "e_machine"},
        Spoiled{"ElfTableOutside", with<std::uint64_t>(test::elf(true, true), 32, ~0ull),
                "program header table"},
        Spoiled{"ElfEntrySize", with<std::uint16_t>(test::elf(true, true), 54, 32), "e_phentsize"},
        Spoiled{"ElfNoHeaders", with<std::uint16_t>(test::elf(true, true), 56, 0), "e_phnum"},
        Spoiled{"ElfTooManyHeaders", with<std::uint16_t>(test::elf(true, true), 56, 0xffff), "e_phnum"},
        Spoiled{"ElfSegmentOutside", with<std::uint64_t>(test::elf(true, true), 64 + 8, ~0ull - 16),
                "segment"},
        Spoiled{"ElfFileSizeTooLarge", with<std::uint64_t>(test::elf(true, true), 64 + 32, 1ull << 40),
                "segment"},
        Spoiled{"ElfMemoryBelowFile", with<std::uint64_t>(test::elf(true, true), 64 + 40, 8), "p_memsz"},
        Spoiled{"ElfSegmentWraps", with<std::uint64_t>(test::elf(true, true), 64 + 24, ~0ull - 16), "wraps"},
        Spoiled{"PvhEntryElsewhere",
                with<std::uint32_t>(test::elf(true, true), 64 + 112 + 64 + 16, 0x20'0000), "entry address"},
        Spoiled{"PvhEntryAbove4GiB", with<std::uint32_t>(test::elf(true, true), 64 + 112 + 64 + 20, 1),
                "32 bits"},
        Spoiled{"NoteNameOutside", with<std::uint32_t>(test::elf(true, true), 64 + 112 + 64, 0xffff'fff0),
                "name"},
        Spoiled{"NoteDescriptionOutside",
                with<std::uint32_t>(test::elf(true, true), 64 + 112 + 64 + 4, 0xffff'fff0), "description"},
        Spoiled{"MultibootWantsVideo", [] { return test::multiboot_flat(0x1'0007); }, "video"},
        Spoiled{"MultibootUnknownFlag", [] { return test::multiboot_flat(0x1'8000); }, "requires"},
        Spoiled{"MultibootLoadAboveHeader", with<std::uint32_t>(test::multiboot_flat(), 32, 0x20'0000),
                "load_addr"},
        Spoiled{"MultibootHeaderTooFar", with<std::uint32_t>(test::multiboot_flat(), 28, 0x10'0020),
                "load_addr"},
        Spoiled{"MultibootEndBelowStart", with<std::uint32_t>(test::multiboot_flat(), 36, 0xf'0000),
                "load_end_addr"},
        Spoiled{"MultibootEndBeyondFile", with<std::uint32_t>(test::multiboot_flat(), 36, 0x20'0000),
                "load_end_addr"},
        Spoiled{"MultibootBssBelowEnd", with<std::uint32_t>(test::multiboot_flat(), 40, 0x10'0001),
                "bss_end_addr"},
        Spoiled{"MultibootEntryElsewhere", with<std::uint32_t>(test::multiboot_flat(), 44, 0x1),
                "entry address"},
        Spoiled{"MultibootFlatWithoutAddresses", [] { return test::multiboot_flat(0x3); }, "address fields"}),
    [](const auto& one) { return std::string{one.param.name}; });

/// Whatever a parser makes of bytes, it says so, and what it returns lies inside the file.
void parse_anything(std::span<const std::byte> file)
{
    // A copy of exactly this size, so that the sanitizer sees a read beyond it.
    const std::vector<std::byte> copy(file.begin(), file.end());
    const auto inside = [&](std::span<const std::byte> part) {
        EXPECT_TRUE(part.empty() ||
                    (part.data() >= copy.data() && part.data() + part.size() <= copy.data() + copy.size()));
    };
    try {
        const Kernel kernel{parse_kernel(copy)};
        for (const KernelSegment& segment : kernel.segments)
            inside(segment.bytes);
        inside(kernel.linux_setup.payload);
        inside(kernel.linux_setup.setup_header);
    } catch (const Failure& failure) {
        EXPECT_NE(failure.what()[0], '\0');
    }
}

std::vector<ByteBuffer> all_kinds()
{
    return {test::bzimage(true),      test::bzimage(false),        test::elf(false, true),
            test::elf(true, true),    test::multiboot_flat(),      test::multiboot_elf(false),
            test::elf(false, false)};
}

TEST(Kernel, CutOffAnywhereIsAnsweredWithASentence)
{
    for (const ByteBuffer& file : all_kinds())
        for (std::size_t length = 0; length < file.size(); ++length)
            parse_anything(file.view().first(length));
}

TEST(Kernel, AnyByteChangedIsAnsweredOneWayOrTheOther)
{
    std::mt19937 random{1};
    for (const ByteBuffer& file : all_kinds()) {
        for (unsigned round = 0; round < 3000; ++round) {
            ByteBuffer changed{file};
            for (unsigned i = 0; i < 1 + round % 4; ++i)
                changed.set<std::uint8_t>(random() % std::min<std::size_t>(file.size(), 0x280),
                                          static_cast<std::uint8_t>(random()));
            parse_anything(changed.view());
        }
    }
}

}  // namespace
}  // namespace hv::xl
