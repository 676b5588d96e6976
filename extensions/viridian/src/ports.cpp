// SPDX-License-Identifier: MIT
#include "ports.hpp"

#include <cstring>

#include "port_record.hpp"
#include "synic.hpp"

namespace hv::viridian {
namespace {

using tlfs::HvStatus;

/// The channel of a connection, or 0.
std::uint64_t channel_of(const Viridian::DomainState& state, std::uint64_t connection)
{
    return connection == 0 || connection > state.port_count ? 0 : state.ports[connection - 1];
}

Status send(std::uint64_t channel, const PortRecord& record)
{
    return ext::check(ext::host().channel_send(channel, &record, sizeof record));
}

/// What this VP says to a port's owner, but for the payload.
PortRecord record_of(const Viridian::Vcpu& vcpu, PortRecordKind kind, std::uint64_t number)
{
    PortRecord record{};
    record.kind = kind;
    record.vp = vcpu.index();
    record.number = static_cast<std::uint32_t>(number);
    return record;
}

/// The port's owner is gone, or does not keep up.
HvStatus send_from_guest(std::uint64_t channel, const PortRecord& record)
{
    const Status sent = send(channel, record);
    if (sent)
        return HvStatus::HV_STATUS_SUCCESS;
    return sent.error() == Error::limit_reached ? HvStatus::HV_STATUS_INSUFFICIENT_BUFFERS : HvStatus::HV_STATUS_INVALID_PORT_ID;
}

void answer(std::uint64_t channel, PortRecordKind kind, std::uint32_t tag, PortRefusal why = {})
{
    PortRecord record{};
    record.kind = kind;
    record.tag = tag;
    record.number = static_cast<std::uint32_t>(why);
    static_cast<void>(send(channel, record));
}

bool is_well_formed(const PortHeader& record)
{
    if (record.sint >= tlfs::sint_count)
        return false;
    if (record.kind == PortRecordKind::event)
        return record.number < tlfs::event_flags && record.bytes == 0;
    return record.kind == PortRecordKind::message && record.number != tlfs::message_none &&
           record.bytes <= PortRecord::longest_payload;
}

/// One of `maximum_waiting`, or that where none is free.
std::size_t free_place(const Viridian::DomainState& state)
{
    const auto found = std::ranges::find(state.waiting, 0u, &WaitingRecord::channel);
    return static_cast<std::size_t>(found - std::begin(state.waiting));
}

/// Puts a message's payload down until its slot is empty.
Status keep_payload(std::uint64_t domain, Viridian::DomainState& state, std::size_t place, const PortRecord& record)
{
    if (record.bytes == 0)
        return Done{};
    if (state.waiting_payloads == 0)
        state.waiting_payloads = HV_TRY(ext::Overlay::create(domain)).page;
    return ext::PageView{domain, state.waiting_payloads}.write(payload_offset(place), record.payload);
}

/// Notes it for the VP, which looks before its next instruction.
Status put_down(const Viridian::Domain& domain, std::uint64_t channel, const PortRecord& record)
{
    std::uint64_t vcpu{};
    if (!is_well_formed(record) || !ext::check(ext::host().vcpu_by_index(domain.handle(), record.vp, &vcpu))) {
        answer(channel, PortRecordKind::refused, record.tag, PortRefusal::malformed);
        return Done{};
    }
    auto* const state = HV_TRY(domain.update());
    const std::size_t place{free_place(*state)};
    if (place == maximum_waiting || !keep_payload(domain.handle(), *state, place, record)) {
        answer(channel, PortRecordKind::refused, record.tag, PortRefusal::no_room);
        return Done{};
    }
    state->waiting[place] = {channel, state->waiting_turn, record};
    state->waiting_turn += 1;
    state->waiting_count += 1;
    return ext::check(ext::host().vcpu_kick(vcpu));
}

std::uint32_t waiting_count(const Viridian::DomainState& state)
{
    return __atomic_load_n(&state.waiting_count, __ATOMIC_RELAXED);
}

void free(Viridian::DomainState& state, WaitingRecord& place)
{
    place.channel = 0;
    state.waiting_count -= 1;
}

/// The flag is set, and the guest interrupted where it was not.
bool set_flag(const Viridian::Vcpu& vcpu, const PortHeader& event)
{
    const auto& state = vcpu.state();
    if (!tlfs::SynicControl::Enable::get(state.scontrol) || !tlfs::PageRegister::Enable::get(state.siefp))
        return false;
    const auto before = ext::PageView{vcpu.domain(), state.event_page}.test_and_set(event.sint * tlfs::event_flags + event.number);
    if (before && !before.value())
        interrupt_by_sint(vcpu, event.sint);
    return before.has_value();
}

void deliver_events(const Viridian::Vcpu& vcpu, Viridian::DomainState& state)
{
    for (WaitingRecord& place : state.waiting) {
        if (place.channel == 0 || place.record.vp != vcpu.index() || place.record.kind != PortRecordKind::event)
            continue;
        const bool set{set_flag(vcpu, place.record)};
        answer(place.channel, set ? PortRecordKind::taken : PortRecordKind::refused, place.record.tag,
               set ? PortRefusal{} : PortRefusal::not_enabled);
        free(state, place);
    }
}

}  // namespace

Status open_port(const Viridian::Domain& domain, std::uint32_t index, std::string_view name)
{
    auto* const state = HV_TRY(domain.update());
    if (index >= std::size(state->ports))
        return Error::limit_reached;
    HV_TRY(ext::check(ext::host().channel_open(domain.handle(), name.data(), name.size(), &state->ports[index])));
    state->port_count = index + 1;
    return Done{};
}

/// Words of the input: connection, type and payload's bytes, payload.
HvStatus post_message(Viridian::Vcpu& vcpu, const Input& input)
{
    const std::uint64_t channel{channel_of(vcpu.domain_state(), input[0] & 0xffff'ffff)};
    if (channel == 0)
        return HvStatus::HV_STATUS_INVALID_CONNECTION_ID;
    PortRecord record{record_of(vcpu, PortRecordKind::message, input[1] & 0xffff'ffff)};
    record.bytes = static_cast<std::uint32_t>(input[1] >> 32);
    const bool hypervisors{(record.number & tlfs::message_of_the_hypervisor) != 0};
    if (record.number == tlfs::message_none || hypervisors || record.bytes > PortRecord::longest_payload)
        return HvStatus::HV_STATUS_INVALID_PARAMETER;
    std::ranges::copy(std::as_bytes(std::span{input.words}.subspan(2)).first(record.bytes),
                      std::as_writable_bytes(std::span{record.payload}).begin());
    return send_from_guest(channel, record);
}

/// One word: connection, flag, and bits that must be zero.
HvStatus signal_event(Viridian::Vcpu& vcpu, const Input& input)
{
    const std::uint64_t channel{channel_of(vcpu.domain_state(), input[0] & 0xffff'ffff)};
    if (channel == 0)
        return HvStatus::HV_STATUS_INVALID_CONNECTION_ID;
    // The upper half of the number is reserved: it is too large where that is not zero.
    const PortRecord record{record_of(vcpu, PortRecordKind::event, input[0] >> 32)};
    if (record.number >= tlfs::event_flags)
        return HvStatus::HV_STATUS_INVALID_PARAMETER;
    return send_from_guest(channel, record);
}

bool ports_wait(const Viridian::Vcpu& vcpu)
{
    return waiting_count(vcpu.domain_state()) != 0;
}

WaitingMessages waiting_port_messages(const Viridian::Vcpu& vcpu, std::uint32_t sint)
{
    WaitingMessages found{};
    if (!ports_wait(vcpu))
        return found;
    const auto state = vcpu.update_domain();  // till this hook returns nobody else changes it
    if (!state)
        return found;
    const auto& waiting = state.value()->waiting;
    for (std::uint32_t place = 0; place < maximum_waiting; ++place) {
        const PortHeader& record{waiting[place].record};
        if (waiting[place].channel == 0 || record.kind != PortRecordKind::message || record.vp != vcpu.index() || record.sint != sint)
            continue;
        if (found.count == 0 || waiting[place].turn < waiting[found.first].turn)
            found.first = place;
        ++found.count;
    }
    return found;
}

void conclude_port_message(const Viridian::Vcpu& vcpu, std::uint32_t place)
{
    const auto state = vcpu.update_domain();
    if (!state)
        return;
    WaitingRecord& taken{state.value()->waiting[place]};
    answer(taken.channel, PortRecordKind::taken, taken.record.tag);
    free(*state.value(), taken);
}

abi::Verdict Viridian::channel_message(const Domain& domain, std::uint64_t channel, const void* bytes, std::uint64_t length)
{
    PortRecord record{};
    if (length != sizeof record) {
        answer(channel, PortRecordKind::refused, 0, PortRefusal::malformed);
        return abi::done;
    }
    std::memcpy(&record, bytes, sizeof record);
    static_cast<void>(put_down(domain, channel, record));
    return abi::done;
}

/// Something waits for this VP.
abi::Verdict Viridian::before_entry(Vcpu& vcpu)
{
    if (!ports_wait(vcpu))
        return abi::done_unchanged;
    if (const auto state = vcpu.update_domain())
        deliver_events(vcpu, *state.value());
    deliver_all(vcpu);
    return abi::done;
}

}  // namespace hv::viridian
