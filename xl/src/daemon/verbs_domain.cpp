// SPDX-License-Identifier: MIT
//
// The verbs that change domains.
#include <algorithm>

#include "base/suggest.hpp"
#include "daemon/daemon.hpp"
#include "daemon/log.hpp"

namespace hv::xl {

const std::map<std::string, Daemon::Verb>& Daemon::verbs()
{
    static const std::map<std::string, Verb> all{
        {"create", &Daemon::create},       {"console", &Daemon::console},
        {"channel", &Daemon::channel},
        {"destroy", &Daemon::destroy},     {"shutdown", &Daemon::shutdown},
        {"reboot", &Daemon::reboot},       {"pause", &Daemon::pause},
        {"unpause", &Daemon::unpause},     {"rename", &Daemon::rename},
        {"trigger", &Daemon::trigger},     {"list", &Daemon::list},
        {"info", &Daemon::info},           {"dmesg", &Daemon::dmesg},
        {"vcpu-list", &Daemon::vcpu_list}, {"identify", &Daemon::identify},
        {"uptime", &Daemon::uptime},       {"exits", &Daemon::exits},
        {"ext-load", &Daemon::ext_load},   {"ext-unload", &Daemon::ext_unload},
        {"ext-swap", &Daemon::ext_swap},   {"ext-rollback", &Daemon::ext_rollback},
        {"ext-attach", &Daemon::ext_attach}, {"ext-detach", &Daemon::ext_detach},
        {"ext-inspect", &Daemon::ext_inspect}, {"ext-report", &Daemon::ext_report},
        {"ext-core", &Daemon::ext_core},
        {"ext-list", &Daemon::ext_list},   {"ext-names", &Daemon::ext_names}};
    return all;
}

/// The domain that "domain" names: by name, number or UUID.
Task<protocol::DomainInfo> Daemon::target(CallPointer call)
{
    const std::string wanted{call->args.at("domain").get<std::string>()};
    const std::vector<protocol::DomainInfo> all = co_await hypervisor_.domains();
    std::vector<std::string> names;
    for (const protocol::DomainInfo& one : all) {
        Uuid uuid{};
        std::copy(std::begin(one.uuid), std::end(one.uuid), uuid.begin());
        const std::string name{protocol::text_of(one.name)};
        if (name == wanted || std::to_string(one.domain) == wanted ||
            (uuid != Uuid{} && uuid_text(uuid) == wanted))
            co_return one;
        names.push_back(name);
    }
    throw Failure{ExitCode::not_found,
                  {"there is no domain \"" + wanted + "\"", {}, nearest_name(wanted, names)}};
}

Task<DomainPointer> Daemon::target_record(CallPointer call)
{
    const protocol::DomainInfo info = co_await target(call);
    if (info.domain == protocol::control_domain)
        throw Failure{ExitCode::failed, "dom0 is the control domain; this cannot be done to it"};
    const DomainPointer domain{domains_.find(info.domain)};
    if (!domain)
        throw Failure{ExitCode::failed, "the domain \"" + std::string{protocol::text_of(info.name)} +
                                            "\" is being built or destroyed"};
    co_return domain;
}

Task<Json> Daemon::create(CallPointer call)
{
    DomainConfig config{resolve_config(call->args.at("config"), "/")};
    const std::size_t expected{config.boot.ramdisk.empty() ? 1u : 2u};
    if (call->files.size() != expected)
        throw Failure{ExitCode::failed, "create takes the kernel's and the ramdisk's open files"};
    FileDescriptor kernel{std::move(call->files[0])};
    FileDescriptor ramdisk;
    if (expected == 2)
        ramdisk = std::move(call->files[1]);
    Domains::CreateOptions options;
    options.paused = call->args.value("paused", false);
    options.client = call->session;
    options.request = call->id;
    options.attach = call->args.value("attach", false);
    const DomainPointer domain =
        co_await domains_.create(std::move(config), std::move(kernel), std::move(ramdisk), options);
    if (options.attach)
        attach(call, domain);
    co_return Json{{"domid", domain->id}, {"name", domain->name}};
}

Task<Json> Daemon::console(CallPointer call)
{
    const protocol::DomainInfo info = co_await target(call);
    const DomainPointer domain = co_await target_record(call);
    if (info.state == static_cast<std::uint32_t>(protocol::DomainState::ended))
        throw Failure{ExitCode::failed, "the domain \"" + domain->name + "\" has ended: " +
                                            end_text(info.end_reason, protocol::text_of(info.reason))};
    if (!domain->console)
        throw Failure{ExitCode::failed, "the domain \"" + domain->name + "\" has no console"};
    attach(call, domain);
    domain->console->attach(call->session, call->id);
    co_return Json{{"domid", domain->id}, {"name", domain->name}};
}

Task<Json> Daemon::destroy(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    const protocol::DomainId id{domain->id};
    co_await domains_.destroy(domain);
    channels_.domain_ended(id, "destroyed");
    co_return Json::object();
}

/// The channel is the session's, until either goes.
Task<Json> Daemon::channel(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    std::string name{call->args.at("name").get<std::string>()};
    const bool connected = co_await channels_.open(call->session, call->id, domain.domain, std::move(name));
    co_return Json{{"domid", domain.domain}, {"name", protocol::text_of(domain.name)}, {"connected", connected}};
}

Task<Json> Daemon::shutdown(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    co_await hypervisor_.command(protocol::Command::domain_shutdown, domain->id);
    log_info(domain->name + ": power button pressed");
    co_return Json::object();
}

Task<Json> Daemon::reboot(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    co_await domains_.reboot(domain);
    log_info(domain->name + ": power button pressed, to be started again");
    co_return Json::object();
}

Task<Json> Daemon::pause(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    co_await hypervisor_.command(protocol::Command::domain_pause, domain->id);
    co_return Json::object();
}

Task<Json> Daemon::unpause(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    co_await hypervisor_.command(protocol::Command::domain_unpause, domain->id);
    co_return Json::object();
}

Task<Json> Daemon::rename(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    const std::string name{call->args.at("name").get<std::string>()};
    // The rule for names is the schema's: a config of this name must be acceptable.
    static_cast<void>(resolve_config(
        {{"apiVersion", 1}, {"name", name}, {"memory", "64MiB"}, {"boot", {{"kernel", "x"}}}}, "/"));
    co_await domains_.rename(domain, name);
    co_return Json::object();
}

Task<Json> Daemon::trigger(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    const std::string what{call->args.at("trigger").get<std::string>()};
    if (what != "nmi" && what != "reset")
        throw Failure{ExitCode::bad_text, {"there is no trigger \"" + what + "\"", {},
                                           nearest_name(what, std::vector<std::string>{"nmi", "reset"})}};
    co_await hypervisor_.trigger(domain->id,
                                 what == "nmi" ? protocol::Trigger::nmi : protocol::Trigger::reset,
                                 call->args.value("vcpu", 0u));
    co_return Json::object();
}

}  // namespace hv::xl
