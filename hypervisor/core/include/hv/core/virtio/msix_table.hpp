// SPDX-License-Identifier: MIT
//
// MSI-X: the table and the pending bits of a PCI function.  Entries are written by the driver's processor in
// its exit and used by whichever processor does the device's work, without a lock: an interrupt that meets a
// mask is pending and is sent by whoever finds the mask gone, exactly once.  Specification: [PCI-3.0 §6.8.2].
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "hv/core/virtio/device_host.hpp"

namespace hv::core::virtio {

class MsixTable {
public:
    /// One vector for changes of configuration, one for all queues: a driver with few interrupts to spare
    /// needs no more.
    static constexpr unsigned vectors{2};
    static constexpr unsigned entry_bytes{16};

    explicit MsixTable(DeviceHost& host) : host_{host} {}

    /// Access to the table, `offset` from its start; 4 or 8 bytes, aligned.  Others read zero and write
    /// nothing.
    [[nodiscard]] std::uint64_t read(unsigned offset, unsigned size) const;
    void write(unsigned offset, unsigned size, std::uint64_t value);
    /// Access to the pending bits, which cannot be written.
    [[nodiscard]] std::uint64_t read_pending(unsigned offset, unsigned size) const;

    /// MSI-X Enable and Function Mask of the capability's message control.
    void set_control(bool enable, bool function_mask);

    /// Sends a vector's interrupt, or keeps it pending while it is masked.  Nothing happens for a vector that
    /// there is not, or while MSI-X is disabled.  Any processor.
    void signal(unsigned vector);

private:
    struct Entry {
        std::atomic<std::uint64_t> address{0};
        std::atomic<std::uint32_t> data{0};
        std::atomic<bool> masked{true};
        std::atomic<bool> pending{false};
    };

    [[nodiscard]] std::uint32_t read_word(unsigned offset) const;
    void write_word(unsigned offset, std::uint32_t value);
    [[nodiscard]] bool blocked(const Entry& entry) const;
    void send_if_pending(Entry& entry);

    DeviceHost& host_;
    std::array<Entry, vectors> entries_{};
    std::atomic<bool> enabled_{false};
    std::atomic<bool> function_masked_{false};
};

}  // namespace hv::core::virtio
