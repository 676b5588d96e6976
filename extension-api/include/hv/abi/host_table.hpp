// SPDX-License-Identifier: MIT
//
// What the hypervisor offers to an extension: plain functions, in groups.  A module has its own copy of the
// table (the manifest says where), filled in before its first hook; a member beyond `header.size` is not
// there (HV_OFFERS).
//
// Rules for every service: it returns status_ok or a negative reason (status.hpp) and then has changed
// nothing.  It may be called from any hook of the instance and from nowhere else.  A pointer is to the
// instance's own memory.  A service whose capability the manifest did not ask for answers permission_denied;
// one marked "0.1: not supported" is there so that modules can be written against it, and answers
// status_not_supported; so it does in later versions too, unless "since" says from which on it is served.
#pragma once

#include "hv/abi/hook_table.hpp"

namespace hv::abi {

enum class LogLevel : std::uint32_t {
    error = 0,
    warning = 1,
    info = 2,
    debug = 3,
};

/// Which page of a guest a write goes to, and what a pin is for.
inline constexpr std::uint32_t pin_read{1};
inline constexpr std::uint32_t pin_write{2};

// How a hypercall page gets to the guest.

/// The overlay goes, the guest's own page is seen again.
inline constexpr std::uint32_t hypercall_page_remove{0};
/// Lies over the guest's page, read and execute only.
inline constexpr std::uint32_t hypercall_page_overlay{1};
inline constexpr std::uint32_t hypercall_page_copy{2};  ///< its bytes are written into the guest's page, once

// inject_interrupt: by which way.

/// Edge-triggered through the local APIC: IRR, TPR, EOI.
inline constexpr std::uint32_t inject_local_apic{0};
inline constexpr std::uint32_t inject_bare{1};  ///< by the processor's event injection, past the local APIC

// interrupt_watch: what of a vector's course, ORed.

inline constexpr std::uint32_t watch_accepted{1};  ///< interrupt_accepted is called when the guest takes it
inline constexpr std::uint32_t watch_ended{2};     ///< interrupt_ended is called when the guest has ended it
/// The core ends it as soon as the guest takes it, without entering the module.
inline constexpr std::uint32_t watch_auto_eoi{4};
inline constexpr std::uint32_t watch_known{7};

/// tlb_flush.
inline constexpr std::uint32_t flush_all{0};         ///< everything of these VCPUs, global pages too
inline constexpr std::uint32_t flush_non_global{1};  ///< a hint: global translations may stay

enum class ShutdownReason : std::uint32_t {
    poweroff = 0,
    reboot = 1,
    halt = 2,
    crash = 3,
};

/// wake_*: what ends a block, ORed.
inline constexpr std::uint32_t wake_interrupt{1};  ///< an interrupt becomes pending, deliverable or not
inline constexpr std::uint32_t wake_deadline{2};
inline constexpr std::uint32_t wake_kick{4};

/// One instant, seen by every clock of the guest.
struct TimeSnapshot {
    std::uint64_t guest_ns;   ///< since the domain's creation, stopped while it is frozen
    std::uint64_t guest_tsc;  ///< the VCPU's TSC at that instant
    std::uint64_t tsc_hz;
    std::uint64_t wall_clock_ns;  ///< since 1970-01-01 00:00 UTC, or 0 where the hypervisor does not know
};
HV_FROZEN(TimeSnapshot, guest_ns, 0);
HV_FROZEN(TimeSnapshot, guest_tsc, 8);
HV_FROZEN(TimeSnapshot, tsc_hz, 16);
HV_FROZEN(TimeSnapshot, wall_clock_ns, 24);
HV_FROZEN_SIZE(TimeSnapshot, 32);

/// Nanoseconds that the VCPU has spent in each run state, indexed by RunState, up to now.  A pause of the domain counts
/// as offline, though the guest's time stands still in it.
struct RunStateTimes {
    std::uint64_t ns[4];
    RunState now;
    std::uint32_t reserved;
    std::uint64_t since_ns;  ///< guest time at which the present state began
};
HV_FROZEN(RunStateTimes, ns, 0);
HV_FROZEN(RunStateTimes, now, 32);
HV_FROZEN(RunStateTimes, since_ns, 40);
HV_FROZEN_SIZE(RunStateTimes, 48);

struct DomainInfo {
    std::uint32_t domain_id;
    std::uint32_t vcpu_count;
    std::uint64_t memory_bytes;
    std::uint64_t apic_timer_hz;  ///< input of the guest's local APIC timers before the divider
    std::uint8_t uuid[16];        ///< in the order of its text form
    char name[64];                ///< NUL-terminated
    std::uint32_t hypervisor_major;
    std::uint32_t hypervisor_minor;
};
HV_FROZEN(DomainInfo, domain_id, 0);
HV_FROZEN(DomainInfo, vcpu_count, 4);
HV_FROZEN(DomainInfo, memory_bytes, 8);
HV_FROZEN(DomainInfo, apic_timer_hz, 16);
HV_FROZEN(DomainInfo, uuid, 24);
HV_FROZEN(DomainInfo, name, 40);
HV_FROZEN(DomainInfo, hypervisor_major, 104);
HV_FROZEN(DomainInfo, hypervisor_minor, 108);
HV_FROZEN_SIZE(DomainInfo, 112);

/// A fault that an access by guest-linear address would raise in the guest.
struct GuestFault {
    std::uint32_t vector;
    std::uint32_t error_code;
    std::uint64_t address;
};
HV_FROZEN(GuestFault, vector, 0);
HV_FROZEN(GuestFault, error_code, 4);
HV_FROZEN(GuestFault, address, 8);
HV_FROZEN_SIZE(GuestFault, 16);

/// linear_*: how guest_read_linear, guest_write_linear and translate look at the guest's page tables.
inline constexpr std::uint32_t linear_write{1};
inline constexpr std::uint32_t linear_execute{2};
inline constexpr std::uint32_t linear_user{4};  ///< with the rights of CPL 3

using Answer = std::int32_t;  ///< status_*

/// Append only.
struct HostTable {
    AbiHeader header;

