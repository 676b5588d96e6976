// SPDX-License-Identifier: MIT
//
// Bytes to frames and back, for both ends of the control protocol: headers, fixed structures that grew on one
// side only, tails of entries and parameters.  Nothing is allocated and nothing is cast in place; every
// length comes from the other side and is checked by subtraction.  What the commands mean is not in here.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "hv/base/bytes.hpp"
#include "hv/base/expected.hpp"
#include "hv/protocol/control.hpp"

namespace hv::protocol {

static_assert(std::endian::native == std::endian::little, "the wire order is the processor's own");

template <typename T>
concept WireStructure = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>;

/// What a peer must at least send of a structure: its size when it was first published.  A structure that
/// grows gets a specialization with the old size.
template <WireStructure T>
inline constexpr std::size_t required_size{std::is_empty_v<T> ? 0 : sizeof(T)};
template <>
inline constexpr std::size_t required_size<ModuleInfo>{400};
template <>
inline constexpr std::size_t required_size<ExtLoadBeginRequest>{296};

/// What we send of a structure.
template <WireStructure T>
inline constexpr std::size_t wire_size{std::is_empty_v<T> ? 0 : sizeof(T)};

// ---- text in structures -----------------------------------------------------------------------------------

/// The text of a padded field, up to its first zero byte or its end.
template <std::size_t Size>
[[nodiscard]] constexpr std::string_view text_of(const char (&field)[Size])
{
    std::size_t length{0};
    while (length < Size && field[length] != '\0')
        ++length;
    return {field, length};
}

/// True when at least one zero byte ends the text and nothing but zero bytes follows it.
template <std::size_t Size>
[[nodiscard]] constexpr bool is_padded_text(const char (&field)[Size])
{
    const std::size_t length{text_of(field).size()};
    return length < Size && std::all_of(field + length, field + Size, [](char byte) { return byte == '\0'; });
}

/// True where the text has a zero byte in it.
[[nodiscard]] constexpr bool has_zero(std::string_view text)
{
    return std::any_of(text.begin(), text.end(), [](char byte) { return byte == '\0'; });
}

/// Fails with Error::out_of_range where the text and one zero byte do not fit, with Error::invalid_argument
/// where it has a zero byte; the field is then unchanged.
template <std::size_t Size>
constexpr Status set_text(char (&field)[Size], std::string_view text)
{
    if (text.size() >= Size)
        return Error::out_of_range;
    if (has_zero(text))
        return Error::invalid_argument;
    std::fill(std::copy(text.begin(), text.end(), field), field + Size, '\0');
    return Done{};
}

/// The same for text that may be cut at its end.
template <std::size_t Size>
constexpr void set_text_truncated(char (&field)[Size], std::string_view text)
{
    const auto zero = std::find_if(text.begin(), text.end(), [](char byte) { return byte == '\0'; });
    text = text.substr(0, std::min(static_cast<std::size_t>(zero - text.begin()), Size - 1));
    std::fill(std::copy(text.begin(), text.end(), field), field + Size, '\0');
}

// ---- structures -------------------------------------------------------------------------------------------

/// A structure of which the sender knew the first bytes: what it sent beyond ours is ignored, what it did not
/// send is zero.  Less than required_size is Error::malformed.
template <WireStructure T>
[[nodiscard]] Expected<T> decode_structure(std::span<const std::byte> bytes)
{
    if (bytes.size() < required_size<T>)
        return Error::malformed;
    T value{};
    if constexpr (wire_size<T> != 0)
        std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
}

template <WireStructure T>
Status encode_structure(ByteWriter& writer, const T& value)
{
    if constexpr (wire_size<T> != 0)
        return writer.write(value);
    else
        return Done{};
}

/// A run of `count` entries of `entry_size` bytes, of which each is a T that may have grown on one side.
template <WireStructure T>
class EntryView {
public:
    /// Error::malformed where the entries do not fit into `tail` or are smaller than required_size.
    static Expected<EntryView> over(std::span<const std::byte> tail, std::uint64_t count,
                                    std::uint64_t entry_size)
    {
        if (count != 0 && entry_size < required_size<T>)
            return Error::malformed;
        if (entry_size > tail.size() && count != 0)
            return Error::malformed;
        if (count != 0 && count > tail.size() / entry_size)
            return Error::malformed;
        return EntryView{tail, static_cast<std::size_t>(count), static_cast<std::size_t>(entry_size)};
    }

