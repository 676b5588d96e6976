// SPDX-License-Identifier: MIT
//
// A domain's console: what the guest writes goes to its log file and to every client that is attached, what
// clients type goes to the guest.  Outlives the port: a restarted domain gets another one.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/session.hpp"
#include "daemon/task.hpp"

namespace hv::xl {

class Console {
public:
    /// `log_path` is appended to; empty: no log.
    Console(EventLoop& loop, const std::string& log_path);
    ~Console() { close_port(); }
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;

    void open_port(FileDescriptor port);
    /// Reads what is there, then lets go of the port.
    void close_port();
    /// From now on the log goes to another file.
    void log_to(const std::string& path);

    /// Every byte from now on goes to the session, as console_output of that request.
    void attach(const std::shared_ptr<Session>& session, std::uint32_t id);
    void detach(const Session& session);
    [[nodiscard]] bool has_listeners() const { return !listeners_.empty(); }
    void notify(const Json& notice);

    void type(std::string_view bytes) { input_ += bytes; }
    [[nodiscard]] bool takes_input() const { return input_.size() < longest_input; }

    /// Until the guest's last words are read: the hypervisor sends them and the news of the end on different
    /// ways.
    [[nodiscard]] Task<void> settle();

private:
    static constexpr std::size_t longest_input{64u << 10};
    struct Listener {
        std::weak_ptr<Session> session;
        std::uint32_t id;
    };

    void ready(short events);
    /// False when there is nothing to read now.
    bool read_some();
    void write_some();
    void rest();

    EventLoop& loop_;
    FileDescriptor log_;
    FileDescriptor port_;
    EventLoop::WatchId watch_{};
    EventLoop::TimerId rest_timer_{};
    bool resting_{};
    std::vector<Listener> listeners_;
    std::string input_;
    EventLoop::Clock::time_point last_output_{};
};

/// Moves a log of an earlier domain of that name out of the way, to PATH.1.
void rotate_log(const std::string& path);

}  // namespace hv::xl
