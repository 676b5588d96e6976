// SPDX-License-Identifier: MIT
//
// The control server: bytes of one connection in, frames judged and carried out on a ControlTarget, bytes of
// replies and events out.  Bytes come in any pieces; one request is carried out at a time, in slices; what is
// malformed or too large is answered with an error and skipped.  It knows what a client left half-done, and
// undoes it when the client goes away.
//
// One processor at a time; only events_waiting() may be called by any.  Where the bytes come from is not its
// matter.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/static_vector.hpp"
#include "hv/core/control/control_target.hpp"
#include "hv/protocol/codec.hpp"
#include "hv/protocol/control.hpp"

namespace hv::core::control {

class ControlServer {
public:
    /// Domains that one client may have under construction at once.
    static constexpr std::size_t maximum_building{64};
    /// Module files that one client may be sending at once.
    static constexpr std::size_t maximum_uploads{4};
    static constexpr std::uint64_t maximum_module_bytes{16 * 1024 * 1024};

    explicit ControlServer(ControlTarget& target) : target_{target} {}
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    /// A client is there.  What the one before left behind is still being undone; it waits for that.
    void connected();
    /// The client went away: a request under way is finished without a reply, then everything half-done is
    /// undone.
    void disconnected();

    /// Takes bytes from the client; returns how many.  Fewer than given: the server is busy, offer the rest
    /// again when wants_input().  Bulk data goes from here to where it belongs; nothing else of a request is
    /// done here.
    [[nodiscard]] std::size_t receive(std::span<const std::byte> bytes);
    [[nodiscard]] bool wants_input() const { return connected_ && state_ < State::ready && output_empty(); }

    /// Moves bytes for the client into `room`; returns how many.
    [[nodiscard]] std::size_t transmit(std::span<std::byte> room);
    [[nodiscard]] bool has_output() const { return !output_empty(); }

    /// Does one slice of whatever there is to do; true when there is more to do now.
    bool step();
    /// Something happened that next_domain_ended, next_console_changed, next_channel_changed or log_end know of.  Any
    /// processor; makes the next step() ask, so have it called.
    void events_waiting() { events_waiting_.store(true); }
    [[nodiscard]] bool needs_step() const;

private:
    enum class State : std::uint8_t {
        header,   ///< collecting a frame's header
        body,     ///< collecting its body
        bulk,     ///< passing its bulk data on
        skip,     ///< passing over the rest of a refused frame
        broken,   ///< the stream makes no sense any more: passing over everything
        ready,    ///< a request is complete and is carried out by step()
        cleaning, ///< undoing what a client left behind
    };
    struct Upload {
        std::uint32_t number{};
        std::uint64_t size{};
        std::uint64_t received{};
    };
    struct CommandEntry {
        protocol::Command command;
        Expected<Progress> (ControlServer::*execute)(const protocol::FrameView&);
    };
    static const CommandEntry commands_[];

    // ---- input (server_input.cpp)
    std::size_t collect(std::span<std::byte> whole, std::span<const std::byte> bytes);
    void header_complete();
    void body_complete();
    Status admit();
    void begin_bulk();
    Status check_bulk();
    void pass_bulk(std::span<const std::byte> bytes);
    Status pass_bulk_on(std::span<const std::byte> bytes);
    void refuse_and_skip(Error error, std::uint64_t rest);
    void reset_input();

    // ---- output and slices (server.cpp)
    [[nodiscard]] bool output_empty() const { return output_sent_ == output_size_; }
    [[nodiscard]] protocol::FrameView request() const;
    void execute();
    Expected<Progress> dispatch();
    void finish_request(Expected<Progress> result);
    void send_refusal(Error error);
    void queue_output(std::size_t bytes);
    bool clean_up();
    void look_for_events();
    template <protocol::WireStructure T>
    void send_event(protocol::EventCode code, const T& event);
    [[nodiscard]] bool subscribed(protocol::EventCode code) const;

