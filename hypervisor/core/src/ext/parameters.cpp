// SPDX-License-Identifier: MIT
//
// Values of `params` judged by what the module's manifest says of them, before the module sees them.
#include "binding.hpp"

namespace hv::core {
namespace {

std::string_view noun(abi::ParameterKind kind)
{
    if (kind == abi::ParameterKind::boolean)
        return "true or false";
    return kind == abi::ParameterKind::integer ? "an integer" : "a text";
}

bool same_kind(ExtensionParameter::Kind given, abi::ParameterKind wanted)
{
    if (given == ExtensionParameter::Kind::empty_list)
        return true;
    return static_cast<std::uint32_t>(given) + 1 == static_cast<std::uint32_t>(wanted);
}

bool is_choice(std::string_view choices, std::string_view text)
{
    while (!choices.empty()) {
        const std::size_t bar = choices.find('|');
        if (choices.substr(0, bar) == text)
            return true;
        choices = bar == std::string_view::npos ? std::string_view{} : choices.substr(bar + 1);
    }
    return false;
}

Status unknown(const Module& module, std::string_view key, TextWriter& why)
{
    const std::uint32_t count = module.manifest().parameter_count;
    say(why, "extension '", module.name(), "' has no parameter '", key, "'");
    for (std::uint32_t index = 0; index < count; ++index) {
        const abi::ParameterDescription known = module.verified().parameter(index);
        say(why, index == 0 ? "; it knows " : ", ", "'", static_cast<const char*>(known.key), "'");
    }
    if (count == 0)
        say(why, "; it has none");
    return Error::not_found;
}

Status check_text(const abi::ParameterDescription& known, std::string_view text, TextWriter& why)
{
    const std::string_view choices{static_cast<const char*>(known.choices)};
    if (!choices.empty() && !is_choice(choices, text)) {
        say(why, "parameter '", static_cast<const char*>(known.key), "' is '", text, "', and can be one of ",
            choices);
        return Error::invalid_argument;
    }
    const auto length = static_cast<std::int64_t>(text.size());
    if (length < known.minimum || (known.maximum != 0 && length > known.maximum)) {
        say(why, "parameter '", static_cast<const char*>(known.key), "' has ", length,
            " bytes, and can have ", known.minimum, " to ", known.maximum);
        return Error::out_of_range;
    }
    return Done{};
}

}  // namespace

Expected<abi::ParameterKind> check_parameter(const Module& module, const ExtensionParameter& parameter,
                                             unsigned elements, TextWriter& why)
{
    abi::ParameterDescription known{};
    std::uint32_t index{0};
    for (; index < module.manifest().parameter_count; ++index) {
        known = module.verified().parameter(index);
        if (parameter.key == static_cast<const char*>(known.key))
            break;
    }
    if (index == module.manifest().parameter_count || !module.verified().has_hook(0))
        return unknown(module, parameter.key, why).error();
    if (!same_kind(parameter.kind, known.kind)) {
        say(why, "parameter '", parameter.key, "' is ", noun(known.kind));
        return Error::invalid_argument;
    }
    if (elements != 1 && (known.flags & abi::parameter_list) == 0) {
        say(why, "parameter '", parameter.key, "' takes one value, and has ", elements);
        return Error::invalid_argument;
    }
    if (parameter.kind == ExtensionParameter::Kind::text)
        HV_TRY(check_text(known, parameter.text, why));
    if (parameter.kind == ExtensionParameter::Kind::integer &&
        (parameter.number < known.minimum || parameter.number > known.maximum)) {
        say(why, "parameter '", parameter.key, "' is ", parameter.number, ", and can be ", known.minimum,
            " to ", known.maximum);
        return Error::out_of_range;
    }
    return known.kind;
}

}  // namespace hv::core
