// SPDX-License-Identifier: MIT
//
// Subscriptions to exits: what a module is shown of each kind, what its verdict does, and that the guest exits for just what
// somebody wants, no longer than somebody does.
#include <functional>
#include <vector>

#include "hv/core/ext/swap.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/x86/control_registers.hpp"
#include "shown_exits.hpp"

namespace hv::test {
namespace {

using fake::exits;
using fake::plain_exit;

constexpr std::uint32_t wanted_exceptions{1u << 14 | 3u << 12 | 1u << 1};

class Exits : public ExtensionTest {
protected:
    Exits()
    {
        answer = nullptr;
        shown.clear();
    }
    ~Exits() override
    {
        end_domain();
        EXPECT_EQ(fake::fake_msr_maps(), 0u);
    }

    Binding& watched(const std::string& name = "watcher-1")
    {
        Binding& binding = bound(name);
        binding.hooks.exit = note;
        flat();
        start();
        return binding;
    }
    /// 32-bit code without paging at 0x1000.
    void flat()
    {
        SystemRegisters& system = guest().system;
        for (Segment& segment : system.segments)
            segment = {8, 0xc93, 0xffff'ffff, 0};
        system.segments[segment_cs] = {8, 0xc9b, 0xffff'ffff, 0};
        system.cr0 = 1;
        vcpu().registers.rip = 0x1000;
        vcpu().registers.rflags = 0x202;
    }
    void code(std::initializer_list<std::uint8_t> bytes)
    {
        std::uint64_t address{0x1000};
        for (const std::uint8_t byte : bytes)
            EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{address++}, byte));
    }
    [[nodiscard]] Vcpu& vcpu() const { return domain->vcpu(0); }
    [[nodiscard]] fake::FakeVcpu& guest() const { return fake::fake_vcpu(vcpu()); }
    [[nodiscard]] std::uint64_t& reg(GeneralRegister which) const { return vcpu().registers.general[which]; }

