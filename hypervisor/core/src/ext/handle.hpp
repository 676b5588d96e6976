// SPDX-License-Identifier: MIT
//
// The 64-bit handles that a module is given: kind, binding, generation and index in one number.  A handle
// leads somewhere only inside the binding that it was made for; a made-up one, another binding's or one of
// another kind is invalid, one whose object is gone is recognised by its generation.
#pragma once

#include <cstdint>

#include "hv/base/field.hpp"

namespace hv::core {

enum class HandleKind : std::uint8_t {
    domain = 1,
    vcpu = 2,
    page = 3,
    timer = 4,
    channel = 5
};

class Handle {
public:
    using Kind = Field<63, 60>;
    using Binding = Field<59, 36>;
    using Generation = Field<35, 16>;
    using Index = Field<15, 0>;
    static constexpr std::uint32_t last_generation{static_cast<std::uint32_t>(Generation::mask >> 16)};

    constexpr explicit Handle(std::uint64_t raw) : raw_{raw} {}
    constexpr Handle(HandleKind kind, std::uint32_t binding, std::uint32_t generation, std::uint32_t index)
        : raw_{Kind::make(static_cast<std::uint64_t>(kind)) | Binding::make(binding) |
               Generation::make(generation) | Index::make(index)}
    {
    }

    [[nodiscard]] constexpr std::uint64_t raw() const { return raw_; }
    [[nodiscard]] constexpr std::uint32_t generation() const
    {
        return static_cast<std::uint32_t>(Generation::get(raw_));
    }
    [[nodiscard]] constexpr std::uint32_t index() const
    {
        return static_cast<std::uint32_t>(Index::get(raw_));
    }
    /// True when this is a handle of that kind made for that binding, of whatever index and generation.
    [[nodiscard]] constexpr bool is_of(HandleKind kind, std::uint32_t binding) const
    {
        constexpr std::uint64_t mask{Kind::mask | Binding::mask};
        return (raw_ & mask) == (Handle{kind, binding, 0, 0}.raw_ & mask);
    }

private:
    std::uint64_t raw_;
};

}  // namespace hv::core
