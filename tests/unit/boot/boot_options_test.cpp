// SPDX-License-Identifier: MIT
#include "hv/core/boot/boot_options.hpp"

#include <gtest/gtest.h>

using namespace hv;
using namespace hv::core;

namespace {

struct Bad {
    const char* name;
    const char* text;
    const char* sentence;
};

class BadBootOption : public testing::TestWithParam<Bad> {};

}  // namespace

TEST(BootOptions, HaveDefaults)
{
    BootOptions options;
    BoundedText<200> why;
    ASSERT_TRUE(parse_boot_options("  \t ", options, why));
    EXPECT_EQ(options.control_memory, 512ull << 20);
    EXPECT_EQ(options.console, ConsoleChoice::com1);
    EXPECT_EQ(options.log_level, LogLevel::info);
    EXPECT_FALSE(options.require_signed);
}

TEST(BootOptions, AreReadAndTheLastOneWins)
{
    BootOptions options;
    BoundedText<200> why;
    ASSERT_TRUE(parse_boot_options("dom0_mem=1G console=com2  loglvl=debug dom0_mem=768M", options, why));
    EXPECT_EQ(options.control_memory, 768ull << 20);
    EXPECT_EQ(options.console, ConsoleChoice::com2);
    EXPECT_EQ(options.log_level, LogLevel::debug);
    EXPECT_FALSE(options.require_signed);
    ASSERT_TRUE(parse_boot_options("console=none ext=require-signed", options, why));
    EXPECT_TRUE(options.require_signed);
    EXPECT_EQ(options.console, ConsoleChoice::none);
}

TEST_P(BadBootOption, IsAnsweredWithOneSentence)
{
    BootOptions options;
    BoundedText<300> why;
    EXPECT_FALSE(parse_boot_options(GetParam().text, options, why));
    EXPECT_EQ(why.view(), GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    , BadBootOption,
    testing::Values(
        Bad{"Misspelt", "dom0mem=1G", "unknown option \"dom0mem=1G\": did you mean dom0_mem=?"},
        Bad{"MisspeltConsole", "loglvl=info consol=com1",
            "unknown option \"consol=com1\": did you mean console=?"},
        Bad{"OtherSpelling", "loglevel=info", "unknown option \"loglevel=info\": did you mean loglvl=?"},
        Bad{"NoValue", "console", "bad option \"console\": console= takes com1, com2 or none"},
        Bad{"EmptyValue", "console=", "bad option \"console=\": console= takes com1, com2 or none"},
        Bad{"WrongValue", "loglvl=verbose",
            "bad option \"loglvl=verbose\": loglvl= takes error, warning, info or debug"},
        Bad{"WrongWord", "ext=signed", "bad option \"ext=signed\": ext= takes isolated-only and require-signed, separated by a comma"},
        Bad{"NoWord", "ext=", "bad option \"ext=\": ext= takes isolated-only and require-signed, separated by a comma"},
        Bad{"NoSecondWord", "ext=require-signed,",
            "bad option \"ext=require-signed,\": ext= takes isolated-only and require-signed, separated by a comma"},
        Bad{"BudgetWithoutUnit", "ext-budget=5",
            "bad option \"ext-budget=5\": ext-budget= takes a time such as 500us, 1ms or 2s"},
        Bad{"BudgetOfNothing", "ext-budget=0ms",
            "bad option \"ext-budget=0ms\": ext-budget= takes a time such as 500us, 1ms or 2s"},
        Bad{"BudgetTooLong", "ext-budget=3601s",
            "bad option \"ext-budget=3601s\": ext-budget= takes a time such as 500us, 1ms or 2s"},
        Bad{"TooSmall", "dom0_mem=1M",
            "bad option \"dom0_mem=1M\": dom0_mem= takes a size such as 512M or 1G, at least 64M"},
        Bad{"NoNumber", "dom0_mem=M",
            "bad option \"dom0_mem=M\": dom0_mem= takes a size such as 512M or 1G, at least 64M"},
        Bad{"TooLarge", "dom0_mem=99999999999999999999G",
            "bad option \"dom0_mem=99999999999999999999G\": dom0_mem= takes a size such as 512M or 1G, at "
            "least 64M"}),
    [](const auto& parameter) { return std::string{parameter.param.name}; });

TEST(BootOptions, WhatStoodBeforeTheBadOneIsTaken)
{
    BootOptions options;
    BoundedText<200> why;
    EXPECT_EQ(parse_boot_options("console=com2 nonsense", options, why).error(), Error::not_found);
    EXPECT_EQ(options.console, ConsoleChoice::com2);
}

TEST(BootOptions, OfExtensionsAreRead)
{
    BootOptions options;
    BoundedText<200> why;
    ASSERT_TRUE(parse_boot_options("ext-budget=500us ext=isolated-only", options, why)) << why.view();
    EXPECT_TRUE(options.isolated_only);
    EXPECT_EQ(options.hook_budget_ns, 500'000u);
    ASSERT_TRUE(parse_boot_options("ext-restart-window=2ms", options, why)) << why.view();
    EXPECT_EQ(options.restart_window_ns, 2'000'000u);
    EXPECT_FALSE(parse_boot_options("ext-restart-window=0s", options, why));
    EXPECT_EQ(parse_duration("2s").value(), 2'000'000'000u);
    for (const char* text : {"", "s", "5", "5m", "1ks", "-1ms", "1ms ", "18446744073709551616s"})
        EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Size, TakesUnitsAndRefusesTheRest)
{
    EXPECT_EQ(parse_size("4096").value(), 4096);
    EXPECT_EQ(parse_size("3K").value(), 3072);
    EXPECT_EQ(parse_size("16777215G").value(), 16777215ull << 30);
    for (const char* text :
         {"", "K", "1T", "1MB", "-1", "0x10", "1 M", "17179869184G", "18446744073709551616"})
        EXPECT_FALSE(parse_size(text)) << text;
}
