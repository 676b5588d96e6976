// SPDX-License-Identifier: MIT
#include "channels.hpp"

#include <algorithm>
#include <utility>

#include "binding.hpp"
#include "hv/base/assert.hpp"

namespace hv::core {
namespace {

using Listener = void (*)();
constinit Listener told_of_changes{};

bool is_legal_name(std::string_view name)
{
    constexpr char first_letter{'!'}, last_letter{'~'};  // of ASCII's printable ones, without the blank
    return !name.empty() && name.size() <= longest_channel_name &&
           std::ranges::all_of(name, [](char letter) { return letter >= first_letter && letter <= last_letter; });
}

}  // namespace

ChannelBoard::~ChannelBoard()
{
    HV_ASSERT(first_ == nullptr);
}

ChannelEnd* ChannelBoard::find(std::string_view name, const ChannelEnd* after) const
{
    ChannelEnd* end = after == nullptr ? first_ : after->next;
    while (end != nullptr && end->name.view() != name)
        end = end->next;
    return end;
}

Channels::~Channels()
{
    HV_ASSERT(std::ranges::all_of(ends_, [](const ChannelEnd* end) { return end == nullptr; }));
}

Handle Channels::handle_of(const ChannelEnd& end) const
{
    return Handle{HandleKind::channel, binding_, end.generation, end.index};
}

Expected<ChannelEnd*> Channels::look_up(Handle end)
{
    if (end.index() >= maximum || end.generation() == 0)
        return Error::invalid_argument;
    ChannelEnd* const found = ends_[end.index()];
    if (found != nullptr && found->generation == end.generation())
        return found;
    return end.generation() <= generations_[end.index()] ? Error::gone : Error::invalid_argument;
}

Expected<Handle> Channels::open(std::string_view name, VcpuBinding* told)
{
    if (!is_legal_name(name))
        return Error::invalid_argument;
    const LockGuard guard{board_.lock_};
    ChannelEnd* const other = board_.find(name, nullptr);
    ChannelEnd* const third = other == nullptr ? nullptr : board_.find(name, other);
    if ((other != nullptr && other->owner == this) || (third != nullptr && third->owner == this))
        return Error::already_exists;
    if (third != nullptr)
        return Error::conflict;
    const auto free = std::ranges::find(ends_, static_cast<ChannelEnd*>(nullptr));
    if (free == std::end(ends_))
        return Error::limit_reached;
    const auto index = static_cast<std::uint32_t>(free - ends_);
    auto made = HV_TRY(make<ChannelEnd>(heap_));
    std::uint32_t& generation = generations_[index];
    generation = generation == Handle::last_generation ? 1 : generation + 1;
    ChannelEnd& end = *made;  // zeroes
    end.owner = this;
    end.next = board_.first_;
    end.other = other;
    end.index = index;
    end.generation = generation;
    end.name.append(name);
    board_.first_ = &end;
    told_ = told;
    *free = made.leak();
    if (other != nullptr) {
        other->other = &end;
        tell(*other);
    }
    return handle_of(end);
}

Status Channels::send(Handle end, std::span<const std::byte> bytes)
{
    if (bytes.size() > longest_channel_message)
        return Error::invalid_argument;
    const LockGuard guard{board_.lock_};
    ChannelEnd* const from = HV_TRY(look_up(end));
    ChannelEnd* const to = from->other;
    if (to == nullptr)
        return Error::not_found;
    from->refused = to->waiting == ChannelEnd::room;
    if (from->refused)
        return Error::limit_reached;
    auto& place = to->queue[to->received % ChannelEnd::room];
    place.length = static_cast<std::uint32_t>(bytes.size());
    std::ranges::copy(bytes, place.bytes);
    ++to->received;
    ++to->waiting;
    if (VcpuBinding* const told = to->owner->told_; told != nullptr)
        told->ask(VcpuBinding::Pending::channel);
    else if (to->waiting == 1)
        tell(*to);  // who fetches goes on until none waits
    return Done{};
}

/// A binding hears of messages alone.
void Channels::tell(ChannelEnd& end)
{
    if (end.owner->told_ != nullptr)
        return;
    end.changed = true;
    if (told_of_changes != nullptr)
        told_of_changes();
}

/// One waits.
void Channels::drop_first(ChannelEnd& end)
{
    --end.waiting;
    if (end.other != nullptr && std::exchange(end.other->refused, false))
        tell(*end.other);
}

void Channels::close(ChannelEnd& end)
{
    if (end.other != nullptr) {
        end.other->other = nullptr;
        tell(*end.other);
    }
    ChannelEnd** link = &board_.first_;
    while (*link != &end)
        link = &(*link)->next;
    *link = end.next;
    ends_[end.index] = nullptr;
    core::destroy(heap_, &end);
}

Status Channels::close(Handle end)
{
    const LockGuard guard{board_.lock_};
    close(*HV_TRY(look_up(end)));
    return Done{};
}

/// One waits.
void Channels::copy_first(const ChannelEnd& end, ChannelMessage& message) const
{
    message.number = end.received - end.waiting;
    const auto& place = end.queue[message.number % ChannelEnd::room];
    message.handle = handle_of(end).raw();
    message.length = place.length;
    std::copy_n(place.bytes, place.length, message.bytes);
}

bool Channels::next(ChannelMessage& message)
{
    const LockGuard guard{board_.lock_};
    for (const ChannelEnd* const end : ends_) {
        if (end == nullptr || end->waiting == 0)
            continue;
        copy_first(*end, message);
        return true;
    }
    return false;
}

void Channels::done(const ChannelMessage& message)
{
    const LockGuard guard{board_.lock_};
    const auto end = look_up(Handle{message.handle});  // the hook may have closed it
    if (end && end.value()->waiting != 0 && end.value()->received - end.value()->waiting == message.number)
        drop_first(*end.value());
}

Expected<bool> Channels::take(Handle end, ChannelMessage& message)
{
    const LockGuard guard{board_.lock_};
    ChannelEnd& from = *HV_TRY(look_up(end));
    if (from.waiting == 0)
        return false;
    copy_first(from, message);
    drop_first(from);
    return true;
}

Expected<Channels::EndState> Channels::state(Handle end)
{
    const LockGuard guard{board_.lock_};
    const ChannelEnd& found = *HV_TRY(look_up(end));
    return EndState{found.waiting, found.other != nullptr};
}

bool Channels::next_changed(Handle& end)
{
    const LockGuard guard{board_.lock_};
    for (ChannelEnd* const one : ends_) {
        if (one == nullptr || !std::exchange(one->changed, false))
            continue;
        end = handle_of(*one);
        return true;
    }
    return false;
}

void Channels::set_listener(void (*listener)())
{
    told_of_changes = listener;
}

void Channels::hand_over(VcpuBinding& told)
{
    const LockGuard guard{board_.lock_};
    told_ = &told;
}

void Channels::clear()
{
    const LockGuard guard{board_.lock_};
    for (ChannelEnd* const end : ends_)
        if (end != nullptr)
            close(*end);
}

}  // namespace hv::core
