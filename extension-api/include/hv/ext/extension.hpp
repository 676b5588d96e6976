// SPDX-License-Identifier: MIT
//
// From an author's class to the tables of the ABI.  The class is never instantiated: what it has under the
// names below is found at compile time and put into a const hook table and a manifest, what it has not is a
// null member.
//
//   static constexpr hv::ext::Info info{...};                 name, version, needs, one line for the operator
//   static constexpr std::array windows{...};                 abi::WindowRequest, built by hv/ext/windows.hpp
//   static constexpr std::array leaves / msr_reads / msr_writes{...};    declared answers
//   static constexpr std::array parameters{...};              abi::ParameterDescription
//   static constexpr std::array counters{...};                abi::CounterDescription
//   struct DomainState; struct VcpuState;                     state blocks, and state_version for their
//   layout, with oldest_state_version where blocks since that one are the beginning of today's; static const std::array<hv::ext::MsrRule<Class>, N> msrs; or static msr_read and msr_write static
//   const std::array<hv::ext::LeafRule<Class>, N> computed_leaves; or static cpuid static const
//   std::array<hv::ext::HypercallRule<Class>, N> hypercalls, with hypercall_code and, wanted,
//       hypercall_unknown; or static hypercall
//   every other hook as a static function of its name in abi::HookTable, with Domain<Class> or Vcpu<Class>&
//   for the context and references for pointers, returning abi::Verdict.
#pragma once

#include "hv/ext/cpuid_table.hpp"
#include "hv/ext/hypercall_table.hpp"
#include "hv/ext/log.hpp"
#include "hv/ext/msr_table.hpp"
#include "hv/ext/once.hpp"
#include "hv/ext/windows.hpp"

namespace hv::ext {

/// What the operator sees of a module.
struct Info {
    std::string_view name;
    std::uint16_t version_major{};
    std::uint16_t version_minor{};
    std::uint16_t version_patch{};
    std::uint64_t needs{};
    std::uint32_t flags{};
    std::uint32_t hypercall_pages{};
    std::string_view description{};
};

namespace detail {

template <typename T>
inline constexpr bool has_msr_table = requires
{
    std::size(T::msrs);
};
template <typename T>
inline constexpr bool has_leaf_table = requires
{
    std::size(T::computed_leaves);
};
template <typename T>
inline constexpr bool has_hypercall_table = requires
{
    std::size(T::hypercalls);
};

// The author's tables, copied into objects whose type is spelt out: g++ 12 puts a constexpr member whose type
// it had to deduce (`static constexpr std::array windows{...}`) into writable data, where the loader rightly
// refuses it.
template <std::size_t N, typename Element>
consteval std::array<Element, N> copied(std::span<const Element> table)
{
    std::array<Element, N> copy{};
    std::copy(table.begin(), table.end(), copy.begin());
    return copy;
}
#define HV_SEALED_TABLE(table, Element)                                                                      \
    template <typename T>                                                                                    \
    inline constexpr std::array<Element, std::size(T::table)> table##_of                                     \
    {                                                                                                        \
        copied<std::size(T::table), Element>(T::table)                                                       \
    }
HV_SEALED_TABLE(windows, abi::WindowRequest);
HV_SEALED_TABLE(parameters, abi::ParameterDescription);
HV_SEALED_TABLE(counters, abi::CounterDescription);
HV_SEALED_TABLE(leaves, abi::DeclaredLeaf);
HV_SEALED_TABLE(msr_reads, abi::DeclaredMsrRead);
HV_SEALED_TABLE(msr_writes, abi::DeclaredMsrWrite);
HV_SEALED_TABLE(exits, abi::ExitSubscription);
HV_SEALED_TABLE(msrs, MsrRule<T>);
HV_SEALED_TABLE(computed_leaves, LeafRule<T>);
HV_SEALED_TABLE(hypercalls, HypercallRule<T>);
#undef HV_SEALED_TABLE

/// Each hook as the ABI wants it, calling the author's.  Only those that the class has are instantiated.
template <typename T>
struct Thunks {
    using D = const abi::DomainContext*;
    using V = const abi::VcpuContext*;
    using u32 = std::uint32_t;
    using u64 = std::uint64_t;

