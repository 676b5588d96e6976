// SPDX-License-Identifier: MIT
//
// A guest that is followed step by step: the module is shown each boundary that it comes to, once and in order, and the guest
// finds no trace of how that is done.  The guest here is a program on a small model of a processor.
#include <functional>
#include <map>
#include <vector>

#include "hv/core/vcpu/step_following.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"
#include "shown_exits.hpp"

namespace hv::test {
namespace {

using fake::FakeVcpu;
using fake::plain_exit;

constexpr std::uint64_t trap_flag{x86::Rflags::TF::mask}, interrupt_flag{x86::Rflags::IF::mask};
constexpr std::uint64_t start_rip{0x1000}, handler{0x3000}, watched{0x200'0000}, status_reset{0xffff'0ff0};
constexpr std::uint64_t single_step_status{1 << 14};
constexpr std::uint64_t stack_top{0x8000};

/// What an instruction does beside its length: nothing, or it returns an exit, RIP unmoved.
using Effect = std::function<std::optional<Exit>(VcpuContext&, FakeVcpu&)>;
struct Coded {
    std::vector<std::uint8_t> bytes;
    Effect effect;
};

class SingleStep : public ExtensionTest {
protected:
    explicit SingleStep(unsigned vcpus = 1)
    {
        answer = nullptr;
        shown.clear();
        binding = &bound("watcher-steps");
        binding->hooks.exit = note;
        next_code = start_rip;
        for (unsigned index = 0; index < vcpus; ++index)
            prepare(domain->vcpu(index));
        EXPECT_TRUE(domain->memory.populate(GuestPhysical{watched}));
        for (const std::uint64_t page : {start_rip, handler, stack_top})
            EXPECT_TRUE(domain->memory.populate(GuestPhysical{page}));
        start();
    }
    void prepare(Vcpu& one)
    {
        enter_protected_mode(one, start_rip);
        one.registers.general[rsp] = stack_top;
        one.started = true;
        machine().scheduler.unblock(one, Blocker::waiting_for_startup);
        fake::fake_vcpu(one).when_done = [this](VcpuContext& context, FakeVcpu& now) { return execute(context, now); };
    }
    ~SingleStep() override
    {
        EXPECT_FALSE(vcpu().step.armed || vcpu().step.wanted);
        EXPECT_EQ(guest().intercepts.exceptions, 0u);
        for (const std::uint64_t image : images)
            EXPECT_EQ(image & trap_flag, 0u) << "the guest was shown the flag";
        end_domain();
    }

    [[nodiscard]] Vcpu& vcpu() const { return domain->vcpu(0); }
    [[nodiscard]] FakeVcpu& guest() const { return fake::fake_vcpu(vcpu()); }
    [[nodiscard]] std::uint64_t& general(unsigned index) const { return vcpu().registers.general[index]; }

    /// The next instruction of the program; returns its address.
    std::uint64_t put(std::vector<std::uint8_t> bytes, Effect effect = {})
    {
        const std::uint64_t at{next_code};
        for (const std::uint8_t byte : bytes)
            EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{next_code++}, byte));
        program[at] = {std::move(bytes), std::move(effect)};
        return at;
    }
    void at(std::uint64_t address) { next_code = address; }
    std::uint64_t nop() { return put({0x90}); }

