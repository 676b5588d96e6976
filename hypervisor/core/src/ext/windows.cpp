// SPDX-License-Identifier: MIT
#include "windows.hpp"

#include "binding.hpp"
#include "hv/base/assert.hpp"
#include "hv/base/checked.hpp"

namespace hv::core {
namespace {

/// Where a window that may lie anywhere is looked for.  MSRs: the upper half of what processors leave to
/// software [SDM4-083 §2.1], so that what guests expect at fixed numbers stays free; ports: above the legacy
/// and PCI configuration ones.
struct SearchArea {
    std::uint64_t begin;
    std::uint64_t end;
    std::uint64_t granule;
};
constexpr SearchArea msr_area{0x4000'8000, 0x4001'0000, 1};
constexpr SearchArea port_area{0xe000, 0x1'0000, 1};
constexpr SearchArea mmio_area{0xf000'0000, 0xf800'0000, page_size};

/// Numbers that the core keeps for itself.
constexpr std::uint64_t x2apic_first{0x800};
constexpr std::uint64_t x2apic_count{0x100};

constexpr SearchArea area_of(abi::WindowKind kind)
{
    if (kind == abi::WindowKind::msr)
        return msr_area;
    return kind == abi::WindowKind::port ? port_area : mmio_area;
}

constexpr const char* noun_of(abi::WindowKind kind)
{
    switch (kind) {
    case abi::WindowKind::cpuid: return "CPUID leaves";
    case abi::WindowKind::msr: return "MSRs";
    case abi::WindowKind::hypercall: return "hypercalls";
    case abi::WindowKind::mmio: return "guest-physical addresses";
    case abi::WindowKind::port: return "I/O ports";
    case abi::WindowKind::pci: return "PCI functions";
    case abi::WindowKind::acpi: return "ACPI devices";
    }
    return "windows";
}

bool overlaps(std::uint64_t base, std::uint64_t length, std::uint64_t other_base, std::uint64_t other_length)
{
    return base < other_base + other_length && other_base < base + length;
}

const Window* clash(const WindowMap::Ranges& ranges, std::uint64_t base, std::uint64_t length)
{
    for (const WindowRange& range : ranges)
        if (overlaps(base, length, range.base, range.length))
            return range.window;
    return nullptr;
}

void say_range(TextWriter& why, abi::WindowKind kind, std::uint64_t base, std::uint64_t length)
{
    say(why, noun_of(kind), " ", Hex{base}, " to ", Hex{base + length - 1});
}

}  // namespace

const WindowMap::Ranges& WindowMap::ranges_of(abi::WindowKind kind) const
{
    if (kind == abi::WindowKind::msr)
        return msrs;
    return kind == abi::WindowKind::port ? ports : mmio;
}

WindowMap::Ranges& WindowMap::ranges_of(abi::WindowKind kind)
{
    return const_cast<Ranges&>(static_cast<const WindowMap*>(this)->ranges_of(kind));
}

Expected<std::uint64_t> WindowMap::choose_cpuid(const abi::WindowRequest& request, std::string_view asker,
                                                TextWriter& why) const
{
    const std::uint64_t wanted = (request.base - abi::cpuid_first_block) / abi::cpuid_block_stride;
    const bool named = request.base != 0 && wanted < cpuid_blocks;
    if (named && cpuid[wanted] == nullptr)
        return request.base;
    if ((request.flags & abi::window_fixed) == 0) {
        for (std::uint32_t block = 0; block < cpuid_blocks; ++block)
            if (cpuid[block] == nullptr)
                return abi::cpuid_first_block + block * abi::cpuid_block_stride;
        say(why, "extension '", asker, "' finds no free block of CPUID leaves: ", cpuid_blocks,
            " are in use");
        return Error::limit_reached;
    }
    if (!named) {
        say(why, "extension '", asker, "' wants CPUID leaves at ", Hex{request.base}, ", and blocks end at ",
            Hex{abi::cpuid_first_block + cpuid_blocks * abi::cpuid_block_stride - 1});
        return Error::not_supported;
    }
    say(why, "extensions '", asker, "' and '", cpuid[wanted]->owner,
        "' both want the CPUID leaves from ", Hex{request.base});
    return Error::conflict;
}

Expected<std::uint64_t> WindowMap::choose_range(const abi::WindowRequest& request, std::string_view asker,
                                                TextWriter& why) const
{
    const Ranges& taken = ranges_of(request.kind);
    const bool fixed = (request.flags & abi::window_fixed) != 0;
    if (request.kind == abi::WindowKind::msr &&
        overlaps(request.base, request.length, x2apic_first, x2apic_count) && (fixed || request.base != 0)) {
        say(why, "extension '", asker, "' wants ");
        say_range(why, request.kind, request.base, request.length);
        say(why, ", and those of the local APIC are among them");
        return Error::conflict;
    }
    const Window* other = clash(taken, request.base, request.length);
    if (other == nullptr && (fixed || request.base != 0))
        return request.base;
    if (fixed) {
        say(why, "extensions '", asker, "' and '", other->owner, "' both want ");
        say_range(why, request.kind, request.base, request.length);
        return Error::conflict;
    }
    const SearchArea area = area_of(request.kind);
    const std::uint64_t step = request.alignment > area.granule ? request.alignment : area.granule;
    std::uint64_t base = align_down(area.begin + step - 1, step);
    while (base < area.end && area.end - base >= request.length) {
        other = clash(taken, base, request.length);
        if (other == nullptr)
            return base;
        base = align_down(other->base + other->length + step - 1, step);
    }
    say(why, "extension '", asker, "' finds no room for ", request.length, " ", noun_of(request.kind));
    return Error::limit_reached;
}

Status WindowMap::check_hypercall(const abi::WindowRequest& request, std::string_view asker,
                                  TextWriter& why) const
{
    for (const Window* const before : hypercalls)
        if (abi::shadows(before->match, request.hypercall) && abi::shadows(request.hypercall, before->match)) {
            say(why, "extensions '", asker, "' and '", before->owner, "' both want the same hypercalls");
            return Error::conflict;
        }
    return Done{};
}

Expected<std::uint64_t> WindowMap::choose(const abi::WindowRequest& request, std::string_view asker,
                                          TextWriter& why) const
{
    switch (request.kind) {
    case abi::WindowKind::cpuid: return choose_cpuid(request, asker, why);
    case abi::WindowKind::msr:
    case abi::WindowKind::port:
    case abi::WindowKind::mmio: return choose_range(request, asker, why);
    case abi::WindowKind::hypercall: HV_TRY(check_hypercall(request, asker, why)); return std::uint64_t{0};
    case abi::WindowKind::pci:
    case abi::WindowKind::acpi: break;
    }
    say(why, "extension '", asker, "' wants ", noun_of(request.kind), ", which are not supported yet");
    return Error::not_supported;
}

bool WindowMap::enter_hypercall(Window& window)
{
    Window** place = hypercalls.begin();
    while (place != hypercalls.end() && !abi::shadows((*place)->match, window.match))
        ++place;
    return hypercalls.insert(place, &window);
}

Status WindowMap::enter(Window& window, TextWriter& why)
{
    bool entered{};
    switch (window.kind) {
    case abi::WindowKind::cpuid:
        cpuid[(window.base - abi::cpuid_first_block) / abi::cpuid_block_stride] = &window;
        return Done{};
    case abi::WindowKind::hypercall: entered = enter_hypercall(window); break;
    default: {
        Ranges& ranges = ranges_of(window.kind);
        entered = ranges.size() < maximum_windows && ranges.push_back({window.base, window.length, &window});
        break;
    }
    }
    if (!entered) {
        say(why, "the domain's extensions want more windows than ", maximum_windows, " of one kind");
        return Error::limit_reached;
    }
    return Done{};
}

void WindowMap::remove(const Binding& binding)
{
    for (Window*& block : cpuid)
        if (block != nullptr && block->binding == &binding)
            block = nullptr;
    for (Ranges* const ranges : {&msrs, &mmio, &ports})
        for (std::size_t index = ranges->size(); index-- > 0;)
            if ((*ranges)[index].window->binding == &binding)
                ranges->erase(&(*ranges)[index]);
    for (std::size_t index = hypercalls.size(); index-- > 0;)
        if (hypercalls[index]->binding == &binding)
            hypercalls.erase(&hypercalls[index]);
}

void WindowMap::replace(const Binding& old, const Binding& fresh)
{
    const auto heir = [&](Window*& place) {
        if (place == nullptr || place->binding != &old)
            return;
        for (Window* const window : fresh.windows)
            if (window->kind == place->kind && window->base == place->base &&
                (window->kind != abi::WindowKind::hypercall || same_rule(window->match, place->match))) {
                place = window;
                return;
            }
    };
    for (Window*& block : cpuid)
        heir(block);
    for (Ranges* const ranges : {&msrs, &mmio, &ports})
        for (WindowRange& range : *ranges)
            heir(range.window);
    for (Window*& window : hypercalls)
        heir(window);
}

}  // namespace hv::core
