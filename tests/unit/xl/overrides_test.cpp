// SPDX-License-Identifier: MIT
//
// `--set a.b=VALUE`.
#include "config/overrides.hpp"

#include <gtest/gtest.h>

#include "base/failure.hpp"

namespace hv::xl {
namespace {

Json start()
{
    return Json::parse(R"({"memory": "64MiB", "boot": {"cmdline": "a=b"}, "extensions": [{"name": "x"}]})");
}

Json after(const char* setting)
{
    Json config = start();
    apply_override(config, setting);
    return config;
}

TEST(Override, TakesJsonIfItParsesAndTextOtherwise)
{
    EXPECT_EQ(after("vcpus=2")["vcpus"], 2);
    EXPECT_EQ(after("memory=128MiB")["memory"], "128MiB");
    EXPECT_EQ(after("on={\"crash\": \"restart\"}")["on"]["crash"], "restart");
    EXPECT_EQ(after("name=true")["name"], true);
    EXPECT_EQ(after("name=")["name"], "");
}

TEST(Override, SplitsAtTheFirstEqualsSignAlone)
{
    EXPECT_EQ(after("boot.cmdline=console=ttyS0 x=y")["boot"]["cmdline"], "console=ttyS0 x=y");
}

TEST(Override, MakesMissingObjectsAndStepsIntoArrays)
{
    EXPECT_EQ(after("on.crash=preserve")["on"]["crash"], "preserve");
    EXPECT_EQ(after("extensions.0.name=y")["extensions"][0]["name"], "y");
    EXPECT_EQ(after("extensions.1.name=z")["extensions"].size(), 2u);
}

TEST(Override, RefusesWhatItCannotPlaceAndChangesNothing)
{
    for (const char* setting : {"memory", "=1", "a..b=1", "memory.x=1", "extensions.5.name=x",
                                "extensions.x=1", "name=\xff", "boot.=1"}) {
        Json config = start();
        EXPECT_THROW(apply_override(config, setting), Failure) << setting;
        EXPECT_EQ(config, start()) << setting;
    }
}

TEST(Override, RefusesNestingThatNoConfigHas)
{
    std::string path{"a"};
    for (unsigned i = 0; i < 100'000; ++i)
        path += ".a";
    Json config = start();
    EXPECT_THROW(apply_override(config, path + "=1"), Failure);
    EXPECT_THROW(apply_override(config, "a=" + std::string(100'000, '[') + std::string(100'000, ']')), Failure);
    EXPECT_EQ(config, start());
}

}  // namespace
}  // namespace hv::xl
