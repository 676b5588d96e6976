// SPDX-License-Identifier: MIT
//
// A swap as the control server commands it, slice by slice: it is answered when the guest has gone on, and whatever becomes
// of the domain meanwhile, the next command finds nothing of it.  The swap itself is swap_test.cpp's.
#include "../core/machine_fixture.hpp"
#include "../virtio/fake_device_host.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/service/core_target.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"

#include <fstream>
#include <iterator>
#include <string>

namespace hv::test {
namespace {

using control::Progress;
using control::Reason;

class SwapCommand : public MachineTest {
protected:
    SwapCommand()
    {
        fake::set_ticks(1000);
        load("swap-1");
        load("swap-other");
    }
    ~SwapCommand() override
    {
        for (Domain* domain = target.domains().next(0); domain != nullptr; domain = target.domains().next(0))
            EXPECT_TRUE(target.destroy_domain(domain->id, reason));
        for (unsigned slices = 0; slices < 100 && device.service(); ++slices) {}
        for (const char* const name : {"swappable", "another"})
            static_cast<void>(target.unload_module(name, reason));
    }
    void load(const std::string& name)
    {
        std::ifstream stream{std::string{HVX_FOLDER} + "/" + name + "/" + name + ".hvx", std::ios::binary};
        const std::vector<char> bytes{std::istreambuf_iterator<char>{stream}, {}};
        EXPECT_TRUE(target.load_module(std::as_bytes(std::span{bytes}), {}, name, reason.text)) << reason.text.view();
    }
    /// A domain of two VCPUs with the extension that is swapped; built, and running if `runs`.
    std::uint32_t guest(std::string_view name, bool runs = true)
    {
        protocol::DomainCreateRequest request{};
        name.copy(request.name, sizeof request.name - 1);
        request.memory = 4 << 20;
        request.vcpus = 2;
        protocol::DomainCreateReply reply{};
        const auto none = protocol::EntryView<protocol::CpuidMask>::over({}, 0, sizeof(protocol::CpuidMask));
        EXPECT_TRUE(target.create_domain(request, none.value(), reply, reason)) << reason.text.view();
        Domain& domain = *target.domains().find(reply.domain);
        BoundedText<100> field;
        EXPECT_TRUE(ExtensionStack::bind(domain, *loaded("swappable"), {}, {.placement = Placement::trusted},
                                         reason.text, field))
            << reason.text.view();
        domain.vcpu(0).started = true;
        EXPECT_TRUE(domain.finish_build());
        if (runs) {
            EXPECT_TRUE(domain.unpause());
        }
        return reply.domain;
    }
    Module* loaded(std::string_view name) { return target.find_module(name); }
    Domain& at(std::uint32_t id) { return *target.domains().find(id); }
    /// One slice.
    Expected<Progress> swap(std::uint32_t domain, std::string_view old_name = "swappable",
                            std::string_view new_name = "another")
    {
        protocol::ExtSwapRequest request{};
        request.domain = domain;
        old_name.copy(request.old_module, sizeof request.old_module - 1);
        new_name.copy(request.new_module, sizeof request.new_module - 1);
        reason.clear();
        answer = {};
        return target.swap_extension(request, answer, reason);
    }
    std::uint64_t generation(std::uint32_t domain) { return at(domain).extensions->generation(); }

    FakeDeviceHost host;
    virtio::ConsoleDevice device{host};
    service::ConsoleSlots consoles{device, heap};
    service::MachineDescription description{"1", "fake", "", ""};
    service::CoreTarget target{description, consoles, heap};
    Reason reason;
    control::SwapAnswer answer{};
};

TEST_F(SwapCommand, is_answered_when_the_vcpus_have_gone_on)
{
    const std::uint32_t id = guest("one");
    EXPECT_EQ(swap(id).value(), Progress::more);
    EXPECT_EQ(swap(id).value(), Progress::more) << "VCPU 0 has not";
    carry_out_requests(at(id).vcpu(0));
    ASSERT_EQ(swap(id).value(), Progress::done);
    EXPECT_EQ(answer.reply.generation, 2u);
    EXPECT_EQ(answer.reply.vcpu_count, 2u);
    EXPECT_EQ(answer.vcpus[1].state, static_cast<std::uint32_t>(protocol::SwappedState::did_not_run));
}

TEST_F(SwapCommand, what_it_leaves_over_goes_with_the_answer)
{
    const std::uint32_t id = guest("one");
    ASSERT_EQ(swap(id).value(), Progress::more);
    carry_out_requests(at(id).vcpu(0));
    ASSERT_EQ(swap(id).value(), Progress::done);
    const std::uint64_t after_one = at(id).ledger.frames();
    ASSERT_EQ(swap(id, "another", "swappable").value(), Progress::more);
    EXPECT_GT(at(id).ledger.frames(), after_one);
    carry_out_requests(at(id).vcpu(0));
    ASSERT_EQ(swap(id, "another", "swappable").value(), Progress::done);
    EXPECT_EQ(at(id).ledger.frames(), after_one);
}

TEST_F(SwapCommand, of_a_domain_that_ends_meanwhile_is_answered)
{
    const std::uint32_t id = guest("one");
    ASSERT_EQ(swap(id).value(), Progress::more);
    at(id).end(EndReason::poweroff);
    ASSERT_EQ(swap(id).value(), Progress::done);
    EXPECT_EQ(answer.vcpus[0].state, static_cast<std::uint32_t>(protocol::SwappedState::did_not_run));
}

TEST_F(SwapCommand, of_a_domain_that_is_destroyed_meanwhile_is_not_found_and_the_next_is_a_swap_of_its_own)
{
    const std::uint32_t gone = guest("one");
    const std::uint32_t other = guest("two");
    ASSERT_EQ(swap(gone).value(), Progress::more);
    ASSERT_TRUE(target.destroy_domain(gone, reason));
    EXPECT_EQ(swap(gone).error(), Error::not_found);
    ASSERT_EQ(swap(other).value(), Progress::more);
    EXPECT_EQ(generation(other), 2u);
    carry_out_requests(at(other).vcpu(0));
    EXPECT_EQ(swap(other).value(), Progress::done);
}

TEST_F(SwapCommand, that_nobody_follows_to_its_end_stands_in_the_way_of_none)
{
    const std::uint32_t left = guest("one");
    const std::uint32_t other = guest("two");
    ASSERT_EQ(swap(left).value(), Progress::more);
    ASSERT_EQ(swap(other).value(), Progress::more);
    EXPECT_EQ(generation(other), 2u);
    carry_out_requests(at(other).vcpu(0));
    EXPECT_EQ(swap(other).value(), Progress::done);
    ASSERT_EQ(swap(left, "another", "swappable").value(), Progress::more);
    EXPECT_EQ(generation(left), 3u);
}

TEST_F(SwapCommand, of_a_domain_that_does_not_run_is_a_conflict)
{
    const std::uint32_t id = guest("one");
    at(id).end(EndReason::poweroff);
    ASSERT_FALSE(swap(id));
    EXPECT_EQ(swap(id).error(), Error::conflict);
    EXPECT_EQ(reason.text.view(), "domain 'one' is not running");
    EXPECT_EQ(generation(id), 1u);
}

TEST_F(SwapCommand, of_a_paused_domain_is_done_and_waits_for_nobody)
{
    const std::uint32_t id = guest("one", false);
    ASSERT_EQ(swap(id).value(), Progress::more);
    EXPECT_EQ(swap(id).value(), Progress::done);
    EXPECT_EQ(generation(id), 2u);
}

}  // namespace
}  // namespace hv::test
