// SPDX-License-Identifier: MIT
//
// The ring behind the log: see ring.hpp.
#include "hv/core/diag/ring.hpp"

#include <algorithm>

namespace hv::core {

void TextRing::append(std::string_view text)
{
    for (const char character : text)
        storage_[end_++ & (storage_.size() - 1)] = character;
}

std::size_t TextRing::read(std::uint64_t& cursor, std::span<char> buffer) const
{
    cursor = std::min(cursor, end_);
    if (cursor < oldest()) {
        cursor = oldest();
        while (cursor < end_ && at(cursor) != '\n')  // the rest of a line whose beginning is gone
            ++cursor;
        cursor += cursor < end_ ? 1 : 0;
    }
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), end_ - cursor));
    for (std::size_t index = 0; index < count; ++index)
        buffer[index] = at(cursor + index);
    cursor += count;
    return count;
}

}  // namespace hv::core
