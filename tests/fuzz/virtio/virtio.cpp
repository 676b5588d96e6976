// SPDX-License-Identifier: MIT
//
// The console function against a driver that writes anything anywhere: registers, rings, descriptors,
// configuration space.  The input is a script.  Memory is bounds-checked by the fake host and the sanitizer;
// what must hold beside is that service() comes to rest once the driver does.
#include <cstdlib>

#include "hv/core/virtio/console_device.hpp"
#include "fake_device_host.hpp"

namespace {

using namespace hv::core::virtio;

class EchoBackend final : public PortBackend {
public:
    std::size_t take(std::span<const std::byte> bytes) override { return bytes.size() - bytes.size() / 3; }
    std::size_t give(std::span<std::byte> room) override
    {
        const std::size_t length{room.size() < left ? room.size() : left};
        for (std::byte& byte : room.first(length))
            byte = std::byte{0x55};
        left -= length;
        return length;
    }
    void opened() override { left = 100; }
    void closed() override {}
    void released() override {}
    std::size_t left{100};
};

class Script {
public:
    Script(const std::uint8_t* data, std::size_t size) : data_{data}, size_{size} {}
    [[nodiscard]] bool empty() const { return at_ == size_; }
    std::uint8_t byte() { return empty() ? std::uint8_t{0} : data_[at_++]; }
    std::uint32_t word() { return byte() | static_cast<std::uint32_t>(byte()) << 8; }
    std::uint64_t number(unsigned bytes)
    {
        std::uint64_t value{0};
        for (unsigned i = 0; i < bytes; ++i)
            value |= std::uint64_t{byte()} << (8 * i);
        return value;
    }

private:
    const std::uint8_t* data_;
    std::size_t size_;
    std::size_t at_{0};
};

constexpr std::uint64_t rings{hv::test::FakeDeviceHost::memory_base};
constexpr unsigned enabled_queues[]{0, 1, 2, 3, 4, 5};

/// The legal way to a running device, so that the script starts where the work is.
void start(ConsoleDevice& device)
{
    device.config_write(0x04, 2, 6);
    device.config_write(0x42, 2, 0x8000);
    device.bar_write(0x14, 1, 3);
    device.bar_write(0x08, 4, 0);
    device.bar_write(0x0c, 4, 2);
    device.bar_write(0x08, 4, 1);
    device.bar_write(0x0c, 4, 1);
    device.bar_write(0x14, 1, 0xb);
    for (const unsigned queue : enabled_queues) {
        device.bar_write(0x16, 2, queue);
        device.bar_write(0x18, 2, 8);
        device.bar_write(0x1a, 2, 1);
        device.bar_write(0x20, 8, rings + 0x1000 * queue);
        device.bar_write(0x28, 8, rings + 0x1000 * queue + 0x200);
        device.bar_write(0x30, 8, rings + 0x1000 * queue + 0x400);
        device.bar_write(0x1c, 2, 1);
    }
    device.bar_write(0x14, 1, 0xf);
}

/// A chain that may be sound: the script chooses its numbers from a small world.
void offer(hv::test::FakeDeviceHost& host, ConsoleDevice& device, Script& script)
{
    const unsigned queue{script.byte() % 6u};
    const std::uint64_t table{rings + 0x1000 * queue};
    const std::uint16_t head{static_cast<std::uint16_t>(script.byte() % 9u)};
    const std::uint64_t data{rings + 0x10'000 + script.word()};
    if (head < 8)
        host.put(table + 16u * head,
                 Descriptor{data, script.word() % 600u, static_cast<std::uint16_t>(script.byte() % 8u),
                            static_cast<std::uint16_t>(script.byte() % 9u)});
    if (queue == control_transmit_queue)
        host.put(data, ConsoleControl{script.byte() % 66u, static_cast<std::uint16_t>(script.byte() % 9u),
                                      static_cast<std::uint16_t>(script.byte() % 2u)});
    const auto index = host.get<std::uint16_t>(table + 0x202);
    host.put<std::uint16_t>(table + 0x204 + 2u * (index % 8u), head);
    host.put<std::uint16_t>(table + 0x202, static_cast<std::uint16_t>(index + 1));
    device.bar_write(0x1000 + 4 * queue, 2, queue);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    Script script{data, size};
    static hv::test::FakeDeviceHost host{};
    std::fill(host.memory.begin(), host.memory.begin() + 0x30'000, std::byte{0});
    host.sent.clear();
    host.windows.clear();
    EchoBackend backends[3]{};
    ConsoleDevice device{host};
    (void)device.open_port(0, "control", backends[0]);
    (void)device.open_port(1, "console", backends[1]);
    if (script.byte() % 4 != 0)
        start(device);
    while (!script.empty()) {
        const unsigned length{1u << (script.byte() % 4u)};
        switch (script.byte() % 10u) {
        case 0: device.bar_write(script.word() % 0x4400u, length, script.number(length)); break;
        case 1: (void)device.bar_read(script.word() % 0x4400u, length); break;
        case 2:
            device.config_write(script.byte(), length, static_cast<std::uint32_t>(script.number(4)));
            break;
        case 3: (void)device.config_read(script.byte(), length); break;
        case 4: host.put(rings + script.word() % 0x7000u, script.number(8)); break;
        case 5: device.wake(script.byte() % 3u); break;
        case 6:
            (void)(script.byte() % 2 == 0 ? device.close_port(1) : device.open_port(1, "again", backends[2]));
            break;
        default: offer(host, device, script); break;
        }
        unsigned passes{0};
        while (device.service())
            if (++passes > 2000)
                std::abort();
    }
    return 0;
}
