// SPDX-License-Identifier: MIT
//
// Where the windows of a whole stack of modules lie, decided before the first of them is bound: what one of them
// demands at a fixed place is kept free of what the others are content to have anywhere.  Without it a stack's
// order would decide whether it can be had at all.
#pragma once

#include <cstdint>
#include <span>

#include "hv/core/memory/heap.hpp"
#include "windows.hpp"

namespace hv::core {

class Module;

/// The places of one module's windows, in the order of its manifest.
struct PlannedWindows {
    static constexpr std::size_t maximum{16};  ///< of one module: the loader takes no more
    struct Place {
        bool granted{};  ///< else: an optional one that cannot be had
        std::uint64_t base{};
    };

    /// A place in `map` as it is now; the errors and the sentence of WindowMap::choose, but for an optional window.
    static Expected<Place> choose(const WindowMap& map, const abi::WindowRequest& request, std::string_view asker,
                                  TextWriter& why);

    std::uint64_t generation{};  ///< of the module: another one under its name was not planned for
    Place places[maximum]{};
};

class WindowPlan {
public:
    static constexpr std::size_t maximum_modules{8};

    /// First what is demanded at one place, then everything else, each in stacking order.  At most
    /// maximum_modules.  Fails as WindowMap::choose does or with no_memory, and says in `culprit` which module it
    /// is about.
    Status decide(Heap& heap, std::span<Module* const> modules, std::size_t& culprit, TextWriter& why);

    [[nodiscard]] std::size_t size() const { return rows_.size(); }
    /// `position` is below size().
    [[nodiscard]] const PlannedWindows& at(std::size_t position) const { return rows_[position]; }

private:
    struct Draft;
    Status place(Draft& draft, std::size_t position, bool demands, const Module& module, TextWriter& why);

    StaticVector<PlannedWindows, maximum_modules> rows_{};
};

}  // namespace hv::core
