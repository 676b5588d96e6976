// SPDX-License-Identifier: MIT
//
// The verbs that do something to one domain.
#include <chrono>
#include <thread>

#include "client/console_client.hpp"
#include "commands/commands.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

using namespace std::chrono_literals;

Json on_domain(const char* verb, const Arguments& arguments)
{
    return {{"verb", verb}, {"domain", arguments.domain}};
}

ExitCode simple(const char* verb, const Arguments& arguments)
{
    Connection connection{arguments.socket};
    const Json result = connection.call(on_domain(verb, arguments));
    if (arguments.json)
        print(json_text(result));
    return ExitCode::done;
}

/// Until the domain of that number has ended or is gone.
void wait_for_end(Connection& connection, const Json& domid, unsigned seconds)
{
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{seconds};
    for (;;) {
        bool there{false};
        const Json all = connection.call({{"verb", "list"}});
        for (const auto& one : all)
            there = there ||
                    (one.at("domid") == domid && one.at("state") != "ended" && one.at("state") != "dying");
        if (!there)
            return;
        if (std::chrono::steady_clock::now() >= deadline)
            throw Failure{ExitCode::timed_out,
                          "the domain still runs after " + std::to_string(seconds) + " seconds"};
        std::this_thread::sleep_for(100ms);
    }
}

ExitCode press_power_button(const char* verb, const Arguments& arguments)
{
    Connection connection{arguments.socket};
    const Json target = connection.call(on_domain("identify", arguments));
    const Json result = connection.call({{"verb", verb}, {"domain", target.at("domid").dump()}});
    if (arguments.wait)
        wait_for_end(connection, target.at("domid"), arguments.timeout);
    if (arguments.json)
        print(json_text(result));
    return ExitCode::done;
}

}  // namespace

ExitCode run_console_verb(const Arguments& arguments)
{
    Connection connection{arguments.socket};
    return run_console(connection, on_domain("console", arguments), {});
}

ExitCode run_destroy(const Arguments& arguments)
{
    return simple("destroy", arguments);
}

ExitCode run_shutdown(const Arguments& arguments)
{
    return press_power_button("shutdown", arguments);
}

ExitCode run_reboot(const Arguments& arguments)
{
    return press_power_button("reboot", arguments);
}

ExitCode run_pause(const Arguments& arguments)
{
    return simple("pause", arguments);
}

ExitCode run_unpause(const Arguments& arguments)
{
    return simple("unpause", arguments);
}

ExitCode run_rename(const Arguments& arguments)
{
    Connection connection{arguments.socket};
    Json request = on_domain("rename", arguments);
    request["name"] = arguments.name;
    const Json result = connection.call(request);
    if (arguments.json)
        print(json_text(result));
    return ExitCode::done;
}

ExitCode run_trigger(const Arguments& arguments)
{
    Connection connection{arguments.socket};
    Json request = on_domain("trigger", arguments);
    request["trigger"] = arguments.trigger;
    request["vcpu"] = arguments.vcpu;
    const Json result = connection.call(request);
    if (arguments.json)
        print(json_text(result));
    return ExitCode::done;
}

}  // namespace hv::xl