    static Effect jump(std::uint64_t to)
    {
        return [to](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
            context.registers.rip = to;
            return std::nullopt;
        };
    }
    void push(VcpuContext& context, std::uint64_t value)
    {
        context.registers.general[rsp] -= 4;
        EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{context.registers.general[rsp]}, static_cast<std::uint32_t>(value)));
    }
    std::uint64_t pop(VcpuContext& context)
    {
        std::uint32_t value{};
        EXPECT_TRUE(domain->memory.guest().read(GuestPhysical{context.registers.general[rsp]}, std::as_writable_bytes(std::span{&value, 1})));
        context.registers.general[rsp] += 4;
        return value;
    }
    void enter_handler(VcpuContext& context)
    {
        images.push_back(context.registers.rflags);
        returns.push_back(context.registers.rip);
        push(context, context.registers.rflags);
        push(context, context.registers.rip);
        context.registers.rflags &= ~(trap_flag | interrupt_flag);
        context.registers.rip = handler;
    }
    std::uint64_t interrupt_return()
    {
        return put({0xcf}, [this](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
            context.registers.rip = pop(context);
            context.registers.rflags = pop(context);
            return std::nullopt;
        });
    }

    /// The processor, from an entry to an exit.
    Exit execute(VcpuContext& context, FakeVcpu& now)
    {
        if (now.delivered.size() > delivered[&now]) {
            const Event event = now.delivered.back();
            if (fault_in_delivery) {
                Exit fault = *std::exchange(fault_in_delivery, {});
                now.delivered.pop_back();
                if (event.kind != EventKind::software_interrupt)
                    now.queued = event;
                if (fault.kind == ExitKind::exception) {
                    EXPECT_NE(now.intercepts.exceptions & 1u << fault.exception.vector, 0u) << "else it would have another RIP";
                    return fake::raises(fault.exception.vector, fault.exception.error_code)(context, now);
                }
                return fault;
            }
            delivered[&now] = now.delivered.size();
            if (event.kind == EventKind::interrupt)
                context.registers.rflags |= interrupt_flag;  // the fake has cleared it already
            enter_handler(context);
        }
        for (unsigned count = 0; count < 50; ++count) {
            Exit exit{};
            if (!fake::guest_fetch(context, GuestPhysical{context.registers.rip}, exit))
                return exit;
            const auto found = program.find(context.registers.rip);
            if (found == program.end()) {
                machine().scheduler.block(static_cast<Vcpu&>(context), Blocker::swapping);
                return plain_exit(ExitKind::physical_interrupt);
            }
            if (auto left = execute_one(context, now, found->second))
                return *left;
        }
        ADD_FAILURE() << "the program does not end";
        machine().scheduler.block(static_cast<Vcpu&>(context), Blocker::swapping);
        return plain_exit(ExitKind::physical_interrupt);
    }
    std::optional<Exit> execute_one(VcpuContext& context, FakeVcpu& now, const Coded& coded)
    {
        const bool trap = (context.registers.rflags & trap_flag) != 0;
        traps_held = false;
        const std::uint64_t before{context.registers.rip};
        context.registers.rip += coded.bytes.size();
        if (coded.effect)
            if (const auto exit = coded.effect(context, now)) {
                context.registers.rip = before;
                return exit;
            }
        if (!trap || traps_held || std::exchange(traps_lost, false))
            return std::nullopt;
        now.system.dr6 |= single_step_status;
        return fake::raises(1)(context, now);
    }

    void run()
    {
        NoWork work;
        for (unsigned turns = 0; turns < 30 && run_one_turn(work); ++turns) {
        }
        machine().scheduler.unblock(vcpu(), Blocker::swapping);
        EXPECT_EQ(vcpu().registers.rflags & trap_flag & ~own_trap, 0u);
    }
    void condition(std::uint32_t number, std::uint32_t on)
    {
        from_hook(*binding->vcpus[0], [=](const abi::VcpuContext& context) {
            EXPECT_EQ(host().set_condition(context.domain, number, on), abi::status_ok);
        });
    }
    void follow() { condition(1, 1); }

    static std::vector<std::uint64_t> rips()
    {
        std::vector<std::uint64_t> all;
        for (const abi::ExitFrame& frame : shown)
            if (frame.kind == abi::ExitKind::single_step)
                all.push_back(frame.rip);
        return all;
    }
    using Rips = std::vector<std::uint64_t>;
    /// Each step began where the one before had ended.
    static void expect_chain()
    {
        std::uint64_t last{start_rip};
        for (const abi::ExitFrame& frame : shown) {
            if (frame.kind != abi::ExitKind::single_step)
                continue;
            EXPECT_EQ(frame.value, last);
            last = frame.rip;
        }
    }

    Binding* binding{};
    std::map<std::uint64_t, Coded> program;
    std::uint64_t next_code{};
    std::vector<std::uint64_t> images, returns;  ///< flags and RIPs that the guest's memory was shown
    std::map<const FakeVcpu*, std::size_t> delivered;
    std::optional<Exit> fault_in_delivery;
    bool traps_held{};  ///< MOV SS: no trap before the instruction behind
    bool traps_lost{};  ///< INT n: the handler runs without TF
    std::uint64_t own_trap{};
    std::uint32_t answer_cpuid{};
};

TEST_F(SingleStep, shows_each_instruction_once_and_in_order)
{
    const auto first = nop(), second = nop();
    const auto third = put({0xeb, 0x10}, jump(0x2000));
    at(0x2000);
    const auto fourth = nop();
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{second, third, fourth, fourth + 1}));
    expect_chain();
    EXPECT_EQ(first, start_rip);
    for (const abi::ExitFrame& frame : shown) {
        EXPECT_EQ(frame.kind, abi::ExitKind::single_step);
        EXPECT_EQ(frame.number, abi::step_instruction);
        EXPECT_EQ(frame.rflags, 0x202u);
        EXPECT_EQ(frame.mode, abi::GuestMode::protected_32);
        EXPECT_EQ(frame.instruction_length, 0u);
    }
    EXPECT_EQ(guest().system.dr6, status_reset);
    EXPECT_TRUE(guest().delivered.empty());
}

