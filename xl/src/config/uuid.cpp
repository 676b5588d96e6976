// SPDX-License-Identifier: MIT
//
// UUIDs; random ones from the kernel's generator.
#include "config/uuid.hpp"

#include <sys/random.h>

#include "base/failure.hpp"

namespace hv::xl {
namespace {

constexpr std::size_t text_length{36};

bool is_dash_position(std::size_t position)
{
    return position == 8 || position == 13 || position == 18 || position == 23;
}

std::optional<unsigned> hex_digit(char character)
{
    if (character >= '0' && character <= '9')
        return static_cast<unsigned>(character - '0');
    if (character >= 'a' && character <= 'f')
        return static_cast<unsigned>(character - 'a' + 10);
    if (character >= 'A' && character <= 'F')
        return static_cast<unsigned>(character - 'A' + 10);
    return std::nullopt;
}

}  // namespace

std::optional<Uuid> parse_uuid(std::string_view text)
{
    if (text.size() != text_length)
        return std::nullopt;
    Uuid uuid{};
    std::size_t digits{0};
    for (std::size_t position = 0; position < text_length; ++position) {
        if (is_dash_position(position)) {
            if (text[position] != '-')
                return std::nullopt;
            continue;
        }
        const auto digit = hex_digit(text[position]);
        if (!digit)
            return std::nullopt;
        uuid[digits / 2] = static_cast<std::uint8_t>((unsigned{uuid[digits / 2]} << 4) | *digit);
        ++digits;
    }
    return uuid;
}

std::string uuid_text(const Uuid& uuid)
{
    static constexpr std::string_view digits{"0123456789abcdef"};
    std::string text;
    for (const std::uint8_t byte : uuid) {
        if (is_dash_position(text.size()))
            text += '-';
        text += digits[byte >> 4];
        text += digits[byte & 0xf];
    }
    return text;
}

Uuid random_uuid()
{
    Uuid uuid{};
    if (::getrandom(uuid.data(), uuid.size(), 0) != static_cast<ssize_t>(uuid.size()))
        throw Failure{ExitCode::failed, "the system gave no random bytes for a uuid"};
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0f) | 0x40);
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3f) | 0x80);
    return uuid;
}

}  // namespace hv::xl
