// SPDX-License-Identifier: MIT
//
// The verbs about an extension of a running domain: ext-swap, ext-rollback, ext-inspect.
#include <vector>

#include "base/file.hpp"
#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "commands/module_files.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

std::string module_text(const Json& module)
{
    return module.at("name").get<std::string>() + " " + module.at("version").get<std::string>();
}

std::string ticks_text(const Json& from, const char* ticks, const char* nanoseconds)
{
    return from.at(ticks).dump() + " ticks, " + std::to_string(from.at(nanoseconds).get<std::uint64_t>() / 1000) +
           " us";
}

std::string report_text(const Json& report)
{
    const bool dry_run{report.at("dryRun").get<bool>()};
    const bool back{report.at("canRollBack").get<bool>()};
    std::string text{module_text(report.at("old")) + (dry_run ? " can be swapped for " : " swapped for ") +
                     module_text(report.at("new")) + "\n" +
                     (back ? "rollback:     possible\n" : "rollback:     not possible: the old one cannot read the new state\n")};
    if (dry_run)
        return text;
    text += "generation:   " + report.at("generation").dump() + "\n";
    text += "blackout:     " + ticks_text(report, "blackoutTicks", "blackoutNanoseconds") + "\n";
    text += "went over:    " + report.at("armedTimers").dump() + " armed timers, " + report.at("overlays").dump() +
            " overlays, " + report.at("continuations").dump() + " open hypercalls\n";
    for (const Json& vcpu : report.at("vcpus"))
        text += "VCPU " + vcpu.at("vcpu").dump() + ":       " +
                (vcpu.at("ran").get<bool>() ? ticks_text(vcpu, "outTicks", "outNanoseconds") : "did not run") + "\n";
    return text;
}

void show(const Json& report, bool json)
{
    print(json ? json_text(report) : report_text(report));
}

}  // namespace

ExitCode run_ext_swap(const Arguments& arguments)
{
    const Json request{{"verb", "ext-swap"},       {"domain", arguments.domain}, {"old", arguments.name},
                       {"new", arguments.file},    {"dryRun", arguments.dry_run}};
    Connection connection{arguments.socket};
    if (arguments.file.find('/') == std::string::npos) {
        show(connection.call(request), arguments.json);
        return ExitCode::done;
    }
    const FileDescriptor file{open_file(arguments.file)};
    const FileDescriptor signature{open_signature(arguments.file)};
    std::vector<int> files{file.number()};
    if (signature.open())
        files.push_back(signature.number());
    show(connection.call(request, files), arguments.json);
    return ExitCode::done;
}

ExitCode run_ext_rollback(const Arguments& arguments)
{
    const Json request{{"verb", "ext-rollback"}, {"domain", arguments.domain}, {"name", arguments.name}};
    show(Connection{arguments.socket}.call(request), arguments.json);
    return ExitCode::done;
}

ExitCode run_ext_inspect(const Arguments& arguments)
{
    const Json request{{"verb", "ext-inspect"}, {"domain", arguments.domain}, {"name", arguments.name}};
    print(json_text(Connection{arguments.socket}.call(request)));
    return ExitCode::done;
}

}  // namespace hv::xl
