// SPDX-License-Identifier: MIT
//
// The rings under their lock, and who is told when: always after the lock is released, as the listener takes
// the domain's own lock and a domain that holds its own lock calls put() and get().
#include "hv/core/control/console_stream.hpp"

#include <algorithm>
#include <cstring>

#include "hv/base/bounded_text.hpp"

namespace hv::core::control {

template <std::size_t Capacity>
std::size_t ConsoleStream::Ring<Capacity>::push(std::span<const std::byte> source)
{
    const std::size_t amount{std::min(source.size(), Capacity - count)};
    const std::size_t end{(first + count) % Capacity};
    const std::size_t part{std::min(amount, Capacity - end)};
    if (amount != 0) {
        std::memcpy(bytes.data() + end, source.data(), part);
        std::memcpy(bytes.data(), source.data() + part, amount - part);
    }
    count += amount;
    return amount;
}

template <std::size_t Capacity>
std::size_t ConsoleStream::Ring<Capacity>::pop(std::span<std::byte> room)
{
    const std::size_t amount{std::min(room.size(), count)};
    const std::size_t part{std::min(amount, Capacity - first)};
    if (amount != 0) {
        std::memcpy(room.data(), bytes.data() + first, part);
        std::memcpy(room.data() + part, bytes.data(), amount - part);
    }
    drop_oldest(amount);
    return amount;
}

template <std::size_t Capacity>
void ConsoleStream::Ring<Capacity>::drop_oldest(std::size_t how_many)
{
    first = (first + how_many) % Capacity;
    count -= how_many;
}

Status ConsoleStream::open()
{
    BoundedText<virtio::ConsoleDevice::maximum_port_name> name{};
    say(name, "graft.console.", slot_);
    return device_.open_port(slot_, name.view(), *this);
}

void ConsoleStream::close()
{
    listener_ = nullptr;
    (void)device_.close_port(slot_);  // one that was never opened has nothing to close
}

// ---- the domain's end -------------------------------------------------------------------------------------

bool ConsoleStream::put(std::uint8_t byte)
{
    return put(std::as_bytes(std::span{&byte, 1})) == 1;
}

std::size_t ConsoleStream::put(std::span<const std::byte> bytes)
{
    std::size_t taken{0};
    bool read{};
    bool hurry{std::find(bytes.begin(), bytes.end(), std::byte{'\n'}) != bytes.end()};
    {
        const LockGuard guard{lock_};
        read = open_;
        if (!open_ && bytes.size() > output_bytes - output_.count) {
            const std::size_t excess{bytes.size() - (output_bytes - output_.count)};
            overwritten_ += excess;
            output_.drop_oldest(std::min(excess, output_.count));
            taken = bytes.size() > output_bytes ? bytes.size() - output_bytes : 0;
        }
        taken += output_.push(bytes.subspan(taken));
        output_refused_ |= taken < bytes.size();
        hurry |= output_refused_ || output_.count >= hurry_bytes;
    }
    if (taken == 0 || !read)
        return taken;
    if (hurry)
        device_.wake(slot_);
    else
        device_.wake_soon(slot_);
    return taken;
}

std::optional<std::uint8_t> ConsoleStream::get()
{
    std::byte byte{};
    bool waiting{};
    {
        const LockGuard guard{lock_};
        if (input_.pop(std::span{&byte, 1}) == 0)
            return std::nullopt;
        waiting = input_refused_;
        input_refused_ = false;
    }
    if (waiting)
        device_.wake(slot_);
    return std::to_integer<std::uint8_t>(byte);
}

// ---- the device's end -------------------------------------------------------------------------------------

std::size_t ConsoleStream::take(std::span<const std::byte> bytes)
{
    if (listener_ == nullptr)
        return bytes.size();  // the domain is gone: nobody will ever read this
    std::size_t taken{};
    {
        const LockGuard guard{lock_};
        taken = input_.push(bytes);
        input_refused_ = taken < bytes.size();
    }
    if (taken != 0)
        listener_->input_arrived();
    return taken;
}

std::size_t ConsoleStream::give(std::span<std::byte> room)
{
    std::size_t given{};
    bool waiting{};
    {
        const LockGuard guard{lock_};
        given = output_.pop(room);
        waiting = output_refused_ && !output_.full();
        output_refused_ = output_refused_ && !waiting;
    }
    if (waiting && listener_ != nullptr)
        listener_->output_has_room();
    return given;
}

void ConsoleStream::opened()
{
    const LockGuard guard{lock_};
    open_ = true;
}

void ConsoleStream::closed()
{
    bool waiting{};
    {
        const LockGuard guard{lock_};
        open_ = false;
        waiting = output_refused_;
        output_refused_ = false;
    }
    // Nobody reads any more, so a put() overwrites and need not wait.
    if (waiting && listener_ != nullptr)
        listener_->output_has_room();
}

}  // namespace hv::core::control
