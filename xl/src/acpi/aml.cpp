// SPDX-License-Identifier: MIT
//
// AML opcodes and encodings.
#include "acpi/aml.hpp"

#include <array>

namespace hv::xl {
namespace {

constexpr std::uint8_t ZeroOp{0x00};
constexpr std::uint8_t OneOp{0x01};
constexpr std::uint8_t NameOp{0x08};
constexpr std::uint8_t BytePrefix{0x0a};
constexpr std::uint8_t WordPrefix{0x0b};
constexpr std::uint8_t DWordPrefix{0x0c};
constexpr std::uint8_t StringPrefix{0x0d};
constexpr std::uint8_t QWordPrefix{0x0e};
constexpr std::uint8_t ScopeOp{0x10};
constexpr std::uint8_t BufferOp{0x11};
constexpr std::uint8_t PackageOp{0x12};
constexpr std::uint8_t ExtOpPrefix{0x5b};
constexpr std::uint8_t DeviceOp{0x82};

Aml join(const Aml& a, const Aml& b)
{
    Aml both{a};
    append(both, b);
    return both;
}

Aml of(std::initializer_list<std::uint8_t> bytes)
{
    Aml aml;
    for (const std::uint8_t byte : bytes)
        aml.push_back(std::byte{byte});
    return aml;
}

/// PkgLength counts itself, in one to four bytes [ACPI-6.5 §20.2.4].
Aml with_length(const Aml& contents)
{
    const std::size_t one{contents.size() + 1};
    if (one < 0x40)
        return join(of({static_cast<std::uint8_t>(one)}), contents);
    for (unsigned extra = 1; extra <= 3; ++extra) {
        const std::size_t length{contents.size() + 1 + extra};
        if (length >> (4 + 8 * extra) != 0)
            continue;
        Aml head{of({static_cast<std::uint8_t>((extra << 6) | (length & 0xf))})};
        for (unsigned i = 0; i < extra; ++i)
            head.push_back(static_cast<std::byte>((length >> (4 + 8 * i)) & 0xff));
        return join(head, contents);
    }
    constexpr bool fits_256_mib{false};
    HV_ASSERT(fits_256_mib);
    return {};
}

/// A name segment has four characters, padded with _ [ACPI-6.5 §20.2.2].
Aml name_string(std::string_view name)
{
    ByteBuffer bytes;
    if (name.starts_with('\\')) {
        bytes.put<std::uint8_t>('\\');
        name.remove_prefix(1);
    }
    HV_ASSERT(!name.empty() && name.size() <= 4);
    bytes.put_text(name);
    bytes.put_text(std::string_view{"___"}.substr(0, 4 - name.size()));
    return bytes.take();
}

template <typename T>
Aml prefixed(std::uint8_t prefix, std::uint64_t value)
{
    ByteBuffer bytes;
    bytes.put<std::uint8_t>(prefix);
    bytes.put<T>(static_cast<T>(value));
    return bytes.take();
}

unsigned hex_value(char digit)
{
    return static_cast<unsigned>(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

}  // namespace

Aml aml_list(std::initializer_list<Aml> pieces)
{
    Aml all;
    for (const Aml& piece : pieces)
        append(all, piece);
    return all;
}

Aml aml_integer(std::uint64_t value)
{
    if (value == 0)
        return of({ZeroOp});
    if (value == 1)
        return of({OneOp});
    if (value <= 0xff)
        return prefixed<std::uint8_t>(BytePrefix, value);
    if (value <= 0xffff)
        return prefixed<std::uint16_t>(WordPrefix, value);
    if (value <= 0xffff'ffff)
        return prefixed<std::uint32_t>(DWordPrefix, value);
    return prefixed<std::uint64_t>(QWordPrefix, value);
}

Aml aml_string(std::string_view text)
{
    ByteBuffer bytes;
    bytes.put<std::uint8_t>(StringPrefix);
    bytes.put_text(text);
    bytes.put<std::uint8_t>(0);
    return bytes.take();
}

Aml aml_eisa_id(std::string_view id)
{
    HV_ASSERT(id.size() == 7);
    const auto letter = [&](std::size_t i) { return static_cast<unsigned>(id[i] - 'A' + 1) & 0x1f; };
    const unsigned letters{(letter(0) << 10) | (letter(1) << 5) | letter(2)};
    return prefixed<std::uint32_t>(DWordPrefix,
                                   (letters >> 8) | ((letters & 0xff) << 8) |
                                       (((hex_value(id[3]) << 4) | hex_value(id[4])) << 16) |
                                       (((hex_value(id[5]) << 4) | hex_value(id[6])) << 24));
}

Aml aml_package(std::initializer_list<Aml> elements)
{
    const Aml count{of({static_cast<std::uint8_t>(elements.size())})};
    return join(of({PackageOp}), with_length(join(count, aml_list(elements))));
}

Aml aml_buffer(std::span<const std::byte> bytes)
{
    const Aml contents{bytes.begin(), bytes.end()};
    return join(of({BufferOp}), with_length(join(aml_integer(bytes.size()), contents)));
}

Aml aml_name(std::string_view name, const Aml& value)
{
    return aml_list({of({NameOp}), name_string(name), value});
}

Aml aml_scope(std::string_view name, const Aml& contents)
{
    return join(of({ScopeOp}), with_length(join(name_string(name), contents)));
}

Aml aml_device(std::string_view name, const Aml& contents)
{
    return join(of({ExtOpPrefix, DeviceOp}), with_length(join(name_string(name), contents)));
}

AmlResources& AmlResources::ports(std::uint16_t first, std::uint8_t count)
{
    bytes_.put<std::uint8_t>(0x47);  // I/O Port Descriptor [ACPI-6.5 §6.4.2.5]
    bytes_.put<std::uint8_t>(1);     // decodes 16 bits
    bytes_.put<std::uint16_t>(first);
    bytes_.put<std::uint16_t>(first);
    bytes_.put<std::uint8_t>(1);
    bytes_.put<std::uint8_t>(count);
    return *this;
}

AmlResources& AmlResources::irq(unsigned number)
{
    bytes_.put<std::uint8_t>(0x22);  // IRQ Descriptor without flags [ACPI-6.5 §6.4.2.1]
    bytes_.put<std::uint16_t>(static_cast<std::uint16_t>(1u << number));
    return *this;
}

Aml AmlResources::aml() const
{
    ByteBuffer all;
    all.put_bytes(bytes_.view());
    all.put<std::uint8_t>(0x79);  // End Tag; a checksum of 0 is taken as right [ACPI-6.5 §6.4.2.9]
    all.put<std::uint8_t>(0);
    return aml_buffer(all.view());
}

}  // namespace hv::xl
