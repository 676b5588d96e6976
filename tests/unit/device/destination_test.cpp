// SPDX-License-Identifier: MIT
//
// Who a message is addressed to.
#include "hv/core/interrupt/destination.hpp"

#include <array>
#include <gtest/gtest.h>

using namespace hv::core;

namespace {

/// Eight processors with flat logical IDs, in xAPIC mode and enabled.
struct Machine {
    std::array<ApicAddressing, 8> apics{};
    LowestPriorityArbiter arbiter{};

    Machine()
    {
        for (unsigned index = 0; index < apics.size(); ++index) {
            apics[index].id = index;
            apics[index].logical_id = static_cast<std::uint8_t>(1u << index);
            apics[index].enabled = true;
            apics[index].software_enabled = true;
        }
    }
    std::uint64_t route(const InterruptMessage& message, unsigned sender = 8)
    {
        return destinations(
            8, [this](unsigned index) { return apics[index]; }, message, sender, arbiter);
    }
};

constexpr auto logical = DestinationMode::logical;

}  // namespace

TEST(Destination, MatchesPhysicalIdsAndTheBroadcast)
{
    Machine machine;
    for (unsigned id = 0; id < 8; ++id)
        EXPECT_EQ(machine.route({.destination = id, .vector = 0x40}), 1u << id);
    EXPECT_EQ(machine.route({.destination = 8, .vector = 0x40}), 0u);
    EXPECT_EQ(machine.route({.destination = 0xff, .vector = 0x40}), 0u);
    EXPECT_EQ(machine.route({.destination = widen_destination(0xff), .vector = 0x40}), 0xffu);
}

TEST(Destination, MatchesFlatLogicalIdsByAnyCommonBit)
{
    Machine machine;
    for (unsigned mask = 1; mask < 255; ++mask)
        EXPECT_EQ(machine.route({.destination = mask, .vector = 0x40, .destination_mode = logical}), mask);
    EXPECT_EQ(machine.route({.destination = 0, .vector = 0x40, .destination_mode = logical}), 0u);
    EXPECT_EQ(machine.route({.destination = 0x101, .vector = 0x40, .destination_mode = logical}), 0u);
}

TEST(Destination, MatchesClusterAndMemberInTheClusterModel)
{
    Machine machine;
    for (unsigned index = 0; index < 8; ++index) {
        machine.apics[index].cluster_model = true;
        machine.apics[index].logical_id = static_cast<std::uint8_t>(index / 4 << 4 | 1u << index % 4);
    }
    EXPECT_EQ(machine.route({.destination = 0x03, .vector = 0x40, .destination_mode = logical}), 0x03u);
    EXPECT_EQ(machine.route({.destination = 0x1c, .vector = 0x40, .destination_mode = logical}), 0xc0u);
    EXPECT_EQ(machine.route({.destination = 0x2f, .vector = 0x40, .destination_mode = logical}), 0u);
    EXPECT_EQ(
        machine.route({.destination = widen_destination(0xff), .vector = 0x40, .destination_mode = logical}),
        0xffu);
}

TEST(Destination, MatchesX2apicLogicalIds)
{
    Machine machine;
    for (unsigned index = 0; index < 8; ++index) {
        machine.apics[index].extended = true;
        machine.apics[index].id = index < 4 ? index : 0x10 + index;
    }
    EXPECT_EQ(machine.route({.destination = 0x0000'0005, .vector = 0x40, .destination_mode = logical}),
              0x05u);
    EXPECT_EQ(machine.route({.destination = 0x0001'00a0, .vector = 0x40, .destination_mode = logical}),
              0xa0u);
    EXPECT_EQ(machine.route({.destination = 0x0002'ffff, .vector = 0x40, .destination_mode = logical}), 0u);
    EXPECT_EQ(machine.route({.destination = 0x14, .vector = 0x40}), 0x10u);
    EXPECT_EQ(machine.route({.destination = 0xffff'ffff, .vector = 0x40, .destination_mode = logical}),
              0xffu);
}

TEST(Destination, ComparesOnlyEightBitsOfAnXapicsId)
{
    Machine machine;
    machine.apics[7].id = 0x1'07;
    EXPECT_EQ(machine.route({.destination = 7, .vector = 0x40}), 0x80u);
    EXPECT_EQ(machine.route({.destination = 0x107, .vector = 0x40}), 0u);
}

TEST(Destination, FollowsTheShorthands)
{
    Machine machine;
    EXPECT_EQ(machine.route({.vector = 0x40, .shorthand = DestinationShorthand::self}, 3), 0x08u);
    EXPECT_EQ(machine.route({.vector = 0x40, .shorthand = DestinationShorthand::all_including_self}, 3),
              0xffu);
    EXPECT_EQ(machine.route({.vector = 0x40, .shorthand = DestinationShorthand::all_excluding_self}, 3),
              0xf7u);
}

TEST(Destination, SparesDisabledApics)
{
    Machine machine;
    machine.apics[2].software_enabled = false;
    machine.apics[5].enabled = false;
    const InterruptMessage all{.destination = InterruptMessage::broadcast, .vector = 0x40};
    EXPECT_EQ(machine.route(all), 0xdbu);
    for (const DeliveryMode mode : {DeliveryMode::smi, DeliveryMode::nmi, DeliveryMode::init,
                                    DeliveryMode::startup, DeliveryMode::external}) {
        InterruptMessage message = all;
        message.delivery = mode;
        EXPECT_EQ(machine.route(message), 0xdfu);  // software-disabled ones still take these
    }
    InterruptMessage reserved = all;
    reserved.delivery = DeliveryMode::reserved;
    EXPECT_EQ(machine.route(reserved), 0u);
}

TEST(Destination, TakesTurnsForLowestPriority)
{
    Machine machine;
    const InterruptMessage message{.destination = 0x92,
                                   .vector = 0x40,
                                   .delivery = DeliveryMode::lowest_priority,
                                   .destination_mode = logical};
    for (unsigned round = 0; round < 3; ++round)
        for (const unsigned bit : {0x02u, 0x10u, 0x80u})
            EXPECT_EQ(machine.route(message), bit);
    LowestPriorityArbiter arbiter;
    EXPECT_EQ(arbiter.choose(0), 0u);
    EXPECT_EQ(arbiter.choose(1ull << 63), 1ull << 63);
    EXPECT_EQ(arbiter.choose(1), 1u);
}

TEST(Destination, ReadsAnMsi)
{
    EXPECT_EQ(message_from_msi(0xfee0'500c, 0xc141),
              (InterruptMessage{.destination = 5,
                                .vector = 0x41,
                                .delivery = DeliveryMode::lowest_priority,
                                .destination_mode = DestinationMode::logical,
                                .trigger = TriggerMode::level}));
    EXPECT_EQ(message_from_msi(0xfeef'f000, 0x30).destination, InterruptMessage::broadcast);
}
