// SPDX-License-Identifier: MIT
//
// The local APIC of one virtual processor: one state behind two views, the xAPIC page and the x2APIC MSRs
// [SDM3-083 §11], [APM2-3.41 §16].  It keeps what the guest sees and decides which vector is due; it sends
// nothing, arms no timer and injects nothing: what follows from a write is returned, and the caller does it.
//
// Who may call: accept(), addressing() and irr() from any processor, without a lock.  Everything else belongs
// to the processor that runs the VCPU (or to whoever keeps it from running).
//
// Time is in guest ticks: the TSC as this VCPU reads it.  When the guest sets its TSC, tell tsc_moved().  The
// timer counts one for every 16 ticks (times the divider).
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "hv/base/address.hpp"
#include "hv/core/interrupt/destination.hpp"
#include "hv/core/interrupt/interrupt_line.hpp"
#include "hv/core/interrupt/local_apic_registers.hpp"
#include "hv/core/interrupt/message.hpp"
#include "hv/core/interrupt/vector_bitmap.hpp"

namespace hv::core {

/// What a register write asks the caller to do.  Two machine words, returned in registers.
struct ApicEffect {
    enum class Kind : std::uint8_t {
        none,              ///< nothing but the state changed; interrupts may have become due
        refused,           ///< x2APIC and APIC_BASE only: inject #GP(0); the state is as it was
        end_of_interrupt,  ///< `message.vector` left service; `broadcast` if the I/O APIC must be told
        send,              ///< route `message` (never to be sent back here when the shorthand is `self`)
        deadline_changed,  ///< next_deadline() has a new answer
        mode_changed,  ///< APIC_BASE was written: apic_base(), is_enabled() and is_x2apic() have new answers
    };
    Kind kind{Kind::none};
    bool broadcast{};
    InterruptMessage message{};

    friend constexpr bool operator==(const ApicEffect&, const ApicEffect&) = default;
};
static_assert(sizeof(ApicEffect) <= 16);

/// The answer to an EOI.
struct EndOfInterrupt {
    bool was_in_service{};  ///< false: no vector was in service, nothing changed
    std::uint8_t vector{};
    bool broadcast{};  ///< the vector came by a level-triggered message
};

/// What a signal on a LINT pin means to the processor [SDM3-083 §11.5.1].
enum class LintOutcome : std::uint8_t {
    ignored,   ///< masked, or a delivery mode that the pin does not have
    accepted,  ///< became a fixed vector in the IRR
    external,  ///< the PIC's: acknowledge it and inject the vector that it gives
    nmi,
    smi,
    init,
};

/// What does not change while a local APIC runs.
struct LocalApicConfig {
    std::uint32_t id{};
    bool bootstrap{};
    bool x2apic_offered{true};        ///< CPUID leaf 1 ECX bit 21
    bool tsc_deadline_offered{true};  ///< CPUID leaf 1 ECX bit 24
    unsigned physical_address_bits{48};
};

/// The whole state as plain data, for save and restore.
struct LocalApicState {
    std::uint64_t base{};
    std::uint32_t task_priority{};
    std::uint32_t logical_destination{};
    std::uint32_t destination_format{};
    std::uint32_t spurious{};
    std::uint32_t error_status{};   ///< as the guest reads it
    std::uint32_t error_pending{};  ///< found since the guest last wrote the ESR
    std::uint64_t command{};
    std::uint32_t lvt[lvt_entries]{};
    std::uint32_t divide{};
    std::uint32_t initial_count{};
    /// Guest ticks at which the count reaches zero, or the TSC deadline.
    std::uint64_t deadline{no_deadline};
    VectorWords in_service{};
    VectorWords trigger_mode{};
    VectorWords requested{};

