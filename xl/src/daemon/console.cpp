// SPDX-License-Identifier: MIT
//
// Console bytes between port, log and clients.
#include "daemon/console.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "daemon/log.hpp"

namespace hv::xl {
namespace {

using namespace std::chrono_literals;

constexpr auto quiet_time = 100ms;
constexpr auto longest_settling = 3000ms;
constexpr auto rest_time = 50ms;
constexpr unsigned log_mode{0640};

void write_fully(int descriptor, std::string_view bytes)
{
    while (!bytes.empty()) {
        const ssize_t count{::write(descriptor, bytes.data(), bytes.size())};
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return;  // a full disk must not end the domain
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

}  // namespace

void rotate_log(const std::string& path)
{
    if (!path.empty())
        std::rename(path.c_str(), (path + ".1").c_str());
}

Console::Console(EventLoop& loop, const std::string& log_path) : loop_{loop}
{
    log_to(log_path);
}

void Console::log_to(const std::string& path)
{
    if (path.empty())
        return;
    log_ = FileDescriptor{::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, log_mode)};
    if (!log_.open())
        log_warning("cannot write " + path + ": " + system_reason(errno));
}

void Console::open_port(FileDescriptor port)
{
    close_port();
    port_ = std::move(port);
    last_output_ = EventLoop::Clock::now();
    watch_ = loop_.watch(
        port_.number(),
        [this] { return static_cast<short>(resting_ ? 0 : POLLIN | (input_.empty() ? 0 : POLLOUT)); },
        [this](short events) { ready(events); });
}

void Console::close_port()
{
    if (!port_.open())
        return;
    while (read_some())
        continue;
    loop_.unwatch(watch_);
    loop_.cancel(rest_timer_);
    resting_ = false;
    port_.close();
    input_.clear();
}

void Console::attach(const std::shared_ptr<Session>& session, std::uint32_t id)
{
    listeners_.push_back({session, id});
}

void Console::detach(const Session& session)
{
    std::erase_if(listeners_, [&](const Listener& one) {
        const auto there = one.session.lock();
        return there == nullptr || there.get() == &session;
    });
}

void Console::notify(const Json& notice)
{
    for (const Listener& listener : listeners_)
        if (const auto session = listener.session.lock())
            session->send_json(FrameType::console_notice, listener.id, notice);
}

void Console::ready(short events)
{
    if ((events & POLLOUT) != 0)
        write_some();
    if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && !read_some())
        rest();
}

/// A port whose other end is closed says so at every poll.  It is looked at again a little later: the other
/// end may open.
void Console::rest()
{
    resting_ = true;
    rest_timer_ = loop_.after(rest_time, [this] { resting_ = false; });
}

bool Console::read_some()
{
    std::array<char, 65536> buffer;
    const ssize_t count{::read(port_.number(), buffer.data(), buffer.size())};
    if (count <= 0)
        return false;
    const std::string_view bytes{buffer.data(), static_cast<std::size_t>(count)};
    last_output_ = EventLoop::Clock::now();
    if (log_.open())
        write_fully(log_.number(), bytes);
    for (const Listener& listener : listeners_)
        if (const auto session = listener.session.lock())
            session->send(FrameType::console_output, listener.id, bytes);
    return true;
}

void Console::write_some()
{
    const ssize_t count{::write(port_.number(), input_.data(), input_.size())};
    if (count > 0)
        input_.erase(0, static_cast<std::size_t>(count));
    else if (count < 0 && errno != EAGAIN && errno != EINTR)
        input_.clear();  // nobody is there to read it
}

Task<void> Console::settle()
{
    if (!port_.open())
        co_return;
    const auto start = EventLoop::Clock::now();
    last_output_ = start;
    while (!loop_.stopping()) {
        const auto now = EventLoop::Clock::now();
        if (now - last_output_ >= quiet_time || now - start >= longest_settling)
            break;
        const auto sleep = loop_.sleep(20ms);
        co_await sleep;
    }
}

}  // namespace hv::xl
