// SPDX-License-Identifier: MIT
//
// Rings in memory that a driver changes meanwhile: 16-bit indexes are read and written atomically, with the
// order that [VIRTIO-1.2 §2.7.13, §2.7.14] asks for.
#include "hv/core/virtio/virtqueue.hpp"

#include <atomic>
#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/base/checked.hpp"

namespace hv::core::virtio {

namespace {

// Offsets of the two rings' members.
constexpr std::size_t ring_flags{0};
constexpr std::size_t ring_index{2};
constexpr std::size_t ring_entries{4};

/// A 16-bit member of a ring.  The offset is even and within: attach() checked the ring's place and length.
std::atomic_ref<std::uint16_t> member(std::span<std::byte> ring, std::size_t offset)
{
    return std::atomic_ref<std::uint16_t>{*reinterpret_cast<std::uint16_t*>(ring.data() + offset)};
}

/// A descriptor as it is at this moment.  The barrier keeps the compiler from reading it again after it was
/// judged.
Descriptor copy_once(std::span<const std::byte> table, std::uint16_t index)
{
    Descriptor descriptor;
    std::memcpy(&descriptor, table.data() + sizeof descriptor * index, sizeof descriptor);
    asm volatile("" : "+m"(descriptor) : : "memory");
    return descriptor;
}

bool is_aligned(const std::byte* pointer, std::uint64_t alignment)
{
    return reinterpret_cast<std::uintptr_t>(pointer) % alignment == 0;
}

Expected<std::span<std::byte>> map_part(DeviceHost& host, GuestPhysical address, std::uint64_t bytes,
                                        std::uint64_t alignment)
{
    if (address.raw() % alignment != 0 || !address.checked_add(bytes))
        return Error::malformed;
    const auto part = HV_TRY(host.map(address, bytes));
    HV_ASSERT(part.size() == bytes && is_aligned(part.data(), alignment));
    return part;
}

}  // namespace

Status Virtqueue::attach(DeviceHost& host, const QueueLayout& layout)
{
    if (!is_power_of_two(layout.size) || layout.size > TransportRegisters::maximum_queue_size)
        return Error::malformed;
    const auto descriptors = HV_TRY(
        map_part(host, layout.descriptors, descriptor_table_bytes(layout.size), descriptor_alignment));
    const auto available = HV_TRY(
        map_part(host, layout.available, available_ring_bytes(layout.size), available_alignment));
    const auto used = HV_TRY(map_part(host, layout.used, used_ring_bytes(layout.size), used_alignment));
    *this = Virtqueue{};
    host_ = &host;
    descriptors_ = descriptors;
    available_ = available;
    used_ = used;
    size_ = layout.size;
    return Done{};
}

Expected<ChainBuffer> Virtqueue::map_descriptor(const Descriptor& descriptor) const
{
    if ((descriptor.flags & VIRTQ_DESC_F_INDIRECT) != 0)
        return Error::malformed;
    const bool writable{(descriptor.flags & VIRTQ_DESC_F_WRITE) != 0};
    if (descriptor.length == 0)
        return ChainBuffer{{}, writable};
    const GuestPhysical address{descriptor.address};
    if (!address.checked_add(descriptor.length))
        return Error::malformed;
    const auto bytes = HV_TRY(host_->map(address, descriptor.length));
    HV_ASSERT(bytes.size() == descriptor.length);
    return ChainBuffer{bytes, writable};
}

Expected<bool> Virtqueue::peek(Chain& chain)
{
    HV_ASSERT(attached());
    const std::uint16_t index{member(available_, ring_index).load(std::memory_order_acquire)};
    const auto waiting = static_cast<std::uint16_t>(index - next_available_);
    if (waiting == 0)
        return false;
    if (waiting > size_)
        return Error::malformed;
    const std::size_t slot{ring_entries + 2u * (next_available_ % size_)};
    chain.head = member(available_, slot).load(std::memory_order_relaxed);
    chain.buffers.clear();

    // A chain of more than `size_` descriptors has one of them twice: a loop.
    std::uint16_t next{chain.head};
    for (unsigned length = 0; length < size_; ++length) {
        if (next >= size_)
            return Error::malformed;
        const Descriptor descriptor{copy_once(descriptors_, next)};
        const auto buffer = HV_TRY(map_descriptor(descriptor));
        if (!buffer.writable && !chain.buffers.empty() && chain.buffers.back().writable)
            return Error::malformed;
        if (!chain.buffers.push_back(buffer))
            return Error::malformed;
        if ((descriptor.flags & VIRTQ_DESC_F_NEXT) == 0)
            return true;
        next = descriptor.next;
    }
    return Error::malformed;
}

void Virtqueue::complete(const Chain& chain, std::uint32_t written)
{
    const std::uint32_t entry[2]{chain.head, written};
    const std::size_t slot{ring_entries + sizeof entry * (next_used_ % size_)};
    std::memcpy(used_.data() + slot, entry, sizeof entry);
    ++next_available_;
    ++next_used_;
    member(used_, ring_index).store(next_used_, std::memory_order_release);
    completed_ = true;
}

// The index must be visible before the driver's wish is read, as the driver states its wish before it reads
// the index.
bool Virtqueue::take_interrupt()
{
    if (!attached() || !completed_)
        return false;
    completed_ = false;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return (member(available_, ring_flags).load() & VIRTQ_AVAIL_F_NO_INTERRUPT) == 0;
}

void Virtqueue::want_notifications(bool wanted)
{
    if (!attached() || notifications_ == wanted)
        return;
    notifications_ = wanted;
    member(used_, ring_flags).store(wanted ? 0 : VIRTQ_USED_F_NO_NOTIFY);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace hv::core::virtio
