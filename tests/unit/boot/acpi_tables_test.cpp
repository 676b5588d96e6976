// SPDX-License-Identifier: MIT
#include "hv/core/boot/acpi_tables.hpp"

#include <gtest/gtest.h>

#include <random>

#include "foreign_memory.hpp"

using namespace hv;
using namespace hv::core;
using hv::test::ForeignMemory;

namespace {

constexpr std::uint64_t base{0xe0000};
constexpr std::uint64_t rsdp_at{0xe1230};
constexpr std::uint64_t root_at{0xe2000};
constexpr std::uint64_t madt_at{0xe3004};
constexpr std::uint64_t fadt_at{0xe4008};

class AcpiTables : public testing::Test {
protected:
    AcpiTables()
    {
        put_root(2);
        put_table(madt_at, "APIC", madt_body());
        std::string fadt(240, '\0');
        fadt[76 - 36] = 0x08;
        fadt[77 - 36] = 0x06;
        put_table(fadt_at, "FACP", fadt);
    }

    void put_table(std::uint64_t at, std::string_view signature, const std::string& body)
    {
        memory.put_bytes(at, signature);
        memory.put(at + 4, static_cast<std::uint32_t>(36 + body.size()));
        memory.put_bytes(at + 36, body);
        memory.seal(at, 36 + body.size(), at + 9);
    }
    void put_root(std::uint8_t revision)
    {
        memory.put_bytes(rsdp_at, "RSD PTR ");
        memory.put(rsdp_at + 15, revision);
        memory.put(rsdp_at + 16, static_cast<std::uint32_t>(revision < 2 ? root_at : 0x99999999));
        memory.put(rsdp_at + 20, std::uint32_t{36});
        memory.put(rsdp_at + 24, std::uint64_t{root_at});
        memory.seal(rsdp_at, 20, rsdp_at + 8);
        memory.seal(rsdp_at, 36, rsdp_at + 32);
        std::string entries;
        for (const std::uint64_t address : {fadt_at, madt_at})
            entries.append(reinterpret_cast<const char*>(&address), revision < 2 ? 4 : 8);
        put_table(root_at, revision < 2 ? "RSDT" : "XSDT", entries);
    }
    static std::string madt_body()
    {
        std::string body("\x00\x00\xe0\xfe\x01\x00\x00\x00", 8);
        body += std::string("\x00\x08\x00\x00\x01\x00\x00\x00", 8);                   // APIC 0, enabled
        body += std::string("\x00\x08\x01\x02\x00\x00\x00\x00", 8);                   // APIC 2, disabled
        body += std::string("\x01\x0c\x00\x00\x00\x00\xc0\xfe\x00\x00\x00\x00", 12);  // an I/O APIC
        body += std::string("\x00\x08\x02\x04\x01\x00\x00\x00", 8);                   // APIC 4, enabled
        body +=
            std::string("\x09\x10\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00", 16);  // 4 again
        body += std::string("\x09\x10\x00\x00\x00\x01\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00", 16);  // 256
        return body;
    }
    Expected<std::span<const std::byte>> find(std::string_view signature)
    {
        why.clear();
        return find_acpi_table(memory.view(), HostPhysical{rsdp_at}, signature, why);
    }

    ForeignMemory memory{base, 0x20000};
    BoundedText<200> why;
};

}  // namespace

TEST_F(AcpiTables, TheRootPointerIsFoundWhereFirmwarePutsIt)
{
    EXPECT_EQ(search_rsdp(memory.view()).value(), HostPhysical{rsdp_at});
    memory.put_bytes(rsdp_at + 9, "x");  // the checksum is wrong now
    EXPECT_EQ(search_rsdp(memory.view()).error(), Error::not_found);
}

TEST_F(AcpiTables, TheRootPointerIsFoundInTheExtendedBiosDataArea)
{
    ForeignMemory low{0x400, 0x9fc00};
    low.put<std::uint16_t>(0x40e, 0x9fc0);
    low.put_bytes(0x9fc20, "RSD PTR ");
    low.seal(0x9fc20, 20, 0x9fc28);
    EXPECT_EQ(search_rsdp(low.view()).value(), HostPhysical{0x9fc20});
}

TEST_F(AcpiTables, AreFoundByXsdtOrRsdt)
{
    for (const std::uint8_t revision : {std::uint8_t{2}, std::uint8_t{0}}) {
        put_root(revision);
        ASSERT_TRUE(find("APIC")) << why.view();
        EXPECT_EQ(find("APIC").value().size(), 36 + madt_body().size());
        EXPECT_EQ(find("HPET").error(), Error::not_found);
        EXPECT_EQ(why.view(), "ACPI has no table HPET");
    }
}

TEST_F(AcpiTables, DamageIsSaid)
{
    memory.put_bytes(madt_at + 40, "x");
    EXPECT_EQ(find("APIC").error(), Error::malformed);
    EXPECT_EQ(why.view(), "ACPI's table APIC is damaged");
    memory.put_bytes(root_at + 20, "x");
    EXPECT_EQ(find("FACP").error(), Error::malformed);
    EXPECT_EQ(why.view(), "ACPI's root tables are damaged");
}