    // --- log and text: always granted ---
    /// One line, no newline, at most 240 bytes of UTF-8 (the rest is cut); limited per instance and second.
    Answer (*log)(LogLevel level, const char* text, std::uint64_t length);
    /// The sentence that an operator reads beside a refuse, pause or crash verdict of this hook; at most 240
    /// bytes.
    Answer (*explain)(std::uint64_t domain, const char* text, std::uint64_t length);

    // --- state: always granted ---
    /// From here to the hook's return this hook alone may write the domain's state block; waits for
    /// another's.
    Answer (*domain_update_begin)(std::uint64_t domain);

    // --- declared answers: always granted ---
    /// Adds to or replaces what was declared for the same place.  All or none of an array is taken; conflict
    /// where an element lies outside the module's windows, invalid_argument where it makes no sense.
    Answer (*declare_leaves)(std::uint64_t domain, const DeclaredLeaf* leaves, std::uint64_t count);
    Answer (*declare_msr_reads)(std::uint64_t domain, const DeclaredMsrRead* reads, std::uint64_t count);
    Answer (*declare_msr_writes)(std::uint64_t domain, const DeclaredMsrWrite* writes, std::uint64_t count);
    Answer (*declare_eoi_assist)(std::uint64_t vcpu, const DeclaredEoiAssist* assist);
    Answer (*set_condition)(std::uint64_t domain, std::uint32_t condition, std::uint32_t on);

