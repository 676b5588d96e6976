// SPDX-License-Identifier: MIT
//
// The local APIC, by MMIO or MSR: see local_apic.hpp.
#include "hv/arch/x86/platform/local_apic.hpp"

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/interrupts.hpp"
#include "hv/arch/x86/mm/address_space.hpp"

namespace hv::x86 {

namespace {

constinit volatile std::uint32_t* registers{nullptr};
constinit bool x2apic{false};

Msr msr_of(ApicRegister which)
{
    return static_cast<Msr>(x2apic_msr(which));
}

std::uint32_t read(ApicRegister which)
{
    if (x2apic)
        return static_cast<std::uint32_t>(read_msr(msr_of(which)));
    return registers[static_cast<std::uint32_t>(which) / sizeof(std::uint32_t)];
}

void write(ApicRegister which, std::uint32_t value)
{
    if (x2apic)
        write_msr(msr_of(which), value);
    else
        registers[static_cast<std::uint32_t>(which) / sizeof(std::uint32_t)] = value;
}

void wait_until_sent()
{
    if (x2apic)  // has no delivery status [SDM3-083 §11.12.9]
        return;
    while (InterruptCommand::DeliveryStatus::get(read(ApicRegister::ICR_LOW)))
        pause();
}

void command(std::uint32_t destination, std::uint64_t low)
{
    if (x2apic) {
        write_msr(msr_of(ApicRegister::ICR_LOW), std::uint64_t{destination} << 32 | low);
        return;
    }
    wait_until_sent();
    write(ApicRegister::ICR_HIGH, destination << 24);
    write(ApicRegister::ICR_LOW, static_cast<std::uint32_t>(low));
    wait_until_sent();
}

/// Divide configuration values for 1, 2, 4 … 128 [SDM3-083 §11.5.4].
constexpr std::uint8_t divide_values[]{0b1011, 0b0000, 0b0001, 0b0010, 0b0011, 0b1000, 0b1001, 0b1010};

}  // namespace

Status initialize_local_apic(HostPhysical madt_base, TextWriter& why)
{
    const std::uint64_t base = read_msr(Msr::APIC_BASE);
    if (!ApicBase::AE::get(base)) {
        say(why, "Graft needs a local APIC, and the firmware has disabled it.");
        return Error::not_supported;
    }
    x2apic = ApicBase::EXTD::get(base);
    if (x2apic)
        return Done{};
    const HostPhysical physical{base & ApicBase::address_mask};
    if (physical != madt_base)
        say(why, "the local APIC is at ", Hex{physical.raw()}, ", not where ACPI says (",
            Hex{madt_base.raw()}, ")");
    const auto mapped = map_device({physical, page_size});
    if (!mapped) {
        say(why, "Graft cannot map the local APIC at ", Hex{physical.raw()}, ": ", error_name(mapped.error()),
            ".");
        return mapped.error();
    }
    registers = static_cast<volatile std::uint32_t*>(mapped.value());
    return Done{};
}

void enable_local_apic()
{
    write(ApicRegister::TPR, 0);
    write(ApicRegister::SVR, static_cast<std::uint32_t>(SpuriousVector::Enable::mask |
                                                        static_cast<std::uint64_t>(HostVector::spurious)));
}

void enable_boot_local_apic()
{
    if (!SpuriousVector::Enable::get(read(ApicRegister::SVR)))
        enable_local_apic();
}

std::uint32_t local_apic_id()
{
    const std::uint32_t id = read(ApicRegister::ID);
    return x2apic ? id : id >> 24;
}

void end_of_interrupt()
{
    write(ApicRegister::EOI, 0);
}

void send_interrupt(std::uint32_t apic_id, DeliveryMode mode, std::uint8_t vector)
{
    command(apic_id, InterruptCommand::Vector::make(vector) | InterruptCommand::Mode::make(mode) |
                         InterruptCommand::Assert::mask);
}

void send_nmi_to_others()
{
    if (!x2apic && registers == nullptr)
        return;  // so early that nobody else runs
    command(0, InterruptCommand::Mode::make(DeliveryMode::nmi) | InterruptCommand::Assert::mask |
                   InterruptCommand::Shorthand::make(InterruptCommand::all_but_self));
}

void start_apic_timer(std::uint32_t count, unsigned shift)
{
    write(ApicRegister::LVT_TIMER, static_cast<std::uint32_t>(HostVector::timer));
    write(ApicRegister::DIVIDE_CONFIGURATION, divide_values[shift]);
    write(ApicRegister::INITIAL_COUNT, count);
}

void stop_apic_timer()
{
    write(ApicRegister::INITIAL_COUNT, 0);
    write(ApicRegister::LVT_TIMER, static_cast<std::uint32_t>(LocalVector::Masked::mask) |
                                       static_cast<std::uint32_t>(HostVector::timer));
}

std::uint32_t apic_timer_count()
{
    return read(ApicRegister::CURRENT_COUNT);
}

}  // namespace hv::x86
