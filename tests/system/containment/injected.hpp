// SPDX-License-Identifier: MIT
//
// What the injector asks of the hypervisor: domains with instances of the chaos modules, orders in their memory, pauses, looks at
// their state, the log, and whether everybody else is well.
#pragma once

#include <array>
#include <cstring>
#include <string_view>

#include "control_port.hpp"
#include "extensions/chaos/crimes.hpp"

namespace test {

using chaos::Hook;
using protocol::Command;

inline std::string_view name_of(Hook hook)
{
    return chaos::hooks[static_cast<std::size_t>(hook)];
}

inline std::string module_of(unsigned instance)
{
    return "chaos-" + std::to_string(instance);
}

class Machine {
public:
    Machine(std::string other, protocol::BindPlacement placement) : other_{std::move(other)}, placement_{placement}
    {
        static_cast<void>(news());
    }

    protocol::DomainId create(const char* name)
    {
        protocol::DomainCreateRequest request{};
        protocol::set_text_truncated(request.name, name);
        request.memory = memory;
        request.vcpus = 1;
        request.cpuid_entry_size = sizeof(protocol::CpuidMask);
        return port_.ask(Command::domain_create, request).fixed<protocol::DomainCreateReply>().domain;
    }
    Answer bind(protocol::DomainId domain, unsigned instance, const std::vector<std::pair<const char*, std::int64_t>>& parameters = {})
    {
        std::vector<std::byte> room(4096);
        protocol::FrameBuilder tail{room};
        tail.request(Command::ext_bind, 1);
        for (const auto& [key, value] : parameters)
            static_cast<void>(protocol::encode_parameter(tail, {key, protocol::ParameterType::integer, value, {}}));
        protocol::ExtBindRequest request{domain, static_cast<std::uint32_t>(parameters.size()),
                                         static_cast<std::uint32_t>(placement_),
                                         static_cast<std::uint32_t>(protocol::FaultPolicy::restart), {}};
        protocol::set_text_truncated(request.module, module_of(instance));
        return port_.ask(Command::ext_bind, request, tail.finish().value().subspan(sizeof(protocol::FrameHeader)));
    }
    void order(protocol::DomainId domain, unsigned instance, Hook hook, std::uint32_t crime)
    {
        const chaos::Order order{chaos::order_magic, hook, crime, 0};
        const protocol::MemoryWriteRequest request{domain, 0, chaos::first_order + instance * sizeof order};
        must(port_.ask(Command::memory_write, request, {}, std::as_bytes(std::span{&order, 1})));
    }
    /// The module took it, or it was never there.
    bool order_is_gone(protocol::DomainId domain, unsigned instance)
    {
        const protocol::MemoryReadRequest request{domain, sizeof(chaos::Order), chaos::first_order + instance * sizeof(chaos::Order)};
        const Answer answer = port_.ask(Command::memory_read, request);
        std::uint32_t magic{};
        if (!answer.good() || answer.bulk.size() != sizeof(chaos::Order))
            give_up("the guest's memory cannot be read: " + answer.why());
        std::memcpy(&magic, answer.bulk.data(), sizeof magic);
        return magic != chaos::order_magic;
    }
    /// Flat protected mode [APM2-3.41 §4.7], at an instruction that jumps to itself.
    void let_it_idle(protocol::DomainId domain)
    {
        constexpr std::uint64_t entry{0x1000};
        constexpr std::array jump{std::byte{0xeb}, std::byte{0xfe}};
        must(port_.ask(Command::memory_write, protocol::MemoryWriteRequest{domain, 0, entry}, {}, jump));
        protocol::RegistersSetRequest request{domain, 0, {}};
        request.registers.rip = entry;
        request.registers.rflags = 2;
        request.registers.cr0 = 0x11;  // PE and ET
        for (protocol::SegmentRegister& segment : request.registers.segments)
            segment = {0, ~0u, 0x18, 0xc93};
        request.registers.segments[1] = {0, ~0u, 0x10, 0xc9b};  // CS
        request.registers.tr = {0, 0x67, 0x20, 0x8b};
        must(port_.ask(Command::registers_set, request));
    }
    void command(Command command, protocol::DomainId domain)
    {
        must(port_.ask(command, protocol::DomainRequest{domain, 0}));
    }
    Answer inspect(protocol::DomainId domain)
    {
        protocol::ExtOfDomainRequest request{domain, 0, {}};
        protocol::set_text_truncated(request.module, module_of(0));
        return port_.ask(Command::ext_inspect, request);
    }
    /// A trial of a swap to the same module: its import is the new instance's.
    Answer try_swap(protocol::DomainId domain)
    {
        protocol::ExtSwapRequest request{domain, 0, protocol::ext_swap_dry_run, 0, {}, {}};
        protocol::set_text_truncated(request.old_module, module_of(0));
        protocol::set_text_truncated(request.new_module, module_of(0));
        return port_.ask(Command::ext_swap, request);
    }
    protocol::DomainInfo info(protocol::DomainId domain)
    {
        return port_.ask(Command::domain_info, protocol::DomainRequest{domain, 0}).fixed<protocol::DomainInfo>();
    }

    /// What the hypervisor has logged since the last time.
    std::string news()
    {
        std::string all;
        for (;;) {
            const Answer answer = port_.ask(Command::log_read, protocol::LogReadRequest{cursor_, 0, 0});
            const auto head = answer.fixed<protocol::LogReadReply>();
            if (head.lost != 0 && cursor_ != 0)
                give_up("the log was too short");
            cursor_ = head.next;
            if (head.text_length == 0)
                return all;
            all += protocol::as_text(answer.view().tail().first(head.text_length));
        }
    }
    /// The hypervisor answers dom0, and the other domain runs and has gone on since the last time.
    bool all_is_well()
    {
        for (unsigned look = 0; look < 2000; ++look) {
            const protocol::DomainInfo now = other();
            if (now.state != static_cast<std::uint32_t>(protocol::DomainState::running))
                return false;
            if (now.exits != seen_exits_) {
                seen_exits_ = now.exits;
                return true;
            }
            ::usleep(2000);
        }
        return false;
    }

private:
    static constexpr std::uint64_t memory{16 << 20};

    protocol::DomainInfo other()
    {
        const Answer answer = port_.ask(Command::domain_list, protocol::DomainListRequest{});
        const auto head = answer.fixed<protocol::ListReply>();
        const auto entries = protocol::EntryView<protocol::DomainInfo>::over(answer.view().tail(), head.count, head.entry_size);
        for (std::size_t index = 0; entries && index < entries.value().size(); ++index) {
            const protocol::DomainInfo entry = entries.value().at(index);
            if (protocol::text_of(entry.name) == other_)
                return entry;
        }
        return {};
    }
    static void must(const Answer& answer)
    {
        if (!answer.good())
            give_up(answer.why());
    }

    std::string other_;
    protocol::BindPlacement placement_;
    ControlPort port_;
    std::uint64_t cursor_{};
    std::uint64_t seen_exits_{};
};

}  // namespace test
