// SPDX-License-Identifier: MIT
//
// The explaining walk and valijson agree on what is valid, and the schema's names are those of the code.
#include "config/schema.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "config/cpuid_masks.hpp"
#include "config/domain_config.hpp"

namespace hv::xl {
namespace {

Json full()
{
    return Json::parse(R"({"apiVersion": 1, "name": "web1", "uuid": "3f0c5f0e-7a55-4a0e-9d0f-0a4b1c2d3e4f",
        "vcpus": {"count": 2, "affinity": [1, 2], "weight": 3, "cap": 50}, "memory": "64MiB",
        "boot": {"kernel": "k", "ramdisk": "r", "cmdline": "c"},
        "cpuid": {"hide": ["avx"], "leaves": {"0x7:0": {"ebx": {"clear": "0x20"}}}},
        "extensions": [{"name": "a", "params": {"x": 1, "y": ["a", 2], "z": {"w": {"v": true}}}}, {"name": "b"}],
        "on": {"poweroff": "destroy", "reboot": "restart", "crash": "preserve", "halt": "destroy"}})");
}

/// The value and everything in it, by pointer.
void pointers_of(const Json& value, const Json::json_pointer& here, std::vector<Json::json_pointer>& all)
{
    all.push_back(here);
    if (value.is_object())
        for (const auto& [key, member] : value.items())
            pointers_of(member, here / key, all);
    else if (value.is_array())
        for (std::size_t i = 0; i < value.size(); ++i)
            pointers_of(value[i], here / i, all);
}

TEST(DomainSchema, AcceptsAFullConfig)
{
    EXPECT_TRUE(explain(full(), domain_schema()).empty());
    EXPECT_TRUE(judge(full()).empty());
}

TEST(DomainSchema, WalkAndJudgeAgreeWhereverAValueIsReplaced)
{
    const std::vector<Json> replacements{nullptr,
                                         true,
                                         0,
                                         -1,
                                         65,
                                         1.5,
                                         "",
                                         "x",
                                         "512MiB",
                                         Json::array(),
                                         {1},
                                         {"x"},
                                         Json::object(),
                                         {{"x", 1}},
                                         std::string(5000, 'x')};
    std::vector<Json::json_pointer> places;
    pointers_of(full(), Json::json_pointer{}, places);
    std::size_t refused{0};
    for (const auto& place : places) {
        for (const Json& replacement : replacements) {
            Json changed = full();
            changed[place] = replacement;
            const bool valid{explain(changed, domain_schema()).empty()};
            EXPECT_EQ(valid, judge(changed).empty())
                << place.to_string() << " = " << replacement.dump(-1).substr(0, 40);
            refused += valid ? 0 : 1;
        }
    }
    EXPECT_GT(refused, places.size());
}

TEST(DomainSchema, NamesExactlyTheFeaturesThatTheCodeKnows)
{
    std::vector<std::string> named =
        domain_schema()["properties"]["cpuid"]["properties"]["hide"]["items"]["enum"];
    std::vector<std::string> known;
    for (const CpuidFeature& feature : cpuid_features())
        known.emplace_back(feature.name);
    std::sort(named.begin(), named.end());
    std::sort(known.begin(), known.end());
    EXPECT_EQ(named, known);
}

TEST(CpuidMasks, HideClearsTheFeaturesBitAlone)
{
    std::vector<Problem> problems;
    const auto masks = cpuid_masks(Json::parse(R"({"hide": ["avx2", "smep", "rdtscp"]})"), problems);
    ASSERT_TRUE(problems.empty());
    ASSERT_EQ(masks.size(), 2u);
    EXPECT_EQ(masks[0].leaf, 7u);
    EXPECT_EQ(masks[0].subleaf, 0u);
    EXPECT_EQ(masks[0].keep[1], ~((1u << 5) | (1u << 7)));
    EXPECT_EQ(masks[1].leaf, 0x8000'0001u);
    EXPECT_EQ(masks[1].subleaf, 0u);
    EXPECT_EQ(masks[1].keep[3], ~(1u << 27));
}

TEST(CpuidMasks, ALeafClearsAndSets)
{
    std::vector<Problem> problems;
    const auto masks = cpuid_masks(
        Json::parse(
            R"({"leaves": {"0xd:0x1": {"eax": {"clear": "0xff", "set": "0x100"}}, "0x80000008": {}}})"),
        problems);
    ASSERT_EQ(masks.size(), 2u);
    EXPECT_EQ(masks[0].leaf, 0xdu);
    EXPECT_EQ(masks[0].subleaf, 1u);
    EXPECT_EQ(masks[0].keep[0], 0xffff'ff00u);
    EXPECT_EQ(masks[0].set[0], 0x100u);
    EXPECT_EQ(masks[1].subleaf, 0u);
}

}  // namespace
}  // namespace hv::xl
