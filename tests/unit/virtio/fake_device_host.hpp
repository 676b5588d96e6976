// SPDX-License-Identifier: MIT
//
// The surroundings of a virtio function in tests: a megabyte of a driver's memory, and a record of what was
// sent.
#pragma once

#include <atomic>
#include <cstring>
#include <optional>
#include <vector>

#include "hv/core/virtio/device_host.hpp"

namespace hv::test {

class FakeDeviceHost final : public core::virtio::DeviceHost {
public:
    static constexpr std::uint64_t memory_base{0x10'0000};
    static constexpr std::uint64_t memory_bytes{0x40'0000};

    Expected<std::span<std::byte>> map(GuestPhysical address, std::uint64_t bytes) override
    {
        const GuestRange all{GuestPhysical{memory_base}, memory_bytes};
        if (!all.contains(address, bytes))
            return Error::out_of_range;
        return std::span{memory}.subspan(address.raw() - memory_base, bytes);
    }
    void send_msi(const core::virtio::MsiMessage& message) override { sent.push_back(message); }
    void kick() override { ++kicks; }
    void place_window(std::optional<GuestPhysical> base) override { windows.push_back(base); }

    /// Direct access for the test's driver.
    template <typename T>
    T get(std::uint64_t address) const
    {
        T value;
        std::memcpy(&value, memory.data() + (address - memory_base), sizeof value);
        return value;
    }
    template <typename T>
    void put(std::uint64_t address, const T& value)
    {
        std::memcpy(memory.data() + (address - memory_base), &value, sizeof value);
    }
    /// Page-aligned room in the memory.
    std::uint64_t allocate(std::uint64_t bytes)
    {
        const std::uint64_t at{next_};
        next_ += (bytes + page_mask) & ~page_mask;
        return at;
    }

    std::vector<std::byte> memory = std::vector<std::byte>(memory_bytes);
    std::vector<core::virtio::MsiMessage> sent{};
    std::vector<std::optional<GuestPhysical>> windows{};
    std::atomic<unsigned> kicks{};

private:
    std::uint64_t next_{memory_base};
};

}  // namespace hv::test
