// SPDX-License-Identifier: MIT
//
// The common configuration of a virtio PCI function: status, features, queues, notifications.  Register
// accesses come from the driver's one processor, in its exit, and never wait; the processor that does the
// work (service) sees what they published.  A reset of a running device is a hand-over: the driver's zero is
// only noted, service() lets go of the queues and answers with a status of zero, for which the driver waits.
// Specification: [VIRTIO-1.2 §2.1, §3.1, §4.1.4.3].  Where the structure lies in the BAR is pci_function's
// matter.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "hv/base/address.hpp"
#include "hv/core/virtio/atomic_bitmap.hpp"
#include "hv/core/virtio/device_host.hpp"
#include "hv/core/virtio/virtio_defs.hpp"

namespace hv::core::virtio {

/// Where the driver put the three parts of a split virtqueue.
struct QueueLayout {
    GuestPhysical descriptors{};
    GuestPhysical available{};
    GuestPhysical used{};
    std::uint16_t size{};
};

class TransportRegisters {
public:
    static constexpr unsigned maximum_queues{132};
    static constexpr std::uint16_t maximum_queue_size{32};
    static constexpr unsigned common_bytes{0x40};

    /// `features` are offered and all of them are required: a driver that leaves one out does not get
    /// FEATURES_OK.
    TransportRegisters(DeviceHost& host, std::uint64_t features, unsigned vectors);

    // ---- the driver's processor ---------------------------------------------------------------------------
    [[nodiscard]] std::uint64_t read(unsigned offset, unsigned size) const;
    void write(unsigned offset, unsigned size, std::uint64_t value);
    void notify(unsigned queue);
    /// Reading clears.
    std::uint8_t read_isr() { return isr_.exchange(0); }

    // ---- service() ----------------------------------------------------------------------------------------
    [[nodiscard]] bool reset_requested() const { return reset_requested_.load(std::memory_order_acquire); }
    /// After this the driver sees that the reset is done; nothing of the queues may be touched any more.
    void finish_reset();
    /// DRIVER_OK, with no reset asked for and none needed.
    [[nodiscard]] bool running() const;
    /// The layout of a queue that the driver enabled.
    [[nodiscard]] std::optional<QueueLayout> enabled_queue(unsigned queue) const;
    bool take_notification(unsigned queue) { return notified_.take(queue); }
    [[nodiscard]] bool any_notification() const { return notified_.any(); }
    /// Asks for attention again: work was left over.
    void renotify(unsigned queue) { notified_.set(queue); }
    [[nodiscard]] unsigned queue_vector(unsigned queue) const { return queues_[queue].vector.load(); }
    [[nodiscard]] unsigned configuration_vector() const { return configuration_vector_.load(); }
    void raise_isr(std::uint8_t bits) { isr_.fetch_or(bits); }
    /// DEVICE_NEEDS_RESET: the driver broke the rules of a queue.
    void need_reset() { status_.fetch_or(status::DEVICE_NEEDS_RESET); }

private:
    /// Written by the driver's processor while `enabled` is false, read by service() after it saw true.
    struct Queue {
        QueueLayout layout{.size = maximum_queue_size};
        std::atomic<std::uint16_t> vector{VIRTIO_MSI_NO_VECTOR};
        std::atomic<bool> enabled{false};
    };

    void clear();
    void write_status(std::uint8_t value);
    void write_register(unsigned field, std::uint64_t value);
    void write_queue_register(unsigned field, std::uint64_t value);
    [[nodiscard]] std::uint64_t read_register(unsigned field) const;
    [[nodiscard]] std::uint64_t read_queue_register(unsigned field) const;
    [[nodiscard]] std::uint16_t legal_vector(std::uint64_t value) const;

    DeviceHost& host_;
    const std::uint64_t features_;
    const unsigned vectors_;

    std::uint32_t device_feature_select_{0};
    std::uint32_t driver_feature_select_{0};
    std::uint64_t driver_features_{0};
    std::uint16_t queue_select_{0};
    std::array<Queue, maximum_queues> queues_{};

    std::atomic<std::uint16_t> configuration_vector_{VIRTIO_MSI_NO_VECTOR};
    std::atomic<std::uint8_t> status_{0};
    std::atomic<std::uint8_t> isr_{0};
    std::atomic<bool> reset_requested_{false};
    AtomicBitmap<maximum_queues> notified_{};
};

}  // namespace hv::core::virtio
