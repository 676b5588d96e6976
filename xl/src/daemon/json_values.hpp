// SPDX-License-Identifier: MIT
//
// Values of the control protocol as JSON has them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "hv/protocol/control.hpp"

namespace hv::xl {

[[nodiscard]] inline std::uint64_t nanoseconds(std::uint64_t ticks, std::uint64_t ticks_per_second)
{
    __extension__ using Wide = unsigned __int128;
    if (ticks_per_second == 0)
        return 0;
    return static_cast<std::uint64_t>(Wide{ticks} * 1'000'000'000u / ticks_per_second);
}

/// Text of a guest or of the hypervisor need not be UTF-8; what is shown as JSON has to be.
[[nodiscard]] inline std::string printable(std::string_view text)
{
    std::string result;
    for (const char character : text)
        result += static_cast<unsigned char>(character) < 0x20 || static_cast<unsigned char>(character) > 0x7e
                      ? '?'
                      : character;
    return result;
}

[[nodiscard]] inline std::string placement_name(std::uint32_t placement)
{
    return placement == static_cast<std::uint32_t>(protocol::BindPlacement::isolated) ? "isolated" : "trusted";
}

[[nodiscard]] inline std::string policy_name(std::uint32_t policy)
{
    switch (static_cast<protocol::FaultPolicy>(policy)) {
    case protocol::FaultPolicy::restart: return "restart";
    case protocol::FaultPolicy::detach: return "detach";
    case protocol::FaultPolicy::pause: return "pause";
    case protocol::FaultPolicy::crash: return "crash";
    }
    return "unknown";
}

}  // namespace hv::xl