    /// The guest does this and no more.
    void run(const Exit& exit)
    {
        guest().script.push_back(exits(exit));
        run();
    }
    void run()
    {
        guest().when_done = [](VcpuContext& context, fake::FakeVcpu&) {
            machine().scheduler.block(static_cast<Vcpu&>(context), Blocker::swapping);
            return plain_exit(ExitKind::physical_interrupt);
        };
        NoWork work;
        for (unsigned turns = 0; turns < 20 && run_one_turn(work); ++turns) {
        }
        machine().scheduler.unblock(vcpu(), Blocker::swapping);
    }
    static Exit port(std::uint16_t number, bool in, bool string = false)
    {
        return fake::port_exit({.port = number, .size = 1, .in = in, .string = string, .repeated = false, .segment = 0xff,
                                .next_rip = 0x1001});
    }
    void condition(Binding& binding, std::uint32_t number, std::uint32_t on)
    {
        from_hook(*binding.vcpus[0], [=](const abi::VcpuContext& context) {
            EXPECT_EQ(host().set_condition(context.domain, number, on), abi::status_ok);
        });
    }
    void expect_no_intercepts()
    {
        EXPECT_EQ(guest().intercepts.exceptions, 0u);
        EXPECT_EQ(guest().intercepts.control_writes, 0u);
        EXPECT_EQ(guest().intercepts.debug_reads | guest().intercepts.debug_writes, 0u);
        EXPECT_FALSE(guest().intercepts.read_tsc || guest().intercepts.pause || guest().intercepts.invalidate_page);
        if (guest().intercepts.msr_map != nullptr) {
            EXPECT_TRUE(fake::fake_msr_map(vcpu()).empty());
        }
    }
};

TEST_F(Exits, a_domain_without_a_subscriber_keeps_the_cores_answers)
{
    bound("puppet-one");
    flat();
    start();
    run(plain_exit(ExitKind::cpuid, 2));
    EXPECT_EQ(vcpu().answers, core_answers);
    EXPECT_EQ(guest().intercepts, Intercepts{});
    EXPECT_EQ(fake::fake_msr_maps(), 0u);
}

TEST_F(Exits, the_guest_exits_for_what_the_manifest_wants_and_no_more)
{
    Binding& binding = watched();
    run();
    const Intercepts& now = guest().intercepts;
    EXPECT_EQ(now.exceptions, wanted_exceptions);
    EXPECT_EQ(now.control_reads, 1u);
    EXPECT_EQ(now.control_writes, 0x19u);
    EXPECT_EQ(now.debug_reads, 0x7fu) << "DR4 is a name of DR6";
    EXPECT_EQ(now.debug_writes, 0xa0u) << "DR5 is one of DR7";
    EXPECT_TRUE(now.pause && now.read_tsc && now.invalidate_page);
    ASSERT_EQ(fake::fake_msr_map(vcpu()).size(), 2u) << "the condition of the third is off";
    EXPECT_TRUE(fake::fake_msr_map(vcpu())[0].reads && !fake::fake_msr_map(vcpu())[0].writes);
    condition(binding, 3, 1);
    run();
    ASSERT_EQ(fake::fake_msr_map(vcpu()).size(), 3u);
    EXPECT_TRUE(fake::fake_msr_map(vcpu())[1].writes && !fake::fake_msr_map(vcpu())[1].reads);
    EXPECT_EQ(fake::fake_msr_map(vcpu())[1].first, 0xc000'0102u);
    condition(binding, 3, 0);
    run();
    EXPECT_EQ(fake::fake_msr_map(vcpu()).size(), 2u);
    EXPECT_NE(vcpu().answers[static_cast<unsigned>(ExitKind::port)],
              core_answers[static_cast<unsigned>(ExitKind::port)]);
    EXPECT_EQ(vcpu().answers[static_cast<unsigned>(ExitKind::hypercall)],
              core_answers[static_cast<unsigned>(ExitKind::hypercall)]);
}

TEST_F(Exits, before_the_core_a_module_sees_the_exit_and_changes_nothing)
{
    watched();
    reg(rax) = 1;
    reg(rcx) = 7;
    answer = [](abi::ExitFrame& frame) {
        frame.general[rbx] = 0x1111;
        frame.rip = 0x9999;
        return abi::done;
    };
    run(plain_exit(ExitKind::cpuid, 2));
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].kind, abi::ExitKind::cpuid);
    EXPECT_EQ(shown[0].number, 1u);
    EXPECT_EQ(shown[0].value, 7u);
    EXPECT_EQ(shown[0].rip, 0x1000u);
    EXPECT_EQ(shown[0].mode, abi::GuestMode::protected_32);
    EXPECT_EQ(shown[0].instruction_length, 2u);
    EXPECT_NE(reg(rbx), 0x1111u) << "the core answered";
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    reg(rax) = 0x11;
    run(plain_exit(ExitKind::cpuid, 2));
    EXPECT_EQ(shown.size(), 1u) << "a leaf that nobody asked for";
}

TEST_F(Exits, instead_of_the_core_a_module_answers_or_passes_on)
{
    watched();
    reg(rax) = 0x77;
    answer = [](abi::ExitFrame& frame) {
        frame.general[rax] = 0xffff'ffff'0000'0001;
        frame.general[rbx] = 2;
        frame.general[rsp] = 3;
        return abi::done;
    };
    reg(rsp) = 0x8000;
    run(plain_exit(ExitKind::cpuid, 2));
    EXPECT_EQ(reg(rax), 1u);
    EXPECT_EQ(reg(rbx), 2u);
    EXPECT_EQ(reg(rsp), 0x8000u);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    reg(rax) = 0x77;
    answer = [](abi::ExitFrame&) { return abi::not_mine; };
    run(plain_exit(ExitKind::cpuid, 2));
    EXPECT_NE(reg(rbx), 2u) << "the core was asked";
    EXPECT_EQ(vcpu().registers.rip, 0x1004u);
}

TEST_F(Exits, after_the_core_a_module_is_shown_the_same_exit)
{
    watched();
    reg(rax) = 0x99;
    std::uint64_t rip_then{};
    answer = [&](abi::ExitFrame&) {
        rip_then = vcpu().registers.rip;
        return abi::done;
    };
    run(plain_exit(ExitKind::cpuid, 2));
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].number, 0x99u);
    EXPECT_EQ(shown[0].rip, 0x1000u);
    EXPECT_EQ(rip_then, 0x1002u);
}

