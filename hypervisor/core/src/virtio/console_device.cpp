// SPDX-License-Identifier: MIT
//
// The console's work, in passes: control messages first, then every port that was notified or woken.
#include "hv/core/virtio/console_device.hpp"

#include <algorithm>
#include <cstring>

namespace hv::core::virtio {

namespace {

constexpr std::uint64_t offered_features{VIRTIO_F_VERSION_1 | VIRTIO_CONSOLE_F_MULTIPORT};
/// Chains per pass.  One of Linux's carries up to 32 KiB, so a pass copies half a MiB at most.
constexpr unsigned pass_budget{16};

static_assert(transmit_queue(ConsoleDevice::ports - 1) + 1 == TransportRegisters::maximum_queues);

}  // namespace

ConsoleDevice::ConsoleDevice(DeviceHost& host)
    : host_{host},
      configuration_{0, 0, ports, 0},
      registers_{host, offered_features, MsixTable::vectors},
      msix_{host},
      pci_{host, registers_, msix_, std::as_bytes(std::span{&configuration_, 1})}
{
}

// ---- ports ------------------------------------------------------------------------------------------------

Status ConsoleDevice::open_port(unsigned port, std::string_view name, PortBackend& backend)
{
    if (port >= ports || name.empty() || name.size() > maximum_port_name)
        return Error::invalid_argument;
    Port& slot{ports_[port]};
    Life expected{Life::absent};
    if (!slot.life.compare_exchange_strong(expected, Life::claimed))
        return Error::busy;
    slot.backend = &backend;
    slot.name.fill('\0');
    std::copy(name.begin(), name.end(), slot.name.begin());
    slot.life.store(Life::present, std::memory_order_release);
    wake(port);
    return Done{};
}

Status ConsoleDevice::close_port(unsigned port)
{
    if (port >= ports)
        return Error::not_found;
    Life expected{Life::present};
    if (!ports_[port].life.compare_exchange_strong(expected, Life::closing))
        return Error::not_found;
    wake(port);
    return Done{};
}

void ConsoleDevice::wake(unsigned port)
{
    if (port >= ports)
        return;
    const bool fresh{woken_.set(port)};
    if (unhurried_.exchange(false) || fresh)
        host_.kick();
}

void ConsoleDevice::wake_soon(unsigned port)
{
    if (port >= ports || !woken_.set(port))
        return;
    unhurried_.store(true);
    host_.kick_soon();
}

// ---- service ----------------------------------------------------------------------------------------------

bool ConsoleDevice::service()
{
    if (serving_.exchange(true))
        return false;
    pass();
    serving_.store(false);
    // Whoever set a bit and found us serving went away: the bit is seen here.
    return needs_service();
}

bool ConsoleDevice::needs_service() const
{
    return registers_.reset_requested() || woken_.any() || (may_run() && registers_.any_notification());
}

void ConsoleDevice::pass()
{
    if (registers_.reset_requested()) {
        reset();
        return;
    }
    if (!may_run()) {
        idle_ = true;
        release_without_driver();
        return;
    }
    if (idle_)
        wake_all();
    idle_ = false;
    budget_ = pass_budget;
    if (registers_.take_notification(control_transmit_queue))
        serve_control_transmit();
    if (registers_.take_notification(control_receive_queue) || control_waiting_)
        flush_control();
    for (unsigned port = 0; port < ports && may_run(); ++port) {
        bool wanted{woken_.take(port)};
        wanted |= registers_.take_notification(receive_queue(port));
        wanted |= registers_.take_notification(transmit_queue(port));
        if (wanted)
            serve_port(port);
    }
    if (control_waiting_ && may_run())
        flush_control();
}

void ConsoleDevice::wake_all()
{
    for (unsigned number = 0; number < ports; ++number)
        woken_.set(number);
}

void ConsoleDevice::reset()
{
    for (Virtqueue& queue : queues_)
        queue.detach();
    driver_ready_ = false;
    control_waiting_ = false;
    for (unsigned number = 0; number < ports; ++number) {
        Port& port{ports_[number]};
        if (port.opened)
            port.backend->closed();
        port.pending = 0;
        port.announced = port.ready = port.opened = port.close_told = false;
        port.consumed = 0;
        if (port.life.load() == Life::closing)
            woken_.set(number);
    }
    registers_.finish_reset();
}

// No driver, nobody to wait for: a port that is to be closed is gone at once.
void ConsoleDevice::release_without_driver()
{
    for (unsigned number = 0; number < ports; ++number)
        if (woken_.take(number) && ports_[number].life.load(std::memory_order_acquire) == Life::closing)
            release(ports_[number]);
}

void ConsoleDevice::release(Port& port)
{
    PortBackend* const backend{port.backend};
    port.pending = 0;
    port.announced = port.ready = port.close_told = false;
    port.backend = nullptr;
    port.life.store(Life::absent, std::memory_order_release);
    backend->released();
}

// ---- queues -----------------------------------------------------------------------------------------------

/// The queue, taken into use when the driver has enabled it; null where it has not, or broke the rules.
Virtqueue* ConsoleDevice::queue(unsigned index)
{
    Virtqueue& queue{queues_[index]};
    if (queue.attached())
        return &queue;
    const auto layout = registers_.enabled_queue(index);
    if (!layout)
        return nullptr;
    if (!queue.attach(host_, *layout).has_value()) {
        broken();
        return nullptr;
    }
    return &queue;
}

void ConsoleDevice::broken()
{
    registers_.need_reset();
    registers_.raise_isr(isr_configuration);
    msix_.signal(registers_.configuration_vector());
}

void ConsoleDevice::finish_queue(unsigned index)
{
    if (!queues_[index].take_interrupt())
        return;
    registers_.raise_isr(isr_queue);
    msix_.signal(registers_.queue_vector(index));
}

// ---- control ----------------------------------------------------------------------------------------------

void ConsoleDevice::serve_control_transmit()
{
    Virtqueue* const transmit{queue(control_transmit_queue)};
    if (transmit == nullptr)
        return;
    Chain chain;
    for (; budget_ > 0; --budget_) {
        const auto found = transmit->peek(chain);
        if (!found.has_value())
            return broken();
        if (!found.value())
            break;
        std::array<std::byte, sizeof(ConsoleControl)> bytes{};
        std::size_t length{0};
        for (const ChainBuffer& buffer : chain.buffers) {
            if (buffer.writable || buffer.bytes.empty() || length == bytes.size())
                continue;
            const std::size_t part{std::min(bytes.size() - length, buffer.bytes.size())};
            std::memcpy(bytes.data() + length, buffer.bytes.data(), part);
            length += part;
        }
        ConsoleControl message;
        std::memcpy(&message, bytes.data(), sizeof message);
        if (length == bytes.size())
            handle_control(message);
        // The driver waits for this: what it does next comes after what it said.
        transmit->complete(chain, 0);
    }
    if (budget_ == 0)
        registers_.renotify(control_transmit_queue);
    finish_queue(control_transmit_queue);
}

void ConsoleDevice::handle_control(const ConsoleControl& message)
{
    const auto event = static_cast<ConsoleEvent>(message.event);
    if (event == ConsoleEvent::DEVICE_READY) {
        driver_ready_ = message.value == 1;
        wake_all();
        return;
    }
    if (message.port < ports)
        handle_port_control(message.port, ports_[message.port], event, message.value != 0);
}

void ConsoleDevice::handle_port_control(unsigned number, Port& port, ConsoleEvent event, bool value)
{
    if (!port.announced)
        return;
    if (event == ConsoleEvent::PORT_READY && value && !port.ready) {
        port.ready = true;
        port.pending |= pending_name | pending_open;
        control_waiting_ = true;
    } else if (event == ConsoleEvent::PORT_OPEN) {
        set_opened(number, port, value);
    }
}

void ConsoleDevice::set_opened(unsigned number, Port& port, bool opened)
{
    if (port.opened == opened)
        return;
    if (opened) {
        port.opened = true;
        port.backend->opened();
    } else {
        finish_transmit(number, port);
        port.opened = false;
        port.backend->closed();
    }
    woken_.set(number);
}

void ConsoleDevice::flush_control()
{
    control_waiting_ = false;
    for (unsigned number = 0; number < ports; ++number) {
        if (ports_[number].pending != 0 && !flush_port_control(number, ports_[number])) {
            control_waiting_ = true;
            break;
        }
    }
    finish_queue(control_receive_queue);
}

/// False where the driver has no room now; what was not sent is still pending.
bool ConsoleDevice::flush_port_control(unsigned number, Port& port)
{
    struct Message {
        Pending bit;
        ConsoleEvent event;
        std::uint16_t value;
    };
    static constexpr std::array messages{
        Message{pending_add, ConsoleEvent::PORT_ADD, 1},
        Message{pending_name, ConsoleEvent::PORT_NAME, 1},
        Message{pending_open, ConsoleEvent::PORT_OPEN, 1},
        Message{pending_close, ConsoleEvent::PORT_OPEN, 0},
        Message{pending_remove, ConsoleEvent::PORT_REMOVE, 1},
    };
    for (const Message& message : messages) {
        if ((port.pending & message.bit) == 0)
            continue;
        const bool named{message.event == ConsoleEvent::PORT_NAME};
        const std::string_view name{named ? std::string_view{port.name.data()} : std::string_view{}};
        if (!send_control(number, message.event, message.value, name))
            return false;
        port.pending = static_cast<std::uint8_t>(port.pending & ~message.bit);
        if (message.bit == pending_remove)
            release(port);
    }
    return true;
}

/// False where there is no buffer, or none that the message fits in.
bool ConsoleDevice::send_control(unsigned number, ConsoleEvent event, std::uint16_t value,
                                 std::string_view name)
{
    Virtqueue* const receive{queue(control_receive_queue)};
    if (receive == nullptr)
        return false;
    Chain chain;
    const auto found = receive->peek(chain);
    if (!found.has_value()) {
        broken();
        return false;
    }
    if (!found.value())
        return false;
    const ConsoleControl message{number, static_cast<std::uint16_t>(event), value};
    const ChainBuffer& buffer{chain.buffers[0]};
    if (!buffer.writable || buffer.bytes.size() < sizeof message + name.size()) {
        broken();
        return false;
    }
    std::memcpy(buffer.bytes.data(), &message, sizeof message);
    if (!name.empty())
        std::memcpy(buffer.bytes.data() + sizeof message, name.data(), name.size());
    receive->complete(chain, static_cast<std::uint32_t>(sizeof message + name.size()));
    return true;
}

// ---- ports at work ----------------------------------------------------------------------------------------

void ConsoleDevice::serve_port(unsigned number)
{
    Port& port{ports_[number]};
    const Life life{port.life.load(std::memory_order_acquire)};
    if (life == Life::present && driver_ready_ && !port.announced) {
        port.announced = true;
        port.pending |= pending_add;
        control_waiting_ = true;
    }
    serve_transmit(number, port);
    const bool drained{!port.opened || serve_receive(number, port)};
    if (life == Life::closing)
        serve_closing(port, drained);
}

void ConsoleDevice::serve_transmit(unsigned number, Port& port)
{
    const unsigned index{transmit_queue(number)};
    Virtqueue* const transmit{queue(index)};
    if (transmit == nullptr)
        return;
    Chain chain;
    while (true) {
        const auto found = transmit->peek(chain);
        if (!found.has_value())
            return broken();
        if (!found.value())
            break;
        if (budget_ == 0) {
            registers_.renotify(index);
            break;
        }
        --budget_;
        if (!take_chain(port, chain))
            break;
        port.consumed = 0;
        transmit->complete(chain, 0);
    }
    finish_queue(index);
}

/// The end of a stream: whatever was written before the driver closed is offered once and given back.
void ConsoleDevice::finish_transmit(unsigned number, Port& port)
{
    const unsigned index{transmit_queue(number)};
    Virtqueue* const transmit{queue(index)};
    if (transmit == nullptr)
        return;
    Chain chain;
    bool taking{true};
    for (unsigned count = 0; count < TransportRegisters::maximum_queue_size; ++count) {
        const auto found = transmit->peek(chain);
        if (!found.has_value())
            return broken();
        if (!found.value())
            break;
        taking = taking && take_chain(port, chain);
        port.consumed = 0;
        transmit->complete(chain, 0);
    }
    finish_queue(index);
}

/// Hands the chain's bytes from port.consumed on to the backend; true when all of it was taken.  What is
/// written to a port that is not open goes nowhere.
bool ConsoleDevice::take_chain(Port& port, const Chain& chain)
{
    std::size_t skip{port.consumed};
    for (const ChainBuffer& buffer : chain.buffers) {
        if (buffer.writable || !port.opened)
            continue;
        if (skip >= buffer.bytes.size()) {
            skip -= buffer.bytes.size();
            continue;
        }
        const std::span<const std::byte> rest{buffer.bytes.subspan(skip)};
        const std::size_t taken{std::min(port.backend->take(rest), rest.size())};
        port.consumed += taken;
        if (taken < rest.size())
            return false;
        skip = 0;
    }
    return true;
}

/// Moves what the backend has into the driver's buffers; true when the backend has no more.
bool ConsoleDevice::serve_receive(unsigned number, Port& port)
{
    const unsigned index{receive_queue(number)};
    Virtqueue* const receive{queue(index)};
    if (receive == nullptr)
        return false;
    bool drained{false};
    Chain chain;
    while (!drained) {
        auto found = receive->peek(chain);
        if (found.has_value() && !found.value()) {
            receive->want_notifications(true);
            found = receive->peek(chain);
        }
        if (!found.has_value()) {
            broken();
            return false;
        }
        if (!found.value())
            break;
        if (budget_ == 0) {
            registers_.renotify(index);
            break;
        }
        --budget_;
        std::size_t total{0};
        for (const ChainBuffer& buffer : chain.buffers) {
            if (!buffer.writable || buffer.bytes.empty() || drained)
                continue;
            const std::size_t given{std::min(port.backend->give(buffer.bytes), buffer.bytes.size())};
            total += given;
            drained = given < buffer.bytes.size();
        }
        if (total != 0 || !drained)
            receive->complete(chain, static_cast<std::uint32_t>(total));
    }
    if (drained)
        receive->want_notifications(false);
    finish_queue(index);
    return drained;
}

void ConsoleDevice::serve_closing(Port& port, bool drained)
{
    if (!port.announced)
        return release(port);
    if (port.opened && drained && !port.close_told) {
        port.close_told = true;
        port.pending |= pending_close;
        control_waiting_ = true;
    }
    if (!port.opened && (port.pending & pending_remove) == 0) {
        port.pending = static_cast<std::uint8_t>((port.pending & pending_add) | pending_remove);
        control_waiting_ = true;
    }
}

}  // namespace hv::core::virtio
