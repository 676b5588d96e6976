// SPDX-License-Identifier: MIT
//
// Sets of interrupt vectors, one bit each of 256.  The atomic one is a mailbox: any processor puts vectors
// in, and the one that runs the VCPU takes them out; a summary lets that one see with a single load that
// nothing is in it.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>

namespace hv::core {

/// 256 bits as they are saved: word 0 has vectors 0 to 63.
using VectorWords = std::array<std::uint64_t, 4>;

/// The highest set bit of one word, as a vector; `word` is not zero.
constexpr std::uint8_t highest_in_word(unsigned index, std::uint64_t word)
{
    return static_cast<std::uint8_t>(index * 64 + 63 - static_cast<unsigned>(std::countl_zero(word)));
}

/// Vectors that only one processor touches.
class VectorBitmap {
public:
    [[nodiscard]] bool test(std::uint8_t vector) const
    {
        return ((words_[vector >> 6] >> (vector & 63)) & 1) != 0;
    }
    void set(std::uint8_t vector) { words_[vector >> 6] |= 1ull << (vector & 63); }
    void clear(std::uint8_t vector) { words_[vector >> 6] &= ~(1ull << (vector & 63)); }
    [[nodiscard]] std::optional<std::uint8_t> highest() const
    {
        for (unsigned index = 4; index-- > 0;)
            if (words_[index] != 0)
                return highest_in_word(index, words_[index]);
        return std::nullopt;
    }
    /// True when `vector` is the only one.
    [[nodiscard]] bool holds_only(std::uint8_t vector) const
    {
        for (unsigned index = 0; index < 4; ++index)
            if (words_[index] != (index == vector >> 6 ? 1ull << (vector & 63) : 0))
                return false;
        return true;
    }
    [[nodiscard]] const VectorWords& words() const { return words_; }
    void assign(const VectorWords& words) { words_ = words; }

private:
    VectorWords words_{};
};

/// Vectors that any processor may set, test or clear, without a lock.
class AtomicVectorBitmap {
public:
    /// True when the vector was not set before.
    bool set(std::uint8_t vector)
    {
        const std::uint64_t bit = 1ull << (vector & 63);
        const std::uint64_t before = words_[vector >> 6].fetch_or(bit);
        summary_.fetch_or(1u << (vector >> 6));
        return (before & bit) == 0;
    }
    /// Clears the summary before it looks at the word again, so that a vector set meanwhile is never
    /// forgotten.
    void clear(std::uint8_t vector)
    {
        const unsigned index = vector >> 6;
        const std::uint64_t bit = 1ull << (vector & 63);
        if ((words_[index].fetch_and(~bit) & ~bit) != 0)
            return;
        summary_.fetch_and(~(1u << index));
        if (words_[index].load() != 0)
            summary_.fetch_or(1u << index);
    }
    [[nodiscard]] bool test(std::uint8_t vector) const
    {
        return ((words_[vector >> 6].load(std::memory_order_relaxed) >> (vector & 63)) & 1) != 0;
    }
    [[nodiscard]] bool empty() const { return summary() == 0; }
    /// Not 0 where there may be a vector.
    [[nodiscard]] std::uint32_t summary() const { return summary_.load(std::memory_order_acquire); }
    [[nodiscard]] std::optional<std::uint8_t> highest() const
    {
        for (std::uint32_t left = summary_.load(std::memory_order_acquire); left != 0;) {
            const auto index = static_cast<unsigned>(31 - std::countl_zero(left));
            if (const std::uint64_t word = words_[index].load(std::memory_order_acquire); word != 0)
                return highest_in_word(index, word);
            left &= ~(1u << index);
        }
        return std::nullopt;
    }
    /// 32 vectors as a local APIC's register shows them; `group` is 0 to 7.
    [[nodiscard]] std::uint32_t group(unsigned group) const
    {
        return static_cast<std::uint32_t>(words_[group / 2].load(std::memory_order_relaxed) >>
                                          (group % 2 * 32));
    }
    [[nodiscard]] VectorWords snapshot() const
    {
        VectorWords result{};
        for (unsigned index = 0; index < result.size(); ++index)
            result[index] = words_[index].load();
        return result;
    }
    /// Nobody else may be setting vectors meanwhile, or they are lost.
    void assign(const VectorWords& words)
    {
        std::uint32_t summary{};
        for (unsigned index = 0; index < words.size(); ++index) {
            words_[index].store(words[index]);
            summary |= words[index] != 0 ? 1u << index : 0;
        }
        summary_.store(summary);
    }

private:
    std::array<std::atomic<std::uint64_t>, 4> words_{};
    std::atomic<std::uint32_t> summary_{};  ///< bit n: word n may hold a vector
};

}  // namespace hv::core