TEST_F(Exits, msrs_are_read_and_written_as_the_module_says)
{
    watched();
    reg(rcx) = 0x1234;
    answer = [](abi::ExitFrame& frame) {
        frame.value = 0x1'2345'6789;
        return abi::done;
    };
    run(plain_exit(ExitKind::msr_read, 2));
    EXPECT_EQ(reg(rax), 0x2345'6789u);
    EXPECT_EQ(reg(rdx), 1u);
    reg(rax) = 0xaaaa'5555;
    reg(rdx) = 0x10;
    run(plain_exit(ExitKind::msr_write, 2));
    ASSERT_EQ(shown.size(), 2u);
    EXPECT_EQ(shown[1].value, 0x10'aaaa'5555u);
    EXPECT_EQ(shown[1].write, 1u);
    EXPECT_TRUE(guest().delivered.empty());
    answer = [](abi::ExitFrame&) { return abi::inject_general_protection; };
    run(plain_exit(ExitKind::msr_write, 2));
    run();
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 13u);
    EXPECT_EQ(vcpu().registers.rip, 0x1004u);
    reg(rcx) = 0x1236;
    run(plain_exit(ExitKind::msr_write, 2));
    EXPECT_EQ(shown.size(), 3u) << "one that nobody asked for";
}

TEST_F(Exits, ports_are_shown_with_their_size_and_direction)
{
    watched();
    reg(rax) = 0x1234;
    run(port(0x80, false));
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].number, 0x1'0080u);
    EXPECT_EQ(shown[0].value, 0x34u);
    EXPECT_EQ(shown[0].write, 1u);
    vcpu().registers.rip = 0x1000;
    answer = [](abi::ExitFrame& frame) {
        frame.value = 0xabcd;
        return abi::done;
    };
    run(port(0x93, true));
    EXPECT_EQ(reg(rax), 0x12cdu);
    EXPECT_EQ(vcpu().registers.rip, 0x1001u);
    vcpu().registers.rip = 0x1000;
    code({0x6c});  // INSB
    run(port(0x90, true, true));
    EXPECT_EQ(shown.size(), 2u) << "the core alone answers INS and OUTS";
    vcpu().registers.rip = 0x1000;
    run(port(0x81, true, true));
    ASSERT_EQ(shown.size(), 3u);
    EXPECT_EQ(shown[2].number, 0x101'0081u);
}

TEST_F(Exits, a_move_to_a_control_register_is_shown_with_its_value)
{
    watched();
    guest().offered.cr4 = ~0ull;
    code({0x0f, 0x22, 0xe3});  // MOV CR4, EBX
    reg(rbx) = 0x20;
    run(plain_exit(ExitKind::control_register));
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].number, 4u);
    EXPECT_EQ(shown[0].value, 0x20u);
    EXPECT_EQ(guest().system.cr4, 0u) << "the module did it instead";
    vcpu().registers.rip = 0x1000;
    answer = [](abi::ExitFrame&) { return abi::not_mine; };
    run(plain_exit(ExitKind::control_register));
    EXPECT_EQ(guest().system.cr4, 0x20u);
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
}