TEST_F(SingleStep, shows_nothing_while_nobody_follows)
{
    nop(), nop(), nop();
    condition(3, 1);  // a passive one, which makes no steps
    const unsigned before{guest().entries};
    run();
    EXPECT_TRUE(shown.empty());
    EXPECT_FALSE(vcpu().extras.wanted);
    EXPECT_EQ(guest().entries, before + 1);
}

TEST_F(SingleStep, begins_and_ends_between_any_two_instructions)
{
    const auto switch_to = [this](std::uint32_t on) {
        return [this, on](VcpuContext&, FakeVcpu&) -> std::optional<Exit> {
            answer_cpuid = on;
            return plain_exit(ExitKind::cpuid, 2);
        };
    };
    put({0x0f, 0xa2}, switch_to(1));
    nop();
    const auto second = nop();
    put({0x0f, 0xa2}, switch_to(0));
    nop(), nop();
    answer = [this](abi::ExitFrame& frame) {
        if (frame.kind == abi::ExitKind::cpuid) {
            EXPECT_EQ(host().set_condition(binding->context.domain, 1, answer_cpuid), abi::status_ok);
        }
        return abi::done;
    };
    general(rax) = 0x99;
    binding->subscriptions.list[binding->subscriptions.count - 1].flags = abi::exit_instead;
    run();
    EXPECT_EQ(rips(), (Rips{second, second + 1}));
    EXPECT_FALSE(vcpu().extras.wanted);
    EXPECT_FALSE(vcpu().step.armed);
}

TEST_F(SingleStep, shows_an_instruction_that_the_core_carries_out)
{
    put({0x0f, 0xa2}, [](VcpuContext&, FakeVcpu&) { return plain_exit(ExitKind::cpuid, 2); });
    const auto second = put({0xe6, 0x80}, [](VcpuContext& context, FakeVcpu&) {
        return fake::port_exit({.port = 0x81, .size = 1, .in = false, .string = false, .repeated = false, .segment = 0xff,
                                .next_rip = context.registers.rip});
    });
    const auto third = nop();
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{second, third, third + 1}));
    expect_chain();
}

TEST_F(SingleStep, shows_each_turn_of_a_repeated_instruction)
{
    const auto turn = [](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        if (--context.registers.general[rcx] != 0)
            context.registers.rip -= 2;
        return std::nullopt;
    };
    const auto stores = put({0xf3, 0xaa}, turn);
    const auto ports = put({0xf3, 0x6e}, [](VcpuContext& context, FakeVcpu&) {
        return fake::port_exit({.port = 0x80, .size = 1, .in = false, .string = true, .repeated = true, .segment = 0xff,
                                .next_rip = context.registers.rip});
    });
    general(rcx) = 3;
    follow();
    answer = [&](abi::ExitFrame& frame) {
        if (frame.kind == abi::ExitKind::single_step && frame.rip == ports && frame.value == stores)
            general(rcx) = 2;
        return abi::done;
    };
    run();
    EXPECT_EQ(rips(), (Rips{stores, stores, ports, ports, ports + 2}));
    EXPECT_EQ(general(rcx), 0u);
    shown.clear();
    vcpu().registers.rip = ports;
    general(rcx) = 70;
    condition(1, 0);
    guest().entries = 0;
    run();
    EXPECT_LE(guest().entries, 4u) << "nobody follows: many turns at a time";
}

TEST_F(SingleStep, shows_each_turn_at_a_port_that_nobody_watches)
{
    binding->subscriptions.list[0] = {abi::ExitKind::pause, abi::exit_passive, 0, 0};
    const auto ports = put({0xf3, 0x6e}, [](VcpuContext& context, FakeVcpu&) {
        return fake::port_exit({.port = 0x80, .size = 1, .in = false, .string = true, .repeated = true, .segment = 0xff,
                                .next_rip = context.registers.rip});
    });
    general(rcx) = 3;
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{ports, ports, ports + 2}));
}

TEST_F(SingleStep, does_not_take_a_reset_for_a_step)
{
    nop();
    at(0x2000);
    nop();
    follow();
    run();
    shown.clear();
    domain->extensions->vcpu_reset(vcpu());
    vcpu().registers.rip = 0x2000;
    run();
    EXPECT_EQ(rips(), (Rips{0x2001}));
}

