// SPDX-License-Identifier: MIT
//
// valijson over the domain schema.  Only what the walk has passed comes here, so its regular expressions see
// short text.
#include <sstream>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>
#pragma GCC diagnostic pop

#include "config/json_text.hpp"
#include "config/schema.hpp"

namespace hv::xl {
namespace {

using Adapter = valijson::adapters::NlohmannJsonAdapter;

const valijson::Schema& parsed_schema()
{
    static const nlohmann::json document = nlohmann::json::parse(domain_schema_text());
    static const auto schema = [] {
        auto made = std::make_unique<valijson::Schema>();
        valijson::SchemaParser parser{valijson::SchemaParser::kDraft7};
        parser.populateSchema(Adapter{document}, *made);
        return made;
    }();
    return *schema;
}

/// valijson writes its places as <root>[a][b].
Problem to_problem(const valijson::ValidationResults::Error& error)
{
    std::string pointer;
    for (const std::string& step : error.context) {
        if (step.size() > 2 && step.front() == '[')
            pointer += "/" + pointer_step(step.substr(1, step.size() - 2));
    }
    return {error.description, pointer, {}};
}

}  // namespace

std::vector<Problem> judge(const Json& value)
{
    const nlohmann::json plain = nlohmann::json::parse(value.dump());
    valijson::Validator validator{valijson::Validator::kStrongTypes};
    valijson::ValidationResults results;
    std::vector<Problem> problems;
    if (validator.validate(parsed_schema(), Adapter{plain}, &results))
        return problems;
    valijson::ValidationResults::Error error;
    while (results.popError(error))
        problems.push_back(to_problem(error));
    if (problems.empty())
        problems.push_back({"does not fit the schema", {}, {}});
    return problems;
}

std::vector<Problem> check_against_schema(const Json& config)
{
    std::vector<Problem> problems{explain(config, domain_schema())};
    return problems.empty() ? judge(config) : problems;
}

}  // namespace hv::xl
