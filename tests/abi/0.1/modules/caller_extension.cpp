// SPDX-License-Identifier: MIT
//
// Calls every service of ABI 0.1, by its number in the table: a hypercall with the number in RAX and zeros as arguments, what
// the service said in RAX afterwards.
#include "hv/ext/extension.hpp"

using namespace hv;

namespace {

/// By the signature that the member has in these headers.
template <auto Service>
abi::Answer call_with_zeros()
{
    return []<typename... Parameters>(abi::Answer (*service)(Parameters...)) {
        return service(Parameters{}...);
    }(ext::host().*Service);
}

using Call = abi::Answer (*)();

template <auto... Services>
constexpr std::array<Call, sizeof...(Services)> calls_of{call_with_zeros<Services>...};

using Host = abi::HostTable;
constexpr auto calls = calls_of<
    &Host::log, &Host::explain, &Host::domain_update_begin, &Host::declare_leaves, &Host::declare_msr_reads,
    &Host::declare_msr_writes, &Host::declare_eoi_assist, &Host::set_condition, &Host::registers_read,
    &Host::registers_write, &Host::vector_registers_read, &Host::vector_registers_write, &Host::inject_interrupt,
    &Host::inject_nmi, &Host::interrupt_window_request, &Host::interrupt_watch, &Host::intercept_msr,
    &Host::tlb_flush, &Host::hypercall_instruction, &Host::guest_read, &Host::guest_write, &Host::guest_read_linear,
    &Host::guest_write_linear, &Host::translate, &Host::hypercall_page_place, &Host::overlay_create,
    &Host::overlay_place, &Host::overlay_remove, &Host::overlay_destroy, &Host::page_read, &Host::page_write,
    &Host::page_pin, &Host::page_unpin, &Host::page_load, &Host::page_store, &Host::page_exchange,
    &Host::page_compare_exchange, &Host::page_test_and_set, &Host::page_test_and_clear, &Host::page_map,
    &Host::page_unmap, &Host::physical_map_add, &Host::physical_map_remove, &Host::page_offer, &Host::page_accept,
    &Host::allocate, &Host::release, &Host::mmio_claim, &Host::mmio_withdraw, &Host::vcpu_by_index,
    &Host::vcpu_pause, &Host::vcpu_unpause, &Host::vcpu_kick, &Host::vcpu_yield, &Host::vcpu_block, &Host::apic_read,
    &Host::apic_write, &Host::run_state_times, &Host::time_now, &Host::time_snapshot, &Host::timer_create,
    &Host::timer_set, &Host::timer_cancel, &Host::timer_destroy, &Host::domain_shutdown, &Host::domain_reset,
    &Host::domain_info, &Host::console_write, &Host::console_read, &Host::channel_open, &Host::channel_send,
    &Host::channel_close>;
static_assert(sizeof(abi::HostTable) == sizeof(abi::AbiHeader) + calls.size() * sizeof(void*));

}  // namespace

struct Caller {
    static constexpr ext::Info info{.name = "caller",
                                    .version_major = 1,
                                    .needs = abi::provided_needs,
                                    .description = "calls the service whose number is in RAX"};
    static constexpr std::array windows{
        ext::hypercalls_where(1, {.modes = abi::match_long_64, .operand = abi::match_always}),
    };
    static abi::Verdict hypercall(ext::Vcpu<Caller>&, abi::HypercallFrame& frame)
    {
        std::uint64_t& word = frame.general[0];
        if (word >= calls.size())
            return abi::inject_general_protection;
        word = static_cast<std::uint64_t>(static_cast<std::int64_t>(calls[word]()));
        return abi::done_unchanged;
    }
};

HV_EXTENSION(Caller)
