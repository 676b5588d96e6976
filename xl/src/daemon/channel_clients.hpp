// SPDX-License-Identifier: MIT
//
// Ends of channels that clients have: each message of a client goes to the extension at the other end, each of the extension's to
// the client.  Nothing is dropped: where the extension has no room, the client's next message is not read; where the client does not
// read, the extension's stay where they are, and it hears that there is no room.  An end is closed when its client goes.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/event_loop.hpp"
#include "daemon/session.hpp"
#include "daemon/task.hpp"
#include "hypervisor/hypervisor.hpp"

namespace hv::xl {

class ChannelClients {
public:
    ChannelClients(EventLoop& loop, Hypervisor& hypervisor) : loop_{loop}, hypervisor_{hypervisor} {}

    /// Opens the channel for the session; what comes is sent to it as frames of that request.  True where an extension has the other
    /// end.  Failure where the hypervisor refuses, or the session has one already.
    [[nodiscard]] Task<bool> open(std::shared_ptr<Session> session, std::uint32_t id, protocol::DomainId domain, std::string name);
    /// A message from the session.  Failure (failed) where it has no channel, (bad_text) where the message is empty or too long.
    void send(const Session& session, std::string message);
    /// False while what the session sent last waits for room.
    [[nodiscard]] bool takes_message(const Session& session) const;
    void leave(const Session& session);

    void changed(const protocol::ChannelChangedEvent& event);
    /// Its clients get what waits, and then hear why it ended.
    void domain_ended(protocol::DomainId domain, const std::string& reason);
    void link_is_down(const std::string& why);

private:
    struct Client {
        std::weak_ptr<Session> session;
        std::uint32_t request{};
        protocol::DomainId domain{};
        std::uint64_t channel{};
        std::deque<std::string> outgoing;
        bool connected{};
        bool under_way{};  ///< a coroutine is at it
        bool again{};      ///< and is to look once more
        bool over{};
        std::string ended;  ///< why the domain ended; empty: it has not
    };
    using ClientPointer = std::shared_ptr<Client>;

    [[nodiscard]] std::vector<ClientPointer> clients_of(protocol::DomainId domain) const;
    void look_soon(const ClientPointer& client);
    [[nodiscard]] Task<void> look(ClientPointer client);
    [[nodiscard]] Task<void> send_all(ClientPointer client);
    [[nodiscard]] Task<void> fetch_all(ClientPointer client);
    [[nodiscard]] Task<void> close(ClientPointer client);
    static void tell(const Client& client, const Json& notice);
    void tell_connected(Client& client, bool connected);
    void finish(ClientPointer client);

    EventLoop& loop_;
    Hypervisor& hypervisor_;
    std::map<const Session*, ClientPointer> clients_;
};

}  // namespace hv::xl
