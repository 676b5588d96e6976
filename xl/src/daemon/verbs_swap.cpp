// SPDX-License-Identifier: MIT
//
// The verbs about an extension of a running domain: attach it, detach it, swap it, take the swap back, read its state.
#include <algorithm>

#include "base/file.hpp"
#include "base/suggest.hpp"
#include "daemon/daemon.hpp"
#include "daemon/json_values.hpp"
#include "daemon/log.hpp"
#include "output/state_json.hpp"

namespace hv::xl {
namespace {

constexpr std::uint64_t largest_module{64ull << 20};

Json swap_json(const Hypervisor::Swapped& swapped, std::uint64_t ticks_per_second, bool dry_run)
{
    const protocol::ExtSwapReply& reply = swapped.reply;
    Json json{{"old", {{"name", protocol::text_of(reply.old_module)}, {"version", protocol::text_of(reply.old_version)}}},
              {"new", {{"name", protocol::text_of(reply.new_module)}, {"version", protocol::text_of(reply.new_version)}}},
              {"dryRun", dry_run},
              {"canRollBack", (reply.flags & protocol::swap_reverts) != 0}};
    if (dry_run)
        return json;
    json["generation"] = reply.generation;
    json["blackoutTicks"] = reply.blackout_ticks;
    json["blackoutNanoseconds"] = nanoseconds(reply.blackout_ticks, ticks_per_second);
    json["stopTicks"] = reply.stop_ticks;
    json["armedTimers"] = reply.armed_timers;
    json["overlays"] = reply.overlays;
    json["continuations"] = reply.continuations;
    Json vcpus = Json::array();
    for (const protocol::SwappedVcpu& one : swapped.vcpus) {
        const bool ran{one.state == static_cast<std::uint32_t>(protocol::SwappedState::went_on)};
        vcpus.push_back({{"vcpu", one.vcpu},
                         {"ran", ran},
                         {"outTicks", one.out_ticks},
                         {"outNanoseconds", nanoseconds(one.out_ticks, ticks_per_second)}});
    }
    json["vcpus"] = std::move(vcpus);
    return json;
}

}  // namespace

Task<std::vector<std::string>> Daemon::extensions_of(protocol::DomainId domain)
{
    std::vector<std::string> names;
    std::vector<protocol::Binding> bindings;
    if (domain != protocol::control_domain)
        bindings = co_await hypervisor_.bindings(domain);
    for (const protocol::Binding& binding : bindings)
        names.emplace_back(protocol::text_of(binding.module));
    co_return names;
}

/// Fails with the nearest right name where the domain has no such extension.
Task<void> Daemon::require_extension(protocol::DomainInfo domain, std::string name)
{
    const std::vector<std::string> names = co_await extensions_of(domain.domain);
    if (std::find(names.begin(), names.end(), name) == names.end())
        throw Failure{ExitCode::not_found,
                      {"the domain \"" + std::string{protocol::text_of(domain.name)} + "\" has no extension \"" +
                           name + "\"",
                       {}, nearest_name(name, names)}};
}

Task<Json> Daemon::ext_attach(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    const Json extension = call->args.at("extension");
    co_await domains_.attach_extension(domain, extension);
    co_return Json{{"domain", domain->name}, {"attached", extension.at("name")}};
}

Task<Json> Daemon::ext_detach(CallPointer call)
{
    const DomainPointer domain = co_await target_record(call);
    const protocol::DomainInfo info = co_await target(call);
    const std::string name{call->args.at("name").get<std::string>()};
    co_await require_extension(info, name);
    co_await domains_.detach_extension(domain, name);
    co_return Json{{"domain", domain->name}, {"detached", name}};
}

Task<Json> Daemon::swap_one(protocol::DomainInfo domain, std::shared_ptr<const SwapOrder> order)
{
    const protocol::InfoReply info = co_await hypervisor_.info();
    const Hypervisor::Swapped swapped = co_await hypervisor_.swap(domain.domain, order->old_name, order->new_name,
                                                                  order->file, order->signature, order->how);
    if (!order->how.dry_run) {
        log_info(std::string{protocol::text_of(domain.name)} + ": extension " + order->old_name + " swapped for " +
                 order->new_name);
        co_await note_swap(domain.domain, std::string{protocol::text_of(swapped.reply.old_module)},
                           std::string{protocol::text_of(swapped.reply.new_module)});
    }
    co_return swap_json(swapped, info.ticks_per_second, order->how.dry_run);
}

/// Every domain that has it swaps or keeps what it has: one that cannot does not stand in the way of the next.
Task<Json> Daemon::swap_all(std::shared_ptr<const SwapOrder> order)
{
    Json domains = Json::array();
    const std::vector<protocol::DomainInfo> all = co_await hypervisor_.domains();
    for (const protocol::DomainInfo& domain : all) {
        const std::string name{protocol::text_of(domain.name)};
        Json one{{"domain", name}};
        try {
            const std::vector<std::string> names = co_await extensions_of(domain.domain);
            if (std::find(names.begin(), names.end(), order->old_name) == names.end())
                continue;
            Json report = co_await swap_one(domain, order);
            one["report"] = std::move(report);
        } catch (const Failure& failure) {
            one["kept"] = failure.what();
            log_info(name + ": extension " + order->old_name + " is kept: " + failure.what());
        }
        domains.push_back(std::move(one));
    }
    if (domains.empty())
        throw Failure{ExitCode::not_found, "no domain has the extension \"" + order->old_name + "\""};
    co_return Json{{"dryRun", order->how.dry_run}, {"domains", std::move(domains)}};
}

Task<Json> Daemon::ext_swap(CallPointer call)
{
    const bool all{call->args.value("all", false)};
    auto order = std::make_shared<SwapOrder>();
    order->old_name = call->args.at("old").get<std::string>();
    order->new_name = call->args.at("new").get<std::string>();
    order->how.dry_run = call->args.value("dryRun", false);
    order->how.fail_at = call->args.value("failAt", 0u);
    order->how.probation_s = call->args.value("rollbackAfter", 0u);
    protocol::DomainInfo domain{};
    if (!all) {
        domain = co_await target(call);
        co_await require_extension(domain, order->old_name);
    }
    if (!call->files.empty())
        order->file = read_whole(call->files[0].number(), largest_module, order->new_name);
    if (call->files.size() > 1)
        order->signature = read_whole(call->files[1].number(), largest_module, order->new_name + ".sig");
    if (!order->signature.empty() && order->signature.size() != sizeof protocol::ExtLoadBeginRequest::signature)
        throw Failure{ExitCode::failed, order->new_name + ".sig has " + std::to_string(order->signature.size()) +
                                            " bytes, which no signature has"};
    const std::shared_ptr<const SwapOrder> whole{std::move(order)};
    if (all)
        co_return co_await swap_all(whole);
    co_return co_await swap_one(domain, whole);
}

Task<Json> Daemon::ext_rollback(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    const std::string name{call->args.at("name").get<std::string>()};
    co_await require_extension(domain, name);
    const protocol::InfoReply info = co_await hypervisor_.info();
    const Hypervisor::Swapped swapped = co_await hypervisor_.roll_back(domain.domain, name);
    log_info(std::string{protocol::text_of(domain.name)} + ": the swap of extension " + name + " is taken back");
    co_await note_swap(domain.domain, std::string{protocol::text_of(swapped.reply.old_module)},
                            std::string{protocol::text_of(swapped.reply.new_module)});
    co_return swap_json(swapped, info.ticks_per_second, false);
}

/// What an extension counts in its state blocks, by name: a list of what each VCPU has.
Task<Json> Daemon::counters_of(protocol::DomainId domain, std::string module)
{
    const std::vector<protocol::ExitCount> counts = co_await hypervisor_.exit_counts(domain, protocol::ExitTable::counter);
    const std::vector<protocol::Binding> bindings = co_await hypervisor_.bindings(domain);
    Json counters = Json::object();
    for (const protocol::ExitCount& count : counts)
        if (count.flags < bindings.size() && protocol::text_of(bindings[count.flags].module) == module)
            counters[printable(protocol::text_of(count.name))].push_back(count.count);
    co_return counters;
}

Task<Json> Daemon::ext_inspect(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    const std::string name{call->args.at("name").get<std::string>()};
    co_await require_extension(domain, name);
    const Hypervisor::Inspected state = co_await hypervisor_.inspect(domain.domain, name);
    const Json counters = co_await counters_of(domain.domain, name);
    co_return Json{{"domain", protocol::text_of(domain.name)},
                   {"module", name},
                   {"version", protocol::text_of(state.reply.version)},
                   {"generation", state.reply.generation},
                   {"counters", counters},
                   {"records", state_json(state.records)}};
}

}  // namespace hv::xl
