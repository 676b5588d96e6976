// SPDX-License-Identifier: MIT
//
// The domains that xld knows: their configs, files and consoles, how one is built, and what is done when one
// ends.  All policy about domains lives here; the hypervisor has only the mechanism.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "config/domain_config.hpp"
#include "daemon/async_lock.hpp"
#include "daemon/console.hpp"
#include "daemon/domain_store.hpp"
#include "hypervisor/hypervisor.hpp"
#include "hypervisor/ports.hpp"

namespace hv::xl {

/// Where xld finds and leaves things.  An empty log folder keeps no logs.
struct DaemonPaths {
    std::string extensions{"/usr/lib/graft/extensions"};
    std::string logs{"/var/log/graft"};
    std::string state{"/run/graft/domains"};  ///< what another xld must know; empty: nothing is kept
};

/// A domain over its restarts.  `id` changes with each of them.
struct Domain {
    explicit Domain(EventLoop& loop) : lock{loop} {}

    protocol::DomainId id{};
    std::string name;
    bool has_config{};  ///< false for one that an earlier xld made and left no word of
    std::string lost_files;  ///< why it cannot be built again, or empty
    DomainConfig config;
    FileDescriptor kernel;
    FileDescriptor ramdisk;
    std::unique_ptr<Console> console;
    bool restart_on_poweroff{};  ///< `xl reboot` pressed the power button
    bool gone{};
    EventLoop::Clock::time_point started;
    AsyncLock lock;  ///< one building, ending, destroying or renaming at a time
};
using DomainPointer = std::shared_ptr<Domain>;

class Domains {
public:
    Domains(EventLoop& loop, Hypervisor& hypervisor, PortOpener open_port, DaemonPaths paths)
        : loop_{loop}, hypervisor_{hypervisor}, open_port_{std::move(open_port)}, paths_{std::move(paths)},
          store_{paths_.state}
    {
    }

    /// What `create` asks for beside the config.
    struct CreateOptions {
        bool paused{};
        std::shared_ptr<Session>
            client;  ///< if it goes away before the domain is complete, the domain does, too
        std::uint32_t request{};
        bool attach{};  ///< to the console, before the first VCPU runs
    };

    [[nodiscard]] Task<DomainPointer> create(DomainConfig config, FileDescriptor kernel,
                                             FileDescriptor ramdisk, CreateOptions options);
    [[nodiscard]] Task<void> destroy(DomainPointer domain);
    [[nodiscard]] Task<void> rename(DomainPointer domain, std::string name);
    /// Puts an extension, as in `extensions` of a config, under a domain that runs, and into its config.
    [[nodiscard]] Task<void> attach_extension(DomainPointer domain, Json extension);
    /// Takes one away, and out of the config.
    [[nodiscard]] Task<void> detach_extension(DomainPointer domain, std::string name);
    /// Presses the power button; a power-off then starts the domain again.  Failure where that cannot be.
    [[nodiscard]] Task<void> reboot(DomainPointer domain);

    /// The hypervisor says that a domain ended.
    void on_ended(const protocol::DomainEndedEvent& event);
    /// Takes up domains that are there already, and drops those that are not there any more.
    [[nodiscard]] Task<void> adopt();

    /// The record of a domain of the hypervisor, or null.
    [[nodiscard]] DomainPointer find(protocol::DomainId id) const;
    void detach(const Session& session);
    /// For the end of xld: no console reads any more.
    void close_consoles();

    /// Names of modules that are loaded or lie in the folder.
    [[nodiscard]] Task<std::vector<std::string>> known_extensions();
    /// `signature` is the open file beside it, or -1.
    [[nodiscard]] Task<protocol::ModuleInfo> load_extension(int descriptor, int signature, std::string path);

private:
    [[nodiscard]] Task<void> build(DomainPointer domain, CreateOptions options);
    [[nodiscard]] Task<void> fill(DomainPointer domain, CreateOptions options, std::uint32_t console_slot);
    [[nodiscard]] Task<void> announce_extensions(DomainPointer domain);
    [[nodiscard]] Task<void> bind_extensions(DomainPointer domain);
    [[nodiscard]] Task<void> bind_extension(DomainPointer domain, ExtensionConfig extension, std::string pointer);
    [[nodiscard]] Task<void> ensure_loaded(std::string name, std::string pointer);
    [[nodiscard]] Task<void> write_image(DomainPointer domain, CreateOptions options);
    [[nodiscard]] Task<void> open_console(DomainPointer domain, std::uint32_t slot);
    [[nodiscard]] Task<void> ended(protocol::DomainEndedEvent event);
    [[nodiscard]] Task<void> act_on_end(DomainPointer domain, EndReason reason, std::string text);
    [[nodiscard]] Task<void> restart(DomainPointer domain);
    void forget(const DomainPointer& domain);
    void keep(const Domain& domain) const;
    void adopt_one(const protocol::DomainInfo& info);
    void take_up_stored(Domain& domain, const protocol::DomainInfo& info) const;
    [[nodiscard]] std::string log_path(const std::string& name) const;

    EventLoop& loop_;
    Hypervisor& hypervisor_;
    PortOpener open_port_;
    DaemonPaths paths_;
    DomainStore store_;
    std::map<protocol::DomainId, DomainPointer> domains_;
    std::map<protocol::DomainId, protocol::DomainEndedEvent> unclaimed_ends_;  ///< of domains not adopted yet
};

/// "poweroff", "crash: triple fault": how the end of a domain is told; empty for none.
[[nodiscard]] std::string end_text(std::uint32_t end_reason, std::string_view detail);

}  // namespace hv::xl
