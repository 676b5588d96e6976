// SPDX-License-Identifier: MIT
//
// What a config says about CPUID, as masks by leaf.  The hypervisor applies them last: value = (value & keep)
// | set. Knows names and positions of features, not which of them a processor has.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/failure.hpp"
#include "config/json.hpp"

namespace hv::xl {

/// The registers in which CPUID answers, in the order of arrays of four.
enum class CpuidRegister : std::uint8_t { eax, ebx, ecx, edx };

/// Masks of one subleaf; of a leaf that has none, the subleaf is 0.
struct CpuidMask {
    std::uint32_t leaf{};
    std::uint32_t subleaf{};
    std::array<std::uint32_t, 4> keep{~0u, ~0u, ~0u, ~0u};
    std::array<std::uint32_t, 4> set{};

    friend bool operator==(const CpuidMask&, const CpuidMask&) = default;
};

/// A feature by the name that Linux prints.
struct CpuidFeature {
    std::string_view name;
    std::uint32_t leaf;
    std::uint32_t subleaf;
    CpuidRegister where;
    std::uint8_t bit;
};

[[nodiscard]] const std::vector<CpuidFeature>& cpuid_features();

/// The masks of a "cpuid" object that fits the schema.  What the schema cannot say (a bit both cleared and
/// set, a leaf that belongs to the extensions, a leaf written twice in two ways) is added to `problems` with
/// its pointer.
[[nodiscard]] std::vector<CpuidMask> cpuid_masks(const Json& cpuid, std::vector<Problem>& problems);

}  // namespace hv::xl
