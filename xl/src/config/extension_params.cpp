// SPDX-License-Identifier: MIT
//
// Flattening, and the limits of the control protocol in words of the config.
#include "config/extension_params.hpp"

#include <map>

#include "config/json_text.hpp"
#include "hv/protocol/control.hpp"

namespace hv::xl {
namespace {

void flatten(const Json& object, const std::string& prefix, const std::string& place,
             std::vector<ExtensionParam>& all)
{
    for (const auto& [name, value] : object.items()) {
        const std::string key{prefix + name};
        const std::string here{place + "/" + pointer_step(name)};
        if (value.is_object()) {
            flatten(value, key + ".", here, all);
        } else if (!value.is_array()) {
            all.push_back({key, value, here, here});
        } else if (value.empty()) {
            all.push_back({key, nullptr, here, here});
        } else {
            for (std::size_t i = 0; i < value.size(); ++i)
                all.push_back({key, value[i], here + "/" + std::to_string(i), here});
        }
    }
}

/// Why a value cannot be given to a module, or nothing.
std::string wrong_value(const ExtensionParam& param)
{
    if (param.key.size() >= protocol::name_size)
        return "the key \"" + param.key + "\" has more than " + std::to_string(protocol::name_size - 1) + " bytes";
    if (param.value.is_number_unsigned() && param.value.get<std::uint64_t>() > std::uint64_t{INT64_MAX})
        return "must fit 64 bits with a sign, is " + param.value.dump();
    if (!param.value.is_string())
        return {};
    const auto& text = param.value.get_ref<const std::string&>();
    if (text.size() > protocol::maximum_parameter_text)
        return "must have at most " + std::to_string(protocol::maximum_parameter_text) + " bytes";
    return has_control_character(text) ? "must not hold control characters" : "";
}

}  // namespace

std::vector<ExtensionParam> flat_params(const Json& params)
{
    std::vector<ExtensionParam> all;
    flatten(params, {}, {}, all);
    return all;
}

std::vector<Problem> check_params(const Json& params, const std::string& place)
{
    const std::vector<ExtensionParam> all{flat_params(params)};
    std::vector<Problem> problems;
    std::map<std::string, std::string> owners;
    for (const ExtensionParam& param : all) {
        if (const std::string wrong{wrong_value(param)}; !wrong.empty())
            problems.push_back({wrong, place + param.pointer, {}});
        if (owners.emplace(param.key, param.owner).first->second != param.owner)
            problems.push_back({"the parameter \"" + param.key + "\" is given twice", place + param.pointer, {}});
    }
    if (all.size() > protocol::maximum_parameters)
        problems.push_back({"at most " + std::to_string(protocol::maximum_parameters) +
                                " values can be given to a module, these are " + std::to_string(all.size()),
                            place, {}});
    return problems;
}

}  // namespace hv::xl
