// SPDX-License-Identifier: MIT
//
// The synthetic interrupt controller: its registers, its two pages, and how a message gets into its slot and its interrupt to the
// guest.  Each timer has one message buffer; a message waits in it until the slot of its SINT is empty and the guest says so, by EOM or
// by the interrupt's end.  Specification: [TLFS-6.0b §11.5, §11.8, §11.10].
#include "synic.hpp"

#include "ports.hpp"

#include "hv/ext/guest_page.hpp"

namespace hv::viridian {
namespace {

using Sint = tlfs::SintRegister;

/// The flag of a header, as a bit of its slot.
constexpr std::uint32_t pending_bit{offsetof(tlfs::MessageHeader, flags) * 8};
static_assert(tlfs::message_pending == 1);

constexpr bool generates_interrupts(std::uint64_t sint)
{
    return !Sint::Masked::get(sint) && !Sint::Polling::get(sint);
}

constexpr std::uint8_t with_bit(std::uint8_t bits, std::uint32_t bit, bool on)
{
    return static_cast<std::uint8_t>(on ? bits | 1u << bit : bits & ~(1u << bit));
}

/// Timers in the queue of this SINT whose messages wait.
std::uint32_t waiting_for(const Viridian::VcpuState& state, std::uint32_t sint)
{
    std::uint32_t found{};
    for (std::uint32_t timer = 0; timer < tlfs::stimer_count; ++timer)
        if ((state.waiting >> timer & 1) != 0 && state.waiting_sint[timer] == sint)
            found |= 1u << timer;
    return found;
}

/// What the core does with a vector, by all sources that have it.
Status watch(const Viridian::Vcpu& vcpu, std::uint32_t vector)
{
    const auto& state = vcpu.state();
    std::uint32_t what{};
    for (std::uint32_t sint = 0; sint < tlfs::sint_count; ++sint) {
        const std::uint64_t source{state.sint[sint]};
        if (!generates_interrupts(source) || Sint::Vector::get(source) != vector)
            continue;
        what |= Sint::AutoEoi::get(source) ? abi::watch_auto_eoi : 0;
        what |= (state.eoi_watched >> sint & 1) != 0 ? abi::watch_ended : 0;
    }
    return ext::check(ext::host().interrupt_watch(vcpu.handle(), vector, what));
}

/// While a message waits for this SINT's slot, the end of its interrupt is of interest.
void watch_end(Viridian::Vcpu& vcpu, std::uint32_t sint, bool wanted)
{
    auto& state = vcpu.state();
    const std::uint32_t bit{1u << sint};
    if (((state.eoi_watched & bit) != 0) == wanted)
        return;
    state.eoi_watched = static_cast<std::uint16_t>(state.eoi_watched ^ bit);
    if (generates_interrupts(state.sint[sint]))
        static_cast<void>(watch(vcpu, Sint::Vector::get(state.sint[sint])));
}

/// The slot is empty and nobody else fills it: only this VCPU's hooks do.  The type comes last.
bool fill_slot(Viridian::Vcpu& vcpu, std::uint32_t sint, std::uint32_t timer, bool more)
{
    const auto& state = vcpu.state();
    const auto now = vcpu.now();
    const std::uint8_t flags{more ? tlfs::message_pending : std::uint8_t{0}};
    const tlfs::TimerMessage message{
        .header = {.type = tlfs::message_none, .payload_bytes = 24, .flags = flags, .reserved = 0, .origin = 0},
        .timer = timer,
        .reserved = 0,
        .expiration = state.waiting_expiration[timer],
        .delivery = now ? reference_count(now.value()) : state.waiting_expiration[timer]};
    const ext::PageView page{vcpu.domain(), state.message_page};
    const std::uint32_t slot{sint * tlfs::message_bytes};
    return page.write(slot, message) && page.store<std::uint32_t>(slot, tlfs::message_timer_expired);
}

/// True where the slot is empty.  Where it is not, the guest finds there that more is to come.
bool slot_is_empty(const Viridian::Vcpu& vcpu, std::uint32_t sint)
{
    const ext::PageView page{vcpu.domain(), vcpu.state().message_page};
    const std::uint32_t slot{sint * tlfs::message_bytes};
    const auto type = page.load<std::uint32_t>(slot);
    if (!type || type.value() == tlfs::message_none)
        return type.has_value();
    static_cast<void>(page.test_and_set(slot * 8 + pending_bit));
    const auto again = page.load<std::uint32_t>(slot);  // emptied by another VCPU meanwhile, which may not have seen the flag
    return again && again.value() == tlfs::message_none;
}

/// Of several the one that expired first.
std::uint32_t first_of(const Viridian::VcpuState& state, std::uint32_t timers)
{
    std::uint32_t first{tlfs::stimer_count};
    for (std::uint32_t timer = 0; timer < tlfs::stimer_count; ++timer)
        if ((timers >> timer & 1) != 0 &&
            (first == tlfs::stimer_count || state.waiting_expiration[timer] < state.waiting_expiration[first]))
            first = timer;
    return first;
}

/// The same of a message that was posted to a port.
bool fill_slot_from_port(const Viridian::Vcpu& vcpu, std::uint32_t sint, std::uint32_t place, bool more)
{
    const PortHeader& record{vcpu.domain_state().waiting[place].record};
    tlfs::PortMessage message{};
    message.header.payload_bytes = static_cast<std::uint8_t>(record.bytes);
    message.header.flags = more ? tlfs::message_pending : std::uint8_t{0};
    if (record.bytes != 0 && !ext::check(ext::host().page_read(vcpu.domain(), vcpu.domain_state().waiting_payloads, payload_offset(place),
                                                               message.payload, record.bytes)))
        return false;
    const ext::PageView page{vcpu.domain(), vcpu.state().message_page};
    const std::uint32_t slot{sint * tlfs::message_bytes};
    return page.write(slot, message) && page.store<std::uint32_t>(slot, record.number);
}

/// Puts the first of those that wait into the slot, which is empty: timers' messages before those of ports.  False where it did not get there.
bool deliver_first(Viridian::Vcpu& vcpu, std::uint32_t sint, std::uint32_t timers, WaitingMessages posted, bool more)
{
    auto& state = vcpu.state();
    if (timers == 0) {
        if (!fill_slot_from_port(vcpu, sint, posted.first, more))
            return false;
        conclude_port_message(vcpu, posted.first);
        return true;
    }
    const std::uint32_t timer{first_of(state, timers)};
    if (!fill_slot(vcpu, sint, timer, more))
        return false;
    state.waiting = with_bit(state.waiting, timer, false);
    return true;
}

/// Delivers what waits for this SINT as far as there is room: one message.
void deliver(Viridian::Vcpu& vcpu, std::uint32_t sint)
{
    auto& state = vcpu.state();
    const std::uint32_t waiting{waiting_for(state, sint)};
    const WaitingMessages posted{waiting_port_messages(vcpu, sint)};
    const std::uint32_t count{static_cast<std::uint32_t>(ones_in(waiting)) + posted.count};
    const bool reachable{tlfs::SynicControl::Enable::get(state.scontrol) && tlfs::PageRegister::Enable::get(state.simp)};
    if (count == 0 || !reachable || !slot_is_empty(vcpu, sint))
        return watch_end(vcpu, sint, count != 0 && reachable);
    if (!deliver_first(vcpu, sint, waiting, posted, count > 1))
        return;
    state.messages += 1;
    watch_end(vcpu, sint, count > 1);
    interrupt_by_sint(vcpu, sint);
}

/// One of the two pages, by its register's value and the overlay's handle in the state.
Status place_page(const Viridian::Vcpu& vcpu, std::uint64_t& page, std::uint64_t before, std::uint64_t value)
{
    using Register = tlfs::PageRegister;
    if (!Register::Enable::get(value)) {
        if (Register::Enable::get(before))
            static_cast<void>(ext::Overlay{page}.remove(vcpu.domain()));
        return Done{};
    }
    const ext::Overlay overlay{page != 0 ? ext::Overlay{page} : HV_TRY(ext::Overlay::create(vcpu.domain()))};
    if (const auto placed = Viridian::place(vcpu.domain(), overlay, Register::page(value), true); !placed) {
        if (page == 0)
            static_cast<void>(ext::host().overlay_destroy(vcpu.domain(), overlay.page));
        return placed;
    }
    page = overlay.page;
    return Done{};
}

void give_back(const Viridian::Vcpu& vcpu, std::uint64_t& page)
{
    if (page != 0)
        static_cast<void>(ext::host().overlay_destroy(vcpu.domain(), page));
    page = 0;
}

}  // namespace

void interrupt_by_sint(const Viridian::Vcpu& vcpu, std::uint32_t sint)
{
    const std::uint64_t source{vcpu.state().sint[sint]};
    if (generates_interrupts(source))
        static_cast<void>(ext::host().inject_interrupt(vcpu.handle(), Sint::Vector::get(source), abi::inject_local_apic));
}

void deliver_all(Viridian::Vcpu& vcpu)
{
    const bool any_port{ports_wait(vcpu)};
    for (std::uint32_t sint = 0; (vcpu.state().waiting != 0 || any_port) && sint < tlfs::sint_count; ++sint)
        deliver(vcpu, sint);
}

Status Viridian::write_scontrol(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    HV_TRY(check_offered(vcpu, Feature::synic));
    vcpu.state().scontrol = value;
    deliver_all(vcpu);
    return Done{};
}

Status Viridian::write_event_page(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    HV_TRY(check_offered(vcpu, Feature::synic));
    HV_TRY(place_page(vcpu, vcpu.state().event_page, vcpu.state().siefp, value));
    vcpu.state().siefp = value;
    return Done{};
}

Status Viridian::write_message_page(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    HV_TRY(check_offered(vcpu, Feature::synic));
    HV_TRY(place_page(vcpu, vcpu.state().message_page, vcpu.state().simp, value));
    vcpu.state().simp = value;
    deliver_all(vcpu);
    return Done{};
}

Status Viridian::write_eom(Vcpu& vcpu, std::uint32_t, std::uint64_t)
{
    HV_TRY(check_offered(vcpu, Feature::synic));
    deliver_all(vcpu);
    return Done{};
}

/// A source that can interrupt needs a legal vector.
Status Viridian::write_sint(Vcpu& vcpu, std::uint32_t offset, std::uint64_t value)
{
    HV_TRY(check_offered(vcpu, Feature::synic));
    if (generates_interrupts(value) && Sint::Vector::get(value) < tlfs::lowest_vector)
        return Error::invalid_argument;
    std::uint64_t& sint{vcpu.state().sint[offset - tlfs::offset_of(tlfs::HV_X64_MSR_SINT0)]};
    const std::uint64_t before{std::exchange(sint, value)};
    const bool same{generates_interrupts(value) && Sint::Vector::get(before) == Sint::Vector::get(value)};
    if (generates_interrupts(before) && !same)
        static_cast<void>(watch(vcpu, Sint::Vector::get(before)));
    if (generates_interrupts(value))
        static_cast<void>(watch(vcpu, Sint::Vector::get(value)));
    return Done{};
}

/// The guest has ended an interrupt: what waits for its sources is tried again.
abi::Verdict Viridian::interrupt_ended(Vcpu& vcpu, std::uint32_t vector)
{
    for (std::uint32_t sint = 0; sint < tlfs::sint_count; ++sint)
        if (Sint::Vector::get(vcpu.state().sint[sint]) == vector)
            deliver(vcpu, sint);
    return abi::done;
}

bool post_timer_message(Viridian::Vcpu& vcpu, std::uint32_t timer, std::uint64_t expiration)
{
    auto& state = vcpu.state();
    if (!tlfs::SynicControl::Enable::get(state.scontrol) || (state.waiting >> timer & 1) != 0)
        return false;
    state.waiting = with_bit(state.waiting, timer, true);
    state.waiting_expiration[timer] = expiration;
    state.waiting_sint[timer] = tlfs::TimerConfig::Sint::get(state.timers[timer].config);
    deliver(vcpu, state.waiting_sint[timer]);
    return true;
}

void reset_synic(Viridian::Vcpu& vcpu)
{
    auto& state = vcpu.state();
    const auto before = std::to_array(state.sint);
    std::ranges::fill(state.sint, Sint::at_reset);
    state.eoi_watched = 0;
    state.waiting = 0;
    for (const std::uint64_t sint : before)
        if (generates_interrupts(sint) && Sint::Vector::get(sint) >= tlfs::lowest_vector)
            static_cast<void>(watch(vcpu, Sint::Vector::get(sint)));
    give_back(vcpu, state.event_page);
    give_back(vcpu, state.message_page);
    state.scontrol = state.siefp = state.simp = 0;
}

abi::Verdict Viridian::vcpu_initialise(Vcpu& vcpu)
{
    std::ranges::fill(vcpu.state().sint, Sint::at_reset);
    return abi::done;
}

}  // namespace hv::viridian
