// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <random>

#include "foreign_memory.hpp"
#include "hv/core/boot/loader_information.hpp"

using namespace hv;
using namespace hv::core;
using hv::test::ForeignMemory;

namespace {

constexpr std::uint64_t base{0x10000};

void put(std::string& bytes, std::uint64_t value, std::size_t size)
{
    bytes.append(reinterpret_cast<const char*>(&value), size);
}

std::string tag(std::uint32_t type, const std::string& body)
{
    std::string bytes;
    put(bytes, type, 4);
    put(bytes, 8 + body.size(), 4);
    bytes += body;
    bytes.resize((bytes.size() + 7) / 8 * 8);
    return bytes;
}

std::string memory_map(std::uint32_t entry_size = 24)
{
    std::string body;
    put(body, entry_size, 4);
    put(body, 0, 4);
    for (const auto& [begin, length, type] :
         {std::tuple{0ull, 0x9fc00ull, 1}, std::tuple{0x100000ull, 0x700000ull, 1}}) {
        std::string entry;
        put(entry, begin, 8);
        put(entry, length, 8);
        put(entry, static_cast<std::uint64_t>(type), 8);
        entry.resize(entry_size);
        body += entry;
    }
    return tag(6, body);
}

std::string module(std::uint32_t begin, std::uint32_t end, const std::string& text)
{
    std::string body;
    put(body, begin, 4);
    put(body, end, 4);
    return tag(3, body + text + '\0');
}

std::string information_of(const std::string& tags)
{
    std::string bytes;
    put(bytes, 8 + tags.size(), 8);
    return bytes + tags;
}

const std::string end_tag{tag(0, "")};

struct Outcome {
    bool good;
    std::string why;
    BootInformation information;
};

Outcome parse(const std::string& bytes)
{
    ForeignMemory memory{base, bytes.size()};
    memory.put_bytes(base, bytes);
    Outcome outcome{};
    BoundedText<300> why;
    outcome.good =
        parse_multiboot2_information(memory.view(), HostPhysical{base}, outcome.information, why).has_value();
    outcome.why = why.view();
    return outcome;
}

std::string good_information()
{
    return information_of(tag(1, std::string{"console=com2"} + '\0') + memory_map() + tag(99, "whatever") +
                          module(0x200000, 0x205000, "dom0-kernel root=/dev/vda") +
                          module(0x300000, 0x300010, "key k") + tag(14, std::string(20, 'o')) +
                          tag(15, std::string(36, 'n')) + end_tag);
}

void expect_refused(const std::string& bytes, const std::string& sentence)
{
    const Outcome outcome = parse(bytes);
    EXPECT_FALSE(outcome.good);
    EXPECT_NE(outcome.why.find(sentence), std::string::npos) << outcome.why;
}

}  // namespace

TEST(Multiboot2Information, IsTakenOver)
{
    const Outcome outcome = parse(good_information());
    ASSERT_TRUE(outcome.good) << outcome.why;
    const BootInformation& information = outcome.information;
    EXPECT_EQ(information.protocol, BootProtocol::multiboot2);
    EXPECT_EQ(information.command_line.view(), "console=com2");
    EXPECT_EQ(information.memory.size(), 2);
    ASSERT_EQ(information.raw_modules.size(), 2);
    EXPECT_EQ(information.raw_modules[0].range, (HostRange{HostPhysical{0x200000}, 0x5000}));
    EXPECT_EQ(information.raw_modules[0].text.view(), "dom0-kernel root=/dev/vda");
    const std::uint64_t new_rsdp = good_information().find(std::string(36, 'n'));
    EXPECT_EQ(information.rsdp, HostPhysical{base + new_rsdp});  // the newer one
}

TEST(Multiboot2Information, TakesLargerMemoryEntriesButNoSmallerOnes)
{
    EXPECT_TRUE(parse(information_of(memory_map(32) + end_tag)).good);
    EXPECT_EQ(parse(information_of(memory_map(32) + end_tag)).information.memory.size(), 2);
    expect_refused(information_of(memory_map(16) + end_tag), "wrong size");
    std::string zero = memory_map();
    zero.replace(8, 4, std::string(4, '\0'));
    expect_refused(information_of(zero + end_tag), "wrong size");
}

TEST(Multiboot2Information, WithoutAMemoryMapIsRefused)
{
    expect_refused(information_of(end_tag), "no memory map");
}

TEST(Multiboot2Information, LyingModulesAreRefused)
{
    expect_refused(information_of(memory_map() + module(0x205000, 0x200000, "x") + end_tag),
                   "ends before it begins");
    expect_refused(information_of(memory_map() + module(0x200000, 0x900000, "x") + end_tag), "not in RAM");
    expect_refused(information_of(memory_map() + module(0x90000, 0x200000, "x") + end_tag), "not in RAM");
    expect_refused(information_of(memory_map() + tag(3, "abcd") + end_tag), "ends before it begins");
    expect_refused(information_of(memory_map() + tag(3, std::string(8, '\0') + "no end") + end_tag),
                   "does not end");
    std::string many = memory_map();
    for (int count = 0; count < 65; ++count)
        many += module(0x200000, 0x200001, "key k");
    expect_refused(information_of(many + end_tag), "too many modules");
}

TEST(Multiboot2Information, TextsThatDoNotEndOrAreTooLongAreRefused)
{
    expect_refused(information_of(tag(1, "no end") + memory_map() + end_tag), "does not end");
    expect_refused(information_of(tag(1, "") + memory_map() + end_tag), "does not end");
    expect_refused(information_of(tag(1, std::string(3000, 'x') + '\0') + memory_map() + end_tag),
                   "too long");
}

TEST(Multiboot2Information, LyingTagSizesAreRefused)
{
    for (const std::uint32_t lie : {0u, 7u, 0x80000000u, 0xffffffffu, 100000u}) {
        std::string bytes = good_information();
        bytes.replace(12, 4, std::string(reinterpret_cast<const char*>(&lie), 4));
        expect_refused(bytes, "wrong size");
    }
}

TEST(Multiboot2Information, CutAnywhereIsRefused)
{
    const std::string good = good_information();
    for (std::size_t length = 0; length < good.size(); ++length)
        EXPECT_FALSE(parse(good.substr(0, length)).good) << length;
    for (std::uint32_t total = 0; total < good.size(); ++total) {  // it says itself that it is shorter
        std::string bytes = good;
        bytes.replace(0, 4, std::string(reinterpret_cast<const char*>(&total), 4));
        EXPECT_FALSE(parse(bytes).good) << total;
    }
}

TEST(Multiboot2Information, NeverReadsOutsideWhateverIsWrong)
{
    const std::string good = good_information();
    std::mt19937 random{5};
    for (int round = 0; round < 5'000; ++round) {
        std::string bad = good;
        for (unsigned change = 0; change < 1 + random() % 4; ++change)
            bad[random() % bad.size()] = static_cast<char>(random());
        (void)parse(bad);
    }
}
