// SPDX-License-Identifier: MIT
//
// From JSON that fits the schema to DomainConfig, and back.
#include "config/domain_config.hpp"

#include <algorithm>
#include <filesystem>

#include "base/suggest.hpp"
#include "config/byte_size.hpp"
#include "config/extension_params.hpp"
#include "config/json_text.hpp"
#include "config/schema.hpp"
#include "hv/protocol/control.hpp"

namespace hv::xl {
namespace {

constexpr std::string_view control_domain_name{"dom0"};

class Resolver {
public:
    Resolver(const Json& config, const std::string& folder,
             const std::optional<std::vector<std::string>>& known)
        : config_{config}, folder_{folder}, known_{known}
    {
    }

    DomainConfig resolve()
    {
        problems_ = check_against_schema(config_);
        check_extension_names();
        if (!problems_.empty())
            throw Failure{ExitCode::bad_text, problems_};
        DomainConfig result;
        result.name = config_["name"].get<std::string>();
        if (result.name == control_domain_name)
            report("dom0 is the control domain's name", "/name");
        result.uuid =
            config_.contains("uuid") ? *parse_uuid(config_["uuid"].get<std::string>()) : random_uuid();
        result.vcpus = vcpus();
        result.memory_bytes = memory();
        result.boot = boot();
        result.written_cpuid = config_.value("cpuid", Json::object());
        result.cpuid = cpuid_masks(result.written_cpuid, problems_);
        result.extensions = extensions();
        result.on = on();
        if (!problems_.empty())
            throw Failure{ExitCode::bad_text, problems_};
        return result;
    }

private:
    void report(std::string message, std::string pointer, std::string suggestion = {})
    {
        problems_.push_back({std::move(message), std::move(pointer), std::move(suggestion)});
    }

    /// Reported beside the schema's problems, so that an operator sees all of them at once.
    void check_extension_names()
    {
        if (!config_.is_object() || !config_.contains("extensions") || !config_["extensions"].is_array())
            return;
        std::vector<std::string> seen;
        const Json& list = config_["extensions"];
        for (std::size_t i = 0; i < list.size(); ++i) {
            if (!list[i].is_object() || !list[i].contains("name") || !list[i]["name"].is_string())
                continue;
            const std::string name{list[i]["name"].get<std::string>()};
            const std::string pointer{"/extensions/" + std::to_string(i) + "/name"};
            if (std::find(seen.begin(), seen.end(), name) != seen.end())
                report("the extension \"" + name + "\" is given twice", pointer);
            else if (known_ && std::find(known_->begin(), known_->end(), name) == known_->end())
                report("unknown extension \"" + name + "\"", pointer, nearest_name(name, *known_));
            seen.push_back(name);
        }
    }

    VcpuConfig vcpus()
    {
        VcpuConfig result;
        const Json written = config_.value("vcpus", Json(1));
        if (written.is_number()) {
            result.count = written.get<std::uint32_t>();
            return result;
        }
        result.count = written.value("count", result.count);
        result.affinity = written.value("affinity", result.affinity);
        std::sort(result.affinity.begin(), result.affinity.end());
        result.weight = written.value("weight", result.weight);
        result.cap = written.value("cap", result.cap);
        return result;
    }

    std::uint64_t memory()
    {
        const auto bytes = parse_byte_size(config_["memory"].get<std::string>());
        if (!bytes || *bytes < least_memory || *bytes > most_memory)
            report("must be from 2MiB to 1024GiB, is " + config_["memory"].dump(), "/memory");
        else if (*bytes % 4096 != 0)
            report("must be a multiple of 4KiB, is " + config_["memory"].dump(), "/memory");
        return bytes.value_or(0);
    }

    std::string text(const Json& object, const char* key, const char* pointer)
    {
        std::string value{object.value(key, std::string{})};
        if (has_control_character(value))
            report("must not hold control characters", pointer);
        return value;
    }

    std::string path(const Json& object, const char* key, const char* pointer)
    {
        const std::string written{text(object, key, pointer)};
        if (written.empty())
            return written;
        return (std::filesystem::path{folder_} / written).lexically_normal().string();
    }

    BootConfig boot()
    {
        const Json& written = config_["boot"];
        return {path(written, "kernel", "/boot/kernel"), path(written, "ramdisk", "/boot/ramdisk"),
                text(written, "cmdline", "/boot/cmdline")};
    }

