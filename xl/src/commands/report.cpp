// SPDX-License-Identifier: MIT
//
// The verb about extensions of a domain that failed: ext-report.
#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

std::string word(const Json& from, const char* key)
{
    return from.at(key).get<std::string>();
}

std::string vcpu_text(const Json& from)
{
    return from.at("vcpu").is_null() ? "-" : from.at("vcpu").dump();
}

std::string head_text(const Json& report)
{
    const std::string vcpu{report.at("vcpu").is_null() ? "" : ", VCPU " + vcpu_text(report)};
    return "failure " + report.at("number").dump() + " of " + report.at("failures").dump() + ": " +
           word(report, "reason") + "\n" +
           "module:     " + word(report, "module") + " " + word(report, "version") + ", " + word(report, "placement") +
           ", load " + report.at("generation").dump() + "\n" +
           "file:       sha256 " + word(report, "hash") + "\n" +
           "hook:       " + word(report, "hook") + vcpu + "\n" +
           "action:     " + word(report, "action") + "\n";
}

std::string registers_text(const Json& registers)
{
    if (registers.is_null())
        return "registers:  none, the hook returned\n";
    static constexpr const char* rows[][4]{{"rax", "rcx", "rdx", "rbx"},
                                           {"rsp", "rbp", "rsi", "rdi"},
                                           {"r8", "r9", "r10", "r11"},
                                           {"r12", "r13", "r14", "r15"}};
    std::string text{"registers:  rip " + word(registers, "rip") + ", rflags " + word(registers, "rflags") + "\n"};
    for (const auto& row : rows) {
        text += "           ";
        for (const char* const name : row)
            text += std::string{" "} + name + " " + word(registers, name);
        text += "\n";
    }
    return text;
}

std::string backtrace_text(const Json& frames)
{
    std::string text;
    for (const Json& frame : frames) {
        const Json& function = frame.at("function");
        text += (text.empty() ? "calls:      " : "            ") + word(frame, "address") + " " +
                (function.is_null() ? "?" : function.get<std::string>() + "+" + frame.at("offset").dump()) +
                (frame.at("guessed").get<bool>() ? "  (guessed)" : "") + "\n";
    }
    return text;
}

std::string events_text(const Json& events, std::uint64_t failed_at)
{
    Table table{{"TICKS BEFORE", "VCPU", "EVENT", "RESULT"}};
    for (const Json& event : events) {
        const bool hook{event.contains("hook")};
        std::string what{hook ? word(event, "hook") + "(" : "  " + word(event, "service")};
        if (hook)
            for (const Json& argument : event.at("arguments"))
                what += (what.back() == '(' ? "" : ", ") + argument.get<std::string>();
        table.add({std::to_string(failed_at - event.at("ticks").get<std::uint64_t>()), vcpu_text(event),
                   what + (hook ? ")" : ""), word(event, "result")});
    }
    return table.text(output_is_terminal());
}

std::string report_text(const Json& report)
{
    return head_text(report) + registers_text(report.at("registers")) + backtrace_text(report.at("backtrace")) +
           events_text(report.at("events"), report.at("ticks").get<std::uint64_t>());
}

}  // namespace

ExitCode run_ext_report(const Arguments& arguments)
{
    const Json request{{"verb", "ext-report"}, {"domain", arguments.domain}, {"name", arguments.name}};
    const Json all = Connection{arguments.socket}.call(request);
    if (!arguments.core.empty()) {
        if (all.empty())
            throw Failure{ExitCode::not_found, "no extension of the domain has failed"};
        write_core(arguments, all[0]);
    }
    if (arguments.json) {
        print(json_text(all));
        return ExitCode::done;
    }
    if (all.empty())
        print("no extension of the domain has failed\n");
    for (std::size_t index = 0; index < all.size() && (index == 0 || arguments.all); ++index)
        print((index == 0 ? "" : "\n") + report_text(all[index]));
    return ExitCode::done;
}

}  // namespace hv::xl
