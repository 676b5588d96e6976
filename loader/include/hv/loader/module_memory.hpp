// SPDX-License-Identifier: MIT
//
// What the loader asks of whoever owns memory: one run of pages for an image, writable until it is sealed.
// The loader itself neither allocates nor maps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"

namespace hv::loader {

/// Bytes of an image that share one protection; offset and length are multiples of a page.
struct Region {
    std::uint64_t offset{};
    std::uint64_t bytes{};
};

/// The three regions of an image, in this order and without gaps.
struct ImageLayout {
    Region text;    ///< to be sealed read and execute
    Region rodata;  ///< to be sealed read-only: constants, what relocation writes once, the service table
    Region data;    ///< stays read and write: of one instance
    [[nodiscard]] constexpr std::uint64_t bytes() const { return data.offset + data.bytes; }
};

/// Where an image is being put: a view to write through now, and the address at which it will run.  The two
/// may differ.
struct Placement {
    std::span<std::byte> bytes;
    std::uint64_t address{};
};

/// Owned by the caller of instantiate.
class ModuleMemory {
public:
    /// layout.bytes() bytes, writable, page-aligned, of any content.  May fail: no_memory, limit_reached.
    [[nodiscard]] virtual Expected<Placement> reserve(const ImageLayout& layout) = 0;
    /// Protects each region as its comment says.  No byte of text or rodata is written after this.  May fail.
    [[nodiscard]] virtual Status seal(const Placement& placement, const ImageLayout& layout) = 0;
    /// Takes back what reserve gave, sealed or not.
    virtual void release(const Placement& placement, const ImageLayout& layout) = 0;

protected:
    ~ModuleMemory() = default;
};

}  // namespace hv::loader
