// SPDX-License-Identifier: MIT
//
// What an extension says about itself, in a section of its own, read as bytes and judged before one
// instruction of it is run.  Everything that it names is const data of the module: there is no start
// function.
#pragma once

#include "hv/abi/host_table.hpp"

namespace hv::abi {

/// The section of the one Manifest, and that of the module's copy of the service table (sealed read-only once
/// filled).
#define HV_MANIFEST_SECTION ".hv.manifest"
#define HV_HOST_TABLE_SECTION ".hv.host"

/// Capabilities that a module needs.  An unknown bit, or one that the hypervisor does not provide, refuses
/// the load; a service outside of what the manifest asks for answers permission_denied.
inline constexpr std::uint64_t need_registers{1ull << 0};
inline constexpr std::uint64_t need_injection{1ull << 1};
inline constexpr std::uint64_t need_intercepts{1ull << 2};
inline constexpr std::uint64_t need_tlb{1ull << 3};
inline constexpr std::uint64_t need_guest_memory{1ull << 4};
inline constexpr std::uint64_t need_overlays{1ull << 5};
inline constexpr std::uint64_t need_pinned_pages{1ull << 6};
inline constexpr std::uint64_t need_physical_map{1ull << 7};
inline constexpr std::uint64_t need_allocation{1ull << 8};
inline constexpr std::uint64_t need_mmio{1ull << 9};
inline constexpr std::uint64_t need_vcpus{1ull << 10};
inline constexpr std::uint64_t need_time{1ull << 11};
inline constexpr std::uint64_t need_timers{1ull << 12};
inline constexpr std::uint64_t need_domain{1ull << 13};
inline constexpr std::uint64_t need_channel{1ull << 14};
inline constexpr std::uint64_t need_exits{1ull << 15};
inline constexpr std::uint64_t need_interrupt_watch{1ull << 16};
inline constexpr std::uint64_t need_run_states{1ull << 17};
/// vector_registers_*.  Since 0.2: in 0.1 they belong to need_registers, and are not supported.
inline constexpr std::uint64_t need_vector_registers{1ull << 18};
inline constexpr std::uint64_t known_needs{(1ull << 19) - 1};

/// What a hypervisor of 0.1 provides.  A service that it has and answers `not supported`, though it provides the capability, gets
/// a capability of its own in the version that serves it: so a module that needs it is refused by an older hypervisor when it
/// is loaded, and not surprised later.
inline constexpr std::uint64_t provided_needs_0_1{
    need_registers | need_injection | need_tlb | need_guest_memory | need_overlays | need_pinned_pages |
    need_allocation | need_vcpus | need_time | need_timers | need_domain | need_exits};

/// What this one provides.
inline constexpr std::uint64_t provided_needs{provided_needs_0_1 | need_interrupt_watch | need_vector_registers |
                                            need_channel | need_run_states};
static_assert((provided_needs_0_1 & ~provided_needs) == 0, "a later version provides no less");
static_assert((provided_needs & ~known_needs) == 0);

inline constexpr std::uint32_t manifest_serial{1};  ///< hooks of one instance run one at a time
inline constexpr std::uint32_t manifest_known_flags{1};

/// One kind of state block.  A size of zero: the module has none.
struct StateBlock {
    std::uint32_t size{};     ///< bytes; a multiple of 8
    /// Of the layout, in bits 15..0.  Bits 31..16: the oldest version whose block is the beginning of this one, with zeros for
    /// what came after it; 0: none.
    std::uint32_t version{};
};
HV_FROZEN(StateBlock, size, 0);
HV_FROZEN(StateBlock, version, 4);
HV_FROZEN_SIZE(StateBlock, 8);

/// Takes a list of such values; a single one is a list of one.
inline constexpr std::uint32_t parameter_list{1};

/// One key of `params` that the module takes, so that a configuration can be checked before a domain exists.
struct ParameterDescription {
    char key[32]{};  ///< NUL-terminated; dots for keys in objects
    ParameterKind kind{};
    std::uint32_t flags{};   ///< parameter_*
    std::int64_t minimum{};  ///< of an integer, or the least bytes of a text
    std::int64_t maximum{};
    char choices[192]{};  ///< for a text: the legal values, separated by '|'; empty: any
    char help[64]{};      ///< NUL-terminated, for the operator
};
HV_FROZEN(ParameterDescription, key, 0);
HV_FROZEN(ParameterDescription, kind, 32);
HV_FROZEN(ParameterDescription, flags, 36);
HV_FROZEN(ParameterDescription, minimum, 40);
HV_FROZEN(ParameterDescription, maximum, 48);
HV_FROZEN(ParameterDescription, choices, 56);
HV_FROZEN(ParameterDescription, help, 248);
HV_FROZEN_SIZE(ParameterDescription, 312);

/// A number in a VCPU's state block that the module counts up, for `xl exits`: unsigned, 8 bytes.
struct CounterDescription {
    char name[24]{};         ///< NUL-terminated, not empty; unique in the module
    std::uint32_t offset{};  ///< in the VCPU's state block, a multiple of 8
    std::uint32_t reserved{};
};
HV_FROZEN(CounterDescription, name, 0);
HV_FROZEN(CounterDescription, offset, 24);
HV_FROZEN_SIZE(CounterDescription, 32);

/// Append only.
struct Manifest {
    AbiHeader header;             ///< manifest_magic, and the ABI that the module was built with
    char name[32];                ///< NUL-terminated; a-z, 0-9 and '-', beginning with a letter
    std::uint16_t version_major;  ///< the module's own version
    std::uint16_t version_minor;
    std::uint16_t version_patch;
    std::uint16_t reserved;
    std::uint32_t flags;            ///< manifest_*
    std::uint32_t hypercall_pages;  ///< 0 to 4
    std::uint64_t needs;            ///< need_*
    const HookTable* hooks;         ///< in read-only data
    HostTable* host;                ///< in section .hv.host; the framework writes what both sides know of
    const WindowRequest* windows;   ///< in read-only data
    const ParameterDescription* parameters;
    std::uint32_t host_size;  ///< bytes at `host`
    std::uint32_t window_count;
    std::uint32_t parameter_count;
    std::uint32_t reserved_2;
    StateBlock domain_state;
    StateBlock vcpu_state;
    char description[80];  ///< one line for the operator, NUL-terminated
    // since 0.2
    const CounterDescription* counters;  ///< in read-only data
    std::uint32_t counter_count;         ///< 0 to 32
    std::uint32_t reserved_3;
};
HV_FROZEN(Manifest, header, 0);
HV_FROZEN(Manifest, name, 16);
HV_FROZEN(Manifest, version_major, 48);
HV_FROZEN(Manifest, version_minor, 50);
HV_FROZEN(Manifest, version_patch, 52);
HV_FROZEN(Manifest, flags, 56);
HV_FROZEN(Manifest, hypercall_pages, 60);
HV_FROZEN(Manifest, needs, 64);
HV_FROZEN(Manifest, hooks, 72);
HV_FROZEN(Manifest, host, 80);
HV_FROZEN(Manifest, windows, 88);
HV_FROZEN(Manifest, parameters, 96);
HV_FROZEN(Manifest, host_size, 104);
HV_FROZEN(Manifest, window_count, 108);
HV_FROZEN(Manifest, parameter_count, 112);
HV_FROZEN(Manifest, domain_state, 120);
HV_FROZEN(Manifest, vcpu_state, 128);
HV_FROZEN(Manifest, description, 136);
HV_FROZEN(Manifest, counters, 216);
HV_FROZEN(Manifest, counter_count, 224);
HV_FROZEN_SIZE(Manifest, 232);

}  // namespace hv::abi
