// SPDX-License-Identifier: MIT
//
// Socket, sessions and the link; the verbs are in verbs_*.cpp.
#include "daemon/daemon.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include "config/json_text.hpp"
#include "daemon/log.hpp"

namespace hv::xl {
namespace {

using namespace std::chrono_literals;

constexpr auto reconnect_time = 200ms;
constexpr int backlog{16};
constexpr mode_t socket_mode{0660};
constexpr unsigned most_requests{16};
constexpr std::size_t most_sessions{256};

}  // namespace

std::optional<unsigned> group_number(const std::string& name, const std::string& file)
{
    std::ifstream groups{file};
    for (std::string line; std::getline(groups, line);) {
        const auto name_end = line.find(':');
        const auto password_end = name_end == std::string::npos ? name_end : line.find(':', name_end + 1);
        if (password_end == std::string::npos || line.compare(0, name_end, name) != 0)
            continue;
        unsigned number{};
        const char* const begin{line.data() + password_end + 1};
        if (std::from_chars(begin, line.data() + line.size(), number).ec == std::errc{})
            return number;
    }
    return std::nullopt;
}

Daemon::Daemon(DaemonOptions options)
    : options_{std::move(options)}, link_{loop_, [this](const ControlFrame& frame) { on_event(frame); }},
      hypervisor_{link_}, domains_{loop_, hypervisor_, options_.open_port, options_.paths},
      channels_{loop_, hypervisor_}
{
}

Daemon::~Daemon() = default;

void Daemon::run()
{
    listen();
    connect();
    loop_.run();
    log_info("xld ends");
    ::unlink(options_.socket.c_str());
    link_.shut("xld ends");
    const auto sessions = sessions_;
    for (const auto& session : sessions)
        session->close();
    loop_.unwatch(listener_watch_);
    wake_log_readers();
    loop_.drain();
    domains_.close_consoles();
}

void Daemon::connect()
{
    FileDescriptor port{options_.open_port(control_port_name)};
    if (!port.open()) {
        loop_.after(reconnect_time, [this] {
            if (!loop_.stopping())
                connect();
        });
        return;
    }
    link_.open(std::move(port), [this](const std::string& why) {
        // A port that opens and closes again and again is told of once.
        if (std::exchange(greeted_, false))
            log_error("the link to the hypervisor is down: " + why);
        wake_log_readers();
        channels_.link_is_down(why);
        loop_.after(reconnect_time, [this] {
            if (!loop_.stopping())
                connect();
        });
    });
    spawn(greet());
}

Task<void> Daemon::greet()
{
    try {
        co_await hypervisor_.greet();
        const protocol::InfoReply info = co_await hypervisor_.info();
        ticks_per_second_ = info.ticks_per_second;
        greeted_ = true;
        co_await domains_.adopt();
        log_info("connected to Graft " + std::string{protocol::text_of(info.version)});
    } catch (const Failure& failure) {
        if (link_.is_open())
            log_error(std::string{"the hypervisor could not be greeted: "} + failure.what());
    }
}

void Daemon::on_event(const ControlFrame& frame)
{
    switch (static_cast<protocol::EventCode>(frame.header.command)) {
    case protocol::EventCode::domain_ended:
        if (const auto event = frame.view().fixed<protocol::DomainEndedEvent>()) {
            // Before the domain is destroyed: what its extensions said last is fetched.
            channels_.domain_ended(event.value().domain,
                                   end_text(event.value().end_reason, protocol::text_of(event.value().reason)));
            domains_.on_ended(event.value());
        }
        break;
    case protocol::EventCode::channel_changed:
        if (const auto event = frame.view().fixed<protocol::ChannelChangedEvent>())
            channels_.changed(event.value());
        break;
    case protocol::EventCode::log_grew: wake_log_readers(); break;
    case protocol::EventCode::console_changed: break;  // xld learns its slots from create and adopt
    }
}

void Daemon::listen()
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (options_.socket.size() >= sizeof address.sun_path)
        throw Failure{ExitCode::failed, options_.socket + " is too long for a socket's name"};
    std::memcpy(address.sun_path, options_.socket.c_str(), options_.socket.size());
    listener_ = FileDescriptor{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    ::unlink(options_.socket.c_str());
    // Nobody but the owner may connect before the socket has its group.
    const mode_t old_mask{::umask(0177)};
    const int bound{::bind(listener_.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address)};
    ::umask(old_mask);
    if (bound != 0)
        throw Failure{ExitCode::failed, "cannot make " + options_.socket + ": " + system_reason(errno)};
    const auto group = group_number(options_.group);
    if (group && ::chown(options_.socket.c_str(), static_cast<uid_t>(-1), *group) != 0)
        log_warning("cannot give " + options_.socket + " to group " + options_.group + ": " +
                    system_reason(errno));
    else if (!group)
        log_warning("there is no group " + options_.group + ": only root may use xl");
    if (::chmod(options_.socket.c_str(), socket_mode) != 0 || ::listen(listener_.number(), backlog) != 0)
        throw Failure{ExitCode::failed, "cannot listen on " + options_.socket + ": " + system_reason(errno)};
    listener_watch_ = loop_.watch(
        listener_.number(),
        [this] { return static_cast<short>(sessions_.size() < most_sessions ? POLLIN : 0); },
        [this](short) { accept_client(); });
}

void Daemon::accept_client()
{
    FileDescriptor socket{::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!socket.open())
        return;
    sessions_.insert(Session::start(
        loop_, std::move(socket),
        {[this](const auto& session, SocketFrame frame, std::vector<FileDescriptor> files) {
             on_request(session, std::move(frame), std::move(files));
         },
         [this](const auto& session, const std::string& bytes) { on_input(session, bytes); },
         [this](const auto& session, std::string message) { channels_.send(*session, std::move(message)); },
         [this](const auto& session) { on_close(session); },
         [this](const Session& session) { return takes_input(session); }}));
}

void Daemon::on_close(const std::shared_ptr<Session>& session)
{
    domains_.detach(*session);
    channels_.leave(*session);
    attached_.erase(session.get());
    sessions_.erase(session);
    wake_log_readers();  // one of them may have been this client's
}

void Daemon::on_input(const std::shared_ptr<Session>& session, const std::string& bytes)
{
    const auto attached = attached_.find(session.get());
    if (attached == attached_.end())
        throw Failure{ExitCode::failed, "console input without a console"};
    if (const auto domain = attached->second.lock(); domain && domain->console)
        domain->console->type(bytes);
}

bool Daemon::takes_input(const Session& session) const
{
    const auto attached = attached_.find(&session);
    if (attached == attached_.end())
        return channels_.takes_message(session);
    const auto domain = attached->second.lock();
    return !domain || !domain->console || domain->console->takes_input();
}

void Daemon::on_request(const std::shared_ptr<Session>& session, SocketFrame frame,
                        std::vector<FileDescriptor> files)
{
    auto call = std::make_shared<Call>();
    call->session = session;
    call->id = frame.id;
    call->args = parse_json_text(frame.payload);
    call->files = std::move(files);
    if (!call->args.is_object() || !call->args.contains("verb") || !call->args["verb"].is_string())
        throw Failure{ExitCode::failed, "a request is an object with a verb"};
    if (session->requests_under_way >= most_requests)
        throw Failure{ExitCode::failed, "too many requests at once"};
    ++session->requests_under_way;
    spawn(answer(call));
}

Task<void> Daemon::answer(CallPointer call)
{
    try {
        const auto verb = verbs().find(call->args["verb"].get<std::string>());
        if (verb == verbs().end())
            throw Failure{ExitCode::bad_text, "xld knows no verb " + call->args["verb"].dump()};
        const Json result = co_await (this->*verb->second)(call);
        call->session->send_json(FrameType::reply, call->id, result);
    } catch (const Failure& failure) {
        call->session->send_failure(call->id, failure);
    } catch (const Json::exception& error) {
        call->session->send_failure(call->id,
                                    {ExitCode::failed, std::string{"malformed request: "} + error.what()});
    } catch (const std::exception& error) {
        log_error(std::string{"a request failed unexpectedly: "} + error.what());
        call->session->send_failure(call->id, {ExitCode::failed, error.what()});
    }
    --call->session->requests_under_way;
}

void Daemon::attach(const CallPointer& call, const DomainPointer& domain)
{
    if (attached_.contains(call->session.get()))
        throw Failure{ExitCode::failed, "a connection has one console"};
    attached_[call->session.get()] = domain;
}

Task<void> Daemon::wait_for_log()
{
    struct Waiting {
        std::vector<std::coroutine_handle<>>& readers;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const { readers.push_back(handle); }
        void await_resume() const noexcept {}
    };
    const Waiting waiting{log_readers_};
    co_await waiting;
}

void Daemon::wake_log_readers()
{
    for (const auto reader : std::exchange(log_readers_, {}))
        loop_.resume_later(reader);
}

}  // namespace hv::xl
