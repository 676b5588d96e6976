// SPDX-License-Identifier: MIT
//
// What is kept of an instance that failed: its events in order, the functions it was in, and only the newest failures.
#include "backtrace.hpp"
#include "extension_fixture.hpp"
#include "hv/core/ext/failure_report.hpp"

namespace hv::test {
namespace {

abi::Verdict misbehave(const abi::VcpuContext*, std::uint32_t, std::uint32_t, std::uint64_t)
{
    return {static_cast<abi::VerdictKind>(77), 0, 0};
}
abi::Verdict behave(const abi::VcpuContext*, std::uint32_t, std::uint32_t, std::uint64_t)
{
    return abi::done;
}

class FailureReportTest : public ExtensionTest {
protected:
    FailureReportTest() { options.on_fault = OnFault::detach; }

    static void write(VcpuBinding& vcpu, abi::Verdict (*hook)(const abi::VcpuContext*, std::uint32_t, std::uint32_t, std::uint64_t),
                      std::uint64_t value)
    {
        static_cast<void>(call_hook(vcpu, Hook::msr_write, hook, 2u, 16u, value));
    }
    const FailureReport& newest(std::string_view name = {}, std::uint32_t skip = 0)
    {
        static const FailureReport none{};
        const FailureReport* report{&none};  // nobody fails while the test looks at it
        found = domain->extensions->reports().visit(name, skip, [&](const FailureReport& one) { report = &one; });
        return *report;
    }
    /// As a restart or a swap does: the same instance may fail once more.
    static void revive(Binding& binding)
    {
        binding.route.store(binding.isolated != nullptr ? Route::gate : Route::direct);
        if (binding.isolated != nullptr)
            binding.isolated->space.closed.store(false);
    }

    bool found{};
};

TEST_F(FailureReportTest, says_who_where_why_and_what_went_before)
{
    Binding& binding = bound();
    write(binding.of(domain->vcpu(1)), behave, 3);
    from_hook(binding.of(domain->vcpu(0)), [&](const abi::VcpuContext& own) {
        EXPECT_EQ(host().set_condition(own.domain, 1, 1), abi::status_ok);
        EXPECT_EQ(host().vcpu_kick(own.vcpu + 77), abi::status_invalid_argument);
    });
    write(binding.of(domain->vcpu(0)), misbehave, 4);
    const FailureReport& report = newest();
    ASSERT_TRUE(found);
    EXPECT_EQ(report.number, 1u);
    EXPECT_EQ(report.module.view(), "puppet-one");
    EXPECT_EQ(report.version[1], 2);
    EXPECT_EQ(report.hash, binding.module.facts().hash);
    EXPECT_EQ(report.vcpu, 0u);
    EXPECT_STREQ(report.hook, "msr_write");
    EXPECT_EQ(report.action, OnFault::detach);
    EXPECT_EQ(report.placement, options.placement);
    EXPECT_FALSE(report.in_bind);
    EXPECT_FALSE(report.has_registers);
    EXPECT_TRUE(report.reason.view().starts_with("bad verdict from module puppet-one")) << report.reason.view();
    ASSERT_GE(report.event_count, 6u);
    const ReportEvent* const last = report.events + report.event_count - 5;
    EXPECT_EQ(last[0].vcpu, 1u);
    EXPECT_EQ(last[0].event.what, static_cast<std::uint64_t>(Hook::msr_write));
    EXPECT_EQ(last[0].event.words[0], 2u);
    EXPECT_EQ(last[0].event.words[1], 16u);
    EXPECT_EQ(last[0].event.words[2], 3u);
    EXPECT_EQ(last[0].event.verdict, std::bit_cast<std::uint64_t>(abi::done));
    EXPECT_EQ(last[1].event.what, static_cast<std::uint64_t>(Hook::before_entry));
    EXPECT_STREQ(reinterpret_cast<const char*>(last[2].event.what), "set_condition");
    EXPECT_EQ(last[2].event.words[0], 0u);
    EXPECT_STREQ(reinterpret_cast<const char*>(last[3].event.what), "vcpu_kick");
    EXPECT_EQ(static_cast<abi::Answer>(last[3].event.words[0]), abi::status_invalid_argument);
    EXPECT_EQ(last[4].event.words[2], 4u);
    EXPECT_EQ(last[4].event.verdict & 0xffff, 77u);
    const auto first = static_cast<Hook>(report.events[0].event.what);
    EXPECT_EQ(first, Hook::domain_create);
    EXPECT_EQ(report.events[0].vcpu, FailureReport::of_domain);
}

TEST_F(FailureReportTest, keeps_the_last_64_events_of_all_vcpus)
{
    Binding& binding = bound();
    for (std::uint64_t value = 0; value < 200; ++value)
        write(binding.of(domain->vcpu(value % 2)), behave, value);
    write(binding.of(domain->vcpu(0)), misbehave, 200);
    const FailureReport& report = newest();
    ASSERT_EQ(report.event_count, 64u);
    for (std::uint64_t index = 0; index < 64; ++index) {
        EXPECT_EQ(report.events[index].event.words[2], 137 + index);
        EXPECT_EQ(report.events[index].vcpu, (137 + index) % 2);
    }
}

TEST_F(FailureReportTest, keeps_the_newest_and_counts_all)
{
    Binding& one = bound("puppet-one");
    Binding& two = bound("puppet-two");
    for (std::uint64_t round = 0; round < FailureReports::kept + 2; ++round) {
        Binding& binding = round % 2 == 0 ? one : two;
        write(binding.of(domain->vcpu(0)), misbehave, round);
        revive(binding);
    }
    EXPECT_EQ(domain->extensions->reports().count(), FailureReports::kept + 2);
    for (std::uint32_t skip = 0; skip < FailureReports::kept; ++skip)
        EXPECT_EQ(newest({}, skip).number, FailureReports::kept + 2 - skip);
    EXPECT_EQ(newest("puppet-one").number, FailureReports::kept + 1);
    EXPECT_EQ(newest("puppet-one", 1).number, FailureReports::kept - 1);
    newest("puppet-one", 2);
    EXPECT_FALSE(found);
    newest("puppet-three");
    EXPECT_FALSE(found);
    newest({}, FailureReports::kept);
    EXPECT_FALSE(found);
}

// ---- the stack
// ---------------------------------------------------------------------------------------------------------------

class Backtrace : public FailureReportTest {
protected:
    Backtrace() { options.placement = Placement::isolated; }

