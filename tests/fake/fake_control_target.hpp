// SPDX-License-Identifier: MIT
//
// A machine for the control server in tests: domains are a map, memory is bytes, slices are counted.  It
// refuses what the real one refuses, and it knows what was left behind.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "hv/core/control/control_target.hpp"

namespace hv::test {

struct FakeDomain {
    std::string name{};
    protocol::DomainState state{protocol::DomainState::building};
    std::uint32_t vcpus{};
    std::vector<std::byte> memory{};
    std::map<std::uint32_t, protocol::VcpuRegisters> registers{};
    std::vector<std::string> modules{};
    std::vector<std::string> announced{};
    std::string parameters{};
    std::string log{};
    std::uint32_t masks{};
};

/// An end that a client has; at the other is the test.
struct FakeChannel {
    protocol::DomainId domain{};
    std::string name{};
    std::deque<std::string> waiting{};
    std::deque<std::string> sent{};
    bool connected{true};
};

class FakeControlTarget final : public core::control::ControlTarget {
public:
    using Reason = core::control::Reason;
    using Progress = core::control::Progress;

    unsigned carried_out{};  ///< calls of carry_out_requests
    void carry_out_requests() override { ++carried_out; }
    void info(protocol::InfoReply& reply) override;
    core::control::LogSlice read_log(std::uint64_t cursor, std::span<char> room) override;
    std::uint64_t log_end() override { return log.size(); }
    void clear_log() override { log.clear(); }

    Expected<Progress> create_domain(const protocol::DomainCreateRequest& request,
                                     const protocol::EntryView<protocol::CpuidMask>& cpuid,
                                     protocol::DomainCreateReply& reply, Reason& reason) override;
    Expected<Progress> finish_build(protocol::DomainId domain, Reason& reason) override;
    Status unpause(protocol::DomainId domain, Reason& reason) override;
    Expected<Progress> pause(protocol::DomainId domain, Reason& reason) override;
    Expected<Progress> destroy_domain(protocol::DomainId domain, Reason& reason) override;
    Status rename_domain(protocol::DomainId domain, std::string_view name, Reason& reason) override;
    Status shutdown_domain(protocol::DomainId domain, Reason& reason) override;
    Status trigger(protocol::DomainId domain, protocol::Trigger trigger, std::uint32_t vcpu,
                   Reason& reason) override;

    bool next_domain(std::uint64_t& cursor, protocol::DomainInfo& entry) override;
    Expected<bool> next_vcpu(protocol::DomainId domain, std::uint64_t& cursor,
                             protocol::VcpuInfo& entry) override;
    Expected<bool> next_exit_count(protocol::DomainId domain, protocol::ExitTable table,
                                   std::uint64_t& cursor, protocol::ExitCount& entry) override;
    Expected<bool> next_binding(protocol::DomainId domain, std::uint64_t& cursor,
                                protocol::Binding& entry) override;
    bool next_module(std::uint64_t& cursor, protocol::ModuleInfo& entry) override;
    Expected<bool> next_settled(protocol::DomainId domain, std::uint64_t& cursor, protocol::SettledParameter& entry) override;
    Expected<bool> next_module_request(std::string_view module, std::uint64_t& cursor,
                                       protocol::ModuleRequest& entry, Reason& reason) override;

    Status write_memory(protocol::DomainId domain, std::uint64_t address, std::span<const std::byte> bytes,
                        Reason& reason) override;
    Status read_memory(protocol::DomainId domain, std::uint64_t address, std::span<std::byte> room,
                       Reason& reason) override;
    Status set_registers(protocol::DomainId domain, std::uint32_t vcpu,
                         const protocol::VcpuRegisters& registers, Reason& reason) override;
    Status get_registers(protocol::DomainId domain, std::uint32_t vcpu, protocol::VcpuRegisters& registers,
                         Reason& reason) override;