TEST_F(Exits, every_instruction_that_writes_control_0_is_a_write_of_it)
{
    watched();
    answer = [](abi::ExitFrame&) { return abi::not_mine; };
    const auto writes = [&](std::initializer_list<std::uint8_t> bytes, std::uint64_t expected) {
        vcpu().registers.rip = 0x1000;
        code(bytes);
        shown.clear();
        run(plain_exit(ExitKind::control_register));
        ASSERT_EQ(shown.size(), 1u);
        EXPECT_EQ(shown[0].number, 0u);
        EXPECT_EQ(shown[0].write, 1u);
        EXPECT_EQ(shown[0].value, expected);
        EXPECT_EQ(shown[0].instruction_length, bytes.size());
        EXPECT_EQ(guest().system.cr0, expected) << "the core does it";
        EXPECT_EQ(vcpu().registers.rip, 0x1000u + bytes.size());
    };
    guest().system.cr0 = 0x11;
    reg(rbx) = 0x1'0019;
    writes({0x0f, 0x22, 0xc3}, 0x1'0019);  // MOV CR0, EBX
    writes({0x0f, 0x06}, 0x1'0011);        // CLTS
    reg(rcx) = 0xfff6;
    writes({0x0f, 0x01, 0xf1}, 0x1'0017);  // LMSW CX: PE stays
    EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{0x2000}, std::uint16_t{0x8008}));
    reg(rbx) = 0x2000;
    writes({0x0f, 0x01, 0x33}, 0x1'0019);  // LMSW [EBX]
    EXPECT_TRUE(guest().delivered.empty());
    guest().system.segments[segment_ss].attributes |= 3 << 5;
    shown.clear();
    vcpu().registers.rip = 0x1000;
    run(plain_exit(ExitKind::control_register));
    EXPECT_TRUE(shown.empty()) << "what is not allowed is no write";
    run();
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 13u);
}

TEST_F(Exits, every_instruction_that_reads_control_0_gets_the_modules_answer)
{
    watched();
    guest().system.cr0 = 0x0005'0031;
    const auto reads = [&](std::initializer_list<std::uint8_t> bytes) {
        vcpu().registers.rip = 0x1000;
        code(bytes);
        shown.clear();
        run(plain_exit(ExitKind::control_register));
        EXPECT_EQ(shown.size(), 1u);
        EXPECT_EQ(shown[0].write | shown[0].number, 0u);
        EXPECT_EQ(vcpu().registers.rip, 0x1000u + bytes.size());
    };
    for (const bool answered : {false, true}) {
        answer = [=](abi::ExitFrame& frame) {
            frame.value = 0x1234'5678;
            return answered ? abi::done : abi::not_mine;
        };
        const std::uint64_t expected = answered ? 0x1234'5678 : 0x0005'0031;
        reads({0x0f, 0x20, 0xc1});  // MOV ECX, CR0
        EXPECT_EQ(reg(rcx), expected);
        reads({0x0f, 0x01, 0xe2});  // SMSW EDX
        EXPECT_EQ(reg(rdx), expected);
        reg(rdx) = 0x7777'7777;
        reads({0x66, 0x0f, 0x01, 0xe2});  // SMSW DX
        EXPECT_EQ(reg(rdx), 0x7777'0000u | (expected & 0xffff));
        reg(rbx) = 0x2fff;  // across a page
        reads({0x0f, 0x01, 0x23});  // SMSW [EBX]
        std::uint32_t stored{};
        EXPECT_TRUE(domain->memory.guest().read(GuestPhysical{0x2fff}, std::as_writable_bytes(std::span{&stored, 1})));
        EXPECT_EQ(stored, expected & 0xffff);
    }
}

TEST_F(Exits, a_move_with_a_debug_register_is_shown_by_its_own_name)
{
    watched();
    code({0x0f, 0x21, 0xe3});  // MOV EBX, DR4
    answer = [](abi::ExitFrame& frame) {
        frame.value = 0x1'0000'5555;
        return abi::done;
    };
    run(plain_exit(ExitKind::debug_register));
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].kind, abi::ExitKind::debug_register);
    EXPECT_EQ(shown[0].number, 6u);
    EXPECT_EQ(shown[0].write, 0u);
    EXPECT_EQ(reg(rbx), 0x5555u);
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
    code({0x0f, 0x23, 0xfb});  // MOV DR7, EBX
    vcpu().registers.rip = 0x1000;
    reg(rbx) = 0x401;
    run(plain_exit(ExitKind::debug_register));
    ASSERT_EQ(shown.size(), 2u);
    EXPECT_EQ(shown[1].number, 7u);
    EXPECT_EQ(shown[1].value, 0x401u);
    EXPECT_EQ(guest().system.dr7, 0x401u) << "the core does it";
    guest().system.cr4 = x86::Cr4::DE::mask;
    code({0x0f, 0x21, 0xe3});
    vcpu().registers.rip = 0x1000;
    run(plain_exit(ExitKind::debug_register));
    EXPECT_EQ(shown.size(), 2u) << "no register of that name: the core raises what the processor would";
}

TEST_F(Exits, exceptions_reads_of_the_clock_and_invalidations_are_shown_and_done)
{
    watched();
    Exit fault = plain_exit(ExitKind::exception);
    fault.exception = {.vector = 14, .in_delivery = false, .delivering_exception = false, .delivering_vector = 0, .error_code = 2, .address = 0x5000};
    run(fault);
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].number, 14u);
    EXPECT_EQ(shown[0].value, 2u);
    code({0x0f, 0x31});
    answer = [](abi::ExitFrame& frame) {
        frame.value = 0x3'0000'0004;
        return abi::done;
    };
    run(plain_exit(ExitKind::read_tsc));
    EXPECT_EQ(reg(rax), 4u);
    EXPECT_EQ(reg(rdx), 3u);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
    answer = [](abi::ExitFrame&) { return abi::not_mine; };
    vcpu().registers.rip = 0x1000;
    fake::advance_ticks(77);
    run(plain_exit(ExitKind::read_tsc));
    EXPECT_EQ(vcpu().registers.rip, 0x1002u) << "the core's clock";
    EXPECT_NE(reg(rax), 4u);
    vcpu().registers.rip = 0x1000;
    code({0x0f, 0x01, 0x3b});  // INVLPG [EBX]
    const unsigned before = guest().flushes;
    run(plain_exit(ExitKind::invalidate_page));
    run();
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
    EXPECT_GT(guest().flushes, before);
    EXPECT_EQ(shown.size(), 4u);
    vcpu().registers.rip = 0x1000;
    run(plain_exit(ExitKind::pause, 2));
    EXPECT_EQ(shown.size(), 5u);
}

