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

/// Flat segments, protection on, interrupts enabled, debug registers as after a reset.
inline void enter_protected_mode(Vcpu& vcpu, std::uint64_t rip)
{
    SystemRegisters& system = fake::fake_vcpu(vcpu).system;
    for (Segment& segment : system.segments)
        segment = {8, 0xc93, 0xffff'ffff, 0};
    system.segments[segment_cs] = {8, 0xc9b, 0xffff'ffff, 0};
    system.cr0 = 1;
    system.dr6 = 0xffff'0ff0;
    system.dr7 = 0x400;
    vcpu.registers.rip = rip;
    vcpu.registers.rflags = 0x202;
}

}  // namespace hv::test
