// SPDX-License-Identifier: MIT
//
// The hypervisor's command line: see boot_options.hpp.  One table of options; what is suggested comes from
// it.
#include "hv/core/boot/boot_options.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "hv/base/address.hpp"
#include "hv/base/checked.hpp"

namespace hv::core {

namespace {

Status take_control_memory(std::string_view value, BootOptions& options)
{
    const std::uint64_t bytes = HV_TRY(parse_size(value));
    if (bytes < minimum_control_memory || bytes % page_size != 0)
        return Error::out_of_range;
    options.control_memory = bytes;
    return Done{};
}

Status take_console(std::string_view value, BootOptions& options)
{
    if (value == "com1")
        options.console = ConsoleChoice::com1;
    else if (value == "com2")
        options.console = ConsoleChoice::com2;
    else if (value == "none")
        options.console = ConsoleChoice::none;
    else
        return Error::invalid_argument;
    return Done{};
}

Status take_log_level(std::string_view value, BootOptions& options)
{
    for (const LogLevel level : {LogLevel::error, LogLevel::warning, LogLevel::info, LogLevel::debug})
        if (value == log_level_name(level)) {
            options.log_level = level;
            return Done{};
        }
    return Error::invalid_argument;
}

/// A list of words separated by commas; each adds to what earlier ones said.
Status take_extension_policy(std::string_view value, BootOptions& options)
{
    for (;;) {
        const std::string_view word = value.substr(0, value.find(','));
        if (word == "require-signed")
            options.require_signed = true;
        else if (word == "isolated-only")
            options.isolated_only = true;
        else
            return Error::invalid_argument;
        if (word.size() == value.size())
            return Done{};
        value.remove_prefix(word.size() + 1);
    }
}

Status take_hook_budget(std::string_view value, BootOptions& options)
{
    const std::uint64_t budget = HV_TRY(parse_duration(value));
    if (budget == 0)
        return Error::out_of_range;
    options.hook_budget_ns = budget;
    return Done{};
}

Status take_restart_window(std::string_view value, BootOptions& options)
{
    const std::uint64_t window = HV_TRY(parse_duration(value));
    if (window == 0)
        return Error::out_of_range;
    options.restart_window_ns = window;
    return Done{};
}

struct Option {
    std::string_view name;
    std::string_view values;
    Status (*take)(std::string_view value, BootOptions& options);
};

constexpr std::array options_table{
    Option{"dom0_mem", "a size such as 512M or 1G, at least 64M", take_control_memory},
    Option{"console", "com1, com2 or none", take_console},
    Option{"loglvl", "error, warning, info or debug", take_log_level},
    Option{"ext", "isolated-only and require-signed, separated by a comma", take_extension_policy},
    Option{"ext-budget", "a time such as 500us, 1ms or 2s", take_hook_budget},
    Option{"ext-restart-window", "a time such as 10s", take_restart_window},
};

constexpr std::size_t longest_compared{32};

/// How many letters have to be put in, taken out or changed to make one word of the other.
std::size_t edit_distance(std::string_view a, std::string_view b)
{
    a = a.substr(0, longest_compared);
    b = b.substr(0, longest_compared);
    std::array<std::size_t, longest_compared + 1> row{};
    for (std::size_t column = 0; column <= b.size(); ++column)
        row[column] = column;
    for (std::size_t line = 1; line <= a.size(); ++line) {
        std::size_t diagonal = row[0];
        row[0] = line;
        for (std::size_t column = 1; column <= b.size(); ++column) {
            const std::size_t above = row[column];
            const std::size_t changed = diagonal + (a[line - 1] == b[column - 1] ? 0 : 1);
            row[column] = std::min({changed, above + 1, row[column - 1] + 1});
            diagonal = above;
        }
    }
    return row[b.size()];
}

const Option& nearest_option(std::string_view name)
{
    return *std::min_element(options_table.begin(), options_table.end(),
                             [&](const Option& a, const Option& b) {
                                 return edit_distance(name, a.name) < edit_distance(name, b.name);
                             });
}

Status take_word(std::string_view word, BootOptions& options, TextWriter& why)
{
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const auto* const option = std::find_if(options_table.begin(), options_table.end(),
                                            [&](const Option& candidate) { return candidate.name == name; });
    if (option == options_table.end()) {
        say(why, "unknown option \"", word, "\": did you mean ", nearest_option(name).name, "=?");
        return Error::not_found;
    }
    if (equals == word.npos || !option->take(word.substr(equals + 1), options)) {
        say(why, "bad option \"", word, "\": ", name, "= takes ", option->values);
        return Error::invalid_argument;
    }
    return Done{};
}

}  // namespace

Expected<std::uint64_t> parse_duration(std::string_view text)
{
    struct Unit {
        std::string_view name;
        std::uint64_t nanoseconds;
    };
    constexpr std::uint64_t longest{3'600'000'000'000};
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const std::uint64_t number = HV_TRY(parse_size(text.substr(0, digits)));
    for (const Unit& unit : {Unit{"us", 1'000}, Unit{"ms", 1'000'000}, Unit{"s", 1'000'000'000}})
        if (text.substr(digits) == unit.name) {
            if (number > longest / unit.nanoseconds)
                return Error::out_of_range;
            return number * unit.nanoseconds;
        }
    return Error::invalid_argument;
}

Expected<std::uint64_t> parse_size(std::string_view text)
{
    std::uint64_t value{0};
    std::size_t index{0};
    for (; index < text.size() && text[index] >= '0' && text[index] <= '9'; ++index) {
        const auto scaled = checked_multiply<std::uint64_t>(value, 10);
        const auto sum =
            scaled ? checked_add<std::uint64_t>(*scaled, static_cast<std::uint64_t>(text[index] - '0'))
                   : scaled;
        if (!sum)
            return Error::out_of_range;
        value = *sum;
    }
    if (index == 0 || text.size() - index > 1)
        return Error::invalid_argument;
    constexpr std::string_view units{"KMG"};
    const std::size_t unit = index == text.size() ? units.npos : units.find(text[index]);
    if (index != text.size() && unit == units.npos)
        return Error::invalid_argument;
    const std::uint64_t scale = unit == units.npos ? 1 : 1ull << (10 * (unit + 1));
    const auto bytes = checked_multiply(value, scale);
    if (!bytes)
        return Error::out_of_range;
    return *bytes;
}

Status parse_boot_options(std::string_view text, BootOptions& options, TextWriter& why)
{
    constexpr std::string_view blanks{" \t\r\n"};
    for (;;) {
        const std::size_t begin = text.find_first_not_of(blanks);
        if (begin == text.npos)
            return Done{};
        text.remove_prefix(begin);
        const std::string_view word = text.substr(0, text.find_first_of(blanks));
        HV_TRY(take_word(word, options, why));
        text.remove_prefix(word.size());
    }
}

}  // namespace hv::core
