// SPDX-License-Identifier: MIT
//
// The memory of an instance as it was when it failed, for a debugger: its image, its constants, its state, what it had allocated,
// and the stack of the hook that failed.  A copy, so that the instance can go.  Knows nothing of how it is shown.
#pragma once

#include <cstdint>
#include <span>

#include "hv/base/static_vector.hpp"
#include "hv/core/memory/heap.hpp"

namespace hv::core {

class FailureCore {
public:
    /// The most bytes that are kept.
    static constexpr std::uint64_t maximum_bytes{4u << 20};

    /// Bytes that follow each other at one address of the module's, with one access.
    struct Segment {
        std::uint64_t address{};
        std::uint64_t bytes{};
        bool writable{};
        bool executable{};
        const std::byte* copy{};
    };

    explicit FailureCore(Heap& heap) : heap_{heap} {}
    ~FailureCore() { forget(); }
    FailureCore(const FailureCore&) = delete;
    FailureCore& operator=(const FailureCore&) = delete;

    /// Takes the place of what was kept: `visit(show)` calls `show(address, bytes, writable, executable)` for each part.  False where
    /// there is no memory for it, or too much of it: nothing is then kept.
    template <typename Visit>
    bool take(std::uint64_t number, Visit visit)
    {
        forget();
        bool whole{true};
        visit([&](std::uint64_t address, std::span<const std::byte> own, bool writable, bool executable) {
            whole = whole && (own.empty() || add({address, own.size(), writable, executable, nullptr}, own.data()));
        });
        if (whole)
            number_ = number;
        else
            forget();
        return whole;
    }
    void forget();

    /// Which failure it is of; 0: nothing is kept.
    [[nodiscard]] std::uint64_t number() const { return number_; }
    [[nodiscard]] std::span<const Segment> segments() const { return {segments_.begin(), segments_.size()}; }

private:
    static constexpr std::size_t maximum_segments{40};

    bool add(Segment segment, const std::byte* own);

    Heap& heap_;
    std::uint64_t number_{};
    std::uint64_t bytes_{};
    StaticVector<Segment, maximum_segments> segments_{};
};

}  // namespace hv::core
