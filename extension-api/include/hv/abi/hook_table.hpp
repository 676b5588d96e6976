// SPDX-License-Identifier: MIT
//
// What an extension implements: plain functions and const tables, all optional.  The table is const data that
// the manifest names; the loader copies and checks it once, so nothing a module does later changes what is
// called.
//
// Rules that every hook may rely on and must keep:
//  * A hook runs to completion on its processor.  Hooks of one instance run in parallel on several VCPUs,
//  never twice
//    at once for one VCPU, unless the manifest says `serial`: then one at a time.  A module's lock is never
//    held across a return.  No service calls a hook of the same instance: hooks do not nest.
//  * Every pointer in an argument is to the instance's own memory and dies with the return.  Handles (uint64)
//  name
//    what the hypervisor owns; they belong to the binding, so that they outlive a restart and a swap.
//  * State blocks: the VCPU's block belongs to the hook that runs for that VCPU; the core keeps it when the
//  hook returns
//    well, unless the verdict says `unchanged`.  The domain's block may be read at any time (by atomic
//    loads), and written only after domain_update_begin, whose lock the core takes back, keeping the block,
//    when the hook returns. Other instance memory is not kept: what a guest can see must lie in a block.
//  * Order: parameter_set for each parameter; domain_create; hypercall_page for each page; vcpu_initialise
//  for each
//    VCPU; then the guest runs.  At the end vcpu_destroy for each VCPU, then domain_destroy.
#pragma once

#include "hv/abi/declared.hpp"
#include "hv/abi/status.hpp"

