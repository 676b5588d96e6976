// SPDX-License-Identifier: MIT
//
// Stage 6, second half: each window, parameter and declared answer of a module by itself, and against the
// windows of the same module.  What depends on the domain or on other modules is judged when the module is
// bound.
#include "stages.hpp"

#include <cstddef>

#include "hv/base/address.hpp"
#include "hv/base/checked.hpp"

namespace hv::loader {

namespace {

class TableJudge {
public:
    TableJudge(File file, const SectionTable& sections, Diagnostics& diagnostics,
               const JudgedManifest& judged)
        : file_{file}, sections_{sections}, diagnostics_{diagnostics}, judged_{judged}
    {
    }

    Status windows();
    Status parameters();
    Status counter(const abi::CounterDescription& counter, std::uint64_t where);
    Status counters();
    Status leaves();
    Status msr_reads();
    Status msr_writes();
    Status exits();

private:
    Status window(const abi::WindowRequest& window, std::uint64_t where);
    Status cpuid_window(const abi::WindowRequest& window, std::uint64_t where);
    Status range_window(const abi::WindowRequest& window, std::uint64_t where, std::uint64_t space,
                        std::uint64_t granule, std::string_view what);
    Status hypercall_window(const abi::WindowRequest& window, std::uint64_t where);
    Status parameter(const abi::ParameterDescription& parameter, std::uint64_t where);
    Status exit(const abi::ExitSubscription& wanted, std::uint64_t where);

    template <typename T>
    T read(const ConstTable& table, std::uint32_t index) const
    {
        return read_element<T>(file_, sections_, table, index);
    }
    /// An element before this one is the same in what must be unique.
    template <typename T, typename Same>
    bool is_repeated(const ConstTable& table, std::uint32_t index, Same same) const
    {
        const auto one = read<T>(table, index);
        for (std::uint32_t before = 0; before < index; ++before)
            if (same(read<T>(table, before), one))
                return true;
        return false;
    }
    /// The window of this number and kind holds `offset`.
    bool holds(std::uint32_t id, abi::WindowKind kind, std::uint64_t offset) const
    {
        for (std::uint32_t index = 0; index < judged_.windows.count; ++index) {
            const auto window = read<abi::WindowRequest>(judged_.windows, index);
            if (window.id == id && window.kind == kind)
                return offset < window.length;
        }
        return false;
    }
    template <typename... Parts>
    Error no(std::uint64_t where, const Parts&... parts)
    {
        return refused(diagnostics_, Error::malformed, where, parts...);
    }

