// SPDX-License-Identifier: MIT
//
// Text put together in a fixed buffer: log lines, diagnostics, messages.  What does not fit is cut at the end and
// remembered; nothing is allocated and nothing fails.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hv {

/// A number to be written in hexadecimal, with 0x, at least `digits` digits.
struct Hex {
    std::uint64_t value;
    unsigned digits{1};
};

/// The non-template part: appends to a buffer that somebody else owns.
class TextWriter {
public:
    constexpr TextWriter(char* buffer, std::size_t capacity) : buffer_{buffer}, capacity_{capacity} {}

    constexpr TextWriter& append(std::string_view text)
    {
        for (const char character : text)
            put(character);
        return *this;
    }
    constexpr TextWriter& append(const char* text) { return append(std::string_view{text}); }
    constexpr TextWriter& append(char character)
    {
        put(character);
        return *this;
    }
    constexpr TextWriter& append(Hex hex)
    {
        constexpr std::string_view digits{"0123456789abcdef"};
        append("0x");
        for (unsigned position = 16; position-- > 0;)
            if (position < hex.digits || (hex.value >> (4 * position)) != 0)
                put(digits[(hex.value >> (4 * position)) & 0xf]);
        return *this;
    }
    template <std::integral T>
        requires(!std::same_as<T, char> && !std::same_as<T, bool>)
    constexpr TextWriter& append(T number)
    {
        if constexpr (std::signed_integral<T>) {
            if (number < 0) {
                put('-');
                return append_decimal(0 - static_cast<std::uint64_t>(number));
            }
        }
        return append_decimal(static_cast<std::uint64_t>(number));
    }

    [[nodiscard]] constexpr std::string_view view() const { return {buffer_, size_}; }
    [[nodiscard]] constexpr bool truncated() const { return truncated_; }
    constexpr void clear()
    {
        size_ = 0;
        truncated_ = false;
    }

private:
    constexpr void put(char character)
    {
        if (size_ == capacity_)
            truncated_ = true;
        else
            buffer_[size_++] = character;
    }
    constexpr TextWriter& append_decimal(std::uint64_t number)
    {
        std::array<char, 20> digits{};
        std::size_t count{0};
        do {
            digits[count++] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        while (count > 0)
            put(digits[--count]);
        return *this;
    }

    char* buffer_;
    std::size_t capacity_;
    std::size_t size_{};
    bool truncated_{};
};

/// Text of at most Capacity bytes; its storage is a base so that it exists before the writer that points into it.
/// `BoundedText<80> line; line.append("cpu ").append(3);`
template <std::size_t Capacity>
struct TextStorage {
    std::array<char, Capacity> bytes;
};

template <std::size_t Capacity>
class BoundedText : private TextStorage<Capacity>, public TextWriter {
public:
    BoundedText() : TextWriter{TextStorage<Capacity>::bytes.data(), Capacity} {}
    BoundedText(const BoundedText&) = delete;
    BoundedText& operator=(const BoundedText&) = delete;
};

/// Appends each argument in turn: `say(line, "domain ", id, " ended")`.
template <typename... Parts>
constexpr void say(TextWriter& text, const Parts&... parts)
{
    (text.append(parts), ...);
}

}  // namespace hv