    [[nodiscard]] std::size_t size() const { return count_; }
    /// `index` is below size().
    [[nodiscard]] T at(std::size_t index) const
    {
        T value{};
        std::memcpy(&value, bytes_.data() + index * entry_size_, std::min(entry_size_, sizeof value));
        return value;
    }

private:
    EntryView(std::span<const std::byte> bytes, std::size_t count, std::size_t entry_size)
        : bytes_{bytes}, count_{count}, entry_size_{entry_size}
    {
    }

    std::span<const std::byte> bytes_;
    std::size_t count_;
    std::size_t entry_size_;
};

// ---- frames -----------------------------------------------------------------------------------------------

/// Reads the first sizeof(FrameHeader) bytes of a frame.  Error::malformed where the bytes cannot be a header
/// of any version: magic, kind, or a fixed length beyond the body.  Lengths are not compared with limits
/// here: a receiver that finds them too large still knows how much to skip.
[[nodiscard]] inline Expected<FrameHeader> decode_header(std::span<const std::byte> bytes)
{
    if (bytes.size() < sizeof(FrameHeader))
        return Error::malformed;
    const FrameHeader header{HV_TRY(decode_structure<FrameHeader>(bytes.first(sizeof(FrameHeader))))};
    const bool known_kind{header.kind >= static_cast<std::uint16_t>(FrameKind::request) &&
                          header.kind <= static_cast<std::uint16_t>(FrameKind::event)};
    if (header.magic != frame_magic || !known_kind || header.fixed_length > header.body_length)
        return Error::malformed;
    return header;
}

/// A frame's header and body; the bytes belong to somebody else.
struct FrameView {
    FrameHeader header{};
    std::span<const std::byte> body{};

    /// The fixed structure at the start of the body.
    template <WireStructure T>
    [[nodiscard]] Expected<T> fixed() const
    {
        if (header.fixed_length > body.size())
            return Error::malformed;
        return decode_structure<T>(body.first(header.fixed_length));
    }
    /// What follows it.
    [[nodiscard]] std::span<const std::byte> tail() const
    {
        return body.subspan(std::min<std::size_t>(header.fixed_length, body.size()));
    }
};

/// The sentence and the field of a refused request; both point into the frame's body.
struct RefusalView {
    std::string_view text{};
    std::string_view field{};
};

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text)
{
    return std::as_bytes(std::span{text.data(), text.size()});
}

[[nodiscard]] inline Expected<RefusalView> decode_refusal(const FrameView& frame)
{
    const auto refusal = HV_TRY(frame.fixed<Refusal>());
    const ByteReader tail{frame.tail()};
    const auto text = tail.slice(0, refusal.text_length);
    const auto field = tail.slice(refusal.text_length, refusal.field_length);
    if (!text.has_value() || !field.has_value())
        return Error::malformed;
    return RefusalView{as_text(text.value()), as_text(field.value())};
}

/// Builds one frame in a buffer: `begin`, `fixed`, any number of `tail`, `finish`.  Error::out_of_range where
/// the buffer or maximum_body is too small.
class FrameBuilder {
public:
    explicit FrameBuilder(std::span<std::byte> buffer) : buffer_{buffer}, body_{body_part(buffer)} {}

    void begin(FrameKind kind, std::uint16_t command, std::uint64_t request_id,
               std::uint16_t version = highest_version, std::uint16_t status = 0)
    {
        header_ = {};
        header_.magic = frame_magic;
        header_.version = version;
        header_.kind = static_cast<std::uint16_t>(kind);
        header_.command = command;
        header_.status = status;
        header_.request_id = request_id;
        body_ = ByteWriter{body_part(buffer_)};
    }
    void request(Command command, std::uint64_t request_id, std::uint16_t version = highest_version)
    {
        begin(FrameKind::request, static_cast<std::uint16_t>(command), request_id, version);
    }

    template <WireStructure T>
    Status fixed(const T& value)
    {
        static_assert(wire_size<T> <= 0xffff);
        if (body_.size() != 0)
            return Error::invalid_argument;
        HV_TRY(encode_structure(body_, value));
        header_.fixed_length = static_cast<std::uint16_t>(wire_size<T>);
        return Done{};
    }
    /// Replaces the fixed structure: for counts that are known only once the tail is written.
    template <WireStructure T>
    Status replace_fixed(const T& value)
    {
        if (wire_size<T> == 0 || header_.fixed_length != wire_size<T>)
            return Error::invalid_argument;
        std::memcpy(buffer_.data() + sizeof(FrameHeader), &value, sizeof value);
        return Done{};
    }
    template <WireStructure T>
    Status tail(const T& entry)
    {
        return body_.write(entry);
    }
    Status tail_bytes(std::span<const std::byte> bytes) { return body_.write_bytes(bytes); }

