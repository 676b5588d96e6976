// SPDX-License-Identifier: MIT
//
// The control protocol carried out on the real machine: the ControlTarget over domains, log and extensions.  Called by the
// control server alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "hv/core/control/control_target.hpp"
#include "hv/core/control/server.hpp"
#include "hv/core/domain/domain_table.hpp"
#include "hv/core/ext/control_channels.hpp"
#include "hv/core/ext/module_registry.hpp"
#include "hv/core/ext/swap.hpp"
#include "hv/core/service/console_slots.hpp"

namespace hv::core::service {

/// What `info` says and only main knows.
struct MachineDescription {
    std::string_view version;
    std::string_view processor;
    std::string_view features;
    std::string_view options;
};

class CoreTarget final : public control::ControlTarget {
public:
    CoreTarget(const MachineDescription& description, ConsoleSlots& consoles, Heap& heap)
        : description_{description}, consoles_{consoles}, modules_{heap}
    {
    }

    /// Exits and state of the control domain, for `list` and `exits`; set once at boot by its processor loop.
    struct ControlDomainView {
        std::uint64_t memory_bytes;
        const ExitCounters* exits;
    };
    void show_control_domain(const ControlDomainView& view) { control_domain_ = view; }
    /// ext=isolated-only: a bind that asks for the trusted placement is refused, and the default is the other.
    void allow_isolated_only() { isolated_only_ = true; }
    /// What operators are shown of it.
    void tell_hook_budget(std::uint64_t nanoseconds) { hook_budget_ns_ = nanoseconds; }

    [[nodiscard]] DomainTable& domains() { return domains_; }
    /// Loads a module that was handed over at boot, with its signature or none; fails as the registry does.
    Expected<Module*> load_module(std::span<const std::byte> file, std::span<const std::byte> signature,
                                  std::string_view path, TextWriter& why);
    /// Null: no module of that name is loaded.
    [[nodiscard]] Module* find_module(std::string_view name) const { return modules_.find(name); }
    /// Which modules are let in: set at boot, before the first one.
    void set_policy(const loader::Policy& policy) { modules_.policy = policy; }

    void info(protocol::InfoReply& reply) override;
    control::LogSlice read_log(std::uint64_t cursor, std::span<char> room) override;
    std::uint64_t log_end() override;
    void clear_log() override;

    Expected<control::Progress> create_domain(const protocol::DomainCreateRequest& request,
                                              const protocol::EntryView<protocol::CpuidMask>& cpuid,
                                              protocol::DomainCreateReply& reply, control::Reason& reason) override;
    void carry_out_requests() override;
    Expected<control::Progress> finish_build(protocol::DomainId domain, control::Reason& reason) override;
    Status unpause(protocol::DomainId domain, control::Reason& reason) override;
    Expected<control::Progress> pause(protocol::DomainId domain, control::Reason& reason) override;
    Expected<control::Progress> destroy_domain(protocol::DomainId domain, control::Reason& reason) override;
    Status rename_domain(protocol::DomainId domain, std::string_view name, control::Reason& reason) override;
    Status shutdown_domain(protocol::DomainId domain, control::Reason& reason) override;
    Status trigger(protocol::DomainId domain, protocol::Trigger trigger, std::uint32_t vcpu,
                   control::Reason& reason) override;

    bool next_domain(std::uint64_t& cursor, protocol::DomainInfo& entry) override;
    Expected<bool> next_vcpu(protocol::DomainId domain, std::uint64_t& cursor, protocol::VcpuInfo& entry) override;
    Expected<bool> next_counter(const Domain& domain, std::uint64_t& cursor, protocol::ExitCount& entry) const;
    Expected<bool> next_vcpu_msr(protocol::DomainId domain, std::uint64_t& cursor, protocol::ExitCount& entry) const;
    Expected<bool> next_exit_count(protocol::DomainId domain, protocol::ExitTable table, std::uint64_t& cursor,
                                   protocol::ExitCount& entry) override;
    Expected<bool> next_binding(protocol::DomainId domain, std::uint64_t& cursor, protocol::Binding& entry) override;
    bool next_module(std::uint64_t& cursor, protocol::ModuleInfo& entry) override;
    Expected<bool> next_settled(protocol::DomainId domain, std::uint64_t& cursor, protocol::SettledParameter& entry) override;
    Expected<bool> next_module_request(std::string_view module, std::uint64_t& cursor, protocol::ModuleRequest& entry,
                                       control::Reason& reason) override;

    Status write_memory(protocol::DomainId domain, std::uint64_t address, std::span<const std::byte> bytes,
                        control::Reason& reason) override;
    Status read_memory(protocol::DomainId domain, std::uint64_t address, std::span<std::byte> room,
                       control::Reason& reason) override;
    Status set_registers(protocol::DomainId domain, std::uint32_t vcpu, const protocol::VcpuRegisters& registers,
                         control::Reason& reason) override;
    Status get_registers(protocol::DomainId domain, std::uint32_t vcpu, protocol::VcpuRegisters& registers,
                         control::Reason& reason) override;

