// SPDX-License-Identifier: MIT
//
// The verbs about extension modules.
#include <algorithm>

#include "base/hex.hpp"
#include "base/suggest.hpp"
#include "daemon/daemon.hpp"
#include "daemon/json_values.hpp"
#include "daemon/log.hpp"
#include "hv/loader/names.hpp"

namespace hv::xl {
namespace {

Json summary_json(const protocol::ModuleInfo& module)
{
    return {{"name", printable(protocol::text_of(module.name))},
            {"version", printable(protocol::text_of(module.version))},
            {"abi", std::to_string(module.abi_major) + "." + std::to_string(module.abi_minor)},
            {"hash", hex_text(std::as_bytes(std::span{module.hash}))},
            {"path", printable(protocol::text_of(module.path))},
            {"bindings", module.bindings}};
}

Json services_json(std::uint64_t needs)
{
    Json names = Json::array();
    for (unsigned bit = 0; bit < 64; ++bit) {
        if ((needs >> bit & 1) == 0)
            continue;
        const std::string_view name{loader::need_name(bit)};
        names.push_back(name.empty() ? "bit " + std::to_string(bit) : std::string{name});
    }
    return names;
}

std::string signature_name(std::uint32_t state)
{
    switch (static_cast<protocol::SignatureState>(state)) {
    case protocol::SignatureState::none: return "none";
    case protocol::SignatureState::unchecked: return "unchecked";
    case protocol::SignatureState::good: return "good";
    }
    return "unknown";
}

/// Flag bit 0 says `first_word` or not, bit 1 of a window that it may go without.
Json window_json(const protocol::ModuleRequest& request)
{
    return {{"kind", loader::window_kind_name(request.what)},
            {"label", printable(protocol::text_of(request.label))},
            {"base", request.first},
            {"length", request.count},
            {"fixed", (request.flags & 1) != 0},
            {"optional", (request.flags & 2) != 0}};
}

Json exit_json(const protocol::ModuleRequest& request)
{
    return {{"kind", loader::exit_kind_name(request.what)},
            {"first", request.first},
            {"count", request.count},
            {"instead", (request.flags & 1) != 0}};
}

void add_requests(Json& needs, const std::vector<protocol::ModuleRequest>& requests)
{
    needs["windows"] = Json::array();
    needs["exits"] = Json::array();
    for (const protocol::ModuleRequest& request : requests) {
        const bool window{request.kind == static_cast<std::uint32_t>(protocol::ModuleRequestKind::window)};
        needs[window ? "windows" : "exits"].push_back(window ? window_json(request) : exit_json(request));
    }
}

Json instance_json(const protocol::DomainInfo& domain, const protocol::Binding& binding)
{
    return {{"module", printable(protocol::text_of(binding.module))},
            {"domain", printable(protocol::text_of(domain.name))},
            {"position", binding.position},
            {"placement", placement_name(binding.placement)},
            {"onFault", policy_name(binding.on_fault)},
            {"state", (binding.flags & protocol::binding_ended) != 0 ? "ended" : "running"},
            {"restarts", binding.restarts},
            {"generation", binding.generation},
            {"budgetNanoseconds", binding.budget_ns},
            {"cpuidBase", binding.cpuid_base},
            {"memoryBytes", binding.memory_bytes}};
}

}  // namespace

/// What ext-list -l says beyond the summary.
Task<Json> Daemon::module_json(protocol::ModuleInfo module)
{
    Json json = summary_json(module);
    const std::string signer{printable(protocol::text_of(module.signer))};
    json["description"] = printable(protocol::text_of(module.description));
    json["signature"] = signature_name(module.signature);
    json["signer"] = signer.empty() ? Json{} : Json(signer);
    json["generation"] = module.generation;
    json["fileBytes"] = module.file_size;
    json["memoryBytes"] = module.memory_bytes;
    json["serial"] = (module.flags & protocol::module_serial) != 0;
    const std::vector<protocol::ModuleRequest> requests =
        co_await hypervisor_.module_requests(std::string{protocol::text_of(module.name)});
    json["needs"] = {{"services", services_json(module.needs)}};
    add_requests(json["needs"], requests);
    json["instances"] = Json::array();
    co_return json;
}

/// Each binding, with its module and where it is.
Task<Json> Daemon::instances_json()
{
    Json instances = Json::array();
    const std::vector<protocol::DomainInfo> all = co_await hypervisor_.domains();
    for (const protocol::DomainInfo& domain : all) {
        std::vector<protocol::Binding> bindings;
        try {
            if (domain.extensions != 0)
                bindings = co_await hypervisor_.bindings(domain.domain);
        } catch (const Refused&) {
            // destroyed since the list was made
        }
        for (const protocol::Binding& binding : bindings)
            instances.push_back(instance_json(domain, binding));
    }
    co_return instances;
}

Task<Json> Daemon::ext_list(CallPointer call)
{
    const std::vector<protocol::ModuleInfo> modules = co_await hypervisor_.modules();
    Json result = Json::array();
    if (!call->args.value("long", false)) {
        for (const protocol::ModuleInfo& module : modules)
            result.push_back(summary_json(module));
        co_return result;
    }
    const Json instances = co_await instances_json();
    for (const protocol::ModuleInfo& module : modules) {
        Json one = co_await module_json(module);
        for (Json instance : instances) {
            if (instance["module"] != one["name"])
                continue;
            instance.erase("module");
            one["instances"].push_back(instance);
        }
        result.push_back(one);
    }
    co_return result;
}

Task<Json> Daemon::ext_names(CallPointer)
{
    const std::vector<std::string> names = co_await domains_.known_extensions();
    co_return Json(names);
}

Task<Json> Daemon::ext_load(CallPointer call)
{
    if (call->files.empty() || call->files.size() > 2)
        throw Failure{ExitCode::failed, "ext-load takes one open file, and its signature if it has one"};
    const FileDescriptor file{std::move(call->files[0])};
    const FileDescriptor signature{call->files.size() == 2 ? std::move(call->files[1]) : FileDescriptor{}};
    const std::string path{call->args.at("path").get<std::string>()};
    const protocol::ModuleInfo module =
        co_await domains_.load_extension(file.number(), signature.number(), path);
    co_return Json{{"name", protocol::text_of(module.name)}, {"version", protocol::text_of(module.version)}};
}

Task<Json> Daemon::ext_unload(CallPointer call)
{
    const std::string name{call->args.at("name").get<std::string>()};
    const std::vector<protocol::ModuleInfo> modules = co_await hypervisor_.modules();
    std::vector<std::string> names;
    for (const protocol::ModuleInfo& module : modules)
        names.emplace_back(protocol::text_of(module.name));
    if (std::find(names.begin(), names.end(), name) == names.end())
        throw Failure{ExitCode::not_found,
                      {"no extension \"" + name + "\" is loaded", {}, nearest_name(name, names)}};
    co_await hypervisor_.unload_module(name);
    log_info("extension " + name + " unloaded");
    co_return Json::object();
}

}  // namespace hv::xl
