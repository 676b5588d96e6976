// SPDX-License-Identifier: MIT
//
// A hypervisor for xld's tests: the real control server over domains that are only remembered.  Its ports are
// sockets; it runs on a thread of its own, and what a test asks of it is done there.
#pragma once

#include <deque>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/file.hpp"
#include "hv/core/control/server.hpp"

namespace hv::xl::test {

struct FakeDomain {
    protocol::DomainInfo info{};
    std::map<std::uint64_t, std::vector<std::byte>> memory;
    protocol::VcpuRegisters registers{};
    std::vector<std::string> modules;
    std::vector<std::string> announced;
    std::vector<std::string> parameters;
    FileDescriptor console;  ///< the guest's end
    unsigned powerbutton{};
    unsigned nmis{};
};

/// An end that xld has; the test is the extension at the other.
struct FakeChannel {
    std::uint64_t number{};
    protocol::DomainId domain{};
    std::string name;
    std::deque<std::string> waiting;
    std::vector<std::string> sent;
    bool connected{true};
    std::size_t room{8};  ///< messages that the extension still takes
};

class FakeHypervisor final : public core::control::ControlTarget {
public:
    FakeHypervisor();
    ~FakeHypervisor();

    /// For DaemonOptions::open_port.
    FileDescriptor open_port(const std::string& name);
    /// Does something on the hypervisor's thread and waits for it.
    void run(const std::function<void()>& work);
    template <typename T>
    T ask(const std::function<T()>& question)
    {
        T answer{};
        run([&] { answer = question(); });
        return answer;
    }

    // The rest is for `run` and `ask`.
    FakeDomain& by_name(const std::string& name);
    [[nodiscard]] bool has(const std::string& name);
    void say(FakeDomain& domain, std::string_view text);
    void end(FakeDomain& domain, protocol::EndReason reason, const std::string& text = "");
    /// The channel of that name, or null.
    [[nodiscard]] FakeChannel* channel(const std::string& name);
    /// The extension says something by it.
    void say(FakeChannel& channel, const std::string& message);
    /// It has changed: the other end was opened or closed, or there is room again.
    void announce(const FakeChannel& channel);

    static constexpr std::uint64_t all_memory{1ull << 30};
    std::uint64_t free_memory{all_memory};
    std::map<protocol::DomainId, FakeDomain> domains;
    std::map<std::string, protocol::ModuleInfo> modules;
    std::map<std::uint64_t, FakeChannel> channels;
    std::function<void(FakeChannel&)> on_channel_open;                        ///< what the extension does
    std::function<void(FakeChannel&, const std::string&)> on_channel_message;
    std::string log{"first line\nsecond line\n"};
    std::function<void(FakeDomain&)> on_unpause;  ///< the guest
    std::function<void()> after_end;              ///< once the news of an end is on its way
    bool stall_finish{};
    bool ignore_powerbutton{};  ///< the guest does not see it
    std::string clashing_module;  ///< refused by ext_announce and ext_detach
    std::string binding_fails;    ///< refused by ext_bind
    std::string keeping_domain;   ///< refuses every swap
    std::uint64_t cpuid_exits{7};  ///< of each domain
    std::uint64_t run_ticks{};     ///< of each VCPU

private:
    void serve();
    void pump();
    void open_anew();

