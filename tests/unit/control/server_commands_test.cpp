// SPDX-License-Identifier: MIT
//
// Every command about the machine and about domains, by its effect on the fake machine.
#include "client.hpp"

namespace {

using namespace hv::protocol;
using hv::Error;
using hv::test::Bytes;
using hv::test::bytes_of;

struct ServerCommands : hv::test::ServerTest {
    void SetUp() override { ASSERT_TRUE(client.hello().ok()); }
};

TEST_F(ServerCommands, HelloAgreesOnTheHighestCommonVersion)
{
    const auto answer = client.ask(Command::hello, HelloRequest{1, 9, 0, "new"});
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer.fixed<HelloReply>().version, highest_version);
    EXPECT_EQ(answer.fixed<HelloReply>().maximum_body, maximum_body);
}

TEST_F(ServerCommands, HelloWithoutACommonVersionIsRefusedAndNamesBoth)
{
    for (const auto& [low, high] : {std::pair<std::uint16_t, std::uint16_t>{2, 9}, {0, 0}, {2, 1}}) {
        const auto answer = client.ask(Command::hello, HelloRequest{low, high, 0, ""});
        EXPECT_EQ(answer.error(), Error::abi_mismatch) << low;
        EXPECT_NE(answer.text().find("1 to 1 are spoken here"), std::string::npos) << answer.text();
    }
}

TEST_F(ServerCommands, InfoTellsTheMachine)
{
    const auto answer = client.ask(Command::info, Empty{});
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer.fixed<InfoReply>().processors, 2u);
    EXPECT_EQ(text_of(answer.fixed<InfoReply>().version), "0.1 fake");
}

TEST_F(ServerCommands, LogIsReadByCursorAndCleared)
{
    target.log = "first\nsecond\n";
    auto answer = client.ask(Command::log_read, LogReadRequest{0, 6, 0});
    ASSERT_TRUE(answer.ok());
    auto reply = answer.fixed<LogReadReply>();
    EXPECT_EQ(as_text(answer.view().tail()), "first\n");
    EXPECT_EQ(reply.text_length, 6u);
    answer = client.ask(Command::log_read, LogReadRequest{reply.next, 0, 0});
    EXPECT_EQ(as_text(answer.view().tail()), "second\n");
    EXPECT_TRUE(client.ask(Command::log_clear, Empty{}).ok());
    EXPECT_TRUE(target.log.empty());
}

