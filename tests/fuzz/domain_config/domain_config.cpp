// SPDX-License-Identifier: MIT
//
// Any text as a domain config: it is refused with reasons, or it resolves to a config that resolves to itself.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config/domain_config.hpp"
#include "config/json_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace hv::xl;
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    try {
        const Json once = config_json(resolve_config(parse_json_text(text), "/folder"));
        if (config_json(resolve_config(once, "/elsewhere")) != once)
            std::abort();
    } catch (const Failure& failure) {
        if (failure.problems().empty() || failure.problems().front().message.empty())
            std::abort();
    }
    return 0;
}
