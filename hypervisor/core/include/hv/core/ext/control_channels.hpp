// SPDX-License-Identifier: MIT
//
// The ends of one domain's channels that the control domain has: at the other end is an extension of that domain, which does not
// know the difference.  An end lives until it is closed or the domain's stack is gone; a swap of the module at the other end is not
// seen.  A view: it is got anew for each use (ExtensionStack::control_channels).  By the control server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/expected.hpp"

namespace hv::core {

class Channels;

class ControlChannels {
public:
    static constexpr std::size_t longest_message{512};
    static constexpr unsigned maximum{8};  ///< ends of one domain

    explicit ControlChannels(Channels& ends) : ends_{ends} {}

    /// Opens the end `name` and returns its number, which is not used again.  Fails with invalid_argument (the name is not 1 to 31
    /// printable ASCII letters without a blank), already_exists (it is open), conflict (two extensions have both ends),
    /// limit_reached or no_memory.
    Expected<std::uint64_t> open(std::string_view name);
    /// 1 to longest_message bytes.  Fails with invalid_argument (the length), gone (there is no such end), not_found (nobody has the
    /// other end) or limit_reached (as many as can wait there do; next_changed() tells when that is over).
    Status send(std::uint64_t end, std::span<const std::byte> bytes);
    /// Moves the first message that waits into `room` and returns its bytes; 0: none waits.  `room` has longest_message bytes.
    /// Fails with gone.
    Expected<std::size_t> take(std::uint64_t end, std::span<std::byte> room);
    struct State {
        std::uint32_t waiting;
        bool connected;  ///< an extension has the other end
    };
    Expected<State> state(std::uint64_t end);
    /// What waits is dropped.  Fails with gone.
    Status close(std::uint64_t end);
    void close_all();

    /// An end with news that was not told yet: a message where none waited, the other end opened or closed, room again.  False: none.
    bool next_changed(std::uint64_t& end);
    /// Who hears that next_changed() of some domain would find something: on any processor, under a lock of the channels.
    static void set_listener(void (*listener)());

private:
    Channels& ends_;
};

}  // namespace hv::core