    /// An address in the text that follows a call, the number-th from the beginning.
    static std::uint64_t behind_call(const Binding& binding, unsigned number)
    {
        const std::byte* const text = binding.image.placement.bytes.data();
        for (std::uint64_t at = 16; at < binding.image.layout.text.bytes; ++at)
            if (text[at - 5] == std::byte{0xe8} && number-- == 0)
                return binding.image.placement.address + at;
        return 0;
    }
    std::uint32_t walk(const Binding& binding)
    {
        return walk_stack(binding, binding.vcpus[0]->seat, fault, frames);
    }
    static std::uint64_t* own(Binding& binding, std::uint64_t address)
    {
        return reinterpret_cast<std::uint64_t*>(binding.isolated->reach(address, 8, true));
    }

    platform::HookFault fault{};
    ReportFrame frames[4]{};
};

TEST_F(Backtrace, follows_the_frame_pointers_to_where_the_hook_was_entered)
{
    Binding& binding = bound();
    const std::uint64_t top = binding.vcpus[0]->seat.stack;
    *own(binding, top) = platform::isolated_return();
    *own(binding, top - 8) = 0;
    *own(binding, top - 56) = behind_call(binding, 1);
    *own(binding, top - 64) = top - 8;
    *own(binding, top - 72) = behind_call(binding, 2);  // left over, in no frame
    fault.rip = binding.image.placement.address + 8;
    fault.general[4] = top - 80;
    fault.general[5] = top - 64;
    ASSERT_EQ(walk(binding), 2u);
    EXPECT_EQ(frames[0].address, fault.rip);
    EXPECT_EQ(frames[1].address, behind_call(binding, 1));
    EXPECT_FALSE(frames[1].guessed);
    EXPECT_STRNE(frames[1].symbol, "");
    EXPECT_GT(frames[1].offset, 0u);
}

TEST_F(Backtrace, searches_the_stack_where_the_chain_is_broken)
{
    Binding& binding = bound();
    const std::uint64_t top = binding.vcpus[0]->seat.stack;
    *own(binding, top - 40) = behind_call(binding, 3);
    *own(binding, top - 48) = binding.image.placement.address + 1;  // follows no call
    *own(binding, top - 80) = behind_call(binding, 2);
    fault.rip = 0x1234;
    fault.general[4] = top - 80;
    const std::uint64_t wrong[]{0, 7, ~0ull, ~0ull - 7, top, top + 8, top - 88, 0xffff'8000'0000'0000};
    for (const std::uint64_t frame : wrong) {
        fault.general[5] = frame;
        ASSERT_EQ(walk(binding), 3u) << frame;
        EXPECT_EQ(frames[0].address, 0x1234u);
        EXPECT_EQ(frames[1].address, behind_call(binding, 2));
        EXPECT_TRUE(frames[1].guessed);
        EXPECT_TRUE(frames[2].guessed);
        EXPECT_EQ(frames[2].address, behind_call(binding, 3));
    }
}

TEST_F(Backtrace, ends_whatever_the_module_left_in_registers_and_stack)
{
    Binding& binding = bound();
    const std::uint64_t top = binding.vcpus[0]->seat.stack;
    for (std::uint64_t at = top - 4096; at < top; at += 8)
        *own(binding, at) = top - 4096;  // a chain that leads back
    const std::uint64_t anywhere[]{0, ~0ull, top - 4096, top, top + 4096, binding.image.placement.address};
    for (const std::uint64_t stack : anywhere)
        for (const std::uint64_t frame : anywhere) {
            fault.general[4] = stack;
            fault.general[5] = frame;
            EXPECT_EQ(walk(binding), 1u);
        }
}

TEST_F(Backtrace, is_in_the_report_with_the_registers)
{
    Binding& binding = bound();
    fault = {.rip = binding.image.placement.address + 3, .address = 0x77, .vector = 14};
    fault.general[3] = 0x1122;
    fake::fail_next_hook(platform::HookEnd::fault, fault);
    write(binding.of(domain->vcpu(1)), behave, 1);
    const FailureReport& report = newest("puppet-one");
    ASSERT_TRUE(found);
    EXPECT_TRUE(report.has_registers);
    EXPECT_EQ(report.fault.general[3], 0x1122u);
    EXPECT_EQ(report.fault.address, 0x77u);
    EXPECT_EQ(report.vcpu, 1u);
    EXPECT_EQ(report.image, binding.image.placement.address);
    ASSERT_GE(report.frame_count, 1u);
    EXPECT_EQ(report.frames[0].address, fault.rip);
    EXPECT_EQ(report.events[report.event_count - 1].event.verdict, HookEvent::thrown_out);
}

// ---- of a trusted instance, whose stack is the processor's own
// ---------------------------------------------------------------------------------------------------------------

class TrustedBacktrace : public Backtrace {
protected:
    TrustedBacktrace() { options.placement = Placement::trusted; }
    ~TrustedBacktrace() override { fake::show_hook_stack({}); }

    static constexpr std::uint64_t stack{0xffff'ffff'c000'8000};  // of the hypervisor: nobody reads there
    static constexpr std::size_t depth{16};

    /// Two functions of the module, called by the hypervisor.
    void stand_in_two_functions(const Binding& binding)
    {
        words[1] = behind_call(binding, 2);  // left over, in no frame
        words[3] = stack + 14 * 8;
        words[4] = behind_call(binding, 1);
        words[14] = stack + 0x700;
        words[15] = 0xffff'ffff'8020'1234;
        fault.rip = binding.image.placement.address + 8;
        fault.general[4] = stack;
        fault.general[5] = stack + 3 * 8;
        fake::show_hook_stack({stack, stack + sizeof words, std::as_bytes(std::span{words})});
    }

    std::uint64_t words[depth]{};
};

TEST_F(TrustedBacktrace, follows_the_frame_pointers_in_the_copy_of_its_stack)
{
    Binding& binding = bound();
    stand_in_two_functions(binding);
    ASSERT_EQ(walk(binding), 2u);
    EXPECT_EQ(frames[0].address, fault.rip);
    EXPECT_EQ(frames[1].address, behind_call(binding, 1));
    EXPECT_FALSE(frames[1].guessed);
    EXPECT_STRNE(frames[1].symbol, "");
}

TEST_F(TrustedBacktrace, searches_the_copy_where_the_chain_is_broken_and_nothing_beyond)
{
    Binding& binding = bound();
    stand_in_two_functions(binding);
    const std::uint64_t wrong[]{0, 7, ~0ull, stack - 8, stack + sizeof words, 0xffff'8000'0000'0000};
    for (const std::uint64_t frame : wrong) {
        fault.general[5] = frame;
        ASSERT_EQ(walk(binding), 3u) << frame;
        EXPECT_TRUE(frames[1].guessed);
        EXPECT_EQ(frames[1].address, behind_call(binding, 2));
        EXPECT_EQ(frames[2].address, behind_call(binding, 1));
    }
    fault.general[4] = 0x1000;  // and where it had no stack, there is none
    fake::show_hook_stack({0x1000, stack + sizeof words, {}});
    EXPECT_EQ(walk(binding), 1u);
}

TEST_F(TrustedBacktrace, comes_with_the_memory_for_a_debugger)
{
    Binding& binding = bound();
    stand_in_two_functions(binding);
    fake::fail_next_hook(platform::HookEnd::fault, fault);
    write(binding.of(domain->vcpu(1)), behave, 1);
    EXPECT_EQ(newest().frame_count, 2u);
    std::uint64_t text{}, stacks{}, blocks{};
    EXPECT_TRUE(domain->extensions->reports().visit_core([&](const FailureCore& core) {
        EXPECT_EQ(core.number(), 1u);
        for (const FailureCore::Segment& segment : core.segments()) {
            text += segment.executable && segment.address == binding.image.placement.address ? 1 : 0;
            stacks += segment.address == stack && segment.bytes == sizeof words && std::memcmp(segment.copy, words, sizeof words) == 0 ? 1 : 0;
            blocks += segment.address == reinterpret_cast<std::uintptr_t>(binding.of(domain->vcpu(1)).state.working) ? 1 : 0;
        }
    }));
    EXPECT_EQ(text, 1u);
    EXPECT_EQ(stacks, 1u);
    EXPECT_EQ(blocks, 1u);
}

TEST_F(TrustedBacktrace, keeps_no_stack_of_a_hook_that_returned)
{
    Binding& binding = bound();
    stand_in_two_functions(binding);
    write(binding.of(domain->vcpu(0)), misbehave, 1);
    EXPECT_TRUE(domain->extensions->reports().visit_core([&](const FailureCore& core) {
        for (const FailureCore::Segment& segment : core.segments())
            EXPECT_NE(segment.address, stack);
    }));
}

}  // namespace
}  // namespace hv::test
