// SPDX-License-Identifier: MIT
//
// The newc reader: see newc_archive.hpp.  A header is 6 characters of magic and 13 numbers of 8 hexadecimal
// digits; the name follows, then the data, each padded to four bytes from the archive's beginning.
#include "hv/core/boot/newc_archive.hpp"

#include "hv/base/bytes.hpp"

namespace hv::core {

namespace {

constexpr std::uint64_t header_bytes{110};
constexpr std::uint64_t magic_bytes{6};
constexpr std::uint64_t digits{8};
constexpr std::uint64_t alignment{4};
constexpr std::uint64_t maximum_name{1024};
constexpr std::string_view trailer_name{"TRAILER!!!"};

enum HeaderField : std::uint64_t {
    mode_field = 1,
    size_field = 6,
    name_size_field = 11,
    checksum_field = 12
};
constexpr std::uint32_t mode_kind_mask{0170000};
constexpr std::uint32_t mode_regular{0100000};

std::string_view as_text(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Expected<std::uint32_t> hexadecimal(std::string_view text)
{
    std::uint32_t value{0};
    for (const char character : text) {
        std::uint32_t digit{};
        if (character >= '0' && character <= '9')
            digit = static_cast<std::uint32_t>(character - '0');
        else if (character >= 'a' && character <= 'f')
            digit = static_cast<std::uint32_t>(character - 'a' + 10);
        else if (character >= 'A' && character <= 'F')
            digit = static_cast<std::uint32_t>(character - 'A' + 10);
        else
            return Error::malformed;
        value = value << 4 | digit;
    }
    return value;
}

Expected<std::uint32_t> field(std::string_view header, HeaderField which)
{
    return hexadecimal(header.substr(magic_bytes + which * digits, digits));
}

constexpr std::uint64_t padded(std::uint64_t offset)
{
    return (offset + alignment - 1) & ~(alignment - 1);
}

std::string_view without_lead(std::string_view name)
{
    if (name.starts_with("./"))
        name.remove_prefix(2);
    while (name.starts_with('/'))
        name.remove_prefix(1);
    return name;
}

bool checksum_is_right(std::span<const std::byte> data, std::uint32_t expected)
{
    std::uint32_t sum{0};
    for (const std::byte byte : data)
        sum += static_cast<std::uint32_t>(byte);
    return sum == expected;
}

Expected<std::span<const std::byte>> slice(const ByteReader& reader, std::uint64_t offset,
                                           std::uint64_t length)
{
    const auto bytes = reader.slice(offset, length);
    if (!bytes)
        return Error::malformed;
    return bytes.value();
}

}  // namespace

Expected<ArchiveMember> ArchiveReader::next()
{
    const ByteReader reader{archive_};
    const std::string_view header = as_text(HV_TRY(slice(reader, offset_, header_bytes)));
    const bool with_checksum = header.starts_with("070702");
    if (!with_checksum && !header.starts_with("070701"))
        return Error::malformed;
    const std::uint32_t name_size = HV_TRY(field(header, name_size_field));
    const std::uint32_t data_size = HV_TRY(field(header, size_field));
    const std::uint32_t mode = HV_TRY(field(header, mode_field));
    if (name_size < 2 || name_size > maximum_name)
        return Error::malformed;
    const std::string_view raw_name = as_text(HV_TRY(slice(reader, offset_ + header_bytes, name_size)));
    if (raw_name.back() != '\0' || raw_name.find('\0') != raw_name.size() - 1)
        return Error::malformed;
    const std::string_view name = raw_name.substr(0, raw_name.size() - 1);
    if (name == trailer_name)
        return Error::not_found;
    const std::uint64_t data_offset = padded(offset_ + header_bytes + name_size);
    const auto data = HV_TRY(slice(reader, data_offset, data_size));
    if (with_checksum && !checksum_is_right(data, HV_TRY(field(header, checksum_field))))
        return Error::malformed;
    offset_ = padded(data_offset + data_size);
    return ArchiveMember{.name = without_lead(name),
                         .data = data,
                         .data_offset = data_offset,
                         .regular = (mode & mode_kind_mask) == mode_regular};
}

}  // namespace hv::core
