// SPDX-License-Identifier: MIT
//
// The serial port, polled [16550 data sheet: line status bit 5 is transmitter holding register empty].
#include "console.hpp"

#include "machine.hpp"

namespace guest {
namespace {

constexpr std::uint16_t com1{0x3f8};
constexpr std::uint16_t line_status{com1 + 5};
constexpr std::uint8_t transmitter_empty{0x20};

void put(char character)
{
    for (unsigned waited = 0; waited < 100'000 && (in8(line_status) & transmitter_empty) == 0; ++waited)
        asm volatile("pause");
    out8(com1, static_cast<std::uint8_t>(character));
}

}  // namespace

void write_serial(std::string_view text)
{
    for (const char character : text) {
        if (character == '\n')
            put('\r');
        put(character);
    }
}

void expect(std::string_view name, bool holds)
{
    fact(name, holds ? "ok" : "FAILED");
}

void expect_equal(std::string_view name, std::uint64_t expected, std::uint64_t found)
{
    if (expected == found)
        fact(name, "ok");
    else
        fact(name, "FAILED, expected ", hv::Hex{expected}, ", found ", hv::Hex{found});
}

}  // namespace guest
