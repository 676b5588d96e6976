// SPDX-License-Identifier: MIT
//
// Hot swap on a fake machine: what must be there after it, what is refused before anything stops, and that a
// failure at any step leaves the guest with the instance that it had.
#include "hv/core/ext/swap.hpp"

#include "extension_fixture.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "state_stream.hpp"

namespace hv::test {
namespace {

class Swaps : public ExtensionTest {
protected:
    Swaps()
    {
        EXPECT_TRUE(bind("swap-1")) << why.view();
        start();
    }
    Binding& binding() { return *domain->extensions->implementation().bindings[0]; }
    Module& beside(const std::string& name)
    {
        why.clear();
        const auto loaded = registry->load_beside(file_of(name), {}, "/lib/" + name + ".hvx", why);
        EXPECT_TRUE(loaded) << why.view();
        return *loaded.value();
    }
    Status swap(const std::string& name, SwapOptions how = {})
    {
        Module& next = beside(name);
        why.clear();
        report = {};
        const Status done = swap_extension(*domain, "swappable", next, how, report, why);
        if (done && !how.dry_run)
            registry->supersede(next);
        registry->sweep();
        if (forgets)
            forget_replaced(*domain);
        return done;
    }
    std::uint32_t msr(std::uint64_t offset)
    {
        return static_cast<std::uint32_t>(binding().grants[1].base + offset);
    }
    std::uint64_t read(std::uint64_t offset, unsigned vcpu = 0)
    {
        std::uint64_t value{};
        EXPECT_EQ(domain->extensions->read_msr(domain->vcpu(vcpu), msr(offset), value), Answered::done);
        return value;
    }
    void write(std::uint64_t offset, std::uint64_t value, unsigned vcpu = 0)
    {
        EXPECT_EQ(domain->extensions->write_msr(domain->vcpu(vcpu), msr(offset), value), Answered::done);
    }
    /// Time passes, and what was asked of the VCPU before its next entry happens.
    void pass(std::uint64_t ns)
    {
        fake::advance_ticks(ns);
        machine().here().timers.expire(platform::ticks());
        look();
    }
    void look()
    {
        static_cast<void>(domain->vcpu(0).take_requests());
        domain->extensions->before_entry(domain->vcpu(0));
    }
    SwapReport report{};
    bool forgets{true};  ///< the swap is followed to its end
};

TEST_F(Swaps, the_new_version_answers_on_the_old_ones_state)
{
    write(0, 0x1234);
    ASSERT_TRUE(swap("swap-2")) << why.view();
    EXPECT_EQ(read(4), 2u);
    EXPECT_EQ(read(0), 0x1234u);
    EXPECT_EQ(read(5), 0x77u);
    EXPECT_EQ(report.generation, 2u);
    EXPECT_EQ(domain->extensions->implementation().generation, 2u);
    x86::CpuidResult leaf{};
    EXPECT_EQ(domain->extensions->cpuid(domain->vcpu(0), 0x4000'0000, 0, leaf), Answered::done);
    EXPECT_EQ(leaf.eax, 0x4000'0001u);
}

TEST_F(Swaps, an_armed_timer_fires_once_in_the_new_instance)
{
    write(2, 5000);
    pass(4000);
    ASSERT_TRUE(swap("swap-2")) << why.view();
    EXPECT_EQ(report.armed_timers, 1u);
    EXPECT_EQ(read(1), 0u);
    pass(2000);
    EXPECT_EQ(read(1), 1u);
    pass(100'000);
    EXPECT_EQ(read(1), 1u);
}

TEST_F(Swaps, an_expiry_that_came_before_the_swap_is_told_after_it)
{
    write(2, 5000);
    fake::advance_ticks(6000);
    machine().here().timers.expire(platform::ticks());  // noted, not told yet
    ASSERT_TRUE(swap("swap-2")) << why.view();
    look();
    EXPECT_EQ(read(1), 1u);
}

TEST_F(Swaps, a_handle_of_the_old_instance_is_the_new_ones)
{
    write(3, 0x5000);
    const std::uint32_t before = report.overlays;
    ASSERT_TRUE(swap("swap-2")) << why.view();
    EXPECT_EQ(report.overlays, before + 1);
    write(3, 0x6000);  // moves the same page
    ASSERT_TRUE(swap("swap-1")) << why.view();
    EXPECT_EQ(report.overlays, 1u);
    EXPECT_EQ(read(4), 1u);
}

TEST_F(Swaps, an_open_call_goes_on_where_it_was)
{
    EXPECT_EQ(call(7, 3), Answered::taken);
    look();
    ASSERT_TRUE(swap("swap-2")) << why.view();
    EXPECT_EQ(report.continuations, 1u);
    look();
    EXPECT_TRUE(domain->vcpu(0).entry_held);
    look();
    EXPECT_FALSE(domain->vcpu(0).entry_held);
    EXPECT_EQ(domain->vcpu(0).registers.general[0], 3u);
}

TEST_F(Swaps, pauses_and_blocks_are_kept)
{
    VcpuBinding& own = *binding().vcpus[1];
    from_hook(own, [](const abi::VcpuContext& context) {
        EXPECT_EQ(host().vcpu_pause(context.vcpu), abi::status_ok);
    });
    ASSERT_TRUE(swap("swap-2")) << why.view();
    EXPECT_TRUE(domain->vcpu(1).blocked_by(Blocker::extension));
    from_hook(*binding().vcpus[1], [](const abi::VcpuContext& context) {
        EXPECT_EQ(host().vcpu_unpause(context.vcpu), abi::status_ok);
        EXPECT_EQ(host().vcpu_unpause(context.vcpu), abi::status_conflict);
    });
    EXPECT_FALSE(domain->vcpu(1).blocked_by(Blocker::extension));
}

TEST_F(Swaps, an_older_layout_is_converted_by_import_state)
{
    write(0, 99);
    ASSERT_TRUE(swap("swap-converts")) << why.view();
    EXPECT_EQ(read(0), 99u);
    EXPECT_FALSE(report.reverts);  // the old version cannot read the new layout
    why.clear();
    EXPECT_EQ(module_before(*domain, "swappable", why), nullptr);
    EXPECT_NE(why.view().find("was seen not to go back"), std::string_view::npos) << why.view();
}

TEST_F(Swaps, an_older_layout_is_the_beginning_of_one_that_grew)
{
    write(0, 99);
    write(2, 5000);
    ASSERT_TRUE(swap("swap-grows")) << why.view();
    EXPECT_EQ(read(0), 99u);
    pass(6000);
    EXPECT_EQ(read(1), 1u);  // the VCPU's block too
    EXPECT_FALSE(report.reverts);  // the old version cannot read the new layout
    EXPECT_FALSE(swap("swap-1"));
}

TEST_F(Swaps, it_goes_back_to_the_module_before)
{
    why.clear();
    EXPECT_EQ(module_before(*domain, "swappable", why), nullptr);
    write(0, 1);
    ASSERT_TRUE(swap("swap-2")) << why.view();
    write(0, 2);
    Module* const before = module_before(*domain, "swappable", why);
    ASSERT_NE(before, nullptr);
    EXPECT_TRUE(before->superseded());
    ASSERT_TRUE(swap_extension(*domain, "swappable", *before, {}, report, why)) << why.view();
    registry->supersede(*before);
    EXPECT_EQ(read(4), 1u);
    EXPECT_EQ(read(0), 2u);
}

TEST_F(Swaps, one_that_fails_on_probation_gives_way_to_the_one_before)
{
    if (binding().isolated == nullptr)
        return;  // the fake machine makes isolated instances fail
    ASSERT_TRUE(swap("swap-2", {.probation_s = 10})) << why.view();
    write(0, 0x2345);
    fake::fail_next_hook(platform::HookEnd::fault, {.vector = 13});
    EXPECT_EQ(domain->extensions->write_msr(domain->vcpu(0), msr(0), 6), Answered::taken);
    ExtensionStack::carry_out_failures(*domain);
    EXPECT_EQ(domain->state(), DomainState::running);
    EXPECT_TRUE(domain->vcpu(0).runnable());
    EXPECT_EQ(read(4), 1u);
    EXPECT_EQ(read(0), 0x2345u);
    EXPECT_EQ(domain->extensions->generation(), 3u);
    EXPECT_EQ(domain->extensions->describe(0).restarts, 0u);
    EXPECT_EQ(binding().module.bindings(), 1u);
    EXPECT_EQ(module_before(*domain, "swappable", why), nullptr);
    ASSERT_TRUE(swap("swap-2")) << why.view();
    EXPECT_EQ(read(0), 0x2345u);
}

TEST_F(Swaps, one_that_fails_after_its_probation_does_not)
{
    if (binding().isolated == nullptr)
        return;
    ASSERT_TRUE(swap("swap-2", {.probation_s = 10})) << why.view();
    fake::advance_ticks(10 * platform::ticks_per_second());
    fake::fail_next_hook(platform::HookEnd::fault, {.vector = 13});
    static_cast<void>(domain->extensions->write_msr(domain->vcpu(0), msr(0), 6));
    ExtensionStack::carry_out_failures(*domain);
    EXPECT_NE(module_before(*domain, "swappable", why), nullptr);
    EXPECT_EQ(domain->extensions->generation(), 2u);
}

TEST_F(Swaps, a_dry_run_changes_nothing)
{
    ASSERT_TRUE(swap("swap-2", {.dry_run = true})) << why.view();
    EXPECT_EQ(read(4), 1u);
    EXPECT_EQ(report.stop_began, 0u);
    EXPECT_TRUE(report.reverts);
    EXPECT_EQ(registry->size(), 1u);
}

struct Refusal {
    const char* module;
    Error error;
    const char* why;
};
class RefusedSwaps : public Swaps, public ::testing::WithParamInterface<Refusal> {};

TEST_P(RefusedSwaps, before_anything_stops)
{
    write(0, 7);
    write(2, 1000);
    const std::uint64_t frames_held = domain->ledger.frames();
    const Status refused = swap(GetParam().module);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error(), GetParam().error) << why.view();
    EXPECT_NE(why.view().find(GetParam().why), std::string_view::npos) << why.view();
    EXPECT_EQ(report.stop_began, 0u);
    EXPECT_EQ(domain->state(), DomainState::running);
    EXPECT_EQ(domain->ledger.frames(), frames_held);
    EXPECT_EQ(registry->size(), 1u);
    EXPECT_EQ(read(4), 1u);
    EXPECT_EQ(read(0), 7u);
    pass(2000);
    EXPECT_EQ(read(1), 1u);
}

INSTANTIATE_TEST_SUITE_P(, RefusedSwaps,
                         ::testing::Values(Refusal{"swap-windows", Error::conflict, "wants other windows"},
                                           Refusal{"swap-leaves", Error::conflict, "CPUID leaf 0x40000001"},
                                           Refusal{"swap-unreadable", Error::abi_mismatch, "has no import_state hook"},
                                           Refusal{"swap-refuses", Error::conflict, "not to its taste"},
                                           Refusal{"swap-verdict", Error::malformed, "bad verdict"},
                                           Refusal{"swap-page", Error::conflict, "hypercall page 0"}));

TEST_F(Swaps, services_that_act_are_busy_until_the_instance_is_in_its_place)
{
    ASSERT_TRUE(swap("swap-early")) << why.view();  // it would have refused itself
    write(3, 0x5000);
}

TEST_F(Swaps, a_failure_at_any_step_leaves_the_old_instance)
{
    using enum SwapStep;
    write(0, 11);
    write(3, 0x5000);
    EXPECT_EQ(call(7, 2500), Answered::taken);
    unsigned fired{};
    for (unsigned round = 0; round < 100; ++round)
        for (const SwapStep at : {create, offer, trial_export, trial_import, stop, final_export, final_import, publish}) {
            write(2, 1000);
            const std::uint64_t frames_held = domain->ledger.frames();
            ASSERT_FALSE(swap("swap-2", {.fail_at = at}));
            ASSERT_EQ(domain->ledger.frames(), frames_held);
            ASSERT_EQ(domain->extensions->implementation().generation, 1u);
            ASSERT_TRUE(domain->vcpu(0).runnable());
            ASSERT_EQ(read(4), 1u);
            ASSERT_EQ(read(0), 11u);
            pass(1500);
            ASSERT_EQ(read(1), ++fired);
        }
    EXPECT_TRUE(domain->vcpu(0).entry_held);
}

TEST_F(Swaps, too_little_memory_at_any_point_is_a_refusal)
{
    write(0, 5);
    const std::uint64_t before = domain->ledger.frames();
    unsigned refused{};
    for (std::uint64_t limit = before;; ++limit) {
        domain->ledger.set_limit(limit);
        const Status done = swap("swap-2");
        domain->ledger.set_limit(Ledger::unlimited);
        if (done)
            break;
        ++refused;
        ASSERT_EQ(read(4), 1u);
        ASSERT_EQ(domain->ledger.frames(), before);
    }
    EXPECT_GT(refused, 5u);
    EXPECT_EQ(read(4), 2u);
    EXPECT_EQ(read(0), 5u);
}

TEST_F(Swaps, many_swaps_leave_nothing_behind)
{
    ASSERT_TRUE(swap("swap-2")) << why.view();
    write(2, 1000);  // makes the timer
    pass(2000);
    const std::uint64_t frames_held = domain->ledger.frames();
    const std::uint64_t of_heap = heap->allocations();
    for (unsigned round = 0; round < 50; ++round) {
        write(0, round);
        write(2, 1000);
        ASSERT_TRUE(swap(round % 2 == 0 ? "swap-1" : "swap-2")) << why.view();
        ASSERT_EQ(read(0), round);
        pass(2000);
        ASSERT_EQ(read(1), round + 2);
        ASSERT_EQ(domain->ledger.frames(), frames_held);
        ASSERT_EQ(registry->size(), 2u);
    }
    EXPECT_EQ(heap->allocations(), of_heap);
}

TEST_F(Swaps, vcpus_say_when_they_went_on)
{
    ASSERT_TRUE(swap("swap-2")) << why.view();
    EXPECT_EQ(resumed_at(*domain, 0), 0u);
    carry_out_requests(domain->vcpu(0));
    EXPECT_GE(resumed_at(*domain, 0), report.published);
    EXPECT_EQ(resumed_at(*domain, 1), ~0ull);  // waits for its startup message
}

TEST_F(Swaps, the_state_comes_out_as_records)
{
    write(0, 0xabcd);
    EXPECT_EQ(call(7, 2), Answered::taken);
    std::vector<std::byte> room(4096);
    const auto bytes = export_extension(*domain, "swappable", room, why);
    ASSERT_TRUE(bytes) << why.view();
    StateReader reader{std::span{room}.first(bytes.value())};
    std::vector<std::uint32_t> types;
    while (!reader.at_end())
        types.push_back(reader.next().value().header.type);
    EXPECT_EQ(types, (std::vector<std::uint32_t>{1, 2, 2, 3}));
    EXPECT_EQ(export_extension(*domain, "swappable", std::span{room}.first(40), why).error(), Error::limit_reached);
}

TEST(StateRecords, what_runs_past_the_end_is_malformed)
{
    std::vector<std::byte> room(64);
    StateWriter writer{room};
    const std::array<std::byte, 5> data{};
    ASSERT_TRUE(writer.record({0x1000, 1, 0, 0, 0}, data));
    ASSERT_EQ(writer.written().size(), 24u);
    for (std::size_t cut = 1; cut < 24; ++cut)
        EXPECT_FALSE(StateReader{writer.written().first(cut)}.next()) << cut;
    room[8] = std::byte{0xff};
    EXPECT_FALSE(StateReader{writer.written()}.next());
}

}  // namespace
}  // namespace hv::test
