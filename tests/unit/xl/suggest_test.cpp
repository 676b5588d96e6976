// SPDX-License-Identifier: MIT
//
// The nearest right name.
#include "base/suggest.hpp"

#include <gtest/gtest.h>

namespace hv::xl {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsChangesAndSwaps)
{
    EXPECT_EQ(edit_distance("", ""), 0u);
    EXPECT_EQ(edit_distance("abc", ""), 3u);
    EXPECT_EQ(edit_distance("vcpu", "vcpus"), 1u);
    EXPECT_EQ(edit_distance("destory", "destroy"), 1u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
    EXPECT_EQ(edit_distance("NAME", "name"), 0u);
}

TEST(NearestName, IsTheNearestOrNoneAtAll)
{
    const std::vector<std::string> names{"memory", "name", "vcpus", "on"};
    EXPECT_EQ(nearest_name("memroy", names), "memory");
    EXPECT_EQ(nearest_name("nmae", names), "name");
    EXPECT_EQ(nearest_name("entirely", names), "");
    EXPECT_EQ(nearest_name("xx", names), "");
    EXPECT_EQ(nearest_name(std::string(10000, 'n'), names), "");
}

}  // namespace
}  // namespace hv::xl
