// SPDX-License-Identifier: MIT
//
// Dotted paths into JSON.
#include "config/overrides.hpp"

#include <charconv>
#include <string>
#include <vector>

#include "base/failure.hpp"
#include "config/json_text.hpp"

namespace hv::xl {
namespace {

[[noreturn]] void refuse(std::string_view setting, const std::string& why)
{
    throw Failure{ExitCode::bad_text, std::string{setting} + ": " + why};
}

std::vector<std::string> steps_of(std::string_view path)
{
    std::vector<std::string> steps{""};
    for (const char character : path) {
        if (character == '.')
            steps.emplace_back();
        else
            steps.back() += character;
    }
    return steps;
}

Json value_of(std::string_view setting, std::string_view text)
{
    bool too_deep{};
    const auto watch_depth = [&](int depth, Json::parse_event_t, const Json&) {
        too_deep = too_deep || static_cast<std::size_t>(depth) > deepest_json;
        return true;
    };
    Json value = Json::parse(text.begin(), text.end(), watch_depth, false);
    if (too_deep)
        refuse(setting, "nested deeper than " + std::to_string(deepest_json) + " levels");
    if (value.is_discarded())
        value = std::string{text};
    try {
        static_cast<void>(value.dump());
    } catch (const Json::exception&) {
        refuse(setting, "the value is not UTF-8");
    }
    return value;
}

Json& step_into(Json& place, const std::string& step, std::string_view setting)
{
    if (step.empty())
        refuse(setting, "a step of the path is empty");
    if (place.is_null())
        place = Json::object();
    if (place.is_object())
        return place[step];
    if (!place.is_array())
        refuse(setting, "there is nothing inside a plain value for \"" + step + "\"");
    std::size_t index{};
    const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
    if (error != std::errc{} || end != step.data() + step.size())
        refuse(setting, "\"" + step + "\" is no index of an array");
    if (index > place.size())
        refuse(setting, "the array has " + std::to_string(place.size()) + " entries");
    if (index == place.size())
        place.push_back(nullptr);
    return place[index];
}

}  // namespace

void apply_override(Json& config, std::string_view setting)
{
    const auto equals = setting.find('=');
    if (equals == std::string_view::npos)
        refuse(setting, "a path, = and a value are wanted");
    const Json value = value_of(setting, setting.substr(equals + 1));
    const std::vector<std::string> steps{steps_of(setting.substr(0, equals))};
    if (steps.size() > deepest_json)
        refuse(setting, "nested deeper than " + std::to_string(deepest_json) + " levels");
    Json changed = config;
    Json* place{&changed};
    for (const std::string& step : steps)
        place = &step_into(*place, step, setting);
    *place = value;
    config = changed;
}

}  // namespace hv::xl
