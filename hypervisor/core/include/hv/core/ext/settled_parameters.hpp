// SPDX-License-Identifier: MIT
//
// What an instance says that its parameters came to, kept for the operator as long as the instance is.
#pragma once

#include <atomic>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

/// One value; a parameter that is a list has one for each element.
struct SettledParameter {
    static constexpr std::size_t longest_key{31};
    static constexpr std::size_t longest_value{63};
    BoundedText<longest_key> key{};
    BoundedText<longest_value> value{};
    std::atomic<SettledParameter*> next{};
};

/// Grows at its end while others read it.
class SettledParameters {
public:
    static constexpr std::uint32_t maximum{32};

    /// The heap outlives it.
    explicit SettledParameters(Heap& heap) : heap_{heap} {}
    SettledParameters(const SettledParameters&) = delete;
    SettledParameters& operator=(const SettledParameters&) = delete;
    /// Gives all back; nobody reads it any more.
    void clear();

    /// By any hook of the instance.  Fails with invalid_argument (empty key, text too long), limit_reached, no_memory.
    Status add(std::string_view key, std::string_view value);
    /// Null behind the last.  Any processor.
    [[nodiscard]] const SettledParameter* at(std::uint64_t index) const;

private:
    Heap& heap_;
    Spinlock lock_{};
    std::uint32_t count_{};
    std::atomic<SettledParameter*> first_{};
    std::atomic<SettledParameter*>* end_{&first_};
};

}  // namespace hv::core
