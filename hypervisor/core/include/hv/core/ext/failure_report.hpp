// SPDX-License-Identifier: MIT
//
// What is kept of an instance that failed, for the operator: who, where, why, with its registers, its calls and its last
// events.  A report is written once, at the failure, on the processor where it happened, and stays with the domain: the newest
// few, in memory of the domain's.  It names nothing that can go away before the domain does.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/core/ext/event_log.hpp"
#include "hv/core/ext/failure_core.hpp"
#include "hv/core/ext/placement.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/sync/spinlock.hpp"
#include "hv/loader/sha256.hpp"

namespace hv::core {

class Binding;
struct HookCall;

/// One function that the module was in.
struct ReportFrame {
    std::uint64_t address{};
    std::uint64_t offset{};  ///< in the function
    bool guessed{};          ///< not from the chain of frame pointers: an address on the stack that follows a call
    char symbol[111]{};      ///< as in the module's file; empty: the file names no function there
};

/// Why an instance failed, and what followed.
inline constexpr std::size_t maximum_failure_text{320};

struct ReportEvent {
    HookEvent event{};
    std::uint32_t vcpu{};  ///< FailureReport::of_domain: a hook of the domain
};

struct FailureReport {
    static constexpr std::uint32_t of_domain{~0u};
    static constexpr std::size_t maximum_frames{16};
    static constexpr std::size_t maximum_events{EventLog::capacity};

    std::uint64_t number{};  ///< counts the failures in this domain, from 1
    std::uint64_t ticks{};
    BoundedText<64> module{};
    std::uint16_t version[3]{};
    loader::Sha256 hash{};
    std::uint64_t generation{};  ///< which load of the module it was
    const char* hook{};
    std::uint32_t vcpu{of_domain};
    Placement placement{};
    OnFault action{};
    bool in_bind{};        ///< the bind was refused: no action was taken
    bool has_registers{};
    platform::HookFault fault{};
    std::uint64_t image{};  ///< where its text began
    BoundedText<maximum_failure_text> reason{};
    std::uint32_t frame_count{};
    ReportFrame frames[maximum_frames]{};
    std::uint32_t event_count{};
    ReportEvent events[maximum_events]{};  ///< the oldest first
};

/// Of one domain.
class FailureReports {
public:
    static constexpr std::size_t kept{4};

    explicit FailureReports(Heap& heap) : heap_{heap}, core_{heap} {}
    ~FailureReports();
    FailureReports(const FailureReports&) = delete;
    FailureReports& operator=(const FailureReports&) = delete;

    /// Writes down what the call's binding did; the call is still the processor's current one, and `action` follows.  `fault` is null where the hook
    /// returned.  False: there is no memory for it.
    bool add(const HookCall& call, std::string_view reason, const platform::HookFault* fault, OnFault action,
             bool in_bind);

    /// How many there have been, also those that are not kept any more.
    [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_acquire); }
    /// Calls `visit(const FailureReport&)` with the newest report of `module` (empty: of any) after skipping `skip` newer ones.
    /// False: there is none.
    template <typename Visit>
    bool visit(std::string_view module, std::uint32_t skip, Visit visit) const
    {
        const LockGuard guard{lock_};
        const FailureReport* const found = find(module, skip);
        if (found != nullptr)
            visit(*found);
        return found != nullptr;
    }

    /// Calls `visit(const FailureCore&)` with the memory of the newest failure that it was kept of.  False: of none.
    template <typename Visit>
    bool visit_core(Visit visit) const
    {
        const LockGuard guard{lock_};
        if (core_.number() != 0)
            visit(core_);
        return core_.number() != 0;
    }

private:
    [[nodiscard]] const FailureReport* find(std::string_view module, std::uint32_t skip) const;

    Heap& heap_;
    mutable Spinlock lock_{};
    std::atomic<std::uint64_t> count_{};
    FailureReport* reports_[kept]{};  ///< number n at (n - 1) % kept
    FailureCore core_;
};

}  // namespace hv::core
