// SPDX-License-Identifier: MIT
//
// The service table behind the gate of isolated modules, in the order of the ABI: the trusted table's services, with the
// arguments of those that take pointers checked.  A service without a pointer is the trusted one itself; arrays and the
// instance's own allocations need more than a copy and are here.
#include "checked_service.hpp"
#include "hv/base/checked.hpp"

namespace hv::core {
namespace services {
namespace {

constexpr std::uint64_t longest_array{4096};  // what declare_* takes
constexpr std::uint32_t vcpu_words{(maximum_vcpus + 63) / 64};
constexpr std::uint64_t largest_allocation{16 << 20};

/// The array is copied as a whole before it is looked at: another processor in the module could change it between the check
/// and the use.
template <typename Declared>
Answer declare_copied(std::uint64_t domain, const Declared* answers, std::uint64_t count,
                      Answer (*service)(std::uint64_t, const Declared*, std::uint64_t))
{
    if (answers == nullptr || count == 0 || count > longest_array)
        return service(domain, nullptr, count);
    const std::uint64_t bytes = count * sizeof(Declared);
    const std::byte* const own = reach(answers, bytes, false);
    if (own == nullptr)
        return abi::status_invalid_argument;
    Heap& heap = current_call().binding->heap;
    auto* const copy = static_cast<Declared*>(heap.allocate(static_cast<std::size_t>(bytes)));
    if (copy == nullptr)
        return abi::status_no_memory;
    std::memcpy(copy, own, static_cast<std::size_t>(bytes));
    const Answer answer = service(domain, copy, count);
    heap.release(copy);
    return answer;
}

Answer checked_declare_leaves(std::uint64_t domain, const abi::DeclaredLeaf* leaves, std::uint64_t count)
{
    return declare_copied(domain, leaves, count, declare_leaves);
}
Answer checked_declare_msr_reads(std::uint64_t domain, const abi::DeclaredMsrRead* reads, std::uint64_t count)
{
    return declare_copied(domain, reads, count, declare_msr_reads);
}
Answer checked_declare_msr_writes(std::uint64_t domain, const abi::DeclaredMsrWrite* writes, std::uint64_t count)
{
    return declare_copied(domain, writes, count, declare_msr_writes);
}

/// No more words than there can be VCPUs: further bits are ignored anyway.
Answer checked_tlb_flush(std::uint64_t domain, const std::uint64_t* vcpus, std::uint32_t words, std::uint32_t how)
{
    if (vcpus == nullptr || words == 0)
        return tlb_flush(domain, vcpus, words, how);
    std::uint64_t copy[vcpu_words];
    const std::uint32_t count = words < vcpu_words ? words : vcpu_words;
    const std::byte* const own = reach(vcpus, std::uint64_t{count} * sizeof *vcpus, false);
    if (own == nullptr)
        return abi::status_invalid_argument;
    std::memcpy(copy, own, count * sizeof *vcpus);
    return tlb_flush(domain, copy, count, how);
}

Answer checked_hypercall_instruction(std::uint8_t* bytes, std::uint32_t* length)
{
    constexpr std::uint32_t room{8};
    std::uint8_t copy[room]{};
    std::uint32_t count{};
    std::byte* const to = reach(bytes, room, true);
    std::byte* const to_length = reach(length, sizeof count, true);
    if (to == nullptr || to_length == nullptr)
        return abi::status_invalid_argument;
    const Answer answer = hypercall_instruction(copy, &count);
    if (answer != abi::status_ok)
        return answer;
    std::memcpy(to, copy, count);
    std::memcpy(to_length, &count, sizeof count);
    return answer;
}

/// Its length is a number of registers; more than there are is the service's to refuse, and no pointer is looked at then.
template <typename Bytes>
Answer with_vectors(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, Bytes* bytes,
                    Answer (*service)(std::uint64_t, std::uint32_t, std::uint32_t, Bytes*))
{
    constexpr std::uint32_t registers{16}, register_bytes{16};
    if (bytes == nullptr || count > registers)
        return service(vcpu, first, count, nullptr);
    std::byte* const own = reach(bytes, std::uint64_t{count} * register_bytes, !std::is_const_v<Bytes>);
    return own == nullptr ? Answer{abi::status_invalid_argument} : service(vcpu, first, count, own);
}
Answer checked_vector_registers_read(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, void* bytes)
{
    return with_vectors(vcpu, first, count, bytes, vector_registers_read);
}
Answer checked_vector_registers_write(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, const void* bytes)
{
    return with_vectors(vcpu, first, count, bytes, vector_registers_write);
}

Answer isolated_allocate(std::uint64_t length, std::uint64_t alignment, void** own)
{
    return serve(abi::need_allocation, [&](HookCall& call) -> Status {
        std::byte* const to = own == nullptr ? nullptr : reach(own, sizeof *own, true);
        if (to == nullptr || length == 0 || !is_power_of_two(alignment) || alignment > page_size)
            return Error::invalid_argument;
        if (length > largest_allocation)
            return Error::limit_reached;
        const std::uint64_t address = HV_TRY(call.binding->isolated->allocate(length));
        std::memcpy(to, &address, sizeof address);
        return Done{};
    }, "allocate");
}

Answer isolated_release(void* own)
{
    return serve(abi::need_allocation, [&](HookCall& call) {
        return call.binding->isolated->release_allocation(reinterpret_cast<std::uintptr_t>(own));
    }, "release");
}

/// A service that a later version has.
template <typename... Parameters>
Answer later(Parameters...)
{
    return not_supported;
}

}  // namespace
}  // namespace services

using services::Checked;
using services::later;

constinit const abi::HostTable isolated_services{
    .header = {abi::host_table_magic, abi::abi_major, abi::abi_minor, sizeof(abi::HostTable), 0},
    .log = Checked<services::log>::call,
    .explain = Checked<services::explain>::call,
    .domain_update_begin = services::domain_update_begin,
    .declare_leaves = services::checked_declare_leaves,
    .declare_msr_reads = services::checked_declare_msr_reads,
    .declare_msr_writes = services::checked_declare_msr_writes,
    .declare_eoi_assist = Checked<services::declare_eoi_assist>::call,
    .set_condition = services::set_condition,
    .registers_read = Checked<services::registers_read>::call,
    .registers_write = Checked<services::registers_write>::call,
    .vector_registers_read = services::checked_vector_registers_read,
    .vector_registers_write = services::checked_vector_registers_write,
    .inject_interrupt = services::inject_interrupt,
    .inject_nmi = services::inject_nmi,
    .interrupt_window_request = services::interrupt_window_request,
    .interrupt_watch = services::interrupt_watch,
    .intercept_msr = later,
    .tlb_flush = services::checked_tlb_flush,
    .hypercall_instruction = services::checked_hypercall_instruction,
    .guest_read = Checked<services::guest_read>::call,
    .guest_write = Checked<services::guest_write>::call,
    .guest_read_linear = Checked<services::guest_read_linear>::call,
    .guest_write_linear = Checked<services::guest_write_linear>::call,
    .translate = Checked<services::translate>::call,
    .hypercall_page_place = services::hypercall_page_place,
    .overlay_create = Checked<services::overlay_create>::call,
    .overlay_place = services::overlay_place,
    .overlay_remove = services::overlay_remove,
    .overlay_destroy = services::overlay_destroy,
    .page_read = Checked<services::page_read>::call,
    .page_write = Checked<services::page_write>::call,
    .page_pin = Checked<services::page_pin>::call,
    .page_unpin = services::page_unpin,
    .page_load = Checked<services::page_load>::call,
    .page_store = services::page_store,
    .page_exchange = Checked<services::page_exchange>::call,
    .page_compare_exchange = Checked<services::page_compare_exchange>::call,
    .page_test_and_set = Checked<services::page_test_and_set>::call,
    .page_test_and_clear = Checked<services::page_test_and_clear>::call,
    .page_map = later,
    .page_unmap = later,
    .physical_map_add = later,
    .physical_map_remove = later,
    .page_offer = later,
    .page_accept = later,
    .allocate = services::isolated_allocate,
    .release = services::isolated_release,
    .mmio_claim = later,
    .mmio_withdraw = later,
    .vcpu_by_index = Checked<services::vcpu_by_index>::call,
    .vcpu_pause = services::vcpu_pause,
    .vcpu_unpause = services::vcpu_unpause,
    .vcpu_kick = services::vcpu_kick,
    .vcpu_yield = services::vcpu_yield,
    .vcpu_block = services::vcpu_block,
    .apic_read = Checked<services::apic_read>::call,
    .apic_write = services::apic_write,
    .run_state_times = Checked<services::run_state_times>::call,
    .time_now = Checked<services::time_now>::call,
    .time_snapshot = Checked<services::time_snapshot>::call,
    .timer_create = Checked<services::timer_create>::call,
    .timer_set = Checked<services::timer_set>::call,
    .timer_cancel = services::timer_cancel,
    .timer_destroy = services::timer_destroy,
    .domain_shutdown = Checked<services::domain_shutdown>::call,
    .domain_reset = services::domain_reset,
    .domain_info = Checked<services::domain_info>::call,
    .console_write = Checked<services::console_write>::call,
    .console_read = Checked<services::console_read>::call,
    .channel_open = Checked<services::channel_open>::call,
    .channel_send = Checked<services::channel_send>::call,
    .channel_close = services::channel_close,
    .settled = Checked<services::settled>::call,
    .processor_leaf = Checked<services::processor_leaf>::call,
};

const abi::HostTable& stubs_of(abi::HostTable& table)
{
    table = {};
    table.header = isolated_services.header;
    for (unsigned position = 0; sizeof table.header + position * sizeof(std::uint64_t) < sizeof table; ++position) {
        const std::uint64_t address = platform::isolated_service(position);
        std::memcpy(reinterpret_cast<std::byte*>(&table) + sizeof table.header + position * sizeof address, &address,
                    sizeof address);
    }
    return table;
}

}  // namespace hv::core
