// SPDX-License-Identifier: MIT
//
// Frames to and from bytes.
#include "wire/frame.hpp"

#include <cstring>

#include "hv/base/bytes.hpp"

namespace hv::xl {
namespace {

constexpr std::uint32_t magic{0x3144'4c58};  // "XLD1"

/// As it is on the socket; both ends are on one machine.
struct Header {
    std::uint32_t magic;
    std::uint32_t id;
    std::uint32_t payload_bytes;
    std::uint16_t type;
    std::uint16_t reserved;
};
static_assert(sizeof(Header) == frame_header_bytes);

bool is_frame_type(std::uint16_t type)
{
    return type >= static_cast<std::uint16_t>(FrameType::request) &&
           type <= static_cast<std::uint16_t>(FrameType::channel_notice);
}

}  // namespace

std::string encode_frame(FrameType type, std::uint32_t id, std::string_view payload)
{
    const Header header{magic, id, static_cast<std::uint32_t>(payload.size()),
                        static_cast<std::uint16_t>(type), 0};
    std::string frame(sizeof header, '\0');
    std::memcpy(frame.data(), &header, sizeof header);
    return frame.append(payload);
}

std::optional<SocketFrame> FrameReader::next()
{
    if (buffer_.size() < sizeof(Header))
        return std::nullopt;
    Header header{};
    std::memcpy(&header, buffer_.data(), sizeof header);
    if (header.magic != magic || !is_frame_type(header.type) || header.reserved != 0)
        throw Failure{ExitCode::failed, "what was received is not a frame of this version of xl and xld"};
    if (header.payload_bytes > longest_payload)
        throw Failure{ExitCode::failed,
                      "a frame of " + std::to_string(header.payload_bytes) + " bytes is too long"};
    if (buffer_.size() - sizeof header < header.payload_bytes)
        return std::nullopt;
    SocketFrame frame{static_cast<FrameType>(header.type), header.id,
                      buffer_.substr(sizeof header, header.payload_bytes)};
    buffer_.erase(0, sizeof header + header.payload_bytes);
    return frame;
}

Json failure_json(const Failure& failure)
{
    Json errors = Json::array();
    for (const Problem& problem : failure.problems())
        errors.push_back(
            {{"message", problem.message}, {"pointer", problem.pointer}, {"suggestion", problem.suggestion}});
    return {{"code", static_cast<int>(failure.code())}, {"errors", errors}};
}

Failure failure_from_json(const Json& json)
{
    std::vector<Problem> problems;
    if (json.is_object() && json.contains("errors") && json["errors"].is_array())
        for (const auto& error : json["errors"])
            problems.push_back(
                {error.value("message", ""), error.value("pointer", ""), error.value("suggestion", "")});
    const long long code{json.is_object() && json.contains("code") && json["code"].is_number_integer()
                             ? json["code"].get<long long>()
                             : 1};
    return {is_exit_code(code) ? static_cast<ExitCode>(code) : ExitCode::failed, problems};
}

}  // namespace hv::xl
