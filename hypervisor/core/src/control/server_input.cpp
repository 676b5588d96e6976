// SPDX-License-Identifier: MIT
//
// From bytes to a complete request: an incremental parser that copes with any fragmentation.  A frame that is
// refused is passed over to its end, so that the next one is found; only where the magic is wrong there is no
// next one.
#include <algorithm>
#include <cstring>

#include "hv/base/checked.hpp"
#include "commands.hpp"

namespace hv::core::control {

using namespace protocol;

namespace {

bool takes_bulk(std::uint16_t command)
{
    return command == static_cast<std::uint16_t>(Command::memory_write) ||
           command == static_cast<std::uint16_t>(Command::ext_load_data);
}

constexpr std::size_t bulk_piece{64 * 1024};

}  // namespace

void ControlServer::reset_input()
{
    if (state_ != State::broken)
        state_ = State::header;
    collected_ = 0;
    remaining_ = 0;
}

std::size_t ControlServer::receive(std::span<const std::byte> bytes)
{
    std::size_t taken{0};
    while (taken < bytes.size() && wants_input()) {
        const auto rest = bytes.subspan(taken);
        switch (state_) {
        case State::header:
            taken += collect(std::as_writable_bytes(std::span{&header_, 1}), rest);
            if (collected_ == sizeof header_)
                header_complete();
            break;
        case State::body:
            taken += collect(std::span{body_}.first(header_.body_length), rest);
            if (collected_ == header_.body_length)
                body_complete();
            break;
        case State::bulk: {
            const auto piece =
                rest.first(std::min({rest.size(), bulk_piece, static_cast<std::size_t>(remaining_)}));
            pass_bulk(piece);
            taken += piece.size();
            break;
        }
        case State::skip: {
            const std::uint64_t skipped{std::min<std::uint64_t>(rest.size(), remaining_)};
            taken += static_cast<std::size_t>(skipped);
            remaining_ -= skipped;
            if (remaining_ == 0)
                state_ = State::ready;
            break;
        }
        case State::broken: return bytes.size();
        case State::ready:
        case State::cleaning: return taken;
        }
    }
    return taken;
}

std::size_t ControlServer::collect(std::span<std::byte> whole, std::span<const std::byte> bytes)
{
    const std::size_t part{std::min(bytes.size(), whole.size() - collected_)};
    std::memcpy(whole.data() + collected_, bytes.data(), part);
    collected_ += part;
    return part;
}

void ControlServer::refuse_and_skip(Error error, std::uint64_t rest)
{
    refused_ = error;
    remaining_ = rest;
    state_ = rest == 0 ? State::ready : State::skip;
}

void ControlServer::header_complete()
{
    reason_.clear();
    refused_ = Done{};
    bulk_status_ = Done{};
    creating_ = {};
    reply_wanted_ = true;
    collected_ = 0;
    const std::uint64_t rest{std::uint64_t{header_.body_length} + header_.bulk_length};
    const auto refused = [&](Error error, const auto&... text) {
        refuse_and_skip(refuse(reason_, error, text...), rest);
    };

    if (header_.magic != frame_magic) {
        header_ = {};
        broken_ = true;
        return refuse_and_skip(
            refuse(reason_, Error::malformed, "the bytes are no frame; nothing is read any more"), 0);
    }
    if (header_.kind != static_cast<std::uint16_t>(FrameKind::request))
        return refused(Error::malformed, "the frame is no request");
    if (header_.request_id == 0 || header_.status != 0 || header_.reserved != 0)
        return refused(Error::malformed,
                       "the request has no id, or a status or reserved field that is not zero");
    if (header_.body_length > maximum_body)
        return refused(Error::out_of_range, "a body of ", header_.body_length, " bytes is longer than ",
                       maximum_body);
    if (header_.fixed_length > header_.body_length)
        return refused(Error::malformed, "the fixed part is longer than the body");
    if (header_.bulk_length != 0 && !takes_bulk(header_.command))
        return refused(Error::malformed, "the command takes no bulk data");
    if (header_.bulk_length > maximum_request_bulk)
        return refused(Error::out_of_range, "bulk data of ", header_.bulk_length, " bytes is longer than ",
                       maximum_request_bulk);
    state_ = State::body;
    if (header_.body_length == 0)
        body_complete();
}

void ControlServer::body_complete()
{
    if (const Status admitted{admit()}; !admitted.has_value())
        return refuse_and_skip(admitted.error(), header_.bulk_length);
    if (takes_bulk(header_.command))
        begin_bulk();
    else
        state_ = State::ready;
}

Status ControlServer::admit()
{
    if (header_.command == static_cast<std::uint16_t>(Command::hello))
        return Done{};
    if (!greeted_)
        return refuse(reason_, Error::permission_denied, "the first request is hello");
    if (header_.version != version_)
        return refuse(reason_, Error::abi_mismatch, "the request is of version ", header_.version,
                      ", hello agreed on ", version_);
    return Done{};
}

// A bulk command is judged before its first byte is passed on.
void ControlServer::begin_bulk()
{
    if (const Status status{check_bulk()}; !status.has_value())
        return refuse_and_skip(status.error(), header_.bulk_length);
    remaining_ = header_.bulk_length;
    bulk_offset_ = 0;
    state_ = remaining_ == 0 ? State::ready : State::bulk;
}

Status ControlServer::check_bulk()
{
    if (header_.command == static_cast<std::uint16_t>(Command::memory_write)) {
        const auto write = HV_TRY(fixed<MemoryWriteRequest>(request()));
        if (!checked_add<std::uint64_t>(write.address, header_.bulk_length))
            return refuse_field(reason_, Error::out_of_range, "/address", "the range wraps around");
        return Done{};
    }
    const auto data = HV_TRY(fixed<ExtLoadDataRequest>(request()));
    const Upload* const upload{find_upload(data.upload)};
    if (upload == nullptr)
        return refuse_field(reason_, Error::not_found, "/upload", "there is no upload ", data.upload);
    if (data.offset != upload->received)
        return refuse_field(reason_, Error::invalid_argument, "/offset", "the next byte of the file is ",
                            upload->received, ", not ", data.offset);
    if (header_.bulk_length > upload->size - upload->received)
        return refuse(reason_, Error::out_of_range, "more bytes than the file's ", upload->size);
    return Done{};
}

void ControlServer::pass_bulk(std::span<const std::byte> bytes)
{
    if (bulk_status_.has_value())
        bulk_status_ = pass_bulk_on(bytes);
    bulk_offset_ += bytes.size();
    remaining_ -= bytes.size();
    if (remaining_ == 0)
        state_ = State::ready;
}

Status ControlServer::pass_bulk_on(std::span<const std::byte> bytes)
{
    if (header_.command == static_cast<std::uint16_t>(Command::memory_write)) {
        const auto write = HV_TRY(fixed<MemoryWriteRequest>(request()));
        return target_.write_memory(write.domain, write.address + bulk_offset_, bytes, reason_);
    }
    const auto data = HV_TRY(fixed<ExtLoadDataRequest>(request()));
    HV_TRY(target_.module_data(data.upload, data.offset + bulk_offset_, bytes, reason_));
    if (Upload* const upload{find_upload(data.upload)})
        upload->received += bytes.size();
    return Done{};
}

Expected<Progress> ControlServer::bulk_done(const FrameView&)
{
    if (!bulk_status_.has_value())
        return bulk_status_.error();
    return Progress::done;
}

}  // namespace hv::core::control
