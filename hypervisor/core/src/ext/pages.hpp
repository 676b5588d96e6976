// SPDX-License-Identifier: MIT
//
// The guest pages that one binding has to do with: overlay pages (frames of the instance laid over
// guest-physical pages), hypercall pages (the same, filled once and executable) and pinned pages (the guest's
// own RAM, named by handle).  A change of what the guest sees raises the nested generation; the caller makes
// the VCPUs look (HookCall does).  A frame that was visible is given back only when no VCPU can still use the
// old translation.
#pragma once

#include <cstdint>

#include "handle.hpp"
#include "hv/abi/host_table.hpp"
#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/memory/frame_allocator.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/memory/nested_map.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

class Domain;

struct GuestPage {
    enum class Kind : std::uint8_t {
        unused,
        overlay,
        pinned,
        retired
    };
    Kind kind{};
    bool placed{};    ///< an overlay that the guest sees
    bool writable{};  ///< a pin that may be written
    std::uint32_t generation{1};
    HostPhysical frame{};
    GuestPhysical guest{};       ///< where it is placed, or what was pinned
    std::uint64_t retired_at{};  ///< the nested generation since which nobody enters with it
};

/// All functions: any processor.  One lock for all bindings of a domain, since they share the guest's map.
class GuestPages {
public:
    static constexpr std::uint32_t maximum_pages{1024};

    GuestPages(Domain& domain, FrameAllocator& frames, Ledger& ledger, Heap& heap, Spinlock& lock)
        : domain_{domain}, frames_{frames}, ledger_{ledger}, heap_{heap}, lock_{lock}
    {
    }
    ~GuestPages();
    GuestPages(const GuestPages&) = delete;
    GuestPages& operator=(const GuestPages&) = delete;

    /// Whose overlays lie in the same guest's map: the next binding's pages, in a ring of all bindings of the
    /// domain.
    GuestPages* next{this};

    /// Frames for `count` hypercall pages.  Once.  Fails with no_memory or limit_reached.
    Status create_hypercall_pages(std::uint32_t count);
    [[nodiscard]] std::byte* hypercall_page(std::uint32_t page) const;
    /// Overlays that the guest sees, hypercall pages among them.
    [[nodiscard]] std::uint32_t placed();
    Status place_hypercall_page(std::uint32_t page, GuestPhysical guest, std::uint32_t how);

    /// The parts of a handle; `binding` as in Handle.
    Expected<Handle> create_overlay(std::uint32_t binding);
    Status place(Handle page, GuestPhysical guest, bool writable);
    Status remove(Handle page);
    Status destroy(Handle page);
    Expected<Handle> pin(std::uint32_t binding, GuestPhysical guest, std::uint32_t access);
    Status unpin(Handle page);

    /// Calls `use(bytes of the page)` under the lock, after the handle (whose binding the caller has checked)
    /// was found good. Fails with invalid_argument, gone or, for a write to a page pinned for reading,
    /// permission_denied.
    template <typename Use>
    Status with_page(Handle page, bool write, Use use)
    {
        const LockGuard guard{lock_};
        const GuestPage* const found = HV_TRY(look_up(page));
        if (write && found->kind == GuestPage::Kind::pinned && !found->writable)
            return Error::permission_denied;
        return use(bytes_of(found->frame));
    }

    /// Gives everything back and shows the guest its own pages again.  No VCPU runs.
    void clear();
    /// The same, but hypercall pages stay where they are.
    void clear_handles();
    /// Where the guest sees a hypercall page of `left` it sees ours of that number from now on, unless ours is placed
    /// already.  No VCPU runs.
    void take_hypercall_places(GuestPages& left);

private:
    [[nodiscard]] Expected<GuestPage*> look_up(Handle page);
    [[nodiscard]] static std::byte* bytes_of(HostPhysical frame);
    Expected<GuestPage*> unused_slot();
    [[nodiscard]] std::uint32_t index_of(const GuestPage& page) const
    {
        return static_cast<std::uint32_t>(&page - slots_);
    }
    [[nodiscard]] bool shows(GuestPhysical guest) const;
    Status show(GuestPage& page, GuestPhysical guest, NestedAccess access);
    void hide(GuestPage& page);
    void reclaim();
    void release_slots();
    void free_frame(GuestPage& page);
    static void reuse(GuestPage& page);

    Domain& domain_;
    FrameAllocator& frames_;
    Ledger& ledger_;
    Heap& heap_;
    Spinlock& lock_;
    GuestPage* slots_{};
    std::uint32_t capacity_{};
    GuestPage hypercall_pages_[4]{};
};

}  // namespace hv::core