    friend bool operator==(const LocalApicState&, const LocalApicState&) = default;
};

class LocalApic {
public:
    /// The timer's input clock is the TSC divided by 2^this.
    static constexpr unsigned timer_clock_shift{4};
    /// A periodic timer never fires more often than this many ticks apart: a shorter period would keep the
    /// processor in the hypervisor for ever.
    static constexpr std::uint64_t minimum_period{16'384};

    explicit LocalApic(const LocalApicConfig& config);
    LocalApic(const LocalApic&) = delete;
    LocalApic& operator=(const LocalApic&) = delete;

    /// Which of these the guest is shown; before it runs.
    void offer(bool x2apic, bool tsc_deadline)
    {
        config_.x2apic_offered = x2apic;
        config_.tsc_deadline_offered = tsc_deadline;
    }
    /// Power-up state [SDM3-083 §11.4.7.1], APIC_BASE included.
    void reset();
    /// Power-up state and then what firmware leaves behind on a PC: software-enabled, LINT1 delivers NMI, and
    /// on the bootstrap processor LINT0 delivers the PIC's interrupts.  For kernels that start without
    /// firmware.
    void reset_as_by_firmware();
    /// What an INIT does: as reset(), but APIC_BASE, and with it the mode, stays [SDM3-083 §11.4.7.3].
    void initialize();

    // ---- from any processor -----------------------------------------------------------------------------

    /// Takes a fixed interrupt.  True when the vector was not already requested, so the VCPU must be told;
    /// false also where the APIC is disabled and where the vector is illegal (noted in the ESR).
    bool accept(std::uint8_t vector, TriggerMode trigger);
    [[nodiscard]] ApicAddressing addressing() const { return addressing_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool irr(std::uint8_t vector) const { return requested_.test(vector); }
    [[nodiscard]] bool tmr(std::uint8_t vector) const { return trigger_mode_.test(vector); }

    // ---- interrupts -------------------------------------------------------------------------------------

    /// The vector to inject next: the highest requested one if its class is above the processor priority's.
    [[nodiscard]] std::optional<std::uint8_t> highest_deliverable() const
    {
        if (requested_.empty())
            return std::nullopt;
        const auto vector = requested_.highest();
        return vector && (*vector & 0xf0) > (ppr_ & 0xf0) ? vector : std::nullopt;
    }
    /// False: no vector is requested.
    [[nodiscard]] bool has_requested() const { return !requested_.empty(); }
    /// 0 where has_requested() is false.
    [[nodiscard]] std::uint32_t requested_summary() const { return requested_.summary(); }
    /// The highest requested vector, deliverable or not.
    [[nodiscard]] std::optional<std::uint8_t> highest_requested() const { return requested_.highest(); }
    /// Puts the highest deliverable vector into service and answers it; nothing, if there is none.
    std::optional<std::uint8_t> acknowledge();
    /// The same for a vector the caller got from highest_deliverable() and has injected already.
    void acknowledge(std::uint8_t vector);
    /// Undoes acknowledge(): the injection did not reach the guest.
    void retract(std::uint8_t vector);
    EndOfInterrupt end_of_interrupt();
    /// Withdraws a requested vector.
    void cancel(std::uint8_t vector) { requested_.clear(vector); }
    [[nodiscard]] bool isr(std::uint8_t vector) const { return in_service_.test(vector); }
    [[nodiscard]] std::optional<std::uint8_t> highest_in_service() const
    {
        return highest_in_service_ != 0 ? std::optional{highest_in_service_} : std::nullopt;
    }

    /// True when no vector but this one is in service.
    [[nodiscard]] bool only_in_service(std::uint8_t vector) const { return in_service_.holds_only(vector); }

    [[nodiscard]] std::uint8_t task_priority() const { return tpr_; }
    void set_task_priority(std::uint8_t priority);
    [[nodiscard]] std::uint8_t processor_priority() const { return ppr_; }

    /// A rising edge on LINT0 (the PIC's INTR) or LINT1 (NMI); `pin` is 0 or 1.  With the APIC disabled the
    /// pins are the processor's own INTR and NMI.
    LintOutcome signal_lint(unsigned pin);
    /// True when an interrupt of the PIC would be taken: LINT0 is unmasked ExtINT, or the APIC is disabled.
    [[nodiscard]] bool takes_external_interrupts() const;

    // ---- registers --------------------------------------------------------------------------------------

    /// Reads the xAPIC page, `bytes` of 1, 2, 4 or 8.  Bytes outside a register's own four read as zero.
    [[nodiscard]] std::uint64_t read_mmio(std::uint64_t offset, unsigned bytes, std::uint64_t now);
    /// Writes the xAPIC page.  Only writes of four or eight bytes at a register's offset have an effect.
    ApicEffect write_mmio(std::uint64_t offset, unsigned bytes, std::uint64_t value, std::uint64_t now);
    /// True for the x2APIC MSR whose value depends on the time: others may be read with any.
    [[nodiscard]] static constexpr bool counts(std::uint32_t msr)
    {
        constexpr std::uint32_t current_count{0x839};  // [SDM3-083 §10.12.1.2, table 10-6]
        return msr == current_count;
    }
    /// Reads an x2APIC MSR, 0x800 to 0x8ff, into `value`; false: #GP.
    [[nodiscard]] bool read_msr(std::uint32_t msr, std::uint64_t now, std::uint64_t& value) const;
    [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t msr, std::uint64_t now) const
    {
        std::uint64_t value{};
        return read_msr(msr, now, value) ? std::optional{value} : std::nullopt;
    }
    /// The two that guests read most, in line; nothing: read_msr() tells.
    [[nodiscard]] std::optional<std::uint64_t> read_msr_at_once(std::uint32_t msr) const
    {
        if (is_x2apic() && msr == x2apic_msr(ApicRegister::TPR))
            return tpr_;
        if (is_x2apic() && msr == x2apic_msr(ApicRegister::ICR_LOW))
            return command_;
        return std::nullopt;
    }
    /// Writes an x2APIC MSR.
    ApicEffect write_msr(std::uint32_t msr, std::uint64_t value, std::uint64_t now);

    [[nodiscard]] std::uint64_t apic_base() const { return base_; }
    /// The page in which an APIC with this APIC_BASE answers; nothing where it is disabled or in x2APIC mode.
    [[nodiscard]] static constexpr std::optional<GuestPhysical> mmio_page(std::uint64_t apic_base)
    {
        if (!ApicBaseRegister::Enable::get(apic_base) || ApicBaseRegister::ExtendedMode::get(apic_base))
            return std::nullopt;
        return GuestPhysical{apic_base & ApicBaseRegister::Base::mask};
    }
    /// True when write_apic_base() would not refuse the value.
    [[nodiscard]] bool takes_apic_base(std::uint64_t value) const;
    /// Writes IA32_APIC_BASE; transitions that the manual forbids are refused [SDM3-083 §11.12.5].
    ApicEffect write_apic_base(std::uint64_t value);
    [[nodiscard]] bool is_enabled() const { return ApicBaseRegister::Enable::get(base_); }
    [[nodiscard]] bool is_x2apic() const { return ApicBaseRegister::ExtendedMode::get(base_); }

    /// Writes the ICR as a whole: destination in bits 63:32 for x2APIC, 63:56 else.  For declared answers
    /// too.
    ApicEffect write_command(std::uint64_t command);
    [[nodiscard]] std::uint64_t command() const { return command_; }

    // ---- timer ------------------------------------------------------------------------------------------

    /// Guest ticks at which expire() should be called next; no_deadline where nothing is to happen.
    [[nodiscard]] std::uint64_t next_deadline() const;
    /// Lets what is due at `now` happen.  True when an interrupt was newly requested.
    bool expire(std::uint64_t now);
    /// The guest set its TSC: counts go on as if it had not, a TSC deadline stays what was written.
    void tsc_moved(std::uint64_t from, std::uint64_t to);
    /// IA32_TSC_DEADLINE; nothing: #GP, as it is not offered.
    [[nodiscard]] std::optional<std::uint64_t> read_tsc_deadline() const;
    ApicEffect write_tsc_deadline(std::uint64_t value, std::uint64_t now);

    // ---- save and restore -------------------------------------------------------------------------------

    [[nodiscard]] LocalApicState save() const;
    /// False, and nothing changed, when the state is one that no guest could have brought about.
    [[nodiscard]] bool restore(const LocalApicState& state);

private:
    bool read_register(ApicRegister which, std::uint64_t now, std::uint32_t& value) const;
    ApicEffect write_register(ApicRegister which, std::uint32_t value, std::uint64_t now);
    ApicEffect write_lvt(LvtEntry entry, std::uint32_t value, std::uint64_t now);
    ApicEffect write_spurious(std::uint32_t value);
    ApicEffect send(const InterruptMessage& message);
    bool note_error(std::uint32_t error);
    void assign(const LocalApicState& state);
    [[nodiscard]] bool is_possible_base(std::uint64_t value) const;
    void update_processor_priority();
    void publish_addressing();
    void clear_registers();

    [[nodiscard]] ApicTimerMode timer_mode() const;
    [[nodiscard]] unsigned count_shift() const;
    [[nodiscard]] std::uint64_t period() const;
    [[nodiscard]] std::uint32_t current_count(std::uint64_t now) const;
    ApicEffect start_count(std::uint32_t count, std::uint64_t now);
    ApicEffect change_divider(std::uint32_t value, std::uint64_t now);
    [[nodiscard]] std::uint32_t lvt(LvtEntry entry) const
    {
        return lvt_[static_cast<unsigned>(entry)].load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool is_masked(LvtEntry entry) const { return LvtRegister::Masked::get(lvt(entry)); }

    LocalApicConfig config_;
    std::uint64_t base_{};
    AtomicVectorBitmap requested_{};
    AtomicVectorBitmap trigger_mode_{};
    VectorBitmap in_service_{};
    std::uint8_t tpr_{};
    std::uint8_t ppr_{};
    std::uint8_t highest_in_service_{};  ///< 0: none, as no legal vector is 0
    std::atomic<ApicAddressing> addressing_{};
    std::uint32_t logical_destination_{};
    std::uint32_t destination_format_{};
    std::uint32_t spurious_{};
    std::uint32_t error_status_{};
    std::atomic<std::uint32_t> error_pending_{};
    std::uint64_t command_{};
    std::atomic<std::uint32_t>
        lvt_[lvt_entries]{};  ///< written by the owner, the error entry read by any sender
    std::uint32_t divide_{};
    std::uint32_t initial_count_{};
    std::uint64_t deadline_{no_deadline};
};

}  // namespace hv::core
