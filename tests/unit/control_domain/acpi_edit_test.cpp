// SPDX-License-Identifier: MIT
//
// The control domain's ACPI tables: its own processor alone, nothing about what is not its own, every checksum right, and
// a sentence for whatever the firmware left that cannot be believed.
#include "hv/core/control_domain/acpi_edit.hpp"

#include <gtest/gtest.h>

#include <array>

#include "fake_platform.hpp"
#include "firmware_tables.hpp"

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::uint64_t out_address{0x1234'5000};

class AcpiEdit : public testing::Test {
protected:
    Status edit(Firmware& firmware, std::uint32_t own = 1)
    {
        out.fill(std::byte{0xcc});
        why.clear();
        return core::edit_acpi_tables(firmware.memory.view(), HostPhysical{Firmware::rsdp}, own, out,
                                      HostPhysical{out_address}, why);
    }
    void expect_refused(Firmware& firmware, Error error, std::string_view sentence, std::uint32_t own = 1)
    {
        const auto done = edit(firmware, own);
        ASSERT_FALSE(done) << sentence;
        EXPECT_EQ(done.error(), error) << sentence;
        EXPECT_EQ(why.view(), sentence);
    }
    static Firmware with_madt(const Bytes& table)
    {
        Firmware firmware;
        firmware.madt_at = firmware.add(table);
        firmware.finish({firmware.madt_at});
        return firmware;
    }
    [[nodiscard]] EditedTables edited() const { return {out.data(), out_address}; }
    [[nodiscard]] std::string hex(std::uint64_t address) const
    {
        BoundedText<20> text;
        say(text, Hex{address});
        return std::string{text.view()};
    }

    std::array<std::byte, core::edited_acpi_capacity> out{};
    BoundedText<200> why;
};

}  // namespace

TEST_F(AcpiEdit, MakesARootPointerThatAKernelAccepts)
{
    Firmware firmware = Firmware::usual();
    ASSERT_TRUE(edit(firmware)) << why.view();
    EXPECT_EQ(edited().text(out_address, 8), "RSD PTR ");
    EXPECT_EQ(edited().text(out_address + 9, 6), "GRAFT ");
    EXPECT_EQ(edited().read<std::uint8_t>(out_address + 15), 2);
    EXPECT_EQ(edited().read<std::uint32_t>(out_address + 16), 0u) << "no RSDT that names the firmware's MADT";
    EXPECT_EQ(edited().read<std::uint32_t>(out_address + 20), 36u);
    EXPECT_TRUE(edited().sums_to_zero(out_address, 20));
    EXPECT_TRUE(edited().sums_to_zero(out_address, 36));
    EXPECT_EQ(edited().text(edited().xsdt(), 4), "XSDT");
    EXPECT_EQ(edited().read<std::uint8_t>(edited().xsdt() + 8), 1);
    EXPECT_TRUE(edited().sums_to_zero(edited().xsdt(), edited().length_of(edited().xsdt())));
}

TEST_F(AcpiEdit, NamesTheFirmwaresTablesWhereTheyLieAndItsOwnMadtInPlaceOfTheFirmwares)
{
    for (const std::uint8_t revision : {std::uint8_t{0}, std::uint8_t{2}}) {
        Firmware firmware = Firmware::usual(revision);
        ASSERT_TRUE(edit(firmware)) << why.view();
        const auto tables = edited().listed();
        ASSERT_EQ(tables.size(), 3u);
        EXPECT_EQ(tables[0], firmware.fadt);
        EXPECT_EQ(tables[2], firmware.other);
        EXPECT_GE(tables[1], out_address);
        EXPECT_LT(tables[1], out_address + core::edited_acpi_capacity);
        EXPECT_EQ(edited().text(tables[1], 4), "APIC");
        EXPECT_TRUE(edited().sums_to_zero(tables[1], edited().length_of(tables[1])));
    }
}

TEST_F(AcpiEdit, LeavesOnlyTheOwnProcessorAndWhatIsNoProcessorInTheMadt)
{
    Firmware firmware = Firmware::usual();
    ASSERT_TRUE(edit(firmware, 1)) << why.view();
    const std::vector<Bytes> expected{local_apic_entry(1), io_apic_entry, override_entry};
    EXPECT_EQ(edited().madt_entries(edited().listed()[1]), expected);
    ASSERT_TRUE(edit(firmware, 300)) << why.view();
    const std::vector<Bytes> wide{io_apic_entry, override_entry, local_x2apic_entry(300)};
    EXPECT_EQ(edited().madt_entries(edited().listed()[1]), wide);
}

