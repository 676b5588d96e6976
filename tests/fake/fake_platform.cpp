// SPDX-License-Identifier: MIT
//
// The machine as host tests have it: see fake_platform.hpp.
#include "fake_platform.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

#include "hv/base/assert.hpp"
#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::fake {

namespace {

struct State {
    unsigned processors{2};
    unsigned current{0};
    std::uint64_t ticks{0};
    std::uint64_t frequency{1'000'000'000};
    std::vector<unsigned> wakes;
    std::array<std::uint64_t, core::platform::maximum_processors> deadlines;
    std::function<void(bool)> window;
    unsigned waits{0};
    std::string console;

    State() { deadlines.fill(~0ull); }
};

State& state()
{
    static State it;
    return it;
}

int arena_file()
{
    static const int file{memfd_create("physical memory", 0)};
    HV_ASSERT(file >= 0);
    return file;
}

/// Shared, so that a frame can appear at a second address (fake_isolated_space.cpp).
std::byte* map_arena()
{
    HV_ASSERT(ftruncate(arena_file(), arena_bytes) == 0);
    void* const memory =
        mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, arena_file(), 0);
    HV_ASSERT(memory != MAP_FAILED);
    return static_cast<std::byte*>(memory);
}

std::byte* arena()
{
    static std::byte* const memory{map_arena()};
    return memory;
}

}  // namespace

void reset_platform(unsigned processors)
{
    HV_ASSERT(processors >= 1 && processors <= core::platform::maximum_processors);
    static_cast<void>(arena());
    HV_ASSERT(fallocate(arena_file(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, arena_bytes) == 0);  // reads zero again
    state() = State{};
    state().processors = processors;
}

int physical_memory()
{
    static_cast<void>(arena());
    return arena_file();
}

void set_current_processor(unsigned processor)
{
    HV_ASSERT(processor < state().processors);
    state().current = processor;
}

void set_ticks(std::uint64_t ticks)
{
    state().ticks = ticks;
}
void advance_ticks(std::uint64_t ticks)
{
    state().ticks += ticks;
}
void set_ticks_per_second(std::uint64_t frequency)
{
    state().frequency = frequency;
}
const std::vector<unsigned>& wakes()
{
    return state().wakes;
}
void forget_wakes()
{
    state().wakes.clear();
}
std::uint64_t deadline(unsigned processor)
{
    return state().deadlines.at(processor);
}
void on_interrupt_window(std::function<void(bool)> action)
{
    state().window = std::move(action);
}
unsigned waits()
{
    return state().waits;
}
const std::string& console()
{
    return state().console;
}

}  // namespace hv::fake

namespace hv::core::platform {

using fake::state;

void* to_pointer(HostPhysical address)
{
    HV_ASSERT(address.raw() < fake::arena_bytes);
    return fake::arena() + address.raw();
}

HostPhysical to_physical(const void* pointer)
{
    const auto* const byte = static_cast<const std::byte*>(pointer);
    HV_ASSERT(byte >= fake::arena() && byte < fake::arena() + fake::arena_bytes);
    return HostPhysical{static_cast<std::uint64_t>(byte - fake::arena())};
}

unsigned processor_count()
{
    return state().processors;
}
unsigned current_processor()
{
    return state().current;
}

void wake(unsigned processor)
{
    HV_ASSERT(processor < state().processors);
    state().wakes.push_back(processor);
}

void wait_for_interrupt()
{
    ++state().waits;
    if (state().window)
        state().window(true);
}

void take_pending_interrupts()
{
    if (state().window)
        state().window(false);
}

std::uint64_t ticks()
{
    return state().ticks;
}
std::uint64_t ticks_per_second()
{
    return state().frequency;
}
void set_deadline(std::uint64_t deadline)
{
    state().deadlines.at(state().current) = deadline;
}
void console_write(std::string_view text)
{
    state().console.append(text);
}

void watch_trusted_hooks() {}

}  // namespace hv::core::platform
