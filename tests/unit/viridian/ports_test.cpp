// SPDX-License-Identifier: MIT
//
// Ports: what a guest posts and signals comes to the owner's channel, and what the owner sends into the guest's slots and flags.
#include <cstring>

#include "guest.hpp"
#include "port_record.hpp"
#include "tlfs_synic.hpp"

namespace hv::viridian::test {
namespace {

using tlfs::HvStatus;

constexpr std::uint64_t input_page{0x8000};
constexpr std::uint64_t fast{1 << 16};
constexpr std::uint64_t messages{0xa000}, flags{0xb000};

class ViridianPorts : public testing::Test {
protected:
    void SetUp() override
    {
        ASSERT_TRUE(guest.create({"default", "messages"}, {"bus", "other"}));
        guest.enable_hypercalls();
        ASSERT_EQ(guest.host.channels.size(), 2u);
        for (auto& [handle, channel] : guest.host.channels)
            (channel.name == "bus" ? bus : other) = handle;
        guest.module.write_msr(tlfs::HV_X64_MSR_SCONTROL, 1, 1);
        guest.module.write_msr(tlfs::HV_X64_MSR_SIMP, messages | 1, 1);
        guest.module.write_msr(tlfs::HV_X64_MSR_SIEFP, flags | 1, 1);
        guest.module.write_msr(tlfs::HV_X64_MSR_SINT0 + 2, 0x52, 1);
    }
    std::uint64_t post(std::uint32_t connection, std::uint32_t type, std::uint32_t bytes)
    {
        std::array<std::uint32_t, 64> input{connection, 0, type, bytes};
        for (std::uint32_t word = 4; word < 64; ++word)
            input[word] = 0x1000 + word;
        guest.put(input_page, input);
        return guest.call(tlfs::HvCallPostMessage, input_page).value_or(~0ull);
    }
    std::vector<PortRecord> sent(std::uint64_t channel)
    {
        std::vector<PortRecord> records;
        for (const auto& bytes : guest.host.channels.at(channel).sent) {
            EXPECT_EQ(bytes.size(), sizeof(PortRecord));
            std::memcpy(&records.emplace_back(), bytes.data(), sizeof(PortRecord));
        }
        guest.host.channels.at(channel).sent.clear();
        return records;
    }
    /// The owner sends; the VP looks where it was told to.
    void send(const PortRecord& record)
    {
        guest.host.kicked.clear();
        EXPECT_EQ(guest.module.channel_message(bus, &record, sizeof record).kind, abi::VerdictKind::done);
        for (const std::uint64_t vcpu : guest.host.kicked)
            guest.module.before_entry(vcpu == FakeHost::vcpu_handle(0) ? 0 : 1);
    }
    tlfs::PortMessage slot(std::uint32_t sint)
    {
        tlfs::PortMessage message{};
        EXPECT_TRUE(guest.host.copy(messages + sint * 256, &message, sizeof message, false));
        return message;
    }
    void take(std::uint32_t sint) { guest.put(messages + sint * 256, std::uint32_t{0}); }
    static PortRecord message(std::uint32_t number, std::uint32_t tag)
    {
        PortRecord record{{PortRecordKind::message, 1, 2, number, 240, tag}, {}};
        std::memset(record.payload, static_cast<int>(tag), sizeof record.payload);
        return record;
    }

