// SPDX-License-Identifier: MIT
//
// Addresses that know their space.  A host-physical, a guest-physical and a guest-linear address are different types in
// every build; going from one to another, or to a pointer, is a named operation of the code that owns the mapping.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace hv {

inline constexpr std::uint64_t page_size{4096};
inline constexpr std::uint64_t page_mask{page_size - 1};

/// An address in one address space.  The tag is the space; two spaces never mix without a named translation.
template <typename Tag>
class Address {
public:
    constexpr Address() = default;
    constexpr explicit Address(std::uint64_t raw) : raw_{raw} {}

    [[nodiscard]] constexpr std::uint64_t raw() const { return raw_; }
    [[nodiscard]] constexpr Address page_base() const { return Address{raw_ & ~page_mask}; }
    [[nodiscard]] constexpr std::uint64_t page_offset() const { return raw_ & page_mask; }
    [[nodiscard]] constexpr std::uint64_t page_number() const { return raw_ / page_size; }

    /// Address + bytes, or nothing when it would wrap: sums with foreign numbers go through here.
    [[nodiscard]] constexpr std::optional<Address> checked_add(std::uint64_t bytes) const
    {
        std::uint64_t sum{};
        if (__builtin_add_overflow(raw_, bytes, &sum))
            return std::nullopt;
        return Address{sum};
    }

    /// Address + bytes where the caller has already shown that the sum is inside a known range.
    [[nodiscard]] constexpr Address plus(std::uint64_t bytes) const { return Address{raw_ + bytes}; }

    friend constexpr auto operator<=>(Address, Address) = default;

private:
    std::uint64_t raw_{};
};

using HostPhysical = Address<struct HostPhysicalTag>;
using GuestPhysical = Address<struct GuestPhysicalTag>;
using GuestLinear = Address<struct GuestLinearTag>;

static_assert(!std::is_convertible_v<GuestPhysical, HostPhysical>);
static_assert(!std::is_convertible_v<std::uint64_t, GuestPhysical>);
static_assert(std::is_trivially_copyable_v<HostPhysical> && sizeof(HostPhysical) == 8);

/// A half-open run of addresses [begin, begin + bytes) that does not wrap.
template <typename A>
struct Range {
    A begin{};
    std::uint64_t bytes{};

    [[nodiscard]] constexpr bool contains(A address) const
    {
        return address >= begin && address.raw() - begin.raw() < bytes;
    }
    /// True when [address, address + length) lies wholly inside; a length of zero does where its address does.
    [[nodiscard]] constexpr bool contains(A address, std::uint64_t length) const
    {
        return address >= begin && address.raw() - begin.raw() <= bytes &&
               bytes - (address.raw() - begin.raw()) >= length;
    }
    [[nodiscard]] constexpr bool overlaps(const Range& other) const
    {
        return bytes != 0 && other.bytes != 0 && (contains(other.begin) || other.contains(begin));
    }
    friend constexpr bool operator==(const Range&, const Range&) = default;
};

using HostRange = Range<HostPhysical>;
using GuestRange = Range<GuestPhysical>;

}  // namespace hv
