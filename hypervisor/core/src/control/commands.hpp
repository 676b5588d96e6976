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
