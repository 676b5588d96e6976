// SPDX-License-Identifier: MIT
#include "hv/core/boot/newc_archive.hpp"

#include <gtest/gtest.h>

#include <random>

#include "newc_builder.hpp"

using namespace hv;
using namespace hv::core;
using hv::test::NewcBuilder;

namespace {

std::span<const std::byte> bytes_of(const std::string& text)
{
    return std::as_bytes(std::span{text});
}

Error first_error(const std::string& archive)
{
    ArchiveReader reader{bytes_of(archive)};
    for (;;) {
        const auto member = reader.next();
        if (!member)
            return member.error();
    }
}

}  // namespace

TEST(NewcArchive, IsReadMemberByMember)
{
    const std::string archive = NewcBuilder{}
                                    .add("kernel", "abcde")
                                    .folder("extensions")
                                    .add("./extensions/x.hvx", "")
                                    .add("/k", "yz")
                                    .finish();
    ArchiveReader reader{bytes_of(archive)};
    const auto kernel = reader.next();
    ASSERT_TRUE(kernel);
    EXPECT_EQ(kernel.value().name, "kernel");
    EXPECT_TRUE(kernel.value().regular);
    EXPECT_EQ(
        std::string(reinterpret_cast<const char*>(kernel.value().data.data()), kernel.value().data.size()),
        "abcde");
    EXPECT_EQ(archive.substr(kernel.value().data_offset, 5), "abcde");
    EXPECT_FALSE(reader.next().value().regular);
    EXPECT_EQ(reader.next().value().name, "extensions/x.hvx");
    EXPECT_EQ(reader.next().value().name, "k");
    EXPECT_EQ(reader.next().error(), Error::not_found);
}

TEST(NewcArchive, CutAnywhereIsMalformedUntilItsTrailerIsWhole)
{
    const std::string archive =
        NewcBuilder{}.add("kernel", "abcde").add("initramfs", std::string(100, 'x')).finish();
    const std::size_t trailer_end = archive.find("TRAILER!!!") + 11;
    for (std::size_t length = 0; length < trailer_end; ++length)
        EXPECT_EQ(first_error(archive.substr(0, length)), Error::malformed) << length;
    EXPECT_EQ(first_error(archive.substr(0, trailer_end)), Error::not_found);
}

TEST(NewcArchive, LyingSizesAreMalformed)
{
    constexpr std::size_t size_field{6 + 6 * 8};
    constexpr std::size_t name_field{6 + 11 * 8};
    const std::string good = NewcBuilder{}.add("kernel", "abcde").finish();
    for (const char* lie : {"ffffffff", "7fffffff", "00001000", "0000000g", "-0000001", "        "}) {
        std::string data = good;
        data.replace(size_field, 8, lie);
        EXPECT_EQ(first_error(data), Error::malformed) << lie;
        std::string name = good;
        name.replace(name_field, 8, lie);
        EXPECT_EQ(first_error(name), Error::malformed) << lie;
    }
    for (const char* lie : {"00000000", "00000001", "00000005", "00000008"}) {
        std::string name = good;
        name.replace(name_field, 8, lie);
        EXPECT_EQ(first_error(name), Error::malformed) << lie;
    }
}

TEST(NewcArchive, OtherFormatsAreMalformed)
{
    for (const char* magic : {"070707", "0708", "\x1f\x8b", "\xc7\x71", "07070x"}) {
        std::string archive = NewcBuilder{}.add("kernel", "abcde").finish();
        archive.replace(0, std::strlen(magic), magic);
        EXPECT_EQ(first_error(archive), Error::malformed);
    }
}

TEST(NewcArchive, ChecksTheChecksumOfTheKindThatHasOne)
{
    std::string archive = NewcBuilder{}.add("kernel", "abcde").finish();
    archive.replace(0, 6, "070702");
    constexpr std::size_t checksum_field{6 + 12 * 8};
    EXPECT_EQ(first_error(archive), Error::malformed);
    archive.replace(checksum_field, 8, "000001ef");  // 'a' + 'b' + 'c' + 'd' + 'e'
    ArchiveReader reader{bytes_of(archive)};
    EXPECT_TRUE(reader.next());
}

TEST(NewcArchive, NeverReadsOutsideWhateverIsWrong)
{
    const std::string good = NewcBuilder{}.add("kernel", "abcde").add("initramfs", "hello").finish();
    std::mt19937 random{3};
    for (int round = 0; round < 20'000; ++round) {
        std::string bad = good;
        for (unsigned change = 0; change < 1 + random() % 3; ++change)
            bad[random() % bad.size()] = static_cast<char>(random() % 2 == 0 ? random() : "0f"[random() % 2]);
        bad.resize(random() % 4 == 0 ? random() % bad.size() : bad.size());
        (void)first_error(bad);  // the sanitizer watches
    }
}
