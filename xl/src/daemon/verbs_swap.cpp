// SPDX-License-Identifier: MIT
//
// The verbs about an extension of a running domain: swap it, take the swap back, read its state.
#include <algorithm>
#include <cstring>

#include "base/file.hpp"
#include "base/suggest.hpp"
#include "daemon/daemon.hpp"
#include "daemon/log.hpp"

namespace hv::xl {
namespace {

constexpr std::uint64_t largest_module{64ull << 20};

std::uint64_t nanoseconds(std::uint64_t ticks, std::uint64_t ticks_per_second)
{
    __extension__ using Wide = unsigned __int128;
    if (ticks_per_second == 0)
        return 0;
    return static_cast<std::uint64_t>(Wide{ticks} * 1'000'000'000u / ticks_per_second);
}

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

std::string record_name(std::uint32_t type)
{
    switch (type) {
    case protocol::record_domain_block: return "domain-block";
    case protocol::record_vcpu_block: return "vcpu-block";
    case protocol::record_continuation: return "continuation";
    default: return "module";
    }
}

std::string hex_bytes(std::span<const std::byte> bytes)
{
    constexpr std::string_view digits{"0123456789abcdef"};
    std::string text;
    for (const std::byte byte : bytes) {
        text.push_back(digits[std::to_integer<unsigned>(byte) >> 4]);
        text.push_back(digits[std::to_integer<unsigned>(byte) & 15]);
    }
    return text;
}

/// The words of a block, or the fields by number of a module's own record.
void add_data(Json& json, std::uint32_t type, std::span<const std::byte> data)
{
    if (type < protocol::first_module_record) {
        Json words = Json::array();
        for (std::size_t at = 0; at + 8 <= data.size(); at += 8) {
            std::uint64_t word{};
            std::memcpy(&word, data.data() + at, sizeof word);
            words.push_back(word);
        }
        json["words"] = std::move(words);
        return;
    }
    Json fields = Json::object();
    while (data.size() >= sizeof(protocol::StateField)) {
        protocol::StateField field{};
        std::memcpy(&field, data.data(), sizeof field);
        const std::size_t padded{sizeof field + (std::size_t{field.length} + 3) / 4 * 4};
        if (padded > data.size())
            break;
        fields[std::to_string(field.number)] = hex_bytes(data.subspan(sizeof field, field.length));
        data = data.subspan(padded);
    }
    json["fields"] = std::move(fields);
}

Json records_json(std::span<const std::byte> bytes)
{
    Json records = Json::array();
    while (bytes.size() >= sizeof(protocol::StateRecordHead)) {
        protocol::StateRecordHead header{};
        std::memcpy(&header, bytes.data(), sizeof header);
        const std::size_t padded{sizeof header + (std::size_t{header.length} + 7) / 8 * 8};
        if (padded > bytes.size())
            throw Failure{ExitCode::failed, "the hypervisor's state records are damaged"};
        Json one{{"type", header.type}, {"name", record_name(header.type)}, {"version", header.version},
                 {"bytes", header.length}};
        if (header.vcpu != protocol::record_of_domain)
            one["vcpu"] = header.vcpu;
        add_data(one, header.type, bytes.subspan(sizeof header, header.length));
        records.push_back(std::move(one));
        bytes = bytes.subspan(padded);
    }
    return records;
}

}  // namespace

/// Fails with the nearest right name where the domain has no such extension.
Task<void> Daemon::require_extension(protocol::DomainInfo domain, std::string name)
{
    std::vector<std::string> names;
    std::vector<protocol::Binding> bindings;
    if (domain.domain != protocol::control_domain)
        bindings = co_await hypervisor_.bindings(domain.domain);
    for (const protocol::Binding& binding : bindings)
        names.emplace_back(protocol::text_of(binding.module));
    if (std::find(names.begin(), names.end(), name) == names.end())
        throw Failure{ExitCode::not_found,
                      {"the domain \"" + std::string{protocol::text_of(domain.name)} + "\" has no extension \"" +
                           name + "\"",
                       {}, nearest_name(name, names)}};
}

Task<Json> Daemon::ext_swap(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    const std::string old_name{call->args.at("old").get<std::string>()};
    const std::string new_name{call->args.at("new").get<std::string>()};
    const bool dry_run{call->args.value("dryRun", false)};
    co_await require_extension(domain, old_name);
    std::vector<std::byte> file;
    std::vector<std::byte> signature;
    if (!call->files.empty())
        file = read_whole(call->files[0].number(), largest_module, new_name);
    if (call->files.size() > 1)
        signature = read_whole(call->files[1].number(), largest_module, new_name + ".sig");
    if (!signature.empty() && signature.size() != sizeof protocol::ExtLoadBeginRequest::signature)
        throw Failure{ExitCode::failed, new_name + ".sig has " + std::to_string(signature.size()) +
                                            " bytes, which no signature has"};
    const protocol::InfoReply info = co_await hypervisor_.info();
    const Hypervisor::Swapped swapped = co_await hypervisor_.swap(domain.domain, old_name, new_name, file, signature,
                                                                     dry_run);
    if (!dry_run)
        log_info(std::string{protocol::text_of(domain.name)} + ": extension " + old_name + " swapped for " + new_name);
    co_return swap_json(swapped, info.ticks_per_second, dry_run);
}

Task<Json> Daemon::ext_rollback(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    const std::string name{call->args.at("name").get<std::string>()};
    co_await require_extension(domain, name);
    const protocol::InfoReply info = co_await hypervisor_.info();
    const Hypervisor::Swapped swapped = co_await hypervisor_.roll_back(domain.domain, name);
    log_info(std::string{protocol::text_of(domain.name)} + ": the swap of extension " + name + " is taken back");
    co_return swap_json(swapped, info.ticks_per_second, false);
}

Task<Json> Daemon::ext_inspect(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    const std::string name{call->args.at("name").get<std::string>()};
    co_await require_extension(domain, name);
    const Hypervisor::Inspected state = co_await hypervisor_.inspect(domain.domain, name);
    co_return Json{{"domain", protocol::text_of(domain.name)},
                   {"module", name},
                   {"version", protocol::text_of(state.reply.version)},
                   {"generation", state.reply.generation},
                   {"records", records_json(state.records)}};
}

}  // namespace hv::xl
