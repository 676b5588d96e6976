// SPDX-License-Identifier: MIT
#include "hv/core/ext/failure_core.hpp"

#include <cstring>

namespace hv::core {

bool FailureCore::add(Segment segment, const std::byte* own)
{
    if (segments_.full() || segment.bytes > maximum_bytes - bytes_)
        return false;
    auto* const copy = static_cast<std::byte*>(heap_.allocate(static_cast<std::size_t>(segment.bytes)));
    if (copy == nullptr)
        return false;
    std::memcpy(copy, own, static_cast<std::size_t>(segment.bytes));
    segment.copy = copy;
    bytes_ += segment.bytes;
    return segments_.push_back(segment);
}

void FailureCore::forget()
{
    for (const Segment& segment : segments_)
        heap_.release(const_cast<std::byte*>(segment.copy));
    segments_.clear();
    bytes_ = number_ = 0;
}

}  // namespace hv::core
