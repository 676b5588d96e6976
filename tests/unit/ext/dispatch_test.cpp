// SPDX-License-Identifier: MIT
//
// What a guest's accesses lead to: declared answers at random places, hooks, verdicts and the state that they
// keep.
#include <map>
#include <random>

#include "extension_fixture.hpp"

namespace hv::test {
namespace {

class Dispatch : public ExtensionTest {
protected:
    Dispatch() : binding{bound()}, stack{*domain->extensions} {}

    [[nodiscard]] std::uint32_t msr(unsigned request, std::uint64_t offset) const
    {
        return static_cast<std::uint32_t>(binding.grants[request].base + offset);
    }
    Answered read(std::uint32_t number, std::uint64_t& value, unsigned vcpu = 0)
    {
        return stack.read_msr(domain->vcpu(vcpu), number, value);
    }
    Answered write(std::uint32_t number, std::uint64_t value, unsigned vcpu = 0)
    {
        return stack.write_msr(domain->vcpu(vcpu), number, value);
    }
    VcpuBinding& own(unsigned vcpu = 0) { return *binding.vcpus[vcpu]; }

    Binding& binding;
    ExtensionStack& stack;
};

TEST_F(Dispatch, declared_leaves_follow_the_block_and_the_vcpu)
{
    Binding& second = bound("puppet-two");
    x86::CpuidResult result{};
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'0000, 5, result), Answered::done);
    EXPECT_EQ(result.eax, 0x4000'0003u);
    EXPECT_EQ(stack.cpuid(domain->vcpu(1), 0x4000'0100, 0, result), Answered::done);
    EXPECT_EQ(result.eax, 0x4000'0103u);
    EXPECT_EQ(second.grants[0].base, 0x4000'0100u);
    EXPECT_EQ(stack.cpuid(domain->vcpu(1), 0x4000'0001, 0, result), Answered::done);
    EXPECT_EQ(result.eax, 7u);
    EXPECT_EQ(result.ebx, 1u << 8);
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'0001, 1, result),
              Answered::done);  // another subleaf: not declared
    EXPECT_EQ(result, x86::CpuidResult{});
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'00ff, 0, result),
              Answered::done);  // behind the window, in the block
    EXPECT_EQ(result, x86::CpuidResult{});
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'0200, 0, result), Answered::no);
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'ff00, 0, result), Answered::no);
}

TEST_F(Dispatch, answers_declared_at_random_places_are_those_of_a_simple_model)
{
    std::mt19937_64 random{17};
    const unsigned windows[]{1, 5};  // one is indexed directly, one is not
    const std::uint32_t ids[]{2, 6};
    std::map<std::pair<unsigned, std::uint32_t>, std::uint64_t> model;
    model[{0, 0}] = 0x1234'5678'9abc;
    for (unsigned step = 0; step < 600; ++step) {
        const unsigned which = random() % 2;
        const auto offset = static_cast<std::uint32_t>(random() % binding.grants[windows[which]].length);
        const bool withdraws = random() % 4 == 0;
        const std::uint64_t value = random();
        const abi::DeclaredMsrRead answer{.window = ids[which],
                                          .offset = offset,
                                          .kind = withdraws ? abi::MsrReadKind::withdrawn
                                                            : abi::MsrReadKind::constant,
                                          .value = value};
        from_hook(own(), [&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().declare_msr_reads(context.domain, &answer, 1), abi::status_ok);
        });
        if (withdraws)
            model.erase({which, offset});
        else
            model[{which, offset}] = value;
        for (unsigned look = 0; look < 8; ++look) {
            const unsigned at = random() % 2;
            const auto place =
                look == 0 && at == which
                    ? offset
                    : static_cast<std::uint32_t>(random() % binding.grants[windows[at]].length);
            std::uint64_t got{};
            const auto known = model.find({at, place});
            ASSERT_EQ(read(msr(windows[at], place), got),
                      known == model.end() ? Answered::fault : Answered::done);
            if (known != model.end()) {
                ASSERT_EQ(got, known->second);
            }
        }
    }
}

TEST_F(Dispatch, a_condition_chooses_among_the_answers_of_one_place)
{
    const abi::DeclaredMsrRead answers[]{
        {.window = 2, .offset = 9, .kind = abi::MsrReadKind::constant, .condition = 64, .value = 64},
        {.window = 2, .offset = 9, .kind = abi::MsrReadKind::constant, .condition = 1, .value = 1},
    };
    std::uint64_t value{};
    from_hook(own(), [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().declare_msr_reads(context.domain, answers, 2), abi::status_ok);
    });
    EXPECT_EQ(read(msr(1, 9), value), Answered::fault);
    const auto set = [&](std::uint32_t condition, std::uint32_t on) {
        from_hook(own(), [&](const abi::VcpuContext& context) {
            EXPECT_EQ(host().set_condition(context.domain, condition, on), abi::status_ok);
        });
    };
    set(1, 1);
    EXPECT_EQ(read(msr(1, 9), value), Answered::done);
    EXPECT_EQ(value, 1u);
    set(64, 1);
    EXPECT_EQ(read(msr(1, 9), value), Answered::done);
    EXPECT_EQ(value, 64u);
    set(64, 0);
    set(1, 0);
    EXPECT_EQ(read(msr(1, 9), value), Answered::fault);
}

TEST_F(Dispatch, all_or_none_of_an_array_is_declared)
{
    const abi::DeclaredMsrRead answers[]{
        {.window = 2, .offset = 9, .kind = abi::MsrReadKind::constant, .value = 5},
        {.window = 2,
         .offset = 0x100,
         .kind = abi::MsrReadKind::constant,
         .value = 5},  // one behind the window
    };
    const abi::DeclaredMsrRead senseless[]{
        {.window = 2, .offset = 9, .kind = abi::MsrReadKind::constant, .value = 5},
        {.window = 2,
         .offset = 10,
         .kind = abi::MsrReadKind::vcpu_state,
         .argument = 64},  // one word behind the block
    };
    from_hook(own(), [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().declare_msr_reads(context.domain, answers, 2), abi::status_conflict);
        EXPECT_EQ(host().declare_msr_reads(context.domain, senseless, 2), abi::status_invalid_argument);
        EXPECT_EQ(host().declare_msr_reads(context.domain, nullptr, 2), abi::status_invalid_argument);
    });
    std::uint64_t value{};
    EXPECT_EQ(read(msr(1, 9), value), Answered::fault);
}

TEST_F(Dispatch, time_scales_in_128_bits)
{
    fake::set_ticks_per_second(1'000'000'000);
    start();
    fake::set_ticks(0);
    domain->time.stop(0);
    domain->time.start(0);
    const abi::DeclaredMsrRead answer{.window = 2,
                                      .offset = 3,
                                      .kind = abi::MsrReadKind::scaled_time,
                                      .value = ~0ull,
                                      .addend = 11,
                                      .argument = 63};
    from_hook(own(), [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().declare_msr_reads(context.domain, &answer, 1), abi::status_ok);
    });
    fake::advance_ticks(1'000'003);
    std::uint64_t value{};
    std::uint64_t now{};
    from_hook(own(), [&](const abi::VcpuContext& context) { host().time_now(context.domain, &now); });
    EXPECT_EQ(read(msr(1, 3), value), Answered::done);
    EXPECT_EQ(value, static_cast<std::uint64_t>((static_cast<unsigned __int128>(now) * ~0ull) >> 63) + 11);
}

TEST_F(Dispatch, declared_writes_refuse_reserved_bits_and_end_interrupts)
{
    EXPECT_EQ(write(msr(1, 1), 0xff), Answered::done);
    EXPECT_EQ(write(msr(1, 1), 0x100), Answered::fault);
    EXPECT_EQ(write(msr(1, 2), 0), Answered::fault);  // neither declared nor a hook
    EXPECT_EQ(write(msr(1, 0x100) - 0x101, 0), Answered::no);
    const abi::DeclaredMsrWrite writes[]{
        {.window = 2, .offset = 4, .kind = abi::MsrWriteKind::apic_eoi, .writable = ~0ull},
        {.window = 2, .offset = 5, .kind = abi::MsrWriteKind::apic_tpr, .writable = ~0ull},
        {.window = 2, .offset = 6, .kind = abi::MsrWriteKind::apic_icr, .writable = ~0ull},
    };
    from_hook(own(), [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().declare_msr_writes(context.domain, writes, 3), abi::status_ok);
    });
    LocalApic& apic = domain->vcpu(0).apic;
    apic.reset_as_by_firmware();
    ASSERT_TRUE(apic.accept(0x41, TriggerMode::edge));
    ASSERT_EQ(apic.acknowledge(), 0x41);
    EXPECT_EQ(write(msr(1, 4), 0), Answered::done);
    EXPECT_FALSE(apic.highest_in_service());
    EXPECT_EQ(write(msr(1, 5), 0x50), Answered::done);
    EXPECT_EQ(apic.task_priority(), 0x50);
    EXPECT_EQ(write(msr(1, 5), 0x100), Answered::fault);
    EXPECT_EQ(write(msr(1, 6), 0x4'0061), Answered::done);  // to itself
    EXPECT_TRUE(apic.irr(0x61));
}

TEST_F(Dispatch, hooks_get_what_is_not_declared_and_their_state_is_kept)
{
    binding.hooks.msr_write = [](const abi::VcpuContext* context, std::uint32_t window, std::uint32_t offset,
                                 std::uint64_t value) -> abi::Verdict {
        static_cast<std::uint64_t*>(context->vcpu_state)[0] = value;
        EXPECT_EQ(window, 2u);
        if (offset == 0x21)
            return abi::done_unchanged;
        return offset == 0x22 ? abi::inject_general_protection : abi::done;
    };
    EXPECT_EQ(write(msr(1, 0x20), 5, 1), Answered::done);
    EXPECT_EQ(own(1).state.kept[0], 5u);
    EXPECT_EQ(own(0).state.kept[0], 0u);
    EXPECT_EQ(write(msr(1, 0x21), 6, 1), Answered::done);
    EXPECT_EQ(own(1).state.kept[0], 5u);  // it said that nothing changed
    EXPECT_EQ(write(msr(1, 0x22), 7, 1), Answered::taken);
    const auto& queued = fake::fake_vcpu(domain->vcpu(1)).queued;
    ASSERT_TRUE(queued);
    EXPECT_EQ(queued->vector, 13);
    EXPECT_TRUE(queued->has_error_code);
}

TEST_F(Dispatch, a_state_block_reads_as_kept)
{
    const abi::DeclaredMsrRead answers[]{
        {.window = 2, .offset = 3, .kind = abi::MsrReadKind::vcpu_state, .argument = 8},
        {.window = 2, .offset = 4, .kind = abi::MsrReadKind::domain_state, .argument = 16}};
    from_hook(own(1), [&](const abi::VcpuContext& context) {
        EXPECT_EQ(host().declare_msr_reads(context.domain, answers, 2), abi::status_ok);
        static_cast<std::uint64_t*>(context.vcpu_state)[1] = 0x77;
        EXPECT_EQ(host().domain_update_begin(context.domain), abi::status_ok);
        EXPECT_EQ(host().domain_update_begin(context.domain), abi::status_ok);
        static_cast<std::uint64_t*>(context.domain_state)[2] = 0x88;
        std::uint64_t before{};
        EXPECT_EQ(read(msr(1, 4), before), Answered::done);
        EXPECT_EQ(before, 0u);  // not before the hook's return
    });
    std::uint64_t value{};
    EXPECT_EQ(read(msr(1, 3), value, 1), Answered::done);
    EXPECT_EQ(value, 0x77u);
    EXPECT_EQ(read(msr(1, 3), value, 0), Answered::done);
    EXPECT_EQ(value, 0u);
    EXPECT_EQ(read(msr(1, 4), value, 0), Answered::done);
    EXPECT_EQ(value, 0x88u);
}

TEST_F(Dispatch, a_bad_verdict_ends_the_domain_and_takes_the_state_back)
{
    const abi::Verdict bad[]{
        {},
        {abi::VerdictKind::again, 0, 0},
        {abi::VerdictKind::refuse, 0, 1},
        {abi::VerdictKind::done, 4, 0},
        {abi::VerdictKind::done, abi::verdict_keep_rip, 0},
        {abi::VerdictKind::inject, 0, abi::exception_detail(14, 0)},
        {abi::VerdictKind::inject, 0, abi::exception_detail(13)},
        {static_cast<abi::VerdictKind>(77), 0, 0},
    };
    static abi::Verdict answer;
    for (const abi::Verdict& one : bad) {
        end_domain();
        make_domain();
        Binding& now = bound();
        answer = one;
        now.hooks.msr_write = [](const abi::VcpuContext* context, std::uint32_t, std::uint32_t,
                                 std::uint64_t value) -> abi::Verdict {
            static_cast<std::uint64_t*>(context->vcpu_state)[0] = value;
            host().domain_update_begin(context->domain);
            static_cast<std::uint64_t*>(context->domain_state)[3] = value;
            return answer;
        };
        const auto number = static_cast<std::uint32_t>(now.grants[1].base + 0x20);
        EXPECT_EQ(domain->extensions->write_msr(domain->vcpu(0), number, 5), Answered::taken);
        EXPECT_EQ(domain->state(), DomainState::ended);
        EXPECT_EQ(domain->end_reason(), EndReason::crash);
        EXPECT_TRUE(domain->end_text().starts_with("bad verdict from module puppet-one in hook msr_write"));
        EXPECT_EQ(now.vcpus[0]->state.working[0], 0u);
        EXPECT_EQ(now.state.working[3], 0u);
        EXPECT_TRUE(now.state_lock.try_lock());
    }
}

TEST_F(Dispatch, a_pause_verdict_stops_the_vcpus_at_once_and_the_domain_is_paused_with_the_modules_words)
{
    static unsigned requests;
    requests = 0;
    Domain::on_request = [](Domain&) { ++requests; };
    binding.hooks.msr_write = [](const abi::VcpuContext* context, std::uint32_t, std::uint32_t,
                                 std::uint64_t value) -> abi::Verdict {
        if (value != 0)
            host_services().explain(context->domain, "look at this", 12);
        return {abi::VerdictKind::pause, 0, 7};
    };
    start();
    EXPECT_FALSE(domain->carry_out_pause_request());
    EXPECT_EQ(write(msr(1, 0x20), 1), Answered::done);
    EXPECT_EQ(write(msr(1, 0x20), 0, 1), Answered::done);  // a second one changes nothing
    EXPECT_EQ(requests, 1u);
    EXPECT_FALSE(domain->vcpu(0).runnable());
    EXPECT_TRUE(domain->vcpu(1).blocked_by(Blocker::paused));
    EXPECT_TRUE(domain->carry_out_pause_request());
    EXPECT_EQ(domain->state(), DomainState::paused);
    EXPECT_EQ(domain->pause_text(), "extension puppet-one: look at this");
    EXPECT_FALSE(domain->time.running());
    EXPECT_FALSE(domain->carry_out_pause_request());
    ASSERT_TRUE(domain->unpause());
    EXPECT_TRUE(domain->vcpu(0).runnable());
    EXPECT_EQ(domain->pause_text(), "");
    EXPECT_EQ(write(msr(1, 0x20), 0), Answered::done);
    EXPECT_TRUE(domain->carry_out_pause_request());
    EXPECT_EQ(domain->pause_text(), "extension puppet-one: paused the domain (7)");
    Domain::on_request = nullptr;
}

TEST_F(Dispatch, a_pause_that_the_operator_or_the_end_overtakes_leaves_nothing_behind)
{
    start();
    domain->request_pause("x");
    ASSERT_TRUE(domain->pause());
    EXPECT_FALSE(domain->carry_out_pause_request());
    EXPECT_EQ(domain->pause_text(), "");
    domain->request_pause("it is paused already");
    EXPECT_FALSE(domain->carry_out_pause_request());
    ASSERT_TRUE(domain->unpause());
    EXPECT_TRUE(domain->vcpu(0).runnable());
    domain->request_pause("y");
    domain->end(EndReason::poweroff);
    EXPECT_FALSE(domain->carry_out_pause_request());
    EXPECT_EQ(domain->state(), DomainState::ended);
}

TEST_F(Dispatch, a_crash_verdict_ends_with_the_modules_words)
{
    binding.hooks.cpuid = [](const abi::VcpuContext* context, std::uint32_t, std::uint32_t leaf,
                             std::uint32_t, abi::CpuidResult* result) -> abi::Verdict {
        if (leaf == 9)
            return abi::not_mine;
        if (leaf == 8) {
            result->ecx = 0x88;
            return abi::done_unchanged;
        }
        host().explain(context->domain, "no such leaf", 12);
        return {abi::VerdictKind::crash, 0, 3};
    };
    x86::CpuidResult result{};
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'0009, 0, result), Answered::no);
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'0008, 0, result), Answered::done);
    EXPECT_EQ(result.ecx, 0x88u);
    EXPECT_EQ(stack.cpuid(domain->vcpu(0), 0x4000'000a, 0, result), Answered::taken);
    EXPECT_EQ(domain->end_text(), "extension puppet-one: no such leaf");
}

TEST_F(Dispatch, ports_and_mmio_without_hooks_are_open_bus)
{
    std::uint32_t value{};
    EXPECT_EQ(stack.port(domain->vcpu(0), 0x610, 2, true, value), Answered::done);
    EXPECT_EQ(value, 0xffffu);
    EXPECT_EQ(stack.port(domain->vcpu(0), 0x613, 2, true, value), Answered::no);  // half of it is outside
    std::uint64_t wide{};
    EXPECT_EQ(stack.mmio(domain->vcpu(0), GuestPhysical{0xfed0'0008}, 8, false, wide), Answered::done);
    EXPECT_EQ(wide, ~0ull);
    binding.hooks.mmio_read = [](const abi::VcpuContext*, std::uint32_t window, std::uint64_t offset,
                                 std::uint32_t size, std::uint64_t* result) -> abi::Verdict {
        *result = window << 16 | offset << 8 | size;
        return abi::done_unchanged;
    };
    EXPECT_EQ(stack.mmio(domain->vcpu(0), GuestPhysical{0xfed0'0008}, 4, false, wide), Answered::done);
    EXPECT_EQ(wide, 5u << 16 | 8u << 8 | 4u);
    EXPECT_EQ(stack.mmio(domain->vcpu(0), GuestPhysical{0xfed0'1000}, 4, false, wide), Answered::no);
}

// ---- hypercalls
// -------------------------------------------------------------------------------------------------

class Hypercalls : public Dispatch {
protected:
    Hypercalls()
    {
        context.cr0 = 1;
        context.efer = 0x500;
        context.code_attributes = 0x200;
    }
    Answered call(std::uint64_t operand)
    {
        domain->vcpu(0).registers.general[rcx] = operand;
        return stack.hypercall(domain->vcpu(0), context, 3);
    }
    ExecutionContext context{};
};

abi::Verdict adding(const abi::VcpuContext*, abi::HypercallFrame* frame)
{
    frame->general[rax] = frame->general[rdi] + frame->general[rsi];
    frame->general[rsp] = 0xbad;
    return abi::done_unchanged;
}

TEST_F(Hypercalls, the_first_rule_in_stacking_order_takes_a_call)
{
    Binding& second = bound("puppet-two");
    binding.hooks.hypercall = adding;
    second.hooks.hypercall = [](const abi::VcpuContext*, abi::HypercallFrame* frame) -> abi::Verdict {
        frame->general[rax] = 0x22;
        return abi::done_unchanged;
    };
    Registers& registers = domain->vcpu(0).registers;
    registers.general[rdi] = 40;
    registers.general[rsi] = 2;
    registers.general[rsp] = 0x1000;
    EXPECT_EQ(call(0x1001), Answered::done);
    EXPECT_EQ(registers.general[rax], 42u);
    EXPECT_EQ(registers.general[rsp], 0x1000u);
    EXPECT_EQ(call(0x2001), Answered::done);
    EXPECT_EQ(registers.general[rax], 0x22u);
    EXPECT_EQ(call(0x3001), Answered::no);
    context.privilege_level = 3;
    EXPECT_EQ(call(0x1001), Answered::no);
    context.privilege_level = 0;
    context.code_attributes = 0x400;  // compatibility mode is no 64-bit code
    EXPECT_EQ(call(0x1001), Answered::no);
}

TEST_F(Hypercalls, not_mine_goes_on_to_the_next_and_changes_nothing)
{
    binding.hooks.hypercall = [](const abi::VcpuContext*, abi::HypercallFrame* frame) -> abi::Verdict {
        frame->general[rax] = 0xdead;
        return abi::not_mine;
    };
    domain->vcpu(0).registers.general[rax] = 1;
    EXPECT_EQ(call(0x1001), Answered::no);
    EXPECT_EQ(domain->vcpu(0).registers.general[rax], 1u);
}

TEST_F(Hypercalls, keep_rip_takes_the_frames_rip)
{
    binding.hooks.hypercall = [](const abi::VcpuContext*, abi::HypercallFrame* frame) -> abi::Verdict {
        frame->rip = 0x5000;
        return {abi::VerdictKind::done, abi::verdict_keep_rip, 0};
    };
    EXPECT_EQ(call(0x1001), Answered::taken);
    EXPECT_EQ(domain->vcpu(0).registers.rip, 0x5000u);
}

TEST_F(Hypercalls, a_call_that_gives_way_goes_on_before_the_guest_does)
{
    static unsigned left;
    left = 3;
    binding.hooks.hypercall = [](const abi::VcpuContext*, abi::HypercallFrame* frame) -> abi::Verdict {
        frame->continuation[0] = 100;
        return abi::again;
    };
    binding.hooks.hypercall_continue = [](const abi::VcpuContext*,
                                          abi::HypercallFrame* frame) -> abi::Verdict {
        ++frame->continuation[0];
        if (--left != 0)
            return abi::again;
        frame->general[rax] = frame->continuation[0];
        return abi::done;
    };
    Vcpu& vcpu = domain->vcpu(0);
    fake::FakeVcpu& guest = fake::fake_vcpu(vcpu);
    guest.system.cr0 = 1;
    guest.system.efer = 0x500;
    guest.system.segments[segment_cs].attributes = 0x200;
    vcpu.registers.rip = 0x100;
    vcpu.registers.general[rcx] = 0x1001;
    std::uint64_t rip_at_next_step{};
    unsigned windows{};
    fake::on_interrupt_window([&](bool) { ++windows; });
    guest.script.push_back(fake::exits(fake::plain_exit(ExitKind::hypercall, 3)));
    guest.script.push_back([&](VcpuContext& context_now, fake::FakeVcpu&) {
        rip_at_next_step = context_now.registers.rip;
        domain->end(EndReason::poweroff);
        return fake::plain_exit(ExitKind::physical_nmi);
    });
    start();
    turn();
    EXPECT_EQ(left, 0u);
    EXPECT_EQ(rip_at_next_step, 0x103u);
    EXPECT_EQ(vcpu.registers.general[rax], 103u);
    EXPECT_EQ(windows, 2u);  // after each of the two that gave way again
    EXPECT_FALSE(vcpu.entry_held);
}

}  // namespace
}  // namespace hv::test
