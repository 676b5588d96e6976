// SPDX-License-Identifier: MIT
#include "hv/core/domain/virtual_pc.hpp"

#include <array>

#include "hv/core/device/acpi_pm.hpp"
#include "hv/core/device/pit.hpp"
#include "hv/core/device/reset_ports.hpp"
#include "hv/core/device/rtc.hpp"
#include "hv/core/device/uart.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/interrupt/io_apic.hpp"
#include "hv/core/interrupt/pic.hpp"
#include "hv/core/machine.hpp"

namespace hv::core {
namespace {

constexpr std::uint8_t all_ones{0xff};

/// Which device answers at a port.
enum class Owner : std::uint8_t { nobody, pic, pit, rtc, uart, power, reset };

constexpr bool within(std::uint16_t port, std::uint16_t first, unsigned count)
{
    return port >= first && port - first < static_cast<int>(count);
}

constexpr Owner find_owner(std::uint16_t port)
{
    namespace at = protocol;
    if (within(port, at::uart_port, at::uart_ports))
        return Owner::uart;
    if (within(port, at::pic_master_port, 2) || within(port, at::pic_slave_port, 2) ||
        within(port, at::pic_edge_level_port, 2))
        return Owner::pic;
    if (within(port, at::pit_port, 4) || port == at::system_control_port)
        return Owner::pit;
    if (within(port, at::rtc_port, 2))
        return Owner::rtc;
    if (within(port, at::pm1a_event_port, at::pm1a_event_bytes) ||
        within(port, at::pm1a_control_port, at::pm1a_control_bytes) ||
        within(port, at::pm_timer_port, at::pm_timer_bytes))
        return Owner::power;
    return port == at::reset_port || port == at::keyboard_controller_port ? Owner::reset : Owner::nobody;
}

constexpr std::uint16_t first_unowned{0x1000};

constexpr std::array<Owner, first_unowned> make_owners()
{
    std::array<Owner, first_unowned> owners{};
    for (std::uint16_t port = 0; port < first_unowned; ++port)
        owners[port] = find_owner(port);
    return owners;
}
constexpr bool all_are_below(std::uint16_t limit)
{
    for (std::uint32_t port = limit; port <= 0xffff; ++port)
        if (find_owner(static_cast<std::uint16_t>(port)) != Owner::nobody)
            return false;
    return true;
}
static_assert(all_are_below(first_unowned));
/// Looked up in every access.
constexpr std::array<Owner, first_unowned> owners{make_owners()};

Owner owner_of(std::uint16_t port) { return port < first_unowned ? owners[port] : Owner::nobody; }

/// Whose accesses can move a deadline.
constexpr bool keeps_time(Owner owner) { return owner == Owner::pit || owner == Owner::rtc || owner == Owner::power; }

constexpr std::uint16_t no_port{0};  // nobody's

/// The port that one byte of an access reaches.  An access that begins below the reset register is to PCI's
/// configuration address at 0xcf8, whose second byte is a function's number and no request for a reset [PCI-3.0 §3.2.2.3.2].
constexpr std::uint16_t port_of_byte(std::uint16_t port, unsigned byte)
{
    const auto at = static_cast<std::uint16_t>(port + byte);
    return at == protocol::reset_port && byte != 0 ? no_port : at;
}

}  // namespace

struct VirtualPcDevices final : InterruptLine, InterruptMessageSink, UartHost, PowerSink, control::ConsoleListener {
    struct PcTimer final : Timer {
        explicit PcTimer(VirtualPcDevices& owner) : Timer{expired}, devices{owner} {}
        static void expired(Timer& self) { static_cast<PcTimer&>(self).devices.deadline(); }
        VirtualPcDevices& devices;
    };

    explicit VirtualPcDevices(Domain& owner)
        : domain{owner}, io_apic{*this}, pit{*this}, rtc{*this, clock_of(owner)}, power{*this, *this},
          uart{*this, *this}, reset{*this}, timer{*this}
    {
    }

    static RtcConfig clock_of(const Domain& domain)
    {
        const std::uint64_t bytes = domain.memory.bytes();
        const std::uint64_t low = bytes < protocol::mmio_hole_begin ? bytes : protocol::mmio_hole_begin;
        return {machine().unix_nanoseconds(platform::ticks()), low, bytes - low};
    }

