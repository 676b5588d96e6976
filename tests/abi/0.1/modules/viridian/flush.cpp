// SPDX-License-Identifier: MIT
//
// Flushes of the virtual TLB.  The core flushes whole VCPUs, so the address space and the list of addresses
// only say that something is to be flushed; more than asked for is always allowed. Specification: [TLFS-6.0b
// §9.4].
#include "hypercall.hpp"

namespace hv::viridian {
namespace {

using tlfs::FlushFlags;
using tlfs::HvStatus;

/// Words of the input: address space, flags, processor mask.  Bits of processors that do not exist are
/// ignored.
HvStatus flush(Viridian::Vcpu& vcpu, const Input& input, std::uint64_t allowed_flags)
{
    const std::uint64_t flags{input[1]};
    const std::uint64_t mask{input[2]};
    if ((flags & ~allowed_flags) != 0)
        return HvStatus::HV_STATUS_INVALID_PARAMETER;
    const bool all{FlushFlags::AllProcessors::get(flags)};
    const std::uint32_t how{FlushFlags::NonGlobalMappingsOnly::get(flags) ? abi::flush_non_global
                                                                          : abi::flush_all};
    if (all || mask != 0)
        if (!ext::check(ext::host().tlb_flush(vcpu.domain(), all ? nullptr : &mask, all ? 0 : 1, how)))
            return HvStatus::HV_STATUS_INVALID_PARAMETER;
    vcpu.state().flushes += 1;
    return HvStatus::HV_STATUS_SUCCESS;
}

}  // namespace

HvStatus flush_address_space(Viridian::Vcpu& vcpu, const Input& input)
{
    return flush(vcpu, input, FlushFlags::defined);
}

/// "Non-global only" makes no sense for a list and is not a legal flag of it.
HvStatus flush_address_list(Viridian::Vcpu& vcpu, const Input& input)
{
    return flush(vcpu, input, FlushFlags::defined & ~FlushFlags::NonGlobalMappingsOnly::mask);
}

}  // namespace hv::viridian
