// SPDX-License-Identifier: MIT
//
// What the manual's figures say about address translation, format by format, in as many words: the oracle for the one
// loop of the hypervisor's.  Specification: [SDM3-083 §4.3, §4.4.2, §4.5.4, §4.6, §4.7].
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "hv/core/hvm/system_registers.hpp"
#include "hv/core/memory/guest_walk.hpp"

namespace hv::test {

struct ModelAnswer {
    std::optional<std::uint64_t> address;
    std::uint32_t error_code{};
};

/// Reads `bytes` of guest-physical memory; nothing where there is none.
using ModelMemory = std::function<std::optional<std::uint64_t>(std::uint64_t address, unsigned bytes)>;

ModelAnswer model_walk(const ModelMemory& memory, const core::ExecutionContext& context, std::uint64_t linear,
                       core::LinearAccess access);

}  // namespace hv::test