TEST_F(SingleStep, shows_an_instruction_that_jumps_to_itself)
{
    unsigned turns{};
    const auto self = put({0xeb, 0xfe}, [&](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        if (++turns < 3)
            context.registers.rip -= 2;
        return std::nullopt;
    });
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{self, self, self + 2}));
}

class StepOfFlags : public SingleStep {
protected:
    void store_and_load()
    {
        put({0x9c}, [this](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
            push(context, context.registers.rflags);
            return std::nullopt;
        });
        images_at = stack_top - 4;
    }
    std::uint32_t stored()
    {
        std::uint32_t image{};
        EXPECT_TRUE(domain->memory.guest().read(GuestPhysical{images_at}, std::as_writable_bytes(std::span{&image, 1})));
        return image;
    }
    std::uint64_t images_at{};
};

TEST_F(StepOfFlags, does_not_show_the_trap_flag_to_PUSHF)
{
    store_and_load();
    nop();
    follow();
    run();
    EXPECT_EQ(stored(), 0x202u);
    EXPECT_EQ(rips(), (Rips{start_rip + 1, start_rip + 2}));
}

TEST_F(StepOfFlags, does_not_show_it_to_PUSHF_behind_a_switch_of_stacks)
{
    put({0x8e, 0xd0}, [this](VcpuContext&, FakeVcpu&) -> std::optional<Exit> {  // MOV SS, AX
        traps_held = true;
        return std::nullopt;
    });
    store_and_load();
    nop();
    follow();
    run();
    EXPECT_EQ(stored(), 0x202u);
    EXPECT_EQ(rips(), (Rips{start_rip + 3, start_rip + 4})) << "the two are one";
}

TEST_F(StepOfFlags, leaves_the_guest_what_it_loads)
{
    put({0x9d}, [this](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        context.registers.rflags = pop(context);
        return std::nullopt;
    });
    const auto traced = nop();
    at(handler);
    const auto in_handler = put({0x83, 0x64, 0x24, 0x04, 0x00}, [this](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{context.registers.general[rsp] + 4}, std::uint32_t{0x202}));
        return std::nullopt;
    });
    const auto back = interrupt_return();
    general(rsp) -= 4;
    EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{general(rsp)}, std::uint32_t{0x302}));
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{traced, traced + 1, in_handler, back, traced + 1}));
    ASSERT_EQ(shown.size(), 5u);
    EXPECT_EQ(shown[0].rflags, 0x302u) << "its own flag is there";
    EXPECT_EQ(shown[2].number, abi::step_delivery);
    ASSERT_EQ(images.size(), 1u);
    EXPECT_EQ(images[0], 0x302u);
    images.clear();
    EXPECT_EQ(guest().system.dr6, status_reset | single_step_status);
}

TEST_F(StepOfFlags, does_not_show_it_to_system_calls)
{
    constexpr auto sfmask = static_cast<std::uint32_t>(x86::Msr::SFMASK);
    EXPECT_TRUE(machine().hvm.write_msr(vcpu(), sfmask, 0x4'7700));
    put({0x0f, 0x05}, [](VcpuContext& context, FakeVcpu& now) -> std::optional<Exit> {
        context.registers.general[r11] = context.registers.rflags;
        context.registers.rflags &= ~now.system.sfmask;
        context.registers.rip = 0x2000;
        return std::nullopt;
    });
    at(0x2000);
    const auto called = put({0x0f, 0x07}, [](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        context.registers.rflags = context.registers.general[r11];
        context.registers.rip = 0x1002;
        return std::nullopt;
    });
    std::vector<std::uint64_t> eleven;
    answer = [&](abi::ExitFrame&) {
        eleven.push_back(general(r11));
        EXPECT_EQ(guest().system.sfmask, 0x4'7700u);
        return abi::done;
    };
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{called, 0x1002}));
    EXPECT_EQ(eleven, (Rips{0x202, 0x202}));
    EXPECT_EQ(vcpu().registers.rflags, 0x202u);
}

TEST_F(StepOfFlags, takes_back_what_a_return_from_a_system_call_did_not_come_to_load)
{
    bool came{};
    put({0x0f, 0x07}, [&](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        if (!std::exchange(came, true))
            return plain_exit(ExitKind::physical_interrupt);
        context.registers.rflags = context.registers.general[r11];
        context.registers.rip = 0x2000;
        return std::nullopt;
    });
    at(0x2000);
    nop();
    general(r11) = 0x202;
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{0x2000, 0x2001}));
    EXPECT_EQ(general(r11), 0x202u);
    EXPECT_EQ(vcpu().registers.rflags, 0x202u);
}

