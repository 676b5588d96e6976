// SPDX-License-Identifier: MIT
//
// A ring of text lines under a count of bytes that never goes back, so that a reader who was away can go on,
// or knows that it missed something.  Takes no lock and knows no clock: log.hpp does both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hv::core {

/// Holds the newest bytes of everything that was appended.  Lines end in '\n'.
class TextRing {
public:
    /// `storage` outlives the ring; its size is a power of two.
    constexpr explicit TextRing(std::span<char> storage) : storage_{storage} {}

    /// Bytes appended since the beginning of time; the cursor of one who has read everything.
    [[nodiscard]] std::uint64_t end() const { return end_; }
    /// The cursor of the oldest byte that is still there.
    [[nodiscard]] std::uint64_t oldest() const { return end_ > storage_.size() ? end_ - storage_.size() : 0; }

    void append(std::string_view text);
    /// See read_log().
    std::size_t read(std::uint64_t& cursor, std::span<char> buffer) const;

private:
    [[nodiscard]] char at(std::uint64_t position) const { return storage_[position & (storage_.size() - 1)]; }

    std::span<char> storage_;
    std::uint64_t end_{};
};

}  // namespace hv::core
