// SPDX-License-Identifier: MIT
#include "output/state_json.hpp"

#include <cstring>
#include <optional>
#include <string>

#include "base/failure.hpp"
#include "base/hex.hpp"
#include "hv/protocol/control.hpp"

namespace hv::xl {
namespace {

std::string record_name(std::uint32_t type)
{
    switch (type) {
    case protocol::record_domain_block: return "domain-block";
    case protocol::record_vcpu_block: return "vcpu-block";
    case protocol::record_continuation: return "continuation";
    default: return "module";
    }
}

template <typename Header>
struct Taken {
    Header header;
    std::span<const std::byte> data;
};

/// A header and the data whose length it tells, which are padded to a multiple of `alignment`, from the front of what is left;
/// nothing where they are not whole.
template <typename Header>
std::optional<Taken<Header>> take(std::span<const std::byte>& left, std::size_t alignment)
{
    Taken<Header> taken{};
    if (left.size() < sizeof taken.header)
        return std::nullopt;
    std::memcpy(&taken.header, left.data(), sizeof taken.header);
    const auto behind = left.subspan(sizeof taken.header);
    const std::size_t padded{(std::size_t{taken.header.length} + alignment - 1) / alignment * alignment};
    if (padded > behind.size())
        return std::nullopt;
    taken.data = behind.first(taken.header.length);
    left = behind.subspan(padded);
    return taken;
}

Json take_words(std::span<const std::byte>& left)
{
    Json words = Json::array();
    for (std::uint64_t word{}; left.size() >= sizeof word; left = left.subspan(sizeof word)) {
        std::memcpy(&word, left.data(), sizeof word);
        words.push_back(word);
    }
    return words;
}

Json take_fields(std::span<const std::byte>& left)
{
    Json fields = Json::object();
    while (const auto field = take<protocol::StateField>(left, 4))
        fields[std::to_string(field->header.number)] = hex_text(field->data);
    return fields;
}

Json record_json(const protocol::StateRecordHead& header, std::span<const std::byte> data)
{
    Json json{{"type", header.type}, {"name", record_name(header.type)}, {"version", header.version}, {"bytes", header.length}};
    if (header.vcpu != protocol::record_of_domain)
        json["vcpu"] = header.vcpu;
    if (header.type < protocol::first_module_record)
        json["words"] = take_words(data);
    else
        json["fields"] = take_fields(data);
    if (!data.empty())
        json["rest"] = hex_text(data);
    return json;
}

}  // namespace

Json state_json(std::span<const std::byte> records)
{
    Json shown = Json::array();
    while (const auto record = take<protocol::StateRecordHead>(records, 8))
        shown.push_back(record_json(record->header, record->data));
    if (!records.empty())
        throw Failure{ExitCode::failed, "the hypervisor's state records are damaged"};
    return shown;
}

}  // namespace hv::xl
