// SPDX-License-Identifier: MIT
//
// The typed proofs of the loader's stages: each stage takes those before it, so that none can be skipped, and
// what a proof holds has been checked against the file.  All are views: the file's bytes must outlive them
// and must not change.
#pragma once

#include <optional>
#include <string_view>

#include "hv/base/bytes.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/loader/diagnostics.hpp"
#include "hv/loader/elf_format.hpp"
#include "hv/loader/limits.hpp"
#include "hv/loader/module_memory.hpp"

namespace hv::loader {

/// Stage 1: an ELF64 relocatable object for x86-64 whose section headers lie inside the file.
struct CheckedHeader {
    std::uint64_t section_headers;  ///< file offset
    std::uint16_t section_count;
    std::uint16_t name_section;
};

/// Which protection a section's memory gets.
enum class SectionPlace : std::uint8_t {
    none,  ///< not part of the image
    text,
    rodata,
    data,
};

struct Section {
    std::string_view name;
    std::uint64_t header{};  ///< file offset of its header, for diagnostics
    std::uint64_t offset{};  ///< of its bytes in the file
    std::uint64_t size{};
    std::uint64_t alignment{1};
    std::uint64_t image_offset{};  ///< set by stage 5
    std::uint32_t type{};
    std::uint32_t link{};
    std::uint32_t info{};
    SectionPlace place{SectionPlace::none};
};

/// Stage 2: every section has bytes inside the file, a known type and a legal protection.
struct SectionTable {
    StaticVector<Section, maximum_sections> sections;
    std::size_t symbols{};     ///< index of the one symbol table
    std::size_t manifest{};    ///< index of .hv.manifest
    std::size_t host_table{};  ///< index of .hv.host, or 0
};

/// Stage 3: every symbol has a name in the string table and is defined in a section of the file.
struct SymbolTable {
    std::uint64_t offset{};  ///< of the first symbol in the file
    std::uint64_t count{};
    std::uint64_t names{};  ///< of the string table
    std::uint64_t names_bytes{};
};

/// A byte of the image, named by section.
struct Location {
    std::size_t section{};
    std::uint64_t offset{};
};

/// One relocation, resolved as far as the file alone allows.
struct Relocation {
    Location at;
    Location target;  ///< the symbol's place; the addend is apart, since target + addend may lie outside
    std::int64_t addend{};
    std::uint32_t type{};
    std::uint64_t file_offset{};  ///< of the entry, for diagnostics
};

/// Stage 4: every relocation of the image is of a kind on the white list, inside its section, and against a
/// symbol that is part of the image.
struct RelocationTable {
    std::uint64_t count{};
};

/// Reading what the proofs vouch for.  `index` is below the proof's count.
[[nodiscard]] Elf64_Sym symbol_at(const ByteReader& file, const SymbolTable& symbols, std::uint64_t index);
[[nodiscard]] std::string_view symbol_name(std::span<const std::byte> file, const SymbolTable& symbols,
                                           const Elf64_Sym& symbol);

}  // namespace hv::loader
