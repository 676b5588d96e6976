// SPDX-License-Identifier: MIT
//
// The three structures, by offset.
#include "image/start_structures.hpp"

#include "hv/protocol/linux_boot.hpp"

namespace hv::xl {

ByteBuffer zero_page(const LinuxSetup& setup, const StartAddresses& addresses,
                     const std::vector<MemoryMapEntry>& map)
{
    using namespace protocol::linux_boot;
    constexpr std::uint8_t unregistered_loader{0xff};
    ByteBuffer page{zero_page_bytes};
    page.set_bytes(setup_sects, setup.setup_header);
    page.set<std::uint64_t>(acpi_rsdp_addr, addresses.rsdp);
    page.set<std::uint8_t>(type_of_loader, unregistered_loader);
    page.set<std::uint32_t>(code32_start, static_cast<std::uint32_t>(addresses.kernel));
    page.set<std::uint32_t>(ramdisk_image, static_cast<std::uint32_t>(addresses.ramdisk));
    page.set<std::uint32_t>(ramdisk_size, static_cast<std::uint32_t>(addresses.ramdisk_bytes));
    page.set<std::uint32_t>(cmd_line_ptr, static_cast<std::uint32_t>(addresses.cmdline));
    page.set<std::uint8_t>(e820_entries, static_cast<std::uint8_t>(map.size()));
    std::size_t at{e820_table};
    for (const MemoryMapEntry& entry : map) {
        page.set<std::uint64_t>(at, entry.address);
        page.set<std::uint64_t>(at + 8, entry.bytes);
        page.set<std::uint32_t>(at + 16, static_cast<std::uint32_t>(entry.type));
        at += 20;
    }
    return page;
}

ByteBuffer pvh_start_info(std::uint64_t address, const StartAddresses& addresses,
                          const std::vector<MemoryMapEntry>& map)
{
    constexpr std::uint32_t magic{0x336e'c578};
    constexpr std::uint64_t info_bytes{56};
    constexpr std::uint64_t module_bytes{32};
    const bool has_module{addresses.ramdisk != 0};
    const std::uint64_t map_at{address + info_bytes + (has_module ? module_bytes : 0)};
    ByteBuffer info;
    info.put<std::uint32_t>(magic);
    info.put<std::uint32_t>(1);  // version
    info.put<std::uint32_t>(0);  // flags
    info.put<std::uint32_t>(has_module ? 1 : 0);
    info.put<std::uint64_t>(has_module ? address + info_bytes : 0);
    info.put<std::uint64_t>(addresses.cmdline);
    info.put<std::uint64_t>(addresses.rsdp);
    info.put<std::uint64_t>(map_at);
    info.put<std::uint32_t>(static_cast<std::uint32_t>(map.size()));
    info.put<std::uint32_t>(0);
    HV_ASSERT(info.size() == info_bytes);
    if (has_module) {
        info.put<std::uint64_t>(addresses.ramdisk);
        info.put<std::uint64_t>(addresses.ramdisk_bytes);
        info.put<std::uint64_t>(0);  // no command line of its own
        info.put<std::uint64_t>(0);
    }
    for (const MemoryMapEntry& entry : map) {
        info.put<std::uint64_t>(entry.address);
        info.put<std::uint64_t>(entry.bytes);
        info.put<std::uint32_t>(static_cast<std::uint32_t>(entry.type));
        info.put<std::uint32_t>(0);
    }
    return info;
}

ByteBuffer multiboot_information(std::uint64_t address, const StartAddresses& addresses,
                                 const std::vector<MemoryMapEntry>& map, const std::string& cmdline,
                                 const std::string& module_text)
{
    constexpr std::uint32_t MEMORY{1u << 0}, CMDLINE{1u << 2}, MODS{1u << 3}, MMAP{1u << 6},
        LOADER_NAME{1u << 9};
    constexpr std::size_t info_bytes{120};
    ByteBuffer info{info_bytes};
    const auto here = [&] { return static_cast<std::uint32_t>(address + info.size()); };
    const auto text = [&](std::size_t field, const std::string& words) {
        info.set<std::uint32_t>(field, here());
        info.put_text(words);
        info.put<std::uint8_t>(0);
        info.align(4);
    };
    info.set<std::uint32_t>(0, MEMORY | CMDLINE | MODS | MMAP | LOADER_NAME);
    info.set<std::uint32_t>(4, static_cast<std::uint32_t>(map[0].bytes >> 10));  // KiB from 0
    info.set<std::uint32_t>(8, static_cast<std::uint32_t>(map[2].bytes >> 10));  // KiB from 1 MiB
    info.set<std::uint32_t>(44, static_cast<std::uint32_t>(map.size() * 24));
    info.set<std::uint32_t>(48, here());
    for (const MemoryMapEntry& entry : map) {
        info.put<std::uint32_t>(20);  // bytes of the entry without this field
        info.put<std::uint64_t>(entry.address);
        info.put<std::uint64_t>(entry.bytes);
        info.put<std::uint32_t>(static_cast<std::uint32_t>(entry.type));
    }
    text(16, cmdline);
    text(64, "Graft xl");
    if (addresses.ramdisk == 0)
        return info;
    const std::size_t module{info.size()};
    info.set<std::uint32_t>(20, 1);
    info.set<std::uint32_t>(24, here());
    info.put<std::uint32_t>(static_cast<std::uint32_t>(addresses.ramdisk));
    info.put<std::uint32_t>(static_cast<std::uint32_t>(addresses.ramdisk + addresses.ramdisk_bytes));
    info.put<std::uint32_t>(0);
    info.put<std::uint32_t>(0);
    text(module + 8, module_text);
    return info;
}

}  // namespace hv::xl
