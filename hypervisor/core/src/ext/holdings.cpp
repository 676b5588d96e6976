// SPDX-License-Identifier: MIT
#include "holdings.hpp"

#include "hv/base/assert.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"

namespace hv::core {
namespace {

constinit std::atomic<std::uint32_t> next_number{1};

/// A number that handles have room for; used again only after sixteen million bindings.
std::uint32_t take_number()
{
    constexpr std::uint32_t mask{static_cast<std::uint32_t>(Handle::Binding::mask >> Handle::Binding::low)};
    return next_number.fetch_add(1, std::memory_order_relaxed) & mask;
}

}  // namespace

Holdings::Holdings(Domain& owner, Spinlock& page_lock, ChannelBoard& board)
    : number{take_number()},
      ledger{frame_limit, &owner.ledger},
      heap{machine().frames, ledger},
      pages{owner, machine().frames, ledger, heap, page_lock},
      timers{heap},
      channels{board, heap, number}
{
}

Holdings::~Holdings()
{
    timers.clear();
    pages.clear();
    HV_ASSERT(heap.allocations() == 0 && ledger.frames() == 0);
}

bool Restarts::allow(std::uint64_t now, std::uint64_t ticks_per_second)
{
    std::uint64_t& oldest = failed_at[failures % most];
    const bool storm = failures >= most && now - oldest < scale(window_ns, ticks_per_second, GuestTime::nanoseconds_per_second);
    oldest = now;
    ++failures;
    return !storm;
}

void Holdings::release_callbacks()
{
    channels.clear();
    if (timers.stop())
        machine().wait_for_turn();
}

}  // namespace hv::core