    [[nodiscard]] std::uint64_t now() const { return domain.time.nanoseconds(platform::ticks()); }

    // ---- what the devices ask for; the lock is held ----
    void set_line(unsigned line, bool level) override
    {
        const std::uint32_t bit = 1u << line;
        if (!level && (high_lines & bit) == 0)
            return;  // low as before: nothing can come of it
        high_lines = level ? high_lines | bit : high_lines & ~bit;
        io_apic.set_line(line == protocol::pit_irq ? protocol::pit_gsi : line, level);
        if (line >= 16)
            return;
        const bool before = pic.output();
        pic.set_line(line, level);
        if (pic.output() != before)
            domain.vcpu(0).request(VcpuRequest::external_interrupt);
    }
    bool deliver(const InterruptMessage& message) override { return domain.route(message, domain.vcpu_count()); }
    bool transmit(std::uint8_t byte) override
    {
        return domain.console.put(byte);
    }
    void receiver_has_room() override { receiver_room = true; }
    void sleep_requested(std::uint8_t sleep_type) override
    {
        if (sleep_type == protocol::sleep_type_s5)
            domain.end(EndReason::poweroff);
    }
    void reset_requested() override { domain.end(EndReason::reboot); }

    // ---- the other end of the console; the lock is not held ----
    void input_arrived() override
    {
        LockGuard guard{lock};
        feed_receiver();
        settle();
    }
    void output_has_room() override
    {
        LockGuard guard{lock};
        uart.transmit_room();
        settle();
    }

    // ---- bytes ----
    std::uint8_t read(std::uint16_t port) { return owner_of(port) == Owner::uart ? uart.read(port) : read_other(port); }
    void write(std::uint16_t port, std::uint8_t value)
    {
        return owner_of(port) == Owner::uart ? uart.write(port, value) : write_other(port, value);
    }
    /// The console is accessed far more often than all others.
    [[gnu::noinline]] std::uint8_t read_other(std::uint16_t port)
    {
        switch (owner_of(port)) {
        case Owner::pic: return pic.read(port);
        case Owner::pit: return pit.read(port, now());
        case Owner::rtc: return rtc.read(port, now());
        case Owner::uart: return uart.read(port);
        case Owner::power: return power.read(port, now());
        case Owner::reset: return reset.read(port);
        case Owner::nobody: return all_ones;
        }
        return all_ones;
    }
    [[gnu::noinline]] void write_other(std::uint16_t port, std::uint8_t value)
    {
        switch (owner_of(port)) {
        case Owner::pic: return write_pic(port, value);
        case Owner::pit: return pit.write(port, value, now());
        case Owner::rtc: return rtc.write(port, value, now());
        case Owner::uart: return uart.write(port, value);
        case Owner::power: return power.write(port, value, now());
        case Owner::reset: return reset.write(port, value);
        case Owner::nobody: return;
        }
    }
    void write_pic(std::uint16_t port, std::uint8_t value)
    {
        const bool before = pic.output();
        pic.write(port, value);
        if (pic.output() != before)
            domain.vcpu(0).request(VcpuRequest::external_interrupt);
    }

    /// What the operator typed goes to the receiver while it has room.
    void feed_receiver()
    {
        receiver_room = false;
        while (uart.can_receive()) {
            const auto byte = domain.console.get();
            if (!byte)
                return;
            static_cast<void>(uart.receive(*byte));
        }
    }

    /// After every access: the receiver may have room, deadlines may have moved.
    void settle()
    {
        if (receiver_room)
            feed_receiver();
        arm();
    }
    /// The same after an access to these ports alone.
    void settle(std::uint16_t port)
    {
        if (receiver_room) [[unlikely]]
            feed_receiver();
        if (keeps_time(owner_of(port)))
            arm();
    }
    void settle(std::uint16_t first, unsigned count)
    {
        if (receiver_room)
            feed_receiver();
        for (unsigned byte = 0; byte < count; ++byte)
            if (keeps_time(owner_of(static_cast<std::uint16_t>(first + byte))))
                return arm();
    }
    [[nodiscard]] std::uint64_t next_deadline() const
    {
        std::uint64_t deadline = pit.next_deadline();
        deadline = rtc.next_deadline() < deadline ? rtc.next_deadline() : deadline;
        return power.next_deadline() < deadline ? power.next_deadline() : deadline;
    }
    void arm()
    {
        const std::uint64_t deadline = next_deadline();
        if (deadline == armed_for)
            return;
        armed_for = deadline;
        if (deadline == no_deadline || !domain.time.running())
            TimerQueue::cancel(timer);
        else
            machine().arm_here(timer, domain.time.host_tick_of(deadline));
    }
    void deadline()
    {
        LockGuard guard{lock};
        if (domain.state() != DomainState::running)
            return;
        armed_for = no_deadline;
        pit.expire(now());
        rtc.expire(now());
        power.expire(now());
        settle();
    }

