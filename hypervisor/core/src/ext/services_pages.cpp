// SPDX-License-Identifier: MIT
//
// Services on hypercall, overlay and pinned pages.  Accesses to a page by handle are copies, or single atomic
// operations that a guest on another processor can meet.
#include <cstring>

#include "service_call.hpp"

namespace hv::core::services {
namespace {

constexpr std::uint64_t page_needs{abi::need_overlays | abi::need_pinned_pages};
constexpr std::uint32_t bits_of_a_page{32768};

/// A service on the guest's map: what it changed is seen before the hook's return takes effect.
template <typename Body>
Answer change_map(std::uint64_t domain, std::uint64_t need, Body body)
{
    return serve_domain(domain, need | acts, [&](HookCall& call) -> Status {
        HV_TRY(body(call, call.binding->pages));
        call.after |= HookCall::guest_map_changed;
        return Done{};
    });
}

/// A service on a page that takes both kinds of handle: either need will do.
template <typename Body>
Answer serve_page(std::uint64_t domain, std::uint64_t page, bool write, Body body)
{
    return serve_domain(domain, write ? acts : 0, [&](HookCall& call) -> Status {
        if ((call.binding->needs & page_needs) == 0)
            return Error::permission_denied;
        const Handle handle = HV_TRY(own_handle(call, page, HandleKind::page));
        return call.binding->pages.with_page(handle, write, body);
    });
}

bool is_place(std::uint32_t offset, std::uint32_t size)
{
    return (size == 1 || size == 2 || size == 4 || size == 8) && offset % size == 0 &&
           offset <= page_size - size;
}

/// Calls `body(typed pointer)` for an operand of 1, 2, 4 or 8 bytes.
template <typename Body>
Status with_operand(std::byte* bytes, std::uint32_t size, Body body)
{
    switch (size) {
    case 1: body(reinterpret_cast<std::uint8_t*>(bytes)); break;
    case 2: body(reinterpret_cast<std::uint16_t*>(bytes)); break;
    case 4: body(reinterpret_cast<std::uint32_t*>(bytes)); break;
    default: body(reinterpret_cast<std::uint64_t*>(bytes)); break;
    }
    return Done{};
}

template <typename Body>
Answer serve_operand(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                     bool write, Body body)
{
    return serve_page(domain, page, write, [&](std::byte* bytes) -> Status {
        if (!is_place(offset, size))
            return Error::invalid_argument;
        return with_operand(bytes + offset, size, body);
    });
}

/// Ends the lazy end of interrupt of every VCPU whose bit lies in this page.  Fails with busy while one of
/// them runs.
Status withdraw_assists(HookCall& call, std::uint64_t page)
{
    for (unsigned index = 0; index < call.binding->vcpu_count; ++index) {
        VcpuBinding& own = *call.binding->vcpus[index];
        if (own.eoi_assist_page != page)
            continue;
        HV_TRY(check_still(call, own));
        own.vcpu.eoi_assist = {};
        own.vcpu.renew_entry_extras();
        own.eoi_assist_page = 0;
    }
    return Done{};
}

Answer change_bit(std::uint64_t domain, std::uint64_t page, std::uint32_t bit, bool set,
                  std::uint32_t* before)
{
    return serve_page(domain, page, true, [&](std::byte* bytes) -> Status {
        if (before == nullptr || bit >= bits_of_a_page)
            return Error::invalid_argument;
        auto* const word = reinterpret_cast<std::uint32_t*>(bytes) + bit / 32;
        const std::uint32_t mask = 1u << (bit % 32);
        const std::uint32_t old = set ? __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST)
                                      : __atomic_fetch_and(word, ~mask, __ATOMIC_SEQ_CST);
        *before = (old & mask) != 0 ? 1 : 0;
        return Done{};
    });
}

}  // namespace

Answer hypercall_page_place(std::uint64_t domain, std::uint32_t page, std::uint64_t gpa, std::uint32_t how)
{
    return change_map(domain, abi::need_overlays, [&](HookCall&, GuestPages& pages) {
        return pages.place_hypercall_page(page, GuestPhysical{gpa}, how);
    });
}

Answer overlay_create(std::uint64_t domain, std::uint64_t* page)
{
    return serve_domain(domain, abi::need_overlays | acts, [&](HookCall& call) -> Status {
        if (page == nullptr)
            return Error::invalid_argument;
        *page = HV_TRY(call.binding->pages.create_overlay(call.binding->number)).raw();
        return Done{};
    });
}