    static abi::Verdict parameter_set(D domain, const abi::Parameter* parameter)
    {
        return T::parameter_set(Domain<T>{*domain}, *parameter);
    }
    static abi::Verdict domain_create(D domain) { return T::domain_create(Domain<T>{*domain}); }
    static abi::Verdict domain_destroy(D domain) { return T::domain_destroy(Domain<T>{*domain}); }
    static abi::Verdict freeze(D domain) { return T::freeze(Domain<T>{*domain}); }
    static abi::Verdict thaw(D domain) { return T::thaw(Domain<T>{*domain}); }
    static abi::Verdict hypercall_page(D domain, const abi::HypercallPageRequest* request)
    {
        return T::hypercall_page(Domain<T>{*domain}, *request);
    }
    static abi::Verdict channel_message(D domain, u64 channel, const void* bytes, u64 length)
    {
        return T::channel_message(Domain<T>{*domain}, channel, bytes, length);
    }
    static abi::Verdict export_state(D domain, std::uint8_t* bytes, u64 capacity, u64* used)
    {
        return T::export_state(Domain<T>{*domain}, bytes, capacity, *used);
    }
    static abi::Verdict import_state(D domain, const std::uint8_t* bytes, u64 length)
    {
        return T::import_state(Domain<T>{*domain}, bytes, length);
    }

    static abi::Verdict vcpu_initialise(V context) { return on_vcpu<&T::vcpu_initialise>(context); }
    static abi::Verdict vcpu_reset(V context) { return on_vcpu<&T::vcpu_reset>(context); }
    static abi::Verdict vcpu_destroy(V context) { return on_vcpu<&T::vcpu_destroy>(context); }
    static abi::Verdict before_entry(V context) { return on_vcpu<&T::before_entry>(context); }
    static abi::Verdict interrupt_window(V context) { return on_vcpu<&T::interrupt_window>(context); }
    static abi::Verdict interrupt_accepted(V context, u32 vector)
    {
        return on_vcpu<&T::interrupt_accepted>(context, vector);
    }
    static abi::Verdict interrupt_ended(V context, u32 vector)
    {
        return on_vcpu<&T::interrupt_ended>(context, vector);
    }
    static abi::Verdict run_state_changed(V context, abi::RunState from, abi::RunState to, u64 when_ns)
    {
        return on_vcpu<&T::run_state_changed>(context, from, to, when_ns);
    }
    static abi::Verdict timer(V context, u64 timer, u64 cookie, u64 missed)
    {
        return on_vcpu<&T::timer>(context, timer, cookie, missed);
    }
    static abi::Verdict mmio_read(V context, u32 window, u64 offset, u32 size, u64* value)
    {
        return on_vcpu<&T::mmio_read>(context, window, offset, size, *value);
    }
    static abi::Verdict mmio_write(V context, u32 window, u64 offset, u32 size, u64 value)
    {
        return on_vcpu<&T::mmio_write>(context, window, offset, size, value);
    }
    static abi::Verdict port_read(V context, u32 window, u32 offset, u32 size, u32* value)
    {
        return on_vcpu<&T::port_read>(context, window, offset, size, *value);
    }
    static abi::Verdict port_write(V context, u32 window, u32 offset, u32 size, u32 value)
    {
        return on_vcpu<&T::port_write>(context, window, offset, size, value);
    }
    static abi::Verdict hypercall_continue(V context, abi::HypercallFrame* frame)
    {
        return on_vcpu<&T::hypercall_continue>(context, *frame);
    }
    static abi::Verdict exit(V context, abi::ExitFrame* frame) { return on_vcpu<&T::exit>(context, *frame); }

