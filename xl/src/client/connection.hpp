// SPDX-License-Identifier: MIT
//
// xl's end of the unix socket: one connection, one request at a time, blocking.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "wire/frame.hpp"

namespace hv::xl {

class Connection {
public:
    /// Failure (not_connected) where no xld answers there.
    explicit Connection(const std::string& socket);

    /// Sends a request with open files and waits for its reply.  Throws the Failure that xld answers with,
    /// and not_connected where the connection ends.  Pieces of text on the way go to `on_text`.
    Json call(const Json& request, const std::vector<int>& files = {},
              const std::function<void(const std::string&)>& on_text = {});

    void send_request(const Json& request, const std::vector<int>& files);
    void send(FrameType type, std::string_view payload);
    /// The next frame; waits for it.
    [[nodiscard]] SocketFrame receive();
    /// The frames that are here, one by one, until `take` says false; where none is, after one read from the socket.
    void take_frames(const std::function<bool(const SocketFrame&)>& take);
    [[nodiscard]] int descriptor() const { return socket_.number(); }

private:
    void read_some();

    FileDescriptor socket_;
    FrameReader reader_;
};

/// A reply's value; throws what a failure frame says.  Frames of other types are not expected.
[[nodiscard]] Json reply_of(const SocketFrame& frame);

}  // namespace hv::xl
