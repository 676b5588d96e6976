// SPDX-License-Identifier: MIT
//
// Kernel files made by hand for tests: just enough of each kind, field by field, so that a test can spoil
// one.
#pragma once

#include <cstdint>
#include <vector>

#include "base/byte_buffer.hpp"

namespace hv::xl::test {

/// A bzImage of protocol 2.15 with `payload_bytes` behind one setup sector and `trailing` bytes behind that.
inline ByteBuffer bzimage(bool wide, std::uint32_t payload_bytes = 0x1000, std::size_t trailing = 0)
{
    ByteBuffer file{1024 + payload_bytes + trailing};
    file.set<std::uint8_t>(0x1f1, 1);                   // setup_sects
    file.set<std::uint32_t>(0x1f4, payload_bytes / 16); // syssize
    file.set<std::uint16_t>(0x1fe, 0xaa55);
    file.set<std::uint8_t>(0x200, 0xeb);
    file.set<std::uint8_t>(0x201, 0x6a);                // the header ends at 0x26c
    file.set<std::uint32_t>(0x202, 0x5372'6448);
    file.set<std::uint16_t>(0x206, 0x020f);
    file.set<std::uint8_t>(0x211, 1);                   // LOADED_HIGH
    file.set<std::uint32_t>(0x22c, 0x7fff'ffff);        // initrd_addr_max
    file.set<std::uint32_t>(0x230, 0x20'0000);          // kernel_alignment
    file.set<std::uint8_t>(0x234, 1);                   // relocatable
    file.set<std::uint16_t>(0x236, wide ? 0x3 : 0x4);
    file.set<std::uint32_t>(0x238, 2047);
    file.set<std::uint64_t>(0x258, 0x100'0000);         // pref_address
    file.set<std::uint32_t>(0x260, 0x80'0000);          // init_size
    for (std::size_t i = 0; i < payload_bytes; ++i)
        file.set<std::uint8_t>(1024 + i, static_cast<std::uint8_t>(i * 7));
    return file;
}

/// One PT_LOAD at 1 MiB (virtual: 3 GiB + 1 MiB) with 64 bytes in the file and 256 in memory.  With `note`, a
/// second program header for a PVH note that names the entry 1 MiB + 4.
inline ByteBuffer elf(bool wide, bool note)
{
    const std::size_t header{wide ? 64u : 52u};
    const std::size_t entry_bytes{wide ? 56u : 32u};
    const std::size_t data{header + 2 * entry_bytes};
    const std::size_t note_at{data + 64};
    ByteBuffer file{note_at + 12 + 4 + 8};
    const auto word = [&](std::size_t offset, std::uint64_t value) {
        if (wide)
            file.set<std::uint64_t>(offset, value);
        else
            file.set<std::uint32_t>(offset, static_cast<std::uint32_t>(value));
    };
    file.set<std::uint32_t>(0, 0x464c'457f);
    file.set<std::uint8_t>(4, wide ? 2 : 1);
    file.set<std::uint8_t>(5, 1);
    file.set<std::uint8_t>(6, 1);
    file.set<std::uint16_t>(16, 2);
    file.set<std::uint16_t>(18, wide ? 62 : 3);
    word(24, 0xc010'0004);
    word(wide ? 32 : 28, header);
    file.set<std::uint16_t>(wide ? 54 : 42, static_cast<std::uint16_t>(entry_bytes));
    file.set<std::uint16_t>(wide ? 56 : 44, note ? 2 : 1);
    const auto program_header = [&](std::size_t at, std::uint32_t type, std::uint64_t offset,
                                    std::uint64_t physical, std::uint64_t bytes, std::uint64_t memory) {
        file.set<std::uint32_t>(at, type);
        word(at + (wide ? 8 : 4), offset);
        word(at + (wide ? 16 : 8), physical == 0 ? 0 : physical + 0xc000'0000);
        word(at + (wide ? 24 : 12), physical);
        word(at + (wide ? 32 : 16), bytes);
        word(at + (wide ? 40 : 20), memory);
        word(at + (wide ? 48 : 28), 4);
    };
    program_header(header, 1, data, 0x10'0000, 64, 256);
    program_header(header + entry_bytes, 4, note_at, 0, 12 + 4 + (wide ? 8 : 4), 0);
    for (std::size_t i = 0; i < 64; ++i)
        file.set<std::uint8_t>(data + i, static_cast<std::uint8_t>(i + 1));
    file.set<std::uint32_t>(note_at, 4);
    file.set<std::uint32_t>(note_at + 4, wide ? 8 : 4);
    file.set<std::uint32_t>(note_at + 8, 18);
    file.set<std::uint32_t>(note_at + 12, 0x006e'6558);  // the PVH note's name, "Xen"
    file.set<std::uint32_t>(note_at + 16, 0x10'0004);
    return file;
}

/// A flat multiboot kernel with address fields: header at file offset 16, loaded from file offset 0 to 1 MiB.
inline ByteBuffer multiboot_flat(std::uint32_t flags = 0x1'0003)
{
    ByteBuffer file{256};
    file.set<std::uint32_t>(16, 0x1bad'b002);
    file.set<std::uint32_t>(20, flags);
    file.set<std::uint32_t>(24, 0u - 0x1bad'b002u - flags);
    file.set<std::uint32_t>(28, 0x10'0010);  // header_addr
    file.set<std::uint32_t>(32, 0x10'0000);  // load_addr
    file.set<std::uint32_t>(36, 0x10'0080);  // load_end_addr
    file.set<std::uint32_t>(40, 0x10'0200);  // bss_end_addr
    file.set<std::uint32_t>(44, 0x10'0040);  // entry_addr
    return file;
}

/// An ELF file with a multiboot header in its segment.
inline ByteBuffer multiboot_elf(bool wide)
{
    ByteBuffer file{elf(wide, false)};
    const std::size_t data{(wide ? 64u : 52u) + 2 * (wide ? 56u : 32u)};
    const std::size_t at{(data + 3) / 4 * 4};
    file.set<std::uint32_t>(at, 0x1bad'b002);
    file.set<std::uint32_t>(at + 4, 0);
    file.set<std::uint32_t>(at + 8, 0u - 0x1bad'b002u);
    return file;
}

}  // namespace hv::xl::test
