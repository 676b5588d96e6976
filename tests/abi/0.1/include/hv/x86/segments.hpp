// SPDX-License-Identifier: MIT
//
// Segment descriptors, gates and the 64-bit task-state segment as they lie in memory.  Definitions only.
// [APM2-3.41 §4.7 and §4.8 (descriptors), §8.9 (gates), §12.2.5 (TSS)].
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hv/base/field.hpp"

namespace hv::x86 {

/// A code or data segment descriptor; the fields that long mode looks at, and the granularity for legacy
/// modes.
struct SegmentDescriptor {
    using LimitLow = Field<15, 0>;
    using Accessed = Bit<40>;
    using Writable = Bit<41>;  // readable, for code
    using Executable = Bit<43>;
    using NotSystem = Bit<44>;
    using Dpl = Field<46, 45>;
    using Present = Bit<47>;
    using LimitHigh = Field<51, 48>;
    using Long = Bit<53>;
    using DefaultSize = Bit<54>;
    using Granularity = Bit<55>;

    static constexpr std::uint64_t make(bool code, bool long_mode, std::uint64_t privilege)
    {
        return LimitLow::make(0xffff) | LimitHigh::make(0xf) | Accessed::mask | Writable::mask |
               NotSystem::mask | Present::mask | Granularity::mask | Executable::make(code) |
               Long::make(code && long_mode) | DefaultSize::make(!(code && long_mode)) | Dpl::make(privilege);
    }
};
static_assert(SegmentDescriptor::make(true, true, 0) == 0x00af'9b00'0000'ffff);
static_assert(SegmentDescriptor::make(false, true, 0) == 0x00cf'9300'0000'ffff);

/// Task-state segment of long mode.  Packed by the manual: 64-bit fields at multiples of four.
struct [[gnu::packed]] TaskStateSegment {
    std::uint32_t reserved_00;
    std::uint64_t rsp[3];
    std::uint64_t reserved_1c;
    std::uint64_t ist[7];  // ist[0] is the manual's IST1
    std::uint64_t reserved_5c;
    std::uint16_t reserved_64;
    std::uint16_t io_map_base;
};
static_assert(sizeof(TaskStateSegment) == 0x68);
static_assert(offsetof(TaskStateSegment, rsp) == 0x04 && offsetof(TaskStateSegment, ist) == 0x24);
static_assert(offsetof(TaskStateSegment, io_map_base) == 0x66);

/// The two halves of an available 64-bit TSS descriptor.
constexpr std::uint64_t tss_descriptor_low(std::uint64_t base)
{
    return (sizeof(TaskStateSegment) - 1) | (base & 0xff'ffff) << 16 | 0x89ull << 40 |
           ((base >> 24) & 0xff) << 56;
}
constexpr std::uint64_t tss_descriptor_high(std::uint64_t base)
{
    return base >> 32;
}

/// A 64-bit interrupt gate: interrupts are disabled on the way in.
struct InterruptGate {
    std::uint16_t offset_low;
    std::uint16_t selector;
    std::uint8_t ist;
    std::uint8_t attributes;
    std::uint16_t offset_middle;
    std::uint32_t offset_high;
    std::uint32_t reserved;

    static constexpr InterruptGate make(std::uint64_t handler, std::uint16_t selector, std::uint8_t ist,
                                        std::uint8_t privilege)
    {
        return {.offset_low = static_cast<std::uint16_t>(handler),
                .selector = selector,
                .ist = ist,
                .attributes = static_cast<std::uint8_t>(0x8e | privilege << 5),
                .offset_middle = static_cast<std::uint16_t>(handler >> 16),
                .offset_high = static_cast<std::uint32_t>(handler >> 32),
                .reserved = 0};
    }
};
static_assert(sizeof(InterruptGate) == 16);

/// What LGDT and LIDT load.
struct [[gnu::packed]] DescriptorTablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};
static_assert(sizeof(DescriptorTablePointer) == 10);

}  // namespace hv::x86
