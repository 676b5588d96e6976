// SPDX-License-Identifier: MIT
//
// How every service begins and ends: whose hook calls, may it, does its handle lead somewhere; and an error
// as the ABI's answer.  A service is `return serve(domain, need, [&](HookCall& call) -> Status { … });`.
#pragma once

#include "hook_call.hpp"
#include "stack.hpp"

namespace hv::core::services {

using abi::Answer;

constexpr Answer answer_of(const Status& status)
{
    return status ? abi::status_ok : -static_cast<Answer>(status.error());
}

constexpr Answer not_supported{abi::status_not_supported};

/// Added to the need of a service that changes more than the instance itself: an instance that only rehearses
/// does not get it.
inline constexpr std::uint64_t acts{1ull << 63};

/// The call whose hook asks, if it may: a service is called from a hook, by a module that has named the need.
inline Expected<HookCall*> caller(std::uint64_t need)
{
    HookCall& call = current_call();
    const std::uint64_t named = need & ~acts;
    if (call.binding == nullptr || (call.binding->needs & named) != named)
        return Error::permission_denied;
    if ((need & acts) != 0 && rehearses(call))
        return Error::busy;
    return &call;
}

/// Notes the answer among the calling instance's events.
inline Answer answered(const char* name, Answer answer)
{
    const HookCall& call = current_call();
    if (call.binding != nullptr)
        (call.vcpu != nullptr ? call.vcpu->events : call.binding->events).service_answered(name, answer);
    return answer;
}

/// A service without a handle.  `name` is the calling function's.
template <typename Body>
Answer serve(std::uint64_t need, Body body, const char* name = __builtin_FUNCTION())
{
    const auto call = caller(need);
    return answered(name, answer_of(call ? body(*call.value()) : Status{call.error()}));
}

/// A service of the domain.
template <typename Body>
Answer serve_domain(std::uint64_t domain, std::uint64_t need, Body body, const char* name = __builtin_FUNCTION())
{
    return serve(
        need,
        [&](HookCall& call) -> Status {
            if (domain != call.binding->context.domain)
                return Error::invalid_argument;
            return body(call);
        },
        name);
}

/// A service of one VCPU.
template <typename Body>
Answer serve_vcpu(std::uint64_t vcpu, std::uint64_t need, Body body, const char* name = __builtin_FUNCTION())
{
    return serve(
        need,
        [&](HookCall& call) -> Status {
            VcpuBinding* const own = call.binding->vcpu_of(vcpu);
            if (own == nullptr)
                return Error::invalid_argument;
            return body(call, *own);
        },
        name);
}

/// A service whose handle is that of a page or a timer.
inline Expected<Handle> own_handle(const HookCall& call, std::uint64_t handle, HandleKind kind)
{
    const Handle parts{handle};
    if (!parts.is_of(kind, call.binding->number))
        return Error::invalid_argument;
    return parts;
}

/// The calling hook's own VCPU, or one that stands still: its registers can be touched.  Else busy.
inline Status check_still(const HookCall& call, const VcpuBinding& vcpu)
{
    if (call.vcpu == &vcpu || (!vcpu.vcpu.running() && (vcpu.vcpu.blocked_by(Blocker::extension) ||
                                                        vcpu.vcpu.blocked_by(Blocker::paused))))
        return Done{};
    return Error::busy;
}

// The services, by file; contracts are in hv/abi/host_table.hpp.

Answer log(abi::LogLevel level, const char* text, std::uint64_t length);  // services_state.cpp
Answer explain(std::uint64_t domain, const char* text, std::uint64_t length);
Answer settled(std::uint64_t domain, const char* key, std::uint64_t key_length, const char* value, std::uint64_t value_length);
Answer domain_update_begin(std::uint64_t domain);
Answer declare_leaves(std::uint64_t domain, const abi::DeclaredLeaf* leaves, std::uint64_t count);
Answer declare_msr_reads(std::uint64_t domain, const abi::DeclaredMsrRead* reads, std::uint64_t count);
Answer declare_msr_writes(std::uint64_t domain, const abi::DeclaredMsrWrite* writes, std::uint64_t count);
Answer declare_eoi_assist(std::uint64_t vcpu, const abi::DeclaredEoiAssist* assist);
Answer set_condition(std::uint64_t domain, std::uint32_t condition, std::uint32_t on);

Answer registers_read(std::uint64_t vcpu, std::uint32_t groups,
                      abi::GuestRegisters* registers);  // services_hvm.cpp
Answer registers_write(std::uint64_t vcpu, std::uint32_t groups, const abi::GuestRegisters* registers);
Answer vector_registers_read(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, void* bytes);  // services_vectors.cpp
Answer vector_registers_write(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, const void* bytes);
Answer inject_interrupt(std::uint64_t vcpu, std::uint32_t vector, std::uint32_t how);
Answer inject_nmi(std::uint64_t vcpu);
Answer interrupt_window_request(std::uint64_t vcpu);
Answer interrupt_watch(std::uint64_t vcpu, std::uint32_t vector, std::uint32_t what);  // interrupt_watch.cpp
Answer tlb_flush(std::uint64_t domain, const std::uint64_t* vcpus, std::uint32_t words, std::uint32_t how);
Answer hypercall_instruction(std::uint8_t* bytes, std::uint32_t* length);

Answer guest_read(std::uint64_t domain, std::uint64_t gpa, void* own,
                  std::uint64_t length);  // services_memory.cpp
Answer guest_write(std::uint64_t domain, std::uint64_t gpa, const void* own, std::uint64_t length);
Answer guest_read_linear(std::uint64_t vcpu, std::uint64_t address, void* own, std::uint64_t length,
                         std::uint32_t flags, abi::GuestFault* fault);
Answer guest_write_linear(std::uint64_t vcpu, std::uint64_t address, const void* own, std::uint64_t length,
                          std::uint32_t flags, abi::GuestFault* fault);
Answer translate(std::uint64_t vcpu, std::uint64_t address, std::uint32_t flags, std::uint64_t* gpa,
                 abi::GuestFault* fault);
Answer allocate(std::uint64_t length, std::uint64_t alignment, void** own);
Answer release(void* own);

Answer hypercall_page_place(std::uint64_t domain, std::uint32_t page, std::uint64_t gpa,
                            std::uint32_t how);  // services_pages.cpp
Answer overlay_create(std::uint64_t domain, std::uint64_t* page);
Answer overlay_place(std::uint64_t domain, std::uint64_t page, std::uint64_t gpa, std::uint32_t writable);
Answer overlay_remove(std::uint64_t domain, std::uint64_t page);
Answer overlay_destroy(std::uint64_t domain, std::uint64_t page);
Answer page_read(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, void* own,
                 std::uint64_t length);
Answer page_write(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, const void* own,
                  std::uint64_t length);
Answer page_pin(std::uint64_t domain, std::uint64_t gpa, std::uint32_t access, std::uint64_t* page);
Answer page_unpin(std::uint64_t domain, std::uint64_t page);
Answer page_load(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                 std::uint64_t* value);
Answer page_store(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                  std::uint64_t value);
Answer page_exchange(std::uint64_t domain, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                     std::uint64_t value, std::uint64_t* before);
Answer page_compare_exchange(std::uint64_t domain, std::uint64_t page, std::uint32_t offset,
                             std::uint32_t size, std::uint64_t expected, std::uint64_t desired,
                             std::uint64_t* before);
Answer page_test_and_set(std::uint64_t domain, std::uint64_t page, std::uint32_t bit, std::uint32_t* before);
Answer page_test_and_clear(std::uint64_t domain, std::uint64_t page, std::uint32_t bit,
                           std::uint32_t* before);

Answer vcpu_by_index(std::uint64_t domain, std::uint32_t index, std::uint64_t* vcpu);  // services_vcpu.cpp
Answer vcpu_pause(std::uint64_t vcpu);
Answer vcpu_unpause(std::uint64_t vcpu);
Answer run_state_times(std::uint64_t vcpu, abi::RunStateTimes* times);
Answer vcpu_kick(std::uint64_t vcpu);
Answer vcpu_yield(std::uint64_t vcpu);
Answer vcpu_block(std::uint64_t vcpu, std::uint32_t wake, std::uint64_t deadline_ns);
Answer apic_read(std::uint64_t vcpu, std::uint32_t apic_register, std::uint64_t* value);
Answer apic_write(std::uint64_t vcpu, std::uint32_t apic_register, std::uint64_t value);

Answer time_now(std::uint64_t domain, std::uint64_t* guest_ns);  // services_time.cpp
Answer time_snapshot(std::uint64_t vcpu, abi::TimeSnapshot* snapshot);
Answer timer_create(std::uint64_t vcpu, std::uint64_t cookie, std::uint64_t* timer);
Answer timer_set(std::uint64_t timer, const abi::TimerSetting* setting);
Answer timer_cancel(std::uint64_t timer);
Answer timer_destroy(std::uint64_t timer);

Answer domain_shutdown(std::uint64_t domain, abi::ShutdownReason reason, const char* text,
                       std::uint64_t length);  // services_domain.cpp
Answer domain_reset(std::uint64_t domain);
Answer domain_info(std::uint64_t domain, abi::DomainInfo* info);
Answer processor_leaf(std::uint64_t domain, std::uint32_t leaf, std::uint32_t subleaf, abi::CpuidResult* values);
Answer console_write(std::uint64_t domain, const char* text, std::uint64_t length, std::uint64_t* written);
Answer console_read(std::uint64_t domain, char* text, std::uint64_t length, std::uint64_t* read);

Answer channel_open(std::uint64_t domain, const char* name, std::uint64_t length,
                    std::uint64_t* channel);  // services_channel.cpp
Answer channel_send(std::uint64_t channel, const void* bytes, std::uint64_t length);
Answer channel_close(std::uint64_t channel);

}  // namespace hv::core::services
