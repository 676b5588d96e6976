// SPDX-License-Identifier: MIT
//
// One coroutine at a time works for a client: it sends what the client gave, then fetches what waits, until there is nothing to do.
#include "daemon/channel_clients.hpp"

#include <optional>

namespace hv::xl {
namespace {

using namespace std::chrono_literals;

/// What may wait for a client before its extension's messages are left where they are.
constexpr std::size_t longest_unread{64u << 10};
/// When it is looked at again.
constexpr auto rest_time = 20ms;

/// True where the refusal is of this moment: nobody is there, or there is no room.
bool may_succeed_later(const Refused& refused)
{
    return refused.error() == Error::limit_reached || (refused.error() == Error::not_found && refused.field() == "/channel");
}

}  // namespace

Task<bool> ChannelClients::open(std::shared_ptr<Session> session, std::uint32_t id, protocol::DomainId domain, std::string name)
{
    if (clients_.contains(session.get()))
        throw Failure{ExitCode::failed, "a connection has one channel"};
    const auto client = std::make_shared<Client>();
    client->session = session;
    client->request = id;
    client->domain = domain;
    client->under_way = true;
    clients_[session.get()] = client;
    std::optional<Failure> refused;
    try {
        const Hypervisor::Channel opened = co_await hypervisor_.open_channel(domain, std::move(name));
        client->channel = opened.number;
        client->connected = opened.connected;
    } catch (const Failure& failure) {
        refused = failure;
    }
    client->under_way = false;
    if (refused) {
        clients_.erase(session.get());
        throw *refused;
    }
    if (client->over)  // the session went meanwhile
        spawn(close(client));
    look_soon(client);  // what came before this end was known here
    co_return client->connected;
}

void ChannelClients::send(const Session& session, std::string message)
{
    const auto found = clients_.find(&session);
    if (found == clients_.end())
        throw Failure{ExitCode::failed, "a message without a channel"};
    if (message.empty() || message.size() > protocol::longest_channel_message)
        throw Failure{ExitCode::bad_text, "a message has 1 to " + std::to_string(protocol::longest_channel_message) + " bytes, not " +
                                              std::to_string(message.size())};
    found->second->outgoing.push_back(std::move(message));
    look_soon(found->second);
}

bool ChannelClients::takes_message(const Session& session) const
{
    const auto found = clients_.find(&session);
    return found == clients_.end() || found->second->outgoing.size() < 8;
}

void ChannelClients::leave(const Session& session)
{
    const auto found = clients_.find(&session);
    if (found != clients_.end())
        finish(found->second);
}

/// Its end is closed, now or when who is at it sees that it is over.
void ChannelClients::finish(ClientPointer client)
{
    std::erase_if(clients_, [&](const auto& one) { return one.second == client; });
    if (std::exchange(client->over, true) || client->channel == 0)
        return;
    spawn(close(client));
}

Task<void> ChannelClients::close(ClientPointer client)
{
    try {
        co_await hypervisor_.close_channel(client->domain, client->channel);
    } catch (const Failure&) {  // it is gone with its domain, or with the link
    }
}

void ChannelClients::changed(const protocol::ChannelChangedEvent& event)
{
    for (const ClientPointer& client : clients_of(event.domain))
        if (client->channel == event.channel)
            look_soon(client);
}

void ChannelClients::domain_ended(protocol::DomainId domain, const std::string& reason)
{
    for (const ClientPointer& client : clients_of(domain)) {
        if (!client->ended.empty())
            continue;
        client->ended = reason;
        look_soon(client);
    }
}

/// Copied, since one that is looked at may be finished.
std::vector<ChannelClients::ClientPointer> ChannelClients::clients_of(protocol::DomainId domain) const
{
    std::vector<ClientPointer> all;
    for (const auto& [session, client] : clients_)
        if (client->domain == domain)
            all.push_back(client);
    return all;
}

void ChannelClients::link_is_down(const std::string& why)
{
    std::vector<ClientPointer> all;
    for (const auto& [session, client] : clients_)
        all.push_back(client);
    for (const ClientPointer& client : all) {
        if (const auto session = client->session.lock())
            session->send_failure(client->request, {ExitCode::not_connected, "no connection to the hypervisor: " + why});
        client->channel = 0;  // the hypervisor has closed it
        finish(client);
    }
}

/// A request is on its way when this returns, so that one to destroy the domain comes behind it.
void ChannelClients::look_soon(const ClientPointer& client)
{
    if (std::exchange(client->under_way, true))
        client->again = true;
    else
        spawn(look(client));
}

Task<void> ChannelClients::look(ClientPointer client)
{
    std::optional<Failure> failed;
    try {
        do {
            client->again = false;
            co_await fetch_all(client);
            co_await send_all(client);
        } while (client->again && !client->over);
    } catch (const Failure& failure) {
        failed = failure;
    }
    client->under_way = false;
    if (client->over)
        co_return;
    if (!client->ended.empty())
        tell(*client, {{"event", "ended"}, {"reason", client->ended}});
    else if (const auto session = client->session.lock(); session && failed)
        session->send_failure(client->request, *failed);
    if (failed || !client->ended.empty())
        finish(client);
}

Task<void> ChannelClients::send_all(ClientPointer client)
{
    while (!client->outgoing.empty() && !client->over && client->ended.empty()) {
        std::optional<Refused> refusal;
        try {
            co_await hypervisor_.send_to_channel(client->domain, client->channel, client->outgoing.front());
        } catch (const Refused& refused) {
            refusal = refused;
        }
        if (refusal && !may_succeed_later(*refusal))
            throw Failure{*refusal};
        if (refusal) {
            if (refusal->error() == Error::not_found)
                tell(*client, {{"event", "nobody"}});
            co_return;  // news will come
        }
        client->outgoing.pop_front();
        tell(*client, {{"event", "sent"}});
    }
}

Task<void> ChannelClients::fetch_all(ClientPointer client)
{
    for (std::uint32_t waiting = 1; waiting != 0 && !client->over;) {
        const auto session = client->session.lock();
        if (!session)
            co_return;
        if (session->unread() > longest_unread && client->ended.empty()) {
            loop_.after(rest_time, [this, client] { look_soon(client); });
            co_return;
        }
        const Hypervisor::Received received = co_await hypervisor_.receive_from_channel(client->domain, client->channel);
        for (const std::string& message : received.messages)
            session->send(FrameType::channel_message, client->request, message);
        tell_connected(*client, received.connected);
        waiting = received.waiting;
    }
}

void ChannelClients::tell(const Client& client, const Json& notice)
{
    if (const auto session = client.session.lock())
        session->send_json(FrameType::channel_notice, client.request, notice);
}

void ChannelClients::tell_connected(Client& client, bool connected)
{
    if (std::exchange(client.connected, connected) != connected)
        tell(client, {{"event", connected ? "connected" : "disconnected"}});
}

}  // namespace hv::xl
