// SPDX-License-Identifier: MIT
//
// Specification: [ACPI-6.5 §5.2.5.3 RSDP, §5.2.6 header, §5.2.8 XSDT, §5.2.12 MADT].
#include "hv/core/control_domain/acpi_edit.hpp"

#include <cstring>
#include <optional>

#include "hv/base/bytes.hpp"
#include "hv/core/diag/log.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t signature_of(const char (&text)[5])
{
    return static_cast<std::uint32_t>(static_cast<unsigned char>(text[0])) |
           static_cast<std::uint32_t>(static_cast<unsigned char>(text[1])) << 8 |
           static_cast<std::uint32_t>(static_cast<unsigned char>(text[2])) << 16 |
           static_cast<std::uint32_t>(static_cast<unsigned char>(text[3])) << 24;
}

constexpr std::uint64_t header_bytes{36};
constexpr std::uint64_t length_offset{4};
constexpr std::uint64_t checksum_offset{9};
constexpr std::uint64_t rsdp_bytes_v1{20};
constexpr std::uint64_t rsdp_bytes_v2{36};
constexpr std::uint64_t rsdp_revision{15};
constexpr std::uint64_t rsdp_rsdt{16};
constexpr std::uint64_t rsdp_length{20};
constexpr std::uint64_t rsdp_xsdt{24};
constexpr std::uint64_t rsdp_extended_checksum{32};
constexpr std::uint64_t rsdp_checksum{8};
constexpr std::uint64_t largest_table{1024 * 1024};
constexpr std::uint64_t madt_entries{44};
constexpr std::size_t most_tables{64};

constexpr std::uint8_t madt_local_apic{0};
constexpr std::uint8_t madt_local_x2apic{9};
constexpr std::uint8_t madt_multiprocessor_wakeup{16};
constexpr std::uint32_t madt_enabled{1};
constexpr std::uint8_t local_apic_flags_end{8};
constexpr std::uint8_t local_x2apic_flags_end{12};

std::uint8_t sum(std::span<const std::byte> bytes)
{
    unsigned total{};
    for (const std::byte byte : bytes)
        total += std::to_integer<unsigned>(byte);
    return static_cast<std::uint8_t>(total);
}

void seal(std::span<std::byte> table, std::uint64_t at)
{
    table[at] = std::byte{0};
    table[at] = static_cast<std::byte>(static_cast<std::uint8_t>(0 - sum(table)));
}

template <typename T>
void put(std::span<std::byte> table, std::uint64_t at, T value)
{
    std::memcpy(table.data() + at, &value, sizeof value);
}

std::uint32_t signature_at(const FirmwareMemory& memory, HostPhysical address)
{
    const auto signature = ByteReader{memory.at(address, sizeof(std::uint32_t))}.read<std::uint32_t>(0);
    return signature ? signature.value() : 0;
}

/// "SSDT at 0x…"; what is no letter or digit is a question mark.
void say_table(TextWriter& text, const FirmwareMemory& memory, HostPhysical address)
{
    const std::uint32_t signature = signature_at(memory, address);
    for (unsigned shift = 0; shift < 32; shift += 8) {
        const auto letter = static_cast<char>(signature >> shift & 0xff);
        const bool plain = (letter >= 'A' && letter <= 'Z') || (letter >= '0' && letter <= '9') || letter == '_';
        text.append(plain ? letter : '?');
    }
    say(text, " at ", Hex{address.raw()});
}

/// A table whose length and checksum were checked.
Expected<std::span<const std::byte>> checked_table(const FirmwareMemory& memory, HostPhysical address,
                                                   TextWriter& why)
{
    const auto refuse = [&](std::string_view fault) {
        why.append("the ACPI table ");
        say_table(why, memory, address);
        why.append(fault);
        return Error::malformed;
    };
    const auto header = memory.at(address, header_bytes);
    const auto length = ByteReader{header}.read<std::uint32_t>(length_offset);
    if (!length || length.value() < header_bytes || length.value() > largest_table)
        return refuse(" has no sensible header");
    const auto table = memory.at(address, length.value());
    if (table.size() != length.value() || sum(table) != 0)
        return refuse(" has a wrong checksum");
    return table;
}

/// The same for a table that the control domain can do without: a damaged one, which is not the MADT, is named in the log.
/// Nothing: it is left out.
Expected<std::optional<std::span<const std::byte>>> usable_table(const FirmwareMemory& memory, HostPhysical address,
                                                                 TextWriter& why)
{
    BoundedText<120> fault;
    const auto table = checked_table(memory, address, fault);
    if (table)
        return std::optional{table.value()};
    if (signature_at(memory, address) == signature_of("APIC")) {
        why.append(fault.view());
        return table.error();
    }
    log_warning(fault.view(), ": dom0 does without it");
    return std::optional<std::span<const std::byte>>{};
}

struct RootTable {
    std::span<const std::byte> bytes;
    unsigned pointer_size;

    [[nodiscard]] std::size_t count() const { return (bytes.size() - header_bytes) / pointer_size; }
    [[nodiscard]] HostPhysical entry(std::size_t index) const
    {
        std::uint64_t value{};
        std::memcpy(&value, bytes.data() + header_bytes + index * pointer_size, pointer_size);
        return HostPhysical{value};
    }
};

