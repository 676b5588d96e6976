// SPDX-License-Identifier: MIT
//
// What is particular to the isolated placement, as far as the core decides it: what a module's pointer may name, where its hooks
// run, and what a hook that is thrown out leaves behind.
#include "extension_fixture.hpp"
#include "failure.hpp"

namespace hv::test {
namespace {

class Isolated : public ExtensionTest {
protected:
    Isolated() { options = {.placement = Placement::isolated}; }

    /// Calls `services` from within a hook, as the module's own code does: through the checked table.
    template <typename Services>
    void as_module(Binding& binding, Services services)
    {
        from_hook(binding.of(domain->vcpu(0)), [&](const abi::VcpuContext& context) {
            services(isolated_services, context, *binding.isolated);
        });
    }
};

TEST_F(Isolated, what_is_not_its_own_cannot_be_named)
{
    Binding& binding = bound();
    as_module(binding, [&](const abi::HostTable& host, const abi::VcpuContext& own, IsolatedMemory& memory) {
        const std::uint64_t room = memory.address_of(memory.writable());
        const std::uint64_t constants = memory.address_of(memory.constants());
        static std::uint64_t secret{7};  // not on the hook's stack
        const std::uint64_t wrong[]{reinterpret_cast<std::uintptr_t>(&secret),
                                    reinterpret_cast<std::uintptr_t>(memory.writable()),
                                    room - 1,
                                    memory.space.base,
                                    ~0ull - 3,
                                    constants};  // the last can be read, but is not written to
        for (const std::uint64_t address : wrong)
            EXPECT_EQ(host.time_now(own.domain, reinterpret_cast<std::uint64_t*>(address)), abi::status_invalid_argument);
        EXPECT_EQ(secret, 7u);
        EXPECT_EQ(host.time_now(own.domain, nullptr), abi::status_invalid_argument);
        EXPECT_EQ(host.time_now(own.domain, reinterpret_cast<std::uint64_t*>(room)), abi::status_ok);
        EXPECT_EQ(host.guest_read(own.domain, 0, reinterpret_cast<void*>(room), 16), abi::status_ok);
        EXPECT_EQ(host.guest_read(own.domain, 0, reinterpret_cast<void*>(room), 1ull << 40), abi::status_invalid_argument);
        EXPECT_EQ(host.guest_read(own.domain, 0, reinterpret_cast<void*>(constants), 16), abi::status_invalid_argument);
        EXPECT_EQ(host.guest_write(own.domain, 0, reinterpret_cast<void*>(constants), 16), abi::status_ok);
        EXPECT_EQ(host.guest_write(own.domain, 0, reinterpret_cast<void*>(binding.image.placement.address), 16),
                  abi::status_ok);
        EXPECT_EQ(host.guest_read(own.domain, 0, reinterpret_cast<void*>(binding.image.placement.address), 16),
                  abi::status_invalid_argument);
    });
}

TEST_F(Isolated, a_run_that_leaves_the_instance_is_refused_as_a_whole)
{
    Binding& binding = bound();
    as_module(binding, [&](const abi::HostTable& host, const abi::VcpuContext& own, IsolatedMemory& memory) {
        const std::uint64_t room = memory.address_of(memory.writable());
        const std::uint64_t end = room + IsolatedMemory::buffer_bytes;
        std::uint64_t bytes = IsolatedMemory::buffer_bytes;
        while (memory.reach(room, bytes + 1, true) != nullptr)
            ++bytes;
        EXPECT_GE(room + bytes, end);
        EXPECT_EQ(host.page_read(own.domain, 0, 0, reinterpret_cast<void*>(room + bytes - 4), 8),
                  abi::status_invalid_argument);
        EXPECT_EQ(host.log(abi::LogLevel::info, reinterpret_cast<const char*>(room + bytes - 4), 8),
                  abi::status_invalid_argument);
        EXPECT_EQ(host.log(abi::LogLevel::info, nullptr, 8), abi::status_invalid_argument);
        EXPECT_EQ(host.log(abi::LogLevel::info, reinterpret_cast<const char*>(room), 8), abi::status_ok);
        const auto* const array = reinterpret_cast<const abi::DeclaredLeaf*>(room + bytes - sizeof(abi::DeclaredLeaf));
        EXPECT_EQ(host.declare_leaves(own.domain, array, 2), abi::status_invalid_argument);
        EXPECT_EQ(host.tlb_flush(own.domain, reinterpret_cast<const std::uint64_t*>(room + bytes - 4), 1, 0),
                  abi::status_invalid_argument);
    });
}

TEST_F(Isolated, vector_registers_go_to_and_come_from_the_instances_own_bytes)
{
    Binding& binding = bound();
    std::array<std::byte, 256>& guest = fake::fake_vcpu(domain->vcpu(0)).vectors;
    guest[0x10] = std::byte{0x5a};
    as_module(binding, [&](const abi::HostTable& host, const abi::VcpuContext& own, IsolatedMemory& memory) {
        auto* const room = reinterpret_cast<void*>(memory.address_of(memory.writable()));
        auto* const constants = reinterpret_cast<void*>(memory.address_of(memory.constants()));
        static std::array<std::byte, 256> outside{};  // not on the hook's stack
        EXPECT_EQ(host.vector_registers_read(own.vcpu, 1, 2, room), abi::status_ok);
        EXPECT_EQ(memory.writable()[0], std::byte{0x5a});
        EXPECT_EQ(host.vector_registers_write(own.vcpu, 4, 1, room), abi::status_ok);
        EXPECT_EQ(guest[0x40], std::byte{0x5a});
        EXPECT_EQ(host.vector_registers_read(own.vcpu, 0, 1, outside.data()), abi::status_invalid_argument);
        EXPECT_EQ(host.vector_registers_write(own.vcpu, 0, 1, outside.data()), abi::status_invalid_argument);
        EXPECT_EQ(host.vector_registers_read(own.vcpu, 0, 1, constants), abi::status_invalid_argument);
        EXPECT_EQ(host.vector_registers_write(own.vcpu, 0, 1, constants), abi::status_ok);
        EXPECT_EQ(host.vector_registers_read(own.vcpu, 0, 17, room), abi::status_invalid_argument);
        EXPECT_EQ(host.vector_registers_read(own.vcpu, 0, ~0u, room), abi::status_invalid_argument);
    });
}

TEST_F(Isolated, no_service_runs_outside_of_a_hook)
{
    Binding& binding = bound();
    auto* const room = reinterpret_cast<std::uint64_t*>(binding.isolated->address_of(binding.isolated->writable()));
    EXPECT_EQ(isolated_services.time_now(binding.context.domain, room), abi::status_invalid_argument);
    EXPECT_EQ(isolated_services.vcpu_kick(binding.vcpus[0]->context.vcpu), abi::status_permission_denied);
    EXPECT_EQ(isolated_services.set_condition(binding.context.domain, 1, 1), abi::status_permission_denied);
}

TEST_F(Isolated, hooks_of_the_loaded_space_pay_no_switch)
{
    Binding& first = bound("puppet-one");
    Binding& second = bound("puppet-two");
    EXPECT_EQ(domain->resident_space, &first.isolated->space);
    platform::keep_loaded(domain->resident_space);
    const unsigned hooks = fake::isolated_hooks();
    const unsigned switches = fake::space_switches();
    from_hook(first.of(domain->vcpu(0)), [](const abi::VcpuContext&) {});
    EXPECT_EQ(fake::space_switches(), switches);
    from_hook(second.of(domain->vcpu(0)), [](const abi::VcpuContext&) {});
    EXPECT_EQ(fake::space_switches(), switches + 1);
    EXPECT_EQ(fake::isolated_hooks(), hooks + 2);
    platform::keep_loaded(nullptr);
}

TEST_F(Isolated, a_hook_that_is_thrown_out_takes_itself_back_and_ends_the_instance)
{
    options.on_fault = OnFault::detach;
    Binding& binding = bound();
    VcpuBinding& own = binding.of(domain->vcpu(0));
    static std::uint64_t* state{};
    state = own.state.working;
    const auto write = +[](const abi::VcpuContext*, std::uint32_t, std::uint32_t, std::uint64_t value) {
        state[0] = value;
        return abi::done;
    };
    binding.hooks.msr_write = write;
    EXPECT_EQ(call_hook(own, Hook::msr_write, write, 1u, 0u, std::uint64_t{5}).kind, abi::VerdictKind::done);
    EXPECT_EQ(own.state.kept[0], 5u);
    fake::fail_next_hook(platform::HookEnd::fault, {.rip = binding.image.placement.address, .vector = 13});
    const abi::Verdict verdict = call_hook(own, Hook::msr_write, write, 1u, 0u, std::uint64_t{6});
    EXPECT_EQ(verdict.kind, abi::VerdictKind::inject);
    EXPECT_EQ(own.state.working[0], 5u);
    EXPECT_EQ(own.state.kept[0], 5u);
    EXPECT_EQ(binding.route.load(), Route::ended);
    EXPECT_TRUE(binding.isolated->space.closed.load());
    EXPECT_TRUE(binding.failure.view().starts_with("module puppet-one failed in hook msr_write: general protection"))
        << binding.failure.view();
    const unsigned hooks = fake::isolated_hooks();
    EXPECT_EQ(call_hook(own, Hook::msr_write, write, 1u, 0u, std::uint64_t{7}).kind, abi::VerdictKind::inject);
    EXPECT_EQ(fake::isolated_hooks(), hooks);  // nobody enters it any more
    EXPECT_EQ(domain->state(), DomainState::building);
}

TEST_F(Isolated, a_lock_of_the_dead_hook_is_free_again)
{
    options.on_fault = OnFault::detach;
    Binding& binding = bound("puppet-serial");
    VcpuBinding& own = binding.of(domain->vcpu(0));
    fake::fail_next_hook(platform::HookEnd::over_budget);
    from_hook(own, [&](const abi::VcpuContext& context) {
        EXPECT_EQ(isolated_services.domain_update_begin(context.domain), abi::status_ok);
        binding.state.working[0] = 9;
    });
    EXPECT_EQ(binding.state.working[0], binding.state.kept[0]);
    EXPECT_TRUE(binding.state_lock.try_lock());
    binding.state_lock.unlock();
    EXPECT_TRUE(binding.serial_lock.try_lock());
    binding.serial_lock.unlock();
}

TEST_F(Isolated, crash_ends_the_domain_with_the_reason)
{
    options.on_fault = OnFault::crash;
    Binding& binding = bound();
    start();
    fake::fail_next_hook(platform::HookEnd::over_budget);
    from_hook(binding.of(domain->vcpu(0)), [](const abi::VcpuContext&) {});
    EXPECT_EQ(domain->state(), DomainState::ended);
    EXPECT_EQ(domain->end_reason(), EndReason::crash);
    EXPECT_TRUE(domain->end_text().starts_with("module puppet-one failed in hook before_entry: ran longer"))
        << domain->end_text();
}

TEST_F(Isolated, a_failure_in_the_bind_refuses_it)
{
    Module& puppet = module("puppet-one");
    fake::fail_next_hook(platform::HookEnd::fault, {.vector = 14});
    EXPECT_FALSE(ExtensionStack::bind(*domain, puppet, {}, options, why, field));
    EXPECT_TRUE(why.view().starts_with("module puppet-one failed in hook domain_create: page fault")) << why.view();
    EXPECT_EQ(domain->state(), DomainState::building);
    EXPECT_EQ(domain->extensions, nullptr);
}

TEST_F(Isolated, an_interrupt_that_a_hook_swallowed_is_looked_for)
{
    Binding& binding = bound();
    machine().here().attention.store(false);
    fake::interrupt_next_hook();
    from_hook(binding.of(domain->vcpu(0)), [](const abi::VcpuContext&) {});
    EXPECT_TRUE(machine().here().attention.load());
    EXPECT_TRUE(domain->vcpu(0).has_requests());
}

TEST_F(Isolated, the_instance_sees_no_byte_that_another_left)
{
    auto frames_of_others = frames.allocate(9, *ledger);
    ASSERT_TRUE(frames_of_others);
    std::memset(platform::to_pointer(frames_of_others.value()), 0xaa, page_size << 9);
    frames.release(frames_of_others.value(), 9, *ledger);
    Binding& binding = bound();
    const std::byte* const data = binding.image.placement.bytes.data();
    for (std::uint64_t at = 0; at < binding.image.layout.bytes(); ++at)
        if (data[at] == std::byte{0xaa} && data[at + 1] == std::byte{0xaa} && data[at + 2] == std::byte{0xaa})
            FAIL() << at;
    for (std::uint64_t at = 0; at < IsolatedMemory::buffer_bytes; ++at)
        ASSERT_NE(binding.isolated->writable()[at], std::byte{0xaa});
}

}  // namespace
}  // namespace hv::test
