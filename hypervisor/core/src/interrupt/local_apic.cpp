// SPDX-License-Identifier: MIT
//
// The local APIC's life and its interrupts: reset, acceptance, priorities, EOI, APIC_BASE, save and restore.
// Registers are in local_apic_registers.cpp, the timer is in local_apic_timer.cpp.
#include "hv/core/interrupt/local_apic.hpp"

#include "hv/base/assert.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

namespace {

/// All registers as after power-up [SDM3-083 §11.4.7.1].
LocalApicState power_up_state(std::uint64_t base)
{
    LocalApicState state{};
    state.base = base;
    state.destination_format = 0xffff'ffff;
    state.spurious = SpuriousRegister::Vector::mask;
    for (std::uint32_t& entry : state.lvt)
        entry = LvtRegister::Masked::mask;
    return state;
}

bool only_legal_vectors(const VectorWords& words)
{
    return (words[0] & 0xffff) == 0;
}

}  // namespace

LocalApic::LocalApic(const LocalApicConfig& config) : config_{config}
{
    reset();
}

void LocalApic::reset()
{
    assign(power_up_state(protocol::local_apic_base | ApicBaseRegister::Enable::mask |
                          ApicBaseRegister::BootstrapProcessor::make(config_.bootstrap)));
}

void LocalApic::reset_as_by_firmware()
{
    reset();
    LocalApicState state = save();
    state.spurious |= SpuriousRegister::Enable::mask;
    if (config_.bootstrap)
        state.lvt[static_cast<unsigned>(LvtEntry::lint0)] =
            LvtRegister::Delivery::make(static_cast<std::uint8_t>(DeliveryMode::external));
    state.lvt[static_cast<unsigned>(LvtEntry::lint1)] =
        LvtRegister::Delivery::make(static_cast<std::uint8_t>(DeliveryMode::nmi));
    assign(state);
}

void LocalApic::initialize()
{
    assign(power_up_state(base_));
}

bool LocalApic::accept(std::uint8_t vector, TriggerMode trigger)
{
    const ApicAddressing here = addressing();
    if (!here.enabled || !here.software_enabled)
        return false;
    if (vector < first_legal_vector)
        return note_error(ErrorStatus::RECEIVED_ILLEGAL_VECTOR);
    if (trigger == TriggerMode::level)
        trigger_mode_.set(vector);
    else if (trigger_mode_.test(vector))
        trigger_mode_.clear(vector);
    return requested_.set(vector);
}

std::optional<std::uint8_t> LocalApic::acknowledge()
{
    const auto vector = highest_deliverable();
    if (vector)
        acknowledge(*vector);
    return vector;
}

void LocalApic::acknowledge(std::uint8_t vector)
{
    HV_ASSERT(vector >= first_legal_vector);
    requested_.clear(vector);
    in_service_.set(vector);
    if (vector > highest_in_service_)
        highest_in_service_ = vector;
    update_processor_priority();
}

void LocalApic::retract(std::uint8_t vector)
{
    if (!in_service_.test(vector))
        return;
    in_service_.clear(vector);
    highest_in_service_ = in_service_.highest().value_or(0);
    update_processor_priority();
    requested_.set(vector);
}

EndOfInterrupt LocalApic::end_of_interrupt()
{
    const std::uint8_t vector = highest_in_service_;
    if (vector == 0)
        return {};
    in_service_.clear(vector);
    highest_in_service_ = in_service_.highest().value_or(0);
    update_processor_priority();
    return {.was_in_service = true, .vector = vector, .broadcast = trigger_mode_.test(vector)};
}

void LocalApic::set_task_priority(std::uint8_t priority)
{
    tpr_ = priority;
    update_processor_priority();
}

/// The higher class of task priority and highest vector in service [SDM3-083 §11.8.3.1].
void LocalApic::update_processor_priority()
{
    const auto in_service_class = static_cast<std::uint8_t>(highest_in_service_ & 0xf0);
    ppr_ = (tpr_ & 0xf0) >= in_service_class ? tpr_ : in_service_class;
}

/// Callable from any processor.  True when that requested the error interrupt newly.
bool LocalApic::note_error(std::uint32_t error)
{
    error_pending_.fetch_or(error, std::memory_order_relaxed);
    const std::uint32_t entry = lvt(LvtEntry::error);
    const std::uint8_t vector = LvtRegister::Vector::get(entry);
    // An error interrupt that is itself illegal would be an error for ever.
    if (LvtRegister::Masked::get(entry) || vector < first_legal_vector)
        return false;
    return accept(vector, TriggerMode::edge);
}

bool LocalApic::takes_external_interrupts() const
{
    if (!is_enabled())
        return true;
    const std::uint32_t entry = lvt(LvtEntry::lint0);
    return !LvtRegister::Masked::get(entry) &&
           static_cast<DeliveryMode>(LvtRegister::Delivery::get(entry)) == DeliveryMode::external;
}

LintOutcome LocalApic::signal_lint(unsigned pin)
{
    HV_ASSERT(pin < 2);
    if (!is_enabled())
        return pin == 0 ? LintOutcome::external : LintOutcome::nmi;
    const std::uint32_t entry = lvt(pin == 0 ? LvtEntry::lint0 : LvtEntry::lint1);
    if (LvtRegister::Masked::get(entry))
        return LintOutcome::ignored;
    switch (static_cast<DeliveryMode>(LvtRegister::Delivery::get(entry))) {
    case DeliveryMode::fixed:
        accept(LvtRegister::Vector::get(entry), static_cast<TriggerMode>(LvtRegister::Trigger::get(entry)));
        return LintOutcome::accepted;
    case DeliveryMode::smi: return LintOutcome::smi;
    case DeliveryMode::nmi: return LintOutcome::nmi;
    case DeliveryMode::init: return LintOutcome::init;
    case DeliveryMode::external: return LintOutcome::external;
    case DeliveryMode::lowest_priority:
    case DeliveryMode::reserved:
    case DeliveryMode::startup: return LintOutcome::ignored;
    }
    return LintOutcome::ignored;
}

