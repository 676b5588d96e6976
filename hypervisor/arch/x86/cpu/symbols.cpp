// SPDX-License-Identifier: MIT
//
// Names for code addresses, from the table that the build makes out of the first link's symbols and the
// second link puts into the image: a count, sorted 32-bit offsets from the beginning of the text, 32-bit
// offsets of the names, the names.
#include "hv/arch/x86/cpu/panic_report.hpp"

#include <cstring>

extern "C" const char image_text_begin[];
extern "C" const char image_text_end[];

/// The linker's table; weakly empty in the first pass.
extern "C" const std::uint32_t symbol_count;
extern "C" const std::uint32_t symbol_offsets[];
extern "C" const std::uint32_t symbol_name_offsets[];
extern "C" const char symbol_names[];

namespace hv::x86 {

SymbolName find_symbol(std::uint64_t address)
{
    const auto begin = reinterpret_cast<std::uintptr_t>(image_text_begin);
    if (address < begin || address >= reinterpret_cast<std::uintptr_t>(image_text_end) || symbol_count == 0)
        return {};
    const std::uint64_t offset = address - begin;
    std::uint32_t low{0};
    std::uint32_t high{symbol_count};
    while (high - low > 1) {
        const std::uint32_t middle = low + (high - low) / 2;
        (symbol_offsets[middle] <= offset ? low : high) = middle;
    }
    if (symbol_offsets[low] > offset)
        return {};
    const char* const name = symbol_names + symbol_name_offsets[low];
    return {.name = {name, std::strlen(name)}, .offset = offset - symbol_offsets[low]};
}

}  // namespace hv::x86