Answer overlay_place(std::uint64_t domain, std::uint64_t page, std::uint64_t gpa, std::uint32_t writable)
{
    return change_map(domain, abi::need_overlays, [&](HookCall& call, GuestPages& pages) -> Status {
        const Handle handle = HV_TRY(own_handle(call, page, HandleKind::page));
        return pages.place(handle, GuestPhysical{gpa}, writable != 0);
    });
}

Answer overlay_remove(std::uint64_t domain, std::uint64_t page)
{
    return change_map(domain, abi::need_overlays, [&](HookCall& call, GuestPages& pages) -> Status {
        return pages.remove(HV_TRY(own_handle(call, page, HandleKind::page)));
    });
}

Answer overlay_destroy(std::uint64_t domain, std::uint64_t page)
{
    return change_map(domain, abi::need_overlays, [&](HookCall& call, GuestPages& pages) -> Status {
        const Handle handle = HV_TRY(own_handle(call, page, HandleKind::page));
        HV_TRY(withdraw_assists(call, page));
        return pages.destroy(handle);
    });
}

Answer page_read(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, void* own,
                 std::uint64_t length)
{
    return serve_page(domain, page, false, [&](std::byte* bytes) -> Status {
        if (offset > page_size || length > page_size - offset || (own == nullptr && length != 0))
            return Error::invalid_argument;
        if (length != 0)
            std::memcpy(own, bytes + offset, length);
        return Done{};
    });
}

Answer page_write(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, const void* own,
                  std::uint64_t length)
{
    return serve_page(domain, page, true, [&](std::byte* bytes) -> Status {
        if (offset > page_size || length > page_size - offset || (own == nullptr && length != 0))
            return Error::invalid_argument;
        if (length != 0)
            std::memcpy(bytes + offset, own, length);
        return Done{};
    });
}

Answer page_pin(std::uint64_t domain, std::uint64_t gpa, std::uint32_t access, std::uint64_t* page)
{
    return serve_domain(domain, abi::need_pinned_pages | acts, [&](HookCall& call) -> Status {
        if (page == nullptr)
            return Error::invalid_argument;
        *page = HV_TRY(call.binding->pages.pin(call.binding->number, GuestPhysical{gpa}, access)).raw();
        return Done{};
    });
}

Answer page_unpin(std::uint64_t domain, std::uint64_t page)
{
    return serve_domain(domain, abi::need_pinned_pages | acts, [&](HookCall& call) -> Status {
        const Handle handle = HV_TRY(own_handle(call, page, HandleKind::page));
        HV_TRY(withdraw_assists(call, page));
        return call.binding->pages.unpin(handle);
    });
}

Answer page_load(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                 std::uint64_t* value)
{
    return serve_operand(domain, page, offset, value == nullptr ? 0 : size, false,
                         [&](auto* at) { *value = __atomic_load_n(at, __ATOMIC_SEQ_CST); });
}

Answer page_store(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                  std::uint64_t value)
{
    return serve_operand(domain, page, offset, size, true, [&](auto* at) {
        __atomic_store_n(at, static_cast<std::remove_pointer_t<decltype(at)>>(value), __ATOMIC_SEQ_CST);
    });
}

Answer page_exchange(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                     std::uint64_t value, std::uint64_t* before)
{
    return serve_operand(domain, page, offset, before == nullptr ? 0 : size, true, [&](auto* at) {
        *before = __atomic_exchange_n(at, static_cast<std::remove_pointer_t<decltype(at)>>(value),
                                      __ATOMIC_SEQ_CST);
    });
}

Answer page_compare_exchange(std::uint64_t domain, std::uint64_t page, std::uint32_t offset,
                             std::uint32_t size, std::uint64_t expected, std::uint64_t desired,
                             std::uint64_t* before)
{
    return serve_operand(domain, page, offset, before == nullptr ? 0 : size, true, [&](auto* at) {
        using Operand = std::remove_pointer_t<decltype(at)>;
        auto there = static_cast<Operand>(expected);
        __atomic_compare_exchange_n(at, &there, static_cast<Operand>(desired), false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        *before = there;
    });
}

Answer page_test_and_set(std::uint64_t domain, std::uint64_t page, std::uint32_t bit, std::uint32_t* before)
{
    return change_bit(domain, page, bit, true, before);
}

Answer page_test_and_clear(std::uint64_t domain, std::uint64_t page, std::uint32_t bit, std::uint32_t* before)
{
    return change_bit(domain, page, bit, false, before);
}

}  // namespace hv::core::services
