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
constexpr unsigned rounds{3};
constexpr std::uint64_t patience{400'000'000};  // reads of a clock that may stand still

/// One measurement: how far the counters went while a known clock went `steps` of `hz`.
struct Sample {
    std::uint64_t tsc, apic, steps, hz;
};

// ---- the programmable interval timer, channel 2: its gate and output are in port 0x61 ------------------------------

constexpr std::uint64_t pit_hz{1'193'182};
constexpr std::uint16_t pit_steps{59'659};  // 50 ms
constexpr std::uint16_t pit_channel_2{0x42};
constexpr std::uint16_t pit_command{0x43};
constexpr std::uint16_t gate_port{0x61};
constexpr std::uint8_t gate_on{0x01};
constexpr std::uint8_t speaker_on{0x02};
constexpr std::uint8_t output_high{0x20};
constexpr std::uint8_t channel_2_mode_0_word{0xb0};  // low byte, then high; output rises at the terminal count

std::optional<Sample> measure_by_pit()
{
    const std::uint8_t before = in8(gate_port);
    const auto gate_closed = static_cast<std::uint8_t>(before & ~(gate_on | speaker_on));
    out8(gate_port, gate_closed);
    out8(pit_command, channel_2_mode_0_word);
    out8(pit_channel_2, pit_steps & 0xff);
    out8(pit_channel_2, pit_steps >> 8);
    start_apic_timer(~0u, calibration_shift);
    const std::uint64_t tsc_begin = read_tsc();
    const std::uint32_t apic_begin = apic_timer_count();
    out8(gate_port, static_cast<std::uint8_t>(gate_closed | gate_on));
    bool done{false};
    for (std::uint64_t poll = 0; !done && poll < patience / 100; ++poll)
        done = (in8(gate_port) & output_high) != 0;
    const std::uint64_t tsc_end = read_tsc();
    const std::uint32_t apic_end = apic_timer_count();
    stop_apic_timer();
    out8(gate_port, before);
    if (!done)
        return std::nullopt;
    return Sample{.tsc = tsc_end - tsc_begin, .apic = apic_begin - apic_end, .steps = pit_steps, .hz = pit_hz};
}

// ---- the ACPI power management timer: 24 bits, [ACPI-6.5 §4.8.2.1] ----------------------------------------------

constexpr std::uint64_t power_timer_hz{3'579'545};
constexpr std::uint32_t power_timer_mask{0xff'ffff};

std::optional<Sample> measure_by_power_timer(std::uint16_t port)
{
    const std::uint64_t wanted = power_timer_hz / 20;
    start_apic_timer(~0u, calibration_shift);
    const std::uint32_t begin = in32(port) & power_timer_mask;
    const std::uint64_t tsc_begin = read_tsc();
    const std::uint32_t apic_begin = apic_timer_count();
    std::uint64_t gone{0};
    for (std::uint64_t poll = 0; gone < wanted && poll < patience / 100; ++poll)
        gone = (in32(port) - begin) & power_timer_mask;
    const std::uint64_t tsc_end = read_tsc();
    const std::uint32_t apic_end = apic_timer_count();
    stop_apic_timer();
    if (gone < wanted)
        return std::nullopt;
    return Sample{.tsc = tsc_end - tsc_begin, .apic = apic_begin - apic_end, .steps = gone, .hz = power_timer_hz};
}

std::optional<Sample> measure(std::optional<std::uint16_t> power_timer)
{
    if (const auto sample = measure_by_pit())
        return sample;
    if (power_timer)
        return measure_by_power_timer(*power_timer);
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
    asm("divq %4" : "=a"(quotient), "=d"(remainder)
        : "a"(static_cast<std::uint64_t>(product)), "d"(static_cast<std::uint64_t>(product >> 64)), "r"(denominator)
        : "cc");
    return quotient;
}

void arm(PerCpu& cpu)
{
    constexpr unsigned longest_shift{7};
    const std::uint64_t now = read_tsc();
    const std::uint64_t ticks = cpu.deadline > now ? cpu.deadline - now : 0;
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
    // The shortest of a few: whatever disturbs a measurement makes it longer.
    std::optional<Sample> best;
    for (unsigned round = 0; round < rounds; ++round) {
        const auto sample = measure(power_timer);
        if (!sample)
            return Error::not_supported;
        if (!best || scaled(sample->tsc, sample->hz, sample->steps) < scaled(best->tsc, best->hz, best->steps))
            best = sample;
    }
    const std::uint64_t stated = stated_tsc_frequency();
    tsc_hz = stated != 0 ? stated : scaled(best->tsc, best->hz, best->steps);
    apic_hz = scaled(best->apic << calibration_shift, best->hz, best->steps);
    if (tsc_hz == 0 || apic_hz == 0)
        return Error::not_supported;
    return Done{};
}

std::uint64_t tsc_frequency() { return tsc_hz; }

std::uint64_t apic_timer_frequency() { return apic_hz; }

void delay_microseconds(std::uint64_t microseconds)
{
    const std::uint64_t end = read_tsc() + scaled(microseconds, tsc_hz, 1'000'000);
    while (read_tsc() < end)
        pause();
}

void rearm_timer_if_early()
{
    PerCpu& cpu = this_cpu();
    if (cpu.deadline != ~0ull && read_tsc() < cpu.deadline)
        arm(cpu);
    else
        cpu.deadline = ~0ull;
}

void arm_deadline(std::uint64_t deadline)
{
    PerCpu& cpu = this_cpu();
    cpu.deadline = deadline;
    if (deadline == ~0ull)
        stop_apic_timer();
    else
        arm(cpu);
}

}  // namespace hv::x86
