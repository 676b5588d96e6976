// SPDX-License-Identifier: MIT
//
// The verbs of xl.  Each prints its result and throws a Failure where there is none.
#pragma once

#include <string>

#include "base/failure.hpp"
#include "commands/arguments.hpp"
#include "config/json.hpp"

namespace hv::xl {

// config.cpp
[[nodiscard]] ExitCode run_create(const Arguments& arguments);
[[nodiscard]] ExitCode run_validate(const Arguments& arguments);

// domain.cpp
[[nodiscard]] ExitCode run_console_verb(const Arguments& arguments);
[[nodiscard]] ExitCode run_destroy(const Arguments& arguments);
[[nodiscard]] ExitCode run_shutdown(const Arguments& arguments);
[[nodiscard]] ExitCode run_reboot(const Arguments& arguments);
[[nodiscard]] ExitCode run_pause(const Arguments& arguments);
[[nodiscard]] ExitCode run_unpause(const Arguments& arguments);
[[nodiscard]] ExitCode run_rename(const Arguments& arguments);
[[nodiscard]] ExitCode run_trigger(const Arguments& arguments);

// channel.cpp
[[nodiscard]] ExitCode run_channel_verb(const Arguments& arguments);

// read.cpp
[[nodiscard]] ExitCode run_list(const Arguments& arguments);
[[nodiscard]] ExitCode run_info(const Arguments& arguments);
[[nodiscard]] ExitCode run_dmesg(const Arguments& arguments);
[[nodiscard]] ExitCode run_vcpu_list(const Arguments& arguments);
[[nodiscard]] ExitCode run_domid(const Arguments& arguments);
[[nodiscard]] ExitCode run_domname(const Arguments& arguments);
[[nodiscard]] ExitCode run_uptime(const Arguments& arguments);
[[nodiscard]] ExitCode run_exits(const Arguments& arguments);

// extension.cpp
[[nodiscard]] ExitCode run_ext_load(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_unload(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_attach(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_detach(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_swap(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_rollback(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_inspect(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_report(const Arguments& arguments);
/// --core of ext-report: writes the file; `report` is the newest of the domain.
void write_core(const Arguments& arguments, const Json& report);
[[nodiscard]] ExitCode run_ext_list(const Arguments& arguments);

// verify.cpp
[[nodiscard]] ExitCode run_ext_verify(const Arguments& arguments);

// signing.cpp
[[nodiscard]] ExitCode run_ext_keygen(const Arguments& arguments);
[[nodiscard]] ExitCode run_ext_sign(const Arguments& arguments);

/// Writes to standard output; Failure where that cannot be done.
void print(const std::string& text);
[[nodiscard]] bool output_is_terminal();

/// Markdown for docs/xl.md: a row per verb with its own options, and one per exit code.
[[nodiscard]] std::string verb_reference();

/// The whole program: parses the command line, runs the verb, reports failures; the result is the exit code.
[[nodiscard]] int run_xl(int argc, char** argv);

}  // namespace hv::xl
