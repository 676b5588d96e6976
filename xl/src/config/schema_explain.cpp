// SPDX-License-Identifier: MIT
//
// A walk over value and schema together that reports every misfit in words for an operator.  It knows the
// words of JSON Schema that configs/schema uses; a test holds its verdicts against valijson's.  Lengths are
// looked at before patterns: a regular expression never sees more than its field may hold.
#include <algorithm>
#include <regex>

#include "base/suggest.hpp"
#include "config/json_text.hpp"
#include "config/schema.hpp"

namespace hv::xl {
namespace {

constexpr std::size_t longest_pattern_key{64};

std::string type_name(const Json& value)
{
    switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "an array";
    case Json::value_t::string: return "a string";
    case Json::value_t::boolean: return "true or false";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned: return "an integer";
    case Json::value_t::number_float: return "a number with a fraction";
    case Json::value_t::binary:
    case Json::value_t::discarded: break;
    }
    return "something else";
}

std::string type_in_words(const std::string& type)
{
    return type == "boolean" ? "true or false" : (type.find_first_of("aio") == 0 ? "an " : "a ") + type;
}

bool has_type(const Json& value, const std::string& type)
{
    if (type == "object")
        return value.is_object();
    if (type == "array")
        return value.is_array();
    if (type == "string")
        return value.is_string();
    if (type == "integer")
        return value.is_number_integer();
    if (type == "number")
        return value.is_number();
    return type == "boolean" && value.is_boolean();
}

/// The schema that a "$ref" names; references point into `root`.
const Json& resolved(const Json& schema, const Json& root)
{
    if (!schema.contains("$ref"))
        return schema;
    const std::string reference{schema["$ref"].get<std::string>()};
    return resolved(root.at(Json::json_pointer{reference.substr(1)}), root);
}

std::vector<std::string> types_of(const Json& written, const Json& root)
{
    const Json& schema = resolved(written, root);
    std::vector<std::string> types;
    if (schema.contains("type")) {
        const Json& type = schema["type"];
        if (type.is_array())
            for (const auto& one : type)
                types.push_back(one.get<std::string>());
        else
            types.push_back(type.get<std::string>());
    }
    if (schema.contains("oneOf"))
        for (const auto& alternative : schema["oneOf"])
            for (std::string& type : types_of(alternative, root))
                types.push_back(std::move(type));
    return types;
}

std::string joined(const std::vector<std::string>& words)
{
    std::string text;
    for (std::size_t i = 0; i < words.size(); ++i)
        text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
    return text;
}

/// A value as it is quoted in a message: JSON, and not more of it than a line takes.
std::string quote_value(const Json& value)
{
    std::string text{value.dump(-1, ' ', false, Json::error_handler_t::replace)};
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

std::string singular_or_plural(std::uint64_t count, const char* one, const char* many)
{
    return std::to_string(count) + " " + (count == 1 ? one : many);
}

class Walker {
public:
    explicit Walker(const Json& root) : root_{root} {}

    std::vector<Problem> problems;

    void walk(const Json& value, const Json& written, const std::string& pointer)
    {
        const Json& schema = resolved(written, root_);
        if (schema.contains("x-refusal"))
            return report(schema["x-refusal"].get<std::string>(), pointer);
        const auto types = types_of(schema, root_);
        const auto fits = [&](const std::string& type) { return has_type(value, type); };
        if (!types.empty() && std::none_of(types.begin(), types.end(), fits))
            return wrong_type(value, types, schema, pointer);
        if (schema.contains("oneOf"))
            return walk_alternative(value, schema["oneOf"], pointer);
        if (schema.contains("enum"))
            walk_enum(value, schema["enum"], pointer);
        if (value.is_number())
            walk_number(value, schema, pointer);
        else if (value.is_string())
            walk_string(value.get_ref<const std::string&>(), schema, pointer);
        else if (value.is_array())
            walk_array(value, schema, pointer);
        else if (value.is_object())
            walk_object(value, schema, pointer);
    }

private:
    const Json& root_;

    void report(std::string message, const std::string& pointer, std::string suggestion = {})
    {
        problems.push_back({std::move(message), pointer, std::move(suggestion)});
    }

    void wrong_type(const Json& value, const std::vector<std::string>& types, const Json& schema,
                    const std::string& pointer)
    {
        std::vector<std::string> words;
        for (const std::string& type : types)
            words.push_back(type_in_words(type));
        std::string hint;
        if (schema.contains("x-hint"))
            hint = " (" + schema["x-hint"].get<std::string>() + ")";
        report("must be " + joined(words) + hint + ", is " + type_name(value), pointer);
    }

    void walk_alternative(const Json& value, const Json& alternatives, const std::string& pointer)
    {
        for (const auto& alternative : alternatives) {
            const auto types = types_of(alternative, root_);
            if (std::any_of(types.begin(), types.end(),
                            [&](const auto& type) { return has_type(value, type); }))
                return walk(value, alternative, pointer);
        }
    }

    void walk_enum(const Json& value, const Json& allowed, const std::string& pointer)
    {
        if (std::find(allowed.begin(), allowed.end(), value) != allowed.end())
            return;
        std::vector<std::string> names;
        std::vector<std::string> words;
        for (const auto& one : allowed) {
            words.push_back(quote_value(one));
            if (one.is_string())
                names.push_back(one.get<std::string>());
        }
        const std::string nearest{value.is_string() ? nearest_name(value.get_ref<const std::string&>(), names)
                                                    : ""};
        const std::string list{words.size() <= 8 ? "must be " + joined(words)
                                                 : "is not one of the known names"};
        report(list + (words.size() <= 8 ? ", is " : ": ") + quote_value(value), pointer, nearest);
    }

    void walk_number(const Json& value, const Json& schema, const std::string& pointer)
    {
        const bool low{schema.contains("minimum") && value < schema["minimum"]};
        const bool high{schema.contains("maximum") && value > schema["maximum"]};
        if (low || high)
            report("must be from " + quote_value(schema["minimum"]) + " to " +
                       quote_value(schema["maximum"]) + ", is " + quote_value(value),
                   pointer);
    }

    void walk_string(const std::string& text, const Json& schema, const std::string& pointer)
    {
        if (schema.contains("minLength") && text.empty())
            return report("must not be empty", pointer);
        if (schema.contains("maxLength") && text.size() > schema["maxLength"].get<std::size_t>())
            return report("must have at most " +
                              singular_or_plural(schema["maxLength"].get<std::uint64_t>(), "byte", "bytes") +
                              ", has " + std::to_string(text.size()),
                          pointer);
        if (schema.contains("pattern") &&
            !std::regex_search(text, std::regex{schema["pattern"].get<std::string>()}))
            report("must be " + schema["x-hint"].get<std::string>() + ", is " + quote_value(text), pointer);
    }

    void walk_array(const Json& value, const Json& schema, const std::string& pointer)
    {
        if (schema.contains("minItems") && value.size() < schema["minItems"].get<std::size_t>())
            report("must have at least " +
                       singular_or_plural(schema["minItems"].get<std::uint64_t>(), "entry", "entries"),
                   pointer);
        if (schema.contains("maxItems") && value.size() > schema["maxItems"].get<std::size_t>())
            return report(
                "must have at most " +
                    singular_or_plural(schema["maxItems"].get<std::uint64_t>(), "entry", "entries") +
                    ", has " + std::to_string(value.size()),
                pointer);
        for (std::size_t i = 0; i < value.size(); ++i) {
            const std::string place{pointer + "/" + std::to_string(i)};
            if (schema.contains("uniqueItems") &&
                std::find(value.begin(), value.begin() + static_cast<long>(i), value[i]) !=
                    value.begin() + static_cast<long>(i))
                report("is given twice: " + quote_value(value[i]), place);
            if (schema.contains("items"))
                walk(value[i], schema["items"], place);
        }
    }

    void walk_object(const Json& value, const Json& schema, const std::string& pointer)
    {
        if (schema.contains("required"))
            for (const auto& key : schema["required"])
                if (!value.contains(key.get<std::string>()))
                    report("is required", pointer + "/" + key.get<std::string>());
        for (const auto& [key, member] : value.items()) {
            const Json* rule = rule_for(key, schema);
            const std::string place{pointer + "/" + pointer_step(key)};
            if (rule != nullptr)
                walk(member, *rule, place);
            else
                unknown_key(key, schema, place);
        }
    }

    static const Json* rule_for(const std::string& key, const Json& schema)
    {
        if (schema.contains("properties") && schema["properties"].contains(key))
            return &schema["properties"][key];
        if (schema.contains("patternProperties") && key.size() <= longest_pattern_key)
            for (const auto& [pattern, rule] : schema["patternProperties"].items())
                if (std::regex_search(key, std::regex{pattern}))
                    return &rule;
        return nullptr;
    }

    void unknown_key(const std::string& key, const Json& schema, const std::string& place)
    {
        std::vector<std::string> names;
        if (schema.contains("properties"))
            for (const auto& [name, rule] : schema["properties"].items())
                names.push_back(name);
        const std::string hint{schema.contains("x-hint") ? "; must be " + schema["x-hint"].get<std::string>()
                                                         : ""};
        report("unknown key " + quote_value(key) + hint, place, nearest_name(key, names));
    }
};

}  // namespace

const Json& domain_schema()
{
    static const Json schema = Json::parse(domain_schema_text());
    return schema;
}

std::vector<Problem> explain(const Json& value, const Json& schema)
{
    Walker walker{schema};
    walker.walk(value, schema, {});
    return walker.problems;
}

}  // namespace hv::xl
