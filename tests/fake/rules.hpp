// SPDX-License-Identifier: MIT
//
// What becomes of a module that breaks a rule of the ABI in the harness: a failure of the running test (rules_gtest.cpp),
// or the end of a fuzzer's run (rules_abort.cpp).  One of the two is linked.
#pragma once

#include <string>

namespace hv::test {

void rule_broken(const std::string& what);

}  // namespace hv::test
