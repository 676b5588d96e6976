// SPDX-License-Identifier: MIT
//
// One virtual processor of a guest: what the back end runs, what the scheduler schedules, its local APIC, and what other
// processors have asked of it.  The processor that runs it owns everything here that is not atomic.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "hv/core/hvm/backend.hpp"
#include "hv/core/interrupt/local_apic.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/memory/nested_view.hpp"
#include "hv/core/sched/scheduler.hpp"
#include "hv/core/time/timer_queue.hpp"
#include "hv/core/vcpu/code_reader.hpp"
#include "hv/core/vcpu/exit_counters.hpp"
#include "hv/core/vcpu/run_changes.hpp"
#include "hv/core/vcpu/single_step.hpp"
#include "hv/core/vcpu/step_following.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::core {

class Domain;

/// What another processor wants of a VCPU before it next enters the guest; one bit each.
enum class VcpuRequest : std::uint32_t {
    nmi = 1 << 0,
    init = 1 << 1,           ///< see request_init()
    startup = 1 << 2,        ///< see request_startup(); its vector is in the word's top byte
    flush = 1 << 3,          ///< drop all translations
    external_interrupt = 1 << 4,  ///< the PIC's output has changed
    extension = 1 << 5,      ///< an extension wants its before-entry hook called
    timer = 1 << 6,          ///< the local APIC's deadline has come
    look = 1 << 7,           ///< nothing but: look at the interrupts again
    resumed = 1 << 8,        ///< note in `resumed_at` when it goes on
    intercepts = 1 << 9,     ///< what extensions want to see has changed
    step = 1 << 10,          ///< an extension follows its steps, and it may have taken one
};

class Vcpu;

/// What is done about an exit: an ExitAnswer that knows whose it is.
using VcpuExitAnswer = bool (*)(Vcpu&);
/// The core's own, by ExitKind.
extern const std::array<VcpuExitAnswer, exit_kinds> core_answers;

/// Lazy end of interrupt that an extension declared: a bit in a page that the guest clears instead of writing EOI.
struct EoiAssist {
    std::atomic<std::uint32_t>* word{};  ///< null: not declared
    std::uint32_t mask{};
    bool offered{};  ///< the bit was set at the last entry
};

/// Vectors whose course extensions have a say in: the union of what all of the domain's want (interrupt_watch.cpp).
struct WatchedVectors {
    VectorBitmap accepted{};
    VectorBitmap ended{};
    VectorBitmap auto_eoi{};
    bool any_taken{};  ///< one of `accepted` or `auto_eoi`
    bool any_ended{};
};

/// The host timer that stands for a VCPU's local APIC deadline.
struct ApicTimer final : Timer {
    explicit ApicTimer(Vcpu& owner);
    Vcpu& vcpu;
};

/// What the processor that runs a VCPU has to look at before the next entry, packed so that "nothing" is one comparison.
struct alignas(8) VcpuConcerns {
    bool in_halt{};              ///< the guest executed HLT and nothing has ended it yet
    bool nmi_waiting{};          ///< an NMI that could not be injected yet
    bool external_waiting{};     ///< the PIC's output is up
    bool entry_held{};           ///< a hypercall is under way: it goes on before the guest does
    bool window_wanted{};        ///< an extension waits until the guest can take an interrupt
    bool unused[3]{};

    [[nodiscard]] std::uint64_t concerns() const { return std::bit_cast<std::uint64_t>(*this); }
};
static_assert(sizeof(VcpuConcerns) == sizeof(std::uint64_t));

/// What an entry needs beyond the common, and what the exit after it has to undo.
struct EntryExtras {
    bool wanted{};
    bool under_way{};
    bool held{};  ///< the entry that is prepared is to be prepared once more, with what it needs
};

class Vcpu final : public VcpuContext, public Schedulable, public VcpuConcerns {
public:
    Vcpu(Domain& owner, std::uint32_t index, const LocalApicConfig& apic_config);

    Domain& domain;
    Processor* on{};  ///< the processor that it is loaded on
    LocalApic apic;
    NestedView view;  ///< open while the local APIC lies elsewhere than at its usual place, and while pages are watched
    ApicTimer apic_timer;
    CodeReader code;
    ExitCounters exits;
    std::atomic<bool> started{};  ///< has registers to run with: set by the builder, or by SIPI; cleared as INIT is taken
    /// Asleep so that only an NMI, INIT or startup message can end it: in HLT with interrupts disabled, or not started.
    std::atomic<bool> dead_halt{};
    std::uint64_t tsc_delta{};   ///< what the guest added to its time-stamp counter by writing it
    std::uint64_t tsc_offset{};  ///< as the back end was last told
    std::uint64_t hwcr{};        ///< HWCR as the guest wrote it
    /// By ExitKind: the core's, or where an extension wants to see the exit, that of the extension framework.
    std::array<VcpuExitAnswer, exit_kinds> answers{core_answers};