TEST_F(StepOfFlags, lets_the_guest_read_its_own_debug_status)
{
    constexpr std::uint64_t own{status_reset | single_step_status | 1};
    guest().system.dr6 = own;
    put({0x0f, 0x21, 0xf0}, [](VcpuContext& context, FakeVcpu& now) -> std::optional<Exit> {
        context.registers.general[rax] = now.system.dr6;
        return std::nullopt;
    });
    put({0x0f, 0x23, 0xf3}, [](VcpuContext& context, FakeVcpu& now) -> std::optional<Exit> {
        now.system.dr6 = context.registers.general[rbx];
        return std::nullopt;
    });
    general(rbx) = status_reset;
    follow();
    run();
    EXPECT_EQ(general(rax), own);
    EXPECT_EQ(guest().system.dr6, status_reset);
    EXPECT_EQ(rips().size(), 2u);
}

TEST_F(SingleStep, ends_at_the_first_instruction_of_an_interrupts_handler)
{
    static_cast<void>(vcpu().apic.write_mmio(0xf0, 4, 0x1ff, 0));  // enabled
    nop();
    const auto second = nop();
    at(handler);
    nop();
    const auto back = interrupt_return();
    answer = [&](abi::ExitFrame& frame) {
        if (frame.rip == second)
            vcpu().apic.accept(0x40, TriggerMode::edge);
        return abi::done;
    };
    follow();
    run();
    ASSERT_GE(shown.size(), 5u);
    EXPECT_EQ(shown[1].rip, handler);
    EXPECT_EQ(shown[1].number, abi::step_delivery);
    EXPECT_EQ(shown[1].value, second);
    EXPECT_EQ(shown[2].rip, back);
    EXPECT_EQ(shown[2].number, abi::step_instruction);
    EXPECT_EQ(shown[3].rip, second) << "back where it was";
    EXPECT_EQ(shown[4].rip, second + 1);
    EXPECT_EQ(images, (Rips{0x202}));
    EXPECT_EQ(vcpu().nested_root, vcpu().view.root());
}

TEST_F(SingleStep, ends_there_also_by_a_software_interrupt)
{
    const auto native = [](VcpuContext&, FakeVcpu&) -> std::optional<Exit> {
        ADD_FAILURE() << "it would store the flag";
        return std::nullopt;
    };
    put({0xcd, 0x80}, native);
    const auto breakpoint = put({0xcc}, native);
    const auto overflow = put({0xce}, native);
    const auto last = nop();
    at(handler);
    const auto back = interrupt_return();
    vcpu().registers.rflags |= x86::Rflags::OF::mask;
    answer = [this](abi::ExitFrame&) {
        EXPECT_EQ(guest().intercepts.exceptions, 0u) << "wanted for the step alone";
        return abi::done;
    };
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{back, breakpoint, back, overflow, back, last, last + 1}));
    EXPECT_EQ(returns, (Rips{breakpoint, overflow, last}));
    ASSERT_EQ(guest().delivered.size(), 3u);
    EXPECT_EQ(guest().delivered[0].vector, 0x80u);
    EXPECT_EQ(guest().delivered[1].vector, 3u);
    EXPECT_EQ(guest().delivered[2].vector, 4u);
    for (const Event& event : guest().delivered)
        EXPECT_EQ(event.kind, EventKind::software_interrupt);
}

TEST_F(SingleStep, takes_an_INTO_without_overflow_for_an_instruction)
{
    put({0xce});
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{start_rip + 1}));
    EXPECT_TRUE(guest().delivered.empty());
}

TEST_F(SingleStep, does_not_step_a_software_interrupt_that_cannot_be_injected)
{
    put({0x8e, 0xd0}, [this](VcpuContext&, FakeVcpu&) -> std::optional<Exit> {
        traps_held = true;
        return std::nullopt;
    });
    put({0xcd, 0x80}, [this](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        traps_lost = true;
        enter_handler(context);
        return std::nullopt;
    });
    at(handler);
    nop();
    follow();
    run();
    EXPECT_EQ(images, (Rips{0x202})) << "without the flag";
}

TEST_F(SingleStep, delivers_what_was_cut_short_once_more)
{
    put({0xcd, 0x80});
    const auto last = nop();
    at(handler);
    const auto back = interrupt_return();
    Exit fault = plain_exit(ExitKind::nested_fault);
    fault.fault = {.address = GuestPhysical{0x30'0000}, .write = true, .execute = false, .present = false, .table_walk = false,
                   .instruction_bytes = 0, .bytes = {}};
    fault_in_delivery = fault;
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{back, last, last + 1}));
    EXPECT_EQ(returns, (Rips{last}));
    shown.clear();
    vcpu().registers.rip = last;
    vcpu().registers.rflags |= interrupt_flag;
    static_cast<void>(vcpu().apic.write_mmio(0xf0, 4, 0x1ff, 0));
    vcpu().apic.accept(0x40, TriggerMode::edge);
    fault_in_delivery = fault;
    run();
    EXPECT_EQ(guest().delivered.back().vector, 0x40u);
    ASSERT_GE(shown.size(), 1u);
    EXPECT_EQ(rips().back(), last + 1);
}

