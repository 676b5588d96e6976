// SPDX-License-Identifier: MIT
//
// The local APIC's registers in both views.  The MSR view checks reserved bits and refuses; the page view
// ignores what it must and notes an illegal address in the ESR.  [SDM3-083 §11.4.1, §11.5, §11.6.1, §11.12.1]
#include "hv/core/interrupt/local_apic.hpp"

namespace hv::core {

namespace {

constexpr unsigned slot_bytes{16};
constexpr unsigned register_bytes{4};

constexpr bool within(ApicRegister which, ApicRegister first, ApicRegister last)
{
    return which >= first && which <= last;
}

/// One of the eight registers, 32 vectors each, that `first` begins.
constexpr bool in_group(ApicRegister which, ApicRegister first)
{
    return static_cast<unsigned>(which) - static_cast<unsigned>(first) < 8 * slot_bytes;
}

constexpr unsigned index_from(ApicRegister which, ApicRegister first)
{
    return (static_cast<unsigned>(which) - static_cast<unsigned>(first)) / slot_bytes;
}

constexpr std::uint32_t group_of(const VectorWords& words, unsigned group)
{
    return static_cast<std::uint32_t>(words[group / 2] >> (group % 2 * 32));
}

constexpr ApicEffect refused{.kind = ApicEffect::Kind::refused};

/// Whether a WRMSR of this value is legal: registers that can be written, and only in defined bits.
/// DeliveryStatus is not defined in x2APIC mode but ignored rather than refused, as processors do.
constexpr bool is_legal_msr_write(ApicRegister which, std::uint64_t value)
{
    switch (which) {
    case ApicRegister::TPR:
    case ApicRegister::SELF_IPI: return value <= 0xff;
    case ApicRegister::EOI:
    case ApicRegister::ESR: return value == 0;
    case ApicRegister::SVR: return (value & ~std::uint64_t{SpuriousRegister::defined}) == 0;
    case ApicRegister::ICR_LOW:
        return (value & 0xffff'ffff & ~(IcrRegister::defined | IcrRegister::DeliveryStatus::mask)) == 0;
    case ApicRegister::LVT_TIMER:
    case ApicRegister::LVT_THERMAL:
    case ApicRegister::LVT_PERFORMANCE:
    case ApicRegister::LVT_LINT0:
    case ApicRegister::LVT_LINT1:
    case ApicRegister::LVT_ERROR: {
        const auto entry = static_cast<LvtEntry>(index_from(which, ApicRegister::LVT_TIMER));
        const bool pin = entry == LvtEntry::lint0 || entry == LvtEntry::lint1;
        const std::uint64_t ignored =
            pin ? LvtRegister::read_only : std::uint64_t{LvtRegister::DeliveryStatus::mask};
        return (value & ~(lvt_writable(entry) | ignored)) == 0;
    }
    case ApicRegister::INITIAL_COUNT: return value <= 0xffff'ffff;
    case ApicRegister::DIVIDE_CONFIGURATION: return (value & ~std::uint64_t{0xb}) == 0;
    default:
        return false;  // an enumeration of offsets: all others are read-only, reserved or not in this view
    }
}

}  // namespace

bool LocalApic::read_register(ApicRegister which, std::uint64_t now, std::uint32_t& value) const
{
    const auto is = [&value](std::uint32_t found) {
        value = found;
        return true;
    };
    if (in_group(which, ApicRegister::ISR))
        return is(group_of(in_service_.words(), index_from(which, ApicRegister::ISR)));
    if (in_group(which, ApicRegister::TMR))
        return is(trigger_mode_.group(index_from(which, ApicRegister::TMR)));
    if (in_group(which, ApicRegister::IRR))
        return is(requested_.group(index_from(which, ApicRegister::IRR)));
    if (within(which, ApicRegister::LVT_TIMER, ApicRegister::LVT_ERROR))
        return is(lvt(static_cast<LvtEntry>(index_from(which, ApicRegister::LVT_TIMER))));
    switch (which) {
    case ApicRegister::TPR: return is(tpr_);
    case ApicRegister::ID: return is(is_x2apic() ? config_.id : config_.id << 24);
    case ApicRegister::VERSION: return is(local_apic_version);
    case ApicRegister::PPR: return is(ppr_);
    case ApicRegister::LDR: return is(is_x2apic() ? x2apic_logical_id(config_.id) : logical_destination_);
    case ApicRegister::SVR: return is(spurious_);
    case ApicRegister::ESR: return is(error_status_);
    case ApicRegister::ICR_LOW: return is(static_cast<std::uint32_t>(command_));
    case ApicRegister::INITIAL_COUNT: return is(timer_mode() == ApicTimerMode::tsc_deadline ? 0 : initial_count_);
    case ApicRegister::CURRENT_COUNT: return is(current_count(now));
    case ApicRegister::DIVIDE_CONFIGURATION: return is(divide_);
    default: return false;  // an enumeration of offsets
    }
}

bool LocalApic::read_msr(std::uint32_t msr, std::uint64_t now, std::uint64_t& value) const
{
    if (!is_x2apic() || msr - x2apic_msr_first > x2apic_msr_last - x2apic_msr_first)
        return false;
    const auto which = static_cast<ApicRegister>((msr - x2apic_msr_first) * slot_bytes);
    if (which == ApicRegister::ICR_LOW) {
        value = command_;
        return true;
    }
    std::uint32_t low{};
    const bool found = read_register(which, now, low);
    value = low;
    return found;
}

ApicEffect LocalApic::write_msr(std::uint32_t msr, std::uint64_t value, std::uint64_t now)
{
    if (!is_x2apic() || msr < x2apic_msr_first || msr > x2apic_msr_last)
        return refused;
    const auto which = static_cast<ApicRegister>((msr - x2apic_msr_first) * slot_bytes);
    if (!is_legal_msr_write(which, value))
        return refused;
    if (which == ApicRegister::ICR_LOW)
        return write_command(value);
    if (which == ApicRegister::SELF_IPI)
        return send({.vector = static_cast<std::uint8_t>(value), .shorthand = DestinationShorthand::self});
    return write_register(which, static_cast<std::uint32_t>(value), now);
}

std::uint64_t LocalApic::read_mmio(std::uint64_t offset, unsigned bytes, std::uint64_t now)
{
    const auto which = static_cast<ApicRegister>(offset & page_mask & ~std::uint64_t{slot_bytes - 1});
    const auto skipped = static_cast<unsigned>(offset % slot_bytes);
    if (skipped >= register_bytes)
        return 0;
    std::uint32_t value{};
    if (which == ApicRegister::DFR)
        value = destination_format_;
    else if (which == ApicRegister::ICR_HIGH)
        value = static_cast<std::uint32_t>(command_ >> 32);
    else if (which != ApicRegister::EOI && which != ApicRegister::APR && which != ApicRegister::RRR) {
        if (!read_register(which, now, value))
            note_error(ErrorStatus::ILLEGAL_REGISTER_ADDRESS);
    }
    const std::uint64_t shifted = value >> (skipped * 8);
    return bytes >= register_bytes ? shifted : shifted & ((1ull << (bytes * 8)) - 1);
}

ApicEffect LocalApic::write_mmio(std::uint64_t offset, unsigned bytes, std::uint64_t value, std::uint64_t now)
{
    if (bytes < register_bytes || offset % slot_bytes != 0)
        return {};
    const auto which = static_cast<ApicRegister>(offset & page_mask);
    const auto low = static_cast<std::uint32_t>(value);
    switch (which) {
    case ApicRegister::ICR_LOW: return write_command((command_ >> 32) << 32 | low);
    case ApicRegister::ICR_HIGH:
        command_ = (command_ & 0xffff'ffff) | std::uint64_t{low & 0xff00'0000} << 32;
        return {};
    case ApicRegister::LDR:
        logical_destination_ = low & 0xff00'0000;
        publish_addressing();
        return {};
    case ApicRegister::DFR:
        destination_format_ = low | 0x0fff'ffff;
        publish_addressing();
        return {};
    case ApicRegister::SELF_IPI:  // exists in x2APIC mode only
        note_error(ErrorStatus::ILLEGAL_REGISTER_ADDRESS);
        return {};
    default: return write_register(which, low, now);  // an enumeration of offsets
    }
}

/// A write whose value is legal in the view it came from; bits that are not defined are dropped.
ApicEffect LocalApic::write_register(ApicRegister which, std::uint32_t value, std::uint64_t now)
{
    switch (which) {
    case ApicRegister::EOI: {
        const EndOfInterrupt end = end_of_interrupt();
        if (!end.was_in_service)
            return {};
        return {.kind = ApicEffect::Kind::end_of_interrupt,
                .broadcast = end.broadcast,
                .message = {.vector = end.vector}};
    }
    case ApicRegister::TPR: set_task_priority(static_cast<std::uint8_t>(value)); return {};
    case ApicRegister::SVR: return write_spurious(value);
    case ApicRegister::ESR: error_status_ = error_pending_.exchange(0); return {};
    case ApicRegister::LVT_TIMER:
    case ApicRegister::LVT_THERMAL:
    case ApicRegister::LVT_PERFORMANCE:
    case ApicRegister::LVT_LINT0:
    case ApicRegister::LVT_LINT1:
    case ApicRegister::LVT_ERROR:
        return write_lvt(static_cast<LvtEntry>(index_from(which, ApicRegister::LVT_TIMER)), value, now);
    case ApicRegister::INITIAL_COUNT: return start_count(value, now);
    case ApicRegister::DIVIDE_CONFIGURATION: return change_divider(value, now);
    case ApicRegister::APR:
    case ApicRegister::RRR: return {};
    default:  // an enumeration of offsets: what can be read is read-only, what cannot is no register
        if (std::uint32_t ignored; !read_register(which, now, ignored))
            note_error(ErrorStatus::ILLEGAL_REGISTER_ADDRESS);
        return {};
    }
}

ApicEffect LocalApic::write_lvt(LvtEntry entry, std::uint32_t value, std::uint64_t now)
{
    std::uint32_t next = value & lvt_writable(entry);
    if (!SpuriousRegister::Enable::get(spurious_))
        next |= LvtRegister::Masked::mask;
    auto& slot = lvt_[static_cast<unsigned>(entry)];
    if (entry != LvtEntry::timer) {
        slot.store(next, std::memory_order_relaxed);
        return {};
    }
    if (!config_.tsc_deadline_offered)
        next &= ~static_cast<std::uint32_t>(LvtRegister::TimerMode::make(2));
    expire(now);  // what was due before the write is due under the old entry
    const bool was_deadline = timer_mode() == ApicTimerMode::tsc_deadline;
    slot.store(next, std::memory_order_relaxed);
    if (was_deadline != (timer_mode() == ApicTimerMode::tsc_deadline))
        deadline_ = no_deadline;  // [SDM3-083 §11.5.4.1]
    return {.kind = ApicEffect::Kind::deadline_changed};
}

/// Disabling masks every local vector, and they stay masked; what is requested or in service stays so too
/// [SDM3-083 §11.4.7.2].
ApicEffect LocalApic::write_spurious(std::uint32_t value)
{
    spurious_ = value & SpuriousRegister::defined;
    if (!SpuriousRegister::Enable::get(spurious_))
        for (auto& entry : lvt_)
            entry.fetch_or(static_cast<std::uint32_t>(LvtRegister::Masked::mask), std::memory_order_relaxed);
    publish_addressing();
    return {.kind = ApicEffect::Kind::deadline_changed};
}

ApicEffect LocalApic::write_command(std::uint64_t command)
{
    command_ = command & (0xffff'ffff'0000'0000 | IcrRegister::defined);
    const auto high = static_cast<std::uint32_t>(command_ >> 32);
    const auto delivery = static_cast<DeliveryMode>(IcrRegister::Delivery::get(command_));
    // A level de-assert of INIT synchronised arbitration IDs once; processors since ignore it [SDM3-083
    // §11.6.1].
    if (delivery == DeliveryMode::init && IcrRegister::Trigger::get(command_) &&
        !IcrRegister::Assert::get(command_))
        return {};
    return send(
        {.destination = is_x2apic() ? high : widen_destination(static_cast<std::uint8_t>(high >> 24)),
         .vector = IcrRegister::Vector::get(command_),
         .delivery = delivery,
         .destination_mode = static_cast<DestinationMode>(IcrRegister::LogicalDestination::get(command_)),
         .trigger = TriggerMode::edge,
         .shorthand = static_cast<DestinationShorthand>(IcrRegister::Shorthand::get(command_))});
}

/// Sends what can be sent; combinations that the manual calls invalid [SDM3-083 §11.6.1, table 11-3] go
/// nowhere.
ApicEffect LocalApic::send(const InterruptMessage& message)
{
    const bool to_self = message.shorthand == DestinationShorthand::self;
    switch (message.delivery) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority:
        if (message.vector < first_legal_vector) {
            note_error(ErrorStatus::SEND_ILLEGAL_VECTOR);
            return {};
        }
        if (to_self) {
            accept(message.vector, TriggerMode::edge);
            return {};
        }
        break;
    case DeliveryMode::init:
    case DeliveryMode::startup:
        if (to_self || message.shorthand == DestinationShorthand::all_including_self)
            return {};
        break;
    case DeliveryMode::smi:
    case DeliveryMode::nmi: break;
    case DeliveryMode::reserved:
    case DeliveryMode::external: return {};
    }
    return {.kind = ApicEffect::Kind::send, .message = message};
}

}  // namespace hv::core
