// SPDX-License-Identifier: MIT
//
// What a test guest says: lines on the serial port COM1, `guest: NAME: VALUE`, between `guest: begin` and
// `guest: end`, as the Linux guests' first process writes them.
#pragma once

#include <concepts>
#include <string_view>

#include "hv/base/bounded_text.hpp"

namespace guest {

void write_serial(std::string_view text);

/// One line, of at most 400 bytes.
template <typename... Parts>
void print_line(const Parts&... parts)
{
    hv::BoundedText<400> line;
    hv::say(line, parts..., '\n');
    write_serial(line.view());
}

template <typename... Parts>
void fact(std::string_view name, const Parts&... parts)
{
    print_line("guest: ", name, ": ", parts...);
}

/// `guest: NAME: ok` or `guest: NAME: FAILED, expected …, found …`: what a test looks for.
void expect(std::string_view name, bool holds);
void expect_equal(std::string_view name, std::uint64_t expected, std::uint64_t found);

}  // namespace guest
