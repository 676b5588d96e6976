// SPDX-License-Identifier: MIT
//
// The windows that the bindings of one domain were granted, as the dispatch of an exit finds them, and their
// allotment: where a module asked for a place of its own choice it gets it or the bind fails naming both
// modules, else the framework chooses.  No name and no number of a guest's interface is known here.
#pragma once

#include <cstdint>
#include <string_view>

#include "declared_table.hpp"
#include "hv/abi/manifest.hpp"
#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/static_vector.hpp"

namespace hv::core {

class Binding;

struct LeafAnswer {
    abi::CpuidResult values{};
    std::uint32_t subleaf{};
    bool any_subleaf{};
    bool declared{};
    abi::VcpuField field{};
    std::uint8_t field_register{};
    std::uint8_t field_shift{};
    [[nodiscard]] bool same_place(const LeafAnswer& other) const
    {
        return any_subleaf == other.any_subleaf && (any_subleaf || subleaf == other.subleaf);
    }
};

struct MsrReadAnswer {
    abi::MsrReadKind kind{};
    std::uint32_t argument{};
    std::uint64_t value{};
    std::uint64_t addend{};
    bool declared{};
    [[nodiscard]] bool same_place(const MsrReadAnswer&) const { return true; }
};

struct MsrWriteAnswer {
    abi::MsrWriteKind kind{};
    bool declared{};
    std::uint64_t writable{};
    abi::DeadlinePlaces deadline{};
    [[nodiscard]] bool same_place(const MsrWriteAnswer&) const { return true; }
};

/// One granted window.  Which members are used depends on the kind.
struct Window {
    Binding* binding{};  ///< null where a place is only kept for it
    std::string_view owner{};  ///< the module's name, as long as the window is there
    std::uint32_t id{};
    abi::WindowKind kind{};
    std::uint64_t base{};
    std::uint64_t length{};
    abi::HypercallMatch match{};
    DeclaredTable<LeafAnswer> leaves{};
    DeclaredTable<MsrReadAnswer> reads{};
    DeclaredTable<MsrWriteAnswer> writes{};
};

/// True where two rules take just the same calls.
constexpr bool same_rule(const abi::HypercallMatch& one, const abi::HypercallMatch& other)
{
    return one.modes == other.modes && one.maximum_cpl == other.maximum_cpl && one.operand == other.operand &&
           one.mask == other.mask && one.value == other.value;
}

/// A window as a lookup by number meets it.  One that nobody has made ends every lookup, with nothing found.
struct WindowRange {
    std::uint64_t base{};
    std::uint64_t length{~0ull};
    Window* window{};
};

struct WindowMap {
    static constexpr std::uint32_t cpuid_blocks{16};
    static constexpr std::size_t maximum_windows{48};  ///< of one kind in one domain
    using Ranges = StaticVector<WindowRange, maximum_windows + 1>;  ///< the last is never used

    Window* cpuid[cpuid_blocks]{};
    Ranges msrs{};
    Ranges mmio{};
    Ranges ports{};
    /// A rule before every other that would take all its calls, else in stacking order.
    StaticVector<Window*, maximum_windows> hypercalls{};

    [[nodiscard]] static Window* find(const Ranges& ranges, std::uint64_t number)
    {
        const WindowRange* range = ranges.data();
        while (number - range->base >= range->length)
            ++range;
        return range->window;
    }
    /// Decides where the request lies; nothing is entered yet.  Fails with conflict (naming `asker` and who
    /// has it), limit_reached or not_supported, and a sentence in `why`.
    Expected<std::uint64_t> choose(const abi::WindowRequest& request, std::string_view asker,
                                   TextWriter& why) const;
    /// Enters a window whose place choose() has found.  Fails with limit_reached, and a sentence in `why`.
    Status enter(Window& window, TextWriter& why);
    void remove(const Binding& binding);
    /// Where `old`'s windows were, `fresh`'s are: it has one for each, at the same place.
    void replace(const Binding& old, const Binding& fresh);

private:
    Expected<std::uint64_t> choose_cpuid(const abi::WindowRequest& request, std::string_view asker,
                                         TextWriter& why) const;
    Expected<std::uint64_t> choose_range(const abi::WindowRequest& request, std::string_view asker,
                                         TextWriter& why) const;
    [[nodiscard]] bool enter_hypercall(Window& window);
    Status check_hypercall(const abi::WindowRequest& request, std::string_view asker, TextWriter& why) const;
    [[nodiscard]] const Ranges& ranges_of(abi::WindowKind kind) const;
    [[nodiscard]] Ranges& ranges_of(abi::WindowKind kind);
};

}  // namespace hv::core
