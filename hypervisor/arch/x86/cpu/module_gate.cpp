// SPDX-License-Identifier: MIT
//
// Running a hook of an isolated module: see isolated_space.hpp for what it promises and module_gate.S for the instructions.
// Host state is complete here: hv_svm_run has loaded it, TR and LDTR included, before it set GIF; EFER.SCE is clear and CR0.TS
// set for as long as the hypervisor runs [APM2-3.41 §15.6, §15.17].
#include "hv/arch/x86/cpu/module_gate.hpp"

#include <algorithm>
#include <cstring>

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/module_gate_offsets.h"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/arch/x86/platform/clock.hpp"
#include "hv/arch/x86/platform/local_apic.hpp"
#include "hv/base/assert.hpp"
#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/platform/platform.hpp"
#include "hv/x86/exceptions.hpp"

static_assert(offsetof(hv::x86::PerCpu, tss) + offsetof(hv::x86::TaskStateSegment, rsp) == PER_CPU_RSP0);
static_assert(offsetof(hv::x86::PerCpu, trusted_stack) == PER_CPU_TRUSTED_STACK);
static_assert(offsetof(hv::x86::PerCpu, trusted_hooks) == PER_CPU_TRUSTED_HOOKS);
static_assert(static_cast<unsigned>(hv::x86::Selector::kernel_data) == KERNEL_DATA);
static_assert(static_cast<unsigned>(hv::x86::Selector::user_data) == USER_DATA);
static_assert(static_cast<unsigned>(hv::x86::Selector::user_code) == USER_CODE);
static_assert(sizeof(hv::abi::AbiHeader) == SERVICE_TABLE_HEADER);
static_assert(hv::abi::status_not_supported == STATUS_NOT_SUPPORTED);

namespace {

constexpr std::uint32_t services{(sizeof(hv::abi::HostTable) - sizeof(hv::abi::AbiHeader)) / 8};
static_assert(services < 256);  // a page of stubs

struct ModuleExit {
    std::uint64_t verdict;
    std::uint64_t thrown_out;
};

}  // namespace

/// Of module_gate.S.
extern "C" ModuleExit hv_enter_module(std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t,
                                      std::uint64_t function, std::uint64_t stack);
extern "C" const std::byte hv_module_thrown_out[];
extern "C" const std::byte hv_module_thrown_out_paranoid[];
extern "C" const std::byte hv_trusted_thrown_out[];
extern "C" const char image_text_begin[];
extern "C" const char image_text_end[];
extern "C" const std::uint32_t hv_isolated_service_count;
constinit const std::uint32_t hv_isolated_service_count{services};

