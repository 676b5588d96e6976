// SPDX-License-Identifier: MIT
//
// What is kept of instances that failed, as the control protocol tells it.
#include <algorithm>
#include <cstring>

#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/ext/failure_report.hpp"
#include "hv/core/service/core_target.hpp"
#include "hv/core/service/wire_text.hpp"

namespace hv::core::service {

using control::Reason;
using control::refuse;
using control::refuse_field;

namespace {

// The wire's numbers are the core's.
static_assert(protocol::report_of_domain == FailureReport::of_domain &&
              sizeof protocol::ExtReportReply::general == sizeof platform::HookFault::general &&
              sizeof protocol::ReportEvent::arguments == sizeof HookEvent::words &&
              sizeof protocol::ReportFrame::symbol >= sizeof ReportFrame::symbol);

protocol::ReportFrame on_wire(const ReportFrame& frame)
{
    protocol::ReportFrame entry{};
    entry.address = frame.address;
    entry.offset = frame.offset;
    entry.flags = frame.guessed ? protocol::report_frame_guessed : 0;
    put_text(entry.symbol, get_text(frame.symbol));
    return entry;
}

protocol::ReportEvent on_wire(const ReportEvent& event)
{
    protocol::ReportEvent entry{};
    entry.ticks = event.event.ticks;
    entry.vcpu = event.vcpu;
    entry.kind = static_cast<std::uint32_t>(is_service(event.event) ? protocol::ReportEventKind::service
                                                                    : protocol::ReportEventKind::hook);
    entry.argument_count = argument_count(event.event);
    std::copy_n(event.event.words, entry.argument_count, entry.arguments);
    put_text(entry.name, name_of(event.event));
    BoundedText<sizeof entry.result> result;
    say_result(result, event.event);
    put_text(entry.result, result.view());
    return entry;
}

/// The rest of the room, or nothing where the entries do not fit.
template <typename Entry, typename Of>
Expected<std::span<std::byte>> put_entries(std::span<std::byte> room, std::span<const Of> all)
{
    if (room.size() < all.size() * sizeof(Entry))
        return Error::limit_reached;
    for (const Of& one : all) {
        const Entry entry = on_wire(one);
        std::memcpy(room.data(), &entry, sizeof entry);
        room = room.subspan(sizeof entry);
    }
    return room;
}

void put_version(char (&field)[32], const FailureReport& report)
{
    BoundedText<32> text;
    say(text, report.version[0], '.', report.version[1], '.', report.version[2]);
    put_text(field, text.view());
}

void describe(const FailureReport& report, protocol::ExtReportReply& reply)
{
    reply.number = report.number;
    reply.ticks = report.ticks;
    reply.generation = report.generation;
    std::ranges::copy(report.fault.general, reply.general);
    reply.rip = report.fault.rip;
    reply.rflags = report.fault.rflags;
    reply.fault_address = report.fault.address;
    reply.vector = report.fault.vector;
    reply.error_code = report.fault.error_code;
    reply.image = report.image;
    reply.vcpu = report.vcpu;
    reply.placement = static_cast<std::uint32_t>(report.placement);
    reply.action = static_cast<std::uint32_t>(report.action);
    reply.flags = (report.has_registers ? protocol::report_has_registers : 0) |
                  (report.in_bind ? protocol::report_of_bind : 0);
    reply.frame_count = report.frame_count;
    reply.frame_size = sizeof(protocol::ReportFrame);
    reply.event_count = report.event_count;
    reply.event_size = sizeof(protocol::ReportEvent);
    put_text(reply.module, report.module.view());
    put_version(reply.version, report);
    std::ranges::copy(report.hash, reply.hash);
    put_text(reply.hook, report.hook);
    put_text(reply.reason, report.reason.view());
}

Expected<std::size_t> put_all(const FailureReport& report, std::span<std::byte> room, protocol::ExtReportReply& reply)
{
    describe(report, reply);
    auto rest = HV_TRY(put_entries<protocol::ReportFrame>(room, std::span{report.frames}.first(report.frame_count)));
    rest = HV_TRY(put_entries<protocol::ReportEvent>(rest, std::span{report.events}.first(report.event_count)));
    return room.size() - rest.size();
}

}  // namespace

Expected<std::size_t> CoreTarget::report_failure(const protocol::ExtReportRequest& request, std::span<std::byte> room,
                                                 protocol::ExtReportReply& reply, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(request.domain, reason));
    const std::string_view name = get_text(request.module);
    Expected<std::size_t> bytes{Error::not_found};
    if (domain.extensions != nullptr) {
        const FailureReports& reports = domain.extensions->reports();
        reports.visit(name, request.skip, [&](const FailureReport& one) { bytes = put_all(one, room, reply); });
        reply.failures = reports.count();
    }
    if (!bytes && bytes.error() == Error::not_found)
        return refuse(reason, Error::not_found, "no ", request.skip == 0 ? "failure" : "older failure", " of ",
                      name.empty() ? "an extension" : name, " in domain '", domain.name(), "' is known");
    return bytes;
}

Expected<std::size_t> CoreTarget::read_core(const protocol::ExtCoreRequest& request, std::span<std::byte> room,
                                            protocol::ExtCoreReply& reply, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(request.domain, reason));
    Expected<std::size_t> bytes{Error::not_found};
    const auto read = [&](const FailureCore& core) {
        if (request.segment >= core.segments().size())
            return;
        const FailureCore::Segment& segment = core.segments()[request.segment];
        reply = {core.number(), segment.address, segment.bytes,
                 (segment.writable ? protocol::core_writable : 0) | (segment.executable ? protocol::core_executable : 0),
                 static_cast<std::uint32_t>(core.segments().size())};
        const std::uint64_t left = segment.bytes - std::min(request.offset, segment.bytes);
        bytes = std::min(room.size(), static_cast<std::size_t>(left));
        std::memcpy(room.data(), segment.copy + (segment.bytes - left), bytes.value());
    };
    if (domain.extensions == nullptr || !domain.extensions->reports().visit_core(read))
        return refuse(reason, Error::not_found, "no memory of an extension that failed is kept in domain '", domain.name(),
                      "'");
    if (!bytes)
        return refuse_field(reason, Error::not_found, "/segment", "there is no segment ", request.segment);
    return bytes;
}

}  // namespace hv::core::service
