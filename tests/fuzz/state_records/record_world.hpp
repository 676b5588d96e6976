// SPDX-License-Identifier: MIT
//
// A machine on fakes for the fuzzer of state records: for each of some modules, in each placement, a domain of two VCPUs that has
// an instance of it.  A fresh instance beside that one is what records are imported into; one that refused them before any of its
// hooks ran is fresh again as soon as its blocks are, which spares most imports the making of an instance.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "binding.hpp"
#include "hv/core/machine.hpp"
#include "stack.hpp"

namespace hv::fuzz {

class RecordWorld {
public:
    static constexpr std::size_t modules{5};
    /// Of all modules and placements.
    static constexpr std::size_t kinds{2 * modules};

    RecordWorld();
    /// Asserts that nothing is left.
    ~RecordWorld();
    RecordWorld(const RecordWorld&) = delete;
    RecordWorld& operator=(const RecordWorld&) = delete;

    /// The instance of one kind, whose guest never runs.
    [[nodiscard]] core::Binding& standing(std::size_t kind);
    /// An instance beside that one, in which nothing ran.
    [[nodiscard]] core::Binding& fresh(std::size_t kind) { return *fresh_.at(kind).instance; }
    /// After an import into it: the next one finds it fresh.
    void refresh(std::size_t kind);
    /// A domain of its own with an instance of one kind; end it with end_domain().
    [[nodiscard]] core::Domain& make_domain(std::size_t kind);
    static void end_domain(core::Domain& domain);
    /// What the hypervisor holds altogether.
    [[nodiscard]] std::uint64_t frames_held() const { return ledger_->frames(); }
    [[nodiscard]] std::uint64_t allocations() const { return heap_->allocations(); }

private:
    struct Fresh {
        core::Owned<core::Binding> instance;
        unsigned imports{0};
    };
    void make_fresh(std::size_t kind);

    core::FrameAllocator frames_{};
    std::unique_ptr<core::Ledger> ledger_;
    std::unique_ptr<core::Heap> heap_;
    std::unique_ptr<core::Machine> machine_;
    std::unique_ptr<core::ModuleRegistry> registry_;
    std::vector<core::Domain*> domains_;
    std::array<Fresh, kinds> fresh_{};
    std::uint32_t next_domain_{1};
};

}  // namespace hv::fuzz
