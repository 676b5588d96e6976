// SPDX-License-Identifier: MIT
//
// What the files with the server's commands share: reading the fixed structure of a request, and answering
// with a list.
#pragma once

#include "hv/core/control/server.hpp"

namespace hv::core::control {

template <protocol::WireStructure T>
Expected<T> ControlServer::fixed(const protocol::FrameView& frame)
{
    const auto value = frame.fixed<T>();
    if (!value.has_value())
        return refuse(reason_, Error::malformed, "the request has ", frame.header.fixed_length,
                      " bytes of its structure; at least ", protocol::required_size<T>, " are needed");
    return value;
}

/// As many bytes of bulk data as the buffer holds.
inline constexpr std::size_t whole_body{~std::size_t{0}};

/// A reply with bulk data: `read(room, reply)` writes at most `most` bytes into the room behind the header and the fixed part,
/// where bulk data of a reply belongs, fills the fixed part in, and says how many they are.
template <protocol::WireStructure T, typename Read>
Expected<Progress> ControlServer::bulk(std::size_t most, Read read)
{
    T reply{};
    const auto behind = std::span{output_}.subspan(sizeof(protocol::FrameHeader) + sizeof reply);
    const auto room = behind.first(std::min(behind.size(), most));
    const std::size_t bytes{HV_TRY(read(room, reply))};
    HV_ASSERT(bytes <= room.size());
    HV_TRY(reply_.fixed(reply));
    reply_bulk_ = bytes;
    return Progress::done;
}

/// As many entries as a body holds, from `cursor` on; `next(cursor, entry)` finds them.
template <protocol::WireStructure T, typename Next>
Expected<Progress> ControlServer::list(std::uint64_t cursor, Next next)
{
    protocol::ListReply head{0, sizeof(T), cursor, 0, 0};
    HV_TRY(reply_.fixed(head));
    while (true) {
        std::uint64_t behind{head.next};
        T entry{};
        const bool found{HV_TRY(next(behind, entry))};
        if (!found)
            break;
        if (!reply_.tail(entry).has_value()) {
            head.more = 1;
            break;
        }
        head.next = behind;
        ++head.count;
    }
    HV_TRY(reply_.replace_fixed(head));
    return Progress::done;
}

}  // namespace hv::core::control
