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

}  // namespace

/// All or none: the mask is looked through before the first interrupt is sent.
HvStatus send_cluster_ipi(Viridian::Vcpu& vcpu, const Input& input)
{
    using Target = tlfs::ClusterIpiTarget;
    const std::uint64_t mask{input[1]};
    const std::uint32_t vector{Target::Vector::get(input[0])};
    const bool other_level{Target::UseTargetVtl::get(input[0]) && Target::TargetVtl::get(input[0]) != 0};
    if (vector < tlfs::lowest_ipi_vector || vector > tlfs::highest_ipi_vector || other_level ||
        Target::ReservedVtlBits::get(input[0]) != 0)
        return HvStatus::HV_STATUS_INVALID_PARAMETER;
    const unsigned highest{static_cast<unsigned>(std::bit_width(mask))};
    if (highest != 0 && vcpu_at(vcpu.domain(), highest - 1) == 0)
        return HvStatus::HV_STATUS_INVALID_VP_INDEX;
    for (unsigned index = 0; index < highest && index < mask_bits; ++index)
        if ((mask >> index & 1) != 0)
            static_cast<void>(
                ext::host().inject_interrupt(vcpu_at(vcpu.domain(), index), vector, abi::inject_local_apic));
    vcpu.state().cluster_ipis += 1;
    return HvStatus::HV_STATUS_SUCCESS;
}

}  // namespace hv::viridian
