// SPDX-License-Identifier: MIT
//
// What the loader told a multiboot guest: its command line and its memory [MB1-0.6.96 §3.3].
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace guest {

/// The words after the kernel's file name; empty where there are none.
std::string_view command_line();

/// The word at `index` of the command line, or an empty one.
std::string_view command_word(unsigned index);

/// A decimal number, or nothing.
std::optional<std::uint64_t> parse_number(std::string_view text);

/// The bytes of its ramdisk, or none.
std::string_view first_module();

/// KiB of usable memory, by the loader's map.
std::uint64_t memory_kb();

/// The end of the usable memory that begins at 1 MiB, below 4 GiB.
std::uint64_t memory_end();

}  // namespace guest

/// What each guest is; power_off follows its return.
extern "C" void guest_main();
