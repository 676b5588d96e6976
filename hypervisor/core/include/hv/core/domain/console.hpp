// SPDX-License-Identifier: MIT
//
// A domain's console as two rings of bytes: what the guest wrote, until the control domain has taken it, and what the
// operator typed, until the guest has.  Nothing is dropped: a full ring says so and the writer waits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

/// A ring of bytes with one lock.
template <std::size_t Capacity>
class ByteRing {
    static_assert((Capacity & (Capacity - 1)) == 0);

public:
    /// Appends as much as fits and says how much that was.
    std::size_t write(std::span<const std::byte> bytes)
    {
        LockGuard guard{lock_};
        std::size_t done{0};
        while (done < bytes.size() && end_ - begin_ < Capacity)
            storage_[end_++ % Capacity] = bytes[done++];
        return done;
    }
    /// Takes up to bytes.size() out.
    std::size_t read(std::span<std::byte> bytes)
    {
        LockGuard guard{lock_};
        std::size_t done{0};
        while (done < bytes.size() && begin_ != end_)
            bytes[done++] = storage_[begin_++ % Capacity];
        return done;
    }
    [[nodiscard]] std::size_t size()
    {
        LockGuard guard{lock_};
        return static_cast<std::size_t>(end_ - begin_);
    }
    void clear()
    {
        LockGuard guard{lock_};
        begin_ = end_;
    }
    [[nodiscard]] bool full() { return size() == Capacity; }

private:
    Spinlock lock_{};
    std::uint64_t begin_{};
    std::uint64_t end_{};
    std::array<std::byte, Capacity> storage_{};
};

struct Console {
    static constexpr std::size_t output_bytes{8192};
    static constexpr std::size_t input_bytes{1024};

    ByteRing<output_bytes> output{};  ///< from the guest
    ByteRing<input_bytes> input{};    ///< to the guest
    std::uint32_t slot{};      ///< of the control domain's console ports; 0: none
    /// Called on the guest's processor when output goes from empty to not empty; set by who serves the ports.
    void (*output_ready)(std::uint32_t slot){};
};

}  // namespace hv::core
