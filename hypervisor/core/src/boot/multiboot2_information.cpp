// SPDX-License-Identifier: MIT
//
// Multiboot2's boot information: see loader_information.hpp.  A list of tags, each with a type and a size,
// padded to eight bytes [MB2-2.0 §3.6].
#include <array>
#include <cstring>

#include "hv/base/bytes.hpp"
#include "hv/base/checked.hpp"
#include "hv/core/boot/loader_information.hpp"

namespace hv::core {

namespace {

enum class Tag : std::uint32_t {
    end = 0,
    command_line = 1,
    module = 3,
    memory_map = 6,
    acpi_old = 14,
    acpi_new = 15
};

struct TagHeader {
    std::uint32_t type;
    std::uint32_t size;  // with this header, without the padding
};
/// The fixed part of the memory map tag; entries follow, each entry_size bytes.
struct MemoryMapTag {
    TagHeader header;
    std::uint32_t entry_size;
    std::uint32_t entry_version;
};
struct MemoryMapEntry {
    std::uint64_t base_addr;
    std::uint64_t length;
    std::uint32_t type;
    std::uint32_t reserved;
};
/// The fixed part of a module tag; its text follows.
struct ModuleTag {
    TagHeader header;
    std::uint32_t mod_start;
    std::uint32_t mod_end;
};
static_assert(sizeof(MemoryMapTag) == 16 && sizeof(MemoryMapEntry) == 24 && sizeof(ModuleTag) == 16);

constexpr std::uint64_t tag_alignment{8};
constexpr std::uint64_t maximum_information{1ull << 20};
constexpr std::size_t maximum_raw_entries{256};
constexpr std::size_t rsdp_minimum{20};

/// One tag's bytes, header included, and where they lie.
struct TagView {
    TagHeader header;
    ByteReader bytes;
    std::uint64_t offset;
};

Status fail(TextWriter& why, Error error, std::string_view what)
{
    say(why, "the multiboot2 information is not usable: ", what);
    return error;
}

/// The text from `offset` to its terminating zero, which must be inside the tag.
Expected<std::string_view> text_in(const TagView& tag, std::uint64_t offset)
{
    if (offset > tag.bytes.size())
        return Error::malformed;
    const auto bytes = HV_TRY(tag.bytes.slice(offset, tag.bytes.size() - offset));
    const auto* const begin = reinterpret_cast<const char*>(bytes.data());
    const void* const end = bytes.empty() ? nullptr : std::memchr(begin, 0, bytes.size());
    if (end == nullptr)
        return Error::malformed;
    return std::string_view{begin, static_cast<std::size_t>(static_cast<const char*>(end) - begin)};
}

Status take_command_line(const TagView& tag, BootInformation& out, TextWriter& why)
{
    const auto text = text_in(tag, sizeof(TagHeader));
    if (!text)
        return fail(why, Error::malformed, "its command line does not end");
    if (!out.command_line.assign(text.value()))
        return fail(why, Error::limit_reached, "its command line is too long");
    return Done{};
}

Status take_memory_map(const TagView& tag, BootInformation& out, TextWriter& why)
{
    const auto fixed = tag.bytes.read<MemoryMapTag>(0);
    if (!fixed || fixed.value().entry_size < sizeof(MemoryMapEntry))
        return fail(why, Error::malformed, "its memory map has entries of the wrong size");
    std::array<E820Entry, maximum_raw_entries> raw{};
    std::size_t count{0};
    for (std::uint64_t offset = sizeof(MemoryMapTag); offset < tag.bytes.size();
         offset += fixed.value().entry_size) {
        const auto entry = tag.bytes.read<MemoryMapEntry>(offset);
        if (!entry)
            return fail(why, Error::malformed, "its memory map ends in the middle of an entry");
        if (count == raw.size())
            return fail(why, Error::limit_reached, "its memory map is too long");
        raw[count++] = {.begin = entry.value().base_addr,
                        .bytes = entry.value().length,
                        .type = static_cast<E820Type>(entry.value().type)};
    }
    const auto map = normalize_memory_map(std::span{raw}.first(count));
    if (!map)
        return fail(why, map.error(), "its memory map is too long");
    out.memory = map.value();
    return Done{};
}

Status take_module(const TagView& tag, BootInformation& out, TextWriter& why)
{
    const auto fixed = tag.bytes.read<ModuleTag>(0);
    if (!fixed || fixed.value().mod_end < fixed.value().mod_start)
        return fail(why, Error::malformed, "a module ends before it begins");
    const auto text = text_in(tag, sizeof(ModuleTag));
    RawModule module{
        .range = {HostPhysical{fixed.value().mod_start}, fixed.value().mod_end - fixed.value().mod_start},
        .text = {}};
    if (!text)
        return fail(why, Error::malformed, "the text of a module does not end");
    if (!module.text.assign(text.value()))
        return fail(why, Error::limit_reached, "the text of a module is too long");
    if (!out.raw_modules.push_back(module))
        return fail(why, Error::limit_reached, "it has too many modules");
    return Done{};
}

Status take_tag(const TagView& tag, HostPhysical start, BootInformation& out, TextWriter& why)
{
    switch (static_cast<Tag>(tag.header.type)) {
    case Tag::command_line: return take_command_line(tag, out, why);
    case Tag::memory_map: return take_memory_map(tag, out, why);
    case Tag::module: return take_module(tag, out, why);
    case Tag::acpi_old:
    case Tag::acpi_new:
        if (tag.bytes.size() < sizeof(TagHeader) + rsdp_minimum)
            return fail(why, Error::malformed, "its ACPI root pointer is cut short");
        if (!out.has_rsdp || static_cast<Tag>(tag.header.type) == Tag::acpi_new)
            out.rsdp = start.plus(tag.offset + sizeof(TagHeader));
        out.has_rsdp = true;
        return Done{};
    case Tag::end: break;
    }
    return Done{};
}

Status check(const BootInformation& information, TextWriter& why)
{
    if (information.memory.empty())
        return fail(why, Error::malformed, "it has no memory map");
    for (const RawModule& module : information.raw_modules)
        if (!is_ram(information.memory, module.range))
            return fail(why, Error::malformed, "a module is not in RAM");
    return Done{};
}

}  // namespace

Status parse_multiboot2_information(const FirmwareMemory& memory, HostPhysical start,
                                    BootInformation& information, TextWriter& why)
{
    const auto size_bytes = memory.at(start, sizeof(std::uint64_t));
    if (size_bytes.size() != sizeof(std::uint64_t))
        return fail(why, Error::malformed, "it is out of reach");
    std::uint32_t total{};
    std::memcpy(&total, size_bytes.data(), sizeof total);
    const auto all = total <= maximum_information ? memory.at(start, total) : std::span<const std::byte>{};
    if (total < sizeof(std::uint64_t) || all.size() != total)
        return fail(why, Error::malformed, "its size is wrong");

    information.protocol = BootProtocol::multiboot2;
    const ByteReader reader{all};
    for (std::uint64_t offset = sizeof(std::uint64_t);;) {
        const auto header = reader.read<TagHeader>(offset);
        if (!header)
            return fail(why, Error::malformed, "it ends without an end tag");
        if (static_cast<Tag>(header.value().type) == Tag::end)
            return check(information, why);
        const auto bytes = reader.slice(offset, header.value().size);
        if (header.value().size < sizeof(TagHeader) || !bytes)
            return fail(why, Error::malformed, "a tag has the wrong size");
        HV_TRY(take_tag({.header = header.value(), .bytes = ByteReader{bytes.value()}, .offset = offset},
                        start, information, why));
        offset = *checked_align_up<std::uint64_t>(offset + header.value().size, tag_alignment);
    }
}

}  // namespace hv::core
