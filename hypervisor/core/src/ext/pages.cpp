// SPDX-License-Identifier: MIT
#include "pages.hpp"

#include <cstring>
#include <iterator>

#include "hv/base/assert.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::core {
namespace {

constexpr std::uint64_t local_apic_page{0xfee0'0000};
constexpr std::uint32_t first_capacity{16};

/// True when every VCPU that may still use translations older than `generation` has entered since, or runs
/// nowhere.
bool everybody_is_past(const Domain& domain, std::uint64_t generation)
{
    for (unsigned index = 0; index < domain.vcpu_count(); ++index) {
        const Vcpu& vcpu = domain.vcpu(index);
        if (vcpu.running() && vcpu.entered_generation.load(std::memory_order_acquire) < generation)
            return false;
    }
    return true;
}

}  // namespace

GuestPages::~GuestPages()
{
    HV_ASSERT(slots_ == nullptr && next == this);
}

std::byte* GuestPages::bytes_of(HostPhysical frame)
{
    return static_cast<std::byte*>(platform::to_pointer(frame));
}

// ---- handles
// ----------------------------------------------------------------------------------------------------

Expected<GuestPage*> GuestPages::look_up(Handle page)
{
    if (page.index() >= capacity_)
        return Error::invalid_argument;
    GuestPage& found = slots_[page.index()];
    if (found.generation != page.generation() || found.kind == GuestPage::Kind::unused ||
        found.kind == GuestPage::Kind::retired)
        return Error::gone;
    return &found;
}

/// A slot for a new page; the slot array grows up to its limit.
Expected<GuestPage*> GuestPages::unused_slot()
{
    reclaim();
    for (std::uint32_t index = 0; index < capacity_; ++index)
        if (slots_[index].kind == GuestPage::Kind::unused)
            return &slots_[index];
    if (capacity_ == maximum_pages)
        return Error::limit_reached;
    const std::uint32_t capacity = capacity_ == 0 ? first_capacity : 2 * capacity_;
    auto* const larger =
        static_cast<GuestPage*>(heap_.allocate(capacity * sizeof(GuestPage), alignof(GuestPage)));
    if (larger == nullptr)
        return Error::no_memory;
    for (std::uint32_t index = 0; index < capacity; ++index)
        new (larger + index) GuestPage(index < capacity_ ? slots_[index] : GuestPage{});
    heap_.release(slots_);
    slots_ = larger;
    GuestPage* const slot = slots_ + capacity_;
    capacity_ = capacity;
    return slot;
}

void GuestPages::reuse(GuestPage& page)
{
    const std::uint32_t generation = page.generation == Handle::last_generation ? 1 : page.generation + 1;
    page = GuestPage{};
    page.generation = generation;
}

void GuestPages::free_frame(GuestPage& page)
{
    frames_.release(page.frame, 0, ledger_);
    const std::uint32_t generation = page.generation;
    page = GuestPage{};
    page.generation = generation;  // it was raised when the page was retired
}

void GuestPages::reclaim()
{
    for (std::uint32_t index = 0; index < capacity_; ++index)
        if (slots_[index].kind == GuestPage::Kind::retired &&
            everybody_is_past(domain_, slots_[index].retired_at))
            free_frame(slots_[index]);
}

// ---- what the guest sees
// ----------------------------------------------------------------------------------------

bool GuestPages::shows(GuestPhysical guest) const
{
    const GuestPages* pages = this;
    do {
        for (std::uint32_t index = 0; index < pages->capacity_; ++index)
            if (pages->slots_[index].placed && pages->slots_[index].guest == guest)
                return true;
        for (const GuestPage& page : pages->hypercall_pages_)
            if (page.placed && page.guest == guest)
                return true;
        pages = pages->next;
    } while (pages != this);
    return false;
}

Status GuestPages::show(GuestPage& page, GuestPhysical guest, NestedAccess access)
{
    if (guest.page_offset() != 0 || guest.raw() >> domain_.cpuid.physical_address_bits() != 0)
        return Error::invalid_argument;
    const bool moves = !page.placed || page.guest != guest;
    if (moves && (shows(guest) || guest.raw() == local_apic_page || domain_.pc->owns(guest)))
        return Error::conflict;
    if (domain_.memory.is_ram(guest))
        HV_TRY(
            domain_.memory.ram_page(guest));  // its large page is in the map before a part of it is replaced
    HV_TRY(domain_.memory.map().replace(guest, page.frame, page_size, access));
    if (page.placed && moves)
        hide(page);
    page.placed = true;
    page.guest = guest;
    return Done{};
}

/// The guest sees its own page again, or nothing where it has none.
void GuestPages::hide(GuestPage& page)
{
    NestedMap& map = domain_.memory.map();
    const auto own = domain_.memory.ram_page(page.guest);
    const auto restored =
        own ? map.replace(page.guest, own.value(), page_size, access_all) : map.unmap(page.guest, page_size);
    HV_ASSERT(restored);  // a small page was there: no table is needed
    page.placed = false;
}

// ---- hypercall pages
// --------------------------------------------------------------------------------------------

Status GuestPages::create_hypercall_pages(std::uint32_t count)
{
    constexpr int int3{0xcc};  // [APM3-3.35 "INT3"]
    for (std::uint32_t index = 0; index < count; ++index) {
        GuestPage& page = hypercall_pages_[index];
        page.frame = HV_TRY(frames_.allocate(0, ledger_));
        page.kind = GuestPage::Kind::overlay;
        std::memset(bytes_of(page.frame), int3, page_size);
    }
    return Done{};
}

std::byte* GuestPages::hypercall_page(std::uint32_t page) const
{
    return bytes_of(hypercall_pages_[page].frame);
}

std::uint32_t GuestPages::placed()
{
    const LockGuard guard{lock_};
    std::uint32_t count{};
    for (std::uint32_t index = 0; index < capacity_; ++index)
        count += slots_[index].placed ? 1 : 0;
    for (const GuestPage& page : hypercall_pages_)
        count += page.placed ? 1 : 0;
    return count;
}

Status GuestPages::place_hypercall_page(std::uint32_t page, GuestPhysical guest, std::uint32_t how)
{
    const LockGuard guard{lock_};
    if (page >= 4 || hypercall_pages_[page].kind != GuestPage::Kind::overlay ||
        how > abi::hypercall_page_copy)
        return Error::invalid_argument;
    GuestPage& slot = hypercall_pages_[page];
    if (how == abi::hypercall_page_overlay)
        return show(slot, guest, access_read_execute);
    if (how == abi::hypercall_page_copy) {
        if (guest.page_offset() != 0)
            return Error::invalid_argument;
        const bool over_itself = slot.placed && slot.guest == guest;
        if (!over_itself && shows(guest))
            return Error::conflict;
        if (!domain_.memory.is_ram(guest))
            return Error::out_of_range;
        const HostPhysical own = HV_TRY(domain_.memory.ram_page(guest));
        std::memcpy(bytes_of(own), bytes_of(slot.frame), page_size);
    }
    if (slot.placed)
        hide(slot);
    return Done{};
}

// ---- overlays and pins
// ------------------------------------------------------------------------------------------

Expected<Handle> GuestPages::create_overlay(std::uint32_t binding)
{
    const LockGuard guard{lock_};
    GuestPage* const page = HV_TRY(unused_slot());
    page->frame = HV_TRY(frames_.allocate(0, ledger_));
    std::memset(bytes_of(page->frame), 0, page_size);
    page->kind = GuestPage::Kind::overlay;
    return Handle{HandleKind::page, binding, page->generation, index_of(*page)};
}

Status GuestPages::place(Handle handle, GuestPhysical guest, bool writable)
{
    const LockGuard guard{lock_};
    GuestPage* const page = HV_TRY(look_up(handle));
    if (page->kind != GuestPage::Kind::overlay)
        return Error::invalid_argument;
    return show(*page, guest, writable ? access_no_execute : access_read_only);
}

Status GuestPages::remove(Handle handle)
{
    const LockGuard guard{lock_};
    GuestPage* const page = HV_TRY(look_up(handle));
    if (page->kind != GuestPage::Kind::overlay)
        return Error::invalid_argument;
    if (!page->placed)
        return Error::not_found;
    hide(*page);
    return Done{};
}

Status GuestPages::destroy(Handle handle)
{
    const LockGuard guard{lock_};
    GuestPage* const page = HV_TRY(look_up(handle));
    if (page->kind != GuestPage::Kind::overlay)
        return Error::invalid_argument;
    if (page->placed)
        hide(*page);
    const HostPhysical frame = page->frame;
    reuse(*page);
    page->kind = GuestPage::Kind::retired;
    page->frame = frame;
    page->retired_at = domain_.memory.map().generation().load(std::memory_order_acquire);
    reclaim();
    return Done{};
}

Expected<Handle> GuestPages::pin(std::uint32_t binding, GuestPhysical guest, std::uint32_t access)
{
    if (guest.page_offset() != 0 || access == 0 || (access & ~(abi::pin_read | abi::pin_write)) != 0)
        return Error::invalid_argument;
    const LockGuard guard{lock_};
    if (!domain_.memory.is_ram(guest))
        return Error::out_of_range;
    const HostPhysical frame = HV_TRY(domain_.memory.ram_page(guest));
    GuestPage* const page = HV_TRY(unused_slot());
    page->kind = GuestPage::Kind::pinned;
    page->frame = frame;
    page->guest = guest;
    page->writable = (access & abi::pin_write) != 0;
    return Handle{HandleKind::page, binding, page->generation, index_of(*page)};
}

Status GuestPages::unpin(Handle handle)
{
    const LockGuard guard{lock_};
    GuestPage* const page = HV_TRY(look_up(handle));
    if (page->kind != GuestPage::Kind::pinned)
        return Error::invalid_argument;
    reuse(*page);
    return Done{};
}

void GuestPages::release_slots()
{
    for (std::uint32_t index = 0; index < capacity_; ++index) {
        GuestPage& page = slots_[index];
        if (page.placed)
            hide(page);
        if (page.kind == GuestPage::Kind::overlay || page.kind == GuestPage::Kind::retired)
            frames_.release(page.frame, 0, ledger_);
    }
    heap_.release(slots_);
    slots_ = nullptr;
    capacity_ = 0;
}

void GuestPages::clear_handles()
{
    const LockGuard guard{lock_};
    release_slots();
}

void GuestPages::take_hypercall_places(GuestPages& left)
{
    const LockGuard guard{lock_};
    for (std::size_t number = 0; number < std::size(hypercall_pages_); ++number) {
        GuestPage& old = left.hypercall_pages_[number];
        GuestPage& own = hypercall_pages_[number];
        if (!old.placed || own.placed || own.kind != GuestPage::Kind::overlay)
            continue;
        hide(old);
        const Status shown = show(own, old.guest, access_read_execute);
        HV_ASSERT(shown);  // a small page was there
    }
}

void GuestPages::clear()
{
    const LockGuard guard{lock_};
    release_slots();
    for (GuestPage& page : hypercall_pages_) {
        if (page.placed)
            hide(page);
        if (page.kind == GuestPage::Kind::overlay)
            frames_.release(page.frame, 0, ledger_);
        page = GuestPage{};
    }
}

}  // namespace hv::core