TEST_F(Exits, an_exception_that_the_module_deals_with_has_not_happened)
{
    watched();
    const auto fault = [&](std::uint64_t rip) {
        vcpu().registers.rip = rip;
        guest().script.push_back(fake::raises(13, 0x28));
        run();
        run();  // what was queued is delivered
    };
    answer = [](abi::ExitFrame& frame) {
        frame.general[rbx] = 0x1234;
        frame.rip = 0x5555;
        return abi::done;
    };
    fault(0x1000);
    ASSERT_EQ(shown.size(), 1u);
    EXPECT_EQ(shown[0].number, 13u);
    EXPECT_EQ(shown[0].value, 0x28u);
    EXPECT_TRUE(guest().delivered.empty());
    EXPECT_EQ(reg(rbx), 0x1234u);
    EXPECT_EQ(vcpu().registers.rip, 0x1000u) << "the instruction once more";
    answer = [](abi::ExitFrame& frame) {
        frame.rip += 3;
        return abi::Verdict{abi::VerdictKind::done, abi::verdict_keep_rip, 0};
    };
    fault(0x1000);
    EXPECT_TRUE(guest().delivered.empty());
    EXPECT_EQ(vcpu().registers.rip, 0x1003u);
    answer = [](abi::ExitFrame&) { return abi::not_mine; };
    fault(0x1000);
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 13u);
    EXPECT_EQ(guest().delivered[0].error_code, 0x28u);
    answer = [](abi::ExitFrame&) { return abi::inject_undefined_opcode; };
    fault(0x1000);
    ASSERT_EQ(guest().delivered.size(), 2u);
    EXPECT_EQ(guest().delivered[1].vector, 6u);
}

TEST_F(Exits, a_page_fault_that_does_not_happen_leaves_its_address_register_alone)
{
    watched();
    guest().system.cr2 = 0x1111;
    answer = [&](abi::ExitFrame&) {
        EXPECT_EQ(guest().system.cr2, 0x5000u) << "what the module may read";
        return abi::inject_general_protection;
    };
    guest().script.push_back(fake::raises(14, 2, 0x5000));
    run();
    run();
    EXPECT_EQ(guest().system.cr2, 0x1111u);
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 13u);
    answer = nullptr;
    guest().script.push_back(fake::raises(14, 2, 0x5000));
    run();
    run();
    EXPECT_EQ(guest().system.cr2, 0x5000u);
    ASSERT_EQ(guest().delivered.size(), 2u);
    EXPECT_EQ(guest().delivered[1].vector, 14u);
}

TEST_F(Exits, an_exception_in_the_delivery_of_an_event_is_dealt_with_or_takes_its_place)
{
    watched();
    const Event interrupt{EventKind::interrupt, 0x40, false, 0};
    const auto fault = [&](std::uint8_t vector, const Event& delivering) {
        shown.clear();
        guest().delivered.clear();
        vcpu().registers.rflags = 0x202;
        guest().script.push_back(fake::raises(vector, 0, 0x5000, delivering));
        run();
        run();
        EXPECT_EQ(shown.size(), 1u);
    };
    guest().system.cr2 = 0x1111;
    fault(14, interrupt);
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 14u) << "as a processor: the interrupt is gone";
    EXPECT_EQ(guest().system.cr2, 0x5000u);
    fault(13, interrupt);
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 0x40u) << "the module has dealt with the fault";
    answer = [](abi::ExitFrame&) { return abi::not_mine; };
    fault(13, interrupt);
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 13u);
    EXPECT_EQ(guest().intercepts.exceptions, wanted_exceptions);
}

