// SPDX-License-Identifier: MIT
//
// Watched pages: each access that somebody wants to see is shown once, is then made by the guest itself on a page that is open
// to that VCPU alone, and leaves no trace of how that was done.
#include <functional>
#include <vector>

#include "hv/core/vcpu/single_step.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"
#include "shown_exits.hpp"

namespace hv::test {
namespace {

using fake::FakeVcpu;
using fake::plain_exit;

constexpr std::uint64_t trap_flag{x86::Rflags::TF::mask};
constexpr std::uint64_t written{0x200'0000}, read_watched{0x201'0000}, executed{0x202'0000}, answered{0x203'0000};

class PageWatch : public ExtensionTest {
protected:
    PageWatch()
    {
        answer = nullptr;
        shown.clear();
        binding = &bound("watcher-pages");
        binding->hooks.exit = note;
        enter_protected_mode(vcpu(), 0x1000);
        for (const std::uint64_t page : {written, read_watched, executed, answered})
            EXPECT_TRUE(domain->memory.populate(GuestPhysical{page}));
        start();
        domain->vcpu(1).started = true;
        code({0x90});
    }
    ~PageWatch() override
    {
        EXPECT_FALSE(vcpu().step.wanted || vcpu().step.armed);
        EXPECT_EQ(guest().intercepts.exceptions, 0u);
        end_domain();
    }

    [[nodiscard]] Vcpu& vcpu() const { return domain->vcpu(0); }
    [[nodiscard]] FakeVcpu& guest() const { return fake::fake_vcpu(vcpu()); }
    void code(std::initializer_list<std::uint8_t> bytes)
    {
        std::uint64_t address{0x1000};
        vcpu().registers.rip = address;
        length = bytes.size();
        for (const std::uint8_t byte : bytes)
            EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{address++}, byte));
    }
    using Access = std::function<bool(VcpuContext&, FakeVcpu&, Exit&)>;
    static Access writes(std::uint64_t address)
    {
        return [=](VcpuContext& context, FakeVcpu&, Exit& fault) {
            const std::uint8_t value{0x5a};
            return fake::guest_write(context, GuestPhysical{address}, &value, 1, fault);
        };
    }
    static Access reads(std::uint64_t address)
    {
        return [=](VcpuContext& context, FakeVcpu&, Exit& fault) {
            std::uint8_t value{};
            return fake::guest_read(context, GuestPhysical{address}, &value, 1, fault);
        };
    }
    static Access fetches(std::uint64_t address)
    {
        return [=](VcpuContext& context, FakeVcpu&, Exit& fault) { return fake::guest_fetch(context, GuestPhysical{address}, fault); };
    }
    /// The guest executes one instruction that makes these accesses, as often as it takes, and does `after` at its end.
    void instruction(std::vector<Access> accesses, std::function<void(VcpuContext&, FakeVcpu&)> after = {})
    {
        done = 0;
        fake::Step step;
        step = [this, accesses, after, again = std::make_shared<fake::Step>()](VcpuContext& context, FakeVcpu& now) -> Exit {
            ++tries;
            const bool trap = (context.registers.rflags & trap_flag) != 0;
            Exit fault;
            for (const Access& access : accesses)
                if (!access(context, now, fault)) {
                    now.script.push_front(repeated);
                    return fault;
                }
            ++done;
            context.registers.rip += length;
            if (after)
                after(context, now);
            if (!trap)
                return plain_exit(ExitKind::physical_interrupt);
            const std::uint64_t left = context.registers.rflags;
            context.registers.rflags |= trap_flag;
            const Exit exit = fake::end_of_instruction(context);
            context.registers.rflags = left;
            return exit;
        };
        repeated = step;
        tries = 0;
        guest().script.push_back(step);
        run();
    }
    void run()
    {
        for (unsigned index = 0; index < 2; ++index)
            fake::fake_vcpu(domain->vcpu(index)).when_done = [](VcpuContext& context, FakeVcpu&) {
                machine().scheduler.block(static_cast<Vcpu&>(context), Blocker::swapping);
                return plain_exit(ExitKind::physical_interrupt);
            };
        NoWork work;
        for (unsigned turns = 0; turns < 30 && run_one_turn(work); ++turns) {
        }
        for (unsigned index = 0; index < 2; ++index)
            machine().scheduler.unblock(domain->vcpu(index), Blocker::swapping);
    }
    void condition(std::uint32_t on)
    {
        from_hook(*binding->vcpus[0], [=](const abi::VcpuContext& context) {
            EXPECT_EQ(host().set_condition(context.domain, 1, on), abi::status_ok);
        });
    }