    void info(protocol::InfoReply& reply) override;
    core::control::LogSlice read_log(std::uint64_t cursor, std::span<char> room) override;
    std::uint64_t log_end() override { return log.size(); }
    void clear_log() override { log.clear(); }
    Expected<core::control::Progress> create_domain(const protocol::DomainCreateRequest& request,
                                                    const protocol::EntryView<protocol::CpuidMask>& cpuid,
                                                    protocol::DomainCreateReply& reply,
                                                    core::control::Reason& reason) override;
    Expected<core::control::Progress> finish_build(protocol::DomainId domain,
                                                   core::control::Reason& reason) override;
    Status unpause(protocol::DomainId domain, core::control::Reason& reason) override;
    Expected<core::control::Progress> pause(protocol::DomainId domain,
                                            core::control::Reason& reason) override;
    Expected<core::control::Progress> destroy_domain(protocol::DomainId domain,
                                                     core::control::Reason& reason) override;
    Status rename_domain(protocol::DomainId domain, std::string_view name,
                         core::control::Reason& reason) override;
    Status shutdown_domain(protocol::DomainId domain, core::control::Reason& reason) override;
    Status trigger(protocol::DomainId domain, protocol::Trigger trigger, std::uint32_t vcpu,
                   core::control::Reason& reason) override;
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
                                       protocol::ModuleRequest& entry, core::control::Reason& reason) override;
    Status write_memory(protocol::DomainId domain, std::uint64_t address, std::span<const std::byte> bytes,
                        core::control::Reason& reason) override;
    Status read_memory(protocol::DomainId, std::uint64_t, std::span<std::byte>,
                       core::control::Reason&) override
    {
        return Error::not_supported;
    }
    Status set_registers(protocol::DomainId domain, std::uint32_t vcpu,
                         const protocol::VcpuRegisters& registers, core::control::Reason& reason) override;
    Status get_registers(protocol::DomainId, std::uint32_t, protocol::VcpuRegisters&,
                         core::control::Reason&) override
    {
        return Error::not_supported;
    }
    Status announce_extensions(protocol::DomainId domain, const protocol::EntryView<protocol::ModuleName>& modules,
                               core::control::Reason& reason) override;
    Expected<core::control::Progress> bind_extension(const protocol::ExtBindRequest& request,
                                                     protocol::ParameterReader parameters,
                                                     protocol::ExtBindReply& reply,
                                                     core::control::Reason& reason) override;
    Expected<std::uint32_t> begin_module(const protocol::ExtLoadBeginRequest& request,
                                         core::control::Reason& reason) override;
    Status module_data(std::uint32_t, std::uint64_t, std::span<const std::byte> bytes,
                       core::control::Reason&) override;
    Expected<core::control::Progress> finish_module(std::uint32_t upload, protocol::ModuleInfo& reply,
                                                    core::control::Reason& reason) override;
    void abort_module(std::uint32_t) override {}
    Status unload_module(std::string_view module, core::control::Reason& reason) override;
    Status detach_extension(const protocol::ExtOfDomainRequest& request, core::control::Reason& reason) override;
    Expected<core::control::Progress> swap_extension(const protocol::ExtSwapRequest& request,
                                                     core::control::SwapAnswer& answer,
                                                     core::control::Reason& reason) override;
    /// It holds no instances, so there is nothing to go back to or to look into.
    Expected<core::control::Progress> rollback_extension(const protocol::ExtOfDomainRequest&,
                                                         core::control::SwapAnswer&,
                                                         core::control::Reason&) override
    {
        return Error::not_supported;
    }
    Expected<std::size_t> report_failure(const protocol::ExtReportRequest& request, std::span<std::byte> room,
                                         protocol::ExtReportReply& reply, core::control::Reason& reason) override;
    Expected<std::size_t> read_core(const protocol::ExtCoreRequest& request, std::span<std::byte> room,
                                    protocol::ExtCoreReply& reply, core::control::Reason& reason) override;
    Expected<std::size_t> inspect_extension(const protocol::ExtOfDomainRequest&, std::span<std::byte>,
                                            protocol::ExtInspectReply&, core::control::Reason&) override
    {
        return Error::not_supported;
    }
    Expected<protocol::ChannelOpenReply> open_channel(protocol::DomainId domain, std::string_view name,
                                                      core::control::Reason& reason) override;
    Status send_to_channel(protocol::DomainId domain, std::uint64_t channel, std::span<const std::byte> message,
                           core::control::Reason& reason) override;
    Expected<std::size_t> receive_from_channel(protocol::DomainId domain, std::uint64_t channel, std::span<std::byte> room,
                                               protocol::ChannelReceiveReply& reply, core::control::Reason& reason) override;
    Status close_channel(protocol::DomainId domain, std::uint64_t channel, core::control::Reason& reason) override;
    void close_channels() override { channels.clear(); }
    Expected<FakeChannel*> find_channel(protocol::DomainId domain, std::uint64_t channel, core::control::Reason& reason);
    bool next_channel_changed(protocol::ChannelChangedEvent& event) override;
    bool next_domain_ended(protocol::DomainEndedEvent& event) override;
    bool next_console_changed(protocol::ConsoleChangedEvent&) override { return false; }

    core::control::ControlServer server_{*this};
    FileDescriptor control_;
    FileDescriptor wake_read_;
    FileDescriptor wake_write_;
    std::vector<std::byte> received_;
    std::vector<protocol::DomainEndedEvent> ended_;
    protocol::ExtLoadBeginRequest upload_{};
    std::string uploaded_;
    protocol::DomainId next_id_{1};
    std::uint64_t next_channel_{0x5000'0000'0000'0001};
    std::deque<protocol::ChannelChangedEvent> channel_news_;
    std::mutex mutex_;
    std::map<std::string, FileDescriptor> ports_;  ///< xld's ends, until they are opened
    std::vector<std::function<void()>> work_;
    bool end_told_{};
    bool stopping_{};
    std::thread thread_;
};

}  // namespace hv::xl::test
