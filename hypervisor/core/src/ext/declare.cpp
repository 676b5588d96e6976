// SPDX-License-Identifier: MIT
//
// Taking declared answers in: judged one by one, then all entered or none.
#include "binding.hpp"

namespace hv::core {
namespace {

constexpr std::uint32_t apic_page{0x400};
constexpr std::uint32_t largest_shift{63};

/// A change of declared answers: readers on other processors see none or all of it.
class DeclareChange {
public:
    explicit DeclareChange(DeclareSequence& sequence) : sequence_{sequence} { sequence_.begun.fetch_add(1); }
    ~DeclareChange() { sequence_.ended.fetch_add(1); }
    DeclareChange(const DeclareChange&) = delete;
    DeclareChange& operator=(const DeclareChange&) = delete;

private:
    DeclareSequence& sequence_;
};

bool in_block(std::uint32_t offset, const StateCopies& state)
{
    return offset % 8 == 0 && offset / 8 < state.words;
}

// What differs between the three kinds: window, place, answer, and what makes sense.

abi::WindowKind window_kind(const abi::DeclaredLeaf&)
{
    return abi::WindowKind::cpuid;
}
abi::WindowKind window_kind(const auto&)
{
    return abi::WindowKind::msr;
}
std::uint32_t place(const abi::DeclaredLeaf& leaf)
{
    return leaf.leaf;
}
std::uint32_t place(const auto& msr)
{
    return msr.offset;
}
auto& table(Window& window, const abi::DeclaredLeaf&)
{
    return window.leaves;
}
auto& table(Window& window, const abi::DeclaredMsrRead&)
{
    return window.reads;
}
auto& table(Window& window, const abi::DeclaredMsrWrite&)
{
    return window.writes;
}

LeafAnswer answer(const Window& window, const abi::DeclaredLeaf& leaf)
{
    LeafAnswer result{.values = leaf.values,
                      .subleaf = leaf.subleaf,
                      .any_subleaf = (leaf.flags & abi::leaf_any_subleaf) != 0,
                      .declared = true,
                      .field = leaf.field,
                      .field_register = static_cast<std::uint8_t>(leaf.field_register),
                      .field_shift = static_cast<std::uint8_t>(leaf.field_shift)};
    if ((leaf.flags & abi::leaf_eax_plus_base) != 0)
        result.values.eax += static_cast<std::uint32_t>(window.base);
    return result;
}
MsrReadAnswer answer(const Window&, const abi::DeclaredMsrRead& read)
{
    return {read.kind, read.argument, read.value, read.addend, read.kind != abi::MsrReadKind::withdrawn};
}
MsrWriteAnswer answer(const Window&, const abi::DeclaredMsrWrite& write)
{
    return {write.kind, write.kind != abi::MsrWriteKind::withdrawn, write.writable, abi::deadline_places(write)};
}

bool is_sensible(const Binding&, const abi::DeclaredLeaf& leaf)
{
    return (leaf.flags & ~abi::leaf_known_flags) == 0 && leaf.field <= abi::VcpuField::apic_id &&
           leaf.field_register <= 3 && leaf.field_shift <= 31;
}
bool is_sensible(const Binding& binding, const abi::DeclaredMsrRead& read)
{
    switch (read.kind) {
    case abi::MsrReadKind::withdrawn:
    case abi::MsrReadKind::constant:
    case abi::MsrReadKind::apic_icr:
    case abi::MsrReadKind::general_protection: return read.reserved == 0;
    case abi::MsrReadKind::vcpu_field:
        return read.argument != 0 && read.argument <= static_cast<std::uint32_t>(abi::VcpuField::apic_id);
    case abi::MsrReadKind::scaled_time: return read.argument <= largest_shift;
    case abi::MsrReadKind::apic_register: return read.argument % 16 == 0 && read.argument < apic_page;
    case abi::MsrReadKind::domain_state: return in_block(read.argument, binding.state);
    case abi::MsrReadKind::vcpu_state: return in_block(read.argument, binding.vcpus[0]->state);
    }
    return false;
}
bool is_sensible(const Binding& binding, const abi::DeclaredMsrWrite& write)
{
    if (write.kind != abi::MsrWriteKind::deadline)
        return write.kind < abi::MsrWriteKind::deadline && write.reserved == 0;
    const abi::DeadlinePlaces places = abi::deadline_places(write);
    const StateCopies& block = binding.vcpus[0]->state;
    return in_block(places.value_at, block) && in_block(places.timer_at, block) && places.value_at != places.timer_at &&
           places.unit_ns != 0;
}

template <typename Declared>
Status declare_all(Binding& binding, std::span<const Declared> all)
{
    for (const Declared& one : all) {
        const Window* const window = binding.window(one.window, window_kind(one));
        if (window == nullptr || place(one) >= window->length)
            return Error::conflict;
        if (!is_sensible(binding, one) || one.condition > abi::maximum_condition)
            return Error::invalid_argument;
    }
    const LockGuard guard{binding.declare_lock};
    if (binding.route.load() == Route::ended)
        return Error::gone;
    for (const Declared& one : all) {
        Window& window = *binding.window(one.window, window_kind(one));
        const auto what = answer(window, one);
        if (binding.declared >= Binding::maximum_declared &&
            !table(window, one).has(place(one), one.condition, what))
            return Error::limit_reached;
        HV_TRY(table(window, one).prepare(binding.heap, place(one), one.condition, what, binding.declared));
    }
    const DeclareChange change{binding.declare_sequence};
    for (const Declared& one : all) {
        Window& window = *binding.window(one.window, window_kind(one));
        table(window, one).set(place(one), one.condition, answer(window, one));
    }
    return Done{};
}

}  // namespace

Status declare(Binding& binding, std::span<const abi::DeclaredLeaf> leaves)
{
    return declare_all(binding, leaves);
}

Status declare(Binding& binding, std::span<const abi::DeclaredMsrRead> reads)
{
    return declare_all(binding, reads);
}

Status declare(Binding& binding, std::span<const abi::DeclaredMsrWrite> writes)
{
    return declare_all(binding, writes);
}

void withdraw_msrs(Binding& binding)
{
    const LockGuard guard{binding.declare_lock};
    const DeclareChange change{binding.declare_sequence};
    for (Window* const window : binding.windows) {
        window->reads.change([](MsrReadAnswer& read) { read.kind = abi::MsrReadKind::general_protection; });
        window->writes.change([](MsrWriteAnswer& write) { write.kind = abi::MsrWriteKind::general_protection; });
    }
}

}  // namespace hv::core
