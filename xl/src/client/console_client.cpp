// SPDX-License-Identifier: MIT
//
// Three descriptors and one poll.  End of file on standard input ends nothing but the input.
#include "client/console_client.hpp"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "config/json_text.hpp"

namespace hv::xl {
namespace {

constexpr char leave_key{0x1d};  // Ctrl-]

/// The terminal passes every key on, and shows nothing by itself, while this lives.
class RawTerminal {
public:
    RawTerminal()
    {
        if (::isatty(STDIN_FILENO) == 0 || ::tcgetattr(STDIN_FILENO, &before_) != 0)
            return;
        termios raw{before_};
        ::cfmakeraw(&raw);
        raw.c_oflag |= OPOST;  // a guest's bare line feeds still return the carriage
        active_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    ~RawTerminal()
    {
        if (active_)
            ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

    [[nodiscard]] const char* line_end() const { return active_ ? "\r\n" : "\n"; }

private:
    termios before_{};
    bool active_{};
};

void write_out(std::string_view bytes)
{
    while (!bytes.empty()) {
        const ssize_t count{::write(STDOUT_FILENO, bytes.data(), bytes.size())};
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN) {
            pollfd out{STDOUT_FILENO, POLLOUT, 0};
            ::poll(&out, 1, -1);
            continue;
        }
        if (count <= 0)
            throw Failure{ExitCode::failed, "standard output: " + system_reason(errno)};
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

class ConsoleClient {
public:
    explicit ConsoleClient(Connection& connection) : connection_{connection} {}

    ExitCode run()
    {
        while (!result_) {
            const short input_events{static_cast<short>(attached_ && input_open_ ? POLLIN : 0)};
            std::array<pollfd, 2> descriptors{{{connection_.descriptor(), POLLIN, 0},
                                               {input_events != 0 ? STDIN_FILENO : -1, input_events, 0}}};
            if (::poll(descriptors.data(), descriptors.size(), -1) < 0 && errno != EINTR)
                throw Failure{ExitCode::failed, "poll: " + system_reason(errno)};
            if (descriptors[0].revents != 0)
                connection_.take_frames([this](const SocketFrame& frame) {
                    take_frame(frame);
                    return !result_;
                });
            if (!result_ && descriptors[1].revents != 0)
                take_input();
        }
        return *result_;
    }

private:
    void take_frame(const SocketFrame& frame)
    {
        if (frame.type == FrameType::console_output)
            return write_out(frame.payload);
        if (frame.type == FrameType::console_notice)
            return take_notice(parse_json_text(frame.payload));
        name_ = reply_of(frame).value("name", "");
        attached_ = true;
    }

    void take_notice(const Json& notice)
    {
        const std::string reason{notice.value("reason", "")};
        const bool restarting{notice.value("event", "") == "restarting"};
        const std::string action{restarting ? "; it is started again"
                                 : notice.value("action", "") == "preserve"
                                     ? "; it is preserved until `xl destroy`"
                                     : ""};
        const std::string failure{notice.contains("failure") ? "; " + notice["failure"].get<std::string>()
                                                             : ""};
        std::fprintf(stderr, "xl: the domain %sended: %s%s%s%s", name_.empty() ? "" : (name_ + " ").c_str(),
                     reason.c_str(), action.c_str(), failure.c_str(), terminal_.line_end());
        if (!restarting)
            result_ = reason.starts_with("crash") || !failure.empty() ? ExitCode::failed : ExitCode::done;
    }

    void take_input()
    {
        std::array<char, 4096> buffer;
        const ssize_t count{::read(STDIN_FILENO, buffer.data(), buffer.size())};
        if (count < 0 && (errno == EINTR || errno == EAGAIN))
            return;
        if (count <= 0) {
            input_open_ = false;
            return;
        }
        const std::string_view typed{buffer.data(), static_cast<std::size_t>(count)};
        const auto leave = typed.find(leave_key);
        if (leave != 0)
            connection_.send(FrameType::console_input, typed.substr(0, leave));
        if (leave != std::string_view::npos)
            result_ = ExitCode::done;
    }

    Connection& connection_;
    RawTerminal terminal_;
    std::string name_;
    bool attached_{};
    bool input_open_{true};
    std::optional<ExitCode> result_;
};

}  // namespace

ExitCode run_console(Connection& connection, const Json& request, const std::vector<int>& files)
{
    connection.send_request(request, files);
    return ConsoleClient{connection}.run();
}

}  // namespace hv::xl
