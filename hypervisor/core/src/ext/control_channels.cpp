// SPDX-License-Identifier: MIT
#include "hv/core/ext/control_channels.hpp"

#include <algorithm>

#include "channels.hpp"
#include "hv/base/assert.hpp"

namespace hv::core {
namespace {

static_assert(ControlChannels::longest_message == longest_channel_message && ControlChannels::maximum == Channels::maximum);

/// The handle that this number is, or one that leads nowhere.
Expected<Handle> handle_of(std::uint64_t number)
{
    const Handle handle{number};
    if (!handle.is_of(HandleKind::channel, Channels::of_control_domain))
        return Error::gone;
    return handle;
}

/// A number that never was given out is as good as one of an end that is closed.
template <typename T>
Expected<T> or_gone(Expected<T> result)
{
    if (!result && result.error() == Error::invalid_argument)
        return Error::gone;
    return result;
}

}  // namespace

Expected<std::uint64_t> ControlChannels::open(std::string_view name)
{
    return HV_TRY(ends_.open(name, nullptr)).raw();
}

Status ControlChannels::send(std::uint64_t end, std::span<const std::byte> bytes)
{
    if (bytes.empty() || bytes.size() > longest_message)
        return Error::invalid_argument;
    const Handle handle = HV_TRY(handle_of(end));
    return or_gone(ends_.send(handle, bytes));
}

Expected<std::size_t> ControlChannels::take(std::uint64_t end, std::span<std::byte> room)
{
    HV_ASSERT(room.size() >= longest_message);
    const Handle handle = HV_TRY(handle_of(end));
    ChannelMessage message;
    const bool taken = HV_TRY(or_gone(ends_.take(handle, message)));
    if (!taken)
        return std::size_t{0};
    std::copy_n(message.bytes, message.length, room.begin());
    return std::size_t{message.length};
}

Expected<ControlChannels::State> ControlChannels::state(std::uint64_t end)
{
    const Handle handle = HV_TRY(handle_of(end));
    const Channels::EndState found = HV_TRY(or_gone(ends_.state(handle)));
    return State{found.waiting, found.connected};
}

Status ControlChannels::close(std::uint64_t end)
{
    const Handle handle = HV_TRY(handle_of(end));
    return or_gone(ends_.close(handle));
}

void ControlChannels::close_all()
{
    ends_.clear();
}

bool ControlChannels::next_changed(std::uint64_t& end)
{
    Handle found{0};
    if (!ends_.next_changed(found))
        return false;
    end = found.raw();
    return true;
}

void ControlChannels::set_listener(void (*listener)())
{
    Channels::set_listener(listener);
}

}  // namespace hv::core
