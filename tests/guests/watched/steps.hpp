// SPDX-License-Identifier: MIT
//
// The part of the guest `watched` that is followed step by step.
#pragma once

#include <cstdint>

/// All pieces, once; the module tells what it was shown in `own_leaf`.
void try_steps(std::uint32_t own_leaf, std::uint32_t own_msr);

/// Is followed for ever, and says that it goes on.
[[noreturn]] void be_followed(std::uint32_t own_msr);
