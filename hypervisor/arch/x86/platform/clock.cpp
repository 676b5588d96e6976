// SPDX-License-Identifier: MIT
//
// Measuring the clocks, and the deadline timer over the APIC's counter: see clock.hpp.
#include "hv/arch/x86/platform/clock.hpp"

#include <algorithm>

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/platform/local_apic.hpp"

namespace hv::x86 {

namespace {

constinit std::uint64_t tsc_hz{0};
constinit std::uint64_t apic_hz{0};  // of its bus clock, undivided

constexpr unsigned calibration_shift{0};
constexpr unsigned readings{16};
constexpr unsigned attempts{5};               // with a clock that may wrap
constexpr std::uint64_t patience{4'000'000};  // reads of a clock that may stand still: seconds

/// What the clocks showed at one moment.
struct Moment {
    std::uint64_t tsc;
    std::uint32_t apic;       // counts down
    std::uint32_t reference;  // a clock whose frequency is known; counts up
};

/// A clock whose frequency is known, read through ports.
struct ReferenceClock {
    std::uint64_t hz;
    std::uint32_t mask;  // where it wraps
    std::uint32_t (*read)();
    void (*start)();
    /// Stops it; false when it has wrapped since start(), so that what was read in between means nothing.
    bool (*stop)();
};

// ---- the programmable interval timer, channel 2: its gate and output are in port 0x61
// ------------------------------

namespace pit {

constexpr std::uint16_t channel_2{0x42};
constexpr std::uint16_t command{0x43};
constexpr std::uint16_t gate_port{0x61};
constexpr std::uint8_t gate_on{0x01};
constexpr std::uint8_t speaker_on{0x02};
constexpr std::uint8_t output_high{0x20};
constexpr std::uint8_t mode_0_word{0xb0};  // low byte, then high; the output rises at the terminal count
constexpr std::uint8_t latch{0x80};

constinit std::uint8_t gate_before{0};

void start()
{
    gate_before = in8(gate_port);
    out8(gate_port, static_cast<std::uint8_t>((gate_before & ~speaker_on) | gate_on));
    out8(command, mode_0_word);
    out8(channel_2, 0xff);
    out8(channel_2, 0xff);
}

bool stop()
{
    const bool wrapped = (in8(gate_port) & output_high) != 0;
    out8(gate_port, gate_before);
    return !wrapped;
}

std::uint32_t read()
{
    out8(command, latch);
    const std::uint8_t low = in8(channel_2);
    return 0xffffu - (static_cast<std::uint32_t>(in8(channel_2)) << 8 | low);
}

constexpr ReferenceClock clock{.hz = 1'193'182, .mask = 0xffff, .read = read, .start = start, .stop = stop};

}  // namespace pit

// ---- the ACPI power management timer: 24 bits at least, always running [ACPI-6.5 "Power Management
// Timer"]
// ------------------------

namespace power_timer {

constinit std::uint16_t port{0};

constexpr ReferenceClock clock{.hz = 3'579'545,
                               .mask = 0xff'ffff,
                               .read = [] { return in32(port) & 0xff'ffff; },
                               .start = [] {},
                               .stop = [] { return true; }};

}  // namespace power_timer

/// The best of several readings: the one during which least time went by, so that neither a system management
/// interrupt nor an emulator's pause lies between what is read together.
Moment read_moment(const ReferenceClock& clock)
{
    Moment best{};
    std::uint64_t least{~0ull};
    for (unsigned reading = 0; reading < readings; ++reading) {
        const std::uint64_t before = read_tsc();
        const std::uint32_t reference = clock.read();
        const std::uint32_t apic = apic_timer_count();
        const std::uint64_t after = read_tsc();
        if (after - before < least) {
            least = after - before;
            best = {.tsc = before + least / 2, .apic = apic, .reference = reference};
        }
    }
    return best;
}

struct Frequencies {
    std::uint64_t tsc, apic;
};

std::uint64_t scaled(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator);

std::optional<Frequencies> measure(const ReferenceClock& clock)
{
    const std::uint64_t wanted = clock.hz / 25;  // 40 ms: the PIT wraps after 55
    clock.start();
    start_apic_timer(~0u, calibration_shift);
    const Moment first = read_moment(clock);
    std::uint64_t gone{0};
    for (std::uint64_t poll = 0; gone < wanted && poll < patience; ++poll)
        gone = (clock.read() - first.reference) & clock.mask;
    const Moment second = read_moment(clock);
    stop_apic_timer();
    if (!clock.stop() || gone < wanted)
        return std::nullopt;
    const std::uint64_t steps = (second.reference - first.reference) & clock.mask;
    return Frequencies{.tsc = scaled(second.tsc - first.tsc, clock.hz, steps),
                       .apic = scaled(first.apic - second.apic, clock.hz, steps)};
}

/// The power management timer is one read and never wraps unseen, so it comes first.
std::optional<Frequencies> measure_by_any(std::optional<std::uint16_t> power_timer_port)
{
    if (power_timer_port) {
        power_timer::port = *power_timer_port;
        if (const auto found = measure(power_timer::clock))
            return found;
    }
    for (unsigned attempt = 0; attempt < attempts; ++attempt)
        if (const auto found = measure(pit::clock))
            return found;
    return std::nullopt;
}

/// What the processor says itself [SDM2-083 "CPUID", leaf 15H], or 0.
std::uint64_t stated_tsc_frequency()
{
    if (cpuid(CpuidLeaf::vendor).eax < static_cast<std::uint32_t>(CpuidLeaf::tsc_frequency))
        return 0;
    const CpuidResult leaf = cpuid(CpuidLeaf::tsc_frequency);
    if (leaf.eax == 0 || leaf.ebx == 0 || leaf.ecx == 0)
        return 0;
    return std::uint64_t{leaf.ecx} * leaf.ebx / leaf.eax;
}

std::uint64_t scaled(std::uint64_t value, std::uint64_t numerator, std::uint64_t denominator)
{
    const auto product = static_cast<unsigned __int128>(value) * numerator;
    if ((product >> 64) >= denominator)
        return ~0ull;  // does not fit
    std::uint64_t quotient{}, remainder{};
    asm("divq %4"
        : "=a"(quotient), "=d"(remainder)
        : "a"(static_cast<std::uint64_t>(product)), "d"(static_cast<std::uint64_t>(product >> 64)),
          "r"(denominator)
        : "cc");
    return quotient;
}

void arm(PerCpu& cpu)
{
    constexpr unsigned longest_shift{7};
    const std::uint64_t now = read_tsc();
    const std::uint64_t next = std::min(cpu.deadline, cpu.guard);
    const std::uint64_t ticks = next > now ? next - now : 0;
    std::uint64_t count = scaled(ticks, apic_hz, tsc_hz);
    count = std::min<std::uint64_t>(count + 1, ~0ull >> 1);  // rounded up: rather late than early
    unsigned shift{0};
    while (count > ~0u && shift < longest_shift) {
        count = (count + 1) / 2;
        ++shift;
    }
    start_apic_timer(static_cast<std::uint32_t>(std::min<std::uint64_t>(count, ~0u)), shift);
}

}  // namespace

Status calibrate_clocks(std::optional<std::uint16_t> power_timer)
{
    const auto measured = measure_by_any(power_timer);
    if (!measured)
        return Error::not_supported;
    const std::uint64_t stated = stated_tsc_frequency();
    tsc_hz = stated != 0 ? stated : measured->tsc;
    apic_hz = measured->apic << calibration_shift;
    if (tsc_hz == 0 || apic_hz == 0)
        return Error::not_supported;
    return Done{};
}

std::uint64_t tsc_frequency()
{
    return tsc_hz;
}

std::uint64_t apic_timer_frequency()
{
    return apic_hz;
}

void delay_microseconds(std::uint64_t microseconds)
{
    const std::uint64_t end = read_tsc() + scaled(microseconds, tsc_hz, 1'000'000);
    while (read_tsc() < end)
        pause();
}

void rearm_timer_if_early()
{
    PerCpu& cpu = this_cpu();
    const std::uint64_t now = read_tsc();
    if (cpu.deadline <= now)
        cpu.deadline = ~0ull;
    if (cpu.guard <= now)
        cpu.guard = ~0ull;
    if (cpu.deadline != ~0ull || cpu.guard != ~0ull)
        arm(cpu);
}

void arm_deadline(std::uint64_t deadline)
{
    PerCpu& cpu = this_cpu();
    cpu.deadline = deadline;
    if (deadline == ~0ull && cpu.guard == ~0ull)
        stop_apic_timer();
    else
        arm(cpu);
}

void arm_guard(std::uint64_t guard)
{
    PerCpu& cpu = this_cpu();
    cpu.guard = guard;
    arm(cpu);
}

}  // namespace hv::x86