    // ---- commands (commands_*.cpp)
    template <protocol::WireStructure T>
    Expected<T> fixed(const protocol::FrameView& frame);
    template <protocol::WireStructure T, typename Read>
    Expected<Progress> bulk(std::size_t most, Read read);
    template <protocol::WireStructure T, typename Next>
    Expected<Progress> list(std::uint64_t cursor, Next next);
    Expected<protocol::DomainId> domain_of(const protocol::FrameView& frame);
    Expected<Progress> hello(const protocol::FrameView& frame);
    Expected<Progress> info(const protocol::FrameView& frame);
    Expected<Progress> subscribe(const protocol::FrameView& frame);
    Expected<Progress> log_read(const protocol::FrameView& frame);
    Expected<Progress> log_clear(const protocol::FrameView& frame);
    Expected<Progress> domain_create(const protocol::FrameView& frame);
    Expected<Progress> domain_finish_build(const protocol::FrameView& frame);
    Expected<Progress> domain_unpause(const protocol::FrameView& frame);
    Expected<Progress> domain_pause(const protocol::FrameView& frame);
    Expected<Progress> domain_destroy(const protocol::FrameView& frame);
    Expected<Progress> domain_rename(const protocol::FrameView& frame);
    Expected<Progress> domain_shutdown(const protocol::FrameView& frame);
    Expected<Progress> domain_trigger(const protocol::FrameView& frame);
    Expected<Progress> domain_list(const protocol::FrameView& frame);
    Expected<Progress> domain_info(const protocol::FrameView& frame);
    Expected<Progress> vcpu_info(const protocol::FrameView& frame);
    Expected<Progress> exit_counts(const protocol::FrameView& frame);
    Expected<Progress> bulk_done(const protocol::FrameView& frame);
    Expected<Progress> memory_read(const protocol::FrameView& frame);
    Expected<Progress> registers_set(const protocol::FrameView& frame);
    Expected<Progress> registers_get(const protocol::FrameView& frame);
    Expected<Progress> ext_announce(const protocol::FrameView& frame);
    Expected<Progress> ext_bind(const protocol::FrameView& frame);
    Expected<Progress> ext_bindings(const protocol::FrameView& frame);
    Expected<Progress> ext_list(const protocol::FrameView& frame);
    Expected<Progress> ext_load_begin(const protocol::FrameView& frame);
    Expected<Progress> ext_load_finish(const protocol::FrameView& frame);
    Expected<Progress> ext_load_abort(const protocol::FrameView& frame);
    Expected<Progress> ext_unload(const protocol::FrameView& frame);
    Expected<Progress> ext_requests(const protocol::FrameView& frame);
    Expected<Progress> ext_settled(const protocol::FrameView& frame);
    Expected<Progress> ext_swap(const protocol::FrameView& frame);
    Expected<Progress> ext_detach(const protocol::FrameView& frame);
    Expected<Progress> ext_rollback(const protocol::FrameView& frame);
    Expected<Progress> ext_inspect(const protocol::FrameView& frame);
    Expected<Progress> ext_report(const protocol::FrameView& frame);
    Expected<Progress> ext_core(const protocol::FrameView& frame);
    Expected<Progress> channel_open(const protocol::FrameView& frame);
    Expected<Progress> channel_send(const protocol::FrameView& frame);
    Expected<Progress> channel_receive(const protocol::FrameView& frame);
    Expected<Progress> channel_close(const protocol::FrameView& frame);
    Expected<Progress> answer_swap(Expected<Progress> progress, const SwapAnswer& answer);
    Expected<const Upload*> whole_upload(std::uint32_t number);
    Status check_create(const protocol::DomainCreateRequest& request);
    Status check_parameters(const protocol::ExtBindRequest& request, std::span<const std::byte> tail);
    Status check_name(std::string_view field, const char (&name)[protocol::name_size]);
    void forget_building(protocol::DomainId domain);
    Upload* find_upload(std::uint32_t number);
    void forget_upload(std::uint32_t number);

    ControlTarget& target_;
    Reason reason_{};

    bool connected_{};
    bool greeted_{};
    bool broken_{};                   ///< nothing the client sends makes sense any more
    bool reply_wanted_{};             ///< the client that sent the request is still there
    std::uint16_t version_{protocol::lowest_version};
    std::uint64_t subscriptions_{};
    std::uint64_t log_seen_{};        ///< cursor behind what the client has read
    bool log_told_{};
    std::atomic<bool> events_waiting_{false};

    State state_{State::header};
    protocol::FrameHeader header_{};
    std::size_t collected_{};         ///< bytes of the header or body that are there
    std::uint64_t remaining_{};       ///< bytes of bulk data, or to skip
    std::uint64_t bulk_offset_{};
    Status bulk_status_{Done{}};
    Status refused_{Done{}};          ///< why the frame is skipped
    protocol::DomainCreateReply creating_{};

    StaticVector<protocol::DomainId, maximum_building> building_{};
    StaticVector<Upload, maximum_uploads> uploads_{};
    bool channels_open_{};  ///< the client has opened one

    std::size_t output_size_{};
    std::size_t output_sent_{};
    std::size_t reply_bulk_{};
    std::array<std::byte, protocol::maximum_body> body_{};
    std::array<std::byte, sizeof(protocol::FrameHeader) + protocol::maximum_body> output_{};
    protocol::FrameBuilder reply_{output_};
};

}  // namespace hv::core::control
