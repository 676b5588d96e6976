// SPDX-License-Identifier: MIT
#include "hv/arch/x86/control_domain/sleep_control.hpp"

#include <cstring>

#include "hv/base/bytes.hpp"
#include "hv/base/field.hpp"

namespace hv::control_domain {

namespace {

constexpr std::byte package_op{0x12}, byte_prefix{0x0a}, zero_op{0x00}, one_op{0x01};

/// The first element of a package that starts at `at`, as an integer of one byte.
std::optional<std::uint8_t> first_element(std::span<const std::byte> bytes, std::size_t at)
{
    if (at + 2 > bytes.size() || bytes[at] != package_op)
        return std::nullopt;
    const std::size_t length_bytes = 1 + (std::to_integer<std::size_t>(bytes[at + 1]) >> 6);  // PkgLength
    at += 1 + length_bytes + 1;                                                               // NumElements
    if (at + 2 > bytes.size())
        return std::nullopt;
    if (bytes[at] == zero_op || bytes[at] == one_op)
        return std::to_integer<std::uint8_t>(bytes[at]);
    if (bytes[at] == byte_prefix)
        return std::to_integer<std::uint8_t>(bytes[at + 1]);
    return std::nullopt;
}

}  // namespace

std::optional<std::uint8_t> find_sleep_type(std::span<const std::byte> definition_block,
                                            const char (&name)[5])
{
    constexpr std::size_t name_bytes{4};
    for (std::size_t at = 0; at + name_bytes <= definition_block.size(); ++at)
        if (std::memcmp(definition_block.data() + at, name, name_bytes) == 0)
            if (const auto type = first_element(definition_block, at + name_bytes))
                return type;
    return std::nullopt;
}

std::optional<std::uint8_t> find_power_off_type(const core::FirmwareMemory& firmware, HostPhysical rsdp,
                                                HostPhysical dsdt)
{
    constexpr std::uint64_t header_bytes{36}, length_offset{4};
    constexpr char name[]{"_S5_"};
    const auto length = ByteReader{firmware.at(dsdt, header_bytes)}.read<std::uint32_t>(length_offset);
    if (length)
        if (const auto type = find_sleep_type(firmware.at(dsdt, length.value()), name))
            return type;
    constexpr unsigned most_tables{64};  // that the control domain's root table has room for
    for (unsigned earlier = 0; earlier < most_tables; ++earlier) {
        BoundedText<200> why;
        const auto table = core::find_acpi_table(firmware, rsdp, "SSDT", why, earlier);
        if (!table)
            continue;  // a damaged one: the control domain does not see it either
        if (const auto type = find_sleep_type(table.value(), name))
            return type;
    }
    return std::nullopt;
}

std::optional<SleepPorts> parse_sleep_ports(std::span<const std::byte> fadt)
{
    constexpr std::uint64_t dsdt_offset{40}, pm1a_offset{64}, pm1b_offset{68}, x_dsdt_offset{140};
    const ByteReader reader{fadt};
    const auto pm1a = reader.read<std::uint32_t>(pm1a_offset);
    const auto pm1b = reader.read<std::uint32_t>(pm1b_offset);
    const auto dsdt = reader.read<std::uint32_t>(dsdt_offset);
    if (!pm1a || !pm1b || !dsdt || pm1a.value() > 0xfffe || pm1b.value() > 0xfffe)
        return std::nullopt;
    const auto wide_dsdt = reader.read<std::uint64_t>(x_dsdt_offset);
    const bool use_wide = wide_dsdt.has_value() && wide_dsdt.value() != 0;
    return SleepPorts{{static_cast<std::uint16_t>(pm1a.value()), static_cast<std::uint16_t>(pm1b.value())},
                      use_wide ? wide_dsdt.value() : dsdt.value()};
}

SleepRequest judge_sleep_write(unsigned offset, unsigned size, std::uint32_t value,
                               std::optional<std::uint8_t> power_off_type)
{
    using SleepType = Field<12, 10, std::uint8_t>;
    using SleepEnable = Bit<13>;
    const std::uint64_t mask = size >= 4 ? 0xffff'ffffull : (1ull << (8 * size)) - 1;
    const std::uint64_t bits = (value & mask) << (8 * offset);
    if (!SleepEnable::get(bits))
        return SleepRequest::none;
    return power_off_type == SleepType::get(bits) ? SleepRequest::power_off : SleepRequest::refused;
}

}  // namespace hv::control_domain
