// SPDX-License-Identifier: MIT
//
// Configs that are right and configs that are wrong in every key.
#include "config/domain_config.hpp"

#include <gtest/gtest.h>

#include "config/byte_size.hpp"
#include "config/extension_params.hpp"
#include "config/json_text.hpp"

namespace hv::xl {
namespace {

Json least()
{
    return parse_json_text(
        R"({"apiVersion": 1, "name": "web1", "memory": "64MiB", "boot": {"kernel": "vmlinuz"}})");
}

/// Every problem as "pointer|suggestion|message"; empty when the config is accepted.
std::vector<Problem> problems_of(const Json& config,
                                 const std::optional<std::vector<std::string>>& known = {})
{
    try {
        static_cast<void>(resolve_config(config, "/configs", known));
    } catch (const Failure& failure) {
        EXPECT_EQ(failure.code(), ExitCode::bad_text);
        return failure.problems();
    }
    return {};
}

TEST(DomainConfig, FillsInTheDefaultsOfInterfaces)
{
    const DomainConfig config{resolve_config(least(), "/configs")};
    EXPECT_EQ(config.vcpus.count, 1u);
    EXPECT_EQ(config.memory_bytes, 64ull << 20);
    EXPECT_EQ(config.boot.kernel, "/configs/vmlinuz");
    EXPECT_EQ(config.on.poweroff, EndAction::destroy);
    EXPECT_EQ(config.on.reboot, EndAction::restart);
    EXPECT_EQ(config.on.crash, EndAction::destroy);
    EXPECT_EQ(config.on.halt, EndAction::destroy);
}

TEST(DomainConfig, DrawsARandomUuidOfVersion4)
{
    const DomainConfig first{resolve_config(least(), "/")};
    const DomainConfig second{resolve_config(least(), "/")};
    EXPECT_NE(first.uuid, second.uuid);
    EXPECT_EQ(first.uuid[6] >> 4, 4);
    EXPECT_EQ(first.uuid[8] >> 6, 2);
}

TEST(DomainConfig, ResolvedJsonIsAConfigThatResolvesToItself)
{
    Json config = least();
    config["vcpus"] = {{"count", 3}, {"affinity", {2, 1}}, {"weight", 512}, {"cap", 150}};
    config["cpuid"] = {{"hide", {"avx2"}}, {"leaves", {{"0x1:0", {{"ecx", {{"clear", "0x8"}}}}}}}};
    config["extensions"] = {{{"name", "viridian"}, {"params", {{"spin", 7}, {"mode", "x"}, {"on", true}}}}};
    config["on"] = {{"crash", "preserve"}};
    const Json once = config_json(resolve_config(config, "/a"));
    EXPECT_EQ(config_json(resolve_config(once, "/b")), once);
    EXPECT_EQ(once["boot"]["kernel"], "/a/vmlinuz");
}

TEST(DomainConfig, KeepsParametersWithTheirTypesAndOrder)
{
    Json config = least();
    config["extensions"] = {{{"name", "novell"}, {"params", {{"spin", 7}, {"mode", "x"}, {"on", true}}}}};
    EXPECT_EQ(resolve_config(config, "/").extensions.at(0).params.dump(),
              R"({"spin":7,"mode":"x","on":true})");
}

TEST(DomainConfig, ReportsAllErrorsAtOnce)
{
    Json config = least();
    config["vcpu"] = 2;
    config["memory"] = 64;
    config["on"] = {{"crash", "destory"}};
    const auto problems = problems_of(config);
    ASSERT_EQ(problems.size(), 3u);
    EXPECT_EQ(problems[0].pointer, "/memory");
    EXPECT_EQ(problems[1].pointer, "/vcpu");
    EXPECT_EQ(problems[1].suggestion, "vcpus");
    EXPECT_EQ(problems[2].pointer, "/on/crash");
    EXPECT_EQ(problems[2].suggestion, "destroy");
}

TEST(DomainConfig, NamesTheNearestKnownExtension)
{
    Json config = least();
    config["extensions"] = {{{"name", "viridan"}}};
    const auto problems = problems_of(config, std::vector<std::string>{"novell", "viridian"});
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].pointer, "/extensions/0/name");
    EXPECT_EQ(problems[0].suggestion, "viridian");
    EXPECT_TRUE(problems_of(config).empty());  // nobody knows which ones there are
}

