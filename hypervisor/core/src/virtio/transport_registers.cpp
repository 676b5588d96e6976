// SPDX-License-Identifier: MIT
//
// The fields of the common configuration structure [VIRTIO-1.2 §4.1.4.3].  An access reads or writes a part
// of one field; one that spans two is not legal for a driver and reads zero or is dropped.
#include "hv/core/virtio/transport_registers.hpp"

namespace hv::core::virtio {

namespace {

enum : unsigned {
    device_feature_select = 0x00,
    device_feature = 0x04,
    driver_feature_select = 0x08,
    driver_feature = 0x0c,
    config_msix_vector = 0x10,
    num_queues = 0x12,
    device_status = 0x14,
    config_generation = 0x15,
    queue_select = 0x16,
    queue_size = 0x18,
    queue_msix_vector = 0x1a,
    queue_enable = 0x1c,
    queue_notify_off = 0x1e,
    queue_desc = 0x20,
    queue_driver = 0x28,
    queue_device = 0x30,
};

struct FieldPlace {
    unsigned offset;
    unsigned size;
};

constexpr std::array field_places{
    FieldPlace{device_feature_select, 4}, FieldPlace{device_feature, 4},
    FieldPlace{driver_feature_select, 4}, FieldPlace{driver_feature, 4},
    FieldPlace{config_msix_vector, 2},    FieldPlace{num_queues, 2},
    FieldPlace{device_status, 1},         FieldPlace{config_generation, 1},
    FieldPlace{queue_select, 2},          FieldPlace{queue_size, 2},
    FieldPlace{queue_msix_vector, 2},     FieldPlace{queue_enable, 2},
    FieldPlace{queue_notify_off, 2},      FieldPlace{queue_desc, 8},
    FieldPlace{queue_driver, 8},          FieldPlace{queue_device, 8},
};

constexpr bool gapless(const auto& places)
{
    unsigned end{0};
    for (const FieldPlace& place : places) {
        if (place.offset != end)
            return false;
        end += place.size;
    }
    return true;
}
static_assert(gapless(field_places));

constexpr std::optional<FieldPlace> place_of(unsigned offset, unsigned size)
{
    for (const FieldPlace& place : field_places)
        if (offset >= place.offset && offset < place.offset + place.size)
            return size <= place.offset + place.size - offset ? std::optional{place} : std::nullopt;
    return std::nullopt;
}

constexpr std::uint64_t low_bytes(unsigned size)
{
    return size >= 8 ? ~0ull : (std::uint64_t{1} << (8 * size)) - 1;
}

constexpr std::uint8_t driver_status_bits{status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK |
                                          status::DRIVER_OK | status::FAILED};

}  // namespace

TransportRegisters::TransportRegisters(DeviceHost& host, std::uint64_t features, unsigned vectors)
    : host_{host}, features_{features}, vectors_{vectors}
{
}

std::uint64_t TransportRegisters::read(unsigned offset, unsigned size) const
{
    const auto place = place_of(offset, size);
    if (!place)
        return 0;
    return (read_register(place->offset) >> (8 * (offset - place->offset))) & low_bytes(size);
}

void TransportRegisters::write(unsigned offset, unsigned size, std::uint64_t value)
{
    const auto place = place_of(offset, size);
    if (!place || reset_requested())
        return;
    const unsigned shift{8 * (offset - place->offset)};
    const std::uint64_t mask{low_bytes(size) << shift};
    write_register(place->offset, (read_register(place->offset) & ~mask) | ((value << shift) & mask));
}

std::uint64_t TransportRegisters::read_register(unsigned field) const
{
    switch (field) {
    case device_feature_select: return device_feature_select_;
    case device_feature:
        return device_feature_select_ < 2 ? (features_ >> (32 * device_feature_select_)) & ~0u : 0;
    case driver_feature_select: return driver_feature_select_;
    case driver_feature:
        return driver_feature_select_ < 2 ? (driver_features_ >> (32 * driver_feature_select_)) & ~0u : 0;
    case config_msix_vector: return configuration_vector_.load();
    case num_queues: return maximum_queues;
    case device_status: return status_.load(std::memory_order_acquire);
    case config_generation: return 0;
    case queue_select: return queue_select_;
    default: return queue_select_ < maximum_queues ? read_queue_register(field) : 0;
    }
}

std::uint64_t TransportRegisters::read_queue_register(unsigned field) const
{
    const Queue& queue{queues_[queue_select_]};
    switch (field) {
    case queue_size: return queue.layout.size;
    case queue_msix_vector: return queue.vector.load();
    case queue_enable: return queue.enabled.load() ? 1 : 0;
    case queue_notify_off: return queue_select_;
    case queue_desc: return queue.layout.descriptors.raw();
    case queue_driver: return queue.layout.available.raw();
    case queue_device: return queue.layout.used.raw();
    default: return 0;
    }
}

void TransportRegisters::write_register(unsigned field, std::uint64_t value)
{
    switch (field) {
    case device_feature_select: device_feature_select_ = static_cast<std::uint32_t>(value); break;
    case driver_feature_select: driver_feature_select_ = static_cast<std::uint32_t>(value); break;
    case driver_feature:
        if (driver_feature_select_ < 2 && (status_.load() & status::FEATURES_OK) == 0) {
            const unsigned shift{32 * driver_feature_select_};
            driver_features_ = (driver_features_ & ~(0xffff'ffffull << shift)) | value << shift;
        }
        break;
    case config_msix_vector: configuration_vector_.store(legal_vector(value)); break;
    case device_status: write_status(static_cast<std::uint8_t>(value)); break;
    case queue_select: queue_select_ = static_cast<std::uint16_t>(value); break;
    default:
        if (queue_select_ < maximum_queues)
            write_queue_register(field, value);
        break;
    }
}

void TransportRegisters::write_queue_register(unsigned field, std::uint64_t value)
{
    Queue& queue{queues_[queue_select_]};
    if (field == queue_msix_vector)
        queue.vector.store(legal_vector(value));
    if (queue.enabled.load())
        return;
    switch (field) {
    case queue_size: queue.layout.size = static_cast<std::uint16_t>(value); break;
    case queue_enable:
        if (value == 1)
            queue.enabled.store(true, std::memory_order_release);
        break;
    case queue_desc: queue.layout.descriptors = GuestPhysical{value}; break;
    case queue_driver: queue.layout.available = GuestPhysical{value}; break;
    case queue_device: queue.layout.used = GuestPhysical{value}; break;
    default: break;
    }
}

std::uint16_t TransportRegisters::legal_vector(std::uint64_t value) const
{
    return value < vectors_ ? static_cast<std::uint16_t>(value) : VIRTIO_MSI_NO_VECTOR;
}

// Bits are only ever added; zero is the reset.  FEATURES_OK stays only for an acceptable set, DRIVER_OK only
// behind it.
void TransportRegisters::write_status(std::uint8_t value)
{
    const std::uint8_t before{status_.load()};
    if (value == 0) {
        if ((before & status::DRIVER_OK) == 0) {
            clear();
            status_.store(0);
        } else {
            reset_requested_.store(true, std::memory_order_release);
            host_.kick();
        }
        return;
    }
    std::uint8_t added{static_cast<std::uint8_t>(value & driver_status_bits & ~before)};
    if (driver_features_ != features_)
        added = static_cast<std::uint8_t>(added & ~status::FEATURES_OK);
    if (((before | added) & status::FEATURES_OK) == 0)
        added = static_cast<std::uint8_t>(added & ~status::DRIVER_OK);
    status_.fetch_or(added);
    if ((added & status::DRIVER_OK) != 0)
        host_.kick();
}

void TransportRegisters::notify(unsigned queue)
{
    if (queue < maximum_queues && notified_.set(queue))
        host_.kick();
}

void TransportRegisters::clear()
{
    device_feature_select_ = driver_feature_select_ = 0;
    driver_features_ = 0;
    queue_select_ = 0;
    for (Queue& queue : queues_) {
        queue.enabled.store(false);
        queue.vector.store(VIRTIO_MSI_NO_VECTOR);
        queue.layout = QueueLayout{.size = maximum_queue_size};
    }
    configuration_vector_.store(VIRTIO_MSI_NO_VECTOR);
    isr_.store(0);
    notified_.clear();
}

// The request is taken back before the status becomes zero: the driver's next write comes after it read that
// zero, and must not be dropped.
void TransportRegisters::finish_reset()
{
    clear();
    reset_requested_.store(false, std::memory_order_release);
    status_.store(0, std::memory_order_release);
}

bool TransportRegisters::running() const
{
    constexpr std::uint8_t mask{status::DRIVER_OK | status::DEVICE_NEEDS_RESET};
    return !reset_requested() && (status_.load(std::memory_order_acquire) & mask) == status::DRIVER_OK;
}

std::optional<QueueLayout> TransportRegisters::enabled_queue(unsigned queue) const
{
    if (!queues_[queue].enabled.load(std::memory_order_acquire))
        return std::nullopt;
    return queues_[queue].layout;
}

}  // namespace hv::core::virtio
