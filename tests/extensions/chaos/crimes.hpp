// SPDX-License-Identifier: MIT
//
// The crimes that the chaos module commits on command, by number: what an isolated module may try, and what must come of it.
// The guest that orders them and the module that commits them share this list; nothing else knows it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace chaos {

/// What the guest meets when the crime is over.
enum class Fate : std::uint8_t {
    dies,      ///< the instance has ended: the write that ordered the crime is #GP
    survives,  ///< harmless or refused with a status: the module goes on and says so
};

struct Crime {
    std::string_view name;
    Fate fate;
};

inline constexpr std::array<Crime, 64> crimes{{
    {"nothing", Fate::survives},
    {"read-null", Fate::dies},
    {"write-null", Fate::dies},
    {"jump-to-null", Fate::dies},
    {"read-hypervisor-text", Fate::dies},
    {"write-hypervisor-text", Fate::dies},
    {"jump-to-hypervisor-text", Fate::dies},
    {"read-direct-map", Fate::dies},
    {"write-direct-map", Fate::dies},
    {"jump-to-direct-map", Fate::dies},
    {"read-hypervisor-stack", Fate::dies},
    {"write-trusted-modules-area", Fate::dies},
    {"read-non-canonical", Fate::dies},
    {"jump-to-non-canonical", Fate::dies},
    {"write-own-text", Fate::dies},
    {"write-own-constants", Fate::dies},
    {"execute-own-data", Fate::dies},
    {"execute-own-stack", Fate::dies},
    {"write-service-stubs", Fate::dies},
    {"write-own-context", Fate::dies},
    {"hlt", Fate::dies},
    {"cli", Fate::dies},
    {"sti", Fate::dies},
    {"in", Fate::dies},
    {"out", Fate::dies},
    {"rdmsr", Fate::dies},
    {"wrmsr", Fate::dies},
    {"read-cr0", Fate::dies},
    {"write-cr3", Fate::dies},
    {"write-cr4", Fate::dies},
    {"write-dr7", Fate::dies},
    {"lgdt", Fate::dies},
    {"lidt", Fate::dies},
    {"ltr", Fate::dies},
    {"sidt", Fate::dies},
    {"invlpg", Fate::dies},
    {"wbinvd", Fate::dies},
    {"clts", Fate::dies},
    {"swapgs", Fate::dies},
    {"xsetbv", Fate::dies},
    {"vmrun", Fate::dies},
    {"vmmcall", Fate::dies},
    {"clgi", Fate::dies},
    {"vmload", Fate::dies},
    {"syscall", Fate::dies},
    {"sysenter", Fate::dies},
    {"sysret", Fate::dies},
    {"int-3", Fate::dies},
    {"int-2", Fate::dies},
    {"int-128", Fate::dies},
    {"int-wake-vector", Fate::dies},
    {"icebp", Fate::dies},
    {"single-step", Fate::dies},
    {"far-call-kernel-code", Fate::dies},
    {"far-call-ldt", Fate::dies},
    {"iret-to-ring-0", Fate::dies},
    {"xmm", Fate::dies},
    {"x87", Fate::dies},
    {"divide-by-zero", Fate::dies},
    {"stack-overflow", Fate::dies},
    {"endless-loop", Fate::dies},
    {"bad-verdict", Fate::dies},
    {"bad-service-arguments", Fate::survives},
    {"flags-segments-and-stack-askew", Fate::survives},
}};

/// The hooks that a crime can be ordered in, in the order of abi::HookTable; the name is the member's.
enum class Hook : std::uint32_t {
    parameter_set, domain_create, domain_destroy, vcpu_initialise, vcpu_reset, vcpu_destroy, cpuid, msr_read, msr_write,
    hypercall_page, hypercall, hypercall_continue, timer, mmio_read, mmio_write, port_read, port_write, channel_message,
    before_entry, interrupt_window, interrupt_accepted, interrupt_ended, run_state_changed, freeze, thaw, export_state, import_state, exit,
};
inline constexpr std::array<std::string_view, 28> hooks{
    "parameter_set", "domain_create", "domain_destroy", "vcpu_initialise", "vcpu_reset", "vcpu_destroy", "cpuid", "msr_read",
    "msr_write", "hypercall_page", "hypercall", "hypercall_continue", "timer", "mmio_read", "mmio_write", "port_read",
    "port_write", "channel_message", "before_entry", "interrupt_window", "interrupt_accepted", "interrupt_ended", "run_state_changed", "freeze",
    "thaw", "export_state", "import_state", "exit",
};
static_assert(static_cast<unsigned>(Hook::exit) + 1 == hooks.size());

