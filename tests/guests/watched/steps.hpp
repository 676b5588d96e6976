// SPDX-License-Identifier: MIT
//
// The part of the guest `watched` that is followed step by step.
#pragma once

#include <cstdint>

/// All pieces, once; the module tells what it was shown in `own_leaf`.
void try_steps(std::uint32_t own_leaf, std::uint32_t own_msr);

/// Is followed for ever with its second processor, and says that both go on, and once that each was shown step by step.
[[noreturn]] void be_followed(std::uint32_t own_leaf, std::uint32_t own_msr);
