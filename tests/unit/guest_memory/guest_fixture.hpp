// SPDX-License-Identifier: MIT
//
// A domain's memory on a machine that is nothing but an arena.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "fake_platform.hpp"
#include "hv/core/memory/domain_memory.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::test {

using namespace hv::core;

inline constexpr unsigned long long mib{1 << 20};
inline constexpr unsigned long long gib{1 << 30};
inline constexpr GuestRange usual_hole{GuestPhysical{3 * gib}, gib};
/// AMD's entries.
inline constexpr NestedEntryFormat nested_format{.table = 0x27,
                                                 .leaf = 0x65,
                                                 .read = 0,
                                                 .write = 0x2,
                                                 .execute = 0,
                                                 .deny_execute = 1ull << 63,
                                                 .large = 0x80,
                                                 .address_mask = 0x0000'ffff'ffff'f000};  // 48 bits

class GuestTest : public testing::Test {
protected:
    explicit GuestTest(std::uint64_t machine_bytes = 64 * mib)
    {
        fake::reset_platform(2);
        EXPECT_TRUE(frames.add_range({HostPhysical{mib}, machine_bytes}));
        free_at_first = frames.free_frames();
    }
    ~GuestTest() override
    {
        memory.reset();
        EXPECT_EQ(heap.allocations(), 0u);
        EXPECT_EQ(ledger.frames(), 0u);
    }
    Status create(std::uint64_t bytes, GuestRange hole = usual_hole)
    {
        memory.reset();
        memory = std::make_unique<DomainMemory>(frames, heap, nested_format, true);
        return memory->create(bytes, hole);
    }
    void put(std::uint64_t address, std::uint64_t value)
    {
        EXPECT_TRUE(memory->guest().write_value(GuestPhysical{address}, value)) << std::hex << address;
    }
    void put32(std::uint64_t address, std::uint32_t value)
    {
        EXPECT_TRUE(memory->guest().write_value(GuestPhysical{address}, value)) << std::hex << address;
    }
    [[nodiscard]] std::uint64_t get(std::uint64_t address) const
    {
        const auto value = memory->guest().read_value<std::uint64_t>(GuestPhysical{address});
        EXPECT_TRUE(value) << std::hex << address;
        return value ? value.value() : ~0ull;
    }

    FrameAllocator frames;
    Ledger ledger;
    Heap heap{frames, ledger};
    std::unique_ptr<DomainMemory> memory;
    std::uint64_t free_at_first{};
};

}  // namespace hv::test
