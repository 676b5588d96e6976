// SPDX-License-Identifier: MIT
//
// Modules of ABI 0.1, built from the headers of 0.1, on the hypervisor of today: each is taken and bound, each service answers
// at its old place, each hook is called by its old name, and what a guest asks is answered.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "module_under_test.hpp"

namespace hv::test {
namespace {

std::string file_of(const std::string& module)
{
    return std::string{PUBLISHED_MODULES} + "/0.1/" + module + ".hvx";
}

constexpr std::uint32_t block{0x4000'0000};
constexpr std::uint64_t ram_bytes{0x10'0000};
constexpr std::uint64_t page_address{0x5000};

/// The hypervisor with some guest memory, and one old module bound to a domain of two VCPUs.
struct Bound {
    explicit Bound(const std::string& name, const abi::HostTable& services = FakeHost::table())
        : module{host, file_of(name), 2, services}
    {
        host.add_ram(0, ram_bytes);
    }

    FakeHost host;
    ModuleUnderTest module;
};

abi::HypercallFrame frame_of(std::initializer_list<std::pair<abi::GeneralRegister, std::uint64_t>> registers)
{
    abi::HypercallFrame frame{};
    frame.mode = abi::GuestMode::long_64;
    for (const auto& [name, value] : registers)
        frame.general[static_cast<unsigned>(name)] = value;
    return frame;
}

class PublishedModule : public testing::TestWithParam<const char*> {};

TEST_P(PublishedModule, IsTakenAsWhatItIsAndLivesFromCreationToDestruction)
{
    Bound bound{GetParam()};
    const auto facts = bound.module.module().facts();
    EXPECT_EQ(facts.abi_major, 0);
    EXPECT_EQ(facts.abi_minor, 1);
    EXPECT_STREQ(facts.name, GetParam());
    EXPECT_EQ(facts.needs & ~abi::provided_needs_0_1, 0u);
    EXPECT_TRUE(bound.module.create()) << bound.host.explained;
    bound.module.destroy();
}

INSTANTIATE_TEST_SUITE_P(Of01, PublishedModule,
                         testing::Values("viridian", "novell", "novell-count", "novell-poll", "novell-trade",
                                         "xen-pv", "minimal", "exerciser", "puppet-one", "watcher", "caller"),
                         [](const auto& of) {
                             std::string name{of.param};
                             std::erase(name, '-');
                             return name;
                         });

constexpr std::size_t services_0_1{72};

template <std::size_t Number>
abi::Answer numbered()
{
    return 1000 + static_cast<abi::Answer>(Number);
}

/// A service table in which each service answers with its place.
template <std::size_t... Number>
abi::HostTable numbered_table(std::index_sequence<Number...>)
{
    abi::HostTable host{};
    host.header = {abi::host_table_magic, abi::abi_major, abi::abi_minor, sizeof host, 0};
    abi::Answer (*const services[])(){numbered<Number>...};
    std::memcpy(reinterpret_cast<std::byte*>(&host) + sizeof host.header, services, sizeof services);
    return host;
}

TEST(PublishedServices, AreWhereAnOldModuleLooksForThem)
{
    Bound bound{"caller", numbered_table(std::make_index_sequence<services_0_1>{})};
    for (std::uint64_t number = 0; number < services_0_1; ++number) {
        auto frame = frame_of({{abi::GeneralRegister::rax, number}});
        ASSERT_EQ(bound.module.hypercall(frame).kind, abi::VerdictKind::done);
        EXPECT_EQ(frame.general[0], 1000 + number);
    }
    auto beyond = frame_of({{abi::GeneralRegister::rax, services_0_1}});
    EXPECT_EQ(bound.module.hypercall(beyond).kind, abi::VerdictKind::inject);
}

TEST(PublishedHooks, AreAllFoundInAnOldModule)
{
    Bound bound{"exerciser"};
    ASSERT_TRUE(bound.module.create());
    constexpr std::uint32_t hooks_0_1{28};
    for (std::uint32_t hook = 0; hook < hooks_0_1; ++hook)
        EXPECT_TRUE(bound.module.module().has_hook(hook)) << hook;
    EXPECT_TRUE(bound.module.write_msr(block, 123));
    EXPECT_EQ(bound.module.read_msr(block), 123u);
    EXPECT_EQ(bound.module.cpuid(block + 2, 0, 1).ebx, 1u);
    EXPECT_EQ(bound.module.reset_vcpu(1).kind, abi::VerdictKind::done);
    EXPECT_EQ(bound.module.freeze().kind, abi::VerdictKind::done);
    EXPECT_EQ(bound.module.thaw().kind, abi::VerdictKind::done);
}

TEST(PublishedMinimal, AddsTwoRegisters)
{
    Bound bound{"minimal"};
    ASSERT_TRUE(bound.module.create());
    using Register = abi::GeneralRegister;
    auto frame = frame_of({{Register::rax, 1}, {Register::rdi, 40}, {Register::rsi, 2}});
    EXPECT_EQ(bound.module.hypercall(frame).kind, abi::VerdictKind::done);
    EXPECT_EQ(frame.general[0], 42u);
}

TEST(PublishedWatcher, IsShownTheExitsThatItSubscribedTo)
{
    Bound bound{"watcher"};
    ASSERT_TRUE(bound.module.create());
    abi::ExitFrame frame{};
    frame.kind = abi::ExitKind::port;
    frame.number = 0x80 | 1 << 16;
    EXPECT_EQ(bound.module.exit(frame).kind, abi::VerdictKind::done);
}

TEST(PublishedViridian, GivesTheInterfaceThatItGave)
{
    Bound bound{"viridian"};
    ASSERT_TRUE(bound.module.create());
    EXPECT_EQ(bound.module.cpuid(block).ebx, abi::table_magic('M', 'i', 'c', 'r'));
    EXPECT_EQ(bound.module.cpuid(block + 1).eax, abi::table_magic('H', 'v', '#', '1'));
    EXPECT_EQ(bound.module.read_msr(0x4000'0002, 1), 1u);  // VP_INDEX
    EXPECT_TRUE(bound.module.write_msr(0x4000'0000, 0x8100'0006'0192'0000));
    EXPECT_TRUE(bound.module.write_msr(0x4000'0001, page_address | 1));
    EXPECT_EQ(bound.host.hypercall_pages_placed[0].gpa, page_address);
}

TEST(PublishedNovell, GivesTheInterfaceThatItGave)
{
    for (const char* name : {"novell", "novell-count", "novell-poll", "novell-trade"}) {
        Bound bound{name};
        ASSERT_TRUE(bound.module.create()) << name;
        EXPECT_EQ(bound.module.cpuid(block).ebx, abi::table_magic('N', 'o', 'v', 'e')) << name;
        const std::uint32_t base{bound.module.cpuid(block + 2).ebx};
        EXPECT_TRUE(bound.module.write_msr(base, 0x8100'0000'0001'0000)) << name;
        EXPECT_TRUE(bound.module.write_msr(base + 1, page_address | 1)) << name;
        EXPECT_EQ(bound.host.hypercall_pages_placed[0].gpa, page_address) << name;
    }
}

TEST(PublishedXenPv, GivesTheInterfaceThatItGave)
{
    Bound bound{"xen-pv"};
    ASSERT_TRUE(bound.module.create());
    EXPECT_EQ(bound.module.cpuid(block).ebx, abi::table_magic('X', 'e', 'n', 'V'));
    auto version = frame_of({{abi::GeneralRegister::rax, 17}});  // xen_version, XENVER_version
    EXPECT_EQ(bound.module.hypercall(version).kind, abi::VerdictKind::done);
    EXPECT_EQ(version.general[0], 4u << 16 | 17);
}

/// An old module's file whose manifest says another minor version, and other needs.
std::vector<std::byte> newer(std::uint16_t minor, std::uint64_t needs)
{
    std::ifstream stream{file_of("minimal"), std::ios::binary};
    const std::string text{std::istreambuf_iterator<char>{stream}, {}};
    std::vector<std::byte> file(text.size());
    std::memcpy(file.data(), text.data(), text.size());
    for (std::size_t at = 0; at + sizeof(abi::Manifest) <= file.size(); at += 8) {
        abi::Manifest manifest;
        std::memcpy(&manifest, file.data() + at, sizeof manifest);
        if (manifest.header.magic != abi::manifest_magic)
            continue;
        manifest.header.minor = minor;
        manifest.needs = needs;
        std::memcpy(file.data() + at, &manifest, sizeof manifest);
    }
    return file;
}

std::string said_of(const std::vector<std::byte>& file, const loader::Policy& policy)
{
    loader::KeptDiagnostics diagnostics;
    loader::Module module;
    return module.verify(file, policy, diagnostics) ? "taken" : std::string{diagnostics.text()};
}

TEST(NewerModule, IsTakenByAnOlderHypervisorWhereItNeedsNothingThatIsNew)
{
    const loader::Policy older{.provided_needs = abi::provided_needs_0_1};
    EXPECT_EQ(said_of(newer(2, 0), older), "taken");
    EXPECT_EQ(said_of(newer(abi::abi_minor + 1, abi::need_time), {}), "taken");
}

TEST(NewerModule, IsRefusedByAnOlderHypervisorByTheNameOfWhatItNeeds)
{
    const loader::Policy older{.provided_needs = abi::provided_needs_0_1};
    EXPECT_NE(said_of(newer(2, abi::need_interrupt_watch), older).find("'interrupt_watch', which this hypervisor does not"),
              std::string::npos);
    const std::string unknown{said_of(newer(3, 1ull << 40), {})};
    EXPECT_NE(unknown.find("of extension ABI 0.3, needs capability 40"), std::string::npos) << unknown;
}

}  // namespace
}  // namespace hv::test