namespace hv::x86 {

namespace {

using core::platform::HookEnd;
using core::platform::HookFault;
using core::platform::IsolatedSpace;

constexpr std::uint64_t kept_stack_bytes{1024};

/// What a processor knows of the hook that runs on it, and of the last that was thrown out.
struct alignas(64) GateState {
    const IsolatedSpace* running;
    std::uint64_t kept_root;  ///< what CR3 holds outside of hooks; 0: the hypervisor's own
    std::uint64_t began;
    bool interrupted;
    HookEnd end;
    HookFault fault;
    std::uint64_t stack_address, stack_top, stack_bytes;  ///< of a trusted hook: what `stack` is a copy of
    std::byte stack[kept_stack_bytes];
};

constinit GateState gates[core::platform::maximum_processors]{};
constinit std::uint64_t budget{~0ull};

/// What is known of the trusted hook that another processor runs: its number there, and since when.
struct alignas(64) Watched {
    std::atomic<std::uint64_t> hook;
    std::atomic<std::uint64_t> since;
};
constinit Watched watched[core::platform::maximum_processors]{};

GateState& this_gate()
{
    return gates[this_cpu().number];
}

std::uint64_t root_of(const IsolatedSpace* space)
{
    return space != nullptr ? space->root.raw() : host_page_tables().root().raw();
}

void note_registers(HookFault& fault, const InterruptFrame& frame)
{
    fault = {.general = {frame.rax, frame.rcx, frame.rdx, frame.rbx, frame.rsp, frame.rbp, frame.rsi, frame.rdi,
                         frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15},
             .rip = frame.rip,
             .rflags = frame.rflags,
             .address = frame.vector == static_cast<std::uint64_t>(Exception::PF) ? read_cr2() : 0,
             .vector = static_cast<std::uint32_t>(frame.vector),
             .error_code = static_cast<std::uint32_t>(frame.error_code)};
}

/// The interrupted ring-3 code is never resumed: the frame leads back to where the hook was entered.
void throw_out(InterruptFrame& frame, HookEnd end)
{
    GateState& gate = this_gate();
    HV_ASSERT(frame.from_user() && gate.running != nullptr);
    note_registers(gate.fault, frame);
    gate.end = end;
    const bool paranoid = frame.vector == static_cast<std::uint64_t>(Exception::DB);
    frame.rip = reinterpret_cast<std::uintptr_t>(paranoid ? hv_module_thrown_out_paranoid : hv_module_thrown_out);
    frame.cs = static_cast<std::uint64_t>(Selector::kernel_code);
    frame.ss = static_cast<std::uint64_t>(Selector::kernel_data);
    frame.rsp = this_cpu().tss.rsp[0];
    frame.rflags = 2;
}

/// A trusted hook's frames lie where its caller goes on: they are copied before it does.
void keep_stack(GateState& gate, std::uint64_t from, std::uint64_t top)
{
    gate.stack_address = from;
    gate.stack_top = top;
    gate.stack_bytes = from < top ? std::min(top - from, kept_stack_bytes) : 0;
    if (gate.stack_bytes != 0 && on_a_stack(from, gate.stack_bytes))
        std::memcpy(gate.stack, reinterpret_cast<const std::byte*>(from), static_cast<std::size_t>(gate.stack_bytes));
    else
        gate.stack_bytes = 0;
}

bool is_in_hypervisor(std::uint64_t address)
{
    return address >= reinterpret_cast<std::uintptr_t>(image_text_begin) &&
           address < reinterpret_cast<std::uintptr_t>(image_text_end);
}

void watch_hook_of(unsigned number, std::uint64_t now)
{
    PerCpu& cpu = cpu_data(number);
    Watched& seen = watched[number];
    const std::uint64_t hook = cpu.trusted_hooks.load(std::memory_order_relaxed);
    if (cpu.trusted_stack.load(std::memory_order_relaxed) == 0 || seen.hook.load(std::memory_order_relaxed) != hook) {
        seen.hook.store(hook, std::memory_order_relaxed);
        seen.since.store(now, std::memory_order_relaxed);
    } else if (now - seen.since.load(std::memory_order_relaxed) >= budget) {
        seen.since.store(now, std::memory_order_relaxed);
        cpu.accused_hook.store(hook);
        send_interrupt(cpu.apic_id, DeliveryMode::nmi, 0);
    }
}

/// Arms the watch over hooks where it is not armed.  It is left so when the hook ends: one interrupt in each budget's time, and
/// only while hooks run, instead of two writes to the timer around each.
void watch(GateState& gate)
{
    gate.began = read_tsc();
    if (this_cpu().guard == ~0ull && budget != ~0ull) [[unlikely]]
        arm_guard(gate.began + budget);
}

}  // namespace

void throw_module_out(InterruptFrame& frame)
{
    throw_out(frame, HookEnd::fault);
}

bool throw_trusted_out(InterruptFrame& frame, HookEnd end)
{
    PerCpu& cpu = this_cpu();
    const std::uint64_t stack = cpu.trusted_stack.load(std::memory_order_relaxed);
    if (stack == 0 || frame.from_user() || is_in_hypervisor(frame.rip))
        return false;
    GateState& gate = this_gate();
    note_registers(gate.fault, frame);
    gate.end = end;
    keep_stack(gate, frame.rsp, stack);
    frame.rip = reinterpret_cast<std::uintptr_t>(hv_trusted_thrown_out);
    frame.cs = static_cast<std::uint64_t>(Selector::kernel_code);
    frame.ss = static_cast<std::uint64_t>(Selector::kernel_data);
    frame.rsp = stack;
    frame.rflags = 2;
    return true;
}

bool trusted_hook_is_accused(InterruptFrame& frame)
{
    PerCpu& cpu = this_cpu();
    const std::uint64_t accused = cpu.accused_hook.exchange(0);
    if (accused == 0)
        return false;
    if (accused == cpu.trusted_hooks.load(std::memory_order_relaxed))
        static_cast<void>(throw_trusted_out(frame, HookEnd::over_budget));
    return true;
}

void module_was_interrupted(InterruptFrame& frame)
{
    GateState& gate = this_gate();
    gate.interrupted = true;
    if (gate.running->closed.load(std::memory_order_acquire))
        return throw_out(frame, HookEnd::closed);
    if (budget == ~0ull)
        return;
    if (read_tsc() - gate.began >= budget)
        return throw_out(frame, HookEnd::over_budget);
    if (this_cpu().guard == ~0ull)
        arm_guard(gate.began + budget);
}

}  // namespace hv::x86

namespace hv::core::platform {

using namespace hv::x86;

void keep_loaded(const IsolatedSpace* space)
{
    GateState& gate = this_gate();
    HV_ASSERT(gate.running == nullptr && this_cpu().number != 0);
    const std::uint64_t root = space != nullptr ? space->root.raw() : 0;
    if (gate.kept_root == root)
        return;
    gate.kept_root = root;
    write_cr3(root_of(space));
}

HookOutcome run_isolated_hook(IsolatedSpace& space, const HookCallFrame& frame)
{
    GateState& gate = this_gate();
    HV_ASSERT(gate.running == nullptr && this_cpu().number != 0);
    const bool elsewhere = gate.kept_root != space.root.raw();
    if (elsewhere)
        write_cr3(space.root.raw());
    gate.running = &space;
    gate.interrupted = false;
    watch(gate);
    const auto& arguments = frame.arguments;
    const ModuleExit exit = hv_enter_module(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                                            frame.function, frame.stack);
    gate.running = nullptr;
    if (elsewhere)
        write_cr3(gate.kept_root != 0 ? gate.kept_root : root_of(nullptr));
    return {exit.verdict, exit.thrown_out == 0 ? HookEnd::returned : gate.end, gate.interrupted};
}

void watch_trusted_hooks()
{
    if (budget == ~0ull)
        return;
    const std::uint64_t now = read_tsc();
    for (unsigned number = 1; number < processor_count(); ++number)
        if (number != this_cpu().number)
            watch_hook_of(number, now);
}

std::uint64_t hook_budget()
{
    return budget;
}

HookEnd last_hook_end()
{
    return this_gate().end;
}

const HookFault& last_hook_fault()
{
    return this_gate().fault;
}

HookStack last_hook_stack()
{
    const GateState& gate = this_gate();
    return {gate.stack_address, gate.stack_top, std::span{gate.stack}.first(static_cast<std::size_t>(gate.stack_bytes))};
}

void set_hook_budget(std::uint64_t ticks)
{
    budget = ticks;
}

}  // namespace hv::core::platform