    Guest guest{2};
    std::uint64_t bus{}, other{};
};

TEST_F(ViridianPorts, ArePrivilegesOfTheirOwn)
{
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).ebx, 0x10'0030u);
}

TEST_F(ViridianPorts, TakeMessagesFromTheGuest)
{
    EXPECT_EQ(post(1, 7, 8), 0u);
    EXPECT_EQ(post(2, 9, 240), 0u);
    const auto first = sent(bus);
    ASSERT_EQ(first.size(), 1u);
    EXPECT_EQ(first[0].kind, PortRecordKind::message);
    EXPECT_EQ(first[0].vp, 0u);
    EXPECT_EQ(first[0].number, 7u);
    EXPECT_EQ(first[0].bytes, 8u);
    EXPECT_EQ(first[0].payload[0], 0x04);
    EXPECT_EQ(first[0].payload[4], 0x05);
    EXPECT_EQ(first[0].payload[8], 0x00) << "no byte beyond";
    const auto second = sent(other);
    ASSERT_EQ(second.size(), 1u);
    EXPECT_EQ(second[0].payload[236], 0x3f);
}

TEST_F(ViridianPorts, RefuseMessagesByTheirStatus)
{
    const auto no_connection = status(HvStatus::HV_STATUS_INVALID_CONNECTION_ID);
    for (const std::uint32_t connection : {0u, 3u, 0x8000'0001u, ~0u})
        EXPECT_EQ(post(connection, 7, 8), no_connection) << connection;
    const auto bad_parameter = status(HvStatus::HV_STATUS_INVALID_PARAMETER);
    for (const std::uint32_t type : {0u, 0x8000'0000u, 0x8000'0010u, ~0u})
        EXPECT_EQ(post(1, type, 8), bad_parameter) << type;
    for (const std::uint32_t bytes : {241u, 256u, ~0u})
        EXPECT_EQ(post(1, 7, bytes), bad_parameter) << bytes;
    EXPECT_EQ(guest.call(tlfs::HvCallPostMessage | fast, 1, 7), status(HvStatus::HV_STATUS_INVALID_HYPERCALL_INPUT));
    EXPECT_EQ(guest.call(tlfs::HvCallPostMessage, 0x8f08), status(HvStatus::HV_STATUS_INVALID_ALIGNMENT));
    EXPECT_TRUE(sent(bus).empty());
    guest.host.channels.at(bus).room = 0;
    EXPECT_EQ(post(1, 7, 8), status(HvStatus::HV_STATUS_INSUFFICIENT_BUFFERS));
    guest.host.channels.at(bus).heard = false;
    EXPECT_EQ(post(1, 7, 8), status(HvStatus::HV_STATUS_INVALID_PORT_ID));
}

TEST_F(ViridianPorts, TakeEventsFromTheGuest)
{
    const auto signal = [&](std::uint64_t word) { return guest.call(tlfs::HvCallSignalEvent | fast, word); };
    EXPECT_EQ(signal(1 | 2047ull << 32), 0u);
    const auto events = sent(bus);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, PortRecordKind::event);
    EXPECT_EQ(events[0].number, 2047u);
    EXPECT_EQ(signal(1 | 2048ull << 32), status(HvStatus::HV_STATUS_INVALID_PARAMETER));
    for (unsigned bit = 48; bit < 64; ++bit)
        EXPECT_EQ(signal(1 | 1ull << bit), status(HvStatus::HV_STATUS_INVALID_PARAMETER)) << bit;
    EXPECT_EQ(signal(5), status(HvStatus::HV_STATUS_INVALID_CONNECTION_ID));
    EXPECT_TRUE(sent(bus).empty());
}

TEST_F(ViridianPorts, PutTheOwnersMessageIntoItsSlotAndSayThatItIsThere)
{
    send(message(0x77, 5));
    const auto found = slot(2);
    EXPECT_EQ(found.header.type, 0x77u);
    EXPECT_EQ(found.header.payload_bytes, 240u);
    EXPECT_EQ(found.header.flags, 0u);
    EXPECT_EQ(found.payload[0], 5);
    EXPECT_EQ(found.payload[239], 5);
    ASSERT_EQ(guest.host.injected.size(), 1u);
    EXPECT_EQ(guest.host.injected[0].vcpu, FakeHost::vcpu_handle(1));
    EXPECT_EQ(guest.host.injected[0].vector, 0x52u);
    const auto answers = sent(bus);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].kind, PortRecordKind::taken);
    EXPECT_EQ(answers[0].tag, 5u);
}

