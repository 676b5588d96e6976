// SPDX-License-Identifier: MIT
//
// Lines for the hypervisor's log and sentences for the operator, put together in a fixed buffer.
#pragma once

#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/ext/host.hpp"

namespace hv::ext {

/// What a line holds; the rest is cut.
inline constexpr std::size_t maximum_line{240};

/// `log(abi::LogLevel::info, "page at ", Hex{gpa})`.  Limited by the hypervisor; failing to log is not an
/// error.
template <typename... Parts>
void log(abi::LogLevel level, const Parts&... parts)
{
    BoundedText<maximum_line> line;
    say(line, parts...);
    static_cast<void>(host().log(level, line.view().data(), line.view().size()));
}

/// The sentence that the operator reads beside a refuse, pause or crash verdict of this hook.
template <typename... Parts>
void explain(std::uint64_t domain, const Parts&... parts)
{
    BoundedText<maximum_line> line;
    say(line, parts...);
    static_cast<void>(host().explain(domain, line.view().data(), line.view().size()));
}

/// Shows the operator what a parameter came to, a list value by value (since 0.2; an older hypervisor is not told).
inline void settled(std::uint64_t domain, std::string_view key, std::string_view value)
{
    if (HV_OFFERS(host(), settled))
        static_cast<void>(host().settled(domain, key.data(), key.size(), value.data(), value.size()));
}

}  // namespace hv::ext
