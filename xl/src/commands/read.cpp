// SPDX-License-Identifier: MIT
//
// The verbs that read.  xld answers with JSON; -o json prints it as it is, otherwise it becomes a table or a
// sentence.
#include <algorithm>
#include <sstream>

#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

Json ask(const char* verb, const Arguments& arguments)
{
    Json request{{"verb", verb}};
    if (!arguments.domain.empty())
        request["domain"] = arguments.domain;
    if (arguments.long_form)
        request["long"] = true;
    return Connection{arguments.socket}.call(request);
}

/// Text as it is, anything else as JSON writes it; null is a dash.
std::string cell(const Json& value)
{
    if (value.is_null())
        return "-";
    if (value.is_string())
        return value.get<std::string>();
    if (!value.is_array())
        return value.dump();
    std::string all;
    for (const auto& one : value)
        all += (all.empty() ? "" : ",") + cell(one);
    return all.empty() ? "-" : all;
}

void print_table(const Table& table)
{
    print(table.text(output_is_terminal()));
}

}  // namespace

ExitCode run_list(const Arguments& arguments)
{
    const Json all = ask("list", arguments);
    if (arguments.json || arguments.long_form) {
        print(json_text(all));
        return ExitCode::done;
    }
    Table table{{"ID", "NAME", "STATE", "VCPUS", "MEMORY", "EXTENSIONS", "REASON"}};
    for (const auto& one : all)
        table.add({cell(one.at("domid")), cell(one.at("name")), cell(one.at("state")), cell(one.at("vcpus")),
                   short_bytes(one.at("memoryBytes").get<std::uint64_t>()), cell(one.at("extensions")),
                   cell(one.at("reason"))});
    print_table(table);
    return ExitCode::done;
}

ExitCode run_info(const Arguments& arguments)
{
    const Json info = ask("info", arguments);
    if (arguments.json) {
        print(json_text(info));
        return ExitCode::done;
    }
    const auto mebibytes = [&](const char* key) {
        return std::to_string(info.at(key).get<std::uint64_t>() >> 20) + "MiB";
    };
    const std::string options{cell(info.at("options"))};
    std::ostringstream text;
    text << "version          " << cell(info.at("version")) << "\n"
         << "back end         " << cell(info.at("backend")) << "\n"
         << "processor        " << cell(info.at("processor")) << "\n"
         << "processors       " << info.at("processors") << ", " << info.at("guestProcessors")
         << " for guests\n"
         << "memory           " << mebibytes("memoryBytes") << " for guests, " << mebibytes("freeMemoryBytes")
         << " free\n"
         << "hypervisor       uses " << short_bytes(info.at("hypervisorMemoryBytes").get<std::uint64_t>())
         << " of it\n"
         << "time-stamp clock " << info.at("ticksPerSecond") << " Hz\n"
         << "up               " << duration_text(info.at("uptimeNs").get<std::uint64_t>()) << "\n"
         << "domains          " << info.at("domains") << " of at most " << info.at("maxDomains") << "\n"
         << "features         " << cell(info.at("features")) << "\n"
         << "options          " << (options.empty() ? "-" : options) << "\n";
    print(text.str());
    return ExitCode::done;
}

ExitCode run_dmesg(const Arguments& arguments)
{
    Connection connection{arguments.socket};
    Json lines = Json::array();
    std::string rest;  // of a line that came in two pieces
    const auto on_text = [&](const std::string& text) {
        if (!arguments.json)
            return print(text);
        rest += text;
        for (auto end = rest.find('\n'); end != std::string::npos; end = rest.find('\n')) {
            const Json line(rest.substr(0, end));
            if (arguments.follow)
                print(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
            else
                lines.push_back(line);
            rest.erase(0, end + 1);
        }
    };
    const Json result = connection.call(
        {{"verb", "dmesg"}, {"follow", arguments.follow}, {"clear", arguments.clear}}, {}, on_text);
    if (arguments.json && !arguments.follow)
        print(json_text({{"lines", lines}, {"lost", result.at("lost")}}));
    return ExitCode::done;
}

ExitCode run_vcpu_list(const Arguments& arguments)
{
    const Json all = ask("vcpu-list", arguments);
    if (arguments.json) {
        print(json_text(all));
        return ExitCode::done;
    }
    Table table{{"ID", "NAME", "VCPU", "STATE", "PROCESSOR", "APIC", "TIME", "WAITED", "EXITS", "AFFINITY"}};
    for (const auto& one : all)
        table.add({cell(one.at("domid")), cell(one.at("name")), cell(one.at("vcpu")), cell(one.at("state")),
                   cell(one.at("processor")), cell(one.at("apicId")),
                   seconds_text(one.at("runNs").get<std::uint64_t>()),
                   seconds_text(one.at("runnableNs").get<std::uint64_t>()), cell(one.at("exits")),
                   one.at("affinity").empty() ? "any" : cell(one.at("affinity"))});
    print_table(table);
    return ExitCode::done;
}

ExitCode run_domid(const Arguments& arguments)
{
    const Json one = ask("identify", arguments);
    print(arguments.json ? json_text({{"domid", one.at("domid")}}) : one.at("domid").dump() + "\n");
    return ExitCode::done;
}

ExitCode run_domname(const Arguments& arguments)
{
    const Json one = ask("identify", arguments);
    print(arguments.json ? json_text({{"name", one.at("name")}}) : cell(one.at("name")) + "\n");
    return ExitCode::done;
}

ExitCode run_uptime(const Arguments& arguments)
{
    const Json all = ask("uptime", arguments);
    if (arguments.json) {
        print(json_text(all));
        return ExitCode::done;
    }
    Table table{{"ID", "NAME", "UPTIME"}};
    for (const auto& one : all)
        table.add({cell(one.at("domid")), cell(one.at("name")),
                   duration_text(one.at("uptimeNs").get<std::uint64_t>())});
    print_table(table);
    return ExitCode::done;
}

}  // namespace hv::xl