TEST_F(SingleStep, gives_a_fault_of_a_software_interrupt_its_own_address)
{
    put({0xcd, 0x80});
    at(handler);
    nop();
    Exit fault = plain_exit(ExitKind::exception);
    fault.exception = {.vector = 13, .in_delivery = false, .delivering_exception = false, .delivering_vector = 0, .error_code = 0x402,
                       .address = 0};
    fault_in_delivery = fault;
    follow();
    run();
    EXPECT_EQ(returns, (Rips{start_rip}));
    ASSERT_FALSE(guest().delivered.empty());
    EXPECT_EQ(guest().delivered.back().vector, 13u);
    EXPECT_EQ(rips(), (Rips{handler, handler + 1}));
    EXPECT_EQ(shown[0].number, abi::step_delivery);
}

TEST_F(SingleStep, follows_a_fault_to_its_handler)
{
    put({0x8b, 0x00}, [](VcpuContext& context, FakeVcpu& now) -> std::optional<Exit> {
        EXPECT_NE(now.intercepts.exceptions & 1u << 14, 0u) << "else the processor would store the flags";
        return fake::raises(14, 2, 0x7000)(context, now);
    });
    at(handler);
    const auto in_handler = nop();
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{in_handler, in_handler + 1}));
    EXPECT_EQ(shown[0].number, abi::step_delivery);
    EXPECT_EQ(images, (Rips{0x202}));
    EXPECT_EQ(returns, (Rips{start_rip}));
}

TEST_F(SingleStep, gives_the_guest_its_own_trap_too)
{
    own_trap = trap_flag;
    vcpu().registers.rflags |= trap_flag;
    const auto first = nop();
    at(handler);
    const auto in_handler = nop();
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{first + 1, in_handler, in_handler + 1}));
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 1u);
    EXPECT_EQ(guest().system.dr6, status_reset | single_step_status);
    EXPECT_EQ(images, (Rips{0x302}));
    images.clear();
}

TEST_F(SingleStep, shows_a_halt_as_it_begins)
{
    const auto halt = put({0xf4}, [](VcpuContext&, FakeVcpu&) { return plain_exit(ExitKind::halt, 1); });
    const auto last = nop();
    at(handler);
    const auto back = interrupt_return();
    static_cast<void>(vcpu().apic.write_mmio(0xf0, 4, 0x1ff, 0));
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{halt + 1}));
    EXPECT_TRUE(vcpu().in_halt);
    vcpu().apic.accept(0x40, TriggerMode::edge);
    vcpu().notice_interrupt();
    run();
    EXPECT_EQ(rips(), (Rips{last, back, last, last + 1}));
}

TEST_F(SingleStep, asks_for_no_window_in_the_shadow_of_STI)
{
    vcpu().registers.rflags &= ~interrupt_flag;
    put({0xfb}, [](VcpuContext&, FakeVcpu&) -> std::optional<Exit> {
        ADD_FAILURE() << "its trap could come late";
        return std::nullopt;
    });
    std::optional<std::uint8_t> window;
    const auto shadowed = put({0x90}, [&](VcpuContext&, FakeVcpu& now) -> std::optional<Exit> {
        window = now.window_class;
        return std::nullopt;
    });
    at(handler);
    const auto back = interrupt_return();
    static_cast<void>(vcpu().apic.write_mmio(0xf0, 4, 0x1ff, 0));
    vcpu().apic.accept(0x40, TriggerMode::edge);
    follow();
    run();
    ASSERT_TRUE(window.has_value());
    EXPECT_EQ(*window, 0u);
    EXPECT_EQ(rips(), (Rips{shadowed, shadowed + 1, back, shadowed + 1})) << "the interrupt comes behind the next instruction";
}

