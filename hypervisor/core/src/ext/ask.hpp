// SPDX-License-Identifier: MIT
//
// An access to a leaf or an MSR that nobody declared, put to the module's hook; what the guest gets where there is none is said in
// hook_table.hpp.  In line: the short way of an exit and the general one both end here.
#pragma once

#include "hook_call.hpp"

namespace hv::core {

[[gnu::always_inline]] inline Answered ask_cpuid(VcpuBinding& vcpu, const Window& window, std::uint32_t leaf,
                                                  std::uint32_t subleaf, x86::CpuidResult& result)
{
    const auto hook = vcpu.binding.hooks.cpuid;
    result = {};
    if (hook == nullptr)
        return Answered::done;
    abi::CpuidResult& shared = vcpu.seat.exchange->leaf;
    shared = {};
    const Answered answered =
        settle(vcpu, call_hook(vcpu, Hook::cpuid, hook, window.id, leaf, subleaf, vcpu.seat.shown(&shared)));
    result = {shared.eax, shared.ebx, shared.ecx, shared.edx};
    return answered;
}

[[gnu::always_inline]] inline Answered ask_msr_read(VcpuBinding& vcpu, const Window& window, std::uint32_t msr,
                                                     std::uint64_t& value)
{
    const auto hook = vcpu.binding.hooks.msr_read;
    if (hook == nullptr)
        return Answered::fault;
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window.base);
    std::uint64_t& shared = vcpu.seat.exchange->value;
    shared = value;
    const Answered answered =
        settle(vcpu, call_hook(vcpu, Hook::msr_read, hook, window.id, offset, vcpu.seat.shown(&shared)));
    value = shared;
    return answered;
}

[[gnu::always_inline]] inline Answered ask_msr_write(VcpuBinding& vcpu, const Window& window, std::uint32_t msr,
                                                      std::uint64_t value)
{
    const auto hook = vcpu.binding.hooks.msr_write;
    if (hook == nullptr)
        return Answered::fault;
    const std::uint32_t offset = msr - static_cast<std::uint32_t>(window.base);
    return settle(vcpu, call_hook(vcpu, Hook::msr_write, hook, window.id, offset, value));
}

}  // namespace hv::core
