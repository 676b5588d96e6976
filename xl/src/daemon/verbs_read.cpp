// SPDX-License-Identifier: MIT
//
// The verbs that read.  Each answers with the JSON that `xl -o json` prints.
#include <algorithm>
#include <sstream>

#include "daemon/daemon.hpp"
#include "daemon/json_values.hpp"

namespace hv::xl {
namespace {

std::string state_name(std::uint32_t state)
{
    switch (static_cast<protocol::DomainState>(state)) {
    case protocol::DomainState::building: return "building";
    case protocol::DomainState::paused: return "paused";
    case protocol::DomainState::running: return "running";
    case protocol::DomainState::ended: return "ended";
    case protocol::DomainState::dying: return "dying";
    }
    return "unknown";
}

std::string vcpu_state_name(std::uint32_t state)
{
    switch (static_cast<protocol::VcpuState>(state)) {
    case protocol::VcpuState::running: return "running";
    case protocol::VcpuState::runnable: return "runnable";
    case protocol::VcpuState::blocked: return "blocked";
    case protocol::VcpuState::stopped: return "stopped";
    case protocol::VcpuState::paused: return "paused";
    case protocol::VcpuState::ended: return "ended";
    }
    return "unknown";
}

/// Why a domain ended, or why an extension had it paused; empty for neither.
std::string reason_text(const protocol::DomainInfo& domain)
{
    if (domain.state == static_cast<std::uint32_t>(protocol::DomainState::paused))
        return std::string{protocol::text_of(domain.reason)};
    return end_text(domain.end_reason, protocol::text_of(domain.reason));
}

/// 128 bits in between: ticks of a machine that has been up for months times 10^9 do not fit 64.
Json affinity_json(const std::uint64_t (&words)[protocol::affinity_words])
{
    Json processors = Json::array();
    for (std::size_t bit = 0; bit < protocol::affinity_words * 64; ++bit)
        if ((words[bit / 64] >> (bit % 64) & 1) != 0)
            processors.push_back(bit);
    return processors;
}

Json words_json(std::string_view text)
{
    Json words = Json::array();
    std::istringstream stream{std::string{text}};
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

/// What each extension of the stack says that its parameters came to: a list of words for each key.
void add_settled(Json& stack, const std::vector<protocol::SettledParameter>& parameters)
{
    for (const protocol::SettledParameter& parameter : parameters)
        if (parameter.position < stack.size())
            stack[parameter.position]["settled"][printable(protocol::text_of(parameter.key))].push_back(
                printable(protocol::text_of(parameter.value)));
}

}  // namespace

Task<std::uint64_t> Daemon::ticks_per_second()
{
    if (ticks_per_second_ == 0) {
        const protocol::InfoReply reply = co_await hypervisor_.info();
        ticks_per_second_ = reply.ticks_per_second;
    }
    co_return ticks_per_second_;
}

Task<Json> Daemon::domain_json(protocol::DomainInfo one, bool long_form)
{
    Json extensions = Json::array();
    std::vector<protocol::Binding> bindings;
    std::vector<protocol::SettledParameter> settled;
    if (one.extensions != 0 && one.state != static_cast<std::uint32_t>(protocol::DomainState::dying)) {
        try {
            bindings = co_await hypervisor_.bindings(one.domain);
            if (long_form)
                settled = co_await hypervisor_.settled_parameters(one.domain);
        } catch (const Refused&) {
            // destroyed since the list was made
        }
    }
    for (const protocol::Binding& binding : bindings)
        extensions.push_back(printable(protocol::text_of(binding.module)));
    Uuid uuid{};
    std::copy(std::begin(one.uuid), std::end(one.uuid), uuid.begin());
    const std::string reason{printable(reason_text(one))};
    Json result{{"domid", one.domain},
                {"name", printable(protocol::text_of(one.name))},
                {"uuid", uuid_text(uuid)},
                {"state", state_name(one.state)},
                {"vcpus", one.vcpus},
                {"memoryBytes", one.memory},
                {"extensions", extensions},
                {"reason", reason.empty() ? Json(nullptr) : Json(reason)}};
    if (!long_form)
        co_return result;
    const std::uint64_t rate = co_await ticks_per_second();
    result["memoryOverheadBytes"] = one.memory_overhead;
    result["uptimeNs"] = nanoseconds(one.uptime_ticks, rate);
    result["runNs"] = nanoseconds(one.run_ticks, rate);
    result["exits"] = one.exits;
    result["weight"] = one.weight;
    result["cap"] = one.cap;
    result["affinity"] = affinity_json(one.affinity);
    result["console"] = one.console_slot == 0 ? Json(nullptr) : Json(console_port_name(one.console_slot));
    Json stack = Json::array();
    for (const protocol::Binding& binding : bindings)
        stack.push_back({{"name", printable(protocol::text_of(binding.module))},
                         {"version", printable(protocol::text_of(binding.version))},
                         {"cpuidBase", binding.cpuid_base},
                         {"memoryBytes", binding.memory_bytes},
                         {"settled", Json::object()}});
    add_settled(stack, settled);
    result["bindings"] = stack;
    const DomainPointer record{domains_.find(one.domain)};
    result["config"] = record && record->has_config ? config_json(record->config) : Json(nullptr);
    co_return result;
}

Task<Json> Daemon::list(CallPointer call)
{
    const bool long_form{call->args.value("long", false)};
    Json result = Json::array();
    if (call->args.contains("domain")) {
        const protocol::DomainInfo one = co_await target(call);
        const Json json = co_await domain_json(one, long_form);
        result.push_back(json);
        co_return result;
    }
    const std::vector<protocol::DomainInfo> all = co_await hypervisor_.domains();
    for (const protocol::DomainInfo& one : all) {
        const Json json = co_await domain_json(one, long_form);
        result.push_back(json);
    }
    co_return result;
}

Task<Json> Daemon::info(CallPointer)
{
    const protocol::InfoReply reply = co_await hypervisor_.info();
    co_return Json{{"version", printable(protocol::text_of(reply.version))},
                   {"backend", printable(protocol::text_of(reply.backend))},
                   {"processor", printable(protocol::text_of(reply.processor))},
                   {"processors", reply.processors},
                   {"guestProcessors", reply.guest_processors},
                   {"memoryBytes", reply.memory_total},
                   {"freeMemoryBytes", reply.memory_free},
                   {"hypervisorMemoryBytes", reply.memory_hypervisor},
                   {"ticksPerSecond", reply.ticks_per_second},
                   {"uptimeNs", nanoseconds(reply.uptime_ticks, reply.ticks_per_second)},
                   {"domains", reply.domains},
                   {"maxDomains", reply.maximum_domains},
                   {"maxVcpus", reply.maximum_vcpus},
                   {"features", words_json(printable(protocol::text_of(reply.features)))},
                   {"options", printable(protocol::text_of(reply.options))}};
}

Task<Json> Daemon::dmesg(CallPointer call)
{
    const bool follow{call->args.value("follow", false)};
    std::uint64_t cursor{0};
    std::uint64_t lost{0};
    for (;;) {
        const Hypervisor::LogPiece piece = co_await hypervisor_.read_log(cursor);
        cursor = piece.next;
        lost += piece.lost;
        if (!piece.text.empty())
            call->session->send(FrameType::text, call->id, piece.text);
        if (!call->session->alive() || loop_.stopping())
            break;
        if (!piece.text.empty())
            continue;
        if (!follow)
            break;
        co_await wait_for_log();
    }
    if (call->args.value("clear", false))
        co_await hypervisor_.clear_log();
    co_return Json{{"lost", lost}};
}

Task<Json> Daemon::vcpu_list(CallPointer call)
{
    std::vector<protocol::DomainInfo> wanted;
    if (call->args.contains("domain")) {
        const protocol::DomainInfo one = co_await target(call);
        wanted.push_back(one);
    } else {
        wanted = co_await hypervisor_.domains();
    }
    const std::uint64_t rate = co_await ticks_per_second();
    Json result = Json::array();
    for (const protocol::DomainInfo& domain : wanted) {
        const std::vector<protocol::VcpuInfo> vcpus = co_await hypervisor_.vcpus(domain.domain);
        for (const protocol::VcpuInfo& vcpu : vcpus)
            result.push_back({{"domid", domain.domain},
                              {"name", printable(protocol::text_of(domain.name))},
                              {"vcpu", vcpu.vcpu},
                              {"state", vcpu_state_name(vcpu.state)},
                              {"processor", vcpu.processor == ~0u ? Json(nullptr) : Json(vcpu.processor)},
                              {"apicId", vcpu.apic_id},
                              {"runNs", nanoseconds(vcpu.run_ticks, rate)},
                              {"runnableNs", nanoseconds(vcpu.state_ticks[1], rate)},
                              {"blockedNs", nanoseconds(vcpu.state_ticks[2], rate)},
                              {"offlineNs", nanoseconds(vcpu.state_ticks[3], rate)},
                              {"exits", vcpu.exits},
                              {"affinity", affinity_json(vcpu.affinity)}});
    }
    co_return result;
}

Task<Json> Daemon::identify(CallPointer call)
{
    const protocol::DomainInfo one = co_await target(call);
    co_return Json{{"domid", one.domain}, {"name", printable(protocol::text_of(one.name))}};
}

Task<Json> Daemon::uptime(CallPointer call)
{
    std::vector<protocol::DomainInfo> wanted;
    if (call->args.contains("domain")) {
        const protocol::DomainInfo one = co_await target(call);
        wanted.push_back(one);
    } else {
        wanted = co_await hypervisor_.domains();
    }
    const std::uint64_t rate = co_await ticks_per_second();
    Json result = Json::array();
    for (const protocol::DomainInfo& one : wanted)
        result.push_back({{"domid", one.domain},
                          {"name", printable(protocol::text_of(one.name))},
                          {"uptimeNs", nanoseconds(one.uptime_ticks, rate)}});
    co_return result;
}

}  // namespace hv::xl