TEST_F(StepOfFlags, leaves_an_STI_to_the_processor_where_it_does_more_than_that)
{
    unsigned executed{};
    put({0xfb}, [&](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        ++executed;
        context.registers.rflags |= interrupt_flag;
        return std::nullopt;
    });
    const auto run_with = [&](std::uint64_t flags, std::uint64_t dr7, std::uint16_t stack_segment) {
        vcpu().registers.rip = start_rip;
        vcpu().registers.rflags = flags;
        guest().system.dr7 = dr7;
        guest().system.segments[segment_ss].attributes = stack_segment;
        guest().privilege_level = static_cast<std::uint8_t>(stack_segment >> 5 & 3);
        executed = 0;
        run();
        return executed;
    };
    follow();
    constexpr std::uint16_t ring_0{0xc93}, ring_3{0xcf3};
    EXPECT_EQ(run_with(0x2, 0x400, ring_0), 0u);
    EXPECT_EQ(vcpu().registers.rflags, 0x202u);
    EXPECT_EQ(run_with(0x202, 0x400, ring_0), 1u) << "it is set already";
    EXPECT_EQ(run_with(0x2, 0x401, ring_0), 1u) << "there may be a breakpoint at it";
    EXPECT_EQ(run_with(0x2, 0x400, ring_3), 1u) << "a fault";
    EXPECT_EQ(run_with(0x3002, 0x400, ring_3), 0u) << "allowed by IOPL";
}

TEST_F(SingleStep, takes_registers_and_RIP_from_who_answers_it)
{
    nop();
    nop();
    at(0x2000);
    const auto elsewhere = nop();
    answer = [&](abi::ExitFrame& frame) {
        if (frame.rip != start_rip + 1)
            return abi::done;
        frame.general[rbx] = 0x77;
        frame.general[rsp] = 0x66;
        frame.rip = 0x2000;
        return abi::Verdict{abi::VerdictKind::done, abi::verdict_keep_rip, 0};
    };
    condition(2, 1);
    run();
    EXPECT_EQ(rips(), (Rips{start_rip + 1, elsewhere + 1}));
    EXPECT_EQ(shown.back().value, elsewhere);
    EXPECT_EQ(general(rbx), 0x77u);
    EXPECT_EQ(general(rsp), stack_top);
}

TEST_F(SingleStep, leaves_the_guest_alone_for_who_only_looks)
{
    nop();
    answer = [](abi::ExitFrame& frame) {
        frame.general[rbx] = 0x77;
        return abi::done;
    };
    general(rbx) = 1;
    follow();
    run();
    EXPECT_EQ(general(rbx), 1u);
}

TEST_F(SingleStep, fails_an_instance_that_raises_an_exception_by_it)
{
    nop();
    answer = [](abi::ExitFrame&) { return abi::inject_general_protection; };
    follow();
    run();
    EXPECT_TRUE(guest().delivered.empty());
    EXPECT_NE(domain->state(), DomainState::running);
    EXPECT_NE(fake::console().find("bad verdict"), std::string::npos);
}

TEST_F(SingleStep, can_pause_the_domain_between_two_instructions)
{
    nop();
    nop();
    answer = [](abi::ExitFrame&) { return abi::Verdict{abi::VerdictKind::pause, 0, 0}; };
    follow();
    run();
    EXPECT_EQ(rips().size(), 1u);
    EXPECT_EQ(vcpu().registers.rip, start_rip + 1);
    EXPECT_EQ(vcpu().registers.rflags, 0x202u);
    EXPECT_TRUE(domain->carry_out_pause_request());
}

TEST_F(SingleStep, goes_together_with_a_watched_page)
{
    bool first{true};
    put({0xc6, 0x00, 0x01}, [&](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
        Exit fault{};
        const std::uint8_t value{0x5a};
        if (fake::guest_write(context, GuestPhysical{watched}, &value, 1, fault)) {
            EXPECT_FALSE(std::exchange(first, true)) << "not before it was shown";
            return std::nullopt;
        }
        first = false;
        return fault;
    });
    const auto last = nop();
    condition(4, 1);
    follow();
    run();
    ASSERT_EQ(shown.size(), 3u);
    EXPECT_EQ(shown[0].kind, abi::ExitKind::page_watch);
    EXPECT_EQ(rips(), (Rips{last, last + 1}));
}

TEST_F(SingleStep, shows_an_exit_to_those_who_want_it_afterwards_as_ever)
{
    put({0x0f, 0xa2}, [](VcpuContext&, FakeVcpu&) { return plain_exit(ExitKind::cpuid, 2); });
    nop();
    general(rax) = 0x99;
    answer = [this](abi::ExitFrame& frame) {
        if (frame.kind == abi::ExitKind::cpuid) {
            EXPECT_EQ(vcpu().registers.rflags, 0x202u);
        }
        return abi::done;
    };
    follow();
    run();
    ASSERT_EQ(shown.size(), 3u);
    EXPECT_EQ(rips(), (Rips{start_rip + 2, start_rip + 3}));
}

