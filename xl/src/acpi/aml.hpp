// SPDX-License-Identifier: MIT
//
// Enough of the ACPI machine language to name things: scopes, devices, names, packages, integers, resource
// templates. No methods: nothing in a guest's tables has to be computed by it.  Specification: [ACPI-6.5
// §20.2 "AML Grammar Definition", §6.4 "Resource Data Types for ACPI", §19.3.4 for EISA ids].
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/byte_buffer.hpp"

namespace hv::xl {

/// A piece of AML; pieces are put together by the functions below.
using Aml = std::vector<std::byte>;

/// Pieces in a row.
[[nodiscard]] Aml aml_list(std::initializer_list<Aml> pieces);

/// Integers take the shortest form.
[[nodiscard]] Aml aml_integer(std::uint64_t value);
[[nodiscard]] Aml aml_string(std::string_view text);
/// `id` is three capital letters and four hexadecimal digits.
[[nodiscard]] Aml aml_eisa_id(std::string_view id);
[[nodiscard]] Aml aml_package(std::initializer_list<Aml> elements);
[[nodiscard]] Aml aml_buffer(std::span<const std::byte> bytes);

/// Names are of at most four characters, with `\` in front where they start at the root.
[[nodiscard]] Aml aml_name(std::string_view name, const Aml& value);
[[nodiscard]] Aml aml_scope(std::string_view name, const Aml& contents);
[[nodiscard]] Aml aml_device(std::string_view name, const Aml& contents);

/// A resource template: ports and ISA interrupts.
class AmlResources {
public:
    /// Fixed ports, decoded with 16 bits.
    AmlResources& ports(std::uint16_t first, std::uint8_t count);
    /// One ISA interrupt, edge-triggered, active high, exclusive.
    AmlResources& irq(unsigned number);
    [[nodiscard]] Aml aml() const;

private:
    ByteBuffer bytes_;
};

}  // namespace hv::xl