    // --- hvm (need_registers, need_vector_registers, need_injection, need_intercepts, need_interrupt_watch, need_tlb) ---
    /// Of the calling hook's VCPU, or of one that is paused; else busy.
    Answer (*registers_read)(std::uint64_t vcpu, std::uint32_t groups, GuestRegisters* registers);
    Answer (*registers_write)(std::uint64_t vcpu, std::uint32_t groups, const GuestRegisters* registers);
    /// `count` XMM registers from `first`, 16 bytes each, of XMM0 to XMM15; of the calling hook's VCPU, or of one that is paused,
    /// else busy.  0.1: not supported; since 0.2 with need_vector_registers.
    Answer (*vector_registers_read)(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count,
                                    void* bytes);
    Answer (*vector_registers_write)(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count,
                                     const void* bytes);
    Answer (*inject_interrupt)(std::uint64_t vcpu, std::uint32_t vector, std::uint32_t how);
    Answer (*inject_nmi)(std::uint64_t vcpu);
    Answer (*interrupt_window_request)(std::uint64_t vcpu);
    /// What happens with a vector (16 to 255) of the calling hook's VCPU or of one that is paused, from now on and until it is
    /// said anew: watch_*, or 0.  The hooks are called before the guest's next instruction.
    /// 0.1: not supported; since 0.2 with need_interrupt_watch.
    Answer (*interrupt_watch)(std::uint64_t vcpu, std::uint32_t vector, std::uint32_t what);
    /// Switches the intercept of an MSR that the guest otherwise has for itself.  0.1: not supported.
    Answer (*intercept_msr)(std::uint64_t domain, std::uint32_t msr, std::uint32_t on);
    /// Flushes translations of the VCPUs whose bits are set (index = 64 * word + bit; null: all) before their
    /// next instruction; those that run are interrupted, the others are marked.  Bits beyond the last VCPU
    /// are ignored.
    Answer (*tlb_flush)(std::uint64_t domain, const std::uint64_t* vcpus, std::uint32_t words,
                        std::uint32_t how);
    /// This processor's hypercall instruction: up to 8 bytes.
    Answer (*hypercall_instruction)(std::uint8_t* bytes, std::uint32_t* length);

    // --- memory: copies (need_guest_memory) ---
    /// All or nothing for a read; a write that fails at a page may have written the pages before.  At most 64
    /// KiB.
    Answer (*guest_read)(std::uint64_t domain, std::uint64_t gpa, void* own, std::uint64_t length);
    Answer (*guest_write)(std::uint64_t domain, std::uint64_t gpa, const void* own, std::uint64_t length);
    /// By the linear address of the calling hook's VCPU; out_of_range with `fault` filled where the guest
    /// would fault.
    Answer (*guest_read_linear)(std::uint64_t vcpu, std::uint64_t address, void* own, std::uint64_t length,
                                std::uint32_t flags, GuestFault* fault);
    Answer (*guest_write_linear)(std::uint64_t vcpu, std::uint64_t address, const void* own,
                                 std::uint64_t length, std::uint32_t flags, GuestFault* fault);
    Answer (*translate)(std::uint64_t vcpu, std::uint64_t address, std::uint32_t flags, std::uint64_t* gpa,
                        GuestFault* fault);

    // --- memory: hypercall and overlay pages (need_overlays) ---
    /// Where the guest put hypercall page `page`; `gpa` is page-aligned, RAM or not.  A second place moves
    /// it.
    Answer (*hypercall_page_place)(std::uint64_t domain, std::uint32_t page, std::uint64_t gpa,
                                   std::uint32_t how);
    /// A zeroed page, owned by the core and not yet seen by the guest.
    Answer (*overlay_create)(std::uint64_t domain, std::uint64_t* page);
    /// Lies over the guest's page at `gpa` until moved or removed; conflict where another overlay lies there
    /// already.
    Answer (*overlay_place)(std::uint64_t domain, std::uint64_t page, std::uint64_t gpa,
                            std::uint32_t writable);
    Answer (*overlay_remove)(std::uint64_t domain, std::uint64_t page);  ///< the page and its bytes stay
    Answer (*overlay_destroy)(std::uint64_t domain, std::uint64_t page);
    Answer (*page_read)(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, void* own,
                        std::uint64_t length);
    Answer (*page_write)(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, const void* own,
                         std::uint64_t length);

