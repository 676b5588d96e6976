// SPDX-License-Identifier: MIT
//
// xld as a whole: socket, sessions, the link to the hypervisor, domains, and the verbs that clients ask for.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "daemon/channel_clients.hpp"
#include "daemon/domains.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/session.hpp"
#include "hypervisor/control_link.hpp"
#include "hypervisor/hypervisor.hpp"

namespace hv::xl {

struct DaemonOptions {
    std::string socket{"/run/graft/xld.sock"};
    std::string group{"graft"};  ///< of the socket; empty or unknown: root's own
    DaemonPaths paths;
    PortOpener open_port{open_virtio_port};
};

class Daemon {
public:
    explicit Daemon(DaemonOptions options);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;

    /// Opens the socket (Failure where that cannot be done) and serves until `stop`.
    void run();
    /// From a handler on the loop's thread.
    void stop() { loop_.stop(); }
    [[nodiscard]] EventLoop& loop() { return loop_; }

private:
    struct Call {
        std::shared_ptr<Session> session;
        std::uint32_t id{};
        Json args;
        std::vector<FileDescriptor> files;
    };
    using CallPointer = std::shared_ptr<Call>;
    using Verb = Task<Json> (Daemon::*)(CallPointer);
    [[nodiscard]] static const std::map<std::string, Verb>& verbs();

    // The link to the hypervisor.
    void connect();
    [[nodiscard]] Task<void> greet();
    void on_event(const ControlFrame& frame);

    // Clients.
    void listen();
    void accept_client();
    void on_request(const std::shared_ptr<Session>& session, SocketFrame frame,
                    std::vector<FileDescriptor> files);
    [[nodiscard]] Task<void> answer(CallPointer call);
    void on_input(const std::shared_ptr<Session>& session, const std::string& bytes);
    void on_close(const std::shared_ptr<Session>& session);
    [[nodiscard]] bool takes_input(const Session& session) const;
    void attach(const CallPointer& call, const DomainPointer& domain);

    // What a verb needs.
    [[nodiscard]] Task<protocol::DomainInfo> target(CallPointer call);
    [[nodiscard]] Task<DomainPointer> target_record(CallPointer call);
    struct SwapOrder {
        std::string old_name;
        std::string new_name;
        std::vector<std::byte> file;
        std::vector<std::byte> signature;
        Hypervisor::SwapFlags how{};
    };
    [[nodiscard]] Task<Json> swap_one(protocol::DomainInfo domain, std::shared_ptr<const SwapOrder> order);
    [[nodiscard]] Task<Json> swap_all(std::shared_ptr<const SwapOrder> order);
    [[nodiscard]] Task<std::vector<std::string>> extensions_of(protocol::DomainId domain);
    [[nodiscard]] Task<void> require_extension(protocol::DomainInfo domain, std::string name);
    [[nodiscard]] Task<Json> domain_json(protocol::DomainInfo info, bool long_form);
    [[nodiscard]] Task<Json> module_json(protocol::ModuleInfo module);
    [[nodiscard]] Task<Json> instances_json();
    [[nodiscard]] Task<std::uint64_t> ticks_per_second();
    [[nodiscard]] Task<void> wait_for_log();
    void wake_log_readers();

    // The verbs, by the names that xl gives them.
    Task<Json> create(CallPointer call);
    Task<Json> console(CallPointer call);
    Task<Json> channel(CallPointer call);
    Task<Json> destroy(CallPointer call);
    Task<Json> shutdown(CallPointer call);
    Task<Json> reboot(CallPointer call);
    Task<Json> pause(CallPointer call);
    Task<Json> unpause(CallPointer call);
    Task<Json> rename(CallPointer call);
    Task<Json> trigger(CallPointer call);
    Task<Json> list(CallPointer call);
    Task<Json> info(CallPointer call);
    Task<Json> dmesg(CallPointer call);
    Task<Json> vcpu_list(CallPointer call);
    Task<Json> identify(CallPointer call);
    Task<Json> uptime(CallPointer call);
    Task<Json> exits(CallPointer call);
    [[nodiscard]] Task<Json> exit_tables(protocol::DomainInfo domain);
    [[nodiscard]] Task<Json> exit_note(std::uint32_t number);
    [[nodiscard]] Task<void> note_swap(std::uint32_t domain, std::string before, std::string after);
    Task<Json> ext_load(CallPointer call);
    Task<Json> ext_unload(CallPointer call);
    Task<Json> ext_attach(CallPointer call);
    Task<Json> ext_detach(CallPointer call);
    Task<Json> ext_swap(CallPointer call);
    Task<Json> ext_rollback(CallPointer call);
    Task<Json> ext_inspect(CallPointer call);
    [[nodiscard]] Task<Json> counters_of(protocol::DomainId domain, std::string module);
    Task<Json> ext_report(CallPointer call);
    Task<Json> ext_core(CallPointer call);
    Task<Json> ext_list(CallPointer call);
    Task<Json> ext_names(CallPointer call);

    /// The exit counters of a domain at its last swap and where the side before that began.
    struct Experiment {
        Json began, swapped;
        std::string before, after;  ///< the modules' names
    };

    DaemonOptions options_;
    EventLoop loop_;
    ControlLink link_;
    Hypervisor hypervisor_;
    Domains domains_;
    ChannelClients channels_;
    FileDescriptor listener_;
    EventLoop::WatchId listener_watch_{};
    std::set<std::shared_ptr<Session>> sessions_;
    std::map<const Session*, std::weak_ptr<Domain>> attached_;
    std::vector<std::coroutine_handle<>> log_readers_;
    std::map<std::uint32_t, Experiment> experiments_;  ///< by domain
    std::uint64_t ticks_per_second_{};
    bool greeted_{};
};

/// The number of a group in /etc/group, or nothing.  Reads the file itself: a static program has no name
/// service.
[[nodiscard]] std::optional<unsigned> group_number(const std::string& name,
                                                   const std::string& file = "/etc/group");

}  // namespace hv::xl