TEST_F(ViridianPorts, LetMessagesWaitInOrderWhileTheSlotIsFull)
{
    for (std::uint32_t tag = 1; tag <= 6; ++tag)
        send(message(0x70 + tag, tag));
    auto answers = sent(bus);  // one is in the slot, four wait
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[0].tag, 1u);
    EXPECT_EQ(answers[1].kind, PortRecordKind::refused);
    EXPECT_EQ(answers[1].tag, 6u);
    EXPECT_EQ(answers[1].number, static_cast<std::uint32_t>(PortRefusal::no_room));
    for (std::uint32_t tag = 1; tag <= 5; ++tag) {
        EXPECT_EQ(slot(2).header.type, 0x70 + tag);
        EXPECT_EQ(slot(2).header.flags, tag < 5 ? 1u : 0u) << "says whether more is to come";
        take(2);
        guest.module.write_msr(tlfs::HV_X64_MSR_EOM, 0, 1);
    }
    EXPECT_EQ(slot(2).header.type, 0u);
    answers = sent(bus);
    ASSERT_EQ(answers.size(), 4u);
    EXPECT_EQ(answers[3].tag, 5u);
}

TEST_F(ViridianPorts, KeepAMessageUntilTheVpEnablesItsPage)
{
    guest.module.write_msr(tlfs::HV_X64_MSR_SIMP, 0, 1);
    send(message(0x77, 5));
    EXPECT_TRUE(sent(bus).empty());
    guest.module.write_msr(tlfs::HV_X64_MSR_SIMP, messages | 1, 1);
    EXPECT_EQ(slot(2).header.type, 0x77u);
    EXPECT_EQ(sent(bus).size(), 1u);
}

TEST_F(ViridianPorts, SetFlagsAndInterruptOnceForEach)
{
    const PortRecord event{{PortRecordKind::event, 1, 2, 70, 0, 9}, {}};
    send(event);
    send(event);
    std::uint8_t byte{};
    ASSERT_TRUE(guest.host.copy(flags + 2 * 256 + 8, &byte, 1, false));
    EXPECT_EQ(byte, 1u << 6);
    EXPECT_EQ(guest.host.injected.size(), 1u) << "the flag was set already";
    EXPECT_EQ(sent(bus).size(), 2u);
    guest.module.write_msr(tlfs::HV_X64_MSR_SIEFP, 0, 1);
    send(event);
    const auto answers = sent(bus);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].kind, PortRecordKind::refused);
    EXPECT_EQ(answers[0].number, static_cast<std::uint32_t>(PortRefusal::not_enabled));
}

TEST_F(ViridianPorts, RefuseWhatTheOwnerSaysWrongly)
{
    const auto refused = [&](PortRecord record) {
        send(record);
        const auto answers = sent(bus);
        return answers.size() == 1 && answers[0].kind == PortRecordKind::refused && answers[0].tag == record.tag &&
               answers[0].number == static_cast<std::uint32_t>(PortRefusal::malformed);
    };
    const auto wrong = [&](auto edit) {
        PortRecord record{message(0x77, 5)};
        edit(record);
        return refused(record);
    };
    EXPECT_TRUE(wrong([](PortRecord& r) { r.vp = 2; }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r.vp = ~0u; }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r.sint = 16; }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r.number = 0; }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r.bytes = 241; }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r.kind = PortRecordKind::taken; }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r.kind = static_cast<PortRecordKind>(77); }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r = {{PortRecordKind::event, 1, 2, 2048, 0, 5}, {}}; }));
    EXPECT_TRUE(wrong([](PortRecord& r) { r = {{PortRecordKind::event, 1, 2, 1, 1, 5}, {}}; }));
    const std::uint32_t few{1};
    guest.module.channel_message(bus, &few, sizeof few);
    EXPECT_EQ(sent(bus).size(), 1u);
    EXPECT_EQ(slot(2).header.type, 0u);
}

TEST(ViridianPortNames, AreFourAtMost)
{
    Guest guest{1};
    EXPECT_FALSE(guest.create({"messages", "synic"}, {"1", "2", "3", "4", "5"}));
    EXPECT_NE(guest.host.explained.find("the port 5 cannot be opened"), std::string::npos);
}

TEST(ViridianPortNames, AreOfNoUseWithoutTheGroup)
{
    Guest guest{1};
    ASSERT_TRUE(guest.create({}, {"bus"}));
    guest.enable_hypercalls();
    EXPECT_EQ(guest.module.cpuid(0x4000'0003).ebx, 0x10'0000u);
    EXPECT_EQ(guest.call(tlfs::HvCallSignalEvent | fast, 1), status(HvStatus::HV_STATUS_ACCESS_DENIED));
}

}  // namespace
}  // namespace hv::viridian::test
