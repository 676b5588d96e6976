// SPDX-License-Identifier: MIT
//
// The control protocol's target over real domains: what it grants, what it refuses and with which words, and that a
// destroyed domain leaves nothing behind.  Modules are tests/unit/ext's matter.
#include "hv/core/service/core_target.hpp"

#include "../virtio/fake_device_host.hpp"
#include "machine_fixture.hpp"

using namespace hv;
using namespace hv::test;
using control::Reason;

namespace {

constexpr std::uint64_t mib{1 << 20};

class CoreTargetTest : public MachineTest {
protected:
    CoreTargetTest() : free_at_first{frames.free_frames()} {}
    ~CoreTargetTest() override
    {
        for (Domain* domain = target.domains().next(0); domain != nullptr; domain = target.domains().next(0))
            EXPECT_TRUE(target.destroy_domain(domain->id, reason));
        settle();
        EXPECT_EQ(frames.free_frames(), free_at_first);
    }
    /// What the device does between commands: ports that were closed are released.
    void settle()
    {
        for (unsigned slices = 0; slices < 100 && device.service(); ++slices) {}
    }

    static protocol::DomainCreateRequest request(std::string_view name = "web1")
    {
        protocol::DomainCreateRequest result{};
        name.copy(result.name, sizeof result.name - 1);
        result.memory = 4 * mib;
        result.vcpus = 2;
        return result;
    }
    Expected<control::Progress> create(const protocol::DomainCreateRequest& wanted,
                                       std::span<const protocol::CpuidMask> cpuid = {})
    {
        reason.clear();
        reply = {};
        const auto view = protocol::EntryView<protocol::CpuidMask>::over(std::as_bytes(cpuid), cpuid.size(),
                                                                         sizeof(protocol::CpuidMask));
        return target.create_domain(wanted, view.value(), reply, reason);
    }
    std::uint32_t created(std::string_view name = "web1")
    {
        EXPECT_TRUE(create(request(name))) << reason.text.view();
        return reply.domain;
    }
    std::uint32_t built()
    {
        const std::uint32_t id = created();
        EXPECT_TRUE(target.set_registers(id, 0, registers(), reason));
        EXPECT_TRUE(target.finish_build(id, reason));
        return id;
    }
    static protocol::VcpuRegisters registers()
    {
        protocol::VcpuRegisters result{};
        for (unsigned index = 0; index < 16; ++index)
            result.general[index] = 0x100 + index;
        result.rip = 0x1000;
        result.rflags = 2;
        result.cr0 = 1;
        result.cr8 = 9;
        for (auto& segment : result.segments)
            segment = {0, 0xffff'ffff, 8, 0xc93};
        result.segments[segment_cs].attributes = code_32;
        return result;
    }
    template <typename Result>
    void expect_refused(const Result& result, Error error, std::string_view text, std::string_view field = {})
    {
        ASSERT_FALSE(result) << text;
        EXPECT_EQ(result.error(), error);
        EXPECT_EQ(reason.text.view(), text);
        EXPECT_EQ(reason.field.view(), field);
        reason.clear();
    }
    protocol::DomainInfo info(std::uint32_t id)
    {
        std::uint64_t cursor{id};
        protocol::DomainInfo entry{};
        EXPECT_TRUE(target.next_domain(cursor, entry));
        EXPECT_EQ(entry.domain, id);
        return entry;
    }