    static abi::Verdict cpuid(V context, u32 window, u32 leaf, u32 subleaf, abi::CpuidResult* result)
    {
        if constexpr (has_leaf_table<T>)
            return compute_leaf<T>(computed_leaves_of<T>, Vcpu<T>{*context}, window, leaf, subleaf, *result);
        else
            return on_vcpu<&T::cpuid>(context, window, leaf, subleaf, *result);
    }
    static abi::Verdict msr_read(V context, u32 window, u32 offset, u64* value)
    {
        if constexpr (has_msr_table<T>)
            return read_by(find_rule<msrs_of<T>>(window, offset), Vcpu<T>{*context}, offset, *value);
        else
            return on_vcpu<&T::msr_read>(context, window, offset, *value);
    }
    static abi::Verdict msr_write(V context, u32 window, u32 offset, u64 value)
    {
        Vcpu<T> vcpu{*context};
        if constexpr (has_msr_table<T>)
            return write_by(find_rule<msrs_of<T>>(window, offset), vcpu, offset, value);
        else
            return T::msr_write(vcpu, window, offset, value);
    }
    static abi::Verdict hypercall(V context, abi::HypercallFrame* frame)
    {
        Vcpu<T> vcpu{*context};
        if constexpr (!has_hypercall_table<T>) {
            return T::hypercall(vcpu, *frame);
        } else {
            const auto* const rule = find_rule<T>(hypercalls_of<T>, T::hypercall_code(*frame));
            if (rule != nullptr)
                return rule->call(vcpu, *frame);
            if constexpr (requires { T::hypercall_unknown(vcpu, *frame); })
                return T::hypercall_unknown(vcpu, *frame);
            else
                return abi::inject_undefined_opcode;
        }
    }

private:
    template <auto Hook, typename... Arguments>
    static abi::Verdict on_vcpu(V context, Arguments&&... arguments)
    {
        Vcpu<T> vcpu{*context};
        return Hook(vcpu, arguments...);
    }
};

/// Sets the member of the hook table when the class has a static function of that name.
#define HV_HOOK_IF_PRESENT(member)                                                                           \
    if constexpr (requires { &T::member; })                                                                  \
    table.member = &Thunks<T>::member

template <typename T>
consteval void add_declared(abi::HookTable& table)
{
    if constexpr (requires { std::size(T::leaves); }) {
        static_assert(inside_windows(leaves_of<T>, windows_of<T>),
                      "a declared leaf lies outside the windows, or twice");
        table.leaves = leaves_of<T>.data();
        table.leaf_count = leaves_of<T>.size();
    }
    if constexpr (requires { std::size(T::msr_reads); }) {
        static_assert(msrs_inside_windows<abi::DeclaredMsrRead>(msr_reads_of<T>, windows_of<T>),
                      "a declared MSR read lies outside the windows, or twice");
        table.msr_reads = msr_reads_of<T>.data();
        table.msr_read_count = msr_reads_of<T>.size();
    }
    if constexpr (requires { std::size(T::msr_writes); }) {
        static_assert(msrs_inside_windows<abi::DeclaredMsrWrite>(msr_writes_of<T>, windows_of<T>),
                      "a declared MSR write lies outside the windows, or twice");
        table.msr_writes = msr_writes_of<T>.data();
        table.msr_write_count = msr_writes_of<T>.size();
    }
    if constexpr (requires { std::size(T::exits); }) {
        table.exits = exits_of<T>.data();
        table.exit_count = exits_of<T>.size();
    }
}

template <typename T>
consteval void add_tables(abi::HookTable& table)
{
    if constexpr (has_msr_table<T>) {
        static_assert(ascending_and_disjoint<T>(std::span<const MsrRule<T>>{msrs_of<T>}),
                      "the MSR table is not sorted or overlaps");
        table.msr_read = &Thunks<T>::msr_read;
        table.msr_write = &Thunks<T>::msr_write;
    }
    if constexpr (has_leaf_table<T>) {
        static_assert(ascending_and_disjoint<T>(std::span<const LeafRule<T>>{computed_leaves_of<T>}),
                      "the leaf table is not sorted or overlaps");
        table.cpuid = &Thunks<T>::cpuid;
    }
    if constexpr (has_hypercall_table<T>) {
        static_assert(ascending<T>(std::span<const HypercallRule<T>>{hypercalls_of<T>}),
                      "the hypercall table is not sorted");
        table.hypercall = &Thunks<T>::hypercall;
    }
}

template <typename T>
consteval abi::HookTable make_hook_table()
{
    abi::HookTable table{};
    table.header = {abi::hook_table_magic, abi::abi_major, abi::abi_minor, sizeof table, 0};
    HV_HOOK_IF_PRESENT(parameter_set);
    HV_HOOK_IF_PRESENT(domain_create);
    HV_HOOK_IF_PRESENT(domain_destroy);
    HV_HOOK_IF_PRESENT(vcpu_initialise);
    HV_HOOK_IF_PRESENT(vcpu_reset);
    HV_HOOK_IF_PRESENT(vcpu_destroy);
    HV_HOOK_IF_PRESENT(cpuid);
    HV_HOOK_IF_PRESENT(msr_read);
    HV_HOOK_IF_PRESENT(msr_write);
    HV_HOOK_IF_PRESENT(hypercall_page);
    HV_HOOK_IF_PRESENT(hypercall);
    HV_HOOK_IF_PRESENT(hypercall_continue);
    HV_HOOK_IF_PRESENT(timer);
    HV_HOOK_IF_PRESENT(mmio_read);
    HV_HOOK_IF_PRESENT(mmio_write);
    HV_HOOK_IF_PRESENT(port_read);
    HV_HOOK_IF_PRESENT(port_write);
    HV_HOOK_IF_PRESENT(channel_message);
    HV_HOOK_IF_PRESENT(before_entry);
    HV_HOOK_IF_PRESENT(interrupt_window);
    HV_HOOK_IF_PRESENT(interrupt_accepted);
    HV_HOOK_IF_PRESENT(interrupt_ended);
    HV_HOOK_IF_PRESENT(run_state_changed);
    HV_HOOK_IF_PRESENT(freeze);
    HV_HOOK_IF_PRESENT(thaw);
    HV_HOOK_IF_PRESENT(export_state);
    HV_HOOK_IF_PRESENT(import_state);
    HV_HOOK_IF_PRESENT(exit);
    add_tables<T>(table);
    add_declared<T>(table);
    return table;
}
#undef HV_HOOK_IF_PRESENT

/// As StateBlock has it: with the oldest version whose blocks are the beginning of today's, where the class names one.
template <typename T>
consteval std::uint32_t state_version()
{
    if constexpr (requires { T::oldest_state_version; })
        return T::state_version | std::uint32_t{T::oldest_state_version} << 16;
    else if constexpr (requires { T::state_version; })
        return T::state_version;
    else
        return 1;
}

}  // namespace detail

/// The hook table of a class.
template <typename T>
inline constexpr abi::HookTable hook_table{detail::make_hook_table<T>()};

/// The manifest of a class.
template <typename T>
consteval abi::Manifest make_manifest(const abi::HookTable* hooks, abi::HostTable* host)
{
    abi::Manifest manifest{};
    manifest.header = {abi::manifest_magic, abi::abi_major, abi::abi_minor, sizeof manifest, 0};
    put_text(manifest.name, T::info.name);
    put_text(manifest.description, T::info.description);
    manifest.version_major = T::info.version_major;
    manifest.version_minor = T::info.version_minor;
    manifest.version_patch = T::info.version_patch;
    manifest.flags = T::info.flags;
    manifest.hypercall_pages = T::info.hypercall_pages;
    manifest.needs = T::info.needs;
    manifest.hooks = hooks;
    manifest.host = host;
    manifest.host_size = sizeof *host;
    if constexpr (requires { std::size(T::windows); }) {
        static_assert(numbered_uniquely(detail::windows_of<T>), "two windows have the same number");
        manifest.windows = detail::windows_of<T>.data();
        manifest.window_count = detail::windows_of<T>.size();
    }
    if constexpr (requires { std::size(T::parameters); }) {
        manifest.parameters = detail::parameters_of<T>.data();
        manifest.parameter_count = detail::parameters_of<T>.size();
    }
    if constexpr (requires { std::size(T::counters); }) {
        manifest.counters = detail::counters_of<T>.data();
        manifest.counter_count = detail::counters_of<T>.size();
    }
    manifest.domain_state = {block_size<typename DomainStateOf<T>::type>(), detail::state_version<T>()};
    manifest.vcpu_state = {block_size<typename VcpuStateOf<T>::type>(), detail::state_version<T>()};
    return manifest;
}

}  // namespace hv::ext

/// Makes the class the module's extension; once in a module, at namespace scope outside of any.  The two
/// names are unique in a module, so that two manifests do not link.
#define HV_EXTENSION(Class)                                                                                  \
    extern "C" {                                                                                             \
    [[gnu::section(HV_HOST_TABLE_SECTION), gnu::used]] constinit hv::abi::HostTable hv_host_table{};         \
    extern const hv::abi::Manifest hv_manifest;                                                              \
    [[gnu::section(HV_MANIFEST_SECTION), gnu::used]] constinit const hv::abi::Manifest hv_manifest{          \
        hv::ext::make_manifest<Class>(&hv::ext::hook_table<Class>, &hv_host_table)};                         \
    }
