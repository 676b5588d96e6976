// SPDX-License-Identifier: MIT
//
// What `channel` does once its end is open: lines become messages, messages become lines.
#pragma once

#include "client/connection.hpp"
#include "commands/arguments.hpp"

namespace hv::xl {

/// Sends the request and passes messages until what was asked for has happened, or the domain is gone.  The result is `failed` where
/// the domain crashed, else `done`.  Throws what the request is refused with, and a Failure where a line is no message (bad_text),
/// nobody has the other end (not_found), time is up (timed_out), or the domain is gone too early (failed).
[[nodiscard]] ExitCode run_channel(Connection& connection, const Json& request, const Arguments& arguments);

/// The bytes that pairs of hexadecimal digits say.  Failure (bad_text).
[[nodiscard]] std::string bytes_of_hex(std::string_view digits);

}  // namespace hv::xl
