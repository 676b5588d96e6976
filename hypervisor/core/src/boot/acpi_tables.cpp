// SPDX-License-Identifier: MIT
//
// ACPI's static tables, as far as the hypervisor reads them itself: see acpi_tables.hpp.
#include "hv/core/boot/acpi_tables.hpp"

#include <algorithm>
#include <cstring>

#include "hv/base/bytes.hpp"
#include "hv/base/field.hpp"

namespace hv::core {

namespace {

constexpr std::string_view rsdp_signature{"RSD PTR "};
constexpr std::uint64_t rsdp_first_part{20};
constexpr std::uint64_t rsdp_alignment{16};
constexpr std::uint64_t ebda_segment_pointer{0x40e};
constexpr std::uint64_t ebda_searched{1024};
constexpr HostRange bios_area{HostPhysical{0xe0000}, 0x20000};

/// Root system description pointer [ACPI-6.5 §5.2.5.3].
struct [[gnu::packed]] Rsdp {
    char signature[8];
    std::uint8_t checksum;
    char oem_id[6];
    std::uint8_t revision;
    std::uint32_t rsdt_address;
    std::uint32_t length;
    std::uint64_t xsdt_address;
    std::uint8_t extended_checksum;
    std::uint8_t reserved[3];
};
static_assert(sizeof(Rsdp) == 36);

/// System description table header [ACPI-6.5 §5.2.6].
struct [[gnu::packed]] TableHeader {
    char signature[4];
    std::uint32_t length;
    std::uint8_t revision;
    std::uint8_t checksum;
    char rest[26];
};
static_assert(sizeof(TableHeader) == 36);

constexpr std::uint64_t maximum_table{1ull << 20};

bool sums_to_zero(std::span<const std::byte> bytes)
{
    std::uint8_t sum{0};
    for (const std::byte byte : bytes)
        sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(byte));
    return sum == 0;
}

std::string_view text_of(const char* characters, std::size_t length)
{
    return {characters, length};
}

std::optional<HostPhysical> search(const FirmwareMemory& memory, HostRange area)
{
    const auto bytes = memory.at(area.begin, area.bytes);
    for (std::size_t offset = 0; offset + rsdp_first_part <= bytes.size(); offset += rsdp_alignment)
        if (std::memcmp(bytes.data() + offset, rsdp_signature.data(), rsdp_signature.size()) == 0 &&
            sums_to_zero(bytes.subspan(offset, rsdp_first_part)))
            return area.begin.plus(offset);
    return std::nullopt;
}

/// Where the list of tables is, and how wide its addresses are.
struct RootTable {
    HostPhysical address;
    std::uint64_t entry_bytes;
    std::string_view signature;
};

Expected<RootTable> read_root(const FirmwareMemory& memory, HostPhysical rsdp)
{
    const auto first = memory.at(rsdp, rsdp_first_part);
    if (first.size() != rsdp_first_part || !sums_to_zero(first))
        return Error::malformed;
    Rsdp root{};
    std::memcpy(&root, first.data(), rsdp_first_part);
    if (text_of(root.signature, sizeof root.signature) != rsdp_signature)
        return Error::malformed;
    if (root.revision >= 2) {
        const auto whole = memory.at(rsdp, sizeof(Rsdp));
        if (whole.size() != sizeof(Rsdp) || !sums_to_zero(whole))
            return Error::malformed;
        std::memcpy(&root, whole.data(), sizeof root);
        if (root.xsdt_address != 0)
            return RootTable{HostPhysical{root.xsdt_address}, sizeof(std::uint64_t), "XSDT"};
    }
    return RootTable{HostPhysical{root.rsdt_address}, sizeof(std::uint32_t), "RSDT"};
}

/// A table whose header, length and checksum are right.
Expected<std::span<const std::byte>> read_table(const FirmwareMemory& memory, HostPhysical address)
{
    const auto head = memory.at(address, sizeof(TableHeader));
    if (head.size() != sizeof(TableHeader))
        return Error::malformed;
    TableHeader header{};
    std::memcpy(&header, head.data(), sizeof header);
    if (header.length < sizeof(TableHeader) || header.length > maximum_table)
        return Error::malformed;
    const auto bytes = memory.at(address, header.length);
    if (bytes.size() != header.length || !sums_to_zero(bytes))
        return Error::malformed;
    return bytes;
}

bool has_signature(const FirmwareMemory& memory, HostPhysical address, std::string_view signature)
{
    const auto head = memory.at(address, signature.size());
    return head.size() == signature.size() &&
           std::memcmp(head.data(), signature.data(), signature.size()) == 0;
}

// ---- MADT [ACPI-6.5 §5.2.12]
// -------------------------------------------------------------------------------------

enum class MadtEntry : std::uint8_t {
    local_apic = 0,
    local_apic_override = 5,
    local_x2apic = 9
};
constexpr std::uint64_t madt_address_offset{36};
constexpr std::uint64_t madt_entries_offset{44};
using ProcessorEnabled = Bit<0>;

struct EntryHeader {
    std::uint8_t type;
    std::uint8_t length;
};
struct LocalApicEntry {
    EntryHeader header;
    std::uint8_t processor_uid;
    std::uint8_t apic_id;
    std::uint32_t flags;
};
struct LocalX2apicEntry {
    EntryHeader header;
    std::uint16_t reserved;
    std::uint32_t apic_id;
    std::uint32_t flags;
    std::uint32_t processor_uid;
};
struct [[gnu::packed]] OverrideEntry {
    EntryHeader header;
    std::uint16_t reserved;
    std::uint64_t address;
};
static_assert(sizeof(LocalApicEntry) == 8 && sizeof(LocalX2apicEntry) == 16 && sizeof(OverrideEntry) == 12);

void add_processor(ProcessorList& list, std::uint32_t apic_id, std::uint32_t flags)
{
    if (!ProcessorEnabled::get(flags))
        return;
    if (std::find(list.apic_ids.begin(), list.apic_ids.end(), apic_id) != list.apic_ids.end())
        return;
    if (!list.apic_ids.push_back(apic_id))
        ++list.left_out;
}

Status take_entry(const ByteReader& entry, MadtEntry type, ProcessorList& list)
{
    switch (type) {
    case MadtEntry::local_apic: {
        const auto processor = HV_TRY(entry.read<LocalApicEntry>(0));
        add_processor(list, processor.apic_id, processor.flags);
        return Done{};
    }
    case MadtEntry::local_x2apic: {
        const auto processor = HV_TRY(entry.read<LocalX2apicEntry>(0));
        add_processor(list, processor.apic_id, processor.flags);
        return Done{};
    }
    case MadtEntry::local_apic_override: {
        const auto override_entry = HV_TRY(entry.read<OverrideEntry>(0));
        list.local_apic = HostPhysical{override_entry.address};
        return Done{};
    }
    }
    return Done{};  // I/O APICs and the like are the control domain's business
}

// ---- FADT [ACPI-6.5 §5.2.9]
// --------------------------------------------------------------------------------------

constexpr std::uint64_t fadt_pm_timer_block{76};
constexpr std::uint64_t fadt_x_pm_timer_block{208};
constexpr std::uint8_t system_io_space{1};

}  // namespace

