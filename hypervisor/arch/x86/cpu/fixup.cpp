// SPDX-License-Identifier: MIT
//
// Looking an address up in the fixup table that the linker collected.
#include "hv/arch/x86/cpu/fixup.hpp"

namespace {

struct FixupEntry {
    std::uint64_t from, to, recovery;
};

}  // namespace

extern "C" const FixupEntry fixup_table_begin[];
extern "C" const FixupEntry fixup_table_end[];

namespace hv::x86 {

std::uint64_t find_fixup(std::uint64_t rip)
{
    for (const FixupEntry* entry = fixup_table_begin; entry != fixup_table_end; ++entry)
        if (rip >= entry->from && rip < entry->to)
            return entry->recovery;
    return 0;
}

}  // namespace hv::x86
