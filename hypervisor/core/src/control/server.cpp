// SPDX-License-Identifier: MIT
//
// The server's slices: carry out the request that is complete, undo what a lost client left, tell events; and
// the one buffer in which replies wait for the client to read them.
#include "hv/core/control/server.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace hv::core::control {

using namespace protocol;

const ControlServer::CommandEntry ControlServer::commands_[]{
    {Command::hello, &ControlServer::hello},
    {Command::info, &ControlServer::info},
    {Command::subscribe, &ControlServer::subscribe},
    {Command::log_read, &ControlServer::log_read},
    {Command::log_clear, &ControlServer::log_clear},
    {Command::domain_create, &ControlServer::domain_create},
    {Command::domain_finish_build, &ControlServer::domain_finish_build},
    {Command::domain_unpause, &ControlServer::domain_unpause},
    {Command::domain_pause, &ControlServer::domain_pause},
    {Command::domain_destroy, &ControlServer::domain_destroy},
    {Command::domain_rename, &ControlServer::domain_rename},
    {Command::domain_shutdown, &ControlServer::domain_shutdown},
    {Command::domain_trigger, &ControlServer::domain_trigger},
    {Command::domain_list, &ControlServer::domain_list},
    {Command::domain_info, &ControlServer::domain_info},
    {Command::vcpu_info, &ControlServer::vcpu_info},
    {Command::exit_counts, &ControlServer::exit_counts},
    {Command::memory_write, &ControlServer::bulk_done},
    {Command::memory_read, &ControlServer::memory_read},
    {Command::registers_set, &ControlServer::registers_set},
    {Command::registers_get, &ControlServer::registers_get},
    {Command::ext_announce, &ControlServer::ext_announce},
    {Command::ext_bind, &ControlServer::ext_bind},
    {Command::ext_bindings, &ControlServer::ext_bindings},
    {Command::ext_list, &ControlServer::ext_list},
    {Command::ext_load_begin, &ControlServer::ext_load_begin},
    {Command::ext_load_data, &ControlServer::bulk_done},
    {Command::ext_load_finish, &ControlServer::ext_load_finish},
    {Command::ext_load_abort, &ControlServer::ext_load_abort},
    {Command::ext_unload, &ControlServer::ext_unload},
    {Command::ext_requests, &ControlServer::ext_requests},
    {Command::ext_settled, &ControlServer::ext_settled},
    {Command::ext_swap, &ControlServer::ext_swap},
    {Command::ext_detach, &ControlServer::ext_detach},
    {Command::ext_rollback, &ControlServer::ext_rollback},
    {Command::ext_inspect, &ControlServer::ext_inspect},
    {Command::ext_report, &ControlServer::ext_report},
    {Command::ext_core, &ControlServer::ext_core},
    {Command::channel_open, &ControlServer::channel_open},
    {Command::channel_send, &ControlServer::channel_send},
    {Command::channel_receive, &ControlServer::channel_receive},
    {Command::channel_close, &ControlServer::channel_close},
};

// ---- connection -------------------------------------------------------------------------------------------

void ControlServer::connected()
{
    connected_ = true;
}

void ControlServer::disconnected()
{
    connected_ = false;
    greeted_ = false;
    broken_ = false;
    subscriptions_ = 0;
    output_size_ = output_sent_ = 0;
    reply_wanted_ = false;
    if (state_ != State::ready)
        state_ = State::cleaning;
}

/// One thing undone per slice; true while there is more.
bool ControlServer::clean_up()
{
    reason_.clear();
    if (!building_.empty()) {
        const auto result = target_.destroy_domain(building_.back(), reason_);
        if (!result.has_value() || result.value() == Progress::done)
            building_.pop_back();
        return true;
    }
    if (!uploads_.empty()) {
        target_.abort_module(uploads_.back().number);
        uploads_.pop_back();
        return true;
    }
    if (std::exchange(channels_open_, false))
        target_.close_channels();
    state_ = State::header;
    reset_input();
    return false;
}

// ---- slices -----------------------------------------------------------------------------------------------

bool ControlServer::needs_step() const
{
    if (state_ == State::cleaning)
        return true;
    if (!output_empty())
        return false;
    return state_ == State::ready || (greeted_ && events_waiting_.load());
}

bool ControlServer::step()
{
    if (state_ == State::cleaning)
        return clean_up();
    if (!output_empty())
        return false;
    if (state_ == State::ready)
        execute();
    else if (greeted_)
        look_for_events();
    return needs_step();
}

