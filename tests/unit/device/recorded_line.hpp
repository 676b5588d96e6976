// SPDX-License-Identifier: MIT
//
// An InterruptLine that remembers levels and counts rising edges, for the tests of devices.
#pragma once

#include <array>

#include "hv/core/interrupt/interrupt_line.hpp"

struct RecordedLine final : hv::core::InterruptLine {
    void set_line(unsigned line, bool level) override
    {
        if (level && !levels.at(line))
            ++edges.at(line);
        levels.at(line) = level;
    }
    std::array<bool, 24> levels{};
    std::array<unsigned, 24> edges{};
};