    Status announce_extensions(protocol::DomainId domain, const protocol::EntryView<protocol::ModuleName>& modules,
                               Reason& reason) override;
    Expected<Progress> bind_extension(const protocol::ExtBindRequest& request,
                                      protocol::ParameterReader parameters, protocol::ExtBindReply& reply,
                                      Reason& reason) override;
    Expected<std::uint32_t> begin_module(const protocol::ExtLoadBeginRequest& request,
                                         Reason& reason) override;
    Status module_data(std::uint32_t upload, std::uint64_t offset, std::span<const std::byte> bytes,
                       Reason& reason) override;
    Expected<Progress> finish_module(std::uint32_t upload, protocol::ModuleInfo& reply,
                                     Reason& reason) override;
    void abort_module(std::uint32_t upload) override { uploads.erase(upload); }
    Status unload_module(std::string_view module, Reason& reason) override;
    Status detach_extension(const protocol::ExtOfDomainRequest& request, core::control::Reason& reason) override;
    Expected<Progress> swap_extension(const protocol::ExtSwapRequest& request, core::control::SwapAnswer& answer,
                                      Reason& reason) override;
    Expected<Progress> rollback_extension(const protocol::ExtOfDomainRequest& request,
                                          core::control::SwapAnswer& answer, Reason& reason) override;
    Expected<std::size_t> report_failure(const protocol::ExtReportRequest& request, std::span<std::byte> room,
                                         protocol::ExtReportReply& reply, core::control::Reason& reason) override;
    Expected<std::size_t> read_core(const protocol::ExtCoreRequest& request, std::span<std::byte> room,
                                    protocol::ExtCoreReply& reply, core::control::Reason& reason) override;
    Expected<std::size_t> inspect_extension(const protocol::ExtOfDomainRequest& request, std::span<std::byte> room,
                                            protocol::ExtInspectReply& reply, Reason& reason) override;

    Expected<protocol::ChannelOpenReply> open_channel(protocol::DomainId domain, std::string_view name, Reason& reason) override;
    Status send_to_channel(protocol::DomainId domain, std::uint64_t channel, std::span<const std::byte> message,
                           Reason& reason) override;
    Expected<std::size_t> receive_from_channel(protocol::DomainId domain, std::uint64_t channel, std::span<std::byte> room,
                                               protocol::ChannelReceiveReply& reply, Reason& reason) override;
    Status close_channel(protocol::DomainId domain, std::uint64_t channel, Reason& reason) override;
    void close_channels() override { channels.clear(); }

    bool next_domain_ended(protocol::DomainEndedEvent& event) override;
    bool next_console_changed(protocol::ConsoleChangedEvent& event) override;
    bool next_channel_changed(protocol::ChannelChangedEvent& event) override;

    // What the tests look at and set.
    std::map<protocol::DomainId, FakeDomain> domains{};
    std::map<std::uint32_t, std::vector<std::byte>> uploads{};
    protocol::ExtLoadBeginRequest last_upload{};
    std::map<std::string, std::vector<std::byte>> modules{};
    std::deque<protocol::DomainEndedEvent> ended{};
    std::deque<protocol::ConsoleChangedEvent> consoles{};
    std::map<std::uint64_t, FakeChannel> channels{};
    std::deque<protocol::ChannelChangedEvent> channel_news{};
    std::string log{};
    unsigned slices{1};  ///< calls that a sliced method takes
    std::uint64_t largest_memory{64 * 1024 * 1024};
    std::size_t largest_write{};

private:
    Expected<FakeChannel*> find(protocol::DomainId domain, std::uint64_t channel, Reason& reason);
    Expected<FakeDomain*> find(protocol::DomainId domain, Reason& reason);
    Expected<std::byte*> range(protocol::DomainId domain, std::uint64_t address, std::uint64_t bytes,
                               Reason& reason);
    bool slice();

    protocol::DomainId next_id_{1};
    std::uint32_t next_upload_{1};
    std::uint64_t next_channel_{1};
    unsigned calls_{};
};

}  // namespace hv::test
