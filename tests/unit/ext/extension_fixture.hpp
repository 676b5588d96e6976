// SPDX-License-Identifier: MIT
//
// A machine with one guest processor, a domain of two VCPUs and loaded puppets, on fakes.  After a bind a
// test may put functions of its own into the binding's hooks: they are called as a module's are.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "binding.hpp"
#include "fake_backend.hpp"
#include "fake_platform.hpp"
#include "hook_call.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/run_loop.hpp"
#include "stack.hpp"

namespace hv::test {

using namespace hv::core;

inline x86::CpuidResult no_cpuid(std::uint32_t, std::uint32_t)
{
    return {};
}

class NoWork final : public BackgroundWork {
public:
    bool step() override { return false; }
};

/// Of the program (placement_under_test.cpp).
extern const Placement placement_under_test;

class ExtensionTest : public ::testing::Test {
protected:
    static constexpr std::uint64_t memory_bytes{64ull << 20};

    ExtensionTest()
    {
        fake::reset_platform(2);
        fake::set_current_processor(1);
        set_log_level(core::LogLevel::info);
        EXPECT_TRUE(frames.add_range({HostPhysical{1 << 20}, 512ull << 20}));
        ledger = std::make_unique<Ledger>();
        heap = std::make_unique<Heap>(frames, *ledger);
        machine_.reset(new Machine{frames, *ledger, *heap, fake::reset_backend(), no_cpuid});
        install_machine(*machine_);
        machine_->scheduler.initialise(1, 1, platform::ticks_per_second(),
                                       [](unsigned processor) { machine().attend(processor); });
        registry = std::make_unique<ModuleRegistry>(*heap);
        make_domain();
    }
    ~ExtensionTest() override
    {
        end_domain();
        registry.reset();
        EXPECT_EQ(heap->allocations(), 0u);
        EXPECT_EQ(ledger->frames(), 0u);
        EXPECT_EQ(fake::module_reservations(), 0u);
        EXPECT_EQ(fake::isolated_spaces(), 0u);
        EXPECT_EQ(current_call().binding, nullptr);
    }

    void make_domain()
    {
        auto made = Domain::create(7, {.name = "guest", .memory_bytes = memory_bytes, .vcpus = 2});
        ASSERT_TRUE(made);
        domain = made.value();
    }
    void end_domain()
    {
        if (domain == nullptr)
            return;
        domain->end(EndReason::destroyed);
        Domain::destroy(domain);
        domain = nullptr;
    }

    static std::vector<std::byte> file_of(const std::string& name)
    {
        std::ifstream stream{std::string{HVX_FOLDER} + "/" + name + "/" + name + ".hvx", std::ios::binary};
        std::vector<char> bytes{std::istreambuf_iterator<char>{stream}, {}};
        const auto* const begin = reinterpret_cast<const std::byte*>(bytes.data());
        return {begin, begin + bytes.size()};
    }
    Module& module(const std::string& name)
    {
        why.clear();
        const auto loaded = registry->load(file_of(name), {}, "/lib/" + name + ".hvx", why);
        EXPECT_TRUE(loaded) << why.view();
        return *loaded.value();
    }
    Status bind(const std::string& name, std::vector<ExtensionParameter> parameters = {})
    {
        Module& of = module(name);
        why.clear();
        field.clear();
        return ExtensionStack::bind(*domain, of, parameters, options, why, field);
    }
    Binding& bound(const std::string& name = "puppet-one")
    {
        const auto done = bind(name);
        EXPECT_TRUE(done) << why.view();
        return *domain->extensions->implementation().bindings.back();
    }

    /// Calls `services` from within a hook of `binding`, as a module would.
    template <typename Services>
    abi::Verdict from_hook(VcpuBinding& vcpu, Services services)
    {
        static Services* running{};
        running = &services;
        return call_hook(
            vcpu, Hook::before_entry, +[](const abi::VcpuContext* context) -> abi::Verdict {
                (*running)(*context);
                return abi::done;
            });
    }
    [[nodiscard]] static const abi::HostTable& host() { return host_services(); }

    /// The hooks that the puppets said, in order, since forget_said().
    std::vector<std::string> said()
    {
        std::vector<std::string> hooks;
        const std::string text = fake::console().substr(said_before_);
        for (std::size_t at = text.find(": puppet-"); at != std::string::npos;
             at = text.find(": puppet-", at + 1)) {
            const std::size_t begin = text.find(' ', at) + 1;
            hooks.push_back(text.substr(begin, text.find('\n', begin) - begin));
        }
        return hooks;
    }
    std::ptrdiff_t count_said(std::string_view what)
    {
        const std::vector<std::string> all = said();
        return std::count(all.begin(), all.end(), what);
    }
    void forget_said() { said_before_ = fake::console().size(); }

    /// A hypercall by VCPU 0 from 64-bit code of ring 0, its number in RCX and its argument in RDX.
    Answered call(std::uint64_t number, std::uint64_t argument = 0)
    {
        Vcpu& vcpu = domain->vcpu(0);
        ExecutionContext context{};
        context.cr0 = 1;
        context.efer = 1 << 10;
        context.code_attributes = 0xa9b;
        vcpu.registers.general[1] = number;
        vcpu.registers.general[2] = argument;
        return domain->extensions->hypercall(vcpu, context, 3);
    }

    void start()
    {
        ASSERT_TRUE(domain->finish_build());
        domain->vcpu(0).started = true;
        ASSERT_TRUE(domain->unpause());
    }
    void turn()
    {
        NoWork work;
        run_one_turn(work);
    }

    FrameAllocator frames;
    std::unique_ptr<Ledger> ledger;
    std::unique_ptr<Heap> heap;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<ModuleRegistry> registry;
    Domain* domain{};
    BindOptions options{.placement = placement_under_test, .on_fault = OnFault::crash};
    BoundedText<400> why;
    BoundedText<100> field;

private:
    std::size_t said_before_{};
};

constexpr ExtensionParameter text_parameter(std::string_view key, std::string_view text)
{
    return {key, ExtensionParameter::Kind::text, 0, text};
}
constexpr ExtensionParameter number_parameter(std::string_view key, std::int64_t number)
{
    return {key, ExtensionParameter::Kind::integer, number, {}};
}

}  // namespace hv::test
