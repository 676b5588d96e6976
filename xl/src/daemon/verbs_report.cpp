// SPDX-License-Identifier: MIT
//
// The verb about extensions that failed: what the hypervisor keeps of each failure, as JSON.
#include <cxxabi.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/hex.hpp"
#include "daemon/daemon.hpp"
#include "daemon/json_values.hpp"

namespace hv::xl {
namespace {

constexpr const char* general_names[]{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

std::string hex_number(std::uint64_t number)
{
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
    return text;
}

/// As a C++ author wrote it, where it is a C++ name.
std::string function_name(std::string_view symbol)
{
    const std::string text{printable(symbol)};
    int status{};
    const std::unique_ptr<char, decltype(&std::free)> plain{::abi::__cxa_demangle(text.c_str(), nullptr, nullptr, &status),
                                                            &std::free};
    return plain ? std::string{plain.get()} : text;
}

std::string action_name(const protocol::ExtReportReply& reply)
{
    if ((reply.flags & protocol::report_of_bind) != 0)
        return "refused";
    return policy_name(reply.action);
}

Json vcpu_json(std::uint32_t vcpu)
{
    return vcpu == protocol::report_of_domain ? Json{} : Json(vcpu);
}

/// Numbers of 64 bits as text: a reader of JSON may have no room for them.
Json registers_json(const protocol::ExtReportReply& reply)
{
    Json registers{{"rip", hex_number(reply.rip)}, {"rflags", hex_number(reply.rflags)}};
    for (std::size_t index = 0; index < std::size(general_names); ++index)
        registers[general_names[index]] = hex_number(reply.general[index]);
    return registers;
}

Json backtrace_json(const Hypervisor::Report& report)
{
    Json frames = Json::array();
    for (const protocol::ReportFrame& frame : report.frames) {
        const std::string_view symbol{protocol::text_of(frame.symbol)};
        frames.push_back({{"address", hex_number(frame.address)},
                          {"function", symbol.empty() ? Json{} : Json(function_name(symbol))},
                          {"offset", frame.offset},
                          {"inImage", hex_number(frame.address - report.reply.image)},
                          {"guessed", (frame.flags & protocol::report_frame_guessed) != 0}});
    }
    return frames;
}

Json events_json(const Hypervisor::Report& report)
{
    Json events = Json::array();
    for (const protocol::ReportEvent& event : report.events) {
        const bool hook{event.kind == static_cast<std::uint32_t>(protocol::ReportEventKind::hook)};
        Json one{{"ticks", event.ticks},
                 {"vcpu", vcpu_json(event.vcpu)},
                 {hook ? "hook" : "service", printable(protocol::text_of(event.name))},
                 {"result", printable(protocol::text_of(event.result))}};
        if (hook) {
            one["arguments"] = Json::array();
            for (std::size_t index = 0; index < event.argument_count && index < std::size(event.arguments); ++index)
                one["arguments"].push_back(hex_number(event.arguments[index]));
        }
        events.push_back(std::move(one));
    }
    return events;
}

Json fault_json(const protocol::ExtReportReply& reply)
{
    return {{"vector", reply.vector}, {"errorCode", reply.error_code}, {"address", hex_number(reply.fault_address)}};
}

Json report_json(const Hypervisor::Report& report)
{
    const protocol::ExtReportReply& reply = report.reply;
    const bool thrown{(reply.flags & protocol::report_has_registers) != 0};
    return {{"number", reply.number},
            {"failures", reply.failures},
            {"ticks", reply.ticks},
            {"module", printable(protocol::text_of(reply.module))},
            {"version", printable(protocol::text_of(reply.version))},
            {"hash", hex_text(std::as_bytes(std::span{reply.hash}))},
            {"generation", reply.generation},
            {"placement", placement_name(reply.placement)},
            {"hook", printable(protocol::text_of(reply.hook))},
            {"vcpu", vcpu_json(reply.vcpu)},
            {"reason", printable(protocol::text_of(reply.reason))},
            {"action", action_name(reply)},
            {"image", hex_number(reply.image)},
            {"fault", thrown ? fault_json(reply) : Json{}},
            {"registers", thrown ? registers_json(reply) : Json{}},
            {"backtrace", backtrace_json(report)},
            {"events", events_json(report)}};
}

}  // namespace

Task<Json> Daemon::ext_report(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    const std::string name{call->args.value("name", "")};
    std::vector<Hypervisor::Report> reports;
    if (domain.domain != protocol::control_domain)
        reports = co_await hypervisor_.reports(domain.domain, name);
    Json all = Json::array();
    for (const Hypervisor::Report& report : reports)
        all.push_back(report_json(report));
    co_return all;
}

/// One piece of a segment, its bytes as pairs of hexadecimal digits.
Task<Json> Daemon::ext_core(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    const auto segment = call->args.at("segment").get<std::uint32_t>();
    const auto offset = call->args.at("offset").get<std::uint64_t>();
    const Hypervisor::CorePiece piece = co_await hypervisor_.core(domain.domain, segment, offset);
    const protocol::ExtCoreReply& reply = piece.reply;
    co_return Json{{"number", reply.number},
                   {"address", reply.address},
                   {"bytes", reply.bytes},
                   {"writable", (reply.flags & protocol::core_writable) != 0},
                   {"executable", (reply.flags & protocol::core_executable) != 0},
                   {"segments", reply.segment_count},
                   {"data", hex_text(std::as_bytes(std::span{piece.bytes}))}};
}

}  // namespace hv::xl
