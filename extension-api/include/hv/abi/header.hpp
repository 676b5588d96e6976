// SPDX-License-Identifier: MIT
//
// The first sixteen bytes of every table that crosses the extension ABI, and the rule by which tables grow.
// A table is identified by its magic, understood by its major version, and grows only at its end: a reader
// uses a member only where the writer's size says that it is there.  Not a C++ interface: hv/ext is the layer
// that authors use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace hv::abi {

inline constexpr std::uint16_t abi_major{0};  ///< a different major is refused
inline constexpr std::uint16_t abi_minor{2};  ///< a larger minor only ever appends

/// Four letters as they lie in memory, little-endian.
constexpr std::uint32_t table_magic(char a, char b, char c, char d)
{
    return static_cast<std::uint32_t>(static_cast<unsigned char>(a)) |
           static_cast<std::uint32_t>(static_cast<unsigned char>(b)) << 8 |
           static_cast<std::uint32_t>(static_cast<unsigned char>(c)) << 16 |
           static_cast<std::uint32_t>(static_cast<unsigned char>(d)) << 24;
}

inline constexpr std::uint32_t manifest_magic{table_magic('H', 'V', 'X', 'M')};
inline constexpr std::uint32_t hook_table_magic{table_magic('H', 'V', 'X', 'H')};
inline constexpr std::uint32_t host_table_magic{table_magic('H', 'V', 'X', 'S')};

/// Starts every table.  `size` is that of the whole table as its writer was built, this header included.
struct AbiHeader {
    std::uint32_t magic;
    std::uint16_t major;
    std::uint16_t minor;
    std::uint32_t size;
    std::uint32_t reserved;  ///< zero
};

/// Freezes a published member: the build breaks where a change would move it.
#define HV_FROZEN(type, member, offset)                                                                      \
    static_assert(offsetof(type, member) == (offset), #type "::" #member " is published and cannot move")

/// What every structure of the ABI is: bytes with a layout, nothing that runs.
#define HV_FROZEN_SIZE(type, bytes)                                                                          \
    static_assert(std::is_standard_layout_v<type> && std::is_trivially_copyable_v<type> &&                   \
                  sizeof(type) == (bytes))

HV_FROZEN(AbiHeader, magic, 0);
HV_FROZEN(AbiHeader, major, 4);
HV_FROZEN(AbiHeader, minor, 6);
HV_FROZEN(AbiHeader, size, 8);
HV_FROZEN(AbiHeader, reserved, 12);
HV_FROZEN_SIZE(AbiHeader, 16);

/// True when the writer of `table` is new enough to have the member, and filled it in.
#define HV_OFFERS(table, member)                                                                             \
    ((table).header.size >=                                                                                  \
         offsetof(std::remove_cvref_t<decltype(table)>, member) + sizeof((table).member) &&                  \
     (table).member != nullptr)

}  // namespace hv::abi
