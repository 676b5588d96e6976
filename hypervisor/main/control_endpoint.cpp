// SPDX-License-Identifier: MIT
#include "control_endpoint.hpp"

#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/platform/local_apic.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/core/vcpu/run_loop.hpp"

namespace hv {
namespace {

constexpr std::uint64_t message_area{0xfee0'0000};  // [SDM3-083 §11.11.1]
constexpr std::uint64_t message_area_mask{~0xf'ffffull};
constexpr std::uint64_t in_use{1ull << 63};

/// What of a message matters, in one word that is not 0; 0 where it is no message.  Its destination does not: whatever the
/// control domain calls its only processor, logically or physically, it means that one.
std::uint64_t packed(const core::virtio::MsiMessage& message)
{
    return (message.address & message_area_mask) == message_area ? in_use | (message.data & 0xff) : 0;
}

void send(std::uint64_t word)
{
    x86::send_interrupt(x86::cpu_data(0).apic_id, x86::DeliveryMode::fixed, static_cast<std::uint8_t>(word));
}

}  // namespace

Expected<std::span<std::byte>> ControlEndpoint::map(GuestPhysical address, std::uint64_t bytes)
{
    const control_domain::ControlDomain* const domain = domain_.load(std::memory_order_acquire);
    if (domain == nullptr)
        return Error::busy;
    const auto span = domain->ram(address, bytes);
    if (span.size() != bytes)
        return Error::out_of_range;
    return span;
}

void ControlEndpoint::send_msi(const core::virtio::MsiMessage& message)
{
    const std::uint64_t word = packed(message);
    if (word == 0)
        return;
    if (core::platform::current_processor() != 0)
        return send(word);
    for (std::atomic<std::uint64_t>& slot : deferred_) {
        std::uint64_t expected{};
        if (slot.load(std::memory_order_relaxed) == word || slot.compare_exchange_strong(expected, word))
            break;
    }
    kick();
}

void ControlEndpoint::send_deferred()
{
    for (std::atomic<std::uint64_t>& slot : deferred_)
        if (const std::uint64_t word = slot.exchange(0); word != 0)
            send(word);
}

void ControlEndpoint::kick() { core::announce_work(); }

void ControlEndpoint::kick_soon() { core::announce_work_soon(); }

void ControlEndpoint::place_window(std::optional<GuestPhysical> base)
{
    control_domain::ControlDomain* const domain = domain_.load(std::memory_order_acquire);
    if (domain == nullptr)
        return;
    if (base)
        domain->place_window(GuestRange{*base, core::virtio::bar_bytes});
    else
        domain->place_window(std::nullopt);
}

}  // namespace hv