/// What a guest orders, in its own memory: the module takes it back before it commits the crime, so that an access which is
/// made once more after a restart finds no order.
struct Order {
    std::uint32_t magic;  ///< order_magic while it stands
    Hook hook;
    std::uint32_t crime;
    std::uint32_t reserved;
};
inline constexpr std::uint32_t order_magic{0x6372'696d};
/// Guest-physical: the order of instance N is at first_order + N * sizeof(Order).
inline constexpr std::uint64_t first_order{0xf0'0000};

/// The module is built this many times, so that one domain can hold as many.
inline constexpr std::uint32_t instances{8};
inline constexpr std::uint32_t first_msr{0x4000'0800};
inline constexpr std::uint32_t msrs_per_instance{16};
/// Offsets in an instance's window.
inline constexpr std::uint32_t msr_commit{0};  ///< written with the crime's number
inline constexpr std::uint32_t msr_alive{1};   ///< reads as alive_word while the instance lives
/// Written with the guest-physical address of a number of eight bytes: while that is not zero, the instance counts it down and
/// dies; then it counts this write in its VCPU's state.
inline constexpr std::uint32_t msr_stumble{2};
inline constexpr std::uint32_t msr_commits{3};  ///< reads as the commits and stumbles that returned well
inline constexpr std::uint32_t msr_plain{4};    ///< reads as alive_word; a write does nothing
inline constexpr std::uint32_t msr_timer{5};    ///< written: the timer's hook is called very soon
inline constexpr std::uint32_t msr_kick{6};     ///< written: before_entry is called
inline constexpr std::uint32_t msr_window{7};   ///< written: interrupt_window is called when the guest can take one
/// Reads as how often this very instance has been asked: 0 says that a fresh one has taken the place.
inline constexpr std::uint32_t msr_age{8};
inline constexpr std::uint32_t msr_declared{9};  ///< reads as alive_word, with no call of a hook
inline constexpr std::uint32_t msr_watch{10};  ///< written with a vector: interrupt_accepted and interrupt_ended are called for it
/// Written: opens an end of the channel that instances 2 N and 2 N + 1 have together, where it is not open.
inline constexpr std::uint32_t msr_channel{11};
inline constexpr std::uint32_t msr_message{12};  ///< written: opens its end, and sends a message to the other
/// Written with the guest-physical address of a number of eight bytes: a selector and one, which the instance sets to 0 before it makes a
/// far call through that selector; 0: it does nothing.
inline constexpr std::uint32_t msr_far_call{13};
/// Reads as what LAR says of all 65 536 selectors: how many name something that this ring may use, in bits 63..32, the first of them in bits
/// 31..16, the last in bits 15..0.
inline constexpr std::uint32_t msr_selectors{14};
inline constexpr std::uint64_t alive_word{0x616c'6976'65};
/// The leaf that a hook answers, in the instance's block, with alive_word's low half in EAX.
inline constexpr std::uint32_t alive_leaf{2};
/// RCX of a hypercall: this and the instance's number; RAX comes back as alive_word.  Bit 0 of RDX: it gives way once.
inline constexpr std::uint64_t hypercall_base{0xc4a0'5000};
inline constexpr std::uint16_t first_port{0x640};
inline constexpr std::uint16_t ports_per_instance{4};
/// Nobody's port, to accesses of which an instance subscribes: this, and ports_per_instance further for each one before it.
inline constexpr std::uint16_t first_watched_port{0x6f0};
inline constexpr std::uint64_t first_mmio{0xfed4'0000};
inline constexpr std::uint64_t mmio_per_instance{0x1000};

}  // namespace chaos
