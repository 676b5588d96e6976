// SPDX-License-Identifier: MIT
//
// Every synthetic MSR that the specification lists: what it reads as when the guest has just begun, and which of its bits it takes,
// set alone.  Bits that would end or stop the guest are left out.  Specification: [TLFS-6.0b Appendix C].
#include "hv/x86/local_apic.hpp"
#include "kit/apic.hpp"
#include "kit/console.hpp"
#include "kit/interrupts.hpp"
#include "kit/machine.hpp"
#include "tlfs/probes.hpp"

namespace guest::tlfs {
namespace {

constexpr std::uint64_t all{~0ull}, enable{1}, masked{1 << 16};

/// Bits of `tried` are written one by one, each together with `base`; a row that tries none is only read, or written as it was.
struct Row {
    std::uint32_t msr;
    std::string_view name;
    std::uint64_t tried{all};
    std::uint64_t base{};
};

constexpr Row rows[]{
    {0x4000'0000, "GUEST_OS_ID"},
    {0x4000'0001, "HYPERCALL", all & ~3ull},  // enabling and locking are probes of their own
    {0x4000'0002, "VP_INDEX"},
    {0x4000'0003, "RESET", all & ~1ull},
    {0x4000'0010, "VP_RUNTIME"},
    {0x4000'0020, "TIME_REF_COUNT"},
    {0x4000'0021, "REFERENCE_TSC", all & ~enable},
    {0x4000'0022, "TSC_FREQUENCY"},
    {0x4000'0023, "APIC_FREQUENCY"},
    {0x4000'0040, "NPIEP_CONFIG", 0},
    {0x4000'0070, "EOI"},
    {0x4000'0071, "ICR", 0},
    {0x4000'0072, "TPR"},
    {0x4000'0073, "VP_ASSIST_PAGE", all & ~enable},
    {0x4000'0080, "SCONTROL"},
    {0x4000'0081, "SVERSION"},
    {0x4000'0082, "SIEFP", all & ~enable},
    {0x4000'0083, "SIMP", all & ~enable},
    {0x4000'0084, "EOM"},
    {0x4000'0090, "SINT0", all & ~masked, masked},
    {0x4000'0091, "SINT1", all & ~masked, masked},
    {0x4000'0092, "SINT2", all & ~masked, masked},
    {0x4000'0093, "SINT3", all & ~masked, masked},
    {0x4000'0094, "SINT4", all & ~masked, masked},
    {0x4000'0095, "SINT5", all & ~masked, masked},
    {0x4000'0096, "SINT6", all & ~masked, masked},
    {0x4000'0097, "SINT7", all & ~masked, masked},
    {0x4000'0098, "SINT8", all & ~masked, masked},
    {0x4000'0099, "SINT9", all & ~masked, masked},
    {0x4000'009a, "SINT10", all & ~masked, masked},
    {0x4000'009b, "SINT11", all & ~masked, masked},
    {0x4000'009c, "SINT12", all & ~masked, masked},
    {0x4000'009d, "SINT13", all & ~masked, masked},
    {0x4000'009e, "SINT14", all & ~masked, masked},
    {0x4000'009f, "SINT15", all & ~masked, masked},
    {0x4000'00b0, "STIMER0_CONFIG"},
    {0x4000'00b1, "STIMER0_COUNT"},
    {0x4000'00b2, "STIMER1_CONFIG"},
    {0x4000'00b3, "STIMER1_COUNT"},
    {0x4000'00b4, "STIMER2_CONFIG"},
    {0x4000'00b5, "STIMER2_COUNT"},
    {0x4000'00b6, "STIMER3_CONFIG"},
    {0x4000'00b7, "STIMER3_COUNT"},
    {0x4000'00c1, "POWER_STATE_TRIGGER_C1", 0},
    {0x4000'00c2, "POWER_STATE_TRIGGER_C2", 0},
    {0x4000'00c3, "POWER_STATE_TRIGGER_C3", 0},
    {0x4000'00d1, "POWER_STATE_CONFIG_C1", 0},
    {0x4000'00d2, "POWER_STATE_CONFIG_C2", 0},
    {0x4000'00d3, "POWER_STATE_CONFIG_C3", 0},
    {0x4000'00e0, "STATS_PARTITION_RETAIL_PAGE", 0},
    {0x4000'00e1, "STATS_PARTITION_INTERNAL_PAGE", 0},
    {0x4000'00e2, "STATS_VP_RETAIL_PAGE", 0},
    {0x4000'00e3, "STATS_VP_INTERNAL_PAGE", 0},
    {0x4000'00f0, "GUEST_IDLE"},
    {0x4000'00f1, "SYNTH_DEBUG_CONTROL", 0},
    {0x4000'00f2, "SYNTH_DEBUG_STATUS", 0},
    {0x4000'00f3, "SYNTH_DEBUG_SEND_BUFFER", 0},
    {0x4000'00f4, "SYNTH_DEBUG_RECEIVE_BUFFER", 0},
    {0x4000'00f5, "SYNTH_DEBUG_PENDING_BUFFER", 0},
    {0x4000'0100, "CRASH_P0"},
    {0x4000'0101, "CRASH_P1"},
    {0x4000'0102, "CRASH_P2"},
    {0x4000'0103, "CRASH_P3"},
    {0x4000'0104, "CRASH_P4"},
    {0x4000'0105, "CRASH_CTL", all >> 2},  // the others report a crash
    {0x4000'0106, "REENLIGHTENMENT_CONTROL", 0},
    {0x4000'0107, "TSC_EMULATION_CONTROL", 0},
    {0x4000'0108, "TSC_EMULATION_STATUS", 0},
    {0x4000'0114, "STIME_UNHALTED_TIMER_CONFIG", 0},
    {0x4000'0115, "STIME_UNHALTED_TIMER_COUNT", 0},
    {0x4000'0118, "TSC_INVARIANT_CONTROL", all & ~enable},
    {0x4000'1002, "NESTED_VP_INDEX", 0},
    {0x4000'1080, "NESTED_SCONTROL", 0},
    {0x4000'1081, "NESTED_SVERSION", 0},
    {0x4000'1082, "NESTED_SIEFP", 0},
    {0x4000'1083, "NESTED_SIMP", 0},
    {0x4000'1084, "NESTED_EOM", 0},
    {0x4000'1090, "NESTED_SINT0", 0},
};
constexpr std::uint32_t guest_idle{0x4000'00f0}, interrupt_command{0x4000'0071}, reset{0x4000'0003}, crash_control{0x4000'0105};
constexpr std::uint8_t vector{0x51};

void say(const Row& row, auto... what)
{
    print_line("tlfs: msr ", hv::Hex{row.msr, 8}, ' ', row.name, ": ", what...);
}

void say_value(const Row& row, std::string_view before, std::optional<std::uint64_t> value)
{
    if (value)
        say(row, before, hv::Hex{*value});
    else
        say(row, before, "#GP");
}

void took(InterruptFrame&)
{
    apic_write(hv::x86::ApicRegister::EOI, 0);
}

/// Reading it sleeps until an interrupt is pending: one of the processor's own is, with interrupts off.
std::optional<std::uint64_t> read_guest_idle()
{
    constexpr std::uint32_t to_itself{1u << 18 | vector};
    set_handler(vector, took);
    apic_write(hv::x86::ApicRegister::ICR_LOW, to_itself);
    const auto value = read_msr(guest_idle);
    asm volatile("sti\n nop\n nop\n cli" ::: "memory");
    return value;
}

/// Which bits are taken, and which of these are read back.
void probe_bits(const Row& row, std::optional<std::uint64_t> at_start)
{
    std::uint64_t taken{}, kept{};
    for (unsigned bit = 0; bit < 64; ++bit) {
        const std::uint64_t alone{1ull << bit};
        if ((row.tried & alone) == 0 || !write_msr(row.msr, row.base | alone))
            continue;
        taken |= alone;
        const auto now = read_msr(row.msr);
        if (now && *now == (row.base | alone))
            kept |= alone;
    }
    say(row, "bits ", hv::Hex{row.tried}, " taken ", hv::Hex{taken}, " kept ", hv::Hex{kept});
    if (at_start && taken != 0)
        static_cast<void>(write_msr(row.msr, *at_start));
}

/// A fixed interrupt for the processor itself, which stays pending; then it is taken.
void probe_command(const Row& row)
{
    const std::uint64_t command{std::uint64_t{cpuid(1).ebx >> 24} << 56 | 1 << 14 | vector};
    set_handler(vector, took);
    say(row, write_msr(row.msr, command) ? "command taken" : "command #GP");
    say_value(row, "command reads ", read_msr(row.msr));
    asm volatile("sti\n nop\n nop\n cli" ::: "memory");
}

/// What may be written to find out whether it is taken: what was read, but of registers that act.
std::uint64_t harmless(const Row& row, std::optional<std::uint64_t> at_start)
{
    if (row.msr == interrupt_command)
        return vector;
    return row.msr == crash_control ? 0 : at_start.value_or(row.base);
}

void probe(const Row& row, const Offer& offer)
{
    const bool sleeps{row.msr == guest_idle && offer.may(access_guest_idle)};
    const auto at_start = sleeps ? read_guest_idle() : read_msr(row.msr);
    say_value(row, "read ", at_start);
    say(row, write_msr(row.msr, harmless(row, at_start)) ? "write-back taken" : "write-back #GP");
    if (row.tried != 0)
        probe_bits(row, at_start);
    if (row.msr == interrupt_command)
        probe_command(row);
    if (row.msr == reset)
        say(row, write_msr(row.msr, 0) ? "zero taken" : "zero #GP");
}

/// Numbers of the range that the specification gives to no register.
void probe_others()
{
    constexpr std::uint32_t first{0x4000'0000}, end{0x4000'0200};
    unsigned read{}, written{};
    for (std::uint32_t msr = first; msr < end; ++msr) {
        bool listed{};
        for (const Row& row : rows)
            listed = listed || row.msr == msr;
        if (listed)
            continue;
        read += read_msr(msr) ? 1 : 0;
        written += write_msr(msr, 0) ? 1 : 0;
    }
    print_line("tlfs: msr others: read ", read, " written ", written);
}

}  // namespace

void probe_msrs(const Offer& offer)
{
    enable_xapic();
    for (const Row& row : rows)
        probe(row, offer);
    probe_others();
}

}  // namespace guest::tlfs
