// SPDX-License-Identifier: MIT
//
// The control domain's ends of channels as the control server commands them: which domain has them, what is said of one that has none,
// and what becomes of them when the domain ends or the client goes.  The channels themselves are control_channel_test.cpp's.
#include "../core/machine_fixture.hpp"
#include "../virtio/fake_device_host.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/service/core_target.hpp"

#include <array>
#include <fstream>
#include <iterator>
#include <string>

namespace hv::test {
namespace {

using control::Reason;

class ChannelCommand : public MachineTest {
protected:
    ChannelCommand()
    {
        std::ifstream stream{std::string{HVX_FOLDER} + "/swap-1/swap-1.hvx", std::ios::binary};
        const std::vector<char> bytes{std::istreambuf_iterator<char>{stream}, {}};
        EXPECT_TRUE(target.load_module(std::as_bytes(std::span{bytes}), {}, "swap-1", reason.text)) << reason.text.view();
    }
    ~ChannelCommand() override
    {
        for (Domain* domain = target.domains().next(0); domain != nullptr; domain = target.domains().next(0))
            EXPECT_TRUE(target.destroy_domain(domain->id, reason));
        for (unsigned slices = 0; slices < 100 && device.service(); ++slices) {}
        static_cast<void>(target.unload_module("swappable", reason));
    }
    std::uint32_t building(std::string_view name, bool extended)
    {
        protocol::DomainCreateRequest request{};
        name.copy(request.name, sizeof request.name - 1);
        request.memory = 4 << 20;
        request.vcpus = 1;
        protocol::DomainCreateReply made{};
        const auto none = protocol::EntryView<protocol::CpuidMask>::over({}, 0, sizeof(protocol::CpuidMask));
        EXPECT_TRUE(target.create_domain(request, none.value(), made, reason)) << reason.text.view();
        BoundedText<100> field;
        if (extended) {
            EXPECT_TRUE(ExtensionStack::bind(at(made.domain), *target.find_module("swappable"), {},
                                             {.placement = Placement::trusted}, reason.text, field))
                << reason.text.view();
        }
        return made.domain;
    }
    std::uint32_t guest(std::string_view name, bool extended = true)
    {
        const std::uint32_t id = building(name, extended);
        EXPECT_TRUE(at(id).finish_build());
        return id;
    }
    Domain& at(std::uint32_t id) { return *target.domains().find(id); }
    Error refusal(std::uint32_t id, std::string_view name)
    {
        reason.clear();
        const auto opened = target.open_channel(id, name, reason);
        EXPECT_FALSE(opened);
        EXPECT_FALSE(reason.text.view().empty());
        return opened.error();
    }
    std::uint64_t open(std::uint32_t id, std::string_view name)
    {
        const auto opened = target.open_channel(id, name, reason);
        EXPECT_TRUE(opened) << reason.text.view();
        return opened ? opened.value().channel : 0;
    }

    FakeDeviceHost host;
    virtio::ConsoleDevice device{host};
    service::ConsoleSlots consoles{device, heap};
    service::MachineDescription description{"1", "fake", "", ""};
    service::CoreTarget target{description, consoles, heap};
    Reason reason;
    std::array<std::byte, protocol::longest_channel_message> room{};
    protocol::ChannelReceiveReply reply{};
};

TEST_F(ChannelCommand, a_domain_that_has_no_channels_says_so)
{
    EXPECT_EQ(refusal(0, "bus"), Error::permission_denied);
    EXPECT_EQ(refusal(99, "bus"), Error::not_found);
    EXPECT_EQ(refusal(guest("plain", false), "bus"), Error::conflict);
    EXPECT_EQ(refusal(building("unfinished", true), "bus"), Error::conflict);
    const std::uint32_t id = guest("ended");
    const std::uint64_t channel = open(id, "bus");
    at(id).end(EndReason::poweroff);
    EXPECT_EQ(refusal(id, "other"), Error::conflict);
    EXPECT_EQ(target.send_to_channel(id, channel, room, reason).error(), Error::conflict);
    EXPECT_EQ(target.receive_from_channel(id, channel, room, reply, reason).value(), 0u);
}

TEST_F(ChannelCommand, each_domain_has_its_own)
{
    const std::uint32_t one = guest("one");
    const std::uint32_t two = guest("two");
    const std::uint64_t channel = open(one, "bus");
    EXPECT_EQ(refusal(one, "bus"), Error::already_exists);
    open(two, "bus");
    EXPECT_EQ(target.send_to_channel(one, channel, room, reason).error(), Error::not_found);
    EXPECT_EQ(reason.field.view(), "/channel");
    EXPECT_EQ(target.close_channel(one, channel + 1, reason).error(), Error::gone);
    EXPECT_TRUE(target.close_channel(one, channel, reason));
    EXPECT_EQ(target.receive_from_channel(one, channel, room, reply, reason).error(), Error::gone);
    target.close_channels();
    open(two, "bus");
}

}  // namespace
}  // namespace hv::test
