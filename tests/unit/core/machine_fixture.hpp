// SPDX-License-Identifier: MIT
//
// A machine with one guest processor and a domain of two VCPUs on fakes, with nothing bound.  A test gives a VCPU steps
// (tests/fake/fake_backend.hpp) and lets it run until they are done, it sleeps, or its domain has ended.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <vector>

#include "fake_backend.hpp"
#include "fake_platform.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/run_loop.hpp"

namespace hv::test {

using namespace hv::core;
using fake::exits;
using fake::FakeVcpu;
using fake::plain_exit;
using fake::Step;

inline constexpr std::uint64_t interrupt_flag{0x200};
inline constexpr std::uint16_t code_32{0xc9b};
inline constexpr std::uint16_t code_16{0x09b};
inline constexpr std::uint16_t code_64{0xa9b};

/// A host with SMEP and little else.
inline x86::CpuidResult plain_cpuid(std::uint32_t leaf, std::uint32_t)
{
    return {.eax = leaf == 0 ? 7u : 0u, .ebx = leaf == 7 ? 1u << 7 : 0u};
}

class NoWork final : public BackgroundWork {
public:
    bool step() override { return false; }
};

class MachineTest : public testing::Test {
protected:
    MachineTest()
    {
        fake::reset_platform(2);
        fake::set_current_processor(1);
        set_log_level(core::LogLevel::info);
        EXPECT_TRUE(frames.add_range({HostPhysical{1 << 20}, 512ull << 20}));
        machine_.reset(new Machine{frames, ledger, heap, fake::reset_backend(), plain_cpuid});
        install_machine(*machine_);
        machine_->scheduler.initialise(1, 1, platform::ticks_per_second(),
                                       [](unsigned processor) { machine().attend(processor); });
    }
    ~MachineTest() override
    {
        EXPECT_EQ(fake::fake_vcpus(), 0u);
        EXPECT_EQ(heap.allocations(), 0u);
        EXPECT_EQ(ledger.frames(), 0u);
    }

    FrameAllocator frames;
    Ledger ledger;
    Heap heap{frames, ledger};
    std::unique_ptr<Machine> machine_;
};

class VcpuTest : public MachineTest {
protected:
    static constexpr std::uint64_t memory_bytes{8ull << 20};

    VcpuTest()
    {
        const auto made = Domain::create(7, {.name = "guest", .memory_bytes = memory_bytes, .vcpus = 2});
        EXPECT_TRUE(made);
        domain = made.value();
        vcpu().started = true;
        flat(code_32);
        EXPECT_TRUE(domain->finish_build());
        EXPECT_TRUE(domain->unpause());
    }
    ~VcpuTest() override
    {
        domain->end(EndReason::destroyed);
        Domain::destroy(domain);
    }

    [[nodiscard]] Vcpu& vcpu(unsigned index = 0) const { return domain->vcpu(index); }
    [[nodiscard]] FakeVcpu& guest(unsigned index = 0) const { return fake::fake_vcpu(vcpu(index)); }
    [[nodiscard]] std::uint64_t& reg(GeneralRegister which, unsigned index = 0) const
    {
        return vcpu(index).registers.general[which];
    }

    /// Protected mode (or, with code_16, as good as real mode) with flat segments and no paging, at 0x1000.
    void flat(std::uint16_t code_attributes, unsigned index = 0) const
    {
        SystemRegisters& system = guest(index).system;
        for (Segment& segment : system.segments)
            segment = {8, 0xc93, 0xffff'ffff, 0};
        system.segments[segment_cs] = {8, code_attributes, 0xffff'ffff, 0};
        system.cr0 = 1;
        system.cr4 = system.efer = 0;
        vcpu(index).registers.rip = 0x1000;
        vcpu(index).registers.rflags = 2;
    }
    /// Long mode: linear L and L + 1 GiB are physical L, below 2 MiB in small pages, with tables at 0x10000.
    void long_mode() const
    {
        flat(code_64);
        SystemRegisters& system = guest().system;
        system.cr0 = 0x8001'0001;
        system.cr4 = 0x20;
        system.efer = 0x500;
        system.cr3 = 0x1'0000;
        put<std::uint64_t>(0x1'0000, 0x1'1007);
        put<std::uint64_t>(0x1'1000, 0x1'2007);
        put<std::uint64_t>(0x1'1008, 0x1'2007);
        put<std::uint64_t>(0x1'2000, 0x1'3007);
        for (std::uint64_t page = 0; page < 512; ++page)
            put<std::uint64_t>(0x1'3000 + 8 * page, page * page_size | 7);
    }
    template <typename T>
    void put(std::uint64_t address, T value) const
    {
        EXPECT_TRUE(domain->memory.guest().write_value(GuestPhysical{address}, value));
    }
    template <typename T>
    [[nodiscard]] T get(std::uint64_t address) const
    {
        return domain->memory.guest().read_value<T>(GuestPhysical{address}).value();
    }
    void code(std::initializer_list<std::uint8_t> bytes, std::uint64_t address = 0x1000) const
    {
        for (const std::uint8_t byte : bytes)
            put(address++, byte);
    }

    /// Turns of the main loop until there is nobody to run; a VCPU whose steps are done leaves the processor.
    bool turn()
    {
        for (unsigned index = 0; index < domain->vcpu_count(); ++index)
            guest(index).when_done = [](VcpuContext& context, FakeVcpu&) {
                machine().scheduler.block(static_cast<Vcpu&>(context), Blocker::extension);
                return plain_exit(ExitKind::physical_interrupt);
            };
        NoWork work;
        unsigned turns{};
        while (turns < 20 && run_one_turn(work))
            ++turns;
        for (unsigned index = 0; index < domain->vcpu_count(); ++index)
            machine().scheduler.unblock(vcpu(index), Blocker::extension);
        return turns != 0;
    }
    /// Lets VCPU 0 do these steps, and whatever else is due.
    void run(std::initializer_list<Step> steps, unsigned index = 0)
    {
        for (const Step& step : steps)
            guest(index).script.push_back(step);
        turn();
    }
    void run(ExitKind kind, std::uint8_t length = 0) { run({exits(plain_exit(kind, length))}); }

    /// What was injected since the last call, as vectors; an NMI is 2.
    std::vector<unsigned> delivered(unsigned index = 0)
    {
        std::vector<unsigned> vectors;
        for (const Event& event : guest(index).delivered)
            vectors.push_back(event.vector);
        guest(index).delivered.clear();
        return vectors;
    }

    Domain* domain{};
};

}  // namespace hv::test
