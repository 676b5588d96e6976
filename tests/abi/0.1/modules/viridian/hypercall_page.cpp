// SPDX-License-Identifier: MIT
//
// The page by which a guest makes hypercalls: its bytes, and the MSR that places it over the guest's memory.
// Specification: [TLFS-6.0b §3.13].
#include "viridian.hpp"

namespace hv::viridian {

/// OR EAX, 0x80000000; the hypercall instruction; RET.  The same bytes serve 64-bit and 32-bit callers.
abi::Verdict Viridian::hypercall_page(const Domain&, const abi::HypercallPageRequest& request)
{
    constexpr std::array<std::uint8_t, 5> mark{0x0d, 0x00, 0x00, 0x00, 0x80};
    constexpr std::uint8_t near_return{0xc3};
    std::uint8_t* const after_mark = std::copy(mark.begin(), mark.end(), request.bytes);
    std::uint8_t* const after_call =
        std::copy_n(&request.instruction[0], request.instruction_length, after_mark);
    *after_call = near_return;
    return abi::done_unchanged;
}

Status Viridian::write_hypercall(Vcpu& vcpu, std::uint32_t, std::uint64_t value)
{
    using Register = tlfs::HypercallRegister;
    auto* const state = HV_TRY(vcpu.update_domain());
    const std::uint64_t before{state->hypercall};
    if (Register::Locked::get(before))
        return Error::permission_denied;
    // Without an identity the bit stays clear whatever is written; a lock would make that final.
    if (Register::Enable::get(value) && state->guest_os_id == 0)
        value &= Register::PageNumber::mask;
    if (Register::Enable::get(value) || Register::Enable::get(before))
        HV_TRY(ext::check(ext::host().hypercall_page_place(
            vcpu.domain(), 0, Register::page(Register::Enable::get(value) ? value : before).raw(),
            Register::Enable::get(value) ? abi::hypercall_page_overlay : abi::hypercall_page_remove)));
    state->hypercall = value;
    return Done{};
}

}  // namespace hv::viridian