    FakeDeviceHost host;
    virtio::ConsoleDevice device{host};
    service::ConsoleSlots consoles{device, heap};
    service::MachineDescription description{"1", "fake", "", ""};
    service::CoreTarget target{description, consoles, heap};
    Reason reason;
    protocol::DomainCreateReply reply{};
    std::uint64_t free_at_first;
};

}  // namespace

TEST_F(CoreTargetTest, GivesBackEveryFrameOfADestroyedDomainInWhateverStateItWas)
{
    for (unsigned state = 0; state < 4; ++state) {
        const std::uint32_t id = created();
        ASSERT_TRUE(target.write_memory(id, 0x1000, std::as_bytes(std::span{"code"}), reason));
        EXPECT_LT(frames.free_frames(), free_at_first - 4 * mib / page_size);
        if (state > 0) {
            ASSERT_TRUE(target.set_registers(id, 0, registers(), reason));
            ASSERT_TRUE(target.finish_build(id, reason));
        }
        if (state > 1) {
            ASSERT_TRUE(target.unpause(id, reason));
        }
        if (state > 2) {
            ASSERT_TRUE(target.trigger(id, protocol::Trigger::reset, 0, reason));
        }
        ASSERT_TRUE(target.destroy_domain(id, reason));
        settle();
        EXPECT_EQ(frames.free_frames(), free_at_first) << state;
        EXPECT_EQ(target.domains().size(), 0u);
        expect_refused(target.destroy_domain(id, reason), Error::not_found, "there is no domain " + std::to_string(id));
    }
}

TEST_F(CoreTargetTest, RefusesASecondDomainOfTheSameNameOrUuidAndMakesNothing)
{
    protocol::DomainCreateRequest first = request();
    first.uuid[3] = 9;
    ASSERT_TRUE(create(first));
    const std::uint64_t free = frames.free_frames();
    expect_refused(create(request()), Error::already_exists, "a domain with the name web1 or this uuid exists");
    protocol::DomainCreateRequest same_uuid = request("web2");
    same_uuid.uuid[3] = 9;
    expect_refused(create(same_uuid), Error::already_exists, "a domain with the name web2 or this uuid exists");
    EXPECT_EQ(frames.free_frames(), free);
    EXPECT_TRUE(create(request("web3"))) << "no uuid at all is no uuid that is taken";
    EXPECT_TRUE(create(request("web4")));
}

TEST_F(CoreTargetTest, RefusesProcessorsThatRunNoGuests)
{
    protocol::DomainCreateRequest wanted = request();
    for (const std::uint64_t affinity : {1ull, 4ull, 1ull << 63}) {
        wanted.affinity[0] = affinity;
        expect_refused(create(wanted), Error::invalid_argument, "none of these processors runs guests: those are 1 to 1",
                       "/vcpus/affinity");
    }
    wanted.affinity[0] = 0;
    wanted.affinity[1] = 1;
    EXPECT_FALSE(create(wanted));
    reason.clear();
    wanted.affinity[1] = 0;
    wanted.affinity[0] = 0xff;
    ASSERT_TRUE(create(wanted));
    EXPECT_EQ(info(reply.domain).affinity[0], 2u);
}

TEST_F(CoreTargetTest, SaysHowMuchMemoryThereIsWhenThatIsNotEnough)
{
    protocol::DomainCreateRequest wanted = request();
    wanted.memory = 1 << 30;
    const std::uint64_t free = frames.free_frames();
    expect_refused(create(wanted), Error::no_memory,
                   "not enough memory: 1024 MiB were asked for, " + std::to_string(free * page_size >> 20) + " MiB are free",
                   "/memory");
    EXPECT_EQ(frames.free_frames(), free);
}

TEST_F(CoreTargetTest, TakesFromTheVcpusWhatTheConfigurationTakesFromCpuid)
{
    const protocol::CpuidMask masks[]{
        {.leaf = 7, .subleaf = 0, .and_mask = {~0u, ~(1u << 7), ~0u, ~0u}, .or_mask = {}},   // SMEP
        {.leaf = 1, .subleaf = 0, .and_mask = {~0u, ~0u, ~(1u << 21), ~0u}, .or_mask = {}},  // x2APIC
    };
    ASSERT_TRUE(create(request(), masks));
    Vcpu& vcpu = target.domains().find(reply.domain)->vcpu(1);
    EXPECT_EQ(fake::fake_vcpu(vcpu).offered.cr4 & 1u << 20, 0u);
    EXPECT_EQ(vcpu.apic.write_apic_base(0xfee0'0c00).kind, ApicEffect::Kind::refused);
    Vcpu& other = target.domains().find(created("web2"))->vcpu(1);
    EXPECT_EQ(fake::fake_vcpu(other).offered.cr4 & 1u << 20, 1u << 20);
    EXPECT_EQ(other.apic.write_apic_base(0xfee0'0c00).kind, ApicEffect::Kind::mode_changed);
}

TEST_F(CoreTargetTest, MakesNoDomainWhoseCpuidCannotBeHad)
{
    const protocol::CpuidMask absent{.leaf = 0x7777'0000, .subleaf = 0, .and_mask = {0, 0, 0, 0}, .or_mask = {1, 0, 0, 0}};
    const auto made = create(request(), std::span{&absent, 1});
    ASSERT_FALSE(made);
    EXPECT_EQ(reason.field.view(), "/cpuid");
    EXPECT_NE(reason.text.view().find("0x77770000"), std::string_view::npos);
    EXPECT_EQ(target.domains().size(), 0u);
    EXPECT_EQ(frames.free_frames(), free_at_first);
}

TEST_F(CoreTargetTest, RefusesEverythingOfTheControlDomainAndOfNobody)
{
    protocol::VcpuRegisters wire{};
    const std::string_view text{"this cannot be done to the control domain"};
    expect_refused(target.pause(0, reason), Error::permission_denied, text);
    expect_refused(target.destroy_domain(0, reason), Error::permission_denied, text);
    expect_refused(target.rename_domain(0, "x", reason), Error::permission_denied, text);
    expect_refused(target.get_registers(0, 0, wire, reason), Error::permission_denied, text);
    expect_refused(target.unpause(99, reason), Error::not_found, "there is no domain 99");
    std::uint64_t cursor{};
    protocol::VcpuInfo vcpu{};
    EXPECT_EQ(target.next_vcpu(99, cursor, vcpu).error(), Error::not_found);
    protocol::ExitCount count{};
    EXPECT_EQ(target.next_exit_count(99, protocol::ExitTable::msr, cursor, count).error(), Error::not_found);
}

TEST_F(CoreTargetTest, PausesWhatAnExtensionWantsPausedAndSaysWhy)
{
    const std::uint32_t id = built();
    const std::uint32_t other = created("web2");
    ASSERT_TRUE(target.unpause(id, reason));
    target.carry_out_requests();
    EXPECT_EQ(info(id).state, static_cast<std::uint32_t>(protocol::DomainState::running));
    target.domains().find(id)->request_pause("extension x: look at this");
    target.domains().find(other)->request_pause("it does not run");
    target.carry_out_requests();
    EXPECT_EQ(info(id).state, static_cast<std::uint32_t>(protocol::DomainState::paused));
    EXPECT_STREQ(info(id).reason, "extension x: look at this");
    EXPECT_STREQ(info(other).reason, "");
    ASSERT_TRUE(target.unpause(id, reason));
    EXPECT_STREQ(info(id).reason, "");
    ASSERT_TRUE(target.pause(id, reason));
    EXPECT_STREQ(info(id).reason, "");
}

TEST_F(CoreTargetTest, SetsRegistersWhileItIsBuiltAndReadsThemBack)
{
    const std::uint32_t id = created();
    expect_refused(target.finish_build(id, reason), Error::conflict, "VCPU 0 has no registers to start with");
    expect_refused(target.set_registers(id, 2, registers(), reason), Error::out_of_range, "domain web1 has no VCPU 2",
                   "/vcpu");
    protocol::VcpuRegisters impossible = registers();
    impossible.cr0 = 1u << 31;
    expect_refused(target.set_registers(id, 0, impossible, reason), Error::invalid_argument,
                   "no processor accepts this combination of control registers and segments", "/registers");
    protocol::VcpuRegisters too_high = registers();
    too_high.cr8 = 16;
    expect_refused(target.set_registers(id, 0, too_high, reason), Error::invalid_argument, "CR8 is at most 15, not 16",
                   "/registers/cr8");
    EXPECT_FALSE(target.domains().find(id)->vcpu(0).started);
    ASSERT_TRUE(target.set_registers(id, 0, registers(), reason));
    protocol::VcpuRegisters wire{};
    ASSERT_TRUE(target.get_registers(id, 0, wire, reason));
    const protocol::VcpuRegisters expected = registers();
    EXPECT_EQ(std::memcmp(&wire, &expected, sizeof wire), 0);
    EXPECT_EQ(target.domains().find(id)->vcpu(0).apic.task_priority(), 0x90);
    ASSERT_TRUE(target.finish_build(id, reason));
    expect_refused(target.finish_build(id, reason), Error::conflict, "domain web1 is built already");
    expect_refused(target.set_registers(id, 0, registers(), reason), Error::conflict, "domain web1 is built already");
    ASSERT_TRUE(target.unpause(id, reason));
    expect_refused(target.get_registers(id, 0, wire, reason), Error::conflict, "domain web1 is running");
}

TEST_F(CoreTargetTest, StartsASecondVcpuOnlyWhereItsRegistersWereSet)
{
    const std::uint32_t id = created();
    ASSERT_TRUE(target.set_registers(id, 1, registers(), reason));
    expect_refused(target.finish_build(id, reason), Error::conflict, "VCPU 0 has no registers to start with");
    EXPECT_FALSE(target.domains().find(id)->vcpu(1).blocked_by(Blocker::waiting_for_startup));
}

TEST_F(CoreTargetTest, WritesMemoryOnlyWhileNothingRunsAndOnlyWhereThereIsRam)
{
    const std::uint32_t id = built();
    const std::array<std::byte, 4> bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    std::array<std::byte, 4> back{};
    ASSERT_TRUE(target.write_memory(id, 0x1ffe, bytes, reason));
    ASSERT_TRUE(target.read_memory(id, 0x1ffe, back, reason));
    EXPECT_EQ(back, bytes);
    expect_refused(target.write_memory(id, 4 * mib - 2, bytes, reason), Error::out_of_range,
                   "guest-physical 0x3ffffe and the 4 bytes from there are not all RAM of domain web1", "/address");
    expect_refused(target.read_memory(id, ~0ull, back, reason), Error::out_of_range,
                   "guest-physical 0xffffffffffffffff and the 4 bytes from there are not all RAM of domain web1", "/address");
    ASSERT_TRUE(target.unpause(id, reason));
    expect_refused(target.write_memory(id, 0x1000, bytes, reason), Error::conflict, "domain web1 is running");
    EXPECT_TRUE(target.read_memory(id, 0x1ffe, back, reason));
}

TEST_F(CoreTargetTest, PausesRenamesAndTriggersWhatIsThere)
{
    const std::uint32_t id = built();
    expect_refused(target.pause(id, reason), Error::conflict, "domain web1 is not running");
    expect_refused(target.shutdown_domain(id, reason), Error::conflict, "domain web1 is not running");
    ASSERT_TRUE(target.unpause(id, reason));
    expect_refused(target.unpause(id, reason), Error::conflict, "domain web1 is not paused");
    ASSERT_TRUE(target.pause(id, reason));
    EXPECT_EQ(info(id).state, static_cast<std::uint32_t>(protocol::DomainState::paused));
    created("other");
    expect_refused(target.rename_domain(id, "other", reason), Error::already_exists, "a domain with the name other exists");
    ASSERT_TRUE(target.rename_domain(id, "web1", reason)) << "its own name";
    ASSERT_TRUE(target.rename_domain(id, "web9", reason));
    EXPECT_EQ(target.domains().find("web9"), target.domains().find(id));
    expect_refused(target.trigger(id, protocol::Trigger::nmi, 2, reason), Error::out_of_range, "domain web9 has no VCPU 2",
                   "/vcpu");
    EXPECT_TRUE(target.trigger(id, protocol::Trigger::nmi, 1, reason));
    ASSERT_TRUE(target.trigger(id, protocol::Trigger::reset, 0, reason));
    protocol::DomainEndedEvent event{};
    ASSERT_TRUE(target.next_domain_ended(event));
    EXPECT_EQ(event.domain, id);
    EXPECT_EQ(event.end_reason, static_cast<std::uint32_t>(protocol::EndReason::reboot));
    EXPECT_FALSE(target.next_domain_ended(event));
    expect_refused(target.trigger(id, protocol::Trigger::nmi, 1, reason), Error::conflict, "domain web9 is not running");
}

TEST_F(CoreTargetTest, ListsDomainsWithTheControlDomainFirstAndNeverUsesANumberTwice)
{
    const std::uint32_t first = created("a");
    const std::uint32_t second = created("b");
    ASSERT_TRUE(target.destroy_domain(first, reason));
    const std::uint32_t third = created("c");
    std::vector<std::uint32_t> listed;
    std::uint64_t cursor{};
    for (protocol::DomainInfo entry{}; target.next_domain(cursor, entry);)
        listed.push_back(entry.domain);
    EXPECT_EQ(listed, (std::vector<std::uint32_t>{0, second, third}));
    EXPECT_GT(third, second);
    EXPECT_EQ(info(third).memory, 4 * mib);
    EXPECT_EQ(info(third).vcpus, 2u);
}

TEST_F(CoreTargetTest, SumsExitsOverVcpusAndListsEachKeyOnce)
{
    const std::uint32_t id = built();
    Domain& domain = *target.domains().find(id);
    domain.vcpu(0).exits.by_kind[static_cast<unsigned>(ExitKind::cpuid)] = 3;
    domain.vcpu(1).exits.by_kind[static_cast<unsigned>(ExitKind::cpuid)] = 4;
    domain.vcpu(0).exits.msrs.count(0x10, false);
    domain.vcpu(1).exits.msrs.count(0x10, false);
    domain.vcpu(1).exits.msrs.count(0x10, true);
    std::uint64_t cursor{};
    protocol::ExitCount entry{};
    ASSERT_TRUE(target.next_exit_count(id, protocol::ExitTable::reason, cursor, entry).value());
    EXPECT_STREQ(entry.name, "CPUID");
    EXPECT_EQ(entry.count, 7u);
    EXPECT_FALSE(target.next_exit_count(id, protocol::ExitTable::reason, cursor, entry).value());
    cursor = 0;
    std::uint64_t reads{}, writes{}, entries{};
    for (; target.next_exit_count(id, protocol::ExitTable::msr, cursor, entry).value(); ++entries)
        ((entry.flags & protocol::exit_count_write) != 0 ? writes : reads) += entry.count;
    EXPECT_EQ(entries, 2u);
    EXPECT_EQ(reads, 2u);
    EXPECT_EQ(writes, 1u);
    EXPECT_EQ(info(id).exits, 7u);
    for (std::uint32_t key = 0; key < 200; ++key)
        domain.vcpu(0).exits.ports.count(key, false);
    cursor = 0;
    std::uint64_t sum{};
    while (target.next_exit_count(id, protocol::ExitTable::port, cursor, entry).value())
        sum += entry.count;
    EXPECT_EQ(sum, 200u) << "what has no place of its own is counted among the others";
    EXPECT_STREQ(entry.name, "");
}