    Status announce_extensions(protocol::DomainId domain, const protocol::EntryView<protocol::ModuleName>& modules,
                               control::Reason& reason) override;
    Expected<control::Progress> bind_extension(const protocol::ExtBindRequest& request,
                                               protocol::ParameterReader parameters, protocol::ExtBindReply& reply,
                                               control::Reason& reason) override;
    Expected<std::uint32_t> begin_module(const protocol::ExtLoadBeginRequest& request,
                                         control::Reason& reason) override;
    Status module_data(std::uint32_t upload, std::uint64_t offset, std::span<const std::byte> bytes,
                       control::Reason& reason) override;
    Expected<control::Progress> finish_module(std::uint32_t upload, protocol::ModuleInfo& reply,
                                              control::Reason& reason) override;
    void abort_module(std::uint32_t upload) override;
    Status unload_module(std::string_view module, control::Reason& reason) override;
    Expected<control::Progress> swap_extension(const protocol::ExtSwapRequest& request, control::SwapAnswer& answer,
                                               control::Reason& reason) override;
    Expected<control::Progress> rollback_extension(const protocol::ExtOfDomainRequest& request,
                                                   control::SwapAnswer& answer, control::Reason& reason) override;
    Status detach_extension(const protocol::ExtOfDomainRequest& request, control::Reason& reason) override;
    Expected<std::size_t> inspect_extension(const protocol::ExtOfDomainRequest& request, std::span<std::byte> room,
                                            protocol::ExtInspectReply& reply, control::Reason& reason) override;
    Expected<std::size_t> report_failure(const protocol::ExtReportRequest& request, std::span<std::byte> room,
                                         protocol::ExtReportReply& reply, control::Reason& reason) override;
    Expected<std::size_t> read_core(const protocol::ExtCoreRequest& request, std::span<std::byte> room,
                                    protocol::ExtCoreReply& reply, control::Reason& reason) override;

    Expected<protocol::ChannelOpenReply> open_channel(protocol::DomainId domain, std::string_view name,
                                                      control::Reason& reason) override;
    Status send_to_channel(protocol::DomainId domain, std::uint64_t channel, std::span<const std::byte> message,
                           control::Reason& reason) override;
    Expected<std::size_t> receive_from_channel(protocol::DomainId domain, std::uint64_t channel, std::span<std::byte> room,
                                               protocol::ChannelReceiveReply& reply, control::Reason& reason) override;
    Status close_channel(protocol::DomainId domain, std::uint64_t channel, control::Reason& reason) override;
    void close_channels() override;

    bool next_domain_ended(protocol::DomainEndedEvent& event) override;
    bool next_console_changed(protocol::ConsoleChangedEvent& event) override;
    bool next_channel_changed(protocol::ChannelChangedEvent& event) override;

private:
    /// A module file that is being sent.
    struct Upload {
        std::byte* bytes{};
        std::uint64_t size{};
        BoundedText<Module::longest_path> path{};
        std::array<std::byte, loader::ed25519_signature_bytes> signature{};
        std::size_t signature_bytes{};
    };
    /// A swap that is done, and whose domain has not been seen to go on yet.
    struct SwapUnderWay {
        Domain* domain{};  ///< null: there is none
        SwapReport report{};
        protocol::ExtSwapReply names{};
    };
    [[nodiscard]] Upload* find_upload(std::uint32_t number);
    Expected<Module*> replacement(const protocol::ExtSwapRequest& request, control::Reason& reason);
    Expected<control::Progress> swap(Domain& domain, std::string_view old_name, Module& next, const SwapOptions& options,
                                     control::SwapAnswer& answer, control::Reason& reason);
    [[nodiscard]] bool is_under_way(protocol::DomainId domain) const;
    Expected<control::Progress> watch_swap(control::SwapAnswer& answer);
    Expected<Domain*> guest(protocol::DomainId domain, control::Reason& reason) const;
    Expected<ControlChannels> channels(protocol::DomainId domain, control::Reason& reason) const;
    [[nodiscard]] Expected<const ExitCounters*> counters(protocol::DomainId domain, unsigned vcpu) const;
    void describe_control_domain(protocol::DomainInfo& entry) const;

    const MachineDescription& description_;
    ConsoleSlots& consoles_;
    DomainTable domains_{};
    ModuleRegistry modules_;
    bool isolated_only_{};
    std::uint64_t hook_budget_ns_{};
    std::array<Upload, control::ControlServer::maximum_uploads> uploads_{};
    SwapUnderWay swap_{};
    ControlDomainView control_domain_{};
    std::uint64_t log_begin_{};  ///< what is before it has been cleared
};

}  // namespace hv::core::service