    Binding* binding{};
    fake::Step repeated;
    std::size_t length{1};
    unsigned tries{}, done{};
};

TEST_F(PageWatch, shows_a_write_once_and_lets_the_guest_make_it)
{
    instruction({writes(written + 8)});
    EXPECT_EQ(done, 1u);
    EXPECT_EQ(tries, 2u);
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].kind, abi::ExitKind::page_watch);
    EXPECT_EQ(shown[0].number, written >> 12);
    EXPECT_EQ(shown[0].value, written + 8);
    EXPECT_EQ(shown[0].write, 1u);
    EXPECT_EQ(shown[0].rip, 0x1000u);
    EXPECT_EQ(vcpu().registers.rip, 0x1001u);
    EXPECT_EQ(vcpu().registers.rflags & trap_flag, 0u);
    EXPECT_EQ(guest().system.dr6, 0xffff'0ff0u);
    EXPECT_TRUE(guest().delivered.empty());
    instruction({writes(written + 9)});
    EXPECT_EQ(shown.size(), 2u) << "it was closed again, and the processor was told";
    instruction({reads(written), writes(written + 0x2000)});
    EXPECT_EQ(shown.size(), 2u) << "what nobody asked for";
    EXPECT_EQ(tries, 1u);
}

TEST_F(PageWatch, of_reads_watches_while_its_condition_holds)
{
    instruction({reads(read_watched)});
    EXPECT_EQ(shown.size(), 0u);
    condition(1);
    instruction({reads(read_watched)});
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].write, 0u);
    instruction({writes(read_watched)});
    EXPECT_EQ(shown.size(), 1u) << "a write faults too, and is not shown";
    EXPECT_EQ(done, 1u);
    condition(0);
    instruction({reads(read_watched)});
    EXPECT_EQ(tries, 1u);
    EXPECT_EQ(shown.size(), 1u);
}

TEST_F(PageWatch, of_execution_does_not_see_data)
{
    instruction({reads(executed), writes(executed)});
    EXPECT_EQ(shown.size(), 0u);
    instruction({fetches(executed + 0x10)});
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].write, abi::exit_fetch);
    EXPECT_EQ(done, 1u);
}

TEST_F(PageWatch, shows_each_page_that_one_instruction_touches)
{
    instruction({writes(written + 0xffc), writes(written + 0x1000), fetches(executed)});
    EXPECT_EQ(done, 1u);
    EXPECT_EQ(tries, 4u);
    ASSERT_EQ(shown.size(), 3u);
    EXPECT_EQ(shown[1].number, (written >> 12) + 1);
    EXPECT_EQ(shown[2].write, abi::exit_fetch);
}

TEST_F(PageWatch, is_open_to_one_processor_alone)
{
    Vcpu& other = domain->vcpu(1);
    fake::fake_vcpu(other).system = guest().system;
    machine().scheduler.unblock(other, Blocker::waiting_for_startup);
    run();
    ASSERT_TRUE(other.view.is_open());
    EXPECT_EQ(fake::fake_vcpu(other).nested_root, other.view.root()) << "the processor was told";
    EXPECT_NE(other.view.root(), vcpu().view.root());
    bool open_here{}, open_there{true};
    instruction({writes(written)}, [&](VcpuContext&, FakeVcpu&) {
        open_here = !vcpu().view.stops(GuestPhysical{written});
        open_there = !other.view.stops(GuestPhysical{written});
    });
    EXPECT_TRUE(open_here);
    EXPECT_FALSE(open_there);
}