TEST_F(AcpiEdit, ChangesNothingOfTheFirmwaresInPlace)
{
    Firmware firmware = Firmware::usual();
    const auto before = firmware.memory.view().at(HostPhysical{Firmware::base}, 0x1'0000);
    const std::vector<std::byte> copy{before.begin(), before.end()};
    ASSERT_TRUE(edit(firmware));
    EXPECT_TRUE(std::equal(copy.begin(), copy.end(), before.begin()));
}

TEST_F(AcpiEdit, TakesOutWhatDescribesTheMachineBeyondTheControlDomain)
{
    Firmware firmware;
    const std::uint64_t madt_at = firmware.add(usual_madt());
    std::vector<std::uint64_t> tables;
    for (const char* signature : {"IVRS", "DMAR", "SRAT", "SLIT"})
        tables.push_back(firmware.add(acpi_table(signature, Bytes(8))));
    const std::uint64_t kept = firmware.add(acpi_table("MCFG", Bytes(8)));
    tables.insert(tables.end(), {kept, madt_at});
    firmware.finish(tables);
    ASSERT_TRUE(edit(firmware)) << why.view();
    ASSERT_EQ(edited().listed().size(), 2u);
    EXPECT_EQ(edited().listed()[0], kept);
}

TEST_F(AcpiEdit, ListsOneMadtWhereTheFirmwareHasTwoAndSkipsEmptyPlaces)
{
    Firmware firmware;
    const std::uint64_t first = firmware.add(usual_madt());
    const std::uint64_t second = firmware.add(usual_madt());
    firmware.finish({0, first, 0, second});
    ASSERT_TRUE(edit(firmware)) << why.view();
    ASSERT_EQ(edited().listed().size(), 1u);
    EXPECT_EQ(edited().text(edited().listed()[0], 4), "APIC");
}

TEST_F(AcpiEdit, TurnsToTheRsdtWhereTheExtendedRootPointerIsWrong)
{
    Firmware firmware = Firmware::usual(0);
    firmware.memory.put<std::uint8_t>(Firmware::rsdp + 15, 2);
    firmware.memory.seal(Firmware::rsdp, 20, Firmware::rsdp + 8);
    firmware.memory.put<std::uint64_t>(Firmware::rsdp + 24, 0xdead'0000);
    firmware.memory.put<std::uint8_t>(Firmware::rsdp + 32, 1);
    EXPECT_TRUE(edit(firmware)) << why.view();
}

TEST_F(AcpiEdit, RefusesARootPointerThatIsNone)
{
    constexpr std::string_view sentence{"the ACPI root pointer is not valid"};
    Firmware bad_sum = Firmware::usual();
    bad_sum.memory.put<std::uint8_t>(Firmware::rsdp + 8, 0);
    expect_refused(bad_sum, Error::malformed, sentence);
    Firmware bad_name = Firmware::usual();
    bad_name.memory.put_bytes(Firmware::rsdp, "RSD PTR_");
    bad_name.memory.seal(Firmware::rsdp, 20, Firmware::rsdp + 8);
    expect_refused(bad_name, Error::malformed, sentence);
    Firmware nowhere = Firmware::usual();
    EXPECT_FALSE(core::edit_acpi_tables(nowhere.memory.view(), HostPhysical{0x10}, 1, out, HostPhysical{out_address}, why));
}

TEST_F(AcpiEdit, RefusesRootTableAndMadtWithAWrongByteAndNamesThem)
{
    for (const auto& [which, name] : {std::pair{&Firmware::madt_at, "APIC"}, {&Firmware::root, "XSDT"}}) {
        Firmware firmware = Firmware::usual();
        const std::uint64_t table = firmware.*which;
        firmware.memory.put<std::uint8_t>(table + 8, 0x77);
        expect_refused(firmware, Error::malformed,
                       std::string{"the ACPI table "} + name + " at " + hex(table) + " has a wrong checksum");
    }
    for (const std::uint32_t length : {0u, 35u, 1024u * 1024 + 1, 0xffff'ffffu}) {
        Firmware firmware = Firmware::usual();
        firmware.memory.put<std::uint32_t>(firmware.madt_at + 4, length);
        expect_refused(firmware, Error::malformed,
                       "the ACPI table APIC at " + hex(firmware.madt_at) + " has no sensible header");
    }
}

TEST_F(AcpiEdit, LeavesOtherDamagedTablesOutAndNamesThemInTheLog)
{
    const auto expect_left_out = [&](Firmware& firmware, std::uint64_t table, const std::string& fault) {
        fake::reset_platform(1);
        ASSERT_TRUE(edit(firmware)) << why.view();
        for (const std::uint64_t listed : edited().listed())
            EXPECT_NE(listed, table);
        EXPECT_NE(fake::console().find("warning: the ACPI table " + fault + ": dom0 does without it"), std::string::npos)
            << fake::console();
    };
    for (const auto& [which, name] : {std::pair{&Firmware::fadt, "FACP"}, {&Firmware::other, "HPET"}}) {
        Firmware firmware = Firmware::usual();
        const std::uint64_t table = firmware.*which;
        firmware.memory.put<std::uint8_t>(table + 8, 0x77);
        expect_left_out(firmware, table, name + (" at " + hex(table)) + " has a wrong checksum");
        EXPECT_EQ(edited().listed().size(), 2u);
    }
    for (const std::uint32_t length : {0u, 35u, 1024u * 1024 + 1, 0xffff'ffffu}) {
        Firmware firmware = Firmware::usual();
        firmware.memory.put<std::uint32_t>(firmware.fadt + 4, length);
        expect_left_out(firmware, firmware.fadt, "FACP at " + hex(firmware.fadt) + " has no sensible header");
    }
    Firmware outside;
    outside.finish({outside.add(usual_madt()), 0x7000'0000});
    expect_left_out(outside, 0x7000'0000, "???? at 0x70000000 has no sensible header");
    Firmware past_the_end = Firmware::usual();
    past_the_end.memory.put<std::uint32_t>(past_the_end.fadt + 4, 0x1'0000);
    expect_left_out(past_the_end, past_the_end.fadt, "FACP at " + hex(past_the_end.fadt) + " has a wrong checksum");
}

TEST_F(AcpiEdit, SaysWhyForEveryLengthToWhichTheMadtIsCut)
{
    const Bytes whole = madt({local_apic_entry(1), io_apic_entry, local_x2apic_entry(300)});
    for (std::size_t length = 36; length < whole.size(); ++length) {
        const Bytes body(whole.begin() + 36, whole.begin() + static_cast<std::ptrdiff_t>(length));
        Firmware firmware = with_madt(acpi_table("APIC", body));
        if (edit(firmware, 300))
            ADD_FAILURE() << "accepted without the processor's whole entry: " << length;
        EXPECT_FALSE(why.view().empty()) << length;
    }
    Firmware complete = with_madt(whole);
    EXPECT_TRUE(edit(complete, 300));
}

TEST_F(AcpiEdit, RefusesMadtEntriesThatLieAboutTheirLength)
{
    constexpr std::string_view past{"an entry of the ACPI MADT runs past its end"};
    constexpr std::string_view shorter{"an entry of the ACPI MADT is shorter than its kind"};
    for (const std::uint8_t length : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{9}, std::uint8_t{255}}) {
        Bytes entry = local_apic_entry(1);
        entry[1] = length;
        Firmware firmware = with_madt(madt({entry}));
        expect_refused(firmware, Error::malformed, past);
    }
    for (std::uint8_t length = 2; length < 8; ++length) {
        Bytes entry = local_apic_entry(1);
        entry.resize(length);
        entry[1] = length;
        Firmware firmware = with_madt(madt({entry}));
        expect_refused(firmware, Error::malformed, shorter);
    }
    for (std::uint8_t length = 2; length < 12; ++length) {
        Bytes entry = local_x2apic_entry(1);
        entry.resize(length);
        entry[1] = length;
        Firmware firmware = with_madt(madt({entry}));
        expect_refused(firmware, Error::malformed, shorter);
    }
}

TEST_F(AcpiEdit, RefusesAMadtWithoutTheOwnProcessorOrWithItDisabled)
{
    constexpr std::string_view sentence{"the ACPI MADT does not list the boot processor"};
    Firmware absent = Firmware::usual();
    expect_refused(absent, Error::not_found, sentence, 77);
    Firmware disabled = Firmware::usual();
    expect_refused(disabled, Error::not_found, sentence, 3);
    Firmware none;
    none.finish({none.add(acpi_table("FACP", Bytes(100)))});
    expect_refused(none, Error::not_found, "the firmware has no ACPI MADT");
}

TEST_F(AcpiEdit, TakesSixtyFourTablesAndRefusesOneMore)
{
    for (const std::size_t count : {std::size_t{64}, std::size_t{65}}) {
        Firmware firmware;
        std::vector<std::uint64_t> tables(count, firmware.add(acpi_table("SSDT", Bytes(4))));
        tables.back() = firmware.add(usual_madt());
        firmware.finish(tables);
        if (count == 64) {
            ASSERT_TRUE(edit(firmware)) << why.view();
            EXPECT_EQ(edited().listed().size(), 64u);
            const std::uint64_t last = edited().listed().back();
            EXPECT_TRUE(edited().sums_to_zero(last, edited().length_of(last))) << "XSDT and MADT overlap";
            EXPECT_TRUE(edited().sums_to_zero(edited().xsdt(), edited().length_of(edited().xsdt())));
        } else {
            expect_refused(firmware, Error::out_of_range, "the firmware has more ACPI tables than fit");
        }
    }
}

TEST_F(AcpiEdit, RefusesAMadtThatIsLargerThanItsRoom)
{
    const std::vector<Bytes> many(core::edited_acpi_capacity / 8, local_apic_entry(1));
    Firmware firmware = with_madt(madt(many));
    expect_refused(firmware, Error::malformed, "the ACPI MADT has no sensible length");
}
