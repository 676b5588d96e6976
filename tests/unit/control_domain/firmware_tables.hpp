// SPDX-License-Identifier: MIT
//
// The ACPI tables of a machine with four processors, as firmware leaves them in memory, for tests to spoil; and a reader
// of what the editor made of them.  Specification: [ACPI-6.5 §5.2].
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "../boot/foreign_memory.hpp"

namespace hv::test {

using Bytes = std::vector<std::uint8_t>;

/// A table with header and checksum around `body`.
inline Bytes acpi_table(const std::string& signature, const Bytes& body)
{
    Bytes table(36);
    std::copy(signature.begin(), signature.end(), table.begin());
    const auto length = static_cast<std::uint32_t>(36 + body.size());
    std::memcpy(&table[4], &length, 4);
    table[8] = 3;
    table.insert(table.end(), body.begin(), body.end());
    std::uint8_t sum{};
    for (const std::uint8_t byte : table)
        sum = static_cast<std::uint8_t>(sum + byte);
    table[9] = static_cast<std::uint8_t>(0 - sum);
    return table;
}

inline Bytes local_apic_entry(std::uint8_t id, std::uint32_t flags = 1)
{
    return {0, 8, id, id, static_cast<std::uint8_t>(flags), 0, 0, 0};
}
inline Bytes local_x2apic_entry(std::uint32_t id, std::uint32_t flags = 1)
{
    Bytes entry{9, 16, 0, 0};
    for (const std::uint32_t word : {id, flags, id})
        for (unsigned shift = 0; shift < 32; shift += 8)
            entry.push_back(static_cast<std::uint8_t>(word >> shift));
    return entry;
}
inline const Bytes io_apic_entry{1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0};
inline const Bytes override_entry{2, 10, 0, 0, 2, 0, 0, 0, 0, 0};
inline const Bytes wakeup_entry{16, 16, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0};

inline Bytes madt(const std::vector<Bytes>& entries)
{
    Bytes body{0, 0, 0xe0, 0xfe, 1, 0, 0, 0};
    for (const Bytes& entry : entries)
        body.insert(body.end(), entry.begin(), entry.end());
    return acpi_table("APIC", body);
}
inline Bytes usual_madt()
{
    return madt({local_apic_entry(0), local_apic_entry(1), io_apic_entry, local_apic_entry(2), override_entry,
                 local_x2apic_entry(300), wakeup_entry, local_apic_entry(3, 0)});
}

class Firmware {
public:
    static constexpr std::uint64_t base{0xe'0000};
    static constexpr std::uint64_t rsdp{base + 0x40};

    Firmware() : memory{base, 0x1'0000} {}

    /// Places a table and returns its address.
    std::uint64_t add(const Bytes& table)
    {
        const std::uint64_t address = next_;
        memory.put_bytes(address, {reinterpret_cast<const char*>(table.data()), table.size()});
        next_ += (table.size() + 15) / 16 * 16;
        return address;
    }
    /// Root pointer and root table that name these tables; revision 0 has an RSDT.
    void finish(const std::vector<std::uint64_t>& tables, std::uint8_t revision = 2)
    {
        const unsigned width = revision >= 2 ? 8 : 4;
        Bytes body(tables.size() * width);
        for (std::size_t index = 0; index < tables.size(); ++index)
            std::memcpy(&body[index * width], &tables[index], width);
        root = add(acpi_table(revision >= 2 ? "XSDT" : "RSDT", body));
        memory.put_bytes(rsdp, "RSD PTR ");
        memory.put_bytes(rsdp + 9, "GRAFT ");
        memory.put<std::uint8_t>(rsdp + 15, revision);
        memory.put<std::uint32_t>(rsdp + 16, revision >= 2 ? 0 : static_cast<std::uint32_t>(root));
        memory.seal(rsdp, 20, rsdp + 8);
        if (revision < 2)
            return;
        memory.put<std::uint32_t>(rsdp + 20, 36);
        memory.put<std::uint64_t>(rsdp + 24, root);
        memory.seal(rsdp, 36, rsdp + 32);
    }
    /// What most tests begin with: a FADT, the MADT and one more.
    static Firmware usual(std::uint8_t revision = 2)
    {
        Firmware firmware;
        firmware.fadt = firmware.add(acpi_table("FACP", Bytes(100)));
        firmware.madt_at = firmware.add(usual_madt());
        firmware.other = firmware.add(acpi_table("HPET", Bytes(20)));
        firmware.finish({firmware.fadt, firmware.madt_at, firmware.other}, revision);
        return firmware;
    }

    ForeignMemory memory;
    std::uint64_t root{}, fadt{}, madt_at{}, other{};

private:
    std::uint64_t next_{base + 0x100};
};

/// The edited tables, read back the way a kernel does, every checksum checked.
class EditedTables {
public:
    EditedTables(const std::byte* bytes, std::uint64_t address) : bytes_{bytes}, address_{address} {}

    template <typename T>
    [[nodiscard]] T read(std::uint64_t address) const
    {
        T value{};
        std::memcpy(&value, bytes_ + (address - address_), sizeof value);
        return value;
    }
    [[nodiscard]] bool sums_to_zero(std::uint64_t address, std::uint64_t length) const
    {
        unsigned sum{};
        for (std::uint64_t at = 0; at < length; ++at)
            sum += read<std::uint8_t>(address + at);
        return (sum & 0xff) == 0;
    }
    [[nodiscard]] std::string text(std::uint64_t address, std::size_t length) const
    {
        return {reinterpret_cast<const char*>(bytes_ + (address - address_)), length};
    }
    [[nodiscard]] std::uint64_t xsdt() const { return read<std::uint64_t>(address_ + 24); }
    [[nodiscard]] std::uint32_t length_of(std::uint64_t table) const { return read<std::uint32_t>(table + 4); }
    [[nodiscard]] std::vector<std::uint64_t> listed() const
    {
        std::vector<std::uint64_t> tables;
        for (std::uint64_t at = xsdt() + 36; at < xsdt() + length_of(xsdt()); at += 8)
            tables.push_back(read<std::uint64_t>(at));
        return tables;
    }
    /// The entries behind the MADT's fixed part.
    [[nodiscard]] std::vector<Bytes> madt_entries(std::uint64_t madt) const
    {
        std::vector<Bytes> entries;
        for (std::uint64_t at = madt + 44; at < madt + length_of(madt);) {
            Bytes entry(read<std::uint8_t>(at + 1));
            std::memcpy(entry.data(), bytes_ + (at - address_), entry.size());
            at += entry.size();
            entries.push_back(std::move(entry));
        }
        return entries;
    }

private:
    const std::byte* bytes_;
    std::uint64_t address_;
};

}  // namespace hv::test
