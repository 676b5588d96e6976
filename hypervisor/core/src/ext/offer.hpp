// SPDX-License-Identifier: MIT
//
// What a guest was told by an instance, and whether another one offers it too.  The core does not know what a
// leaf or an MSR means, so it judges by what any guest relies on: what was there is there, and a bit that was
// set is set.
#pragma once

#include "binding.hpp"

namespace hv::core {

/// Gives `fresh` the windows of `old`, at the same places; they are in no map.  Fails with conflict where it
/// wants others or fewer.
Status open_same_windows(Binding& fresh, const Binding& old, TextWriter& why);

/// The number by which `fresh` knows the window that `old` calls `id`.
std::uint32_t same_window(const Binding& fresh, const Binding& old, std::uint32_t id);

/// Judges an instance that has been through domain_create.  Fails with conflict and the first thing that is
/// missing.
Status check_offer(const Binding& fresh, const Binding& old, TextWriter& why);

}  // namespace hv::core
