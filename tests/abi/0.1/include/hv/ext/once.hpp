// SPDX-License-Identifier: MIT
//
// What a guest can provoke is said once: a flag that is true the first time and false ever after.  It is
// plain data, so that it can lie in a state block (said once per domain, also across a restart) or in the
// module's data (per instance).
#pragma once

#include <cstdint>

namespace hv::ext {

class Once {
public:
    /// True for exactly one caller, whichever processor it is on.
    [[nodiscard]] bool first() { return __atomic_exchange_n(&said_, 1u, __ATOMIC_RELAXED) == 0; }

private:
    std::uint32_t said_{};
};

}  // namespace hv::ext