TEST_F(ServerCommands, LogLongerThanABodyComesInParts)
{
    target.log = std::string(100'000, 'l');
    std::uint64_t cursor{0};
    std::size_t total{0};
    for (unsigned parts = 0; parts < 5; ++parts) {
        const auto answer = client.ask(Command::log_read, LogReadRequest{cursor, 0, 0});
        cursor = answer.fixed<LogReadReply>().next;
        total += answer.fixed<LogReadReply>().text_length;
    }
    EXPECT_EQ(total, 100'000u);
}

TEST_F(ServerCommands, CreateMakesADomainWithItsMasks)
{
    auto request = hv::test::Client::create_request();
    request.cpuid_count = 2;
    request.cpuid_entry_size = sizeof(CpuidMask);
    const auto answer = client.ask(Command::domain_create, request, Bytes(2 * sizeof(CpuidMask)));
    ASSERT_TRUE(answer.ok()) << answer.text();
    const auto reply = answer.fixed<DomainCreateReply>();
    EXPECT_EQ(reply.console_slot, 1u);
    EXPECT_EQ(target.domains.at(reply.domain).masks, 2u);
    EXPECT_EQ(target.domains.at(reply.domain).name, "web1");
}

TEST_F(ServerCommands, CreateIsRefusedByFieldAndNothingIsMade)
{
    const auto refused = [&](auto change, const char* field) {
        auto request = hv::test::Client::create_request();
        change(request);
        const auto answer = client.ask(Command::domain_create, request);
        EXPECT_FALSE(answer.ok()) << field;
        EXPECT_EQ(answer.field(), field) << answer.text();
        EXPECT_TRUE(target.domains.empty());
    };
    refused([](auto& r) { r.name[0] = '\0'; }, "/name");
    refused([](auto& r) { r.name[63] = 'x'; }, "/name");
    refused([](auto& r) { r.name[1] = '\n'; }, "/name");
    refused([](auto& r) { r.name[1] = '\x7f'; }, "/name");
    refused([](auto& r) { r.memory = 0; }, "/memory");
    refused([](auto& r) { r.memory = 4097; }, "/memory");
    refused([](auto& r) { r.memory = 1ull << 62; }, "/memory");
    refused([](auto& r) { r.vcpus = 0; }, "/vcpus");
    refused([](auto& r) { r.vcpus = 65; }, "/vcpus");
    refused([](auto& r) { r.flags = 1; }, "/flags");
    refused([](auto& r) { r.cpuid_count = 257; }, "/cpuid");
    refused([](auto& r) { r.cpuid_count = 1, r.cpuid_entry_size = 40; }, "/cpuid");
    refused([](auto& r) { r.cpuid_count = 1; }, "/cpuid");
}

TEST_F(ServerCommands, TargetsRefusalReachesTheClientWordForWord)
{
    client.create("web1");
    const auto answer = client.ask(Command::domain_create, hv::test::Client::create_request("web1"));
    EXPECT_EQ(answer.error(), Error::already_exists);
    EXPECT_EQ(answer.text(), "the name is taken");
    EXPECT_EQ(answer.field(), "/name");
}

TEST_F(ServerCommands, LifeOfADomain)
{
    const DomainId domain{client.create()};
    EXPECT_TRUE(client.ask(Command::domain_finish_build, DomainRequest{domain, 0}).ok());
    EXPECT_EQ(target.domains[domain].state, DomainState::paused);
    EXPECT_FALSE(client.ask(Command::domain_finish_build, DomainRequest{domain, 0}).ok());
    EXPECT_TRUE(client.ask(Command::domain_unpause, DomainRequest{domain, 0}).ok());
    EXPECT_EQ(target.domains[domain].state, DomainState::running);
    EXPECT_TRUE(client.ask(Command::domain_pause, DomainRequest{domain, 0}).ok());
    EXPECT_EQ(target.domains[domain].state, DomainState::paused);
    EXPECT_TRUE(client.ask(Command::domain_shutdown, DomainRequest{domain, 0}).ok());
    EXPECT_TRUE(client.ask(Command::domain_trigger, DomainTriggerRequest{domain, 1, 1, 0}).ok());
    EXPECT_TRUE(client.ask(Command::domain_trigger, DomainTriggerRequest{domain, 2, 0, 0}).ok());
    EXPECT_EQ(target.domains[domain].log, "power button;nmi 1;reset 0;");
    EXPECT_TRUE(client.ask(Command::domain_destroy, DomainRequest{domain, 0}).ok());
    EXPECT_TRUE(target.domains.empty());
}

TEST_F(ServerCommands, SlicedCommandsAreCalledUntilTheyAreDone)
{
    target.slices = 5;
    const DomainId domain{client.create()};
    EXPECT_EQ(target.domains.size(), 1u);
    EXPECT_TRUE(client.ask(Command::domain_finish_build, DomainRequest{domain, 0}).ok());
    EXPECT_TRUE(client.ask(Command::domain_pause, DomainRequest{domain, 0}).ok());
    EXPECT_TRUE(client.ask(Command::domain_destroy, DomainRequest{domain, 0}).ok());
    EXPECT_TRUE(target.domains.empty());
}

TEST_F(ServerCommands, UnknownDomainIsNamedInTheRefusal)
{
    for (const Command command :
         {Command::domain_finish_build, Command::domain_unpause, Command::domain_pause,
          Command::domain_destroy, Command::domain_shutdown, Command::domain_info}) {
        const auto answer = client.ask(command, DomainRequest{77, 0});
        EXPECT_EQ(answer.error(), Error::not_found);
        EXPECT_EQ(answer.text(), "there is no domain 77");
        EXPECT_EQ(answer.field(), "/domain");
    }
}

TEST_F(ServerCommands, UnknownTriggerAndTableAreRefused)
{
    const DomainId domain{client.create()};
    for (const std::uint32_t number : {0u, 3u, 0x10001u})
        EXPECT_EQ(client.ask(Command::domain_trigger, DomainTriggerRequest{domain, number, 0, 0}).field(),
                  "/trigger");
    EXPECT_EQ(target.domains[domain].log, "");
    for (const std::uint32_t number : {0u, 6u})
        EXPECT_EQ(client.ask(Command::exit_counts, ExitCountsRequest{domain, number, 0}).field(), "/table");
}

TEST_F(ServerCommands, RenameTakesOnlyGoodNames)
{
    const DomainId domain{client.create()};
    DomainRenameRequest request{domain, 0, "web2"};
    EXPECT_TRUE(client.ask(Command::domain_rename, request).ok());
    EXPECT_EQ(target.domains[domain].name, "web2");
    request.name[0] = '\0';
    EXPECT_EQ(client.ask(Command::domain_rename, request).field(), "/name");
    EXPECT_EQ(target.domains[domain].name, "web2");
}

TEST_F(ServerCommands, DomainsAreListedInOrderFromTheCursor)
{
    for (const char* name : {"a", "b", "c"})
        client.create(name);
    const auto answer = client.ask(Command::domain_list, DomainListRequest{2});
    const auto entries = answer.entries<DomainInfo>();
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(text_of(entries[0].name), "b");
    EXPECT_EQ(answer.fixed<ListReply>().more, 0u);
    const auto info = client.ask(Command::domain_info, DomainRequest{entries[1].domain, 0});
    EXPECT_EQ(text_of(info.fixed<DomainInfo>().name), "c");
    EXPECT_EQ(info.fixed<DomainInfo>().vcpus, 2u);
}

TEST_F(ServerCommands, LongListsComeInPartsWithoutGap)
{
    const DomainId domain{client.create()};
    std::uint64_t cursor{0};
    std::uint32_t expected{0};
    std::uint32_t more{1};
    while (more != 0) {
        const auto answer = client.ask(Command::exit_counts, ExitCountsRequest{domain, 2, cursor});
        for (const ExitCount& entry : answer.entries<ExitCount>())
            EXPECT_EQ(entry.key, expected++);
        cursor = answer.fixed<ListReply>().next;
        more = answer.fixed<ListReply>().more;
    }
    EXPECT_EQ(expected, 3000u);
    EXPECT_EQ(client.ask(Command::vcpu_info, VcpuListRequest{domain, 0, 0}).entries<VcpuInfo>().size(), 2u);
    EXPECT_EQ(client.ask(Command::vcpu_info, VcpuListRequest{99, 0, 0}).error(), Error::not_found);
}

TEST_F(ServerCommands, MemoryIsWrittenAndReadBack)
{
    const DomainId domain{client.create("big", 4 * 1024 * 1024)};
    Bytes data(maximum_request_bulk);
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = static_cast<std::byte>(i * 7);
    ASSERT_TRUE(client.ask(Command::memory_write, MemoryWriteRequest{domain, 0, 0x1003}, {}, data).ok());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), target.domains[domain].memory.begin() + 0x1003));
    EXPECT_LE(target.largest_write, 64u * 1024);
    const auto answer =
        client.ask(Command::memory_read, MemoryReadRequest{domain, maximum_reply_bulk, 0x1003});
    ASSERT_TRUE(answer.ok());
    EXPECT_TRUE(std::equal(answer.bulk.begin(), answer.bulk.end(), data.begin()));
    EXPECT_EQ(answer.bulk.size(), maximum_reply_bulk);
}

