// SPDX-License-Identifier: MIT
//
// The PVH boot protocol's start info: see loader_information.hpp.  Its structures are named where their
// offsets are.
#include <array>
#include <cstring>

#include "hv/core/boot/loader_information.hpp"

namespace hv::core {

namespace {

constexpr std::uint32_t start_info_magic{0x336e'c578};
constexpr std::uint64_t maximum_modules{maximum_raw_modules};
constexpr std::uint64_t maximum_raw_entries{128};

/// struct hvm_start_info, version 1.
struct StartInfo {
    std::uint32_t magic;
    std::uint32_t version;
    std::uint32_t flags;
    std::uint32_t nr_modules;
    std::uint64_t modlist_paddr;
    std::uint64_t cmdline_paddr;
    std::uint64_t rsdp_paddr;
    std::uint64_t memmap_paddr;
    std::uint32_t memmap_entries;
    std::uint32_t reserved;
};
static_assert(sizeof(StartInfo) == 56);

/// struct hvm_modlist_entry.
struct ModuleEntry {
    std::uint64_t paddr;
    std::uint64_t size;
    std::uint64_t cmdline_paddr;
    std::uint64_t reserved;
};
static_assert(sizeof(ModuleEntry) == 32);

/// struct hvm_memmap_table_entry.
struct MemoryEntry {
    std::uint64_t addr;
    std::uint64_t size;
    std::uint32_t type;
    std::uint32_t reserved;
};
static_assert(sizeof(MemoryEntry) == 24);

template <typename T>
Expected<T> read(const FirmwareMemory& memory, std::uint64_t address)
{
    const auto bytes = memory.at(HostPhysical{address}, sizeof(T));
    if (bytes.size() != sizeof(T))
        return Error::malformed;
    T value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// A text that ends in zero within the capacity of `text`.
template <std::size_t Capacity>
Status read_text(const FirmwareMemory& memory, std::uint64_t address, FixedText<Capacity>& text)
{
    std::array<char, Capacity> characters{};
    for (std::size_t length = 0; length <= Capacity; ++length) {
        const auto character = HV_TRY(read<char>(memory, address + length));
        if (character == '\0')
            return text.assign({characters.data(), length}) ? Status{Done{}} : Status{Error::limit_reached};
        if (length < Capacity)
            characters[length] = character;
    }
    return Error::limit_reached;
}

Status fail(TextWriter& why, Error error, std::string_view what)
{
    say(why, "the PVH start info is not usable: ", what);
    return error;
}

Status read_memory_map(const FirmwareMemory& memory, const StartInfo& info, BootInformation& out,
                       TextWriter& why)
{
    if (info.version < 1 || info.memmap_paddr == 0 || info.memmap_entries == 0)
        return fail(why, Error::malformed, "it has no memory map");
    if (info.memmap_entries > maximum_raw_entries)
        return fail(why, Error::limit_reached, "its memory map is too long");
    std::array<E820Entry, maximum_raw_entries> raw{};
    for (std::uint32_t index = 0; index < info.memmap_entries; ++index) {
        const auto entry = read<MemoryEntry>(memory, info.memmap_paddr + index * sizeof(MemoryEntry));
        if (!entry)
            return fail(why, Error::malformed, "its memory map is out of reach");
        raw[index] = {.begin = entry.value().addr,
                      .bytes = entry.value().size,
                      .type = static_cast<E820Type>(entry.value().type)};
    }
    const auto map = normalize_memory_map(std::span{raw}.first(info.memmap_entries));
    if (!map)
        return fail(why, map.error(), "its memory map is too long");
    out.memory = map.value();
    return Done{};
}

Status read_modules(const FirmwareMemory& memory, const StartInfo& info, BootInformation& out,
                    TextWriter& why)
{
    if (info.nr_modules > maximum_modules)
        return fail(why, Error::limit_reached, "it has too many modules");
    for (std::uint32_t index = 0; index < info.nr_modules; ++index) {
        const auto entry = read<ModuleEntry>(memory, info.modlist_paddr + index * sizeof(ModuleEntry));
        if (!entry)
            return fail(why, Error::malformed, "its list of modules is out of reach");
        RawModule module{.range = {HostPhysical{entry.value().paddr}, entry.value().size}, .text = {}};
        if (!is_ram(out.memory, module.range))
            return fail(why, Error::malformed, "a module is not in RAM");
        if (entry.value().cmdline_paddr != 0 && !read_text(memory, entry.value().cmdline_paddr, module.text))
            return fail(why, Error::malformed, "the text of a module is out of reach or too long");
        if (!out.raw_modules.push_back(module))
            return fail(why, Error::limit_reached, "it has too many modules");
    }
    return Done{};
}

}  // namespace

Status parse_pvh_start_info(const FirmwareMemory& memory, HostPhysical start_info,
                            BootInformation& information, TextWriter& why)
{
    const auto info = read<StartInfo>(memory, start_info.raw());
    if (!info)
        return fail(why, Error::malformed, "it is out of reach");
    if (info.value().magic != start_info_magic)
        return fail(why, Error::malformed, "its magic number is wrong");
    information.protocol = BootProtocol::pvh;
    HV_TRY(read_memory_map(memory, info.value(), information, why));
    HV_TRY(read_modules(memory, info.value(), information, why));
    if (info.value().cmdline_paddr != 0 &&
        !read_text(memory, info.value().cmdline_paddr, information.command_line))
        return fail(why, Error::malformed, "its command line is out of reach or too long");
    information.rsdp = HostPhysical{info.value().rsdp_paddr};
    information.has_rsdp = info.value().rsdp_paddr != 0;
    return Done{};
}

}  // namespace hv::core
