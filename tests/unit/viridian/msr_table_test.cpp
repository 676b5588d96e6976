// SPDX-License-Identifier: MIT
//
// How the table of MSR handlers is searched: by a place for each offset where that is small, else by halves.  Both find what a
// look at each rule in turn finds.
#include "hv/ext/msr_table.hpp"

#include <gtest/gtest.h>

namespace hv::ext {
namespace {

struct None {};
using Rule = MsrRule<None>;

constexpr Rule rule(std::uint32_t window, std::uint32_t first, std::uint32_t last)
{
    return {window, first, last, 0, nullptr, nullptr};
}
constexpr std::array<Rule, 4> of_one_window{rule(7, 0, 0), rule(7, 3, 5), rule(7, 6, 6), rule(7, 0x110, 0x11f)};
constexpr std::array<Rule, 4> of_two_windows{rule(1, 0, 1), rule(1, 4, 4), rule(2, 0, 3), rule(2, 9, 0xffff'ffff)};
constexpr std::array<Rule, 2> far_away{rule(1, 0, 1), rule(1, 0x1000, 0x1001)};
constexpr std::array<Rule, 0> of_nothing{};

template <const auto& rules>
void expect_that_both_ways_find_what_is_there()
{
    for (std::uint32_t window = 0; window < 9; ++window)
        for (std::uint64_t at = 0; at < 0x2000; ++at)
            for (const auto offset : {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(0 - at)}) {
                const auto there = std::ranges::find_if(rules, [=](const Rule& one) {
                    return one.window == window && offset >= one.first && offset <= one.last;
                });
                const Rule* const expected{there == rules.end() ? nullptr : &*there};
                ASSERT_EQ(find_rule<rules>(window, offset), expected) << window << ", " << offset;
                ASSERT_EQ(find_rule<None>(rules, window, offset), expected) << window << ", " << offset;
            }
}

TEST(MsrTable, FindsTheRuleOfEveryOffsetAndNoOther)
{
    static_assert(detail::places_wanted(of_one_window) == 0x120);
    static_assert(detail::places_wanted(of_two_windows) == 0 && detail::places_wanted(far_away) == 0);
    expect_that_both_ways_find_what_is_there<of_one_window>();
    expect_that_both_ways_find_what_is_there<of_two_windows>();
    expect_that_both_ways_find_what_is_there<far_away>();
    expect_that_both_ways_find_what_is_there<of_nothing>();
}

}  // namespace
}  // namespace hv::ext