namespace hv::abi {

/// What a domain hook is told.  Lives in the instance's memory as long as the binding.
struct DomainContext {
    std::uint64_t domain;       ///< handle for the services
    void* domain_state;         ///< the working copy of the domain's state block, or null without one
    const WindowGrant* grants;  ///< in the order of the manifest's requests
    std::uint32_t grant_count;
    std::uint32_t vcpu_count;
    std::uint32_t start_reason;  ///< start_*
    std::uint32_t reserved;
};
inline constexpr std::uint32_t start_create{0};  ///< a new domain: the blocks are zero
/// A fresh instance on the kept blocks: declare again, arm nothing.
inline constexpr std::uint32_t start_restart{1};
inline constexpr std::uint32_t start_import{2};  ///< import_state follows
HV_FROZEN(DomainContext, domain, 0);
HV_FROZEN(DomainContext, domain_state, 8);
HV_FROZEN(DomainContext, grants, 16);
HV_FROZEN(DomainContext, grant_count, 24);
HV_FROZEN(DomainContext, vcpu_count, 28);
HV_FROZEN(DomainContext, start_reason, 32);
HV_FROZEN_SIZE(DomainContext, 40);

/// What a VCPU hook is told.  Lives in the instance's memory as long as the binding.
struct VcpuContext {
    std::uint64_t domain;  ///< handle
    std::uint64_t vcpu;    ///< handle
    void* domain_state;    ///< as above
    void* vcpu_state;      ///< the working copy of this VCPU's state block, or null without one
    std::uint32_t index;
    std::uint32_t initial_apic_id;
    std::uint64_t reserved;
};
HV_FROZEN(VcpuContext, domain, 0);
HV_FROZEN(VcpuContext, vcpu, 8);
HV_FROZEN(VcpuContext, domain_state, 16);
HV_FROZEN(VcpuContext, vcpu_state, 24);
HV_FROZEN(VcpuContext, index, 32);
HV_FROZEN(VcpuContext, initial_apic_id, 36);
HV_FROZEN_SIZE(VcpuContext, 48);

enum class ParameterKind : std::uint32_t {
    boolean = 1,
    integer = 2,
    text = 3,
};

/// One value of `params` in the domain's configuration.  A list is given element by element, the key of a
/// value in an object is that of the object, a dot and its own.
struct Parameter {
    const char* key;      ///< key_length bytes, not terminated; own memory
    const char* text;     ///< text_length bytes of UTF-8, not terminated; text only
    std::int64_t number;  ///< integer, or 0 and 1 for a boolean
    std::uint32_t key_length;
    std::uint32_t text_length;
    ParameterKind kind;
    std::uint32_t index;  ///< of the element in its list, else 0
    std::uint32_t count;  ///< elements of the list, 1 where it is not one; an empty list is one call with 0
    std::uint32_t reserved;
};
HV_FROZEN(Parameter, key, 0);
HV_FROZEN(Parameter, text, 8);
HV_FROZEN(Parameter, number, 16);
HV_FROZEN(Parameter, key_length, 24);
HV_FROZEN(Parameter, text_length, 28);
HV_FROZEN(Parameter, kind, 32);
HV_FROZEN(Parameter, index, 36);
HV_FROZEN(Parameter, count, 40);
HV_FROZEN_SIZE(Parameter, 48);

/// The page that a guest calls to make a hypercall.
struct HypercallPageRequest {
    std::uint32_t page;  ///< 0 to the manifest's hypercall_pages - 1
    std::uint32_t instruction_length;
    std::uint8_t instruction[8];  ///< this processor's hypercall instruction
    std::uint8_t* bytes;          ///< 4096 bytes to fill: 0xcc (INT3) in each at the call
};
HV_FROZEN(HypercallPageRequest, page, 0);
HV_FROZEN(HypercallPageRequest, instruction_length, 4);
HV_FROZEN(HypercallPageRequest, instruction, 8);
HV_FROZEN(HypercallPageRequest, bytes, 16);
HV_FROZEN_SIZE(HypercallPageRequest, 24);

enum class RunState : std::uint32_t {
    running = 0,
    runnable = 1,  ///< wants a processor and has none
    blocked = 2,   ///< waits for an event
    offline = 3,   ///< not started, stopped or paused
};

enum class ExitKind : std::uint32_t {
    cpuid = 1,
    msr = 2,
    port = 3,
    exception = 4,
    control_register = 5,
    debug_register = 6,
    halt = 7,
    pause = 8,
    read_tsc = 9,
    invalidate_page = 10,
    single_step = 11,
    page_watch = 12,
};

/// Flags of a subscription.
/// The module answers instead of the core, which is asked where it says not_mine; else it is shown the exit before the core
/// answers it.
inline constexpr std::uint32_t exit_instead{1};
/// It is shown the exit once the core has answered it; excludes exit_instead.
inline constexpr std::uint32_t exit_after{2};
/// MSRs, ports and registers: only what is read, only what is written; neither or both: all.
inline constexpr std::uint32_t exit_reads{4};
inline constexpr std::uint32_t exit_writes{8};
/// What exits anyway: nothing more is intercepted for it.
inline constexpr std::uint32_t exit_passive{16};
/// Pages: only what is fetched to be executed, or with exit_reads and exit_writes beside them.
inline constexpr std::uint32_t exit_executes{32};
/// Bits 15..8: holds while set_condition has switched that number on; 0: always.
inline constexpr unsigned exit_condition_shift{8};
constexpr std::uint32_t exit_condition(std::uint32_t flags)
{
    return flags >> exit_condition_shift & 0xff;
}
inline constexpr std::uint32_t exit_known_flags{0xff3f};

/// The kinds that a hypervisor of 0.1 lets subscribe to, one bit each; a module that wants another is refused by its name.
inline constexpr std::uint32_t provided_exits{
    1u << static_cast<unsigned>(ExitKind::cpuid) | 1u << static_cast<unsigned>(ExitKind::msr) |
    1u << static_cast<unsigned>(ExitKind::port) | 1u << static_cast<unsigned>(ExitKind::exception) |
    1u << static_cast<unsigned>(ExitKind::control_register) | 1u << static_cast<unsigned>(ExitKind::debug_register) |
    1u << static_cast<unsigned>(ExitKind::halt) | 1u << static_cast<unsigned>(ExitKind::pause) | 1u << static_cast<unsigned>(ExitKind::read_tsc) |
    1u << static_cast<unsigned>(ExitKind::invalidate_page) | 1u << static_cast<unsigned>(ExitKind::single_step) |
    1u << static_cast<unsigned>(ExitKind::page_watch)};
/// Of exceptions: the faults #DE, #DB, #BR, #UD, #NM, #TS, #NP, #SS, #GP, #PF, #MF, #AC and #XM.
inline constexpr std::uint64_t provided_exceptions{0x000b'7ce3};
/// CR0, CR2, CR3, CR4 and CR8.
inline constexpr std::uint64_t provided_control_registers{0x11d};

/// Which exits the `exit` hook wants.  What the guest would do without an exit is intercepted while a subscription wants it.
struct ExitSubscription {
    ExitKind kind;
    std::uint32_t flags;  ///< exit_*
    /// MSR, port, vector, register, leaf, guest-physical page or step_*; 0 where the kind has none.
    std::uint64_t first;
    std::uint64_t last;  ///< included
};
HV_FROZEN(ExitSubscription, kind, 0);
HV_FROZEN(ExitSubscription, flags, 4);
HV_FROZEN(ExitSubscription, first, 8);
HV_FROZEN(ExitSubscription, last, 16);
HV_FROZEN_SIZE(ExitSubscription, 24);

/// `number` of a single step: what the guest has come to where it stands by, an instruction or one turn of a repeated one; or the
/// delivery of an event, an interrupt, an exception, or INT n, INT3 or INTO, to the first instruction of its handler.
inline constexpr std::uint64_t step_instruction{0};
inline constexpr std::uint64_t step_delivery{1};

/// `write` of an exit of a watched page, beside 0 and 1: an instruction is fetched.
inline constexpr std::uint32_t exit_fetch{2};
/// In `value` of such an exit: the processor's own access to a page table of the guest's.
inline constexpr std::uint64_t exit_table_walk{std::uint64_t{1} << 63};

/// One exit, for an intercept strategy.  Of what the hook writes, the general registers but RSP and, for a read, `value` are the
/// guest's after `done` of an exit_instead subscription, and `rip` where the verdict says verdict_keep_rip; for any other
/// subscription nothing is.  Verdicts: `done` and `not_mine` (before or after the core: it goes on; instead: the instruction
/// is done, the core is asked), inject (not after, and not of a step), pause, crash; for a halt, not after the core, also `again`: the VCPU stays
/// awake, its events are looked at, and unless one ends the halt the hook is asked again with a `value` one higher.
/// An exception that an exit_instead subscription answers by `done` has not happened: RIP stays where it is, or is the frame's.
///
/// A single step is no exit of the guest's own: the hook is called each time when the VCPU has come to another boundary between two
/// instructions, before anything of the next one is executed and before an interrupt is delivered there.  `rip` is the next
/// instruction, `value` where the step began.  The first step is that of the first instruction which begins while the subscription
/// holds.  The delivery of an interrupt or exception is a step of its own, which ends at the handler's first instruction; so is that of
/// INT n, INT3 and INTO, its instruction included.  One instruction that faults is no step, the delivery of its fault is.  Each turn of
/// a repeated string instruction is one step, HLT is one as it begins to halt, MOV SS and POP SS are one with the instruction behind
/// them, and SYSCALL and SYSRET are plain ones.  An instruction that the hypervisor or a module carries out is one like all others.
/// After INT1, after INT n in virtual-8086 mode, and after MOV SS with a software interrupt behind it, steps are taken up again at the
/// next exit of the VCPU, whatever it is.  The guest sees nothing of it but time: its RFLAGS.TF, in whatever memory or register it
/// is stored, is its own, and its own #DB comes as ever.  After `done` of an
/// exit_instead subscription the registers, and RIP with verdict_keep_rip, are the frame's, and nobody else is asked.  Neither may inject.
/// exit_after is not provided.  exit_passive sees the steps that others make.
struct ExitFrame {
    ExitKind kind;
    std::uint32_t cpl;
    /// Leaf, MSR, vector, register or step_*; of a port: the port in bits 15..0, bytes in 23..16, bit 24 for INS and OUTS, which no
    /// exit_instead subscription is asked about; else 0.
    std::uint64_t number;
    /// What is written, an error code, a subleaf, how often this halt has been asked about, the guest-physical address of an
    /// access to a watched page, or the RIP where a step began; 0 before another read.
    std::uint64_t value;
    std::uint64_t general[16];
    std::uint64_t rip;
    std::uint64_t rflags;
    GuestMode mode;
    std::uint32_t write;  ///< 1 for a write, exit_fetch
    std::uint32_t instruction_length;  ///< 0 for an exception, a watched page and a step
    std::uint32_t reserved;
};
HV_FROZEN(ExitFrame, kind, 0);
HV_FROZEN(ExitFrame, number, 8);
HV_FROZEN(ExitFrame, value, 16);
HV_FROZEN(ExitFrame, general, 24);
HV_FROZEN(ExitFrame, rip, 152);
HV_FROZEN(ExitFrame, mode, 168);
HV_FROZEN(ExitFrame, write, 172);
HV_FROZEN(ExitFrame, instruction_length, 176);
HV_FROZEN_SIZE(ExitFrame, 184);

/// `detail` of an interrupt_accepted verdict.
inline constexpr std::uint32_t accepted_auto_eoi{1};  ///< the core ends the interrupt as soon as it is taken

/// Append only.  A null member is a hook that the module does not have; what then happens is said at each.
struct HookTable {
    AbiHeader header;

    /// Life of a domain.  Without domain_create the bind succeeds; destroy cannot refuse.
    Verdict (*parameter_set)(const DomainContext*, const Parameter*);  ///< absent: any parameter is an error
    Verdict (*domain_create)(const DomainContext*);
    Verdict (*domain_destroy)(const DomainContext*);
    Verdict (*vcpu_initialise)(const VcpuContext*);
    Verdict (*vcpu_reset)(const VcpuContext*);  ///< INIT, or reset of the domain; absent: the block is zeroed
    Verdict (*vcpu_destroy)(const VcpuContext*);

    /// Accesses that no declared answer takes.  Leaf and MSR are relative to the window; `value` is own
    /// memory.
    Verdict (*cpuid)(const VcpuContext*, std::uint32_t window, std::uint32_t leaf, std::uint32_t subleaf,
                     CpuidResult* result);  ///< absent: zeros.  The result is zero at the call
    Verdict (*msr_read)(const VcpuContext*, std::uint32_t window, std::uint32_t offset, std::uint64_t* value);
    Verdict (*msr_write)(const VcpuContext*, std::uint32_t window, std::uint32_t offset, std::uint64_t value);

    /// Fills a hypercall page; called once for each page after domain_create, and its bytes never change
    /// after.
    Verdict (*hypercall_page)(const DomainContext*, const HypercallPageRequest*);
    Verdict (*hypercall)(const VcpuContext*, HypercallFrame*);  ///< absent: #UD
    Verdict (*hypercall_continue)(const VcpuContext*,
                                  HypercallFrame*);  ///< needed where `again` is ever returned

    /// A timer with call_hook expired.  `missed` counts the periods that passed unseen before this one.
    Verdict (*timer)(const VcpuContext*, std::uint64_t timer, std::uint64_t cookie, std::uint64_t missed);

    /// Accesses to MMIO and port windows.  `size` is 1, 2, 4 or 8.  Absent: reads as ones, writes dropped.
    Verdict (*mmio_read)(const VcpuContext*, std::uint32_t window, std::uint64_t offset, std::uint32_t size,
                         std::uint64_t* value);
    Verdict (*mmio_write)(const VcpuContext*, std::uint32_t window, std::uint64_t offset, std::uint32_t size,
                          std::uint64_t value);
    Verdict (*port_read)(const VcpuContext*, std::uint32_t window, std::uint32_t offset, std::uint32_t size,
                         std::uint32_t* value);
    Verdict (*port_write)(const VcpuContext*, std::uint32_t window, std::uint32_t offset, std::uint32_t size,
                          std::uint32_t value);

    /// A message from a channel's other end, in the order of sending; before the next instruction of the domain's first VCPU.
    /// 0.1: never called (need_channel is not provided).
    Verdict (*channel_message)(const DomainContext*, std::uint64_t channel, const void* bytes,
                               std::uint64_t length);

    /// Called once before the next entry after vcpu_kick on this VCPU, and not otherwise.
    Verdict (*before_entry)(const VcpuContext*);
    /// The guest can take an interrupt now; called once after interrupt_window_request.
    Verdict (*interrupt_window)(const VcpuContext*);
    /// The guest takes a vector that interrupt_watch names, or has ended it (by EOI, lazily, or because the core did):
    /// each called before the guest's next instruction.
    Verdict (*interrupt_accepted)(const VcpuContext*, std::uint32_t vector);
    Verdict (*interrupt_ended)(const VcpuContext*, std::uint32_t vector);

    /// The VCPU went from one run state to another at guest time `when_ns`.  Told in order, each once, before the VCPU's next instruction, so
    /// that the last of them is the one to `running`; of those that wait, at most the last eight (run_state_times has the sums).
    /// 0.1: never called (need_run_states is not provided).
    Verdict (*run_state_changed)(const VcpuContext*, RunState from, RunState to, std::uint64_t when_ns);

    /// The guest's time stops and starts: pause, save, debugger.  A swap does not freeze.
    Verdict (*freeze)(const DomainContext*);
    Verdict (*thaw)(const DomainContext*);

    /// State beyond the blocks, as records (state_record.hpp).  Absent: the blocks are the whole state.
    /// `used` is the bytes written; where the buffer is too small: refuse(status_out_of_range), `used` what
    /// is needed.
    Verdict (*export_state)(const DomainContext*, std::uint8_t* bytes, std::uint64_t capacity,
                            std::uint64_t* used);
    Verdict (*import_state)(const DomainContext*, const std::uint8_t* bytes, std::uint64_t length);

    /// An exit that the module subscribed to (need_exits).  Absent: it has no subscriptions.
    Verdict (*exit)(const VcpuContext*, ExitFrame*);

    /// Constant declared answers and subscriptions: arrays in the module's read-only data.
    const DeclaredLeaf* leaves;
    const DeclaredMsrRead* msr_reads;
    const DeclaredMsrWrite* msr_writes;
    const ExitSubscription* exits;
    std::uint32_t leaf_count;
    std::uint32_t msr_read_count;
    std::uint32_t msr_write_count;
    std::uint32_t exit_count;
};
HV_FROZEN(HookTable, header, 0);
HV_FROZEN(HookTable, parameter_set, 16);
HV_FROZEN(HookTable, domain_create, 24);
HV_FROZEN(HookTable, domain_destroy, 32);
HV_FROZEN(HookTable, vcpu_initialise, 40);
HV_FROZEN(HookTable, vcpu_reset, 48);
HV_FROZEN(HookTable, vcpu_destroy, 56);
HV_FROZEN(HookTable, cpuid, 64);
HV_FROZEN(HookTable, msr_read, 72);
HV_FROZEN(HookTable, msr_write, 80);
HV_FROZEN(HookTable, hypercall_page, 88);
HV_FROZEN(HookTable, hypercall, 96);
HV_FROZEN(HookTable, hypercall_continue, 104);
HV_FROZEN(HookTable, timer, 112);
HV_FROZEN(HookTable, mmio_read, 120);
HV_FROZEN(HookTable, mmio_write, 128);
HV_FROZEN(HookTable, port_read, 136);
HV_FROZEN(HookTable, port_write, 144);
HV_FROZEN(HookTable, channel_message, 152);
HV_FROZEN(HookTable, before_entry, 160);
HV_FROZEN(HookTable, interrupt_window, 168);
HV_FROZEN(HookTable, interrupt_accepted, 176);
HV_FROZEN(HookTable, interrupt_ended, 184);
HV_FROZEN(HookTable, run_state_changed, 192);
HV_FROZEN(HookTable, freeze, 200);
HV_FROZEN(HookTable, thaw, 208);
HV_FROZEN(HookTable, export_state, 216);
HV_FROZEN(HookTable, import_state, 224);
HV_FROZEN(HookTable, exit, 232);
HV_FROZEN(HookTable, leaves, 240);
HV_FROZEN(HookTable, msr_reads, 248);
HV_FROZEN(HookTable, msr_writes, 256);
HV_FROZEN(HookTable, exits, 264);
HV_FROZEN(HookTable, leaf_count, 272);
HV_FROZEN(HookTable, msr_read_count, 276);
HV_FROZEN(HookTable, msr_write_count, 280);
HV_FROZEN(HookTable, exit_count, 284);
HV_FROZEN_SIZE(HookTable, 288);

/// The hooks of 0.1 are the pointers from parameter_set to exit, in this order.
inline constexpr std::uint32_t first_hook_offset{16};
inline constexpr std::uint32_t hook_count{28};
static_assert(first_hook_offset + hook_count * 8 == offsetof(HookTable, leaves));

}  // namespace hv::abi
