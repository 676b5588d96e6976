// SPDX-License-Identifier: MIT
//
// docs/config.md carries the table that the schema makes, and the configs that come with Graft are valid.
// With HV_UPDATE_DOCS set in the environment the table in the file is written anew instead of compared.
#include "config/reference.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/domain_config.hpp"
#include "config/json_text.hpp"
#include "config/schema.hpp"

namespace hv::xl {
namespace {

const std::filesystem::path root{HV_SOURCE_ROOT};
const std::string begin_mark{"<!-- from the schema: begin -->\n"};
const std::string end_mark{"<!-- from the schema: end -->"};

std::string text_of(const std::filesystem::path& path)
{
    std::ifstream file{path};
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

TEST(ConfigDocs, CarryTheTableThatTheSchemaMakes)
{
    const auto path = root / "docs" / "config.md";
    const std::string text{text_of(path)};
    const auto begin = text.find(begin_mark);
    const auto end = text.find(end_mark);
    ASSERT_NE(begin, std::string::npos);
    ASSERT_NE(end, std::string::npos);
    const std::string table{config_reference(domain_schema())};
    const auto start = begin + begin_mark.size();
    if (std::getenv("HV_UPDATE_DOCS") != nullptr)
        std::ofstream{path} << text.substr(0, start) << table << text.substr(end);
    else
        EXPECT_EQ(text.substr(start, end - start), table) << "run this test with HV_UPDATE_DOCS=1";
}

TEST(ConfigDocs, ShippedConfigsAreValidAndNamedAfterTheirFiles)
{
    std::size_t count{0};
    for (const auto& entry : std::filesystem::directory_iterator{root / "configs"}) {
        if (entry.path().extension() != ".json")
            continue;
        SCOPED_TRACE(entry.path());
        const DomainConfig config{resolve_config(parse_json_text(text_of(entry.path())), "/root/configs",
                                                 std::vector<std::string>{"novell", "viridian", "xen-pv"})};
        EXPECT_EQ(config.name, entry.path().stem());
        ++count;
    }
    EXPECT_GE(count, 6u);
}

}  // namespace
}  // namespace hv::xl