TEST_F(PageWatch, stays_open_over_what_comes_before_the_instruction)
{
    for (const ExitKind kind : {ExitKind::physical_interrupt, ExitKind::physical_nmi, ExitKind::interrupt_window}) {
        shown.clear();
        unsigned looks{};
        const Access comes_first = [&](VcpuContext&, FakeVcpu&, Exit& exit) {
            if (++looks != 2)
                return true;
            exit = plain_exit(kind);
            return false;
        };
        instruction({comes_first, writes(written)});
        EXPECT_EQ(done, 1u);
        EXPECT_EQ(looks, 3u);
        EXPECT_EQ(shown.size(), 1u) << "it is the same access";
    }
}

TEST_F(PageWatch, is_closed_by_an_exit_of_the_instruction_itself)
{
    code({0x0f, 0xa2});
    bool open{};
    instruction({fetches(executed), [&](VcpuContext& context, FakeVcpu&, Exit& exit) {
                     open = !vcpu().view.stops(GuestPhysical{executed});
                     machine().scheduler.block(static_cast<Vcpu&>(context), Blocker::swapping);  // it is not entered again
                     exit = plain_exit(ExitKind::cpuid, 2);
                     return false;
                 }});
    guest().script.clear();
    EXPECT_TRUE(open);
    EXPECT_FALSE(vcpu().step.wanted);
    EXPECT_TRUE(vcpu().view.stops(GuestPhysical{executed}));
}

TEST_F(PageWatch, hides_its_trap_flag_from_instructions_that_look_at_the_flags)
{
    vcpu().registers.general[rsp] = 0x8000;
    code({0x9c});  // PUSHF
    instruction({writes(written)}, [&](VcpuContext& context, FakeVcpu&) {
        context.registers.general[rsp] -= 4;
        EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{0x7ffc}, static_cast<std::uint32_t>(context.registers.rflags)));
    });
    std::uint32_t image{};
    EXPECT_TRUE(domain->memory.guest().read(GuestPhysical{0x7ffc}, std::as_writable_bytes(std::span{&image, 1})));
    EXPECT_EQ(image, 0x202u);
    code({0x9d});  // POPF, of flags with TF
    instruction({writes(written)}, [](VcpuContext& context, FakeVcpu&) { context.registers.rflags = 0x302; });
    EXPECT_EQ(vcpu().registers.rflags, 0x302u) << "it is the guest's from now on";
    EXPECT_TRUE(guest().delivered.empty()) << "the trap comes after the next instruction";
    code({0x9d});
    instruction({writes(written)}, [](VcpuContext& context, FakeVcpu&) { context.registers.rflags = 0x202; });
    EXPECT_EQ(vcpu().registers.rflags & trap_flag, 0u);
    run();
    ASSERT_EQ(guest().delivered.size(), 1u) << "its own, since TF was set when the instruction began";
    EXPECT_EQ(guest().delivered[0].vector, 1u);
    EXPECT_EQ(guest().system.dr6, 0xffff'4ff0u);
}

