// SPDX-License-Identifier: MIT
//
// A virtio console with 65 ports, each a byte stream in both directions between the domain that drives it and
// somebody in the hypervisor.  Bytes are copied once, between the driver's buffer and the other's own;
// nothing is dropped while a port is open, and what one side cannot take waits in the other's memory.
// Nothing polls.
//
// Who may call what:
//   config_read, config_write, bar_read, bar_write
//                                  the driver's one processor, in its exits: no lock, no wait
//   service                        any other processor; a second caller returns at once, and nothing is lost
//   open_port, close_port, wake    any processor
// Specification: [VIRTIO-1.2 §5.3].
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/expected.hpp"
#include "hv/core/virtio/atomic_bitmap.hpp"
#include "hv/core/virtio/device_host.hpp"
#include "hv/core/virtio/msix_table.hpp"
#include "hv/core/virtio/pci_function.hpp"
#include "hv/core/virtio/transport_registers.hpp"
#include "hv/core/virtio/virtqueue.hpp"

namespace hv::core::virtio {

/// The hypervisor's end of a port.  All of it is called within ConsoleDevice::service(), so never twice at
/// once.
class PortBackend {
public:
    /// Bytes that the driver wrote.  Returns how many were taken; what was not is offered again after
    /// wake(port).
    virtual std::size_t take(std::span<const std::byte> bytes) = 0;
    /// Fills the start of `room` with bytes for the driver and returns how many; 0 means none now, and
    /// wake(port) tells when there are.  Called only while the port is open.
    virtual std::size_t give(std::span<std::byte> room) = 0;
    /// Somebody in the driver's domain opened or closed the port.  Before closed() the bytes that are still
    /// under way are offered once more; what is not taken then is gone with who wrote it.
    virtual void opened() = 0;
    virtual void closed() = 0;
    /// After close_port(): the port is gone, the backend is not called again, and the number can be opened
    /// anew.
    virtual void released() = 0;

protected:
    ~PortBackend() = default;
};

class ConsoleDevice {
public:
    static constexpr unsigned ports{65};
    static constexpr std::size_t maximum_port_name{31};

    explicit ConsoleDevice(DeviceHost& host);

    // ---- register accesses --------------------------------------------------------------------------------
    [[nodiscard]] std::uint32_t config_read(unsigned offset, unsigned size)
    {
        return pci_.config_read(offset, size);
    }
    void config_write(unsigned offset, unsigned size, std::uint32_t value)
    {
        pci_.config_write(offset, size, value);
    }
    [[nodiscard]] std::uint64_t bar_read(std::uint64_t offset, unsigned size)
    {
        return pci_.bar_read(offset, size);
    }
    void bar_write(std::uint64_t offset, unsigned size, std::uint64_t value)
    {
        pci_.bar_write(offset, size, value);
    }

    // ---- ports --------------------------------------------------------------------------------------------
    /// Gives the port a name and somebody behind it, and offers it to the driver.  Error::busy while the
    /// number is in use or not yet released; Error::invalid_argument for a number or name that does not
    /// exist.
    Status open_port(unsigned port, std::string_view name, PortBackend& backend);
    /// Lets the driver read what the backend still has to give, closes, waits until the driver has closed
    /// too, and removes the port; then released().  Error::not_found where none is open.
    Status close_port(unsigned port);
    /// The backend has bytes to give or room to take.
    void wake(unsigned port);
    /// The same without hurry: for bytes that more will follow soon.
    void wake_soon(unsigned port);

    /// Does a bounded amount of the work that is waiting.  True: there is more, call again.
    bool service();
    /// True while a service() would find something to do.  Any processor.
    [[nodiscard]] bool needs_service() const;

private:
    enum class Life : std::uint8_t { absent, claimed, present, closing };
    /// Messages that the driver must still be sent, in this order.
    enum Pending : std::uint8_t { pending_add = 1, pending_name = 2, pending_open = 4, pending_close = 8,
                                  pending_remove = 16 };

    struct Port {
        std::atomic<Life> life{Life::absent};
        PortBackend* backend{};
        std::array<char, maximum_port_name + 1> name{};
        // From here on service() alone.
        std::uint8_t pending{};
        bool announced{};         ///< PORT_ADD was sent
        bool ready{};             ///< the driver said PORT_READY
        bool opened{};            ///< somebody in the driver's domain has it open
        bool close_told{};        ///< PORT_OPEN 0 is on its way or was sent
        std::size_t consumed{};   ///< bytes that the backend took of the oldest transmit chain
    };

    void pass();
    [[nodiscard]] bool may_run() const { return registers_.running() && pci_.bus_master(); }
    void reset();
    void wake_all();
    void release_without_driver();

    Virtqueue* queue(unsigned index);
    void broken();
    void finish_queue(unsigned index);

    void serve_control_transmit();
    void handle_control(const ConsoleControl& message);
    void handle_port_control(unsigned number, Port& port, ConsoleEvent event, bool value);
    void flush_control();
    bool flush_port_control(unsigned number, Port& port);
    bool send_control(unsigned number, ConsoleEvent event, std::uint16_t value, std::string_view name = {});

    void serve_port(unsigned number);
    void serve_transmit(unsigned number, Port& port);
    void finish_transmit(unsigned number, Port& port);
    bool take_chain(Port& port, const Chain& chain);
    bool serve_receive(unsigned number, Port& port);
    void serve_closing(Port& port, bool drained);
    void set_opened(unsigned number, Port& port, bool opened);
    void release(Port& port);

    DeviceHost& host_;
    ConsoleConfiguration configuration_;
    TransportRegisters registers_;
    MsixTable msix_;
    PciFunction pci_;

    std::array<Port, ports> ports_{};
    std::array<Virtqueue, TransportRegisters::maximum_queues> queues_{};
    AtomicBitmap<ports> woken_{};
    std::atomic<bool> unhurried_{false};  ///< a port was woken without hurry: a later wake() still has to kick
    std::atomic<bool> serving_{false};
    bool driver_ready_{};       ///< DEVICE_READY came
    bool idle_{true};           ///< the last pass found no driver: wakes were dropped
    bool control_waiting_{};    ///< messages wait for room in the control receive queue
    unsigned budget_{};         ///< chains that this service() may still handle
};

}  // namespace hv::core::virtio
