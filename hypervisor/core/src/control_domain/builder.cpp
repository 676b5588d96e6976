// SPDX-License-Identifier: MIT
//
// The kernel goes to its preferred address or the next that fits; everything else is stacked downwards from the top of
// the highest RAM range below 4 GiB.  Specification: [BOOT-6.1 "64-bit Boot Protocol"]: identity-mapped pages, CS 0x10,
// DS 0x18, interrupts off, RSI = boot parameters.
#include "hv/core/control_domain/builder.hpp"

#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/base/checked.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/control_domain/linux_image.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {
namespace {

namespace at = protocol::linux_boot;

constexpr std::uint64_t four_gib{1ull << 32};
constexpr std::uint64_t large_page{1ull << 21};
constexpr std::uint64_t page_tables_bytes{6 * page_size};  // PML4, PDPT, four page directories
constexpr std::uint64_t present_writable{0x3};
constexpr std::uint64_t present_writable_large{0x83};
constexpr std::uint64_t gdt_code_64{0x00af'9b00'0000'ffff};  // [SDM3-083 §3.4.5]: present, DPL 0, code, L
constexpr std::uint64_t gdt_data{0x00cf'9300'0000'ffff};
constexpr std::uint16_t gdt_bytes{4 * 8};
constexpr std::uint8_t undefined_loader{0xff};

using Map = StaticVector<E820Entry, at::e820_capacity>;

std::byte* pointer(std::uint64_t address)
{
    return static_cast<std::byte*>(platform::to_pointer(HostPhysical{address}));
}

template <typename T>
void put(std::byte* base, std::uint32_t offset, T value)
{
    std::memcpy(base + offset, &value, sizeof value);
}

Error refuse(TextWriter& why, Error error, std::string_view sentence)
{
    why.append(sentence);
    return error;
}

/// The lowest address of RAM at or above the kernel's wish where `bytes` fit below `ceiling`.
Expected<std::uint64_t> place_kernel(const LinuxImage& image, std::span<const E820Entry> memory, std::uint64_t ceiling,
                                     TextWriter& why)
{
    for (const E820Entry& entry : memory) {
        if (entry.type != E820Type::ram || entry.begin + entry.bytes <= image.preferred_address)
            continue;
        const std::uint64_t from = entry.begin > image.preferred_address ? entry.begin : image.preferred_address;
        const auto aligned = checked_align_up(from, image.alignment);
        const std::uint64_t end = entry.begin + entry.bytes < ceiling ? entry.begin + entry.bytes : ceiling;
        if (aligned && *aligned < end && end - *aligned >= image.memory_size &&
            (image.relocatable || *aligned == image.preferred_address))
            return *aligned;
    }
    return refuse(why, Error::no_memory, "dom0's memory has no room for its kernel: raise dom0_mem");
}

/// Hands out pieces of one RAM range from its top downwards.
class TopDown {
public:
    TopDown(std::uint64_t bottom, std::uint64_t top) : bottom_{bottom}, top_{align_down(top, page_size)} {}

    Expected<std::uint64_t> take(std::uint64_t bytes)
    {
        const auto rounded = checked_align_up(bytes, page_size);
        if (!rounded || top_ - bottom_ < *rounded)
            return Error::no_memory;
        top_ -= *rounded;
        return top_;
    }
    [[nodiscard]] std::uint64_t top() const { return top_; }

private:
    std::uint64_t bottom_;
    std::uint64_t top_;
};

const E820Entry* highest_ram_below_4_gib(std::span<const E820Entry> memory)
{
    const E820Entry* best{};
    for (const E820Entry& entry : memory)
        if (entry.type == E820Type::ram && entry.begin + entry.bytes <= four_gib && entry.bytes >= large_page)
            best = &entry;
    return best;
}

void write_page_tables(std::uint64_t base)
{
    std::byte* tables = pointer(base);
    std::memset(tables, 0, page_tables_bytes);
    put(tables, 0, base + page_size + present_writable);
    for (std::uint32_t gib = 0; gib < 4; ++gib) {
        put(tables + page_size, gib * 8, base + (2 + gib) * page_size + present_writable);
        for (std::uint32_t index = 0; index < 512; ++index)
            put(tables + (2 + gib) * page_size, index * 8,
                (std::uint64_t{gib} << 30) + index * large_page + present_writable_large);
    }
}

void write_gdt(std::uint64_t base)
{
    std::memset(pointer(base), 0, gdt_bytes);
    put(pointer(base), 0x10, gdt_code_64);
    put(pointer(base), 0x18, gdt_data);
}

/// The map with the ACPI pages cut out of the RAM range that they were taken from.
Expected<Map> with_acpi(std::span<const E820Entry> memory, std::uint64_t acpi, TextWriter& why)
{
    Map map{};
    bool fits{true};
    for (const E820Entry& entry : memory) {
        if (entry.type != E820Type::ram || acpi < entry.begin || acpi >= entry.begin + entry.bytes) {
            fits = map.push_back(entry) && fits;
            continue;
        }
        const std::uint64_t after = acpi + edited_acpi_capacity;
        const std::uint64_t end = entry.begin + entry.bytes;
        fits = map.push_back({entry.begin, acpi - entry.begin, E820Type::ram}) && fits;
        fits = map.push_back({acpi, edited_acpi_capacity, E820Type::acpi_tables}) && fits;
        if (after < end)
            fits = map.push_back({after, end - after, E820Type::ram}) && fits;
    }
    if (!fits)
        return refuse(why, Error::out_of_range, "the firmware's memory map has more entries than Linux takes");
    return map;
}

struct Places {
    std::uint64_t kernel, initramfs, command_line, parameters, page_table, gdt, acpi;
};

Expected<Places> place(const ControlDomainPlan& plan, const LinuxImage& image, TextWriter& why)
{
    const E820Entry* ram = highest_ram_below_4_gib(plan.memory);
    if (ram == nullptr)
        return refuse(why, Error::no_memory, "dom0 has no memory below 4 GiB");
    TopDown top{ram->begin, ram->begin + ram->bytes};
    const auto acpi = top.take(edited_acpi_capacity);
    const auto initramfs = top.take(plan.initramfs.size());
    const auto page_table = top.take(page_tables_bytes);
    const auto gdt = top.take(page_size);
    const auto command_line = top.take(plan.command_line.size() + control_domain_arguments.size() + 1);
    const auto parameters = top.take(at::parameters_size);
    if (!acpi || !initramfs || !page_table || !gdt || !command_line || !parameters)
        return refuse(why, Error::no_memory, "dom0's memory has no room for its initramfs: raise dom0_mem");
    const std::uint64_t kernel = HV_TRY(place_kernel(image, plan.memory, top.top(), why));
    return Places{kernel,           initramfs.value(),  command_line.value(), parameters.value(),
                  page_table.value(), gdt.value(), acpi.value()};
}

void write_command_line(const ControlDomainPlan& plan, std::uint64_t base)
{
    std::byte* text = pointer(base);
    std::memcpy(text, plan.command_line.data(), plan.command_line.size());
    text += plan.command_line.size();
    std::memcpy(text, control_domain_arguments.data(), control_domain_arguments.size());
    text[control_domain_arguments.size()] = std::byte{0};
}

void write_parameters(const ControlDomainPlan& plan, const LinuxImage& image, const Places& places, const Map& map)
{
    std::byte* zero_page = pointer(places.parameters);
    std::memset(zero_page, 0, at::parameters_size);
    std::memcpy(zero_page + LinuxImage::header_begin, image.header.data(), image.header.size());
    put(zero_page, at::type_of_loader, undefined_loader);
    put(zero_page, at::cmd_line_ptr, static_cast<std::uint32_t>(places.command_line));
    put(zero_page, at::ext_cmd_line_ptr, static_cast<std::uint32_t>(places.command_line >> 32));
    if (!plan.initramfs.empty()) {
        put(zero_page, at::ramdisk_image, static_cast<std::uint32_t>(places.initramfs));
        put(zero_page, at::ext_ramdisk_image, static_cast<std::uint32_t>(places.initramfs >> 32));
        put(zero_page, at::ramdisk_size, static_cast<std::uint32_t>(plan.initramfs.size()));
        put(zero_page, at::ext_ramdisk_size, static_cast<std::uint32_t>(plan.initramfs.size() >> 32));
    }
    put(zero_page, at::acpi_rsdp_addr, places.acpi);
    put(zero_page, at::e820_entries, static_cast<std::uint8_t>(map.size()));
    std::uint32_t offset{at::e820_table};
    for (const E820Entry& entry : map) {
        put(zero_page, offset, entry.begin);
        put(zero_page, offset + 8, entry.bytes);
        put(zero_page, offset + 16, static_cast<std::uint32_t>(entry.type));
        offset += 20;
    }
}

}  // namespace

Expected<ControlDomainEntry> build_control_domain(const ControlDomainPlan& plan, TextWriter& why)
{
    const LinuxImage image = HV_TRY(parse_linux_image(plan.kernel, why));
    if (plan.command_line.size() + control_domain_arguments.size() > image.command_line_limit)
        return refuse(why, Error::out_of_range, "dom0's command line is longer than its kernel takes");
    const Places places = HV_TRY(place(plan, image, why));
    const Map map = HV_TRY(with_acpi(plan.memory, places.acpi, why));

    std::byte* acpi = pointer(places.acpi);
    std::memset(acpi, 0, edited_acpi_capacity);
    HV_TRY(edit_acpi_tables(plan.firmware, plan.rsdp, plan.apic_id, {acpi, edited_acpi_capacity},
                            HostPhysical{places.acpi}, why));
    std::memcpy(pointer(places.kernel), image.payload.data(), image.payload.size());
    if (!plan.initramfs.empty())
        std::memcpy(pointer(places.initramfs), plan.initramfs.data(), plan.initramfs.size());
    write_command_line(plan, places.command_line);
    write_page_tables(places.page_table);
    write_gdt(places.gdt);
    write_parameters(plan, image, places, map);
    return ControlDomainEntry{.rip = places.kernel + at::entry_64,
                              .boot_parameters = places.parameters,
                              .page_table = places.page_table,
                              .gdt = places.gdt,
                              .gdt_limit = gdt_bytes - 1};
}

}  // namespace hv::core
