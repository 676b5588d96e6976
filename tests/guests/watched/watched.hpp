// SPDX-License-Identifier: MIT
//
// What the module of this folder and its guest agree on: where the module tells what it was shown, and what it answers.
#pragma once

#include <cstdint>

namespace watched {

inline constexpr std::uint32_t leaves{4};
inline constexpr std::uint32_t leaf_place{1};  ///< EAX: the module's MSR
/// Subleaf: the kind of exit.  EAX how many were shown; EBX, ECX the last one's number and value.
inline constexpr std::uint32_t leaf_shown{2};
/// Subleaf: the number of a step since following was last switched on.  EAX its RIP, EBX how the guest came there; with the last
/// subleaf, EAX how many there are, EBX how many steps the VCPU that asks was shown to take, ECX how many of them did not begin where
/// the one before had ended.
inline constexpr std::uint32_t leaf_steps{3};
inline constexpr std::uint32_t count_of_steps{0xffff'ffff};

/// The module's MSR: bits 7..0 a condition, bit 8 on or off.
inline constexpr std::uint64_t switch_on{1 << 8};
/// Of the instructions that would have to exit again and again.
enum Condition : std::uint32_t { segment_bases = 1, address_spaces, halts, pauses, clocks, translations, debug_registers, control_0, faults,
                                page_writes, page_reads, page_fetches, steps };

inline constexpr std::uint32_t answered_leaf{0x8fff'0000};  ///< by the module
inline constexpr std::uint32_t counted_leaf{0x8fff'0001};   ///< by the core; the module is shown it afterwards
inline constexpr std::uint32_t answered_msr{0x1234'5678};   ///< that no processor has: reads as it was written
inline constexpr std::uint16_t answered_port{0x5a0};
inline constexpr std::uint64_t leaf_answer{0x1357'9bdf};
inline constexpr std::uint64_t port_answer{0x5a};
inline constexpr std::uint64_t clock_answer{0x1122'3344'5566'7788};
inline constexpr std::uint64_t polls_of_halt{3};
/// A load of RAX from here, three bytes long, is #GP; the module makes it read `load_answer`.
inline constexpr std::uint64_t no_address{0x8000'0000'0000'0000};
inline constexpr std::uint64_t load_answer{0x2468'ace0};
/// A load of RAX, as long, from here is a page fault, with the same answer.
inline constexpr std::uint64_t unmapped_address{0x30'0000'0010};
/// Guest-physical pages that nobody uses otherwise: two of which writes are watched, one of reads, one of fetches.
inline constexpr std::uint64_t written_page{0xc00}, read_page{0xc02}, fetched_page{0xc03};
inline constexpr std::uint64_t debug_answer{0x1234'5000};  ///< that DR2 reads as

}  // namespace watched
