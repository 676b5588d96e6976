// SPDX-License-Identifier: MIT
//
// xen_version: what a guest may know of the hypervisor it believes to run on.
#include "call.hpp"

namespace xen {
namespace {

constexpr char extra_version[16]{".0-graft"};
constexpr char changeset[64]{"unavailable"};
constexpr char capabilities[1024]{"xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 "};
constexpr CompileInfo compile_info{"unknown", "graft", "unknown", "unknown"};

/// The guest's own page tables are what counts: it may write them, and its frames are translated for it.
constexpr std::uint32_t features{1u << XENFEAT_writable_page_tables | 1u << XENFEAT_auto_translated_physmap};

/// Where Xen's own addresses begin, which a guest of this kind does not see.
constexpr std::uint64_t virtual_start{0xffff'8000'0000'0000};

Outcome get_features(const Call& call)
{
    auto request = call.read<FeatureInfo>(call.argument(1));
    if (!request)
        return fails(XEN_EFAULT);
    if (request->submap_index != 0)
        return fails(XEN_EINVAL);
    request->submap = features;
    return call.give(call.argument(1), *request);
}

Outcome get_platform_parameters(const Call& call)
{
    if (call.wide())
        return call.give(call.argument(1), virtual_start);
    return call.give(call.argument(1), static_cast<std::uint32_t>(virtual_start >> 32));
}

Outcome get_guest_handle(const Call& call)
{
    const auto info = call.domain_info();
    return info ? call.give(call.argument(1), info.value().uuid) : fails(XEN_EINVAL);
}

}  // namespace

Outcome do_xen_version(const Call& call)
{
    constexpr std::int64_t page_bytes{4096};
    const std::uint64_t buffer{call.argument(1)};
    switch (call.command()) {
    case XENVER_version: return returns(version_word);
    case XENVER_extraversion: return call.give(buffer, extra_version);
    case XENVER_compile_info: return call.give(buffer, compile_info);
    case XENVER_capabilities: return call.give(buffer, capabilities);
    case XENVER_changeset: return call.give(buffer, changeset);
    case XENVER_platform_parameters: return get_platform_parameters(call);
    case XENVER_get_features: return get_features(call);
    case XENVER_pagesize: return buffer == 0 ? returns(page_bytes) : fails(XEN_EINVAL);
    case XENVER_guest_handle: return get_guest_handle(call);
    case XENVER_commandline: return fails(XEN_EPERM);  // the control domain's business
    case XENVER_build_id: return fails(XEN_ENODATA);
    default: return fails(XEN_ENOSYS);
    }
}

}  // namespace xen
