// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include "rules.hpp"

void hv::test::rule_broken(const std::string& what)
{
    ADD_FAILURE() << what;
}
