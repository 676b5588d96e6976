// SPDX-License-Identifier: MIT
#include "processors.hpp"

#include <atomic>
#include <cstring>
#include <span>
#include <string_view>

#include "apic.hpp"
#include "interrupts.hpp"
#include "machine.hpp"

extern "C" const std::uint8_t guest_startup_begin[];
extern "C" const std::uint8_t guest_startup_end[];

namespace guest {
namespace {

constexpr std::uint64_t startup_address{0x8000};  // as in startup.S
constexpr std::uint32_t patience{100'000'000};    // looks at the counter
std::atomic<unsigned> entered;
ProcessorMain processor_main;

template <typename T>
T read_at(std::uint64_t address)
{
    T value;
    std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof value);
    return value;
}

std::string_view text_at(std::uint64_t address, std::size_t length)
{
    return {reinterpret_cast<const char*>(address), length};
}

/// The root pointer lies on 16 bytes in the BIOS area [ACPI-6.5 §5.2.5.1].
std::uint64_t find_madt()
{
    std::uint64_t root{};
    for (std::uint64_t at = 0xe'0000; at < 0x10'0000 && root == 0; at += 16)
        if (text_at(at, 8) == "RSD PTR ")
            root = at;
    if (root == 0)
        return 0;
    const auto xsdt = read_at<std::uint64_t>(root + 24);
    const auto length = read_at<std::uint32_t>(xsdt + 4);
    for (std::uint64_t at = xsdt + 36; at + 8 <= xsdt + length; at += 8)
        if (const auto table = read_at<std::uint64_t>(at); text_at(table, 4) == "APIC")
            return table;
    return 0;
}

void send(std::uint32_t apic_id, hv::x86::DeliveryMode mode, std::uint8_t vector)
{
    using hv::x86::InterruptCommand;
    apic_write(hv::x86::ApicRegister::ICR_HIGH, apic_id << 24);
    apic_write(hv::x86::ApicRegister::ICR_LOW,
               static_cast<std::uint32_t>(InterruptCommand::Vector::make(vector) |
                                          InterruptCommand::Mode::make(mode) | InterruptCommand::Assert::mask));
}

bool start(std::uint32_t apic_id)
{
    const unsigned before{entered.load()};
    reset_processor(apic_id);
    for (std::uint32_t look = 0; look < patience; ++look) {
        if (entered.load() != before)
            return true;
        asm volatile("pause");
    }
    return false;
}

}  // namespace

ApicIds madt_processors()
{
    ApicIds ids;
    const std::uint64_t madt{find_madt()};
    if (madt == 0)
        return ids;
    const std::uint64_t end{madt + read_at<std::uint32_t>(madt + 4)};
    for (std::uint64_t at = madt + 44; at + 2 <= end && read_at<std::uint8_t>(at + 1) != 0;
         at += read_at<std::uint8_t>(at + 1)) {
        const auto type = read_at<std::uint8_t>(at);
        if (type == 0 && (read_at<std::uint32_t>(at + 4) & 1) != 0)
            static_cast<void>(ids.push_back(read_at<std::uint8_t>(at + 3)));
        if (type == 9 && (read_at<std::uint32_t>(at + 8) & 1) != 0)
            static_cast<void>(ids.push_back(read_at<std::uint32_t>(at + 4)));
    }
    return ids;
}

void reset_processor(std::uint32_t apic_id)
{
    send(apic_id, hv::x86::DeliveryMode::init, 0);
    for (unsigned message = 0; message < 2; ++message)  // kernels send it twice
        send(apic_id, hv::x86::DeliveryMode::startup, startup_address >> 12);
}

unsigned start_processors(const ApicIds& ids, std::uint32_t own_id, ProcessorMain main)
{
    processor_main = main;
    const std::span code{guest_startup_begin, guest_startup_end};
    std::memcpy(reinterpret_cast<void*>(startup_address), code.data(), code.size());
    unsigned started{};
    for (const std::uint32_t id : ids)
        if (id != own_id)
            started += start(id) ? 1 : 0;
    return started;
}

}  // namespace guest

extern "C" void guest_processor_entered(unsigned number)
{
    guest::load_interrupts();
    guest::entered.fetch_add(1);
    guest::processor_main(number);
}