    std::vector<ExtensionConfig> extensions()
    {
        std::vector<ExtensionConfig> result;
        for (const auto& written : config_.value("extensions", Json::array())) {
            ExtensionConfig extension;
            extension.name = written["name"].get<std::string>();
            extension.params = written.value("params", Json::object());
            extension.placement = written.value("placement", extension.placement);
            extension.on_fault = written.value("onFault", extension.on_fault);
            const auto wrong =
                check_params(extension.params, "/extensions/" + std::to_string(result.size()) + "/params");
            problems_.insert(problems_.end(), wrong.begin(), wrong.end());
            result.push_back(std::move(extension));
        }
        return result;
    }

    EndActions on() const
    {
        EndActions result;
        const Json written = config_.value("on", Json::object());
        const auto read = [&](const char* key, EndAction& action) {
            const std::string name{written.value(key, std::string{end_action_name(action)})};
            for (const EndAction one : {EndAction::destroy, EndAction::restart, EndAction::preserve})
                if (name == end_action_name(one))
                    action = one;
        };
        read("poweroff", result.poweroff);
        read("reboot", result.reboot);
        read("crash", result.crash);
        read("halt", result.halt);
        return result;
    }

    const Json& config_;
    const std::string& folder_;
    const std::optional<std::vector<std::string>>& known_;
    std::vector<Problem> problems_;
};

Json vcpus_json(const VcpuConfig& vcpus)
{
    Json result{{"count", vcpus.count}};
    if (!vcpus.affinity.empty())
        result["affinity"] = vcpus.affinity;
    result["weight"] = vcpus.weight;
    result["cap"] = vcpus.cap;
    return result;
}

}  // namespace

EndAction EndActions::of(EndReason reason) const
{
    switch (reason) {
    case EndReason::poweroff: return poweroff;
    case EndReason::reboot: return reboot;
    case EndReason::crash: return crash;
    case EndReason::halt: return halt;
    }
    return EndAction::destroy;
}

std::string_view end_action_name(EndAction action)
{
    switch (action) {
    case EndAction::destroy: return "destroy";
    case EndAction::restart: return "restart";
    case EndAction::preserve: return "preserve";
    }
    return "?";
}

std::string_view end_reason_name(EndReason reason)
{
    switch (reason) {
    case EndReason::poweroff: return "poweroff";
    case EndReason::reboot: return "reboot";
    case EndReason::crash: return "crash";
    case EndReason::halt: return "halt";
    }
    return "?";
}

DomainConfig resolve_config(const Json& config, const std::string& folder,
                            const std::optional<std::vector<std::string>>& known_extensions)
{
    return Resolver{config, folder, known_extensions}.resolve();
}

std::uint32_t ExtensionConfig::placement_number() const
{
    using protocol::BindPlacement;
    return static_cast<std::uint32_t>(placement == "isolated" ? BindPlacement::isolated : BindPlacement::trusted);
}

std::uint32_t ExtensionConfig::on_fault_number() const
{
    using protocol::FaultPolicy;
    if (on_fault == "restart")
        return static_cast<std::uint32_t>(FaultPolicy::restart);
    if (on_fault == "detach")
        return static_cast<std::uint32_t>(FaultPolicy::detach);
    return static_cast<std::uint32_t>(on_fault == "pause" ? FaultPolicy::pause : FaultPolicy::crash);
}

Json config_json(const DomainConfig& config)
{
    Json boot{{"kernel", config.boot.kernel}};
    if (!config.boot.ramdisk.empty())
        boot["ramdisk"] = config.boot.ramdisk;
    boot["cmdline"] = config.boot.cmdline;
    Json extensions = Json::array();
    for (const ExtensionConfig& extension : config.extensions)
        extensions.push_back({{"name", extension.name},
                              {"params", extension.params},
                              {"placement", extension.placement},
                              {"onFault", extension.on_fault}});
    return {{"apiVersion", 1},
            {"name", config.name},
            {"uuid", uuid_text(config.uuid)},
            {"vcpus", vcpus_json(config.vcpus)},
            {"memory", byte_size_text(config.memory_bytes)},
            {"boot", boot},
            {"cpuid", config.written_cpuid},
            {"extensions", extensions},
            {"on",
             {{"poweroff", end_action_name(config.on.poweroff)},
              {"reboot", end_action_name(config.on.reboot)},
              {"crash", end_action_name(config.on.crash)},
              {"halt", end_action_name(config.on.halt)}}}};
}

}  // namespace hv::xl
