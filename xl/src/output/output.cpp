// SPDX-License-Identifier: MIT
//
// Text for people.
#include "output/output.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace hv::xl {
namespace {

/// Also one with a fraction, and with the unit of seconds_text or of a share.
bool is_number(std::string_view text)
{
    if (text.ends_with('s') || text.ends_with('%'))
        text.remove_suffix(1);
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

std::string colour_of(const std::string& cell)
{
    if (cell == "running" || cell == "runnable")
        return "\x1b[32m";
    if (cell == "paused" || cell == "building" || cell == "blocked")
        return "\x1b[33m";
    if (cell == "ended" || cell == "dying" || cell.starts_with("crash"))
        return "\x1b[31m";
    return {};
}

std::string padded(const std::string& cell, std::size_t width, bool last)
{
    const std::string space(width - cell.size(), ' ');
    if (is_number(cell))
        return space + cell;
    return last ? cell : cell + space;
}

template <typename... Arguments>
std::string formatted(const char* format, Arguments... arguments)
{
    std::array<char, 64> buffer{};
    std::snprintf(buffer.data(), buffer.size(), format, arguments...);
    return buffer.data();
}

}  // namespace

Table::Table(std::vector<std::string> header)
{
    rows_.push_back(std::move(header));
}

void Table::add(std::vector<std::string> row)
{
    rows_.push_back(std::move(row));
}

std::string Table::text(bool colour) const
{
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], row[i].size());
    std::string result;
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            const std::string paint{!colour ? "" : &row == &rows_.front() ? "\x1b[1m" : colour_of(row[i])};
            result +=
                paint + padded(row[i], widths[i], i + 1 == row.size()) + (paint.empty() ? "" : "\x1b[0m");
            result += i + 1 == row.size() ? "\n" : "  ";
        }
    }
    return result;
}

std::string json_text(const Json& json)
{
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string failure_text(const Failure& failure, const std::string& file)
{
    std::string text;
    for (const Problem& problem : failure.problems()) {
        text += "xl: " + (file.empty() ? "" : file + ": ");
        text += (problem.pointer.empty() ? "" : problem.pointer + ": ") + problem.message;
        text += problem.suggestion.empty() ? "\n" : "; did you mean \"" + problem.suggestion + "\"?\n";
    }
    return text;
}

Json failure_output(const Failure& failure)
{
    Json errors = Json::array();
    for (const Problem& problem : failure.problems())
        errors.push_back(
            {{"message", problem.message}, {"pointer", problem.pointer}, {"suggestion", problem.suggestion}});
    Json result{{"error", errors[0]}};
    if (errors.size() > 1)
        result["errors"] = errors;
    return result;
}

std::string short_bytes(std::uint64_t bytes)
{
    static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit{0};
    double value{static_cast<double>(bytes)};
    while (value >= 1024 && unit + 1 < units.size()) {
        value /= 1024;
        ++unit;
    }
    const bool whole{value == static_cast<double>(static_cast<std::uint64_t>(value))};
    return formatted(whole ? "%.0f%s" : "%.1f%s", value, units[unit]);
}

std::string duration_text(std::uint64_t nanoseconds)
{
    const std::uint64_t seconds{nanoseconds / 1'000'000'000};
    return formatted("%llud %02llu:%02llu:%02llu", static_cast<unsigned long long>(seconds / 86400),
                     static_cast<unsigned long long>(seconds / 3600 % 24),
                     static_cast<unsigned long long>(seconds / 60 % 60),
                     static_cast<unsigned long long>(seconds % 60));
}

std::string seconds_text(std::uint64_t nanoseconds)
{
    return formatted("%.1fs", static_cast<double>(nanoseconds) / 1e9);
}

}  // namespace hv::xl
