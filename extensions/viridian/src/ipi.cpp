// SPDX-License-Identifier: MIT
//
// One fixed interrupt to many virtual processors.
// Specification: [TLFS-6.0b §10.5].
#include <bit>

#include "hypercall.hpp"

namespace hv::viridian {
namespace {

using tlfs::HvStatus;

constexpr unsigned mask_bits{64};

/// The handle of a VP by its index, or 0.
std::uint64_t vcpu_at(std::uint64_t domain, unsigned index)
{
    std::uint64_t vcpu{};
    return ext::check(ext::host().vcpu_by_index(domain, index, &vcpu)) ? vcpu : 0;
}

HvStatus check_target(std::uint64_t target)
{
    using Target = tlfs::ClusterIpiTarget;
    const std::uint32_t vector{Target::Vector::get(target)};
    const bool other_level{Target::UseTargetVtl::get(target) && Target::TargetVtl::get(target) != 0};
    const bool good{vector >= tlfs::lowest_ipi_vector && vector <= tlfs::highest_ipi_vector && !other_level &&
                    Target::ReservedVtlBits::get(target) == 0};
    return good ? HvStatus::HV_STATUS_SUCCESS : HvStatus::HV_STATUS_INVALID_PARAMETER;
}

/// All or none: the mask is looked through before the first interrupt is sent.
HvStatus send(Viridian::Vcpu& vcpu, std::uint64_t target, std::uint64_t mask)
{
    const unsigned highest{static_cast<unsigned>(std::bit_width(mask))};
    if (highest != 0 && vcpu_at(vcpu.domain(), highest - 1) == 0)
        return HvStatus::HV_STATUS_INVALID_VP_INDEX;
    for (unsigned index = 0; index < highest && index < mask_bits; ++index)
        if ((mask >> index & 1) != 0)
            static_cast<void>(ext::host().inject_interrupt(vcpu_at(vcpu.domain(), index),
                                                           tlfs::ClusterIpiTarget::Vector::get(target),
                                                           abi::inject_local_apic));
    vcpu.state().cluster_ipis += 1;
    return HvStatus::HV_STATUS_SUCCESS;
}

/// A bit for each VP that there is.
std::uint64_t every_vp(std::uint64_t domain)
{
    std::uint64_t mask{};
    for (unsigned index = 0; index < mask_bits && vcpu_at(domain, index) != 0; ++index)
        mask |= std::uint64_t{1} << index;
    return mask;
}

}  // namespace

/// Words of the input: target, processor mask.
HvStatus send_cluster_ipi(Viridian::Vcpu& vcpu, const Input& input)
{
    if (const HvStatus status{check_target(input[0])}; status != HvStatus::HV_STATUS_SUCCESS)
        return status;
    return send(vcpu, input[0], input[1]);
}

/// Words of the input: target, a set of processors.
HvStatus send_cluster_ipi_ex(Viridian::Vcpu& vcpu, const Input& input)
{
    const VpSet set{input.vp_set(1)};
    for (const HvStatus status : {check_target(input[0]), set.check()})
        if (status != HvStatus::HV_STATUS_SUCCESS)
            return status;
    if (!set.all() && set.has_beyond_first_bank())
        return HvStatus::HV_STATUS_INVALID_VP_INDEX;
    return send(vcpu, input[0], set.all() ? every_vp(vcpu.domain()) : set.bank(0));
}

}  // namespace hv::viridian
