// SPDX-License-Identifier: MIT
//
// A domain's exits: as they are counted since its creation, and before and after its last swap of an extension.  The counters
// are the hypervisor's; xld notes them whenever it has swapped, so that the two sides of an experiment can be told apart.
#include <algorithm>

#include "daemon/daemon.hpp"
#include "daemon/json_values.hpp"

namespace hv::xl {
namespace {

struct NamedTable {
    const char* key;
    protocol::ExitTable table;
};
constexpr NamedTable tables[]{{"reasons", protocol::ExitTable::reason},
                              {"msrs", protocol::ExitTable::msr},
                              {"ports", protocol::ExitTable::port}};
/// Of tables of rows with `key`, `name` and `count`, all that there are.
constexpr const char* table_keys[]{"reasons", "msrs", "ports", "counters"};

/// One row for each counter of an extension, with what each VCPU has of it.
Json counter_rows(const std::vector<protocol::ExitCount>& counts, const std::vector<protocol::Binding>& bindings)
{
    Json rows = Json::array();
    for (const protocol::ExitCount& count : counts) {
        if (count.flags >= bindings.size())
            continue;  // bound since the list was made
        if (count.key == 0)
            rows.push_back({{"key", 0},
                            {"name", printable(protocol::text_of(bindings[count.flags].module)) + " " +
                                         printable(protocol::text_of(count.name))},
                            {"count", 0},
                            {"vcpus", Json::array()}});
        if (rows.empty())
            continue;
        Json& row = rows.back();
        row["count"] = row["count"].get<std::uint64_t>() + count.count;
        row["vcpus"].push_back(count.count);
    }
    return rows;
}

/// Adds to the rows of MSRs what each VCPU has of them.
void add_vcpus(Json& rows, const std::vector<protocol::ExitCount>& counts, std::uint32_t vcpus)
{
    for (Json& row : rows)
        row["vcpus"] = std::vector<std::uint64_t>(vcpus);
    for (const protocol::ExitCount& count : counts) {
        const std::uint32_t vcpu{count.flags >> protocol::exit_count_vcpu_shift};
        const bool write{(count.flags & protocol::exit_count_write) != 0};
        const auto row = std::find_if(rows.begin(), rows.end(), [&](const Json& one) {
            return one.at("key") == count.key && one.at("write") == write;
        });
        if (row != rows.end() && vcpu < vcpus)  // else it was counted first since the rows were made
            (*row)["vcpus"][vcpu] = count.count;
    }
}

bool same_place(const Json& one, const Json& other)
{
    return one.at("key") == other.at("key") && one.at("name") == other.at("name") && one.value("write", false) == other.value("write", false);
}

/// The rows of `until` less what `from` had already; without those that did not move.
Json rows_between(const Json& from, const Json& until)
{
    Json rows = Json::array();
    for (Json row : until) {
        const auto before = std::find_if(from.begin(), from.end(), [&](const Json& one) { return same_place(one, row); });
        const auto count = row.at("count").get<std::uint64_t>();
        const std::uint64_t less{before == from.end() ? 0 : before->at("count").get<std::uint64_t>()};
        row["count"] = count - std::min(less, count);
        row.erase("vcpus");
        if (row.at("count") != 0)
            rows.push_back(std::move(row));
    }
    return rows;
}

/// One side: the counters' way from one note to another.
Json side(const std::string& extension, const Json& from, const Json& until)
{
    Json result{{"extension", extension}};
    for (const char* const key : {"total", "uptimeNs", "runNs"})
        result[key] = until.at(key).get<std::uint64_t>() - from.at(key).get<std::uint64_t>();
    for (const char* const key : table_keys)
        result[key] = rows_between(from.at(key), until.at(key));
    return result;
}

Json nothing_yet()
{
    Json none{{"total", 0}, {"uptimeNs", 0}, {"runNs", 0}};
    for (const char* const key : table_keys)
        none[key] = Json::array();
    return none;
}

}  // namespace

Task<Json> Daemon::exit_tables(protocol::DomainInfo domain)
{
    Json result{{"domid", domain.domain},
                {"name", printable(protocol::text_of(domain.name))},
                {"total", domain.exits}};
    for (const NamedTable& table : tables) {
        const std::vector<protocol::ExitCount> counts =
            co_await hypervisor_.exit_counts(domain.domain, table.table);
        Json rows = Json::array();
        for (const protocol::ExitCount& count : counts) {
            Json row{{"key", count.key}, {"name", printable(protocol::text_of(count.name))}};
            if (table.table != protocol::ExitTable::reason)
                row["write"] = (count.flags & protocol::exit_count_write) != 0;
            row["count"] = count.count;
            rows.push_back(row);
        }
        result[table.key] = rows;
    }
    const std::vector<protocol::ExitCount> of_vcpus = co_await hypervisor_.exit_counts(domain.domain, protocol::ExitTable::vcpu_msr);
    add_vcpus(result["msrs"], of_vcpus, domain.vcpus);
    std::vector<protocol::ExitCount> counters;
    std::vector<protocol::Binding> bindings;
    if (domain.extensions != 0) {
        counters = co_await hypervisor_.exit_counts(domain.domain, protocol::ExitTable::counter);
        bindings = co_await hypervisor_.bindings(domain.domain);
    }
    result["counters"] = counter_rows(counters, bindings);
    co_return result;
}

/// The counters and the time that goes with them.
Task<Json> Daemon::exit_note(std::uint32_t number)
{
    const std::uint64_t rate = co_await ticks_per_second();
    const std::vector<protocol::DomainInfo> domains = co_await hypervisor_.domains();
    const auto found = std::find_if(domains.begin(), domains.end(),
                                    [&](const protocol::DomainInfo& one) { return one.domain == number; });
    if (found == domains.end())
        throw Failure{ExitCode::not_found, "the domain is gone"};
    Json note = co_await exit_tables(*found);
    std::uint64_t run_ticks{0};
    const std::vector<protocol::VcpuInfo> vcpus = co_await hypervisor_.vcpus(number);
    for (const protocol::VcpuInfo& vcpu : vcpus)
        run_ticks += vcpu.run_ticks;
    note["uptimeNs"] = nanoseconds(found->uptime_ticks, rate);
    note["runNs"] = nanoseconds(run_ticks, rate);
    co_return note;
}

/// After a swap.  What was noted of domains that are gone goes.
Task<void> Daemon::note_swap(std::uint32_t domain, std::string before, std::string after)
{
    Json note;
    std::vector<protocol::DomainInfo> domains;
    try {
        note = co_await exit_note(domain);
        domains = co_await hypervisor_.domains();
    } catch (const Failure&) {
        experiments_.erase(domain);  // the swap is done all the same
        co_return;
    }
    std::erase_if(experiments_, [&](const auto& one) {
        return std::none_of(domains.begin(), domains.end(),
                            [&](const protocol::DomainInfo& info) { return info.domain == one.first; });
    });
    Experiment& experiment = experiments_[domain];
    experiment.began = experiment.swapped.is_null() ? nothing_yet() : std::move(experiment.swapped);
    experiment.swapped = std::move(note);
    experiment.before = std::move(before);
    experiment.after = std::move(after);
}

Task<Json> Daemon::exits(CallPointer call)
{
    const protocol::DomainInfo domain = co_await target(call);
    if (!call->args.value("compare", false))
        co_return co_await exit_tables(domain);
    const std::string name{printable(protocol::text_of(domain.name))};
    const Json now = co_await exit_note(domain.domain);
    const auto found = experiments_.find(domain.domain);
    if (found == experiments_.end() || now.at("uptimeNs") < found->second.swapped.at("uptimeNs"))
        throw Failure{ExitCode::failed, "no extension of domain '" + name + "' was swapped since xld is there: nothing to compare"};
    const Experiment& experiment = found->second;
    co_return Json{{"domid", domain.domain},
                   {"name", name},
                   {"before", side(experiment.before, experiment.began, experiment.swapped)},
                   {"after", side(experiment.after, experiment.swapped, now)}};
}

}  // namespace hv::xl
