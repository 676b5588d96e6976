// SPDX-License-Identifier: MIT
//
// The bzImage parser: what it finds, and a sentence for everything that it does not believe.
#include "hv/core/control_domain/linux_image.hpp"

#include <gtest/gtest.h>

#include "kernel_file.hpp"

using namespace hv;
using namespace hv::test;

namespace {

using Why = BoundedText<200>;

void expect_refused(const KernelFile& file, Error error, std::string_view sentence)
{
    Why why;
    const auto image = core::parse_linux_image(file.bytes, why);
    ASSERT_FALSE(image) << sentence;
    EXPECT_EQ(image.error(), error);
    EXPECT_EQ(why.view(), sentence);
}

constexpr std::string_view no_header{"the kernel is not a bzImage: it has no setup header"};
constexpr std::string_view bad_length{"the length of the kernel's setup header makes no sense"};
constexpr std::string_view bad_alignment{"the kernel's alignment is not a power of two of at least a page"};

}  // namespace

TEST(LinuxImage, SaysWhereEverythingIs)
{
    KernelFile file;
    Why why;
    const auto image = core::parse_linux_image(file.bytes, why);
    ASSERT_TRUE(image) << why.view();
    EXPECT_EQ(image.value().header.data(), file.bytes.data() + 0x1f1);
    EXPECT_EQ(image.value().header.size(), 0x264u - 0x1f1u);
    EXPECT_EQ(image.value().payload.data(), file.bytes.data() + KernelFile::payload_begin);
    EXPECT_EQ(image.value().payload.size(), 0x3000u);
    EXPECT_EQ(image.value().preferred_address, KernelFile::preferred);
    EXPECT_EQ(image.value().alignment, 0x20'0000u);
    EXPECT_EQ(image.value().memory_size, KernelFile::memory_size);
    EXPECT_EQ(image.value().command_line_limit, 2047u);
    EXPECT_TRUE(image.value().relocatable);
    file.put<std::uint8_t>(at::relocatable_kernel, 0);
    EXPECT_FALSE(core::parse_linux_image(file.bytes, why).value().relocatable);
}

TEST(LinuxImage, TakesFourSetupSectorsWhereTheHeaderSaysNone)
{
    KernelFile file;
    file.put<std::uint8_t>(at::setup_sects, 0);
    Why why;
    const auto image = core::parse_linux_image(file.bytes, why);
    ASSERT_TRUE(image);
    EXPECT_EQ(image.value().payload.data(), file.bytes.data() + 5 * 512);
}

TEST(LinuxImage, RefusesWhatIsTruncatedAnywhereUpToItsPayloadAndSaysWhy)
{
    const KernelFile whole;
    for (std::size_t length = 0; length <= KernelFile::payload_begin; ++length) {
        const std::vector<std::byte> cut(whole.bytes.begin(), whole.bytes.begin() + static_cast<std::ptrdiff_t>(length));
        Why why;
        const auto image = core::parse_linux_image(cut, why);
        ASSERT_FALSE(image) << length;
        EXPECT_EQ(image.error(), Error::malformed) << length;
        EXPECT_FALSE(why.view().empty()) << length;
    }
}

TEST(LinuxImage, RefusesEachFieldThatItCannotBelieveWithItsOwnSentence)
{
    expect_refused(KernelFile{}.put<std::uint16_t>(at::boot_flag, 0xaa54), Error::malformed, no_header);
    expect_refused(KernelFile{}.put<std::uint32_t>(at::header, 0x53726449), Error::malformed, no_header);
    expect_refused(KernelFile{}.put<std::uint16_t>(at::version, 0x020b), Error::not_supported,
                   "the kernel's boot protocol is older than 2.12");
    expect_refused(KernelFile{}.put<std::uint16_t>(at::xloadflags, 0xfffe), Error::not_supported,
                   "the kernel has no 64-bit entry point");
    expect_refused(KernelFile{}.put<std::uint8_t>(at::header - 1, 0x61), Error::malformed, bad_length);
    expect_refused(KernelFile{}.put<std::uint8_t>(at::header - 1, 0x8f), Error::malformed, bad_length);
    expect_refused(KernelFile{}.put<std::uint8_t>(at::setup_sects, 0xff), Error::malformed,
                   "the kernel file ends before its protected-mode part");
    for (const std::uint32_t alignment : {0u, 1u, 2048u, 0x30'0000u, 0xffff'ffffu})
        expect_refused(KernelFile{}.put(at::kernel_alignment, alignment), Error::malformed, bad_alignment);
    expect_refused(KernelFile{}.put<std::uint32_t>(at::init_size, 0x2fff), Error::malformed,
                   "the kernel's init_size is smaller than the kernel");
}

TEST(LinuxImage, AcceptsTheLongestHeaderThatFitsBeforeTheNextStructure)
{
    Why why;
    const KernelFile file = KernelFile{}.put<std::uint8_t>(at::header - 1, 0x8e);
    const auto image = core::parse_linux_image(file.bytes, why);
    ASSERT_TRUE(image) << why.view();
    EXPECT_EQ(core::LinuxImage::header_begin + image.value().header.size(), at::header_limit);
}
