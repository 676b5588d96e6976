// SPDX-License-Identifier: MIT
//
// xld's log: one line per thing that an operator will ask about later.  spdlog behind it.
#pragma once

#include <string>

namespace hv::xl {

/// Appends to the file; a path that cannot be opened leaves the log on standard error and says so.  Empty: no
/// log.
void open_log(const std::string& path);

void log_info(const std::string& text);
void log_warning(const std::string& text);
void log_error(const std::string& text);

}  // namespace hv::xl