TEST_F(Exits, two_exceptions_make_of_each_other_what_a_processor_makes_of_them)
{
    watched();
    const struct {
        std::uint8_t first, second, result;
    } rows[]{{6, 13, 13}, {1, 14, 14}, {13, 13, 8}, {11, 13, 8}, {0, 12, 8}, {13, 14, 14}, {14, 13, 8}, {14, 14, 8}, {17, 13, 13}};
    answer = [](abi::ExitFrame&) { return abi::not_mine; };
    for (const auto& row : rows) {
        guest().delivered.clear();
        guest().script.push_back(
            fake::raises(row.second, 0, 0x5000, Event{EventKind::exception, row.first, row.first >= 10, 0}));
        run();
        run();
        ASSERT_EQ(guest().delivered.size(), 1u);
        EXPECT_EQ(guest().delivered[0].vector, row.result) << int{row.first} << " and " << int{row.second};
        EXPECT_EQ(guest().delivered[0].has_error_code, row.result >= 8);
    }
    answer = [](abi::ExitFrame&) { return abi::inject_general_protection; };
    guest().delivered.clear();
    guest().script.push_back(fake::raises(12, 0, 0, Event{EventKind::exception, 14, true, 0}));
    run();
    run();
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 8u) << "what the module raises counts as the second";
    EXPECT_EQ(domain->state(), DomainState::running);
    guest().script.push_back(fake::raises(13, 0, 0, Event{EventKind::exception, 8, true, 0}));
    run();
    EXPECT_EQ(domain->state(), DomainState::ended);
}