/// True for values whose bits are all defined and whose mode exists.
bool LocalApic::is_possible_base(std::uint64_t value) const
{
    using R = ApicBaseRegister;
    const std::uint64_t above = config_.physical_address_bits < 52 ? ~0ull << config_.physical_address_bits
                                                                   : ~(R::Base::mask | page_mask);
    std::uint64_t defined = R::Base::mask | R::BootstrapProcessor::mask | R::Enable::mask;
    if (config_.x2apic_offered)
        defined |= R::ExtendedMode::mask;
    return (value & (~defined | above)) == 0 && (R::Enable::get(value) || !R::ExtendedMode::get(value));
}

bool LocalApic::takes_apic_base(std::uint64_t value) const
{
    using R = ApicBaseRegister;
    const bool extended = R::ExtendedMode::get(value);
    const bool skips_xapic = !is_enabled() && extended;                        // disabled to x2APIC
    const bool goes_back = is_x2apic() && R::Enable::get(value) && !extended;  // x2APIC to xAPIC
    return is_possible_base(value) && !skips_xapic && !goes_back;
}

ApicEffect LocalApic::write_apic_base(std::uint64_t value)
{
    using R = ApicBaseRegister;
    if (!takes_apic_base(value))
        return {.kind = ApicEffect::Kind::refused};
    // Which processor started the machine is not the guest's to say.
    const std::uint64_t base = R::BootstrapProcessor::set(value, config_.bootstrap);
    if (is_enabled() && !R::Enable::get(value)) {
        assign(power_up_state(base));
    } else {
        base_ = base;
        publish_addressing();
    }
    return {.kind = ApicEffect::Kind::mode_changed};
}

void LocalApic::publish_addressing()
{
    ApicAddressing next{};
    next.id = config_.id;
    next.logical_id = static_cast<std::uint8_t>(logical_destination_ >> 24);
    next.cluster_model = destination_format_ >> 28 == 0;
    next.extended = is_x2apic();
    next.enabled = is_enabled();
    next.software_enabled = SpuriousRegister::Enable::get(spurious_);
    addressing_.store(next, std::memory_order_relaxed);
}

LocalApicState LocalApic::save() const
{
    LocalApicState state{.base = base_,
                         .task_priority = tpr_,
                         .logical_destination = logical_destination_,
                         .destination_format = destination_format_,
                         .spurious = spurious_,
                         .error_status = error_status_,
                         .error_pending = error_pending_.load(),
                         .command = command_,
                         .lvt = {},
                         .divide = divide_,
                         .initial_count = initial_count_,
                         .deadline = deadline_,
                         .in_service = in_service_.words(),
                         .trigger_mode = trigger_mode_.snapshot(),
                         .requested = requested_.snapshot()};
    for (unsigned index = 0; index < lvt_entries; ++index)
        state.lvt[index] = lvt(static_cast<LvtEntry>(index));
    return state;
}

/// Names every member of the state, so that a new one does not compile until it is handled here.
void LocalApic::assign(const LocalApicState& state)
{
    const auto& [base, task_priority, logical_destination, destination_format, spurious, error_status,
                 error_pending, command, entries, divide, initial_count, deadline, in_service, trigger_mode,
                 requested] = state;
    base_ = base;
    tpr_ = static_cast<std::uint8_t>(task_priority);
    logical_destination_ = logical_destination;
    destination_format_ = destination_format;
    spurious_ = spurious;
    error_status_ = error_status;
    error_pending_.store(error_pending);
    command_ = command;
    for (unsigned index = 0; index < lvt_entries; ++index)
        lvt_[index].store(entries[index], std::memory_order_relaxed);
    divide_ = divide;
    initial_count_ = initial_count;
    deadline_ = deadline;
    in_service_.assign(in_service);
    trigger_mode_.assign(trigger_mode);
    requested_.assign(requested);
    highest_in_service_ = in_service_.highest().value_or(0);
    update_processor_priority();
    publish_addressing();
}

bool LocalApic::restore(const LocalApicState& state)
{
    const bool bootstrap_agrees = ApicBaseRegister::BootstrapProcessor::get(state.base) == config_.bootstrap;
    bool possible = is_possible_base(state.base) && bootstrap_agrees && state.task_priority <= 0xff &&
                    (state.logical_destination & 0x00ff'ffff) == 0 &&
                    (state.destination_format & 0x0fff'ffff) == 0x0fff'ffff &&
                    (state.spurious & ~SpuriousRegister::defined) == 0 &&
                    ((state.error_status | state.error_pending) & ~ErrorStatus::defined) == 0 &&
                    (state.command & 0xffff'ffff & ~std::uint64_t{IcrRegister::defined}) == 0 &&
                    (state.divide & ~0xbu) == 0 && only_legal_vectors(state.in_service) &&
                    only_legal_vectors(state.trigger_mode) && only_legal_vectors(state.requested);
    for (unsigned index = 0; index < lvt_entries; ++index) {
        const std::uint32_t entry = state.lvt[index];
        possible = possible && (entry & ~lvt_writable(static_cast<LvtEntry>(index))) == 0 &&
                   (SpuriousRegister::Enable::get(state.spurious) || LvtRegister::Masked::get(entry));
    }
    if (possible)
        assign(state);
    return possible;
}

}  // namespace hv::core
