// SPDX-License-Identifier: MIT
#include "state_stream.hpp"

namespace hv::core {
namespace {

constexpr std::size_t alignment{8};

constexpr std::size_t padded(std::size_t bytes)
{
    return (bytes + alignment - 1) & ~(alignment - 1);
}

}  // namespace

Status StateWriter::record(const abi::StateRecordHeader& header, std::span<const std::byte> data)
{
    const std::size_t whole = sizeof header + padded(data.size());
    if (rest().size() < whole)
        return Error::limit_reached;
    std::byte* const to = rest().data();
    abi::StateRecordHeader put{header};
    put.length = static_cast<std::uint32_t>(data.size());
    std::memset(to, 0, whole);
    std::memcpy(to, &put, sizeof put);
    if (!data.empty())
        std::memcpy(to + sizeof put, data.data(), data.size());
    append(whole);
    return Done{};
}

Expected<StateRecord> StateReader::next()
{
    StateRecord record;
    if (bytes_.size() < sizeof record.header)
        return Error::malformed;
    std::memcpy(&record.header, bytes_.data(), sizeof record.header);
    const std::size_t room = bytes_.size() - sizeof record.header;
    if (record.header.length > room || (record.header.flags & ~abi::record_optional) != 0)
        return Error::malformed;
    const std::size_t taken = padded(record.header.length);
    if (taken > room)
        return Error::malformed;
    record.data = bytes_.subspan(sizeof record.header, record.header.length);
    bytes_ = bytes_.subspan(sizeof record.header + taken);
    return record;
}

}  // namespace hv::core