    /// The header and body, ready to be sent; `bulk_length` bytes of bulk data must follow them.
    [[nodiscard]] Expected<std::span<const std::byte>> finish(std::uint32_t bulk_length = 0)
    {
        if (buffer_.size() < sizeof(FrameHeader))
            return Error::out_of_range;
        header_.body_length = static_cast<std::uint32_t>(body_.size());
        header_.bulk_length = bulk_length;
        std::memcpy(buffer_.data(), &header_, sizeof header_);
        return std::span<const std::byte>{buffer_.first(sizeof header_ + body_.size())};
    }

private:
    static std::span<std::byte> body_part(std::span<std::byte> buffer)
    {
        if (buffer.size() <= sizeof(FrameHeader))
            return {};
        const auto body = buffer.subspan(sizeof(FrameHeader));
        return body.first(std::min<std::size_t>(body.size(), maximum_body));
    }

    std::span<std::byte> buffer_;
    ByteWriter body_;
    FrameHeader header_{};
};

// ---- parameters of an extension ---------------------------------------------------------------------------

/// One parameter; which of the values counts is told by the type.  Texts point into the frame's body.
struct Parameter {
    std::string_view key{};
    ParameterType type{ParameterType::boolean};
    std::int64_t integer{};  ///< also the boolean, 0 or 1
    std::string_view text{};
};

/// Appends a parameter to a tail.  Error::out_of_range where it does not fit or is longer than the protocol
/// allows.
inline Status encode_parameter(FrameBuilder& frame, const Parameter& parameter)
{
    if (parameter.key.empty() || parameter.key.size() >= name_size ||
        parameter.text.size() > maximum_parameter_text)
        return Error::out_of_range;
    const auto boolean = static_cast<std::uint8_t>(parameter.integer != 0);
    std::span<const std::byte> value{as_bytes(parameter.text)};
    if (parameter.type == ParameterType::boolean)
        value = std::as_bytes(std::span{&boolean, 1});
    else if (parameter.type == ParameterType::integer)
        value = std::as_bytes(std::span{&parameter.integer, 1});
    const ParameterHead head{static_cast<std::uint16_t>(parameter.type),
                             static_cast<std::uint16_t>(parameter.key.size()),
                             static_cast<std::uint32_t>(value.size())};
    HV_TRY(frame.tail(head));
    HV_TRY(frame.tail_bytes(as_bytes(parameter.key)));
    return frame.tail_bytes(value);
}

/// Reads parameters one after the other from the tail of ext_bind.
class ParameterReader {
public:
    explicit ParameterReader(std::span<const std::byte> tail) : tail_{tail} {}

    [[nodiscard]] bool at_end() const { return tail_.empty(); }

    /// Error::malformed where lengths do not fit the tail, the type or the limits, or a text has a zero byte.
    [[nodiscard]] Expected<Parameter> next()
    {
        const auto head = decode_structure<ParameterHead>(tail_);
        if (!head.has_value())
            return Error::malformed;
        const ByteReader reader{tail_};
        const auto key = reader.slice(sizeof(ParameterHead), head.value().key_length);
        const auto value =
            reader.slice(sizeof(ParameterHead) + head.value().key_length, head.value().value_length);
        if (!key.has_value() || !value.has_value())
            return Error::malformed;
        const auto parameter = HV_TRY(
            interpret(as_text(key.value()), static_cast<ParameterType>(head.value().type), value.value()));
        tail_ = tail_.subspan(sizeof(ParameterHead) + key.value().size() + value.value().size());
        return parameter;
    }

private:
    static Expected<Parameter> interpret(std::string_view key, ParameterType type,
                                         std::span<const std::byte> value)
    {
        Parameter parameter{key, type, 0, {}};
        if (key.empty() || key.size() >= name_size || has_zero(key))
            return Error::malformed;
        switch (type) {
        case ParameterType::boolean:
            if (value.size() != 1 || std::to_integer<unsigned>(value[0]) > 1)
                return Error::malformed;
            parameter.integer = std::to_integer<std::int64_t>(value[0]);
            return parameter;
        case ParameterType::integer:
            if (value.size() != sizeof parameter.integer)
                return Error::malformed;
            std::memcpy(&parameter.integer, value.data(), sizeof parameter.integer);
            return parameter;
        case ParameterType::text:
            parameter.text = as_text(value);
            if (value.size() > maximum_parameter_text || has_zero(parameter.text))
                return Error::malformed;
            return parameter;
        case ParameterType::empty_list:
            if (!value.empty())
                return Error::malformed;
            return parameter;
        }
        return Error::malformed;
    }

    std::span<const std::byte> tail_;
};

}  // namespace hv::protocol