Expected<RootTable> find_root(const FirmwareMemory& memory, HostPhysical rsdp, TextWriter& why)
{
    const auto bytes = memory.at(rsdp, rsdp_bytes_v1);
    if (bytes.size() != rsdp_bytes_v1 || std::memcmp(bytes.data(), "RSD PTR ", 8) != 0 || sum(bytes) != 0) {
        why.append("the ACPI root pointer is not valid");
        return Error::malformed;
    }
    const ByteReader reader{bytes};
    if (HV_TRY(reader.read<std::uint8_t>(rsdp_revision)) >= 2) {
        const auto extended = memory.at(rsdp, rsdp_bytes_v2);
        const auto xsdt = ByteReader{extended}.read<std::uint64_t>(rsdp_xsdt);
        if (xsdt && xsdt.value() != 0 && sum(extended) == 0)
            return RootTable{HV_TRY(checked_table(memory, HostPhysical{xsdt.value()}, why)), 8};
    }
    const HostPhysical rsdt{HV_TRY(reader.read<std::uint32_t>(rsdp_rsdt))};
    return RootTable{HV_TRY(checked_table(memory, rsdt, why)), 4};
}

/// Copies the MADT without the processors that are not the control domain's.
Expected<std::size_t> write_madt(std::span<const std::byte> original, std::uint32_t own, std::span<std::byte> out,
                                 TextWriter& why)
{
    if (original.size() < madt_entries || out.size() < original.size()) {
        why.append("the ACPI MADT has no sensible length");
        return Error::malformed;
    }
    std::memcpy(out.data(), original.data(), madt_entries);
    std::size_t used{madt_entries};
    bool found{};
    const ByteReader reader{original};
    for (std::uint64_t at = madt_entries; at + 2 <= original.size();) {
        const auto type = HV_TRY(reader.read<std::uint8_t>(at));
        const auto length = HV_TRY(reader.read<std::uint8_t>(at + 1));
        const auto entry = reader.slice(at, length);
        if (length < 2 || !entry) {
            why.append("an entry of the ACPI MADT runs past its end");
            return Error::malformed;
        }
        bool keep{type != madt_multiprocessor_wakeup};
        if (type == madt_local_apic || type == madt_local_x2apic) {
            const ByteReader fields{entry.value()};
            const bool wide{type == madt_local_x2apic};
            if (length < (wide ? local_x2apic_flags_end : local_apic_flags_end)) {
                why.append("an entry of the ACPI MADT is shorter than its kind");
                return Error::malformed;
            }
            const std::uint32_t id = wide ? HV_TRY(fields.read<std::uint32_t>(4)) : HV_TRY(fields.read<std::uint8_t>(3));
            const std::uint32_t flags = HV_TRY(fields.read<std::uint32_t>(wide ? 8 : 4));
            keep = id == own && (flags & madt_enabled) != 0;
            found = found || keep;
        }
        if (keep) {
            std::memcpy(out.data() + used, entry.value().data(), length);
            used += length;
        }
        at += length;
    }
    if (!found) {
        why.append("the ACPI MADT does not list the boot processor");
        return Error::not_found;
    }
    put(out, length_offset, static_cast<std::uint32_t>(used));
    seal(out.first(used), checksum_offset);
    return used;
}

bool describes_others(std::uint32_t signature)
{
    return signature == signature_of("IVRS") || signature == signature_of("DMAR") ||
           signature == signature_of("SRAT") || signature == signature_of("SLIT");
}

void write_rsdp(std::span<std::byte> out, const FirmwareMemory& memory, HostPhysical original, HostPhysical xsdt)
{
    std::memset(out.data(), 0, rsdp_bytes_v2);
    std::memcpy(out.data(), memory.at(original, rsdp_bytes_v1).data(), rsdp_revision);  // signature and OEM id
    out[rsdp_revision] = std::byte{2};
    put(out, rsdp_length, static_cast<std::uint32_t>(rsdp_bytes_v2));
    put(out, rsdp_xsdt, xsdt.raw());
    seal(out.first(rsdp_bytes_v1), rsdp_checksum);
    seal(out.first(rsdp_bytes_v2), rsdp_extended_checksum);
}

}  // namespace

Status edit_acpi_tables(const FirmwareMemory& memory, HostPhysical rsdp, std::uint32_t own_apic_id,
                        std::span<std::byte> out, HostPhysical out_address, TextWriter& why)
{
    constexpr std::size_t xsdt_at{64};
    constexpr std::size_t madt_at{xsdt_at + header_bytes + most_tables * 8};
    const RootTable root = HV_TRY(find_root(memory, rsdp, why));
    if (out.size() < madt_at || root.count() > most_tables) {
        why.append("the firmware has more ACPI tables than fit");
        return Error::out_of_range;
    }
    const auto xsdt = out.subspan(xsdt_at);
    std::memcpy(xsdt.data(), root.bytes.data(), header_bytes);
    put(xsdt, 0, signature_of("XSDT"));
    std::size_t used{header_bytes};
    bool have_madt{};
    for (std::size_t index = 0; index < root.count(); ++index) {
        HostPhysical address{root.entry(index)};
        if (address == HostPhysical{})
            continue;  // firmware leaves places empty
        const auto table = HV_TRY(usable_table(memory, address, why));
        const std::uint32_t signature = signature_at(memory, address);
        if (!table || describes_others(signature))
            continue;
        if (signature == signature_of("APIC")) {
            if (have_madt)
                continue;
            HV_TRY(write_madt(*table, own_apic_id, out.subspan(madt_at), why));
            address = out_address.plus(madt_at);
            have_madt = true;
        }
        put(xsdt, used, address.raw());
        used += 8;
    }
    if (!have_madt) {
        why.append("the firmware has no ACPI MADT");
        return Error::not_found;
    }
    put(xsdt, length_offset, static_cast<std::uint32_t>(used));
    xsdt[8] = std::byte{1};  // revision
    seal(xsdt.first(used), checksum_offset);
    write_rsdp(out, memory, rsdp, out_address.plus(xsdt_at));
    return Done{};
}

}  // namespace hv::core
