// SPDX-License-Identifier: MIT
//
// What a hypervisor says an instance's state is, as `xl ext-inspect` shows it: any bytes are refused with a reason, or become JSON that
// tells each byte but the padding, is text, and reads back as the same.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/failure.hpp"
#include "output/state_json.hpp"

namespace {

using hv::xl::Json;

/// Bytes that a record's object tells, headers of fields included.
std::size_t told(const Json& record)
{
    constexpr std::size_t field_header{4};
    std::size_t bytes{record.contains("rest") ? record.at("rest").get_ref<const std::string&>().size() / 2 : 0};
    if (record.contains("words"))
        return bytes + 8 * record.at("words").size();
    for (const auto& [number, value] : record.at("fields").items())
        bytes += field_header + (value.get_ref<const std::string&>().size() / 2 + 3) / 4 * 4;
    return bytes;
}

void require(bool condition)
{
    if (!condition)
        std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    constexpr std::size_t record_header{16};
    try {
        const Json shown = hv::xl::state_json(std::as_bytes(std::span{data, size}));
        std::size_t bytes{0};
        for (const Json& record : shown) {
            const auto length = record.at("bytes").get<std::size_t>();
            require(told(record) <= length);  // a field's number may come twice
            require(!record.contains("words") || told(record) == length);
            bytes += record_header + (length + 7) / 8 * 8;
        }
        require(bytes == size);
        require(Json::parse(shown.dump()) == shown);
    } catch (const hv::xl::Failure& failure) {
        require(*failure.what() != '\0');
    }
    return 0;
}