TEST_F(ServerCommands, MemoryOutsideTheDomainIsRefusedAndTheStreamGoesOn)
{
    const DomainId domain{client.create()};
    const auto before = target.domains[domain].memory;
    const auto write = [&](std::uint64_t address, std::size_t bytes) {
        return client.ask(Command::memory_write, MemoryWriteRequest{domain, 0, address}, {},
                          Bytes(bytes, std::byte{1}));
    };
    EXPECT_EQ(write(8 * 4096 - 1, 2).field(), "/address");
    EXPECT_EQ(write(~0ull, 2).text(), "the range wraps around");
    EXPECT_EQ(target.domains[domain].memory, before);
    EXPECT_EQ(client.ask(Command::memory_write, MemoryWriteRequest{9, 0, 0}, {}, Bytes(100)).field(),
              "/domain");
    EXPECT_EQ(client.ask(Command::memory_read, MemoryReadRequest{domain, 2, 8 * 4096 - 1}).field(),
              "/address");
    const auto wrapped = client.ask(Command::memory_read, MemoryReadRequest{domain, 2, ~0ull});
    EXPECT_EQ(wrapped.text(), "the range wraps around");
    EXPECT_EQ(client.ask(Command::memory_read, MemoryReadRequest{domain, maximum_reply_bulk + 1, 0}).field(),
              "/length");
    EXPECT_TRUE(write(0, 1).ok());
    EXPECT_TRUE(write(0, 0).ok());
}

