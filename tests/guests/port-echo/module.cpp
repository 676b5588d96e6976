// SPDX-License-Identifier: MIT
//
// The owner of a port, for tests (tests/system/viridian-ports): a guest's message comes back with its type and each byte one more, to
// SINT 2 of the VP that posted it, and an event as the next flag of SINT 3.  Two types are orders: many messages at once, and how many of
// those were refused.
#include <cstring>

#include "hv/ext/extension.hpp"
#include "port_record.hpp"

using namespace hv;
using viridian::PortRecord;
using viridian::PortRecordKind;

namespace {

constexpr std::uint32_t order_many{0x99}, order_count{0x50}, many{8};
constexpr std::uint32_t message_sint{2}, event_sint{3};

struct PortEcho {
    struct DomainState {
        std::uint64_t refused;
        std::uint64_t taken;
    };
    using Domain = ext::Domain<PortEcho>;

    static constexpr ext::Info info{.name = "port-echo",
                                    .version_major = 1,
                                    .needs = abi::need_channel,
                                    .description = "the owner of a port that sends back what it gets, for a test"};
    static constexpr std::uint32_t state_version{1};

    static abi::Verdict domain_create(const Domain& domain)
    {
        constexpr std::string_view name{"bus"};
        std::uint64_t channel{};
        if (domain.start_reason() != abi::start_create)
            return abi::done;
        const auto opened = ext::check(ext::host().channel_open(domain.handle(), name.data(), name.size(), &channel));
        return opened ? abi::done : ext::refuse(opened.error());
    }

    static void send(std::uint64_t channel, const PortRecord& record)
    {
        static_cast<void>(ext::host().channel_send(channel, &record, sizeof record));
    }

    static void take_message(DomainState& state, std::uint64_t channel, PortRecord record)
    {
        record.sint = message_sint;
        const std::uint32_t order{record.number};
        record.number = order == order_count ? 0x1000 + static_cast<std::uint32_t>(state.refused) : order + 1;
        for (std::uint8_t& byte : record.payload)
            byte = static_cast<std::uint8_t>(byte + 1);
        const std::uint32_t copies{order == order_many ? many : 1};
        for (std::uint32_t copy = 0; copy < copies; ++copy) {
            record.tag = copy;
            send(channel, record);
            ++record.number;
        }
    }

    static abi::Verdict channel_message(const Domain& domain, std::uint64_t channel, const void* bytes, std::uint64_t length)
    {
        PortRecord record{};
        const auto state = domain.update();
        if (!state || length != sizeof record)
            return abi::done;
        std::memcpy(&record, bytes, sizeof record);
        if (record.kind == PortRecordKind::taken) {
            ++state.value()->taken;
        } else if (record.kind == PortRecordKind::refused) {
            ++state.value()->refused;
        } else if (record.kind == PortRecordKind::event) {
            record.sint = event_sint;
            ++record.number;
            send(channel, record);
        } else {
            take_message(*state.value(), channel, record);
        }
        return abi::done;
    }
};

}  // namespace

HV_EXTENSION(PortEcho)