struct WrongConfig {
    const char* name;
    const char* patch;    ///< RFC 7396: merged into the least config
    const char* pointer;
    const char* suggestion;
};

class WrongConfigs : public testing::TestWithParam<WrongConfig> {};

TEST_P(WrongConfigs, AreRefusedAtTheirPlace)
{
    Json config = least();
    config.merge_patch(Json::parse(GetParam().patch));
    const auto problems = problems_of(config);
    ASSERT_EQ(problems.size(), 1u) << config.dump();
    EXPECT_EQ(problems[0].pointer, GetParam().pointer);
    EXPECT_EQ(problems[0].suggestion, GetParam().suggestion);
    EXPECT_FALSE(problems[0].message.empty());
}

INSTANTIATE_TEST_SUITE_P(
    , WrongConfigs,
    testing::Values(
        WrongConfig{"VersionMissing", R"({"apiVersion": null})", "/apiVersion", ""},
        WrongConfig{"VersionUnknown", R"({"apiVersion": 2})", "/apiVersion", ""},
        WrongConfig{"VersionAText", R"({"apiVersion": "1"})", "/apiVersion", ""},
        WrongConfig{"NameMissing", R"({"name": null})", "/name", ""},
        WrongConfig{"NameWithSlash", R"({"name": "../x"})", "/name", ""},
        WrongConfig{"NameOfDigits", R"({"name": "12"})", "/name", ""},
        WrongConfig{"NameTooLong", R"({"name": "abcdefghijklmnopqrstuvwxyzabcdef"})", "/name", ""},
        WrongConfig{"NameOfDom0", R"({"name": "dom0"})", "/name", ""},
        WrongConfig{"UuidShort", R"({"uuid": "3f0c5f0e"})", "/uuid", ""},
        WrongConfig{"UuidNotHex", R"({"uuid": "3f0c5f0e-7a55-4a0e-9d0f-0a4b1c2d3e4g"})", "/uuid", ""},
        WrongConfig{"NoVcpu", R"({"vcpus": 0})", "/vcpus", ""},
        WrongConfig{"TooManyVcpus", R"({"vcpus": 65})", "/vcpus", ""},
        WrongConfig{"VcpusAText", R"({"vcpus": "2"})", "/vcpus", ""},
        WrongConfig{"VcpusAFraction", R"({"vcpus": 1.5})", "/vcpus", ""},
        WrongConfig{"VcpuCountTooLarge", R"({"vcpus": {"count": 65}})", "/vcpus/count", ""},
        WrongConfig{"VcpuKeyMisspelt", R"({"vcpus": {"wieght": 1}})", "/vcpus/wieght", "weight"},
        WrongConfig{"AffinityEmpty", R"({"vcpus": {"affinity": []}})", "/vcpus/affinity", ""},
        WrongConfig{"AffinityTwice", R"({"vcpus": {"affinity": [1, 1]}})", "/vcpus/affinity/1", ""},
        WrongConfig{"AffinityNegative", R"({"vcpus": {"affinity": [-1]}})", "/vcpus/affinity/0", ""},
        WrongConfig{"WeightZero", R"({"vcpus": {"weight": 0}})", "/vcpus/weight", ""},
        WrongConfig{"CapNegative", R"({"vcpus": {"cap": -1}})", "/vcpus/cap", ""},
        WrongConfig{"MemoryWithoutUnit", R"({"memory": "64"})", "/memory", ""},
        WrongConfig{"MemoryDecimalUnit", R"({"memory": "64MB"})", "/memory", ""},
        WrongConfig{"MemoryWithBlank", R"({"memory": "64 MiB"})", "/memory", ""},
        WrongConfig{"MemoryZero", R"({"memory": "0MiB"})", "/memory", ""},
        WrongConfig{"MemoryTooSmall", R"({"memory": "1MiB"})", "/memory", ""},
        WrongConfig{"MemoryTooLarge", R"({"memory": "1025GiB"})", "/memory", ""},
        WrongConfig{"MemoryOverflow", R"({"memory": "999999999999GiB"})", "/memory", ""},
        WrongConfig{"MemoryNotPages", R"({"memory": "4097KiB"})", "/memory", ""},
        WrongConfig{"BootMissing", R"({"boot": null})", "/boot", ""},
        WrongConfig{"KernelMissing", R"({"boot": {"kernel": null}})", "/boot/kernel", ""},
        WrongConfig{"KernelEmpty", R"({"boot": {"kernel": ""}})", "/boot/kernel", ""},
        WrongConfig{"KernelWithNul", R"({"boot": {"kernel": "a\u0000b"}})", "/boot/kernel", ""},
        WrongConfig{"BootKeyMisspelt", R"({"boot": {"initrd": "x"}})", "/boot/initrd", ""},
        WrongConfig{"CmdlineNotText", R"({"boot": {"cmdline": ["quiet"]}})", "/boot/cmdline", ""},
        WrongConfig{"CmdlineWithNewline", R"({"boot": {"cmdline": "a\nb"}})", "/boot/cmdline", ""},
        WrongConfig{"FeatureUnknown", R"({"cpuid": {"hide": ["avx3"]}})", "/cpuid/hide/0", "avx"},
        WrongConfig{"FeatureTwice", R"({"cpuid": {"hide": ["avx", "avx"]}})", "/cpuid/hide/1", ""},
        WrongConfig{"LeafNotHex", R"({"cpuid": {"leaves": {"7": {}}}})", "/cpuid/leaves/7", ""},
        WrongConfig{"LeafOfExtensions", R"({"cpuid": {"leaves": {"0x40000000": {}}}})",
                    "/cpuid/leaves/0x40000000", ""},
        WrongConfig{"RegisterUnknown", R"({"cpuid": {"leaves": {"0x7:0": {"ebz": {}}}}})",
                    "/cpuid/leaves/0x7:0/ebz", "ebx"},
        WrongConfig{"MaskNotHex", R"({"cpuid": {"leaves": {"0x7:0": {"ebx": {"clear": "20"}}}}})",
                    "/cpuid/leaves/0x7:0/ebx/clear", ""},
        WrongConfig{"BitClearedAndSet",
                    R"({"cpuid": {"leaves": {"0x7:0": {"ebx": {"clear": "0x20", "set": "0x20"}}}}})",
                    "/cpuid/leaves/0x7:0/ebx", ""},
        WrongConfig{"BitHiddenAndSet",
                    R"({"cpuid": {"hide": ["avx2"], "leaves": {"0x7:0": {"ebx": {"set": "0x20"}}}}})",
                    "/cpuid/leaves/0x7:0/ebx", ""},
        WrongConfig{"LeafInTwoSpellings", R"({"cpuid": {"leaves": {"0x7:0": {}, "0x07:0x0": {}}}})",
                    "/cpuid/leaves/0x07:0x0", ""},
        WrongConfig{"ExtensionWithoutName", R"({"extensions": [{}]})", "/extensions/0/name", ""},
        WrongConfig{"ExtensionAText", R"({"extensions": ["viridian"]})", "/extensions/0", ""},
        WrongConfig{"ExtensionNameAPath", R"({"extensions": [{"name": "../x"}]})", "/extensions/0/name", ""},
        WrongConfig{"ExtensionTwice", R"({"extensions": [{"name": "a"}, {"name": "a"}]})",
                    "/extensions/1/name", ""},
        WrongConfig{"ParameterNull", R"({"extensions": [{"name": "a", "params": {"x": [1, null]}}]})",
                    "/extensions/0/params/x/1", ""},
        WrongConfig{"ParameterAListOfLists", R"({"extensions": [{"name": "a", "params": {"x": [[1]]}}]})",
                    "/extensions/0/params/x/0", ""},
        WrongConfig{"ParameterInAnObjectWrong",
                    R"({"extensions": [{"name": "a", "params": {"x": {"y": {"z": [true, 1.5]}}}}]})",
                    "/extensions/0/params/x/y/z/1", ""},
        WrongConfig{"ParameterInTwoSpellings",
                    R"({"extensions": [{"name": "a", "params": {"x": {"y": 1}, "x.y": 2}}]})",
                    "/extensions/0/params/x.y", ""},
        WrongConfig{"ParameterKeyTooLong",
                    R"({"extensions": [{"name": "a", "params": {"a23456789012345678901234567890":
                        {"b23456789012345678901234567890": {"c2": 1}}}}]})",
                    "/extensions/0/params/a23456789012345678901234567890/b23456789012345678901234567890/c2", ""},
        WrongConfig{"ParameterControlCharacterInAList",
                    R"({"extensions": [{"name": "a", "params": {"x": ["a", "b\n"]}}]})", "/extensions/0/params/x/1",
                    ""},
        WrongConfig{"ParameterAFraction", R"({"extensions": [{"name": "a", "params": {"x": 1.5}}]})",
                    "/extensions/0/params/x", ""},
        WrongConfig{"ParameterTooLarge",
                    R"({"extensions": [{"name": "a", "params": {"x": 9223372036854775808}}]})",
                    "/extensions/0/params/x", ""},
        WrongConfig{"ParameterNameWrong", R"({"extensions": [{"name": "a", "params": {"a/b": 1}}]})",
                    "/extensions/0/params/a~1b", ""},
        WrongConfig{"PlacementUnknown", R"({"extensions": [{"name": "a", "placement": "isolatet"}]})",
                    "/extensions/0/placement", "isolated"},
        WrongConfig{"OnFaultUnknown", R"({"extensions": [{"name": "a", "onFault": "detatch"}]})",
                    "/extensions/0/onFault", "detach"},
        WrongConfig{"OnValueUnknown", R"({"on": {"halt": "preserv"}})", "/on/halt", "preserve"},
        WrongConfig{"OnKeyUnknown", R"({"on": {"powerof": "destroy"}})", "/on/powerof", "poweroff"},
        WrongConfig{"OnNotAnObject", R"({"on": "restart"})", "/on", ""}),
    [](const auto& one) { return std::string{one.param.name}; });

