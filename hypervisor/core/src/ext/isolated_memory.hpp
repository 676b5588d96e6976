// SPDX-License-Identifier: MIT
//
// All that an isolated instance can reach, and how the core reaches the same bytes: the image, a page or more of constants
// that the core wrote (contexts, grants), the working copies of the state blocks, a seat for each VCPU and one for the domain's
// hooks (a stack, and the room for what a hook's arguments point to), and what the module allocates.  Everything lies in frames
// of the instance's ledger; the core uses the direct map and never an address of the module's.  A seat is a stack per VCPU
// rather than per processor: hooks of one VCPU never overlap, so no two hooks ever share one.
#pragma once

#include <cstdint>
#include <span>

#include "hv/abi/hook_table.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/sync/spinlock.hpp"
#include "hv/loader/module_memory.hpp"

namespace hv::core {

/// What the pointers among a hook's arguments point to.
struct Exchange {
    abi::HypercallFrame frame;  ///< of the hypercall under way
    abi::ExitFrame exit;
    abi::CpuidResult leaf;
    std::uint64_t value;
    abi::Parameter parameter;
    abi::HypercallPageRequest page_request;
};

/// Where one hook at a time runs.  In the trusted placement: only the exchange.
struct Seat {
    Exchange* exchange{};
    std::uint64_t to_module{};  ///< what makes a pointer into the seat the module's: zero where both see the same addresses
    std::uint64_t context{};    ///< address of the hook's first argument, as the module sees it
    std::uint64_t stack{};      ///< the module's stack pointer at the hook's first instruction
    std::uint64_t* return_slot{};

    /// A pointer into the exchange as the module sees it.
    template <typename T>
    [[nodiscard]] T* shown(T* own) const
    {
        return reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(own) + to_module);
    }
};

class IsolatedMemory final : public loader::ModuleMemory {
public:
    static constexpr std::uint64_t buffer_bytes{page_size};

    IsolatedMemory(FrameAllocator& frames, Ledger& ledger) : space{frames, ledger}, frames_{frames}, ledger_{ledger} {}
    /// Gives everything back.  No processor runs in it, none has the space loaded.
    ~IsolatedMemory();

    /// The space, `constant_bytes` that only the core writes, `writable_bytes` that both do, and the seats.  Fails with
    /// no_memory or limit_reached.
    Status create(std::uint64_t constant_bytes, std::uint64_t writable_bytes, unsigned seats);

    Expected<loader::Placement> reserve(const loader::ImageLayout& layout) override;
    Status seal(const loader::Placement& placement, const loader::ImageLayout& layout) override;
    void release(const loader::Placement& placement, const loader::ImageLayout& layout) override;

    /// The same byte for the module, of a pointer into constants() or writable().
    [[nodiscard]] std::uint64_t address_of(const void* own) const;
    [[nodiscard]] std::byte* constants() const { return constants_.own; }
    [[nodiscard]] std::byte* writable() const { return writable_.own; }
    void fill_seat(unsigned index, Seat& seat) const;

    /// Where the core finds [address, address + bytes) of the module, or null where not all of it is the instance's own and,
    /// for `write`, writable.
    [[nodiscard]] std::byte* reach(std::uint64_t address, std::uint64_t bytes, bool write);

    /// Calls `show(address, bytes, writable, executable)` for all that the instance can reach, but of the stacks only for the one
    /// that `stack` lies in.
    template <typename Show>
    void visit(std::uint64_t stack, Show show) const
    {
        const auto whole = [&](const Region& region) {
            show(region.address, std::span<const std::byte>{region.own, static_cast<std::size_t>(region.bytes)}, region.writable, false);
        };
        const auto part = [&](const loader::Region& of, bool writable, bool executable) {
            show(image_.address + of.offset,
                 std::span<const std::byte>{image_.own + of.offset, static_cast<std::size_t>(of.bytes)}, writable, executable);
        };
        whole(constants_);
        whole(writable_);
        for (const Region& seat : seats_)
            if (stack - seat.address < seat.bytes)
                whole(seat);
        if (image_.own != nullptr) {
            part(layout_.text, false, true);
            part(layout_.rodata, false, false);
            part(layout_.data, true, false);
        }
        const LockGuard guard{allocation_lock_};
        for (const Block& block : blocks_)
            if (block.used)
                whole(block.region);
    }

    /// Zeroed memory of the module's; its address.  Fails with no_memory or limit_reached.
    Expected<std::uint64_t> allocate(std::uint64_t bytes);
    /// Ends an allocation.  Its frames stay the instance's, for its next allocation of that size: another processor may still
    /// know their addresses.  Fails with invalid_argument.
    Status release_allocation(std::uint64_t address);

    platform::IsolatedSpace space;

private:
    /// A run of addresses and of frames, with the same access everywhere.
    struct Region {
        std::uint64_t address;
        std::uint64_t bytes;
        std::byte* own;
        bool writable;

        [[nodiscard]] std::byte* reach(std::uint64_t at, std::uint64_t length, bool write) const
        {
            const std::uint64_t offset = at - address;
            return offset < bytes && length <= bytes - offset && (writable || !write) ? own + offset : nullptr;
        }
    };
    struct Block {
        Region region;
        unsigned order;
        bool used;
    };
    static constexpr std::size_t maximum_seats{maximum_vcpus + 1};
    static constexpr std::size_t maximum_blocks{32};

    Expected<Region> add_region(std::uint64_t bytes, platform::ModuleAccess access);
    Expected<std::uint64_t> take_addresses(std::uint64_t bytes);
    void release_region(const Region& region);

    FrameAllocator& frames_;
    Ledger& ledger_;
    std::uint64_t next_address_{};
    Region constants_{}, writable_{};
    StaticVector<Region, maximum_seats> seats_{};
    Region image_{};
    loader::ImageLayout layout_{};
    mutable Spinlock allocation_lock_{};
    StaticVector<Block, maximum_blocks> blocks_{};
};

}  // namespace hv::core
