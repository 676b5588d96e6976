// SPDX-License-Identifier: MIT
//
// Markdown from the schema.  Rows come in the schema's order; an enum of many names is told by its number and
// listed after the table.
#include "config/reference.hpp"

#include <vector>

namespace hv::xl {
namespace {

constexpr std::size_t most_inline_names{4};

std::string code(const std::string& text)
{
    return "`" + text + "`";
}

std::string names_of(const Json& list)
{
    std::string names;
    for (const auto& one : list)
        names += (names.empty() ? "" : ", ") + code(one.is_string() ? one.get<std::string>() : one.dump());
    return names;
}

std::string range_of(const Json& schema)
{
    if (!schema.contains("minimum"))
        return {};
    return ", " + schema["minimum"].dump() + " to " + schema["maximum"].dump();
}

std::string type_of(const Json& schema)
{
    if (schema.contains("x-refusal"))
        return "refused";
    if (schema.contains("$ref"))
        return "object";
    if (schema.contains("oneOf")) {
        std::string all;
        for (const auto& alternative : schema["oneOf"])
            all += (all.empty() ? "" : ", or ") + type_of(alternative);
        return all;
    }
    if (schema.contains("enum") && schema["enum"].size() <= most_inline_names)
        return names_of(schema["enum"]);
    if (schema.contains("enum"))
        return "one of the names below";
    const std::string type{schema["type"].get<std::string>()};
    if (type == "array")
        return "array of " + type_of(schema["items"]);
    return type + range_of(schema);
}

class Table {
public:
    std::string rows;
    std::string lists;

    void object(const Json& schema, const std::string& prefix)
    {
        for (const char* kind : {"properties", "patternProperties"}) {
            if (!schema.contains(kind))
                continue;
            for (const auto& [name, rule] : schema[kind].items()) {
                const bool pattern{std::string{kind} == "patternProperties"};
                row(prefix + (pattern ? (prefix == "cpuid.leaves." ? "LEAF" : "NAME") : name), rule,
                    is_required(schema, name));
            }
        }
    }

private:
    static bool is_required(const Json& schema, const std::string& name)
    {
        for (const auto& one : schema.value("required", Json::array()))
            if (one == name)
                return true;
        return false;
    }

    void row(const std::string& path, const Json& rule, bool required)
    {
        const std::string fallback{required                   ? "required"
                                   : rule.contains("default") ? code(rule["default"].dump())
                                                              : ""};
        if (rule.contains("description"))
            rows += "| " + code(path) + " | " + type_of(rule) + " | " + fallback + " | " +
                    rule["description"].get<std::string>() + " |\n";
        names(path, rule);
        inner(path, rule);
    }

    void names(const std::string& path, const Json& rule)
    {
        const Json& list = rule.contains("items") ? rule["items"] : rule;
        if (list.contains("enum") && list["enum"].size() > most_inline_names)
            lists += "\nNames for " + code(path) + ": " + names_of(list["enum"]) + ".\n";
    }

    void inner(const std::string& path, const Json& rule)
    {
        if (rule.contains("oneOf"))
            for (const auto& alternative : rule["oneOf"])
                object(alternative, path + ".");
        else if (rule.contains("items") && rule["items"].value("type", Json{}) == "object")
            object(rule["items"], path + "[].");
        else
            object(rule, path + ".");
    }
};

}  // namespace

std::string config_reference(const Json& schema)
{
    Table table;
    table.object(schema, "");
    return "| key | type | default | meaning |\n| --- | --- | --- | --- |\n" + table.rows + table.lists;
}

}  // namespace hv::xl
