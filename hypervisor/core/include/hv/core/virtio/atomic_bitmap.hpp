// SPDX-License-Identifier: MIT
//
// Bits that any processor sets and one clears: who wants attention.  Lock-free; an order is not kept.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hv::core::virtio {

template <std::size_t Bits>
class AtomicBitmap {
public:
    /// True when the bit was clear: the first to set it tells the others.
    bool set(std::size_t bit) { return (words_[bit / 64].fetch_or(mask(bit)) & mask(bit)) == 0; }
    /// True when the bit was set.
    bool take(std::size_t bit) { return (words_[bit / 64].fetch_and(~mask(bit)) & mask(bit)) != 0; }
    [[nodiscard]] bool test(std::size_t bit) const { return (words_[bit / 64].load() & mask(bit)) != 0; }
    [[nodiscard]] bool any() const
    {
        for (const auto& word : words_)
            if (word.load() != 0)
                return true;
        return false;
    }
    void clear()
    {
        for (auto& word : words_)
            word.store(0);
    }

private:
    static constexpr std::uint64_t mask(std::size_t bit) { return std::uint64_t{1} << (bit % 64); }

    std::array<std::atomic<std::uint64_t>, (Bits + 63) / 64> words_{};
};

}  // namespace hv::core::virtio