    // --- memory: pinned pages (need_pinned_pages); the page_* of this group take overlay handles too ---
    Answer (*page_pin)(std::uint64_t domain, std::uint64_t gpa, std::uint32_t access, std::uint64_t* page);
    Answer (*page_unpin)(std::uint64_t domain, std::uint64_t page);
    /// Atomic, sequentially consistent; `size` 1, 2, 4 or 8, `offset` a multiple of it.
    Answer (*page_load)(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                        std::uint64_t* value);
    Answer (*page_store)(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                         std::uint64_t value);
    Answer (*page_exchange)(std::uint64_t domain, std::uint64_t page, std::uint32_t offset,
                            std::uint32_t size, std::uint64_t value, std::uint64_t* before);
    /// `before` is what was there; swapped where it equals `expected`.
    Answer (*page_compare_exchange)(std::uint64_t domain, std::uint64_t page, std::uint32_t offset,
                                    std::uint32_t size, std::uint64_t expected, std::uint64_t desired,
                                    std::uint64_t* before);
    /// Bit of the page, 0 to 32767.
    Answer (*page_test_and_set)(std::uint64_t domain, std::uint64_t page, std::uint32_t bit,
                                std::uint32_t* before);
    Answer (*page_test_and_clear)(std::uint64_t domain, std::uint64_t page, std::uint32_t bit,
                                  std::uint32_t* before);
    /// Into the instance's own space until page_unmap, page_unpin or overlay_destroy.  0.1: not supported.
    Answer (*page_map)(std::uint64_t domain, std::uint64_t page, void** own);
    Answer (*page_unmap)(std::uint64_t domain, std::uint64_t page);

    // --- memory: the guest's physical map (need_physical_map).  0.1: not supported ---
    Answer (*physical_map_add)(std::uint64_t domain, std::uint64_t gpa, std::uint64_t pages);
    Answer (*physical_map_remove)(std::uint64_t domain, std::uint64_t gpa, std::uint64_t pages);
    /// Offers a page to another domain, and accepts one; authority is the core's to check.
    Answer (*page_offer)(std::uint64_t domain, std::uint64_t page, std::uint32_t to_domain_id,
                         std::uint32_t access, std::uint64_t* token);
    Answer (*page_accept)(std::uint64_t domain, std::uint32_t from_domain_id, std::uint64_t token,
                          std::uint64_t* page);

    // --- memory: the instance's own (need_allocation) ---
    Answer (*allocate)(std::uint64_t length, std::uint64_t alignment,
                       void** own);  ///< zeroed; alignment <= 4096
    Answer (*release)(void* own);

    // --- mmio (need_mmio).  0.1: not supported; MMIO that is known beforehand is a window ---
    Answer (*mmio_claim)(std::uint64_t domain, std::uint32_t window, std::uint64_t gpa, std::uint64_t length);
    Answer (*mmio_withdraw)(std::uint64_t domain, std::uint32_t window);

    // --- vcpu (need_vcpus) ---
    Answer (*vcpu_by_index)(std::uint64_t domain, std::uint32_t index, std::uint64_t* vcpu);
    Answer (*vcpu_pause)(std::uint64_t vcpu);  ///< counted: as many unpauses undo it; own VCPU: at the return
    Answer (*vcpu_unpause)(std::uint64_t vcpu);
    Answer (*vcpu_kick)(std::uint64_t vcpu);  ///< leaves the guest if it is in it; before_entry is called
    Answer (*vcpu_yield)(
        std::uint64_t vcpu);  ///< calling hook's VCPU: lets others run after the hook's return
    /// What a `block` verdict of this hook waits for: wake_*; the deadline is guest time.
    Answer (*vcpu_block)(std::uint64_t vcpu, std::uint32_t wake, std::uint64_t deadline_ns);
    Answer (*apic_read)(std::uint64_t vcpu, std::uint32_t apic_register, std::uint64_t* value);
    Answer (*apic_write)(std::uint64_t vcpu, std::uint32_t apic_register, std::uint64_t value);
    Answer (*run_state_times)(std::uint64_t vcpu, RunStateTimes* times);

