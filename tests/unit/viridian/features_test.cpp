// SPDX-License-Identifier: MIT
#include "features.hpp"

#include "guest.hpp"

namespace hv::viridian::test {
namespace {

constexpr std::optional<Features> listed(std::initializer_list<std::string_view> words, Features start)
{
    for (const auto word : words) {
        const auto next = start.with(word);
        if (!next)
            return std::nullopt;
        start = *next;
    }
    return start;
}

TEST(ViridianFeatures, AlwaysHaveTheBase)
{
    static_assert(Features::base_alone().has(Feature::base));
    static_assert(!Features::base_alone().has(Feature::time));
    static_assert(listed({"all", "!base"}, Features::base_alone()) == std::nullopt);
    EXPECT_TRUE(Features{0}.has(Feature::base));
}

TEST(ViridianFeatures, AddAndTakeAwayByName)
{
    const auto features = listed({"time", "crash", "!time"}, Features::base_alone());
    ASSERT_TRUE(features);
    EXPECT_FALSE(features->has(Feature::time));
    EXPECT_TRUE(features->has(Feature::crash));
    EXPECT_EQ(listed({"default"}, Features::base_alone()), Features::by_default());
    EXPECT_EQ(listed({"all"}, Features::base_alone()), Features::all());
    EXPECT_EQ(listed({"tim"}, Features::base_alone()), std::nullopt);
    EXPECT_EQ(listed({"!"}, Features::base_alone()), std::nullopt);
    EXPECT_EQ(listed({""}, Features::base_alone()), std::nullopt);
}

TEST(ViridianFeatures, OfTheDefaultAreExactlyThese)
{
    std::string names;
    for (std::uint32_t group = 0; group < feature_groups.size(); ++group)
        if (Features::by_default().has(static_cast<Feature>(group)))
            names += std::string{feature_groups[group].name} + ' ';
    EXPECT_EQ(names, "base time apic tlbflush ipi crash synic stimer input ");
}

TEST(ViridianFeatures, OfTheDefaultAreAddedLikeAnyOthers)
{
    const auto features = listed({"messages", "default"}, Features::base_alone());
    ASSERT_TRUE(features);
    EXPECT_TRUE(features->has(Feature::messages) && features->has(Feature::apic));
    EXPECT_FALSE(features->has(Feature::reset));
}

TEST(ViridianFeatures, AreTheDefaultWithoutAParameter)
{
    Guest guest;
    ASSERT_TRUE(guest.create());
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).eax, 0xa7eu);
}

TEST(ViridianFeatures, OfAListAreExactlyThose)
{
    Guest guest;
    ASSERT_TRUE(guest.create({"time"}));
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).eax, 0xa62u);
    EXPECT_EQ(guest.module.cpuid(0x4000'0004).eax, 0x220u);
}

TEST(ViridianFeatures, TakenAwayFirstAreTakenFromTheDefault)
{
    Guest guest;
    ASSERT_TRUE(guest.create({"!time", "!crash"}));
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).eax, 0x74u);  // and with the time the timers
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).edx, 0x6'0010u);
}

TEST(ViridianFeatures, ThatNobodyKnowsAreRefusedWithASentence)
{
    Guest guest;
    EXPECT_FALSE(guest.module.parameter("features", std::string{"tme"}));
    EXPECT_NE(guest.host.explained.find("no word tme"), std::string::npos);
    EXPECT_FALSE(guest.module.parameter("feature", std::string{"time"}));
    EXPECT_FALSE(guest.module.parameter("features", true));
    EXPECT_TRUE(guest.module.create());
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).eax, 0xa7eu);  // what was refused changed nothing
}

TEST(ViridianFeatures, ThatLackWhatTheyNeedAreRefusedByBothNames)
{
    for (const char* const lacking : {"time", "synic"}) {
        Guest guest;
        EXPECT_FALSE(guest.create({"stimer", std::string{lacking} == "time" ? "synic" : "time"}));
        EXPECT_EQ(guest.host.explained, std::string{"the group stimer of features needs "} + lacking);
    }
    Guest guest;
    EXPECT_TRUE(guest.create({"stimer", "synic", "time"}));
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).eax, 0xa6eu);
    EXPECT_EQ(listed({"all", "!synic"}, Features::base_alone())->has(Feature::stimer), false);
}

struct Withheld {
    const char* feature;
    std::vector<std::uint32_t> msrs;
};
class ViridianWithheldFeature : public testing::TestWithParam<Withheld> {};

TEST_P(ViridianWithheldFeature, AnswersProtectionFaults)
{
    Guest guest;
    ASSERT_TRUE(guest.create({std::string{"!"} + GetParam().feature}));
    for (const std::uint32_t msr : GetParam().msrs) {
        EXPECT_EQ(guest.module.read_msr(msr), std::nullopt) << std::hex << msr;
        for (const std::uint64_t value : {0, 1, 0x31})
            EXPECT_FALSE(guest.module.write_msr(msr, value)) << std::hex << msr;
    }
    EXPECT_TRUE(guest.host.pages.empty());
    EXPECT_FALSE(guest.host.shutdown.has_value());
    EXPECT_FALSE(guest.host.reset_wanted);
}

INSTANTIATE_TEST_SUITE_P(
    , ViridianWithheldFeature,
    testing::Values(Withheld{"time", {0x4000'0020, 0x4000'0021, 0x4000'0022, 0x4000'0023}},
                    Withheld{"apic", {0x4000'0070, 0x4000'0071, 0x4000'0072, 0x4000'0073}},
                    Withheld{"synic",
                             {0x4000'0080, 0x4000'0081, 0x4000'0082, 0x4000'0083, 0x4000'0084, 0x4000'0090, 0x4000'009f,
                              0x4000'00b0, 0x4000'00b7}},
                    Withheld{"runtime", {0x4000'0010}}, Withheld{"idle", {0x4000'00f0}},
                    Withheld{"stimer", {0x4000'00b0, 0x4000'00b1, 0x4000'00b6, 0x4000'00b7}},
                    Withheld{"reset", {0x4000'0003}},
                    Withheld{"crash",
                             {0x4000'0100, 0x4000'0101, 0x4000'0102, 0x4000'0103, 0x4000'0104, 0x4000'0105}}),
    [](const auto& one) { return std::string{one.param.feature}; });

}  // namespace
}  // namespace hv::viridian::test