TEST_F(PageWatch, hides_it_from_system_calls)
{
    constexpr auto sfmask = static_cast<std::uint32_t>(x86::Msr::SFMASK);
    EXPECT_TRUE(machine().hvm.write_msr(vcpu(), sfmask, 0x4'7700));
    code({0x0f, 0x05});
    std::uint64_t mask_then{};
    instruction({fetches(executed)}, [&](VcpuContext& context, FakeVcpu& now) {
        mask_then = now.system.sfmask;
        context.registers.general[r11] = context.registers.rflags;
        context.registers.rflags &= ~now.system.sfmask;
    });
    EXPECT_EQ(mask_then, 0x4'7600u) << "else the trap would not come";
    EXPECT_EQ(guest().system.sfmask, 0x4'7700u);
    EXPECT_EQ(vcpu().registers.general[r11], 0x202u);
    EXPECT_EQ(vcpu().registers.rflags & trap_flag, 0u);
    code({0x0f, 0x07});
    vcpu().registers.general[r11] = 0x246;
    instruction({fetches(executed)}, [](VcpuContext& context, FakeVcpu&) { context.registers.rflags = context.registers.general[r11]; });
    EXPECT_EQ(vcpu().registers.general[r11], 0x246u);
    EXPECT_EQ(vcpu().registers.rflags, 0x246u);
    EXPECT_TRUE(guest().delivered.empty());
}

TEST_F(PageWatch, leaves_the_guest_its_own_traps_and_breakpoints)
{
    vcpu().registers.rflags |= trap_flag;
    instruction({writes(written)});
    run();
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 1u);
    EXPECT_EQ(guest().system.dr6, 0xffff'4ff0u);
    EXPECT_NE(vcpu().registers.rflags & trap_flag, 0u);
    vcpu().registers.rflags = 0x202;
    guest().system.dr6 = 0xffff'0ff0;
    guest().system.dr7 = 0x1'0401;
    code({0x90});
    instruction({writes(written)}, [](VcpuContext&, FakeVcpu& now) { now.system.dr6 |= 1; });
    run();
    ASSERT_EQ(guest().delivered.size(), 2u);
    EXPECT_EQ(guest().system.dr6, 0xffff'0ff1u) << "a breakpoint on data and no single step";
}

TEST_F(PageWatch, lets_an_interrupt_come_first_with_the_page_closed)
{
    static_cast<void>(vcpu().apic.write_mmio(0xf0, 4, 0x1ff, 0));  // enabled
    answer = [this](abi::ExitFrame&) {
        if (shown.size() == 1)
            vcpu().apic.accept(0x40, TriggerMode::edge);
        return abi::done;
    };
    std::uint64_t flags_then{};
    guest().script.push_back([&](VcpuContext& context, FakeVcpu& now) {
        Exit fault;
        EXPECT_FALSE(writes(written)(context, now, fault));
        return fault;
    });
    guest().script.push_back([&](VcpuContext& context, FakeVcpu& now) {  // the handler
        flags_then = context.registers.rflags;
        Exit fault;
        EXPECT_FALSE(writes(written + 1)(context, now, fault));
        context.registers.rip = 0x5000;
        return plain_exit(ExitKind::physical_interrupt);
    });
    run();
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 0x40u);
    EXPECT_EQ(flags_then & trap_flag, 0u);
    EXPECT_EQ(shown.size(), 1u);
}

TEST_F(PageWatch, lets_a_fault_of_the_instruction_reach_the_guest_as_it_would_be)
{
    guest().script.push_back([&](VcpuContext& context, FakeVcpu& now) {
        Exit fault;
        EXPECT_FALSE(writes(written)(context, now, fault));
        return fault;
    });
    guest().script.push_back([](VcpuContext& context, FakeVcpu& now) {
        EXPECT_NE(now.intercepts.exceptions & 1u << 14, 0u) << "else the processor would store the flags";
        EXPECT_NE(context.registers.rflags & trap_flag, 0u);
        return fake::raises(14, 2, 0x7000)(context, now);
    });
    run();
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 14u);
    EXPECT_EQ(vcpu().registers.rflags & trap_flag, 0u);
    EXPECT_EQ(guest().system.dr6, 0xffff'0ff0u);
}

TEST_F(PageWatch, lets_the_delivery_of_an_event_touch_the_page)
{
    bool passed{};
    guest().script.push_back([](VcpuContext& context, FakeVcpu& now) {
        Exit fault;
        EXPECT_FALSE(writes(written)(context, now, fault));
        now.queued = Event{EventKind::interrupt, 0x40, false, 0};  // its delivery was under way
        return fault;
    });
    guest().script.push_back([&](VcpuContext& context, FakeVcpu& now) {
        EXPECT_EQ(context.registers.rflags & trap_flag, 0u);
        Exit fault;
        passed = writes(written)(context, now, fault);
        return plain_exit(ExitKind::physical_interrupt);
    });
    run();
    EXPECT_TRUE(passed);
    EXPECT_EQ(guest().delivered.size(), 1u);
    instruction({writes(written)});
    EXPECT_EQ(shown.size(), 2u) << "closed at the next exit";
}

TEST_F(PageWatch, is_answered_by_a_module_that_makes_the_access_itself)
{
    answer = [](abi::ExitFrame& frame) {
        frame.rip += 3;
        frame.general[rbx] = 0x99;
        return abi::Verdict{abi::VerdictKind::done, abi::verdict_keep_rip, 0};
    };
    guest().script.push_back([](VcpuContext& context, FakeVcpu& now) {
        Exit fault;
        EXPECT_FALSE(writes(answered)(context, now, fault));
        return fault;
    });
    run();
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
    EXPECT_EQ(vcpu().registers.general[rbx], 0x99u);
    answer = [](abi::ExitFrame&) { return abi::inject_general_protection; };
    guest().script.push_back([](VcpuContext& context, FakeVcpu& now) {
        Exit fault;
        EXPECT_FALSE(writes(answered)(context, now, fault));
        return fault;
    });
    run();
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 13u);
}

TEST_F(PageWatch, shows_accesses_to_devices_which_answer_them)
{
    code({0xc6, 0x05, 0x80, 0x00, 0xe0, 0xfe, 0x10});  // MOVB $0x10, [0xfee00080]
    guest().script.push_back([](VcpuContext& context, FakeVcpu& now) {
        Exit fault;
        EXPECT_FALSE(writes(0xfee0'0080)(context, now, fault));
        return fault;
    });
    run();
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].number, 0xf'ee00u);
    EXPECT_EQ(vcpu().registers.rip, 0x1007u);
    EXPECT_FALSE(vcpu().step.wanted);
}

TEST_F(PageWatch, follows_what_becomes_of_the_page)
{
    instruction({writes(written)});
    EXPECT_EQ(shown.size(), 1u);
    const HostPhysical elsewhere = domain->memory.map().lookup(GuestPhysical{0x100'0000})
                                       ? domain->memory.map().lookup(GuestPhysical{0x100'0000})->host
                                       : (static_cast<void>(domain->memory.populate(GuestPhysical{0x100'0000})),
                                          domain->memory.map().lookup(GuestPhysical{0x100'0000})->host);
    const auto before = domain->memory.map().lookup(GuestPhysical{written})->host;
    ASSERT_TRUE(domain->memory.map().replace(GuestPhysical{written}, elsewhere, page_size, access_all));  // an overlay
    instruction({writes(written + 0x20)});
    EXPECT_EQ(shown.size(), 2u);
    EXPECT_EQ(*(static_cast<const std::uint8_t*>(platform::to_pointer(elsewhere)) + 0x20), 0x5a);
    ASSERT_TRUE(domain->memory.map().replace(GuestPhysical{written}, before, page_size, access_all));
    instruction({writes(written + 0x30)});
    EXPECT_EQ(shown.size(), 3u);
    EXPECT_EQ(*(static_cast<const std::uint8_t*>(platform::to_pointer(before)) + 0x30), 0x5a);
}

TEST_F(PageWatch, needs_no_memory_after_the_bind)
{
    domain->ledger.set_limit(domain->ledger.frames());
    condition(1);
    instruction({reads(read_watched)});
    condition(0);
    instruction({writes(written)});
    condition(1);
    instruction({reads(read_watched)});
    EXPECT_EQ(shown.size(), 3u);
    EXPECT_EQ(domain->state(), DomainState::running);
}

TEST_F(PageWatch, is_refused_where_there_is_no_memory_for_its_tables)
{
    why.clear();
    ASSERT_TRUE(ExtensionStack::detach(*domain, "watcher-pages", why)) << why.view();
    run();
    Module& watcher = module("watcher-pages");
    const std::uint64_t before{domain->ledger.frames()};
    bool said{};
    for (std::uint64_t room = 0;; ++room) {
        ASSERT_LT(room, 1000u);
        domain->ledger.set_limit(before + room);
        why.clear();
        if (ExtensionStack::attach(*domain, watcher, {}, options, why, field))
            break;
        said = said || why.view().find("nested tables of watched pages") != std::string_view::npos;
        ASSERT_EQ(domain->ledger.frames(), before) << why.view();
    }
    EXPECT_TRUE(said);
    binding = domain->extensions->implementation().bindings.back();
    binding->hooks.exit = note;
    instruction({writes(written)});
    EXPECT_EQ(shown.size(), 1u);
}

TEST_F(PageWatch, ends_with_the_instance)
{
    why.clear();
    ASSERT_TRUE(ExtensionStack::detach(*domain, "watcher-pages", why)) << why.view();
    instruction({writes(written)});
    EXPECT_EQ(shown.size(), 0u);
    EXPECT_EQ(tries, 1u);
    EXPECT_FALSE(vcpu().view.is_open());
}

}  // namespace
}  // namespace hv::test
