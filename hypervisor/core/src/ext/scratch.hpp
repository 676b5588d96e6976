// SPDX-License-Identifier: MIT
//
// Room for a moment, of the hypervisor's own heap.
#pragma once

#include <cstddef>
#include <span>

#include "hv/core/machine.hpp"

namespace hv::core {

/// Empty where there is no memory.
class Scratch {
public:
    explicit Scratch(std::size_t bytes)
        : bytes_{static_cast<std::byte*>(machine().heap.allocate(bytes))}, size_{bytes_ != nullptr ? bytes : 0}
    {
    }
    ~Scratch() { machine().heap.release(bytes_); }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    [[nodiscard]] std::span<std::byte> bytes() const { return {bytes_, size_}; }

private:
    std::byte* bytes_;
    std::size_t size_;
};

}  // namespace hv::core