TEST_F(Exits, a_breakpoint_on_an_instruction_that_is_dealt_with_does_not_come_again)
{
    watched();
    const auto resumes = [&](std::uint64_t dr6, std::uint64_t dr7) {
        vcpu().registers.rflags = 0x202;
        guest().system.dr6 = dr6;
        guest().system.dr7 = dr7;
        guest().script.push_back(fake::raises(1));
        run();
        return (vcpu().registers.rflags & x86::Rflags::RF::mask) != 0;
    };
    EXPECT_TRUE(resumes(0xffff'0ff2, 0x404)) << "DR1, execution";
    EXPECT_FALSE(resumes(0xffff'0ff2, 0x10'0404)) << "DR1, writes: the instruction is done";
    EXPECT_FALSE(resumes(0xffff'4ff0, 0x404)) << "a single step";
    run();
    EXPECT_TRUE(guest().delivered.empty());
}

TEST_F(Exits, a_halt_is_kept_awake_until_the_module_or_an_event_ends_it)
{
    watched();
    answer = [](abi::ExitFrame& frame) { return frame.value < 3 ? abi::again : abi::done; };
    run(plain_exit(ExitKind::halt, 1));
    ASSERT_EQ(shown.size(), 4u);
    EXPECT_EQ(shown[3].value, 3u);
    EXPECT_EQ(shown[3].rip, 0x1000u);
    EXPECT_TRUE(vcpu().blocked_by(Blocker::halted));
    EXPECT_EQ(vcpu().registers.rip, 0x1001u);
    static_cast<void>(vcpu().apic.write_mmio(0xf0, 4, 0x1ff, 0));  // enabled
    vcpu().apic.accept(0x40, TriggerMode::edge);
    vcpu().notice_interrupt();
    run();
    EXPECT_EQ(shown.size(), 4u);
    vcpu().registers.rflags = 0x202;
    guest().delivered.clear();
    static_cast<void>(vcpu().apic.write_mmio(0xb0, 4, 0, 0));  // EOI
    answer = [this](abi::ExitFrame& frame) {
        if (frame.value == 5)
            vcpu().apic.accept(0x50, TriggerMode::edge);
        return abi::again;
    };
    run(plain_exit(ExitKind::halt, 1));
    EXPECT_EQ(shown.size(), 10u) << "asked until the interrupt was there";
    EXPECT_FALSE(vcpu().in_halt);
    ASSERT_EQ(guest().delivered.size(), 1u);
    EXPECT_EQ(guest().delivered[0].vector, 0x50u);
    EXPECT_EQ(vcpu().registers.rip, 0x1002u);
}

TEST_F(Exits, a_halt_for_good_is_not_kept_awake)
{
    watched();
    answer = [](abi::ExitFrame&) { return abi::again; };
    vcpu().registers.rflags = 2;
    run(plain_exit(ExitKind::halt, 1));
    EXPECT_EQ(shown.size(), 1u);
    EXPECT_TRUE(vcpu().blocked_by(Blocker::halted) || domain->state() == DomainState::ended);
}

TEST_F(Exits, an_instance_that_fails_leaves_no_intercept_behind)
{
    options.on_fault = OnFault::detach;
    watched();
    run();
    EXPECT_TRUE(guest().intercepts.pause);
    answer = [](abi::ExitFrame&) { return abi::again; };  // of a CPUID: not a verdict
    reg(rax) = 0x77;
    run(plain_exit(ExitKind::cpuid, 2));
    run();
    EXPECT_EQ(vcpu().registers.rip, 0x1002u) << "the core answered";
    EXPECT_EQ(vcpu().answers, core_answers);
    expect_no_intercepts();
    EXPECT_EQ(domain->state(), DomainState::running);
    run(plain_exit(ExitKind::cpuid, 2));
    EXPECT_EQ(shown.size(), 1u);
}

TEST_F(Exits, an_instance_that_comes_to_a_running_guest_brings_its_intercepts_and_takes_them_along)
{
    flat();
    start();
    run(plain_exit(ExitKind::cpuid, 2));
    EXPECT_EQ(guest().intercepts, Intercepts{});
    Module& watcher = module("watcher-1");
    for (unsigned round = 0; round < 2; ++round) {
        why.clear();
        ASSERT_TRUE(ExtensionStack::attach(*domain, watcher, {}, options, why, field)) << why.view();
        domain->extensions->implementation().bindings.back()->hooks.exit = note;
        shown.clear();
        vcpu().registers.rip = 0x1000;
        run();
        EXPECT_TRUE(guest().intercepts.pause && guest().intercepts.read_tsc);
        EXPECT_EQ(guest().intercepts.exceptions, wanted_exceptions);
        EXPECT_EQ(fake::fake_msr_maps(), 1u);
        EXPECT_EQ(fake::fake_msr_map(vcpu()).size(), 2u);
        run(plain_exit(ExitKind::pause, 2));
        EXPECT_EQ(shown.size(), 1u);
        why.clear();
        ASSERT_TRUE(ExtensionStack::detach(*domain, "watcher", why)) << why.view();
        // A guest that runs on before it has heard of it: nobody is shown what still exits, and the core answers.
        run(plain_exit(ExitKind::pause, 2));
        EXPECT_EQ(shown.size(), 1u);
        EXPECT_EQ(vcpu().registers.rip, 0x1004u);
        expect_no_intercepts();
        EXPECT_EQ(vcpu().answers, core_answers);
    }
}

TEST_F(Exits, verdicts_that_a_subscription_may_not_give_end_the_instance)
{
    options.on_fault = OnFault::detach;
    Binding& binding = watched();
    const abi::Verdict keep{abi::VerdictKind::done, abi::verdict_keep_rip, 0};
    const auto ends = [&](std::uint64_t leaf, abi::Verdict verdict) {
        binding.route.store(options.placement == Placement::isolated ? Route::gate : Route::direct);
        renew_subscriptions(*domain);
        reg(rax) = leaf;
        answer = [=](abi::ExitFrame&) { return verdict; };
        run(plain_exit(ExitKind::cpuid, 2));
        return binding.route.load() == Route::ended;
    };
    EXPECT_FALSE(ends(0x77, keep));
    EXPECT_FALSE(ends(1, abi::inject_general_protection));
    if (binding.isolated != nullptr)
        return;  // the space of one that has failed stays closed
    EXPECT_TRUE(ends(1, keep));
    EXPECT_TRUE(ends(0x99, abi::inject_general_protection));
    EXPECT_TRUE(ends(0x99, abi::again));
    EXPECT_TRUE(ends(1, abi::block));
}

TEST_F(Exits, a_domain_has_room_for_so_many_ranges_and_says_so)
{
    fake::fail_msr_map();
    EXPECT_EQ(bind("watcher-many").error(), Error::no_memory);
    EXPECT_NE(why.view().find("not enough memory for the domain's own choice of MSRs"), std::string_view::npos);
    EXPECT_EQ(fake::fake_msr_maps(), 0u);
    EXPECT_TRUE(bind("watcher-many")) << why.view();
    EXPECT_TRUE(bind("watcher-1")) << why.view();
    EXPECT_EQ(fake::fake_msr_maps(), 1u);
}

TEST_F(Exits, a_service_says_whether_the_module_may)
{
    EXPECT_NE(abi::provided_needs & abi::need_exits, 0u);
    EXPECT_EQ(abi::provided_needs & abi::need_intercepts, 0u);
}

}  // namespace
}  // namespace hv::test
