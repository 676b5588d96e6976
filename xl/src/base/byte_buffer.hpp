// SPDX-License-Identifier: MIT
//
// Bytes put one after the other, little-endian, for tables and structures that a guest reads.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "hv/base/assert.hpp"

namespace hv::xl {

/// Like insert at the end; g++ 12 takes that, with optimization, for an overflow that is none.
inline void append(std::vector<std::byte>& bytes, std::span<const std::byte> more)
{
    const std::size_t before{bytes.size()};
    bytes.resize(before + more.size());
    if (!more.empty())
        std::memcpy(bytes.data() + before, more.data(), more.size());
}

class ByteBuffer {
public:
    ByteBuffer() = default;
    /// Zeroes to be filled in by `set`.
    explicit ByteBuffer(std::size_t bytes) : bytes_(bytes) {}

    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    [[nodiscard]] std::span<const std::byte> view() const { return bytes_; }
    [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

    /// The type is always written out: the width is the format's, never the expression's.
    template <typename T>
    void put(std::type_identity_t<T> value)
    {
        static_assert(std::is_trivially_copyable_v<T>);
        put_bytes(std::as_bytes(std::span{&value, 1}));
    }
    void put_bytes(std::span<const std::byte> more) { append(bytes_, more); }
    void put_text(std::string_view text)
    {
        for (const char character : text)
            bytes_.push_back(static_cast<std::byte>(character));
    }
    void align(std::size_t alignment)
    {
        while (bytes_.size() % alignment != 0)
            bytes_.push_back(std::byte{0});
    }

    template <typename T>
    void set(std::size_t offset, std::type_identity_t<T> value)
    {
        static_assert(std::is_trivially_copyable_v<T>);
        HV_ASSERT(offset <= bytes_.size() && bytes_.size() - offset >= sizeof(T));
        std::memcpy(bytes_.data() + offset, &value, sizeof(T));
    }
    void set_bytes(std::size_t offset, std::span<const std::byte> more)
    {
        HV_ASSERT(offset <= bytes_.size() && bytes_.size() - offset >= more.size());
        if (!more.empty())
            std::memcpy(bytes_.data() + offset, more.data(), more.size());
    }

private:
    std::vector<std::byte> bytes_;
};

}  // namespace hv::xl
