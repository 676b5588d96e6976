// SPDX-License-Identifier: MIT
//
// Flushes of the virtual TLB.  The core flushes whole VCPUs, so the address space and the list of addresses
// only say that something is to be flushed; more than asked for is always allowed. Specification: [TLFS-6.0b
// §9.4].
#include "cpuid.hpp"
#include "hypercall.hpp"

namespace hv::viridian {
namespace {

using tlfs::FlushFlags;
using tlfs::HvStatus;

static_assert(maximum_virtual_processors <= 64, "one word has them all");

/// `mask` has a bit for each VP.  Bits of processors that do not exist are ignored.
HvStatus flush(Viridian::Vcpu& vcpu, std::uint64_t flags, std::uint64_t allowed_flags, bool all, std::uint64_t mask)
{
    if ((flags & ~allowed_flags) != 0)
        return HvStatus::HV_STATUS_INVALID_PARAMETER;
    const std::uint32_t how{FlushFlags::NonGlobalMappingsOnly::get(flags) ? abi::flush_non_global
                                                                          : abi::flush_all};
    if (all || mask != 0)
        if (!ext::check(ext::host().tlb_flush(vcpu.domain(), all ? nullptr : &mask, all ? 0 : 1, how)))
            return HvStatus::HV_STATUS_INVALID_PARAMETER;
    vcpu.state().flushes += 1;
    return HvStatus::HV_STATUS_SUCCESS;
}

/// Words of the input: address space, flags, processor mask.
HvStatus flush_by_mask(Viridian::Vcpu& vcpu, const Input& input, std::uint64_t allowed_flags)
{
    return flush(vcpu, input[1], allowed_flags, FlushFlags::AllProcessors::get(input[1]), input[2]);
}

/// Words of the input: address space, flags, a set of processors.
HvStatus flush_by_set(Viridian::Vcpu& vcpu, const Input& input, std::uint64_t allowed_flags)
{
    const VpSet set{input.vp_set(2)};
    if (const HvStatus status{set.check()}; status != HvStatus::HV_STATUS_SUCCESS)
        return status;
    const bool all{set.all() || FlushFlags::AllProcessors::get(input[1])};
    return flush(vcpu, input[1], allowed_flags, all, set.bank(0));
}

/// "Non-global only" makes no sense for a list and is not a legal flag of it.
constexpr std::uint64_t flags_of_a_list{FlushFlags::defined & ~FlushFlags::NonGlobalMappingsOnly::mask};

}  // namespace

HvStatus flush_address_space(Viridian::Vcpu& vcpu, const Input& input)
{
    return flush_by_mask(vcpu, input, FlushFlags::defined);
}

HvStatus flush_address_list(Viridian::Vcpu& vcpu, const Input& input)
{
    return flush_by_mask(vcpu, input, flags_of_a_list);
}

HvStatus flush_address_space_ex(Viridian::Vcpu& vcpu, const Input& input)
{
    return flush_by_set(vcpu, input, FlushFlags::defined);
}

HvStatus flush_address_list_ex(Viridian::Vcpu& vcpu, const Input& input)
{
    return flush_by_set(vcpu, input, flags_of_a_list);
}

}  // namespace hv::viridian
