// SPDX-License-Identifier: MIT
//
// xld's end of the control protocol: requests go out in order, each is answered by its id, events come in
// between. Never blocks.  What the commands mean is in commands.hpp.
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/failure.hpp"
#include "base/file.hpp"
#include "daemon/event_loop.hpp"
#include "daemon/task.hpp"
#include "hv/protocol/codec.hpp"

namespace hv::xl {

/// A frame from the hypervisor, with its bytes.
struct ControlFrame {
    protocol::FrameHeader header{};
    std::vector<std::byte> body;
    std::vector<std::byte> bulk;

    [[nodiscard]] protocol::FrameView view() const { return {header, body}; }
};

/// A request before it has an id.  `bulk` belongs to who asks and stays until the answer is there.
struct ControlRequest {
    protocol::Command command{};
    std::uint16_t fixed_length{};
    std::vector<std::byte> body;
    std::span<const std::byte> bulk;
};

/// A refused request: what the hypervisor's words are in terms of xl.  `field` is the protocol's pointer to
/// the culprit.
class Refused : public Failure {
public:
    Refused(hv::Error error, const std::string& text, std::string field);
    [[nodiscard]] hv::Error error() const { return error_; }
    [[nodiscard]] const std::string& field() const { return field_; }

private:
    hv::Error error_;
    std::string field_;
};

class ControlLink {
public:
    ControlLink(EventLoop& loop, std::function<void(const ControlFrame&)> on_event)
        : loop_{loop}, on_event_{std::move(on_event)}
    {
    }
    ~ControlLink() { shut("xld ends"); }
    ControlLink(const ControlLink&) = delete;
    ControlLink& operator=(const ControlLink&) = delete;

    /// Uses the descriptor (non-blocking) until the link breaks; `on_down` is then called once.
    void open(FileDescriptor descriptor, std::function<void(const std::string&)> on_down);
    [[nodiscard]] bool is_open() const { return descriptor_.open(); }
    /// Every request under way fails with not_connected.
    void shut(const std::string& why);

    /// The answer's frame.  Throws Refused, or Failure where the link is or goes down (not_connected) or no
    /// answer comes (timed_out).
    [[nodiscard]] Task<ControlFrame> call(ControlRequest request);

private:
    struct Pending {
        std::coroutine_handle<> waiter;
        std::optional<ControlFrame> answer;
        std::optional<Failure> failure;
        EventLoop::TimerId timer{};
    };
    /// Suspends until the request of this id is settled.
    struct Settled {
        ControlLink& link;
        std::uint64_t id;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> handle) const { link.pending_[id].waiter = handle; }
        void await_resume() const noexcept {}
    };
    struct Outgoing {
        std::uint64_t id{};
        std::vector<std::byte> head;
        std::span<const std::byte> bulk;
        std::size_t sent{};
    };

    void own_what_is_unsent(std::uint64_t id);
    void settle(std::uint64_t id, std::optional<ControlFrame> answer, std::optional<Failure> failure);
    void enqueue(std::uint64_t id, ControlRequest& request);
    void give_up(std::uint64_t id);
    void ready(short events);
    bool write_some();
    bool read_some();
    void take_frames();
    void take_frame(ControlFrame frame);
    void down(const std::string& why);

    EventLoop& loop_;
    std::function<void(const ControlFrame&)> on_event_;
    std::function<void(const std::string&)> on_down_;
    FileDescriptor descriptor_;
    EventLoop::WatchId watch_{};
    std::map<std::uint64_t, Pending> pending_;
    std::deque<Outgoing> outgoing_;
    std::vector<std::byte> incoming_;
    std::uint64_t next_id_{1};
};

}  // namespace hv::xl
