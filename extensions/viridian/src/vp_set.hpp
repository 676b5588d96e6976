// SPDX-License-Identifier: MIT
//
// A sparse set of virtual processors as the Ex calls take it: banks of 64, of which only those that a mask names
// are there.  Words alone; what is done with the set, flush.cpp and ipi.cpp know. Specification: [TLFS-6.0b "HV_VP_SET"].
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "tlfs_hypercall.hpp"

namespace hv::viridian {

/// std::popcount calls a function of the compiler's library, which a module has not.
constexpr std::size_t ones_in(std::uint64_t bits)
{
    std::size_t count{};
    for (; bits != 0; bits &= bits - 1)
        ++count;
    return count;
}

struct VpSet {
    std::uint64_t format{};
    std::uint64_t valid_banks{};
    std::span<const std::uint64_t> banks{};  ///< of the bits in `valid_banks`, lowest first

    [[nodiscard]] constexpr bool all() const { return format == tlfs::vp_set_all; }

    /// What makes a set unfit for any use.
    [[nodiscard]] constexpr tlfs::HvStatus check() const
    {
        using tlfs::HvStatus;
        if (format != tlfs::vp_set_sparse && format != tlfs::vp_set_all)
            return HvStatus::HV_STATUS_INVALID_PARAMETER;
        if (ones_in(valid_banks) != banks.size())
            return HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT;
        return HvStatus::HV_STATUS_SUCCESS;
    }
    /// VPs 64 * index to 64 * index + 63 of a sparse set that is fit.
    [[nodiscard]] constexpr std::uint64_t bank(unsigned index) const
    {
        const std::uint64_t below{(std::uint64_t{1} << index) - 1};
        if ((valid_banks >> index & 1) == 0)
            return 0;
        return banks[ones_in(valid_banks & below)];
    }
    /// True where a bank beyond the first has a VP.
    [[nodiscard]] constexpr bool has_beyond_first_bank() const
    {
        return std::ranges::any_of(banks.subspan(valid_banks & 1), [](std::uint64_t bank) { return bank != 0; });
    }
};

}  // namespace hv::viridian