TEST_F(ServerCommands, RegistersAreSetAndReadBack)
{
    const DomainId domain{client.create()};
    RegistersSetRequest request{domain, 1, {}};
    request.registers.rip = 0x10'0000;
    request.registers.segments[1] = {0, 0xffff'ffff, 0x10, 0xc9b};
    ASSERT_TRUE(client.ask(Command::registers_set, request).ok());
    const auto answer = client.ask(Command::registers_get, RegistersGetRequest{domain, 1});
    EXPECT_EQ(answer.fixed<VcpuRegisters>().rip, 0x10'0000u);
    EXPECT_EQ(answer.fixed<VcpuRegisters>().segments[1].attributes, 0xc9b);
    request.registers.cr0 = ~0ull;
    const auto refused = client.ask(Command::registers_set, request);
    EXPECT_EQ(refused.field(), "/registers/cr0");
    EXPECT_EQ(client.ask(Command::registers_get, RegistersGetRequest{domain, 2}).field(), "/vcpu");
}

TEST_F(ServerCommands, EventsComeToThoseWhoSubscribed)
{
    target.ended.push_back({3, static_cast<std::uint32_t>(EndReason::crash), "triple fault"});
    target.consoles.push_back({1, 3});
    server->events_waiting();
    client.work();
    EXPECT_TRUE(client.events.empty());
    ASSERT_TRUE(client.ask(Command::subscribe, SubscribeRequest{event_bit(EventCode::domain_ended)}).ok());
    ASSERT_EQ(client.events.size(), 1u);
    EXPECT_EQ(client.events[0].header.request_id, 0u);
    EXPECT_EQ(client.events[0].fixed<DomainEndedEvent>().domain, 3u);
    EXPECT_EQ(text_of(client.events[0].fixed<DomainEndedEvent>().reason), "triple fault");
    EXPECT_EQ(target.consoles.size(), 1u);
}

TEST_F(ServerCommands, AllWaitingEventsAreToldOneAfterTheOther)
{
    ASSERT_TRUE(client.ask(Command::subscribe, SubscribeRequest{event_bit(EventCode::domain_ended) |
                                                                event_bit(EventCode::console_changed)}).ok());
    for (DomainId domain = 1; domain <= 5; ++domain) {
        target.ended.push_back({domain, 1, ""});
        target.consoles.push_back({domain, 0});
    }
    server->events_waiting();
    EXPECT_TRUE(server->needs_step());
    client.work();
    EXPECT_EQ(client.events.size(), 10u);
    EXPECT_FALSE(server->needs_step());
}

TEST_F(ServerCommands, LogEventIsToldOnceUntilTheLogIsRead)
{
    ASSERT_TRUE(client.ask(Command::subscribe, SubscribeRequest{event_bit(EventCode::log_grew)}).ok());
    const auto grow = [&] {
        target.log += "line\n";
        server->events_waiting();
        client.work();
    };
    grow();
    grow();
    EXPECT_EQ(client.events.size(), 1u);
    client.ask(Command::log_read, LogReadRequest{0, 0, 0});
    EXPECT_EQ(client.events.size(), 1u) << "everything was read";
    grow();
    EXPECT_EQ(client.events.size(), 2u);
}

TEST_F(ServerCommands, UnknownEventsAreRefused)
{
    const auto answer = client.ask(Command::subscribe, SubscribeRequest{1});
    EXPECT_EQ(answer.error(), Error::not_supported);
    EXPECT_EQ(answer.field(), "/events");
}

}  // namespace
