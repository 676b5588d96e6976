// SPDX-License-Identifier: MIT
//
// Subscriptions to exits.  What a module wants stands in its manifest; the domain's VCPUs are told the union of what all its
// instances want now, and each kind of exit that somebody wants goes through answer_subscribed() instead of the core's own
// handler: a table in each VCPU, so that who has no subscriber pays nothing.
#pragma once

#include <cstdint>
#include <utility>

#include "hv/abi/manifest.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/hvm/intercepts.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/memory/nested_view.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

class Binding;
class Domain;
class Module;
struct VcpuBinding;

/// What one instance wants, from its manifest.
struct Subscriptions {
    abi::ExitSubscription* list{};
    std::uint32_t count{};

    Status create(Heap& heap, const Module& module);
    void destroy(Heap& heap)
    {
        count = 0;
        heap.release(std::exchange(list, nullptr));
    }
};

/// What the domain's VCPUs are told.  Stays when the stack's instances change.
struct InterceptPlan {
    static constexpr std::size_t maximum_msr_ranges{64};
    /// 2 GiB: each VCPU has tables of its own for them, a frame for 512 pages.
    static constexpr std::uint64_t maximum_watched_pages{std::uint64_t{1} << 19};

    Spinlock lock{};
    Intercepts intercepts{};
    std::uint32_t kinds{};  ///< of core::ExitKind, one bit each: those that go to a subscriber
    bool steps{};           ///< each instruction by itself
    StaticVector<MsrIntercept, maximum_msr_ranges> msrs{};
    StaticVector<WatchedPages, NestedView::maximum_ranges> pages{};
};

/// What a verdict of the `exit` hook may say this time.
enum ExitRule : std::uint8_t {
    exit_may_poll = 1,   ///< `again`
    exit_may_raise = 2,  ///< `inject`
    exit_may_answer = 4, ///< verdict_keep_rip
};

/// Makes room for what a binding's subscriptions need of the domain, before it is used: among those that the domain's stack has.
/// Fails with no_memory or limit_reached, a sentence in `why`.
Status reserve_subscriptions(Binding& binding, TextWriter& why);
/// Nothing is kept ready any more but for the instances that the stack has.  Whoever watched or followed more stands still.
void trim_subscriptions(Domain& domain);
/// The union again, and every VCPU told of it before its next entry: after instances came, went or failed, or a condition was
/// switched.  Any processor.
void renew_subscriptions(Domain& domain);

/// From now on the halt is asked about before each entry, until it ends.
void keep_awake(VcpuBinding& own);
/// A halt that the module keeps awake: asked again.  Called before an entry.
void continue_poll(VcpuBinding& own);
/// The poll of the instance before goes on in this one, or ends.
void take_over_poll(VcpuBinding& own, VcpuBinding& before);

}  // namespace hv::core