    // ---- for extensions ----
    EntryExtras extras{};  ///< an EOI assist, or a step
    SingleStep step{};
    StepFollowing following{};
    std::atomic<std::uint8_t> bare_vector{};  ///< to be injected past the local APIC; 0: none
    EoiAssist eoi_assist{};
    RunChanges run_changes{};  ///< while there is a Schedulable::listener
    WatchedVectors watched{};
    /// Host tick of the first preparation of an entry since VcpuRequest::resumed was asked for; 0 before.
    std::atomic<std::uint64_t> resumed_at{};
    /// Odd while the processor is in the guest or about to be: who has seen it even since a change knows that this VCPU
    /// will not run another instruction on what was before.
    std::atomic<std::uint64_t> guest_turns{};

    /// After one of them came or went.
    void renew_entry_extras() { extras.wanted = eoi_assist.word != nullptr || step.wanted || following.on; }

    /// Notes a request and makes the VCPU look at it: kicked if it runs, woken if it halts.  Any processor.
    void request(VcpuRequest what);
    /// The same, but wakes nobody: a VCPU that is not in the guest finds it when it next enters.  Its guest_turns between the note
    /// and the kick: while they are that and odd, it has not looked yet.
    std::uint64_t mark(VcpuRequest what);
    /// The same of the VCPU that the calling processor is about to run.
    void remind(VcpuRequest what) { requests_.fetch_or(static_cast<std::uint32_t>(what), std::memory_order_acq_rel); }
    /// An INIT message: it voids a startup message that has not been carried out yet.  Any processor.
    void request_init();
    /// A startup message, heeded by a VCPU that waits for one or is about to, and has not got one yet.  Any processor.
    void request_startup(std::uint8_t vector);
    /// Takes all noted requests; an INIT among them leaves it not started from the moment on at which it is no longer
    /// noted, so that no startup message falls between the two.  The processor that runs it.
    [[nodiscard]] std::uint32_t take_requests();
    [[nodiscard]] static constexpr std::uint8_t startup_vector(std::uint32_t requests)
    {
        return static_cast<std::uint8_t>(requests >> startup_vector_shift);
    }
    /// What was noted since would end a sleep from which only NMI, INIT and startup messages wake.  Any processor.
    [[nodiscard]] bool has_rousing_request() const;
    [[nodiscard]] bool has_requests() const { return requests_.load(std::memory_order_acquire) != 0; }
    /// True when the guest, which has just run, can go on at once: nobody has asked for anything, and no event waits.  The
    /// processor that runs it.
    [[nodiscard]] bool unconcerned() const
    {
        return (concerns() | requests_.load(std::memory_order_acquire) | blockers() |
                bare_vector.load(std::memory_order_relaxed) | apic.requested_summary()) == 0;
    }
    /// True when something would end a HLT: just what the next preparation of an entry would inject, or a request that has
    /// to be looked at.  The processor that runs it.
    [[nodiscard]] static bool has_event(const Schedulable& self);

    /// An interrupt for the local APIC has been accepted: the VCPU takes it as soon as it can.  Any processor.
    void notice_interrupt();
    /// The time-stamp counter as the guest reads it, at host tick `now`.
    [[nodiscard]] std::uint64_t guest_tsc(std::uint64_t now) const;

    /// Ends the emulated instruction: RIP moves by `length`, the interrupt shadow and RFLAGS.RF end, and a trap flag
    /// raises #DB.
    void advance(std::uint8_t length)
    {
        advance_plainly(length);
        if (ends_with_flags()) [[unlikely]]
            end_instruction_with_flags();
    }
    /// The same where ends_with_flags() is false.
    void advance_plainly(std::uint8_t length)
    {
        registers.rip += length;
        *live.interrupt_shadow &= ~std::uint64_t{1};
    }
    [[nodiscard]] bool ends_with_flags() const
    {
        return (registers.rflags & (x86::Rflags::RF::mask | x86::Rflags::TF::mask)) != 0;
    }
    /// Queues an exception for the next entry, turning into #DF or a triple fault where the manual says so is the back
    /// end's matter.
    void raise(std::uint8_t vector);
    void raise(std::uint8_t vector, std::uint32_t error_code);

private:
    static constexpr unsigned startup_vector_shift{24};

    void end_instruction_with_flags();

    std::atomic<std::uint32_t> requests_{};
};

}  // namespace hv::core
