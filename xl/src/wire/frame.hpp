// SPDX-License-Identifier: MIT
//
// What xl and xld say to each other on the unix socket: frames of a header and a payload.  Requests and
// answers are JSON, console bytes are themselves.  Files travel as descriptors beside a request, so that what
// a user may not read, xld does not read for him.  Both programs come from one build; the magic number
// carries the version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.hpp"
#include "config/json.hpp"

namespace hv::xl {

enum class FrameType : std::uint16_t {
    request = 1,         ///< JSON: {"verb": …}
    reply = 2,           ///< JSON: the result; the last frame of a request, unless a console was attached
    failure = 3,         ///< JSON: {"code", "errors"}
    text = 4,            ///< bytes of a result that comes in pieces (dmesg)
    console_output = 5,  ///< bytes from the guest
    console_input = 6,   ///< bytes to the guest
    console_notice = 7,  ///< JSON: {"event": "restarted" or "ended", …}
    channel_message = 8,  ///< the bytes of one message of a channel, in either direction
    channel_notice = 9,   ///< JSON: {"event": "sent", "nobody", "connected", "disconnected" or "ended", …}
};

struct SocketFrame {
    FrameType type{};
    std::uint32_t id{};  ///< of the request that it belongs to
    std::string payload;
};

/// The longest payload: a config of the greatest length, quoted.
inline constexpr std::size_t longest_payload{4u << 20};
inline constexpr std::size_t frame_header_bytes{16};

[[nodiscard]] std::string encode_frame(FrameType type, std::uint32_t id, std::string_view payload);

/// Puts frames together from a stream.  Failure (failed): what came is no frame; nothing more can be read
/// then.
class FrameReader {
public:
    void add(std::span<const char> bytes) { buffer_.append(bytes.data(), bytes.size()); }
    [[nodiscard]] std::optional<SocketFrame> next();
    /// True when the stream may end here.
    [[nodiscard]] bool between_frames() const { return buffer_.empty(); }

private:
    std::string buffer_;
};

/// A Failure as the payload of a failure frame, and back.
[[nodiscard]] Json failure_json(const Failure& failure);
[[nodiscard]] Failure failure_from_json(const Json& json);

}  // namespace hv::xl
