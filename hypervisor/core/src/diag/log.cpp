// SPDX-License-Identifier: MIT
//
// Puts a line together, appends it to the ring and writes it to the console, under one lock so that lines
// stay whole.
#include "hv/core/diag/log.hpp"

#include <array>

#include "hv/core/diag/ring.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/core/sync/spinlock.hpp"

namespace hv::core {

namespace {

constinit std::array<char, log_ring_bytes> ring_storage{};
constinit TextRing ring{ring_storage};
constinit Spinlock lock{};
constinit std::atomic<LogLevel> threshold{LogLevel::info};
constinit std::atomic<void (*)()> listener{};

/// `[    3.000041 1] ` — seconds since the processor was reset, as far as its counter knows, and the
/// processor.
void append_stamp(TextWriter& line)
{
    const std::uint64_t frequency = platform::ticks_per_second();
    const std::uint64_t now = frequency == 0 ? 0 : platform::ticks();
    const std::uint64_t seconds = frequency == 0 ? 0 : now / frequency;
    const std::uint64_t micros = frequency == 0 ? 0 : (now % frequency) * 1'000'000 / frequency;
    line.append('[').append(seconds).append('.');
    for (std::uint64_t scale = 100'000; scale > 1 && micros < scale; scale /= 10)
        line.append('0');
    say(line, micros, ' ', platform::current_processor(), "] ");
}

}  // namespace

void set_log_level(LogLevel level)
{
    threshold.store(level, std::memory_order_relaxed);
}

bool log_enabled(LogLevel level)
{
    return level <= threshold.load(std::memory_order_relaxed);
}

std::string_view log_level_name(LogLevel level)
{
    switch (level) {
    case LogLevel::error: return "error";
    case LogLevel::warning: return "warning";
    case LogLevel::info: return "info";
    case LogLevel::debug: return "debug";
    }
    return "?";
}

void log_text(LogLevel level, std::string_view text)
{
    if (!log_enabled(level))
        return;
    BoundedText<maximum_log_text + 64> line;
    append_stamp(line);
    say(line, log_level_name(level), ": ");
    for (const char character : text.substr(0, maximum_log_text))
        line.append(static_cast<unsigned char>(character) < ' ' || character == 0x7f ? '?' : character);
    line.append('\n');
    {
        const LockGuard guard{lock};
        ring.append(line.view());
        platform::console_write(line.view());
    }
    if (void (*const tell)() = listener.load(std::memory_order_acquire); tell != nullptr)
        tell();
}

void set_log_listener(void (*function)())
{
    listener.store(function, std::memory_order_release);
}

std::size_t read_log(std::uint64_t& cursor, std::span<char> buffer)
{
    const LockGuard guard{lock};
    return ring.read(cursor, buffer);
}

std::uint64_t log_end()
{
    const LockGuard guard{lock};
    return ring.end();
}

}  // namespace hv::core
