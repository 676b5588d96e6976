// SPDX-License-Identifier: MIT
//
// Pages of a guest by handle: pinned ones, held for the length of a hook or kept as a number in a state
// block, and overlays, owned by the core.  No pointer to guest memory appears here; access is by copy or
// atomic operation.
#pragma once

#include "hv/ext/host.hpp"

namespace hv::ext {

/// Atomic access to a page by its handle; does not own it, and is plain data fit for a state block.
struct PageView {
    std::uint64_t domain;
    std::uint64_t page;

    template <typename V>
    requires std::is_integral_v<V>
    [[nodiscard]] Expected<V> load(std::uint32_t offset) const
    {
        std::uint64_t value{};
        if (const auto answer = check(host().page_load(domain, page, offset, sizeof(V), &value)); !answer)
            return answer.error();
        return static_cast<V>(value);
    }
    template <typename V>
    requires std::is_integral_v<V>
    [[nodiscard]] Status store(std::uint32_t offset, V value) const
    {
        return check(host().page_store(domain, page, offset, sizeof(V), static_cast<std::uint64_t>(value)));
    }
    /// What the bit was.
    [[nodiscard]] Expected<bool> test_and_set(std::uint32_t bit) const
    {
        std::uint32_t before{};
        if (const auto answer = check(host().page_test_and_set(domain, page, bit, &before)); !answer)
            return answer.error();
        return before != 0;
    }
    [[nodiscard]] Expected<bool> test_and_clear(std::uint32_t bit) const
    {
        std::uint32_t before{};
        if (const auto answer = check(host().page_test_and_clear(domain, page, bit, &before)); !answer)
            return answer.error();
        return before != 0;
    }
    template <typename V>
    requires std::is_trivially_copyable_v<V>
    [[nodiscard]] Status write(std::uint32_t offset, const V& value) const
    {
        return check(host().page_write(domain, page, offset, &value, sizeof value));
    }
};

/// A pinned guest page that is let go at the end of the scope, unless its handle is kept.
class GuestPage {
public:
    [[nodiscard]] static Expected<GuestPage> pin(std::uint64_t domain, GuestPhysical address,
                                                 std::uint32_t access)
    {
        std::uint64_t page{};
        if (const auto answer = check(host().page_pin(domain, address.raw(), access, &page)); !answer)
            return answer.error();
        return GuestPage{{domain, page}};
    }
    GuestPage(GuestPage&& other) noexcept : view_{other.view_} { other.view_.page = 0; }
    GuestPage(const GuestPage&) = delete;
    GuestPage& operator=(const GuestPage&) = delete;
    GuestPage& operator=(GuestPage&&) = delete;
    ~GuestPage()
    {
        if (view_.page != 0)
            static_cast<void>(host().page_unpin(view_.domain, view_.page));
    }

    [[nodiscard]] const PageView& view() const { return view_; }
    /// The handle, which the caller now keeps (in a state block) and unpins itself.
    [[nodiscard]] std::uint64_t keep()
    {
        const std::uint64_t page{view_.page};
        view_.page = 0;
        return page;
    }

private:
    explicit GuestPage(PageView view) : view_{view} {}
    PageView view_;
};

/// A page of the core's that can lie over one of the guest's.  Plain data: keep it in a state block.
struct Overlay {
    std::uint64_t page;

    [[nodiscard]] static Expected<Overlay> create(std::uint64_t domain)
    {
        Overlay overlay{};
        if (const auto answer = check(host().overlay_create(domain, &overlay.page)); !answer)
            return answer.error();
        return overlay;
    }
    [[nodiscard]] Status place(std::uint64_t domain, GuestPhysical address, bool writable) const
    {
        return check(host().overlay_place(domain, page, address.raw(), writable ? 1 : 0));
    }
    [[nodiscard]] Status remove(std::uint64_t domain) const
    {
        return check(host().overlay_remove(domain, page));
    }
    [[nodiscard]] PageView view(std::uint64_t domain) const { return {domain, page}; }
};

}  // namespace hv::ext