Expected<HostPhysical> search_rsdp(const FirmwareMemory& memory)
{
    const auto pointer = memory.at(HostPhysical{ebda_segment_pointer}, sizeof(std::uint16_t));
    if (pointer.size() == sizeof(std::uint16_t)) {
        std::uint16_t segment{};
        std::memcpy(&segment, pointer.data(), sizeof segment);
        const HostRange ebda{HostPhysical{std::uint64_t{segment} << 4}, ebda_searched};
        if (segment != 0)
            if (const auto found = search(memory, ebda))
                return *found;
    }
    if (const auto found = search(memory, bios_area))
        return *found;
    return Error::not_found;
}

Expected<std::span<const std::byte>> find_acpi_table(const FirmwareMemory& memory, HostPhysical rsdp,
                                                     std::string_view signature, TextWriter& why,
                                                     unsigned earlier)
{
    const auto root = read_root(memory, rsdp);
    const auto list =
        root ? read_table(memory, root.value().address) : Expected<std::span<const std::byte>>{root.error()};
    if (!list || !has_signature(memory, root.value().address, root.value().signature)) {
        say(why, "ACPI's root tables are damaged");
        return Error::malformed;
    }
    const ByteReader reader{list.value()};
    for (std::uint64_t offset = sizeof(TableHeader); list.value().size() - offset >= root.value().entry_bytes;
         offset += root.value().entry_bytes) {
        const bool wide = root.value().entry_bytes == sizeof(std::uint64_t);
        const HostPhysical address{wide ? HV_TRY(reader.read<std::uint64_t>(offset))
                                        : HV_TRY(reader.read<std::uint32_t>(offset))};
        if (!has_signature(memory, address, signature) || earlier-- != 0)
            continue;
        const auto table = read_table(memory, address);
        if (!table)
            say(why, "ACPI's table ", signature, " is damaged");
        return table;
    }
    say(why, "ACPI has no table ", signature);
    return Error::not_found;
}

Expected<ProcessorList> parse_madt(std::span<const std::byte> table, TextWriter& why)
{
    const ByteReader reader{table};
    ProcessorList list{};
    const auto address = reader.read<std::uint32_t>(madt_address_offset);
    bool good = address.has_value();
    if (good)
        list.local_apic = HostPhysical{address.value()};
    for (std::uint64_t offset = madt_entries_offset; good && offset < table.size();) {
        const auto header = reader.read<EntryHeader>(offset);
        const auto bytes = header ? reader.slice(offset, header.value().length)
                                  : Expected<std::span<const std::byte>>{header.error()};
        good = bytes && header.value().length >= sizeof(EntryHeader) &&
               take_entry(ByteReader{bytes.value()}, static_cast<MadtEntry>(header.value().type), list);
        offset += good ? header.value().length : 0;
    }
    if (!good) {
        say(why, "ACPI's table of processors (MADT) is damaged");
        return Error::malformed;
    }
    return list;
}

Expected<std::uint16_t> power_timer_port(std::span<const std::byte> fadt)
{
    const ByteReader reader{fadt};
    const auto space = reader.read<std::uint8_t>(fadt_x_pm_timer_block);
    const auto wide = reader.read<std::uint64_t>(fadt_x_pm_timer_block + 4);
    std::uint64_t port{0};
    if (space && wide && space.value() == system_io_space)
        port = wide.value();
    if (port == 0)
        port = HV_TRY(reader.read<std::uint32_t>(fadt_pm_timer_block));
    if (port == 0 || port > 0xffff)
        return Error::not_found;
    return static_cast<std::uint16_t>(port);
}

}  // namespace hv::core