FrameView ControlServer::request() const
{
    return {header_, std::span{body_}.first(header_.body_length)};
}

void ControlServer::execute()
{
    reply_.begin(FrameKind::reply, header_.command, header_.request_id, version_);
    reply_bulk_ = 0;
    const auto result = dispatch();
    if (!result.has_value() || result.value() == Progress::done)
        finish_request(result);
}

Expected<Progress> ControlServer::dispatch()
{
    if (!refused_.has_value())
        return refused_.error();
    if (bulk_status_.has_value())
        reason_.clear();
    for (const CommandEntry& entry : commands_)
        if (header_.command == static_cast<std::uint16_t>(entry.command))
            return (this->*entry.execute)(request());
    return refuse(reason_, Error::not_supported, "command ", header_.command, " is not known");
}

void ControlServer::finish_request(Expected<Progress> result)
{
    const auto frame = reply_.finish(static_cast<std::uint32_t>(reply_bulk_));
    if (!reply_wanted_)
        state_ = State::cleaning;
    else if (!result.has_value())
        send_refusal(result.error());
    else if (!frame.has_value())
        send_refusal(frame.error());
    else
        queue_output(frame.value().size() + reply_bulk_);
    if (state_ == State::cleaning)
        return;
    state_ = broken_ ? State::broken : State::header;
    reset_input();
}

void ControlServer::send_refusal(Error error)
{
    const std::string_view said{reason_.text.view()};
    const std::string_view text{said.empty() ? std::string_view{error_name(error)} : said};
    const std::string_view field{reason_.field.view()};
    reply_.begin(FrameKind::reply, header_.command, header_.request_id, version_,
                 static_cast<std::uint16_t>(error));
    const auto build = [&]() -> Expected<std::span<const std::byte>> {
        HV_TRY(reply_.fixed(Refusal{static_cast<std::uint32_t>(text.size()),
                                    static_cast<std::uint32_t>(field.size())}));
        HV_TRY(reply_.tail_bytes(protocol::as_bytes(text)));
        HV_TRY(reply_.tail_bytes(protocol::as_bytes(field)));
        return reply_.finish();
    };
    const auto frame = build();
    HV_ASSERT(frame.has_value());  // the texts are bounded far below the buffer
    queue_output(frame.value().size());
}

// ---- output -----------------------------------------------------------------------------------------------

void ControlServer::queue_output(std::size_t bytes)
{
    HV_ASSERT(bytes <= output_.size());
    output_size_ = bytes;
    output_sent_ = 0;
}

std::size_t ControlServer::transmit(std::span<std::byte> room)
{
    const std::size_t part{std::min(room.size(), output_size_ - output_sent_)};
    if (part != 0)
        std::memcpy(room.data(), output_.data() + output_sent_, part);
    output_sent_ += part;
    return part;
}

// ---- events -----------------------------------------------------------------------------------------------

bool ControlServer::subscribed(EventCode code) const
{
    return (subscriptions_ & event_bit(code)) != 0;
}

template <WireStructure T>
void ControlServer::send_event(EventCode code, const T& event)
{
    reply_.begin(FrameKind::event, static_cast<std::uint16_t>(code), 0, version_);
    const bool fits{reply_.fixed(event).has_value()};
    const auto frame = reply_.finish();
    HV_ASSERT(fits && frame.has_value());
    queue_output(frame.value().size());
    events_waiting_.store(true);  // there may be more of them
}

void ControlServer::look_for_events()
{
    if (!events_waiting_.exchange(false))
        return;
    DomainEndedEvent ended{};
    if (subscribed(EventCode::domain_ended) && target_.next_domain_ended(ended))
        return send_event(EventCode::domain_ended, ended);
    ConsoleChangedEvent console{};
    if (subscribed(EventCode::console_changed) && target_.next_console_changed(console))
        return send_event(EventCode::console_changed, console);
    ChannelChangedEvent channel{};
    if (subscribed(EventCode::channel_changed) && target_.next_channel_changed(channel))
        return send_event(EventCode::channel_changed, channel);
    if (subscribed(EventCode::log_grew) && !log_told_ && target_.log_end() > log_seen_) {
        log_told_ = true;
        return send_event(EventCode::log_grew, LogGrewEvent{target_.log_end()});
    }
}

}  // namespace hv::core::control
