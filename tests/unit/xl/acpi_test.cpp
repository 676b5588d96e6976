// SPDX-License-Identifier: MIT
//
// The ACPI tables: structure, checksums, and the DSDT as ACPICA reads it.
#include "acpi/tables.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>
#include <sstream>

#include "acpi/aml.hpp"
#include "hv/base/bytes.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::xl {
namespace {

constexpr AcpiPlacement placement{0xe0000, 0xe0040, 0xff0000};

template <typename T>
T at(std::span<const std::byte> bytes, std::size_t offset)
{
    return ByteReader{bytes}.read<T>(offset).value();
}

unsigned sum(std::span<const std::byte> bytes)
{
    unsigned total{0};
    for (const std::byte byte : bytes)
        total += std::to_integer<unsigned>(byte);
    return total & 0xff;
}

std::span<const std::byte> table_at(const AcpiImage& image, std::uint64_t address)
{
    const std::span<const std::byte> all{image.tables};
    const auto start = all.subspan(address - placement.tables);
    return start.first(at<std::uint32_t>(start, 4));
}

std::string signature(std::span<const std::byte> table)
{
    return {reinterpret_cast<const char*>(table.data()), 4};
}

struct Found {
    AcpiImage image;
    std::span<const std::byte> xsdt, fadt, madt, dsdt;