TEST(DomainConfig, FlattensParametersAsModulesKnowThem)
{
    const Json params = Json::parse(R"({"words": ["a", "b"], "none": [], "empty": {}, "deep": {"x": 1, "y": {"z": true}}})");
    std::string text;
    for (const ExtensionParam& param : flat_params(params))
        text += param.key + "=" + param.value.dump() + " at " + param.pointer + "; ";
    EXPECT_EQ(text, "words=\"a\" at /words/0; words=\"b\" at /words/1; none=null at /none; "
                    "deep.x=1 at /deep/x; deep.y.z=true at /deep/y/z; ");
    Json many = Json::object();
    for (unsigned i = 0; i < 65; ++i)
        many["x" + std::to_string(i)] = i;
    ASSERT_EQ(check_params(many, "/p").size(), 1u);
    many.erase("x0");
    EXPECT_TRUE(check_params(many, "/p").empty());
}

TEST(DomainConfig, MustBeAnObject)
{
    for (const char* text : {"[]", "1", "null", "\"x\""})
        EXPECT_FALSE(problems_of(parse_json_text(text)).empty()) << text;
}

TEST(JsonText, AllowsBothKindsOfComment)
{
    EXPECT_EQ(parse_json_text("{ // one\n \"a\": /* two */ 1 }")["a"], 1);
}