    File file_;
    const SectionTable& sections_;
    Diagnostics& diagnostics_;
    const JudgedManifest& judged_;
};

template <std::size_t N>
bool ends(const char (&text)[N])
{
    return std::string_view{text, N}.find('\0') != std::string_view::npos;
}

Status TableJudge::cpuid_window(const abi::WindowRequest& window, std::uint64_t where)
{
    constexpr std::uint64_t last_block{0x4000'ff00};
    if (window.length == 0 || window.length > abi::cpuid_block_stride)
        return no(where + offsetof(abi::WindowRequest, length), "window ", window.id,
                  ": a CPUID block has 1 to 256 leaves, not ", window.length);
    if (window.base != 0 && (window.base < abi::cpuid_first_block || window.base > last_block ||
                             window.base % abi::cpuid_block_stride != 0))
        return no(where + offsetof(abi::WindowRequest, base), "window ", window.id, ": leaf ",
                  Hex{window.base}, " is not 0x40000000 + n * 0x100");
    if ((window.flags & abi::window_fixed) != 0 && window.base == 0)
        return no(where + offsetof(abi::WindowRequest, flags), "window ", window.id,
                  " is fixed and has no base");
    return Done{};
}

Status TableJudge::range_window(const abi::WindowRequest& window, std::uint64_t where, std::uint64_t space,
                                std::uint64_t granule, std::string_view what)
{
    if (window.length == 0 || window.length > space || window.base > space - window.length)
        return no(where + offsetof(abi::WindowRequest, length), "window ", window.id, ": ", window.length,
                  " ", what, " from ", Hex{window.base}, " do not fit");
    if (window.base % granule != 0 || window.length % granule != 0)
        return no(where + offsetof(abi::WindowRequest, base), "window ", window.id,
                  ": base and length are not multiples of ", granule);
    if (window.alignment != 0 && !is_power_of_two(window.alignment))
        return no(where + offsetof(abi::WindowRequest, alignment), "window ", window.id, ": alignment ",
                  window.alignment, " is not a power of two");
    return Done{};
}

Status TableJudge::hypercall_window(const abi::WindowRequest& window, std::uint64_t where)
{
    constexpr std::uint32_t known_modes{abi::match_long_64 | abi::match_protected_32 |
                                        abi::match_protected_16 | abi::match_real};
    constexpr std::uint32_t highest_register{15};
    const abi::HypercallMatch& match = window.hypercall;
    const std::uint64_t at{where + offsetof(abi::WindowRequest, hypercall)};
    if (match.modes == 0 || (match.modes & ~known_modes) != 0)
        return no(at + offsetof(abi::HypercallMatch, modes), "window ", window.id, ": modes ",
                  Hex{match.modes}, match.modes == 0 ? " match nothing" : " are unknown");
    if (match.maximum_cpl > 3)
        return no(at + offsetof(abi::HypercallMatch, maximum_cpl), "window ", window.id, ": CPL ",
                  match.maximum_cpl, " does not exist");
    if (match.operand != abi::match_always && match.operand > highest_register)
        return no(at + offsetof(abi::HypercallMatch, operand), "window ", window.id, ": general register ",
                  match.operand, " does not exist");
    if ((match.value & ~match.mask) != 0)
        return no(at + offsetof(abi::HypercallMatch, value), "window ", window.id,
                  ": the value has bits outside of the mask and matches nothing");
    if (match.reserved != 0)
        return no(at + offsetof(abi::HypercallMatch, reserved), "window ", window.id,
                  ": reserved bytes are not zero");
    return Done{};
}

Status TableJudge::window(const abi::WindowRequest& window, std::uint64_t where)
{
    constexpr std::uint64_t msrs{1ull << 32};
    constexpr std::uint64_t ports{1ull << 16};
    constexpr std::uint64_t guest_physical{1ull << 52};
    if ((window.flags & ~abi::window_known_flags) != 0)
        return no(where + offsetof(abi::WindowRequest, flags), "window ", window.id, " has unknown flags ",
                  Hex{window.flags & ~abi::window_known_flags});
    if (!ends(window.label))
        return no(where + offsetof(abi::WindowRequest, label), "window ", window.id,
                  ": its label does not end");
    switch (window.kind) {
    case abi::WindowKind::cpuid: return cpuid_window(window, where);
    case abi::WindowKind::msr: return range_window(window, where, msrs, 1, "MSRs");
    case abi::WindowKind::hypercall: return hypercall_window(window, where);
    case abi::WindowKind::mmio:
        return range_window(window, where, guest_physical, page_size, "bytes of MMIO");
    case abi::WindowKind::port: return range_window(window, where, ports, 1, "ports");
    case abi::WindowKind::pci:
    case abi::WindowKind::acpi:
        return refused(diagnostics_, Error::not_supported, where + offsetof(abi::WindowRequest, kind),
                       "window ", window.id, ": PCI functions and ACPI devices are not supported in ABI 0.1");
    }
    return no(where + offsetof(abi::WindowRequest, kind), "window ", window.id, " is of unknown kind ",
              static_cast<std::uint32_t>(window.kind));
}

Status TableJudge::windows()
{
    for (std::uint32_t index = 0; index < judged_.windows.count; ++index) {
        const auto one = read<abi::WindowRequest>(judged_.windows, index);
        const std::uint64_t where{element_offset<abi::WindowRequest>(sections_, judged_.windows, index)};
        HV_TRY(window(one, where));
        if (is_repeated<abi::WindowRequest>(judged_.windows, index, [](const auto& a, const auto& b) { return a.id == b.id; }))
            return no(where, "two windows have the number ", one.id);
    }
    return Done{};
}

Status TableJudge::parameter(const abi::ParameterDescription& parameter, std::uint64_t where)
{
    if (!ends(parameter.key) || parameter.key[0] == '\0')
        return no(where, "a parameter's key is empty or does not end");
    const ShownName key{std::string_view{static_cast<const char*>(parameter.key)}};
    if (!ends(parameter.choices) || !ends(parameter.help))
        return no(where, "parameter ", key, ": its choices or its help do not end");
    if (parameter.kind != abi::ParameterKind::boolean && parameter.kind != abi::ParameterKind::integer &&
        parameter.kind != abi::ParameterKind::text)
        return no(where + offsetof(abi::ParameterDescription, kind), "parameter ", key,
                  " is of unknown kind ", static_cast<std::uint32_t>(parameter.kind));
    if ((parameter.flags & ~abi::parameter_list) != 0)
        return no(where + offsetof(abi::ParameterDescription, flags), "parameter ", key,
                  " has unknown flags");
    if (parameter.minimum > parameter.maximum)
        return no(where + offsetof(abi::ParameterDescription, minimum), "parameter ", key, ": the minimum ",
                  parameter.minimum, " is above the maximum ", parameter.maximum);
    return Done{};
}

Status TableJudge::parameters()
{
    for (std::uint32_t index = 0; index < judged_.parameters.count; ++index)
        HV_TRY(parameter(read<abi::ParameterDescription>(judged_.parameters, index),
                         element_offset<abi::ParameterDescription>(sections_, judged_.parameters, index)));
    return Done{};
}

Status TableJudge::counter(const abi::CounterDescription& counter, std::uint64_t where)
{
    if (!ends(counter.name) || counter.name[0] == '\0')
        return no(where, "a counter's name is empty or does not end");
    const ShownName name{std::string_view{static_cast<const char*>(counter.name)}};
    const std::uint64_t room{judged_.manifest.vcpu_state.size};
    if (counter.offset % 8 != 0 || std::uint64_t{counter.offset} + 8 > room)
        return no(where + offsetof(abi::CounterDescription, offset), "counter ", name, " is at byte ", counter.offset,
                  " of a VCPU's state block of ", room);
    if (counter.reserved != 0)
        return no(where + offsetof(abi::CounterDescription, reserved), "counter ", name, ": a reserved number is not 0");
    return Done{};
}

Status TableJudge::counters()
{
    for (std::uint32_t index = 0; index < judged_.counters.count; ++index) {
        const auto one = read<abi::CounterDescription>(judged_.counters, index);
        const std::uint64_t where{element_offset<abi::CounterDescription>(sections_, judged_.counters, index)};
        HV_TRY(counter(one, where));
        if (is_repeated<abi::CounterDescription>(judged_.counters, index,
                                                 [](const auto& a, const auto& b) { return std::string_view{a.name} == b.name; }))
            return no(where, "two counters have the name ", ShownName{std::string_view{one.name}});
    }
    return Done{};
}

Status TableJudge::leaves()
{
    for (std::uint32_t index = 0; index < judged_.leaves.count; ++index) {
        const auto leaf = read<abi::DeclaredLeaf>(judged_.leaves, index);
        const std::uint64_t where{element_offset<abi::DeclaredLeaf>(sections_, judged_.leaves, index)};
        if (!holds(leaf.window, abi::WindowKind::cpuid, leaf.leaf))
            return no(where, "declared leaf ", Hex{leaf.leaf}, " lies outside CPUID window ", leaf.window);
        if ((leaf.flags & ~abi::leaf_known_flags) != 0 || leaf.field > abi::VcpuField::apic_id ||
            leaf.field_register > 3 || leaf.field_shift > 31 || leaf.condition > abi::maximum_condition)
            return no(where, "declared leaf ", Hex{leaf.leaf}, " of window ", leaf.window,
                      ": a flag, field, shift or condition is out of range");
    }
    return Done{};
}

/// An aligned 64-bit field inside a state block.
bool in_block(std::uint32_t offset, const abi::StateBlock& block)
{
    return offset % 8 == 0 && offset < block.size;
}

bool sensible(const abi::DeclaredMsrRead& read, const abi::Manifest& manifest)
{
    constexpr std::uint32_t apic_page{0x400};
    switch (read.kind) {
    case abi::MsrReadKind::constant:
    case abi::MsrReadKind::apic_icr:
    case abi::MsrReadKind::general_protection: return true;
    case abi::MsrReadKind::vcpu_field:
        return read.argument != 0 && read.argument <= static_cast<std::uint32_t>(abi::VcpuField::apic_id);
    case abi::MsrReadKind::scaled_time: return read.argument < 64;
    case abi::MsrReadKind::apic_register: return read.argument % 16 == 0 && read.argument < apic_page;
    case abi::MsrReadKind::domain_state: return in_block(read.argument, manifest.domain_state);
    case abi::MsrReadKind::vcpu_state: return in_block(read.argument, manifest.vcpu_state);
    case abi::MsrReadKind::withdrawn: return false;  // of a service call, not of a table
    }
    return false;
}

Status TableJudge::msr_reads()
{
    for (std::uint32_t index = 0; index < judged_.msr_reads.count; ++index) {
        const auto one = read<abi::DeclaredMsrRead>(judged_.msr_reads, index);
        const std::uint64_t where{element_offset<abi::DeclaredMsrRead>(sections_, judged_.msr_reads, index)};
        if (!holds(one.window, abi::WindowKind::msr, one.offset))
            return no(where, "declared MSR read ", Hex{one.offset}, " lies outside MSR window ", one.window);
        if (!sensible(one, judged_.manifest) || one.condition > abi::maximum_condition || one.reserved != 0)
            return no(where, "declared MSR read ", Hex{one.offset}, " of window ", one.window,
                      ": its kind, argument or condition is out of range");
    }
    return Done{};
}

bool sensible(const abi::DeclaredMsrWrite& write, const abi::Manifest& manifest)
{
    if (write.kind != abi::MsrWriteKind::deadline)
        return write.kind != abi::MsrWriteKind::withdrawn && write.kind < abi::MsrWriteKind::deadline && write.reserved == 0;
    const abi::DeadlinePlaces places{abi::deadline_places(write)};
    return in_block(places.value_at, manifest.vcpu_state) && in_block(places.timer_at, manifest.vcpu_state) &&
           places.value_at != places.timer_at && places.unit_ns != 0;
}

Status TableJudge::msr_writes()
{
    for (std::uint32_t index = 0; index < judged_.msr_writes.count; ++index) {
        const auto one = read<abi::DeclaredMsrWrite>(judged_.msr_writes, index);
        const std::uint64_t where{
            element_offset<abi::DeclaredMsrWrite>(sections_, judged_.msr_writes, index)};
        if (!holds(one.window, abi::WindowKind::msr, one.offset))
            return no(where, "declared MSR write ", Hex{one.offset}, " lies outside MSR window ", one.window);
        if (!sensible(one, judged_.manifest) || one.condition > abi::maximum_condition)
            return no(where, "declared MSR write ", Hex{one.offset}, " of window ", one.window,
                      ": its kind, places or condition is out of range");
    }
    return Done{};
}

/// The numbers that a kind of exit can have: 0 to this.
std::uint64_t last_number(abi::ExitKind kind)
{
    switch (kind) {
    case abi::ExitKind::cpuid:
    case abi::ExitKind::msr: return 0xffff'ffff;
    case abi::ExitKind::port: return 0xffff;
    case abi::ExitKind::exception: return 31;
    case abi::ExitKind::control_register: return 15;
    case abi::ExitKind::debug_register: return 7;
    case abi::ExitKind::single_step: return abi::step_delivery;
    case abi::ExitKind::page_watch: return (std::uint64_t{1} << 36) - 1;  // 48 bits of guest-physical address
    default: return 0;
    }
}

bool has_direction(abi::ExitKind kind)
{
    return kind == abi::ExitKind::msr || kind == abi::ExitKind::port || kind == abi::ExitKind::control_register ||
           kind == abi::ExitKind::debug_register || kind == abi::ExitKind::page_watch;
}

/// True where the hypervisor has no way to make each of these numbers exit.
bool goes_beyond(const abi::ExitSubscription& wanted)
{
    if ((wanted.kind == abi::ExitKind::page_watch || wanted.kind == abi::ExitKind::single_step) &&
        (wanted.flags & abi::exit_after) != 0)
        return true;
    if ((wanted.flags & abi::exit_passive) != 0)
        return false;
    if (wanted.kind != abi::ExitKind::exception && wanted.kind != abi::ExitKind::control_register)
        return false;
    const auto range = (std::uint64_t{2} << wanted.last) - (std::uint64_t{1} << wanted.first);
    const bool exceptions{wanted.kind == abi::ExitKind::exception};
    return (range & ~(exceptions ? abi::provided_exceptions : abi::provided_control_registers)) != 0;
}

Status TableJudge::exit(const abi::ExitSubscription& wanted, std::uint64_t where)
{
    const auto kind = static_cast<std::uint32_t>(wanted.kind);
    const std::string_view name{exit_kind_name(kind)};
    if (name == "?")
        return no(where, "a subscription to exits of kind ", kind, ", which there is not");
    if ((abi::provided_exits >> kind & 1) == 0)
        return refused(diagnostics_, Error::not_supported, where, "the module subscribes to exits of kind '", name,
                       "', which this hypervisor does not provide");
    const bool both{(wanted.flags & abi::exit_instead) != 0 && (wanted.flags & abi::exit_after) != 0};
    const bool directed{(wanted.flags & (abi::exit_reads | abi::exit_writes)) != 0};
    const bool executed{(wanted.flags & abi::exit_executes) != 0};
    if ((wanted.flags & ~abi::exit_known_flags) != 0 || both || (executed && wanted.kind != abi::ExitKind::page_watch) || (directed && !has_direction(wanted.kind)) ||
        abi::exit_condition(wanted.flags) > abi::maximum_condition)
        return no(where, "a subscription to exits of kind '", name, "' has flags ", Hex{wanted.flags},
                  ", which make no sense");
    if (wanted.first > wanted.last || wanted.last > last_number(wanted.kind))
        return no(where, "a subscription to exits of kind '", name, "' from ", Hex{wanted.first}, " to ",
                  Hex{wanted.last});
    if (goes_beyond(wanted))
        return refused(diagnostics_, Error::not_supported, where, "a subscription to exits of kind '", name, "' from ",
                       Hex{wanted.first}, " to ", Hex{wanted.last}, ", which this hypervisor does not provide");
    return Done{};
}

Status TableJudge::exits()
{
    for (std::uint32_t index = 0; index < judged_.exits.count; ++index)
        HV_TRY(exit(read<abi::ExitSubscription>(judged_.exits, index),
                    element_offset<abi::ExitSubscription>(sections_, judged_.exits, index)));
    return Done{};
}

}  // namespace

Status judge_tables(File file, const SectionTable& sections, Diagnostics& diagnostics,
                    const JudgedManifest& judged)
{
    TableJudge judge{file, sections, diagnostics, judged};
    HV_TRY(judge.windows());
    HV_TRY(judge.parameters());
    HV_TRY(judge.counters());
    HV_TRY(judge.leaves());
    HV_TRY(judge.msr_reads());
    HV_TRY(judge.msr_writes());
    return judge.exits();
}

}  // namespace hv::loader
