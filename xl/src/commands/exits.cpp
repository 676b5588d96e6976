// SPDX-License-Identifier: MIT
//
// `xl exits`: why a domain leaves guest mode, and with --compare what a swap of an extension has changed in that.
#include <algorithm>
#include <sstream>
#include <vector>

#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

std::string text_of(const Json& value)
{
    return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string hexadecimal(const Json& number)
{
    std::ostringstream text;
    text << "0x" << std::hex << number.get<std::uint64_t>();
    return text.str();
}

std::string reason_label(const Json& row)
{
    const std::string name{text_of(row.at("name"))};
    return name.empty() ? hexadecimal(row.at("key")) : name;
}

/// "0x3f8 write"; what there was no room to count one by one is told together.
std::string access_label(const Json& row)
{
    if (row.at("key") == ~0u)
        return text_of(row.at("name"));
    const std::string name{text_of(row.at("name"))};
    return hexadecimal(row.at("key")) + (row.at("write").get<bool>() ? " write" : " read") +
           (name.empty() ? "" : " " + name);
}

std::string share_text(std::uint64_t part, std::uint64_t whole)
{
    const std::uint64_t tenths{whole == 0 ? 0 : static_cast<std::uint64_t>(1000.0 * static_cast<double>(part) /
                                                                            static_cast<double>(whole) + 0.5)};
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + "%";
}

/// Rows of one kind, the most frequent first.
void add_counts(Table& table, const char* kind, Json rows, std::uint64_t total, std::string (*label)(const Json&))
{
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Json& a, const Json& b) { return a.at("count") > b.at("count"); });
    for (const auto& row : rows)
        table.add({kind, label(row), text_of(row.at("count")),
                   row.contains("write") || std::string_view{kind} == "reason" ? share_text(row.at("count").get<std::uint64_t>(), total) : ""});
}

using Label = std::string (*)(const Json&);
struct Kind {
    const char* shown;
    const char* key;
    Label label;
};
constexpr Kind kinds[]{{"reason", "reasons", reason_label},
                       {"MSR", "msrs", access_label},
                       {"port", "ports", access_label},
                       {"counter", "counters", reason_label}};

/// Of one place, on both sides.
struct Compared {
    std::string what;
    std::uint64_t before{};
    std::uint64_t after{};
};

std::vector<Compared> both_sides(const Json& before, const Json& after, Label label)
{
    std::vector<Compared> all;
    const auto place = [&](const std::string& what) -> Compared& {
        for (Compared& one : all)
            if (one.what == what)
                return one;
        return all.emplace_back(Compared{what});
    };
    for (const auto& row : before)
        place(label(row)).before = row.at("count").get<std::uint64_t>();
    for (const auto& row : after)
        place(label(row)).after = row.at("count").get<std::uint64_t>();
    std::stable_sort(all.begin(), all.end(), [](const Compared& a, const Compared& b) {
        return std::max(a.before, a.after) > std::max(b.before, b.after);
    });
    return all;
}

/// Per second of the domain's time, with one decimal.
double rate_of(std::uint64_t count, const Json& side)
{
    const auto ns = side.at("uptimeNs").get<std::uint64_t>();
    return ns == 0 ? 0.0 : 1e9 * static_cast<double>(count) / static_cast<double>(ns);
}

std::string decimal(double value)
{
    std::ostringstream text;
    text.setf(std::ios::fixed);
    text.precision(1);
    text << value;
    return text.str();
}

std::string change_text(double before, double after)
{
    if (before == 0.0)
        return after == 0.0 ? "-" : "new";
    const double percent{100.0 * (after - before) / before};
    return (percent >= 0 ? "+" : "") + decimal(percent) + "%";
}

void add_compared(Table& table, const char* kind, const Compared& one, const Json& before, const Json& after)
{
    const double then{rate_of(one.before, before)}, now{rate_of(one.after, after)};
    table.add({kind, one.what, std::to_string(one.before), decimal(then), std::to_string(one.after), decimal(now),
               change_text(then, now)});
}

void print_comparison(const Json& compared)
{
    const Json& before = compared.at("before");
    const Json& after = compared.at("after");
    const auto seconds = [](const Json& side, const char* key) {
        return decimal(static_cast<double>(side.at(key).get<std::uint64_t>()) / 1e9) + "s";
    };
    print(text_of(compared.at("name")) + ": before, " + text_of(before.at("extension")) + " for " +
          seconds(before, "uptimeNs") + "; after, " + text_of(after.at("extension")) + " for " +
          seconds(after, "uptimeNs") + "\n");
    Table table{{"BY", "WHAT", "BEFORE", "PER S", "AFTER", "PER S", "CHANGE"}};
    add_compared(table, "all", {"exits", before.at("total"), after.at("total")}, before, after);
    const double busy_then{rate_of(before.at("runNs"), before) / 1e7}, busy_now{rate_of(after.at("runNs"), after) / 1e7};
    table.add({"time", "VCPUs ran", seconds(before, "runNs"), decimal(busy_then) + "%", seconds(after, "runNs"),
               decimal(busy_now) + "%", change_text(busy_then, busy_now)});
    for (const Kind& kind : kinds)
        for (const Compared& one : both_sides(before.at(kind.key), after.at(kind.key), kind.label))
            add_compared(table, kind.shown, one, before, after);
    print(table.text(output_is_terminal()));
}

}  // namespace

ExitCode run_exits(const Arguments& arguments)
{
    const Json exits =
        Connection{arguments.socket}.call({{"verb", "exits"}, {"domain", arguments.domain}, {"compare", arguments.compare}});
    if (arguments.json) {
        print(json_text(exits));
        return ExitCode::done;
    }
    if (arguments.compare) {
        print_comparison(exits);
        return ExitCode::done;
    }
    print(text_of(exits.at("name")) + ": " + text_of(exits.at("total")) + " exits\n");
    const auto total = exits.at("total").get<std::uint64_t>();
    Table table{{"BY", "WHAT", "COUNT", "SHARE"}};
    for (const Kind& kind : kinds)
        add_counts(table, kind.shown, exits.at(kind.key), total, kind.label);
    print(table.text(output_is_terminal()));
    return ExitCode::done;
}

}  // namespace hv::xl
