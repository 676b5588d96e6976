// SPDX-License-Identifier: MIT
//
// Spaces of isolated instances in a test process: the instance's frames appear once more, at addresses and with the rights that
// the core asked for, and a hook runs there on its own stack.  Services are the checked ones; the gate itself, and what a
// hook cannot do in ring 3, are the system tests' matter.
#include "hv/core/platform/isolated_space.hpp"

#include <sys/mman.h>

#include <optional>
#include <utility>

#include "fake_platform.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/platform/platform.hpp"

namespace hv::fake {

namespace {

struct Failure {
    core::platform::HookEnd end;
    core::platform::HookFault fault;
};

struct State {
    unsigned spaces{};
    unsigned hooks{}, switches{};
    std::optional<Failure> failure;
    core::platform::HookFault last_fault{};
    core::platform::HookEnd last_end{};
    core::platform::HookStack last_stack{};
    bool interrupt{};
    std::uint64_t budget{~0ull};
    const core::platform::IsolatedSpace* loaded{};
};
State state;

constexpr std::uint64_t stack_bytes{256 * 1024};  // what a checked service needs under ASan is a multiple of the target's

}  // namespace

unsigned isolated_spaces()
{
    return state.spaces;
}
void fail_next_hook(core::platform::HookEnd end, const core::platform::HookFault& fault)
{
    state.failure = Failure{end, fault};
}
void show_hook_stack(const core::platform::HookStack& stack)
{
    state.last_stack = stack;
}
void interrupt_next_hook()
{
    state.interrupt = true;
}
unsigned isolated_hooks()
{
    return state.hooks;
}
unsigned space_switches()
{
    return state.switches;
}
std::uint64_t hook_budget()
{
    return state.budget;
}

}  // namespace hv::fake

/// Calls `function` with six arguments on a stack that ends at `stack`.
extern "C" std::uint64_t call_on_stack(const std::uint64_t* arguments, std::uint64_t function, std::uint64_t stack);
asm(R"(
    .text
    .globl call_on_stack
call_on_stack:
    pushq %rbp
    movq %rsp, %rbp
    movq %rdi, %rax
    movq %rsi, %r11
    movq %rdx, %rsp
    movq (%rax), %rdi
    movq 8(%rax), %rsi
    movq 16(%rax), %rdx
    movq 24(%rax), %rcx
    movq 32(%rax), %r8
    movq 40(%rax), %r9
    call *%r11
    movq %rbp, %rsp
    popq %rbp
    ret
)");

namespace hv::core::platform {

using fake::state;

Status create_isolated_space(IsolatedSpace& space)
{
    void* const pages = mmap(nullptr, isolated_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED)
        return Error::no_memory;
    const auto root = space.frames.allocate(0, space.ledger);
    if (!root) {
        HV_ASSERT(munmap(pages, isolated_bytes) == 0);
        return root.error();
    }
    space.root = root.value();
    space.base = reinterpret_cast<std::uint64_t>(pages);
    ++state.spaces;
    return Done{};
}

void destroy_isolated_space(IsolatedSpace& space)
{
    HV_ASSERT(state.loaded != &space);
    if (space.root == HostPhysical{})
        return;
    HV_ASSERT(munmap(reinterpret_cast<void*>(space.base), isolated_bytes) == 0);
    space.frames.release(space.root, 0, space.ledger);
    space.root = HostPhysical{};
    --state.spaces;
}

Status map_isolated_pages(IsolatedSpace& space, std::uint64_t address, HostPhysical frames, std::uint64_t bytes,
                          ModuleAccess access)
{
    HV_ASSERT(address >= space.base && address + bytes <= space.base + isolated_bytes);
    if (fake::module_mapping_fails())
        return Error::no_memory;
    const int rights = access == ModuleAccess::read_execute ? PROT_READ | PROT_EXEC
                       : access == ModuleAccess::read_write ? PROT_READ | PROT_WRITE
                                                            : PROT_READ;
    void* const mapped = mmap(reinterpret_cast<void*>(address), bytes, rights, MAP_SHARED | MAP_FIXED,
                              fake::physical_memory(), static_cast<off_t>(frames.raw()));
    return mapped == MAP_FAILED ? Status{Error::no_memory} : Status{Done{}};
}

std::uint64_t isolated_stack_bytes()
{
    return fake::stack_bytes;
}

std::uint64_t isolated_service(unsigned position)
{
    const auto* const services = reinterpret_cast<const std::uint64_t*>(&isolated_services);
    return services[sizeof(abi::AbiHeader) / sizeof(std::uint64_t) + position];
}

std::uint64_t isolated_return()
{
    return 0;  // hooks return to call_on_stack
}

void keep_loaded(const IsolatedSpace* space)
{
    state.loaded = space;
}

HookOutcome run_isolated_hook(IsolatedSpace& space, const HookCallFrame& frame)
{
    ++state.hooks;
    if (state.loaded != &space)
        ++state.switches;
    HV_ASSERT(frame.stack % 16 == 8);
    const std::uint64_t verdict = call_on_stack(frame.arguments, frame.function, frame.stack + sizeof(std::uint64_t));
    const bool interrupted = std::exchange(state.interrupt, false);
    if (space.closed.load())
        return {0, HookEnd::closed, interrupted};
    if (!state.failure)
        return {verdict, HookEnd::returned, interrupted};
    state.last_fault = state.failure->fault;
    return {0, std::exchange(state.failure, std::nullopt)->end, interrupted};
}

extern "C" TrustedOutcome hv_run_trusted_hook(std::uint64_t context, std::uint64_t a, std::uint64_t b, std::uint64_t c,
                                              std::uint64_t d, std::uint64_t function)
{
    using Hook = std::uint64_t (*)(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t);
    const std::uint64_t verdict = reinterpret_cast<Hook>(function)(context, a, b, c, d);
    if (!state.failure)
        return {verdict, 0};
    state.last_fault = state.failure->fault;
    state.last_end = std::exchange(state.failure, std::nullopt)->end;
    return {0, 1};
}

std::uint64_t hook_budget()
{
    return state.budget;
}

HookEnd last_hook_end()
{
    return state.last_end;
}

const HookFault& last_hook_fault()
{
    return state.last_fault;
}

HookStack last_hook_stack()
{
    return state.last_stack;
}

void set_hook_budget(std::uint64_t ticks)
{
    state.budget = ticks;
}

}  // namespace hv::core::platform
