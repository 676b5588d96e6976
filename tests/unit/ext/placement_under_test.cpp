// SPDX-License-Identifier: MIT
//
// Which placement the program tests: what sets the two programs of the same tests apart.
#include "extension_fixture.hpp"

namespace hv::test {

const Placement placement_under_test{Placement::HV_TEST_PLACEMENT};

}  // namespace hv::test
