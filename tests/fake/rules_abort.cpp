// SPDX-License-Identifier: MIT
#include <cstdio>
#include <cstdlib>

#include "rules.hpp"

void hv::test::rule_broken(const std::string& what)
{
    std::fprintf(stderr, "the module broke a rule: %s\n", what.c_str());
    std::abort();
}
