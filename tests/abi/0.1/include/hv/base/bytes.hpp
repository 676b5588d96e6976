// SPDX-License-Identifier: MIT
//
// Reading and writing foreign bytes.  Every access is bounds-checked by subtraction and copied: no pointer into the
// buffer is ever cast to a structure, so neither a wrapped sum nor a misaligned header can hurt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "hv/base/expected.hpp"

namespace hv {

/// Random access to bytes that somebody else made.  Fails with Error::out_of_range.
class ByteReader {
public:
    constexpr explicit ByteReader(std::span<const std::byte> bytes) : bytes_{bytes} {}

    [[nodiscard]] constexpr std::uint64_t size() const { return bytes_.size(); }

    template <typename T>
        requires std::is_trivially_copyable_v<T>
    [[nodiscard]] Expected<T> read(std::uint64_t offset) const
    {
        if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T))
            return Error::out_of_range;
        T value;
        std::memcpy(&value, bytes_.data() + offset, sizeof value);
        return value;
    }

    [[nodiscard]] Expected<std::span<const std::byte>> slice(std::uint64_t offset, std::uint64_t length) const
    {
        if (offset > bytes_.size() || bytes_.size() - offset < length)
            return Error::out_of_range;
        return bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
    }

private:
    std::span<const std::byte> bytes_;
};

/// Appends to a fixed buffer; a write that does not fit changes nothing and fails with Error::out_of_range.
class ByteWriter {
public:
    constexpr explicit ByteWriter(std::span<std::byte> bytes) : bytes_{bytes} {}

    [[nodiscard]] constexpr std::size_t size() const { return used_; }
    [[nodiscard]] constexpr std::span<const std::byte> written() const { return bytes_.first(used_); }

    template <typename T>
        requires std::is_trivially_copyable_v<T>
    Status write(const T& value)
    {
        return write_bytes(std::as_bytes(std::span{&value, 1}));
    }

    Status write_bytes(std::span<const std::byte> source)
    {
        if (bytes_.size() - used_ < source.size())
            return Error::out_of_range;
        if (!source.empty())
            std::memcpy(bytes_.data() + used_, source.data(), source.size());
        used_ += source.size();
        return Done{};
    }

private:
    std::span<std::byte> bytes_;
    std::size_t used_{};
};

}  // namespace hv
