// SPDX-License-Identifier: MIT
//
// The service table, in the order of the ABI.  What is not served yet is there and says so.
#include "service_call.hpp"

namespace hv::core {
namespace {

/// A service of a later version, with whatever parameters.
template <typename... Parameters>
abi::Answer later(Parameters...)
{
    return services::not_supported;
}

constexpr abi::HostTable table{
    .header = {abi::host_table_magic, abi::abi_major, abi::abi_minor, sizeof(abi::HostTable), 0},
    .log = services::log,
    .explain = services::explain,
    .domain_update_begin = services::domain_update_begin,
    .declare_leaves = services::declare_leaves,
    .declare_msr_reads = services::declare_msr_reads,
    .declare_msr_writes = services::declare_msr_writes,
    .declare_eoi_assist = services::declare_eoi_assist,
    .set_condition = services::set_condition,
    .registers_read = services::registers_read,
    .registers_write = services::registers_write,
    .vector_registers_read = services::vector_registers_read,
    .vector_registers_write = services::vector_registers_write,
    .inject_interrupt = services::inject_interrupt,
    .inject_nmi = services::inject_nmi,
    .interrupt_window_request = services::interrupt_window_request,
    .interrupt_watch = services::interrupt_watch,
    .intercept_msr = later,
    .tlb_flush = services::tlb_flush,
    .hypercall_instruction = services::hypercall_instruction,
    .guest_read = services::guest_read,
    .guest_write = services::guest_write,
    .guest_read_linear = services::guest_read_linear,
    .guest_write_linear = services::guest_write_linear,
    .translate = services::translate,
    .hypercall_page_place = services::hypercall_page_place,
    .overlay_create = services::overlay_create,
    .overlay_place = services::overlay_place,
    .overlay_remove = services::overlay_remove,
    .overlay_destroy = services::overlay_destroy,
    .page_read = services::page_read,
    .page_write = services::page_write,
    .page_pin = services::page_pin,
    .page_unpin = services::page_unpin,
    .page_load = services::page_load,
    .page_store = services::page_store,
    .page_exchange = services::page_exchange,
    .page_compare_exchange = services::page_compare_exchange,
    .page_test_and_set = services::page_test_and_set,
    .page_test_and_clear = services::page_test_and_clear,
    .page_map = later,
    .page_unmap = later,
    .physical_map_add = later,
    .physical_map_remove = later,
    .page_offer = later,
    .page_accept = later,
    .allocate = services::allocate,
    .release = services::release,
    .mmio_claim = later,
    .mmio_withdraw = later,
    .vcpu_by_index = services::vcpu_by_index,
    .vcpu_pause = services::vcpu_pause,
    .vcpu_unpause = services::vcpu_unpause,
    .vcpu_kick = services::vcpu_kick,
    .vcpu_yield = services::vcpu_yield,
    .vcpu_block = services::vcpu_block,
    .apic_read = services::apic_read,
    .apic_write = services::apic_write,
    .run_state_times = services::run_state_times,
    .time_now = services::time_now,
    .time_snapshot = services::time_snapshot,
    .timer_create = services::timer_create,
    .timer_set = services::timer_set,
    .timer_cancel = services::timer_cancel,
    .timer_destroy = services::timer_destroy,
    .domain_shutdown = services::domain_shutdown,
    .domain_reset = services::domain_reset,
    .domain_info = services::domain_info,
    .console_write = services::console_write,
    .console_read = services::console_read,
    .channel_open = services::channel_open,
    .channel_send = services::channel_send,
    .channel_close = services::channel_close,
    .settled = services::settled,
    .processor_leaf = services::processor_leaf,
};

}  // namespace

const abi::HostTable& host_services()
{
    return table;
}

}  // namespace hv::core
