// SPDX-License-Identifier: MIT
//
// What happens to domains after they are built: ends, restarts, destruction, and finding them again.
#include "daemon/domains.hpp"

#include <algorithm>
#include <filesystem>

#include "daemon/log.hpp"

namespace hv::xl {
namespace {

using namespace std::chrono_literals;

/// A domain that ends as soon as it starts is not started again faster than this.
constexpr auto shortest_life = 1000ms;

std::string label(const Domain& domain)
{
    return domain.name + " (" + std::to_string(domain.id) + ")";
}

std::optional<EndReason> reason_of(std::uint32_t end_reason)
{
    switch (static_cast<protocol::EndReason>(end_reason)) {
    case protocol::EndReason::poweroff: return EndReason::poweroff;
    case protocol::EndReason::reboot: return EndReason::reboot;
    case protocol::EndReason::halt: return EndReason::halt;
    case protocol::EndReason::crash: return EndReason::crash;
    case protocol::EndReason::none:
    case protocol::EndReason::destroyed: break;
    }
    return std::nullopt;
}

}  // namespace

std::string end_text(std::uint32_t end_reason, std::string_view detail)
{
    if (end_reason == static_cast<std::uint32_t>(protocol::EndReason::none))
        return {};
    const auto reason = reason_of(end_reason);
    if (!reason)
        return "destroyed";
    std::string text{end_reason_name(*reason)};
    if (*reason == EndReason::crash)
        text += ": " + std::string{detail.empty() ? std::string_view{"no details"} : detail};
    return text;
}

DomainPointer Domains::find(protocol::DomainId id) const
{
    const auto found = domains_.find(id);
    return found == domains_.end() ? nullptr : found->second;
}

std::string Domains::log_path(const std::string& name) const
{
    return paths_.logs.empty() ? std::string{} : paths_.logs + "/console-" + name + ".log";
}

void Domains::forget(const DomainPointer& domain)
{
    domain->gone = true;
    domains_.erase(domain->id);
    store_.forget(domain->id);
    if (domain->console)
        domain->console->close_port();
}

void Domains::detach(const Session& session)
{
    for (const auto& [id, domain] : domains_)
        if (domain->console)
            domain->console->detach(session);
}

void Domains::close_consoles()
{
    for (const auto& [id, domain] : domains_)
        if (domain->console)
            domain->console->close_port();
}

Task<void> Domains::destroy(DomainPointer domain)
{
    const auto acquire = domain->lock.acquire();
    const auto guard = co_await acquire;
    if (domain->gone)
        co_return;  // it ended and was destroyed meanwhile, which is what was asked for
    co_await hypervisor_.command(protocol::Command::domain_destroy, domain->id);
    log_info(label(*domain) + " destroyed on request");
    if (domain->console && domain->console->has_listeners())
        co_await domain->console->settle();
    forget(domain);
    if (domain->console)
        domain->console->notify({{"event", "ended"}, {"reason", "destroyed"}, {"action", "destroy"}});
}

Task<void> Domains::rename(DomainPointer domain, std::string name)
{
    const auto acquire = domain->lock.acquire();
    const auto guard = co_await acquire;
    co_await hypervisor_.rename(domain->id, name);
    log_info(label(*domain) + " renamed to " + name);
    domain->name = name;
    domain->config.name = name;
    if (domain->has_config)
        keep(*domain);
    if (domain->console)
        domain->console->log_to(log_path(name));
}

/// A domain that cannot be kept runs all the same; the log tells what the next xld will not know.
void Domains::keep(const Domain& domain) const
{
    try {
        store_.keep({domain.id, domain.config, identity_of(domain.kernel), identity_of(domain.ramdisk),
                     domain.restart_on_poweroff});
    } catch (const Failure& failure) {
        log_error(label(domain) + " would not outlive xld: " + failure.what());
    }
}

Task<void> Domains::reboot(DomainPointer domain)
{
    if (!domain->has_config || !domain->lost_files.empty())
        throw Failure{ExitCode::failed,
                      "\"" + domain->name + "\" cannot be started again: " +
                          (domain->has_config ? domain->lost_files : "an earlier xld made it and left no word of it")};
    const bool before{std::exchange(domain->restart_on_poweroff, true)};
    keep(*domain);
    std::optional<Failure> refused;
    try {
        co_await hypervisor_.command(protocol::Command::domain_shutdown, domain->id);
    } catch (const Failure& failure) {
        refused = failure;
    }
    if (!refused)
        co_return;
    domain->restart_on_poweroff = before;
    if (!domain->gone)
        keep(*domain);
    throw *refused;
}

void Domains::on_ended(const protocol::DomainEndedEvent& event)
{
    if (!find(event.domain))
        unclaimed_ends_[event.domain] = event;
    spawn(ended(event));
}

Task<void> Domains::ended(protocol::DomainEndedEvent event)
{
    const DomainPointer domain{find(event.domain)};
    const auto reason = reason_of(event.end_reason);
    if (!domain || !reason)
        co_return;
    const std::string text{end_text(event.end_reason, protocol::text_of(event.reason))};
    const auto acquire = domain->lock.acquire();
    const auto guard = co_await acquire;
    if (domain->gone || domain->id != event.domain)
        co_return;  // destroyed or restarted while this waited
    try {
        if (domain->console)
            co_await domain->console->settle();
        co_await act_on_end(domain, *reason, text);
    } catch (const Failure& failure) {
        log_error(label(*domain) + ": " + failure.what());
        if (domain->console)
            domain->console->notify({{"event", "ended"}, {"reason", text}, {"action", "destroy"},
                                     {"failure", failure.what()}});
    }
}

Task<void> Domains::act_on_end(DomainPointer domain, EndReason reason, std::string text)
{
    EndAction action{domain->config.on.of(reason)};
    if (domain->restart_on_poweroff && reason == EndReason::poweroff)
        action = EndAction::restart;
    domain->restart_on_poweroff = false;
    if (action == EndAction::restart && (!domain->has_config || !domain->lost_files.empty())) {
        log_warning(label(*domain) + " cannot be restarted: " +
                    (domain->has_config ? domain->lost_files : "it was made by an earlier xld"));
        action = EndAction::destroy;
    }
    log_info(label(*domain) + " ended: " + text + "; " + std::string{end_action_name(action)});
    const Json notice{{"event", action == EndAction::restart ? "restarting" : "ended"},
                      {"reason", text},
                      {"action", end_action_name(action)}};
    if (action == EndAction::preserve) {
        domain->console->notify(notice);
        co_return;
    }
    if (action == EndAction::restart) {
        domain->console->notify(notice);
        co_await restart(domain);
        co_return;
    }
    co_await hypervisor_.command(protocol::Command::domain_destroy, domain->id);
    forget(domain);
    domain->console->notify(notice);
}

Task<void> Domains::restart(DomainPointer domain)
{
    const auto life = EventLoop::Clock::now() - domain->started;
    co_await hypervisor_.command(protocol::Command::domain_destroy, domain->id);
    forget(domain);
    if (life < shortest_life) {
        const auto sleep = loop_.sleep(shortest_life);
        co_await sleep;
    }
    domain->gone = false;
    try {
        co_await build(domain, {});
    } catch (const Failure&) {
        domain->gone = true;
        throw;
    }
}

Task<void> Domains::adopt()
{
    const std::vector<protocol::DomainInfo> present = co_await hypervisor_.domains();
    std::vector<DomainPointer> lost;
    for (const auto& [id, domain] : domains_)
        if (std::none_of(present.begin(), present.end(),
                         [&](const auto& one) { return one.domain == domain->id; }))
            lost.push_back(domain);
    for (const DomainPointer& domain : lost)
        forget(domain);
    std::vector<protocol::DomainId> ids;
    for (const protocol::DomainInfo& info : present) {
        ids.push_back(info.domain);
        if (info.domain != protocol::control_domain && !find(info.domain))
            adopt_one(info);
    }
    store_.forget_all_but(ids);
    unclaimed_ends_.clear();
}

void Domains::adopt_one(const protocol::DomainInfo& info)
{
    auto domain = std::make_shared<Domain>(loop_);
    domain->id = info.domain;
    domain->name = protocol::text_of(info.name);
    domain->started = EventLoop::Clock::now();
    domain->console = std::make_unique<Console>(loop_, log_path(domain->name));
    domain->console->open_port(open_port_(console_port_name(info.console_slot)));
    take_up_stored(*domain, info);
    domains_.emplace(domain->id, domain);
    log_info(label(*domain) + " was there before xld" + (domain->has_config ? "" : ", and its config is not known"));
    // Its end may have been told to nobody, or before it had a record here.
    const auto told = unclaimed_ends_.find(info.domain);
    const bool ended_before{domain->has_config &&
                            info.state == static_cast<std::uint32_t>(protocol::DomainState::ended)};
    if (told == unclaimed_ends_.end() && !ended_before)
        return;
    protocol::DomainEndedEvent event{info.domain, info.end_reason, {}};
    std::copy(std::begin(info.reason), std::end(info.reason), event.reason);
    spawn(ended(told == unclaimed_ends_.end() ? event : told->second));
}

/// What an earlier xld wrote of it, if it is of this very domain.
void Domains::take_up_stored(Domain& domain, const protocol::DomainInfo& info) const
{
    auto stored = store_.find(info.domain);
    if (!stored || !std::equal(stored->config.uuid.begin(), stored->config.uuid.end(), std::begin(info.uuid)))
        return;
    domain.has_config = true;
    domain.config = std::move(stored->config);
    domain.config.name = domain.name;
    domain.restart_on_poweroff = stored->restart_on_poweroff;
    try {
        if (!stored->kernel || (!domain.config.boot.ramdisk.empty() && !stored->ramdisk))
            throw Failure{ExitCode::not_found, "its files were not known any more"};
        domain.kernel = open_again(*stored->kernel);
        if (stored->ramdisk)
            domain.ramdisk = open_again(*stored->ramdisk);
    } catch (const Failure& failure) {
        domain.lost_files = failure.what();
        log_warning(label(domain) + " cannot be built again: " + failure.what());
    }
}

}  // namespace hv::xl
