// SPDX-License-Identifier: MIT
//
// The commands of the control protocol as functions.  Each throws what ControlLink::call throws, and a
// Failure (failed) where an answer is not what the protocol says.
#pragma once

#include <string>
#include <vector>

#include "hypervisor/control_link.hpp"

namespace hv::xl {

class Hypervisor {
public:
    explicit Hypervisor(ControlLink& link) : link_{link} {}

    /// Agrees on the version and subscribes to every event.
    [[nodiscard]] Task<void> greet();
    [[nodiscard]] Task<protocol::InfoReply> info();

    struct LogPiece {
        std::string text;
        std::uint64_t next{};
        std::uint64_t lost{};
    };
    [[nodiscard]] Task<LogPiece> read_log(std::uint64_t cursor);
    [[nodiscard]] Task<void> clear_log();

    [[nodiscard]] Task<std::vector<protocol::DomainInfo>> domains();
    [[nodiscard]] Task<protocol::DomainInfo> domain(protocol::DomainId id);
    [[nodiscard]] Task<std::vector<protocol::VcpuInfo>> vcpus(protocol::DomainId id);
    [[nodiscard]] Task<std::vector<protocol::ExitCount>> exit_counts(protocol::DomainId id,
                                                                     protocol::ExitTable table);

    [[nodiscard]] Task<protocol::DomainCreateReply> create(protocol::DomainCreateRequest request,
                                                           std::vector<protocol::CpuidMask> masks);
    /// finish_build, unpause, pause, destroy, shutdown.
    [[nodiscard]] Task<void> command(protocol::Command command, protocol::DomainId id);
    [[nodiscard]] Task<void> rename(protocol::DomainId id, std::string name);
    [[nodiscard]] Task<void> trigger(protocol::DomainId id, protocol::Trigger trigger, std::uint32_t vcpu);

    /// At most the protocol's largest bulk at once.  `bytes` belongs to the caller until the task is done.
    [[nodiscard]] Task<void> write_memory(protocol::DomainId id, std::uint64_t address,
                                          std::span<const std::byte> bytes);
    [[nodiscard]] Task<void> set_registers(protocol::DomainId id, std::uint32_t vcpu,
                                           protocol::VcpuRegisters registers);

    [[nodiscard]] Task<std::vector<protocol::ModuleInfo>> modules();
    [[nodiscard]] Task<std::vector<protocol::Binding>> bindings(protocol::DomainId id);
    /// The whole stack, in stacking order, before the first bind.
    [[nodiscard]] Task<void> announce(protocol::DomainId id, std::vector<std::string> modules);
    [[nodiscard]] Task<void> detach(protocol::DomainId id, std::string module);
    /// `parameters` is the tail of ext_bind with `count` parameters in it.
    [[nodiscard]] Task<void> bind(protocol::DomainId id, std::string module,
                                  std::vector<std::byte> parameters, std::uint32_t count,
                                  std::uint32_t placement, std::uint32_t on_fault);
    /// `signature` is empty or as long as the protocol has it; both belong to the caller until the task is done.
    [[nodiscard]] Task<protocol::ModuleInfo> load_module(std::span<const std::byte> file,
                                                         std::span<const std::byte> signature, std::string path);
    [[nodiscard]] Task<std::vector<protocol::SettledParameter>> settled_parameters(protocol::DomainId id);
    [[nodiscard]] Task<std::vector<protocol::ModuleRequest>> module_requests(std::string module);
    [[nodiscard]] Task<void> unload_module(std::string name);

    struct Swapped {
        protocol::ExtSwapReply reply{};
        std::vector<protocol::SwappedVcpu> vcpus;
    };
    struct SwapFlags {
        bool dry_run{};
        std::uint32_t fail_at{};      ///< a SwapStepNumber
        std::uint32_t probation_s{};  ///< 0: none
    };
    /// Swaps `old_module` for the loaded module `new_module`, or for `file` where that is not empty, with its
    /// signature or none.
    [[nodiscard]] Task<Swapped> swap(protocol::DomainId id, std::string old_module, std::string new_module,
                                     std::span<const std::byte> file, std::span<const std::byte> signature,
                                     SwapFlags how);
    [[nodiscard]] Task<Swapped> roll_back(protocol::DomainId id, std::string module);
    struct Inspected {
        protocol::ExtInspectReply reply{};
        std::vector<std::byte> records;
    };
    [[nodiscard]] Task<Inspected> inspect(protocol::DomainId id, std::string module);
    struct Report {
        protocol::ExtReportReply reply{};
        std::vector<protocol::ReportFrame> frames;
        std::vector<protocol::ReportEvent> events;
    };
    /// The reports of failures of `module` (empty: of any) that are kept, the newest first.
    [[nodiscard]] Task<std::vector<Report>> reports(protocol::DomainId id, std::string module);
    struct CorePiece {
        protocol::ExtCoreReply reply{};
        std::vector<std::byte> bytes;
    };
    /// A piece of the memory of the newest instance of the domain that failed.
    [[nodiscard]] Task<CorePiece> core(protocol::DomainId id, std::uint32_t segment, std::uint64_t offset);

    struct Channel {
        std::uint64_t number{};
        bool connected{};  ///< an extension has the other end
    };
    [[nodiscard]] Task<Channel> open_channel(protocol::DomainId id, std::string name);
    [[nodiscard]] Task<void> send_to_channel(protocol::DomainId id, std::uint64_t channel, std::string message);
    struct Received {
        std::vector<std::string> messages;
        std::uint32_t waiting{};  ///< that are left
        bool connected{};
    };
    /// All that wait, as far as one answer holds them.
    [[nodiscard]] Task<Received> receive_from_channel(protocol::DomainId id, std::uint64_t channel);
    [[nodiscard]] Task<void> close_channel(protocol::DomainId id, std::uint64_t channel);

private:
    /// Sends a module's file; returns the upload's number.
    [[nodiscard]] Task<std::uint32_t> send_module(std::span<const std::byte> file,
                                                  std::span<const std::byte> signature, std::string path);

    ControlLink& link_;
};

}  // namespace hv::xl
