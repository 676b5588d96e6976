// SPDX-License-Identifier: MIT
#include "offer.hpp"

namespace hv::core {
namespace {

const char* noun(abi::WindowKind kind)
{
    switch (kind) {
    case abi::WindowKind::cpuid: return "CPUID leaves";
    case abi::WindowKind::msr: return "MSRs";
    case abi::WindowKind::hypercall: return "hypercalls";
    case abi::WindowKind::mmio: return "guest-physical addresses";
    case abi::WindowKind::port: return "I/O ports";
    default: return "windows";
    }
}

/// True where a module that asks so can have what was given to another.
bool fits(const abi::WindowRequest& request, const Window& given)
{
    if (request.kind != given.kind)
        return false;
    if (request.kind == abi::WindowKind::hypercall)
        return same_rule(request.hypercall, given.match);
    const bool anywhere = (request.flags & abi::window_fixed) == 0;
    const bool aligned = request.alignment == 0 || given.base % request.alignment == 0;
    return request.length == given.length && (anywhere ? aligned : request.base == given.base);
}

bool is_taken(const Binding& fresh, const Window& given)
{
    for (const Window* const window : fresh.windows)
        if (window->kind == given.kind && window->base == given.base && same_rule(window->match, given.match))
            return true;
    return false;
}

/// That of the same number first, so that two of one shape are not mixed up.
const Window* given_for(const abi::WindowRequest& request, const Binding& fresh, const Binding& old)
{
    for (const bool same_number : {true, false})
        for (const Window* const given : old.windows)
            if ((given->id == request.id) == same_number && fits(request, *given) && !is_taken(fresh, *given))
                return given;
    return nullptr;
}

void say_window(TextWriter& why, const Window& window)
{
    say(why, noun(window.kind));
    if (window.kind != abi::WindowKind::hypercall)
        say(why, " ", Hex{window.base}, " to ", Hex{window.base + window.length - 1});
}

// ---- what the guest was told ---------------------------------------------------------------------------------

constexpr bool keeps_bits(std::uint32_t before, std::uint32_t now)
{
    return (before & ~now) == 0;
}

bool keeps(const LeafAnswer& before, const LeafAnswer& now, bool first)
{
    const bool last_leaf = first ? now.values.eax >= before.values.eax
                                 : keeps_bits(before.values.eax, now.values.eax);
    return last_leaf && keeps_bits(before.values.ebx, now.values.ebx) &&
           keeps_bits(before.values.ecx, now.values.ecx) && keeps_bits(before.values.edx, now.values.edx) &&
           before.field == now.field && before.field_register == now.field_register &&
           before.field_shift == now.field_shift;
}

bool keeps(const MsrReadAnswer& before, const MsrReadAnswer& now)
{
    if (now.kind == abi::MsrReadKind::general_protection)
        return before.kind == abi::MsrReadKind::general_protection;
    return before.kind != abi::MsrReadKind::constant || now.kind != abi::MsrReadKind::constant ||
           before.value == now.value;
}

bool keeps(const MsrWriteAnswer& before, const MsrWriteAnswer& now)
{
    return now.kind != abi::MsrWriteKind::general_protection ||
           before.kind == abi::MsrWriteKind::general_protection;
}

/// What holds now: conditions that are off hide an answer.
template <typename Answer>
const Answer* answer_at(const DeclaredTable<Answer>& table, const Binding& binding, std::uint32_t place,
                        const Answer& like)
{
    return table.find(place, binding.conditions, [&](const Answer& one) { return one.same_place(like); });
}

template <typename Answer, typename Keeps>
bool check_table(const DeclaredTable<Answer>& before, const Binding& old, const DeclaredTable<Answer>& now,
                 const Binding& fresh, bool has_hook, Keeps keeps_it, std::uint32_t& missing)
{
    bool good{true};
    before.each([&](std::uint32_t place, const Answer& listed) {
        const Answer* const told = answer_at(before, old, place, listed);
        if (!good || told == nullptr)
            return;
        const Answer* const offered = answer_at(now, fresh, place, *told);
        good = offered != nullptr ? keeps_it(place, *told, *offered) : has_hook;
        missing = place;
    });
    return good;
}

bool check_window(const Window& before, const Binding& old, const Window& now, const Binding& fresh,
                  std::uint32_t& missing)
{
    if (before.kind == abi::WindowKind::cpuid)
        return check_table(before.leaves, old, now.leaves, fresh, fresh.hooks.cpuid != nullptr,
                           [](std::uint32_t place, const LeafAnswer& told, const LeafAnswer& offered) {
                               return keeps(told, offered, place == 0);
                           },
                           missing);
    if (before.kind != abi::WindowKind::msr)
        return true;
    const auto same = [](std::uint32_t, const auto& told, const auto& offered) { return keeps(told, offered); };
    return check_table(before.reads, old, now.reads, fresh, fresh.hooks.msr_read != nullptr, same, missing) &&
           check_table(before.writes, old, now.writes, fresh, fresh.hooks.msr_write != nullptr, same, missing);
}

const Window* counterpart(const Binding& fresh, const Window& given)
{
    for (const Window* const window : fresh.windows)
        if (window->kind == given.kind && window->base == given.base && same_rule(window->match, given.match))
            return window;
    return nullptr;
}

/// Hooks by which a guest's access, or what it has under way, reaches a module.
struct ReachedHook {
    const char* name;
    bool before;
    bool now;
};

Status check_hooks(const Binding& fresh, const Binding& old, TextWriter& why)
{
    const abi::HookTable& a = old.hooks;
    const abi::HookTable& b = fresh.hooks;
    const ReachedHook reached[]{
        {"cpuid", a.cpuid != nullptr, b.cpuid != nullptr},
        {"msr_read", a.msr_read != nullptr, b.msr_read != nullptr},
        {"msr_write", a.msr_write != nullptr, b.msr_write != nullptr},
        {"hypercall", a.hypercall != nullptr, b.hypercall != nullptr},
        {"hypercall_continue", a.hypercall_continue != nullptr, b.hypercall_continue != nullptr},
        {"timer", a.timer != nullptr, b.timer != nullptr},
        {"mmio_read", a.mmio_read != nullptr, b.mmio_read != nullptr},
        {"mmio_write", a.mmio_write != nullptr, b.mmio_write != nullptr},
        {"port_read", a.port_read != nullptr, b.port_read != nullptr},
        {"port_write", a.port_write != nullptr, b.port_write != nullptr},
        {"before_entry", a.before_entry != nullptr, b.before_entry != nullptr},
        {"interrupt_window", a.interrupt_window != nullptr, b.interrupt_window != nullptr},
    };
    for (const ReachedHook& one : reached)
        if (one.before && !one.now) {
            say(why, "extension '", fresh.name(), "' has no hook ", one.name,
                ", and the guest may still need what '", old.name(), "' does there");
            return Error::conflict;
        }
    return Done{};
}

}  // namespace

Status open_same_windows(Binding& fresh, const Binding& old, TextWriter& why)
{
    for (std::uint32_t index = 0; index < fresh.module.manifest().window_count; ++index) {
        const abi::WindowRequest request = fresh.module.verified().window(index);
        fresh.grants[index] = {request.id, request.kind, 0, 0, 0, 0};
        const Window* const given = given_for(request, fresh, old);
        if (given == nullptr && (request.flags & abi::window_optional) != 0)
            continue;
        if (given == nullptr) {
            say(why, "extension '", fresh.name(), "' wants other windows than '", old.name(), "' was given: ",
                noun(request.kind), " (its number ", request.id, ")");
            return Error::conflict;
        }
        const Window* const opened = HV_TRY(fresh.open_window(request, given->base, why));
        fresh.grants[index] = {request.id, request.kind, 1, 0, opened->base, opened->length};
    }
    for (const Window* const given : old.windows)
        if (counterpart(fresh, *given) == nullptr) {
            say(why, "extension '", fresh.name(), "' does not ask for what the guest was given: ");
            say_window(why, *given);
            return Error::conflict;
        }
    return Done{};
}

std::uint32_t same_window(const Binding& fresh, const Binding& old, std::uint32_t id)
{
    for (const Window* const given : old.windows)
        if (given->id == id)
            if (const Window* const same = counterpart(fresh, *given))
                return same->id;
    return id;
}

Status check_offer(const Binding& fresh, const Binding& old, TextWriter& why)
{
    HV_TRY(check_hooks(fresh, old, why));
    for (const Window* const given : old.windows) {
        std::uint32_t missing{};
        if (check_window(*given, old, *counterpart(fresh, *given), fresh, missing))
            continue;
        say(why, "extension '", fresh.name(), "' does not offer what the guest was told: ",
            given->kind == abi::WindowKind::cpuid ? "CPUID leaf " : "MSR ", Hex{given->base + missing});
        return Error::conflict;
    }
    return Done{};
}

}  // namespace hv::core
