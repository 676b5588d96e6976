// SPDX-License-Identifier: MIT
//
// A driver for the console function as a stock kernel's behaves: finds the structures by capabilities, sizes
// and places the BAR, negotiates, sets up every queue with the shared vector, fills the receive queues, and
// speaks the multiport handshake.  Its use of the registers is the specification's [VIRTIO-1.2 §3.1, §4.1.5,
// §5.3.6].
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "fake_device_host.hpp"
#include "hv/core/virtio/console_device.hpp"

namespace hv::test {

class ModelDriver {
public:
    static constexpr std::uint32_t bar_base{0xfea0'0000};
    static constexpr unsigned receive_buffer{256};

    struct Message {
        core::virtio::ConsoleControl control{};
        std::string name{};
    };

    ModelDriver(core::virtio::ConsoleDevice& device, FakeDeviceHost& host) : device_{device}, host_{host} {}

    // ---- the PCI side -------------------------------------------------------------------------------------
    void probe()
    {
        using namespace core::virtio;
        device_.config_write(0x10, 4, bar_base);
        device_.config_write(0x04, 2, 6);
        for (unsigned at = device_.config_read(0x34, 1); at != 0; at = device_.config_read(at + 1, 1)) {
            if (device_.config_read(at, 1) == 0x11)
                device_.config_write(at + 2, 2, 0x8000);
            else
                structures_[device_.config_read(at + 3, 1)] = device_.config_read(at + 8, 4);
        }
        for (unsigned vector = 0; vector < 2; ++vector) {
            device_.bar_write(0x2000 + 16 * vector, 4, 0xfee0'0000);
            device_.bar_write(0x2008 + 16 * vector, 4, 0x50 + vector);
            device_.bar_write(0x200c + 16 * vector, 4, 0);
        }
        ASSERT_TRUE(reset());
        set_status(status::ACKNOWLEDGE);
        set_status(status::DRIVER);
        common(0x08, 4, 0);
        common(0x0c, 4, VIRTIO_CONSOLE_F_MULTIPORT);
        common(0x08, 4, 1);
        common(0x0c, 4, 1);
        set_status(status::FEATURES_OK);
        ASSERT_TRUE(read_status() & status::FEATURES_OK);
        common(0x10, 2, 0);
        maximum_ports = static_cast<unsigned>(device_.bar_read(structures_[4] + 4, 4));
        queues_.clear();
        for (unsigned index = 0; index < 2 * (maximum_ports + 1); ++index)
            set_up_queue(index);
        set_status(status::DRIVER_OK);
        fill(control_receive_queue);
        control(0, ConsoleEvent::DEVICE_READY, 1);
    }

    /// Writes zero and waits, giving the device its chance to work; false if it never comes to rest.
    bool reset()
    {
        common(0x14, 1, 0);
        for (unsigned tries = 0; tries < 10 && read_status() != 0; ++tries)
            device_.service();
        return read_status() == 0;
    }
    std::uint8_t read_status() { return static_cast<std::uint8_t>(common(0x14, 1)); }

    // ---- queues -------------------------------------------------------------------------------------------
    /// Makes one buffer available; false where all descriptors are in use.
    bool add(unsigned index, std::uint64_t address, std::uint32_t length, bool writable)
    {
        Queue& queue{queues_[index]};
        if (queue.free.empty())
            return false;
        const std::uint16_t head{queue.free.front()};
        queue.free.pop_front();
        queue.addresses[head] = address;
        host_.put(queue.descriptors + 16u * head,
                  core::virtio::Descriptor{
                      address, length, writable ? core::virtio::VIRTQ_DESC_F_WRITE : std::uint16_t{0}, 0});
        host_.put<std::uint16_t>(queue.available + 4 + 2u * (queue.index % size), head);
        host_.put<std::uint16_t>(queue.available + 2, ++queue.index);
        return true;
    }
    void notify(unsigned index)
    {
        if ((host_.get<std::uint16_t>(queues_[index].used) & core::virtio::VIRTQ_USED_F_NO_NOTIFY) == 0)
            device_.bar_write(structures_[2] + 4 * index, 2, index);
    }
    /// The oldest buffer that came back: {address, bytes written}.
    std::optional<std::pair<std::uint64_t, std::uint32_t>> collect(unsigned index)
    {
        Queue& queue{queues_[index]};
        if (host_.get<std::uint16_t>(queue.used + 2) == queue.seen)
            return std::nullopt;
        const std::uint64_t entry{queue.used + 4 + 8u * (queue.seen++ % size)};
        const auto head = static_cast<std::uint16_t>(host_.get<std::uint32_t>(entry));
        queue.free.push_back(head);
        return std::pair{queue.addresses.at(head), host_.get<std::uint32_t>(entry + 4)};
    }
    /// Makes receive buffers available until the queue is full.
    void fill(unsigned index)
    {
        while (!queues_[index].free.empty())
            add(index, buffer(index), receive_buffer, true);
        notify(index);
    }

    // ---- the console --------------------------------------------------------------------------------------
    void control(std::uint32_t port, core::virtio::ConsoleEvent event, std::uint16_t value)
    {
        using namespace core::virtio;
        const std::uint64_t at{buffer(control_transmit_queue)};
        host_.put(at, ConsoleControl{port, static_cast<std::uint16_t>(event), value});
        ASSERT_TRUE(add(control_transmit_queue, at, sizeof(ConsoleControl), false));
        notify(control_transmit_queue);
        // The kernel spins here until the device has taken the message.
        for (unsigned tries = 0; tries < 100; ++tries) {
            if (collect(control_transmit_queue))
                return;
            device_.service();
        }
        FAIL() << "the device does not take a control message";
    }
    void open(std::uint32_t port)
    {
        fill(core::virtio::receive_queue(port));
        control(port, core::virtio::ConsoleEvent::PORT_OPEN, 1);
    }
    void close(std::uint32_t port) { control(port, core::virtio::ConsoleEvent::PORT_OPEN, 0); }

    /// Reads what the device said, answers as the kernel does (PORT_READY), and refills.
    std::vector<Message> messages()
    {
        using namespace core::virtio;
        std::vector<Message> result{};
        work();
        while (const auto got = collect(control_receive_queue)) {
            Message message{host_.get<ConsoleControl>(got->first), {}};
            for (std::uint32_t i = sizeof(ConsoleControl); i < got->second; ++i)
                message.name += host_.get<char>(got->first + i);
            result.push_back(message);
            add(control_receive_queue, got->first, receive_buffer, true);
            notify(control_receive_queue);
            if (message.control.event == static_cast<std::uint16_t>(ConsoleEvent::PORT_ADD))
                control(message.control.port, ConsoleEvent::PORT_READY, 1);
            work();
        }
        return result;
    }
    /// One write of up to a buffer's size; false where the queue is full.
    bool write(std::uint32_t port, const std::string& text)
    {
        const unsigned index{core::virtio::transmit_queue(port)};
        while (collect(index)) {}
        if (queues_[index].free.empty())
            return false;
        const std::uint64_t at{buffer(index)};
        for (std::size_t i = 0; i < text.size(); ++i)
            host_.put(at + i, text[i]);
        add(index, at, static_cast<std::uint32_t>(text.size()), false);
        notify(index);
        return true;
    }
    /// Everything that arrived; buffers are made available again when `refill`.
    std::string read(std::uint32_t port, bool refill = true)
    {
        const unsigned index{core::virtio::receive_queue(port)};
        std::string text{};
        while (const auto got = collect(index)) {
            for (std::uint32_t i = 0; i < got->second; ++i)
                text += host_.get<char>(got->first + i);
            if (refill)
                add(index, got->first, receive_buffer, true);
        }
        if (refill)
            notify(index);
        return text;
    }
    void work()
    {
        for (unsigned passes = 0; passes < 1000; ++passes)
            if (!device_.service())
                return;
        FAIL() << "service() never comes to an end";
    }

    std::uint64_t ring(unsigned index) { return queues_[index].available; }
    std::uint64_t descriptor_table(unsigned index) { return queues_[index].descriptors; }
    unsigned maximum_ports{};

private:
    static constexpr unsigned size{8};

    struct Queue {
        std::uint64_t descriptors{}, available{}, used{}, buffers{};
        std::deque<std::uint16_t> free{};
        std::map<std::uint16_t, std::uint64_t> addresses{};
        std::uint16_t index{}, seen{};
        unsigned next_buffer{};
    };

    std::uint64_t common(unsigned offset, unsigned bytes)
    {
        return device_.bar_read(structures_[1] + offset, bytes);
    }
    void common(unsigned offset, unsigned bytes, std::uint64_t value)
    {
        device_.bar_write(structures_[1] + offset, bytes, value);
    }
    void set_status(std::uint8_t bit) { common(0x14, 1, read_status() | bit); }
    std::uint64_t buffer(unsigned index)
    {
        Queue& queue{queues_[index]};
        return queue.buffers + receive_buffer * (queue.next_buffer++ % size);
    }

    void set_up_queue(unsigned index)
    {
        common(0x16, 2, index);
        ASSERT_GE(common(0x18, 2), size);
        ASSERT_EQ(common(0x1c, 2), 0u);
        if (memory_.size() <= index)
            memory_.push_back(host_.allocate(3 * 4096));
        const std::uint64_t at{memory_[index]};
        for (std::uint64_t i = 0; i < 4096; i += 8)
            host_.put<std::uint64_t>(at + i, 0);
        Queue& queue{queues_[index]};
        queue = Queue{};
        queue.descriptors = at;
        queue.available = at + 0x200;
        queue.used = at + 0x400;
        queue.buffers = at + 4096;
        for (std::uint16_t i = 0; i < size; ++i)
            queue.free.push_back(i);
        common(0x18, 2, size);
        common(0x1a, 2, 1);
        EXPECT_EQ(common(0x1a, 2), 1u);
        for (const auto& [field, value] :
             {std::pair{0x20u, queue.descriptors}, {0x28u, queue.available}, {0x30u, queue.used}}) {
            common(field, 4, value & 0xffff'ffff);
            common(field + 4, 4, value >> 32);
        }
        common(0x1c, 2, 1);
    }

    core::virtio::ConsoleDevice& device_;
    FakeDeviceHost& host_;
    std::map<unsigned, unsigned> structures_{};
    std::map<unsigned, Queue> queues_{};
    std::vector<std::uint64_t> memory_{};
};

/// A backend that keeps what it gets, as far as its room goes, and gives what it was told to.
class FakeBackend final : public core::virtio::PortBackend {
public:
    std::size_t take(std::span<const std::byte> bytes) override
    {
        const std::size_t part{std::min(room, bytes.size())};
        received.append(reinterpret_cast<const char*>(bytes.data()), part);
        room -= part;
        return part;
    }
    std::size_t give(std::span<std::byte> space) override
    {
        const std::size_t part{std::min(space.size(), to_give.size())};
        std::memcpy(space.data(), to_give.data(), part);
        to_give.erase(0, part);
        return part;
    }
    void opened() override { log += 'o'; }
    void closed() override { log += 'c'; }
    void released() override { log += 'r'; }

    std::size_t room{~std::size_t{0}};
    std::string received{};
    std::string to_give{};
    std::string log{};
};

}  // namespace hv::test
