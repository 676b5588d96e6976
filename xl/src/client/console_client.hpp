// SPDX-License-Identifier: MIT
//
// The terminal as a guest's console: what `console` and `create -c` do once they are attached.
#pragma once

#include "client/connection.hpp"

namespace hv::xl {

/// Sends the request (a `create` or `console` with attachment) and passes bytes until the domain is gone for
/// good or the user types Ctrl-].  Console bytes go to standard output, what happens to the domain to
/// standard error.  The result is `failed` where the last end was a crash, else `done`.  Throws what the
/// request is refused with.
[[nodiscard]] ExitCode run_console(Connection& connection, const Json& request,
                                   const std::vector<int>& files);

}  // namespace hv::xl
