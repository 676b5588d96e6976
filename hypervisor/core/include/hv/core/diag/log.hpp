// SPDX-License-Identifier: MIT
//
// The hypervisor's log: lines with a level, the time and the processor, kept in a ring and written to the
// boot console. Callable on any processor, with any lock held, but never from an NMI (panic has its own way
// out, panic_report.hpp). A message that a guest can provoke goes through OncePerDomain.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/bounded_text.hpp"

namespace hv::core {

/// How much a line matters; a smaller value matters more.
enum class LogLevel : std::uint8_t {
    error = 0,
    warning = 1,
    info = 2,
    debug = 3,
};

/// Bytes of the text of one line; what is longer is cut.
inline constexpr std::size_t maximum_log_text{200};
/// Bytes of lines that are kept for readers.
inline constexpr std::size_t log_ring_bytes{64 * 1024};

/// Lines above this level are neither kept nor written.  The default is info.
void set_log_level(LogLevel level);
[[nodiscard]] bool log_enabled(LogLevel level);
[[nodiscard]] std::string_view log_level_name(LogLevel level);

/// Appends one line, `[seconds.micros cpu] level: text`, to ring and console.  Control characters in the text
/// become '?'.
void log_text(LogLevel level, std::string_view text);

template <typename... Parts>
void log(LogLevel level, const Parts&... parts)
{
    if (!log_enabled(level))
        return;
    BoundedText<maximum_log_text> text;
    say(text, parts...);
    log_text(level, text.view());
}
/// log_info("started ", count, " processors")
template <typename... Parts>
void log_error(const Parts&... parts)
{
    log(LogLevel::error, parts...);
}
template <typename... Parts>
void log_warning(const Parts&... parts)
{
    log(LogLevel::warning, parts...);
}
template <typename... Parts>
void log_info(const Parts&... parts)
{
    log(LogLevel::info, parts...);
}
template <typename... Parts>
void log_debug(const Parts&... parts)
{
    log(LogLevel::debug, parts...);
}

/// Copies log text from `cursor` on and moves the cursor behind it; 0 when there is nothing new.  A cursor is
/// a count of bytes since boot and begins at 0.  One that points at what is overwritten already goes on at
/// the oldest whole line; one beyond the end (it was never ours) is answered with nothing and put at the end.
std::size_t read_log(std::uint64_t& cursor, std::span<char> buffer);
/// Called after every line that was kept, on the processor that said it, without a lock; it must not log.  Set once.
void set_log_listener(void (*listener)());
/// The cursor behind the newest line: reading from here on yields only what comes later.
[[nodiscard]] std::uint64_t log_end();

/// A message that a guest can provoke is said once per domain, by type: there is no unlimited variant to call
/// by mistake. One member per message in what belongs to the domain; safe on several processors at once.
class OncePerDomain {
public:
    template <typename... Parts>
    void log(LogLevel level, const Parts&... parts)
    {
        if (first())
            core::log(level, parts...);
    }
    /// True for the first caller only.
    [[nodiscard]] bool first() { return !said_.exchange(true, std::memory_order_relaxed); }

private:
    std::atomic<bool> said_{};
};

}  // namespace hv::core