/// Two VCPUs of the domain on one processor, each in the same program.
class StepsOfTwo : public SingleStep {
protected:
    struct Seen {
        std::uint64_t from, to;
        bool operator==(const Seen&) const = default;
    };
    StepsOfTwo() : SingleStep(2)
    {
        for (auto& of_one : seen)
            of_one.clear();
        order.clear();
        binding->hooks.exit = [](const abi::VcpuContext* context, abi::ExitFrame* frame) {
            if (frame->kind == abi::ExitKind::single_step) {
                seen[context->index].push_back({frame->value, frame->rip});
                order.push_back(context->index);
            }
            return abi::done;
        };
    }
    /// Before it is executed, the processor is the other's.
    Effect gives_way()
    {
        return [this](VcpuContext& context, FakeVcpu&) -> std::optional<Exit> {
            if (way_given[&context])
                return std::nullopt;
            way_given[&context] = true;
            for (unsigned index = 0; index < 2; ++index)
                EXPECT_TRUE(&domain->vcpu(index) == &context || (domain->vcpu(index).registers.rflags & trap_flag) == 0)
                    << "it is not in the guest, nor is the flag";
            fake::advance_ticks(platform::ticks_per_second());
            return plain_exit(ExitKind::physical_interrupt);
        };
    }
    void run_both()
    {
        NoWork work;
        for (unsigned turns = 0; turns < 60 && run_one_turn(work); ++turns) {
        }
        for (unsigned index = 0; index < 2; ++index) {
            machine().scheduler.unblock(domain->vcpu(index), Blocker::swapping);
            EXPECT_EQ(domain->vcpu(index).registers.rflags & trap_flag, 0u);
            EXPECT_EQ(domain->vcpu(index).nested_root, domain->vcpu(index).view.root());
        }
    }

    static inline std::vector<Seen> seen[2];
    static inline std::vector<std::uint32_t> order;  ///< of which VCPU each was
    std::map<const VcpuContext*, bool> way_given;
};

TEST_F(StepsOfTwo, are_each_shown_once_and_in_its_own_order)
{
    const auto first = nop(), way = put({0x90}, gives_way());
    const auto known = put({0x0f, 0xa2}, [](VcpuContext&, FakeVcpu&) { return plain_exit(ExitKind::cpuid, 2); });
    const auto interrupt = put({0xcd, 0x80}), last = nop();
    at(handler);
    const auto in_handler = put({0x90}, gives_way()), back = interrupt_return();
    follow();
    run_both();
    const std::vector<Seen> expected{{first, way},         {way, known},      {known, interrupt}, {interrupt, in_handler},
                                     {in_handler, back}, {back, last}, {last, last + 1}};
    EXPECT_EQ(seen[0], expected);
    EXPECT_EQ(seen[1], expected);
    EXPECT_EQ(order.front(), 0u);
    EXPECT_EQ(order.at(1), 1u) << "the second began while the first was in the middle of an instruction";
    condition(1, 0);
    for (unsigned index = 0; index < 2; ++index)
        domain->vcpu(index).registers.rip = first;
    run_both();
    EXPECT_EQ(order.size(), 2 * expected.size());
    EXPECT_FALSE(domain->vcpu(0).extras.wanted || domain->vcpu(1).extras.wanted);
}

TEST_F(SingleStep, needs_a_table_of_each_VCPU_and_gives_it_back)
{
    why.clear();
    const std::uint64_t held{domain->memory.map().table_frames()};
    ASSERT_TRUE(ExtensionStack::detach(*domain, "watcher-steps", why)) << why.view();
    const std::uint64_t without{domain->memory.map().table_frames()};
    EXPECT_GE(held - without, 2u);
    nop();
    run();
    EXPECT_TRUE(shown.empty());
    EXPECT_FALSE(vcpu().extras.wanted);
    ASSERT_TRUE(ExtensionStack::attach(*domain, module("watcher-steps"), {}, options, why, field)) << why.view();
    binding = domain->extensions->implementation().bindings.back();
    binding->hooks.exit = note;
    EXPECT_EQ(domain->memory.map().table_frames(), held);
    vcpu().registers.rip = start_rip;
    follow();
    run();
    EXPECT_EQ(rips(), (Rips{start_rip + 1}));
    why.clear();
    ASSERT_TRUE(ExtensionStack::detach(*domain, "watcher-steps", why)) << why.view();
    run();
    EXPECT_FALSE(vcpu().extras.wanted);
    EXPECT_EQ(vcpu().nested_root, domain->memory.map().root());
}

}  // namespace
}  // namespace hv::test