TEST(JsonText, RefusesAKeyGivenTwiceWithItsPointer)
{
    try {
        static_cast<void>(parse_json_text(R"({"a": [{}, {"b": 1, "b": 2}]})"));
        FAIL() << "accepted";
    } catch (const Failure& failure) {
        ASSERT_EQ(failure.problems().size(), 1u);
        EXPECT_EQ(failure.problems()[0].pointer, "/a/1/b");
    }
}

TEST(JsonText, RefusesDeepNestingAndSyntaxErrors)
{
    EXPECT_THROW(static_cast<void>(parse_json_text(std::string(100000, '['))), Failure);
    for (const char* text : {"", "{", "{\"a\" 1}", "{} x", "{\"a\": 01}", "\"\xff\"", "/* "})
        EXPECT_THROW(static_cast<void>(parse_json_text(text)), Failure) << text;
}

TEST(ByteSize, ReadsTheThreeUnitsAndNothingElse)
{
    EXPECT_EQ(parse_byte_size("4KiB"), 4096u);
    EXPECT_EQ(parse_byte_size("3MiB"), 3u << 20);
    EXPECT_EQ(parse_byte_size("2GiB"), 2ull << 30);
    for (const char* text : {"", "4", "4kb", "KiB", "-1KiB", "4 KiB", "4KiBx", "99999999999999999999KiB",
                             "18014398509481984KiB"})
        EXPECT_FALSE(parse_byte_size(text)) << text;
}

TEST(ByteSize, WritesWhatItReadsBack)
{
    for (const std::uint64_t bytes : {4096ull, 64ull << 20, 3ull << 30, 4100ull << 10})
        EXPECT_EQ(parse_byte_size(byte_size_text(bytes)), bytes);
}

}  // namespace
}  // namespace hv::xl
