// SPDX-License-Identifier: MIT
//
// The hypervisor's own command line.  An option that is unknown or has a bad value stops the boot with one
// sentence; no option is ever ignored.
#pragma once

#include <cstdint>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/diag/log.hpp"

namespace hv::core {

/// Where the log goes beside the ring.
enum class ConsoleChoice : std::uint8_t {
    com1,
    com2,
    none
};

struct BootOptions {
    std::uint64_t control_memory{512ull << 20};  ///< dom0_mem=, in bytes
    ConsoleChoice console{ConsoleChoice::com1};
    LogLevel log_level{LogLevel::info};
    bool require_signed{};  ///< ext=require-signed: a module without a trusted key's signature is refused
    bool isolated_only{};            ///< ext=isolated-only: no extension is bound in the trusted placement
    std::uint64_t hook_budget_ns{};  ///< ext-budget=; 0: the default
    std::uint64_t restart_window_ns{};  ///< ext-restart-window=; 0: the default
};

/// How long a hook of an isolated extension may run where ext-budget= does not say; an emulator may hold its
/// processors up for longer than a hook takes.
inline constexpr std::uint64_t default_hook_budget_ns{1'000'000};
inline constexpr std::uint64_t emulated_hook_budget_ns{100'000'000};

/// The least that a stock control domain starts in.
inline constexpr std::uint64_t minimum_control_memory{64ull << 20};

/// Fills `options` from words separated by blanks; a later one wins over an earlier one.  Fails with
/// not_found (an unknown option, `why` names the nearest right one) or invalid_argument (a bad value); what
/// stood before the bad option has then been taken, so that the sentence can go to the console that was asked
/// for.
Status parse_boot_options(std::string_view text, BootOptions& options, TextWriter& why);

/// A time as operators write it, in nanoseconds: a number with us, ms or s behind it, at most an hour.
Expected<std::uint64_t> parse_duration(std::string_view text);

/// A size as operators write it: a number with K, M, G (powers of 1024) or nothing behind it.
Expected<std::uint64_t> parse_size(std::string_view text);

}  // namespace hv::core