TEST_F(AcpiTables, OfOneKindAreFoundOneAfterTheOther)
{
    put_table(madt_at, "SSDT", "first");
    put_table(fadt_at, "SSDT", "other");
    EXPECT_EQ(find("SSDT").value().data(), memory.view().at(HostPhysical{fadt_at}, 36).data());
    const auto second = find_acpi_table(memory.view(), HostPhysical{rsdp_at}, "SSDT", why, 1);
    EXPECT_EQ(second.value().data(), memory.view().at(HostPhysical{madt_at}, 36).data());
    EXPECT_EQ(find_acpi_table(memory.view(), HostPhysical{rsdp_at}, "SSDT", why, 2).error(), Error::not_found);
}

TEST_F(AcpiTables, LyingLengthsAreDamage)
{
    for (const std::uint32_t length : {0u, 35u, 0x1ffffu, 0x7fffffffu, 0xffffffffu}) {
        memory.put(madt_at + 4, length);
        EXPECT_EQ(find("APIC").error(), Error::malformed) << length;
    }
}

TEST_F(AcpiTables, TheMadtListsEnabledProcessorsOnce)
{
    const auto list = parse_madt(find("APIC").value(), why);
    ASSERT_TRUE(list);
    EXPECT_EQ(list.value().local_apic, HostPhysical{0xfee00000});
    ASSERT_EQ(list.value().apic_ids.size(), 3);
    EXPECT_EQ(list.value().apic_ids[0], 0);
    EXPECT_EQ(list.value().apic_ids[1], 4);
    EXPECT_EQ(list.value().apic_ids[2], 256);
    EXPECT_EQ(list.value().left_out, 0);
}

TEST_F(AcpiTables, TheMadtsOverrideOfTheLocalApicIsTaken)
{
    put_table(madt_at, "APIC",
              madt_body() + std::string("\x05\x0c\x00\x00\x00\x00\xd0\xfe\x00\x00\x00\x00", 12));
    EXPECT_EQ(parse_madt(find("APIC").value(), why).value().local_apic, HostPhysical{0xfed00000});
}

TEST_F(AcpiTables, ProcessorsBeyondTheLimitAreCounted)
{
    std::string body("\x00\x00\xe0\xfe\x01\x00\x00\x00", 8);
    for (unsigned id = 0; id < 70; ++id)
        body += std::string("\x00\x08\x00", 3) + static_cast<char>(id) + std::string("\x01\x00\x00\x00", 4);
    put_table(madt_at, "APIC", body);
    const auto list = parse_madt(find("APIC").value(), why);
    ASSERT_TRUE(list);
    EXPECT_EQ(list.value().apic_ids.size(), 64);
    EXPECT_EQ(list.value().left_out, 6);
}

TEST_F(AcpiTables, AMadtWithLyingEntriesIsDamaged)
{
    for (const char* entry : {"\x00\x07xxxxx", "\x00\x01", "\x05\x04xx", "\x09\x20xxxxxxxxxxxxxx", "\x00"}) {
        put_table(madt_at, "APIC",
                  madt_body() +
                      std::string(entry, entry[0] == 0 && entry[1] == 0 ? 1 : 2 + std::strlen(entry + 2)));
        EXPECT_EQ(parse_madt(find("APIC").value(), why).error(), Error::malformed);
    }
    put_table(madt_at, "APIC",
              madt_body() + std::string(2, '\0'));  // an entry of length zero would never end
    EXPECT_EQ(parse_madt(find("APIC").value(), why).error(), Error::malformed);
}

TEST_F(AcpiTables, AMadtCutAnywhereNeverReadsOutside)
{
    const auto table = find("APIC").value();
    for (std::size_t length = 0; length < table.size(); ++length) {
        const std::vector<std::byte> cut(table.begin(), table.begin() + static_cast<long>(length));
        (void)parse_madt(cut, why);
        why.clear();
    }
}

TEST_F(AcpiTables, ThePowerTimersPortIsTheExtendedOneOrTheOldOne)
{
    EXPECT_EQ(power_timer_port(find("FACP").value()).value(), 0x608);
    std::string fadt(240, '\0');
    fadt[208 - 36] = 1;
    fadt[212 - 36] = 0x08;
    fadt[213 - 36] = 0x0b;
    put_table(fadt_at, "FACP", fadt);
    EXPECT_EQ(power_timer_port(find("FACP").value()).value(), 0xb08);
    put_table(fadt_at, "FACP", std::string(240, '\0'));
    EXPECT_EQ(power_timer_port(find("FACP").value()).error(), Error::not_found);
    put_table(fadt_at, "FACP", "short");
    EXPECT_FALSE(power_timer_port(find("FACP").value()));
}