    Domain& domain;
    mutable Spinlock lock{};
    Pic pic{};
    IoApic io_apic;
    Pit pit;
    Rtc rtc;
    AcpiPm power;
    Uart uart;
    ResetPorts reset;
    PcTimer timer;
    std::uint64_t armed_for{no_deadline};
    std::uint32_t high_lines{};  ///< bit n: line n is high
    bool receiver_room{};
};

VirtualPc::VirtualPc(Domain& domain) : domain_{domain} {}

VirtualPc::~VirtualPc()
{
    if (devices_ == nullptr)
        return;
    TimerQueue::cancel(devices_->timer);
    core::destroy(domain_.heap, devices_);
}

Status VirtualPc::create()
{
    auto devices = HV_TRY(make<VirtualPcDevices>(domain_.heap, domain_));
    devices_ = devices.leak();
    return Done{};
}

std::uint32_t VirtualPc::read_port(std::uint16_t port, unsigned size)
{
    LockGuard guard{devices_->lock};
    if (size == 1) [[likely]] {
        const std::uint8_t value = devices_->read(port);
        devices_->settle(port);
        return value;
    }
    std::uint32_t value{};
    for (unsigned byte = 0; byte < size; ++byte) {
        const std::uint16_t at = port_of_byte(port, byte);
        value |= std::uint32_t{at == no_port ? all_ones : devices_->read(at)} << (8 * byte);
    }
    devices_->settle(port, size);
    return value;
}

void VirtualPc::write_port(std::uint16_t port, unsigned size, std::uint32_t value)
{
    LockGuard guard{devices_->lock};
    if (size == 1) [[likely]] {
        devices_->write(port, static_cast<std::uint8_t>(value));
        return devices_->settle(port);
    }
    for (unsigned byte = 0; byte < size; ++byte)
        if (const std::uint16_t at = port_of_byte(port, byte); at != no_port)
            devices_->write(at, static_cast<std::uint8_t>(value >> (8 * byte)));
    devices_->settle(port, size);
}

bool VirtualPc::owns(GuestPhysical address) const
{
    return address.raw() - protocol::io_apic_base < protocol::io_apic_bytes;
}

std::uint64_t VirtualPc::read_mmio(GuestPhysical address, unsigned size)
{
    LockGuard guard{devices_->lock};
    return devices_->io_apic.read_mmio(address.raw() - protocol::io_apic_base, size);
}

void VirtualPc::write_mmio(GuestPhysical address, unsigned size, std::uint64_t value)
{
    LockGuard guard{devices_->lock};
    devices_->io_apic.write_mmio(address.raw() - protocol::io_apic_base, size, value);
}

bool VirtualPc::pic_output() const
{
    LockGuard guard{devices_->lock};
    return devices_->pic.output();
}

std::optional<std::uint8_t> VirtualPc::acknowledge_pic()
{
    LockGuard guard{devices_->lock};
    if (!devices_->pic.output())
        return std::nullopt;
    return devices_->pic.acknowledge();
}

void VirtualPc::end_of_interrupt(std::uint8_t vector)
{
    LockGuard guard{devices_->lock};
    devices_->io_apic.end_of_interrupt(vector);
}

void VirtualPc::press_power_button()
{
    LockGuard guard{devices_->lock};
    devices_->power.press_power_button();
    devices_->settle();
}

control::ConsoleListener* VirtualPc::console_listener() { return devices_; }

void VirtualPc::freeze()
{
    TimerQueue::cancel(devices_->timer);
    LockGuard guard{devices_->lock};
    devices_->armed_for = no_deadline;
}

void VirtualPc::thaw()
{
    LockGuard guard{devices_->lock};
    devices_->armed_for = no_deadline;
    devices_->arm();
}

}  // namespace hv::core
