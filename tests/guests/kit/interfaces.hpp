// SPDX-License-Identifier: MIT
//
// What a guest finds of its hypervisor by CPUID: blocks of leaves from 0x40000000 on, each with a signature
// of twelve letters.  Which of them are known is told here once for all test guests; what they offer is read
// from their leaves.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace guest {

struct Block {
    std::uint32_t base;
    std::uint32_t maximum_leaf;
    std::array<char, 12> letters;

    [[nodiscard]] std::string_view signature() const { return {letters.data(), letters.size()}; }
};

/// The hypervisor bit of CPUID Fn0000_0001 ECX.
bool hypervisor_present();

/// The block at index `index` (0x40000000 + index * 0x100), or nothing where none is.
std::optional<Block> block_at(std::uint32_t index);

/// The first block with this signature.
std::optional<Block> find_block(std::string_view signature);

inline constexpr std::uint32_t searched_blocks{8};
inline constexpr std::string_view viridian_signature{"Microsoft Hv"};
inline constexpr std::string_view novell_signature{"NovellXenExt"};
inline constexpr std::string_view xen_signature{"XenVMMXenVMM"};

/// `guest: begin`, and what every test guest says of its machine.
void say_begin(std::string_view name);
void say_end();

}  // namespace guest