    // --- time (need_time, need_timers) ---
    Answer (*time_now)(std::uint64_t domain, std::uint64_t* guest_ns);
    Answer (*time_snapshot)(std::uint64_t vcpu, TimeSnapshot* snapshot);
    /// A disarmed timer of this VCPU; `cookie` comes back in the hook.
    Answer (*timer_create)(std::uint64_t vcpu, std::uint64_t cookie, std::uint64_t* timer);
    Answer (*timer_set)(std::uint64_t timer, const TimerSetting* setting);  ///< re-arms an armed one
    Answer (*timer_cancel)(std::uint64_t timer);  ///< after it no expiry of the old setting is delivered
    Answer (*timer_destroy)(std::uint64_t timer);

    // --- domain (need_domain) ---
    /// Ends the domain when the hook returns; the text (at most 240 bytes) is part of a crash's reason.
    Answer (*domain_shutdown)(std::uint64_t domain, ShutdownReason reason, const char* text,
                              std::uint64_t length);
    Answer (*domain_reset)(std::uint64_t domain);  ///< as by the reset register
    Answer (*domain_info)(std::uint64_t domain, DomainInfo* info);
    /// The domain's console.  A write takes all; `written` and `read` are bytes, 0 to `length`.
    Answer (*console_write)(std::uint64_t domain, const char* text, std::uint64_t length,
                            std::uint64_t* written);
    Answer (*console_read)(std::uint64_t domain, char* text, std::uint64_t length, std::uint64_t* read);

    // --- channel (need_channel).  0.1: not supported ---
    /// This end of the channel `name` (1 to 31 printable ASCII letters, no blank) of the domain; the other end is that of another
    /// instance, or of a program in the control domain, that opens the same name.  At most 8 of an instance, which must have the hook channel_message.
    /// already_exists: it has an end of that name; conflict: two others have.
    Answer (*channel_open)(std::uint64_t domain, const char* name, std::uint64_t length,
                           std::uint64_t* channel);
    /// Copies 1 to 512 bytes to the other end.  not_found: nobody has opened it, or it was closed; limit_reached: 8 messages wait there.
    Answer (*channel_send)(std::uint64_t channel, const void* bytes, std::uint64_t length);
    Answer (*channel_close)(std::uint64_t channel);  ///< what waits at this end is dropped

