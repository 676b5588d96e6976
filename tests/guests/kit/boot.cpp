// SPDX-License-Identifier: MIT
//
// The multiboot information, read by offset, and the guest's way from entry to power-off.
#include "boot.hpp"

#include <cstring>

#include "console.hpp"
#include "interrupts.hpp"
#include "machine.hpp"

extern "C" std::uint32_t guest_boot_magic;
extern "C" std::uint32_t guest_boot_information;

namespace guest {
namespace {

constexpr std::uint32_t loader_magic{0x2bad'b002};
constexpr std::uint32_t has_cmdline{1u << 2};
constexpr std::uint32_t has_modules{1u << 3};
constexpr std::uint32_t has_memory_map{1u << 6};
constexpr std::uint32_t usable{1};
constexpr std::uint64_t one_mib{1u << 20};

struct Information {
    std::uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4],
        mmap_length, mmap_addr;
};

struct [[gnu::packed]] MapEntry {
    std::uint32_t size;  ///< of the rest
    std::uint64_t address, bytes;
    std::uint32_t type;
};

const Information& information()
{
    return *reinterpret_cast<const Information*>(std::uintptr_t{guest_boot_information});
}

struct ModuleEntry {
    std::uint32_t start, end, string, reserved;
};

template <typename Visit>
void each_usable(Visit visit)
{
    if ((information().flags & has_memory_map) == 0)
        return;
    for (std::uint32_t at = 0; at + sizeof(MapEntry) <= information().mmap_length;) {
        MapEntry entry;
        std::memcpy(&entry, reinterpret_cast<const void*>(std::uintptr_t{information().mmap_addr} + at),
                    sizeof entry);
        if (entry.type == usable)
            visit(entry);
        at += entry.size + 4;
    }
}

std::string_view first_word(std::string_view text)
{
    const auto end = text.find(' ');
    return end == std::string_view::npos ? text : std::string_view{text.data(), end};
}

std::string_view after_first_word(std::string_view text)
{
    text.remove_prefix(first_word(text).size());
    while (text.starts_with(' '))
        text.remove_prefix(1);
    return text;
}

}  // namespace

std::string_view command_line()
{
    if ((information().flags & has_cmdline) == 0)
        return {};
    return after_first_word(reinterpret_cast<const char*>(std::uintptr_t{information().cmdline}));
}

std::string_view command_word(unsigned index)
{
    std::string_view rest{command_line()};
    for (; index > 0; --index)
        rest = after_first_word(rest);
    return first_word(rest);
}

std::optional<std::uint64_t> parse_number(std::string_view text)
{
    if (text.empty())
        return std::nullopt;
    std::uint64_t number{};
    for (const char digit : text)
        if (digit < '0' || digit > '9' || __builtin_mul_overflow(number, std::uint64_t{10}, &number) ||
            __builtin_add_overflow(number, static_cast<std::uint64_t>(digit - '0'), &number))
            return std::nullopt;
    return number;
}

std::string_view first_module()
{
    if ((information().flags & has_modules) == 0 || information().mods_count == 0)
        return {};
    const auto& module = *reinterpret_cast<const ModuleEntry*>(std::uintptr_t{information().mods_addr});
    return {reinterpret_cast<const char*>(std::uintptr_t{module.start}), module.end - module.start};
}

std::uint64_t memory_kb()
{
    std::uint64_t bytes{};
    each_usable([&](const MapEntry& entry) { bytes += entry.bytes; });
    return bytes >> 10;
}

std::uint64_t memory_end()
{
    std::uint64_t end{};
    each_usable([&](const MapEntry& entry) {
        if (entry.address <= one_mib && entry.address + entry.bytes > one_mib)
            end = entry.address + entry.bytes;
    });
    return end;
}

}  // namespace guest

extern "C" void guest_start()
{
    guest::install_interrupts();
    if (guest_boot_magic != guest::loader_magic) {
        guest::fact("trap", "not started by multiboot");
        guest::stop_for_good();
    }
    guest_main();
    guest::power_off();
}
