// SPDX-License-Identifier: MIT
//
// An exit hook that notes what it is shown, and answers what the test says.
#pragma once

#include <functional>
#include <vector>

#include "extension_fixture.hpp"

namespace hv::test {

inline std::function<abi::Verdict(abi::ExitFrame&)> answer;  ///< without one: done
inline std::vector<abi::ExitFrame> shown;

inline abi::Verdict note(const abi::VcpuContext*, abi::ExitFrame* frame)
{
    shown.push_back(*frame);
    return answer ? answer(*frame) : abi::done;
}

}  // namespace hv::test
