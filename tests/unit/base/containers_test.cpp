// SPDX-License-Identifier: MIT
//
// The allocation-free containers: order, limits, and promises that end the program when broken.
#include "hv/base/intrusive_list.hpp"
#include "hv/base/static_vector.hpp"

#include <gtest/gtest.h>
#include <vector>

using namespace hv;

namespace {

struct Item : ListNode {
    explicit Item(int v) : value{v} {}
    int value;
};

std::vector<int> values(IntrusiveList<Item>& list)
{
    std::vector<int> result;
    for (const Item& item : list)
        result.push_back(item.value);
    return result;
}

}  // namespace

TEST(IntrusiveList, KeepsItsOrder)
{
    Item one{1}, two{2}, three{3};
    IntrusiveList<Item> list;
    list.push_back(three);
    list.push_front(one);
    list.insert_before(three, two);
    EXPECT_EQ(values(list), (std::vector{1, 2, 3}));
    IntrusiveList<Item>::remove(two);
    EXPECT_EQ(values(list), (std::vector{1, 3}));
    EXPECT_FALSE(two.linked());
    EXPECT_EQ(list.pop_front().value, 1);
    EXPECT_EQ(list.pop_front().value, 3);
    EXPECT_TRUE(list.empty());
}

TEST(IntrusiveListDeathTest, EndsTheProgramWhenAnElementIsLinkedTwice)
{
    Item item{1};
    IntrusiveList<Item> list;
    list.push_back(item);
    EXPECT_DEATH(list.push_back(item), "assertion failed: !node.linked");
}

TEST(StaticVector, RefusesWhatDoesNotFitAndStaysAsItWas)
{
    StaticVector<int, 2> vector;
    EXPECT_TRUE(vector.push_back(1));
    EXPECT_TRUE(vector.insert(vector.begin(), 0));
    EXPECT_FALSE(vector.push_back(2));
    EXPECT_FALSE(vector.insert(vector.begin(), 2));
    EXPECT_EQ(vector[0], 0);
    EXPECT_EQ(vector[1], 1);
    vector.erase(vector.begin());
    EXPECT_EQ(vector.size(), 1u);
    EXPECT_EQ(vector[0], 1);
}

TEST(StaticVectorDeathTest, EndsTheProgramBeyondItsSize)
{
    StaticVector<int, 2> vector;
    EXPECT_DEATH(static_cast<void>(vector[0]), "assertion failed: index < size_");
}
