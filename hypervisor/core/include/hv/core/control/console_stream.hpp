// SPDX-License-Identifier: MIT
//
// A domain's console on its way to the control domain: two rings of bytes behind port N of the console
// device.  While somebody over there has the port open no byte is lost in either direction: a full ring makes
// the writer wait.  While nobody has, the ring keeps the newest output for whoever opens it, so that a guest
// never stands still for want of a reader.  It may outlive its domain: what is still to be read is read
// first.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hv/core/sync/spinlock.hpp"
#include "hv/core/virtio/console_device.hpp"

namespace hv::core::control {

/// The domain's end of its console.  Called within ControlService::run(), with no lock of the stream held.
class ConsoleListener {
public:
    /// There are bytes for get().
    virtual void input_arrived() = 0;
    /// A put() that was refused would now succeed.
    virtual void output_has_room() = 0;

protected:
    ~ConsoleListener() = default;
};

class ConsoleStream;

/// Who gave the stream its memory.
class ConsoleOwner {
public:
    /// After close(): nobody uses the stream any more, its slot is free.  Called within
    /// ControlService::run().
    virtual void console_released(ConsoleStream& stream) = 0;

protected:
    ~ConsoleOwner() = default;
};

class ConsoleStream final : private virtio::PortBackend {
public:
    static constexpr std::size_t output_bytes{16 * 1024};
    static constexpr std::size_t input_bytes{1024};
    /// From so many bytes on, or at the end of a line, the reader is told at once; of fewer when a processor has a moment.
    static constexpr std::size_t hurry_bytes{256};

    /// `slot` is 1 … protocol::maximum_consoles, the port's number.
    ConsoleStream(virtio::ConsoleDevice& device, unsigned slot, ConsoleOwner& owner)
        : device_{device}, owner_{owner}, slot_{slot}
    {
    }

    /// Offers the port `graft.console.N`.  Error::busy while the slot is in use.
    Status open();
    /// The domain is going: no listener any more, what was put is still read, then console_released().  Call
    /// it, as listen(), within ControlService::run() (in a ControlTarget's method) or before the domain first
    /// runs.
    void close();
    void listen(ConsoleListener* listener) { listener_ = listener; }

    [[nodiscard]] unsigned slot() const { return slot_; }

    // ---- the domain's end, any processor ------------------------------------------------------------------
    /// One byte of output; false when there is no room and output_has_room() will tell.
    bool put(std::uint8_t byte);
    /// Several; returns how many were taken.
    std::size_t put(std::span<const std::byte> bytes);
    /// The next byte of input.
    [[nodiscard]] std::optional<std::uint8_t> get();
    /// Bytes of output that were overwritten unread since open().
    [[nodiscard]] std::uint64_t overwritten() const { return overwritten_; }

private:
    template <std::size_t Capacity>
    struct Ring {
        std::array<std::byte, Capacity> bytes;
        std::size_t first{};
        std::size_t count{};

        [[nodiscard]] bool full() const { return count == Capacity; }
        std::size_t push(std::span<const std::byte> source);
        std::size_t pop(std::span<std::byte> room);
        void drop_oldest(std::size_t how_many);
    };

    std::size_t take(std::span<const std::byte> bytes) override;
    std::size_t give(std::span<std::byte> room) override;
    void opened() override;
    void closed() override;
    void released() override { owner_.console_released(*this); }

    virtio::ConsoleDevice& device_;
    ConsoleOwner& owner_;
    ConsoleListener* listener_{};
    const unsigned slot_;

    Spinlock lock_{};
    Ring<output_bytes> output_{};
    Ring<input_bytes> input_{};
    std::uint64_t overwritten_{};
    bool open_{};            ///< somebody reads
    bool output_refused_{};  ///< a put() waits for room
    bool input_refused_{};   ///< bytes wait in the control domain's memory
};

}  // namespace hv::core::control
