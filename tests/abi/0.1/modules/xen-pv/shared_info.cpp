// SPDX-License-Identifier: MIT
//
// The shared information page: put where the guest wants it by memory_op, with clocks that are right from the
// first look. The guest's TSC and its system time stop together, so what is written when the page is placed
// holds from then on.
#include "call.hpp"

namespace xen {
namespace {

constexpr std::uint64_t ns_per_second{1'000'000'000};
constexpr std::uint8_t tsc_stable{1};  // PVCLOCK_TSC_STABLE_BIT: one clock for all VCPUs

struct Scale {
    std::uint32_t multiplier;
    std::int8_t shift;
};

/// ns = ((ticks shifted left by `shift`) * multiplier) >> 32, the multiplier as large as it can be.
Scale scale_of(std::uint64_t hz)
{
    std::int8_t shift{};
    for (; hz > 2 * ns_per_second; hz >>= 1)
        --shift;
    for (; hz <= ns_per_second; hz <<= 1)
        ++shift;
    return {static_cast<std::uint32_t>((ns_per_second << 32) / hz), shift};
}

/// Bytes behind a version word that is odd meanwhile.
template <typename Versioned>
Status write_versioned(const ext::PageView& page, std::uint32_t offset, Versioned value)
{
    static_assert(offsetof(Versioned, version) == 0);
    const auto before = HV_TRY(page.load<std::uint32_t>(offset)) & ~1u;
    value.version = before + 1;
    HV_TRY(page.store(offset, value.version));
    HV_TRY(page.write(offset, value));
    return page.store(offset, before + 2);
}

Status write_clocks(const ext::PageView& page, const abi::TimeSnapshot& now, std::uint32_t wall_clock_offset)
{
    const Scale scale{scale_of(now.tsc_hz)};
    const VcpuTime time{.version = 0,
                        .padding = 0,
                        .tsc_timestamp = now.guest_tsc,
                        .system_time = now.guest_ns,
                        .tsc_to_system_mul = scale.multiplier,
                        .tsc_shift = scale.shift,
                        .flags = tsc_stable,
                        .padding_2 = {}};
    for (std::uint32_t vcpu = 0; vcpu < vcpu_info_count; ++vcpu)
        HV_TRY(write_versioned(page, vcpu * vcpu_info_bytes + vcpu_time_offset, time));
    const std::uint64_t start{now.wall_clock_ns > now.guest_ns ? now.wall_clock_ns - now.guest_ns : 0};
    const std::uint64_t seconds{start / ns_per_second};
    return write_versioned(page, wall_clock_offset,
                           WallClock{.version = 0,
                                     .seconds = static_cast<std::uint32_t>(seconds),
                                     .nanoseconds = static_cast<std::uint32_t>(start % ns_per_second),
                                     .seconds_high = static_cast<std::uint32_t>(seconds >> 32)});
}

Status place_shared_info(const Call& call, GuestPhysical address)
{
    const std::uint64_t domain{call.vcpu().domain()};
    // Two VCPUs may ask at once: the lock on the domain's state makes one write after the other.
    const ext::Overlay page{HV_TRY(call.vcpu().update_domain())->shared_info};
    abi::TimeSnapshot now{};
    HV_TRY(ext::check(ext::host().time_snapshot(call.vcpu().handle(), &now)));
    if (now.tsc_hz == 0)
        return Error::not_supported;
    HV_TRY(write_clocks(page.view(domain), now, call.wide() ? wall_clock_offset_64 : wall_clock_offset_32));
    return page.place(domain, address, true);
}

std::optional<AddToPhysmap64> read_request(const Call& call)
{
    if (call.wide())
        return call.read<AddToPhysmap64>(call.argument(1));
    const auto narrow = call.read<AddToPhysmap32>(call.argument(1));
    if (!narrow)
        return std::nullopt;
    return AddToPhysmap64{narrow->domid, narrow->size, narrow->space, narrow->index, narrow->frame};
}

Outcome add_to_physmap(const Call& call)
{
    constexpr std::uint64_t frame_limit{1ull << 40};  // addresses of 52 bits
    const auto request = read_request(call);
    if (!request)
        return fails(XEN_EFAULT);
    if (!call.is_self(request->domid))
        return fails(XEN_ESRCH);
    if (request->space != XENMAPSPACE_shared_info)
        return fails(XEN_ENOSYS);
    if (request->index != 0 || request->frame >= frame_limit)
        return fails(XEN_EINVAL);
    return place_shared_info(call, GuestPhysical{request->frame << 12}) ? returns(0) : fails(XEN_EINVAL);
}

}  // namespace

Outcome do_memory_op(const Call& call)
{
    return call.command() == XENMEM_add_to_physmap ? add_to_physmap(call) : fails(XEN_ENOSYS);
}

}  // namespace xen
