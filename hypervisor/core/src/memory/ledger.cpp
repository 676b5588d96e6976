// SPDX-License-Identifier: MIT
//
// Counting frames, atomically and never beyond a limit: see ledger.hpp.
#include "hv/core/memory/ledger.hpp"

#include "hv/base/assert.hpp"

namespace hv::core {

namespace {

constinit std::atomic<std::uint32_t> next_identity{1};

}  // namespace

Ledger::Ledger(std::uint64_t limit_frames, Ledger* parent)
    : limit_{limit_frames}, parent_{parent}, identity_{next_identity.fetch_add(1, std::memory_order_relaxed)}
{
    HV_ASSERT(identity_ != 0);  // four thousand million ledgers later: the identity would lie
}

Ledger::~Ledger()
{
    HV_ASSERT(frames() == 0);
}

Status Ledger::charge(std::uint64_t frames)
{
    for (Ledger* ledger = this; ledger != nullptr; ledger = ledger->parent_) {
        if (ledger->charge_here(frames))
            continue;
        for (Ledger* charged = this; charged != ledger; charged = charged->parent_)
            charged->refund_here(frames);
        return Error::limit_reached;
    }
    return Done{};
}

void Ledger::refund(std::uint64_t frames)
{
    for (Ledger* ledger = this; ledger != nullptr; ledger = ledger->parent_)
        ledger->refund_here(frames);
}

Status Ledger::charge_here(std::uint64_t frames)
{
    std::uint64_t held = frames_.load(std::memory_order_relaxed);
    do {
        const std::uint64_t most = limit();
        if (held > most || most - held < frames)
            return Error::limit_reached;
    } while (!frames_.compare_exchange_weak(held, held + frames, std::memory_order_relaxed));
    return Done{};
}

void Ledger::refund_here(std::uint64_t frames)
{
    const std::uint64_t held = frames_.fetch_sub(frames, std::memory_order_relaxed);
    HV_ASSERT(held >= frames);
}

}  // namespace hv::core