    // --- since 0.2: always granted ---
    /// One value that a parameter came to once defaults and what needs what are worked out; a list is told value by value.
    /// `xl list -l` shows them beside the configuration.  `key` is 1 to 31 bytes of UTF-8, `value` 0 to 63, else
    /// invalid_argument; limit_reached after 32 of an instance.
    Answer (*settled)(std::uint64_t domain, const char* key, std::uint64_t key_length, const char* value,
                      std::uint64_t value_length);
    /// What the guest's processors are: a leaf as the domain's first VCPU would read it if no extension had a say.  Zeros where
    /// there is no such leaf.
    Answer (*processor_leaf)(std::uint64_t domain, std::uint32_t leaf, std::uint32_t subleaf, CpuidResult* values);
};

#define HV_FROZEN_SERVICE(member, index) HV_FROZEN(HostTable, member, 16 + 8 * (index))
HV_FROZEN_SERVICE(log, 0);
HV_FROZEN_SERVICE(explain, 1);
HV_FROZEN_SERVICE(domain_update_begin, 2);
HV_FROZEN_SERVICE(declare_leaves, 3);
HV_FROZEN_SERVICE(declare_msr_reads, 4);
HV_FROZEN_SERVICE(declare_msr_writes, 5);
HV_FROZEN_SERVICE(declare_eoi_assist, 6);
HV_FROZEN_SERVICE(set_condition, 7);
HV_FROZEN_SERVICE(registers_read, 8);
HV_FROZEN_SERVICE(registers_write, 9);
HV_FROZEN_SERVICE(vector_registers_read, 10);
HV_FROZEN_SERVICE(vector_registers_write, 11);
HV_FROZEN_SERVICE(inject_interrupt, 12);
HV_FROZEN_SERVICE(inject_nmi, 13);
HV_FROZEN_SERVICE(interrupt_window_request, 14);
HV_FROZEN_SERVICE(interrupt_watch, 15);
HV_FROZEN_SERVICE(intercept_msr, 16);
HV_FROZEN_SERVICE(tlb_flush, 17);
HV_FROZEN_SERVICE(hypercall_instruction, 18);
HV_FROZEN_SERVICE(guest_read, 19);
HV_FROZEN_SERVICE(guest_write, 20);
HV_FROZEN_SERVICE(guest_read_linear, 21);
HV_FROZEN_SERVICE(guest_write_linear, 22);
HV_FROZEN_SERVICE(translate, 23);
HV_FROZEN_SERVICE(hypercall_page_place, 24);
HV_FROZEN_SERVICE(overlay_create, 25);
HV_FROZEN_SERVICE(overlay_place, 26);
HV_FROZEN_SERVICE(overlay_remove, 27);
HV_FROZEN_SERVICE(overlay_destroy, 28);
HV_FROZEN_SERVICE(page_read, 29);
HV_FROZEN_SERVICE(page_write, 30);
HV_FROZEN_SERVICE(page_pin, 31);
HV_FROZEN_SERVICE(page_unpin, 32);
HV_FROZEN_SERVICE(page_load, 33);
HV_FROZEN_SERVICE(page_store, 34);
HV_FROZEN_SERVICE(page_exchange, 35);
HV_FROZEN_SERVICE(page_compare_exchange, 36);
HV_FROZEN_SERVICE(page_test_and_set, 37);
HV_FROZEN_SERVICE(page_test_and_clear, 38);
HV_FROZEN_SERVICE(page_map, 39);
HV_FROZEN_SERVICE(page_unmap, 40);
HV_FROZEN_SERVICE(physical_map_add, 41);
HV_FROZEN_SERVICE(physical_map_remove, 42);
HV_FROZEN_SERVICE(page_offer, 43);
HV_FROZEN_SERVICE(page_accept, 44);
HV_FROZEN_SERVICE(allocate, 45);
HV_FROZEN_SERVICE(release, 46);
HV_FROZEN_SERVICE(mmio_claim, 47);
HV_FROZEN_SERVICE(mmio_withdraw, 48);
HV_FROZEN_SERVICE(vcpu_by_index, 49);
HV_FROZEN_SERVICE(vcpu_pause, 50);
HV_FROZEN_SERVICE(vcpu_unpause, 51);
HV_FROZEN_SERVICE(vcpu_kick, 52);
HV_FROZEN_SERVICE(vcpu_yield, 53);
HV_FROZEN_SERVICE(vcpu_block, 54);
HV_FROZEN_SERVICE(apic_read, 55);
HV_FROZEN_SERVICE(apic_write, 56);
HV_FROZEN_SERVICE(run_state_times, 57);
HV_FROZEN_SERVICE(time_now, 58);
HV_FROZEN_SERVICE(time_snapshot, 59);
HV_FROZEN_SERVICE(timer_create, 60);
HV_FROZEN_SERVICE(timer_set, 61);
HV_FROZEN_SERVICE(timer_cancel, 62);
HV_FROZEN_SERVICE(timer_destroy, 63);
HV_FROZEN_SERVICE(domain_shutdown, 64);
HV_FROZEN_SERVICE(domain_reset, 65);
HV_FROZEN_SERVICE(domain_info, 66);
HV_FROZEN_SERVICE(console_write, 67);
HV_FROZEN_SERVICE(console_read, 68);
HV_FROZEN_SERVICE(channel_open, 69);
HV_FROZEN_SERVICE(channel_send, 70);
HV_FROZEN_SERVICE(channel_close, 71);
HV_FROZEN_SERVICE(settled, 72);
HV_FROZEN_SERVICE(processor_leaf, 73);
HV_FROZEN_SIZE(HostTable, 16 + 8 * 74);

}  // namespace hv::abi