    explicit Found(std::uint32_t vcpus) : image{acpi_image(vcpus, placement)}
    {
        xsdt = table_at(image, at<std::uint64_t>(image.rsdp, 24));
        fadt = table_at(image, at<std::uint64_t>(xsdt, 36));
        madt = table_at(image, at<std::uint64_t>(xsdt, 44));
        dsdt = table_at(image, at<std::uint64_t>(fadt, 140));
    }
};

TEST(AcpiTables, AreReachedFromTheRsdpWithRightChecksums)
{
    const Found found{2};
    EXPECT_EQ(sum(std::span{found.image.rsdp}.first(20)), 0u);
    EXPECT_EQ(sum(found.image.rsdp), 0u);
    EXPECT_EQ(signature(found.xsdt), "XSDT");
    EXPECT_EQ(signature(found.fadt), "FACP");
    EXPECT_EQ(signature(found.madt), "APIC");
    EXPECT_EQ(signature(found.dsdt), "DSDT");
    for (const auto table : {found.xsdt, found.fadt, found.madt, found.dsdt})
        EXPECT_EQ(sum(table), 0u) << signature(table);
}

TEST(AcpiTables, FadtDescribesFixedHardwareThatIsNotReduced)
{
    const Found found{1};
    constexpr std::uint32_t HW_REDUCED_ACPI{1u << 20};
    EXPECT_EQ(found.fadt.size(), 276u);
    EXPECT_GE(at<std::uint8_t>(found.fadt, 8), 5);
    const auto flags = at<std::uint32_t>(found.fadt, 112);
    EXPECT_EQ(flags & HW_REDUCED_ACPI, 0u);
    EXPECT_NE(flags & (1u << 10), 0u);  // RESET_REG_SUP
    EXPECT_EQ(flags & (1u << 4), 0u);   // the power button is fixed hardware
    EXPECT_EQ(at<std::uint32_t>(found.fadt, 56), protocol::pm1a_event_port);
    EXPECT_EQ(at<std::uint32_t>(found.fadt, 64), protocol::pm1a_control_port);
    EXPECT_EQ(at<std::uint32_t>(found.fadt, 76), protocol::pm_timer_port);
    EXPECT_EQ(at<std::uint64_t>(found.fadt, 152), protocol::pm1a_event_port);
    EXPECT_EQ(at<std::uint64_t>(found.fadt, 176), protocol::pm1a_control_port);
    EXPECT_EQ(at<std::uint64_t>(found.fadt, 212), protocol::pm_timer_port);
    EXPECT_EQ(at<std::uint16_t>(found.fadt, 46), 9);
    EXPECT_EQ(at<std::uint64_t>(found.fadt, 120), 0xcf9u);
    EXPECT_EQ(at<std::uint8_t>(found.fadt, 128), 6);
    EXPECT_EQ(at<std::uint32_t>(found.fadt, 36), placement.facs);
    EXPECT_EQ(at<std::uint16_t>(found.fadt, 109), 0x5);  // legacy devices, no VGA; no 8042; CMOS RTC present
}

TEST(AcpiTables, MadtGivesEachVcpuItsNumberAsBothIds)
{
    for (const std::uint32_t vcpus : {1u, 64u, 300u}) {
        const Found found{vcpus};
        std::uint32_t processors{0};
        for (std::size_t offset = 44; offset < found.madt.size();
             offset += at<std::uint8_t>(found.madt, offset + 1)) {
            const auto type = at<std::uint8_t>(found.madt, offset);
            if (type == 0) {
                EXPECT_EQ(at<std::uint8_t>(found.madt, offset + 2), processors);
                EXPECT_EQ(at<std::uint8_t>(found.madt, offset + 3), processors++);
            } else if (type == 9) {
                EXPECT_GE(processors, 255u);
                EXPECT_EQ(at<std::uint32_t>(found.madt, offset + 4), processors);
                EXPECT_EQ(at<std::uint32_t>(found.madt, offset + 12), processors++);
            }
        }
        EXPECT_EQ(processors, vcpus);
    }
}

TEST(AcpiTables, LengthDoesNotDependOnThePlace)
{
    EXPECT_EQ(acpi_image(7, {}).tables.size(), acpi_image(7, placement).tables.size());
}

TEST(Aml, LengthsTakeAsManyBytesAsTheyNeed)
{
    EXPECT_EQ(aml_scope("X", Aml(10)).size(), 1 + 1 + 4 + 10u);
    EXPECT_EQ(aml_scope("X", Aml(58)).size(), 1 + 1 + 4 + 58u);
    EXPECT_EQ(aml_scope("X", Aml(59)).size(), 1 + 2 + 4 + 59u);
    EXPECT_EQ(aml_scope("X", Aml(5000)).size(), 1 + 3 + 4 + 5000u);
}

TEST(Aml, EisaIdsArePacked)
{
    const Aml id{aml_eisa_id("PNP0501")};
    EXPECT_EQ(at<std::uint32_t>(id, 1), 0x0105d041u);
}

std::string text_of(const std::filesystem::path& path)
{
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// ACPICA's disassembler and compiler, where the machine has them.
TEST(Aml, DsdtIsReadByAcpicaWithoutAWarning)
{
    if (std::system("iasl -v >/dev/null 2>&1") != 0)
        GTEST_SKIP() << "iasl (package acpica-tools) is not installed";
    const auto folder =
        std::filesystem::temp_directory_path() / ("xl_acpi_test." + std::to_string(::getpid()));
    std::filesystem::create_directory(folder);
    for (const std::uint32_t vcpus : {1u, 64u}) {
        const auto dsdt = acpi_dsdt(vcpus);
        std::ofstream{folder / "dsdt.aml", std::ios::binary}.write(reinterpret_cast<const char*>(dsdt.data()),
                                                                  static_cast<std::streamsize>(dsdt.size()));
        const std::string in_folder{"cd " + folder.string() + " && "};
        ASSERT_EQ(std::system((in_folder + "iasl -d dsdt.aml >d.log 2>&1").c_str()), 0)
            << text_of(folder / "d.log");
        const std::string source{text_of(folder / "dsdt.dsl")};
        for (const char* wanted : {"PNP0501", "PNP0B00", "ACPI0007", "_S5"})
            EXPECT_NE(source.find(wanted), std::string::npos) << wanted;
        EXPECT_EQ(text_of(folder / "d.log").find("Warning"), std::string::npos) << text_of(folder / "d.log");
        ASSERT_EQ(std::system((in_folder + "iasl dsdt.dsl >c.log 2>&1").c_str()), 0)
            << text_of(folder / "c.log");
        EXPECT_NE(text_of(folder / "c.log").find("0 Errors, 0 Warnings"), std::string::npos)
            << text_of(folder / "c.log");
    }
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace hv::xl
