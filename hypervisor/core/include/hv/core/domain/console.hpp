// SPDX-License-Identifier: MIT
//
// A domain's console as its devices and extensions use it.  The bytes go through a ConsoleStream to a port of the control
// domain; a domain without one (a host test) writes into nothing and reads nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hv/core/control/console_stream.hpp"

namespace hv::core {

/// Any processor.
class Console {
public:
    void attach(control::ConsoleStream* stream) { stream_ = stream; }
    [[nodiscard]] control::ConsoleStream* stream() const { return stream_; }
    /// The control domain's console slot; 0: none.
    [[nodiscard]] std::uint32_t slot() const { return stream_ == nullptr ? 0 : stream_->slot(); }

    /// False when there is no room; the listener is told when there is.
    bool put(std::uint8_t byte) { return stream_ == nullptr || stream_->put(byte); }
    /// Returns how many bytes were taken.
    std::size_t write(std::span<const std::byte> bytes) { return stream_ == nullptr ? bytes.size() : stream_->put(bytes); }
    [[nodiscard]] std::optional<std::uint8_t> get() { return stream_ == nullptr ? std::nullopt : stream_->get(); }

private:
    control::ConsoleStream* stream_{};
};

}  // namespace hv::core
