// SPDX-License-Identifier: MIT
//
// The verbs about an extension of a running domain: ext-attach, ext-detach, ext-swap, ext-rollback, ext-inspect.
#include <vector>

#include "base/file.hpp"
#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "commands/module_files.hpp"
#include "config/overrides.hpp"
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

std::string swap_text(const Json& report)
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

std::string all_text(const Json& answer)
{
    std::string text;
    for (const Json& one : answer.at("domains"))
        text += one.at("domain").get<std::string>() +
                (one.contains("kept") ? " keeps what it has: " + one.at("kept").get<std::string>() + "\n"
                                      : ": " + swap_text(one.at("report")));
    return text;
}

void show(const Json& report, bool json)
{
    print(json ? json_text(report) : report.contains("domains") ? all_text(report) : swap_text(report));
}

/// Of an answer about all domains: whether each has done it.
ExitCode exit_code(const Json& report)
{
    for (const Json& one : report.value("domains", Json::array()))
        if (one.contains("kept"))
            return ExitCode::not_granted;
    return ExitCode::done;
}

struct SwapWords {
    std::string domain, old_name, new_name;
};

/// DOMAIN OLD NEW, or with --all OLD NEW.
SwapWords swap_words(const Arguments& arguments)
{
    if (arguments.all && arguments.file.empty())
        return {"", arguments.domain, arguments.name};
    if (arguments.all)
        throw Failure{ExitCode::bad_text, "ext-swap --all takes OLD and NEW, and no domain"};
    if (arguments.file.empty())
        throw Failure{ExitCode::bad_text, "ext-swap takes a domain, OLD and NEW"};
    return {arguments.domain, arguments.name, arguments.file};
}

}  // namespace

ExitCode run_ext_attach(const Arguments& arguments)
{
    Json extension{{"name", arguments.name}, {"params", Json::object()}};
    for (const std::string& setting : arguments.settings)
        apply_override(extension["params"], setting);
    if (!arguments.placement.empty())
        extension["placement"] = arguments.placement;
    if (!arguments.on_fault.empty())
        extension["onFault"] = arguments.on_fault;
    const Json result = Connection{arguments.socket}.call(
        {{"verb", "ext-attach"}, {"domain", arguments.domain}, {"extension", extension}});
    if (arguments.json)
        print(json_text(result));
    return ExitCode::done;
}

ExitCode run_ext_detach(const Arguments& arguments)
{
    const Json result = Connection{arguments.socket}.call(
        {{"verb", "ext-detach"}, {"domain", arguments.domain}, {"name", arguments.name}});
    if (arguments.json)
        print(json_text(result));
    return ExitCode::done;
}

ExitCode run_ext_swap(const Arguments& arguments)
{
    const SwapWords words{swap_words(arguments)};
    const Json request{{"verb", "ext-swap"},    {"domain", words.domain},      {"old", words.old_name},
                       {"new", words.new_name}, {"dryRun", arguments.dry_run}, {"all", arguments.all},
                       {"rollbackAfter", arguments.rollback_after}, {"failAt", arguments.fail_at}};
    Connection connection{arguments.socket};
    FileDescriptor file;
    FileDescriptor signature;
    std::vector<int> files;
    if (words.new_name.find('/') != std::string::npos) {
        file = open_file(words.new_name);
        signature = open_signature(words.new_name);
        files.push_back(file.number());
    }
    if (signature.open())
        files.push_back(signature.number());
    const Json report = connection.call(request, files);
    show(report, arguments.json);
    return exit_code(report);
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
