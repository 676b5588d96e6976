// SPDX-License-Identifier: MIT
//
// Building blocks for an extension's tables of windows and declared answers, and the compile-time checks that
// the loader and the bind would else make at run time.
#pragma once

#include <algorithm>
#include <string_view>

#include "hv/ext/host.hpp"

namespace hv::ext {

/// Called where a table is wrong, and not constexpr: so the compiler stops there and shows the name.
void text_does_not_fit_with_its_nul();
void signature_has_not_twelve_letters();

/// Fills a fixed text member; too long does not compile.
template <std::size_t N>
consteval void put_text(char (&target)[N], std::string_view text)
{
    if (text.size() >= N)
        text_does_not_fit_with_its_nul();
    for (std::size_t index = 0; index < text.size(); ++index)
        target[index] = text[index];
}

/// A block of CPUID leaves: the one at `base`, or with `base` 0 any.
consteval abi::WindowRequest cpuid_block(std::uint32_t id, std::uint64_t length, std::uint64_t base = 0,
                                         std::string_view label = "CPUID leaves")
{
    abi::WindowRequest request{.id = id, .kind = abi::WindowKind::cpuid, .base = base, .length = length};
    request.flags = base != 0 ? abi::window_fixed : 0;
    put_text(request.label, label);
    return request;
}

/// MSRs at a place that the guest's interface fixes.
consteval abi::WindowRequest fixed_msrs(std::uint32_t id, std::uint32_t first, std::uint64_t length,
                                        std::string_view label = "MSRs")
{
    abi::WindowRequest request{.id = id, .kind = abi::WindowKind::msr, .base = first, .length = length};
    request.flags = abi::window_fixed;
    put_text(request.label, label);
    return request;
}

/// MSRs that may be anywhere, since a leaf tells the guest where; `preferred` is tried first.
consteval abi::WindowRequest any_msrs(std::uint32_t id, std::uint64_t length, std::uint32_t preferred = 0,
                                      std::string_view label = "MSRs")
{
    abi::WindowRequest request{.id = id, .kind = abi::WindowKind::msr, .base = preferred, .length = length};
    put_text(request.label, label);
    return request;
}

/// The hypercalls that `match` describes.
consteval abi::WindowRequest hypercalls_where(std::uint32_t id, abi::HypercallMatch match,
                                              std::string_view label = "hypercalls")
{
    abi::WindowRequest request{.id = id, .kind = abi::WindowKind::hypercall, .hypercall = match};
    request.flags = abi::window_fixed;
    put_text(request.label, label);
    return request;
}

/// A fixed run of I/O ports.
consteval abi::WindowRequest fixed_ports(std::uint32_t id, std::uint16_t first, std::uint64_t length,
                                         std::string_view label = "ports")
{
    abi::WindowRequest request{.id = id, .kind = abi::WindowKind::port, .base = first, .length = length};
    request.flags = abi::window_fixed;
    put_text(request.label, label);
    return request;
}

/// Guest-physical bytes, page-aligned.
consteval abi::WindowRequest fixed_mmio(std::uint32_t id, std::uint64_t base, std::uint64_t length,
                                        std::string_view label = "MMIO")
{
    abi::WindowRequest request{.id = id, .kind = abi::WindowKind::mmio, .base = base, .length = length};
    request.flags = abi::window_fixed;
    put_text(request.label, label);
    return request;
}

/// Twelve letters as EBX, ECX, EDX of a signature leaf, with EAX as given.
consteval abi::CpuidResult signature(std::string_view letters, std::uint32_t eax)
{
    if (letters.size() != 12)
        signature_has_not_twelve_letters();
    const auto word = [&](std::size_t at) {
        return abi::table_magic(letters[at], letters[at + 1], letters[at + 2], letters[at + 3]);
    };
    return {.eax = eax, .ebx = word(0), .ecx = word(4), .edx = word(8)};
}

/// True when no two requests share a number.
consteval bool numbered_uniquely(std::span<const abi::WindowRequest> windows)
{
    for (std::size_t one = 0; one < windows.size(); ++one)
        for (std::size_t other = one + 1; other < windows.size(); ++other)
            if (windows[one].id == windows[other].id)
                return false;
    return true;
}

/// True when `offset` lies in a window of this number and kind.
constexpr bool inside(std::span<const abi::WindowRequest> windows, abi::WindowKind kind, std::uint32_t id,
                      std::uint64_t offset)
{
    return std::ranges::any_of(windows, [&](const abi::WindowRequest& window) {
        return window.kind == kind && window.id == id && offset < window.length;
    });
}

/// True when every declared answer lies in a window of the same module and none is declared twice.
consteval bool inside_windows(std::span<const abi::DeclaredLeaf> leaves,
                              std::span<const abi::WindowRequest> windows)
{
    for (std::size_t one = 0; one < leaves.size(); ++one) {
        if (!inside(windows, abi::WindowKind::cpuid, leaves[one].window, leaves[one].leaf))
            return false;
        for (std::size_t other = one + 1; other < leaves.size(); ++other)
            if (leaves[one].window == leaves[other].window && leaves[one].leaf == leaves[other].leaf &&
                leaves[one].subleaf == leaves[other].subleaf &&
                leaves[one].condition == leaves[other].condition)
                return false;
    }
    return true;
}

template <typename Declared>
consteval bool msrs_inside_windows(std::span<const Declared> answers,
                                   std::span<const abi::WindowRequest> windows)
{
    for (std::size_t one = 0; one < answers.size(); ++one) {
        if (!inside(windows, abi::WindowKind::msr, answers[one].window, answers[one].offset))
            return false;
        for (std::size_t other = one + 1; other < answers.size(); ++other)
            if (answers[one].window == answers[other].window &&
                answers[one].offset == answers[other].offset &&
                answers[one].condition == answers[other].condition)
                return false;
    }
    return true;
}

/// `counter("flushes", offsetof(VcpuState, flushes))`: an std::uint64_t that the module counts up, for `xl exits`.
consteval abi::CounterDescription counter(std::string_view name, std::size_t offset)
{
    abi::CounterDescription description{.offset = static_cast<std::uint32_t>(offset)};
    put_text(description.name, name);
    return description;
}

}  // namespace hv::ext
