// SPDX-License-Identifier: MIT
//
// Commands about domains.  The shape of a request is judged here, word by word; whether it can be granted is
// the target's decision.
#include <algorithm>

#include "commands.hpp"

namespace hv::core::control {

using namespace protocol;

namespace {

constexpr std::uint32_t maximum_cpuid_masks{256};

}  // namespace

Expected<DomainId> ControlServer::domain_of(const FrameView& frame)
{
    return HV_TRY(fixed<DomainRequest>(frame)).domain;
}

Status ControlServer::check_name(std::string_view field, const char (&name)[name_size])
{
    const std::string_view text{text_of(name)};
    if (text.empty())
        return refuse_field(reason_, Error::invalid_argument, field, "the name is empty");
    if (!is_padded_text(name))
        return refuse_field(reason_, Error::malformed, field, "the name does not end within its ", name_size,
                            " bytes");
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    if (std::any_of(text.begin(), text.end(), is_control))
        return refuse_field(reason_, Error::invalid_argument, field, "the name has a control character");
    return Done{};
}

Status ControlServer::check_create(const DomainCreateRequest& request)
{
    HV_TRY(check_name("/name", request.name));
    if (request.memory == 0 || request.memory % 4096 != 0)
        return refuse_field(reason_, Error::invalid_argument, "/memory", "the memory, ", request.memory,
                            " bytes, is not a positive multiple of 4096");
    if (request.vcpus == 0 || request.vcpus > maximum_vcpus)
        return refuse_field(reason_, Error::out_of_range, "/vcpus", "a domain has 1 to ", maximum_vcpus,
                            " VCPUs, not ", request.vcpus);
    if (request.flags != 0)
        return refuse_field(reason_, Error::not_supported, "/flags", "no such flag: ", Hex{request.flags});
    if (request.cpuid_count > maximum_cpuid_masks)
        return refuse_field(reason_, Error::limit_reached, "/cpuid", "more than ", maximum_cpuid_masks,
                            " CPUID masks");
    return Done{};
}

Expected<Progress> ControlServer::domain_create(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<DomainCreateRequest>(frame));
    HV_TRY(check_create(request));
    const auto masks =
        EntryView<CpuidMask>::over(frame.tail(), request.cpuid_count, request.cpuid_entry_size);
    if (!masks.has_value())
        return refuse_field(reason_, Error::malformed, "/cpuid", "the CPUID masks do not fit the request");
    if (building_.full())
        return refuse(reason_, Error::limit_reached, "more than ", maximum_building,
                      " domains under construction");
    const auto progress = HV_TRY(target_.create_domain(request, masks.value(), creating_, reason_));
    if (progress == Progress::more)
        return progress;
    HV_ASSERT(building_.push_back(creating_.domain));
    HV_TRY(reply_.fixed(creating_));
    return progress;
}

void ControlServer::forget_building(DomainId domain)
{
    const auto place = std::find(building_.begin(), building_.end(), domain);
    if (place != building_.end())
        building_.erase(place);
}

Expected<Progress> ControlServer::domain_finish_build(const FrameView& frame)
{
    const auto domain = HV_TRY(domain_of(frame));
    const auto progress = HV_TRY(target_.finish_build(domain, reason_));
    if (progress == Progress::done)
        forget_building(domain);
    return progress;
}

Expected<Progress> ControlServer::domain_unpause(const FrameView& frame)
{
    const auto domain = HV_TRY(domain_of(frame));
    HV_TRY(target_.unpause(domain, reason_));
    return Progress::done;
}

Expected<Progress> ControlServer::domain_pause(const FrameView& frame)
{
    return target_.pause(HV_TRY(domain_of(frame)), reason_);
}

Expected<Progress> ControlServer::domain_destroy(const FrameView& frame)
{
    const auto domain = HV_TRY(domain_of(frame));
    const auto progress = HV_TRY(target_.destroy_domain(domain, reason_));
    if (progress == Progress::done)
        forget_building(domain);
    return progress;
}

Expected<Progress> ControlServer::domain_rename(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<DomainRenameRequest>(frame));
    HV_TRY(check_name("/name", request.name));
    HV_TRY(target_.rename_domain(request.domain, text_of(request.name), reason_));
    return Progress::done;
}

Expected<Progress> ControlServer::domain_shutdown(const FrameView& frame)
{
    const auto domain = HV_TRY(domain_of(frame));
    HV_TRY(target_.shutdown_domain(domain, reason_));
    return Progress::done;
}

Expected<Progress> ControlServer::domain_trigger(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<DomainTriggerRequest>(frame));
    const auto trigger = static_cast<Trigger>(request.trigger);
    if (trigger != Trigger::nmi && trigger != Trigger::reset)
        return refuse_field(reason_, Error::not_supported, "/trigger", "there is no trigger ",
                            request.trigger);
    HV_TRY(target_.trigger(request.domain, trigger, request.vcpu, reason_));
    return Progress::done;
}

Expected<Progress> ControlServer::domain_list(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<DomainListRequest>(frame));
    return list<DomainInfo>(request.cursor,
                            [this](std::uint64_t& cursor, DomainInfo& entry) -> Expected<bool> {
                                return target_.next_domain(cursor, entry);
                            });
}

Expected<Progress> ControlServer::domain_info(const FrameView& frame)
{
    const auto domain = HV_TRY(domain_of(frame));
    std::uint64_t cursor{domain};
    DomainInfo entry{};
    if (!target_.next_domain(cursor, entry) || entry.domain != domain)
        return refuse_field(reason_, Error::not_found, "/domain", "there is no domain ", domain);
    HV_TRY(reply_.fixed(entry));
    return Progress::done;
}

Expected<Progress> ControlServer::vcpu_info(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<VcpuListRequest>(frame));
    return list<VcpuInfo>(request.cursor, [this, &request](std::uint64_t& cursor, VcpuInfo& entry) {
        return target_.next_vcpu(request.domain, cursor, entry);
    });
}

Expected<Progress> ControlServer::exit_counts(const FrameView& frame)
{
    const auto request = HV_TRY(fixed<ExitCountsRequest>(frame));
    if (request.table < static_cast<std::uint32_t>(ExitTable::reason) ||
        request.table > static_cast<std::uint32_t>(ExitTable::vcpu_msr))
        return refuse_field(reason_, Error::not_supported, "/table", "there is no table ", request.table);
    const auto table = static_cast<ExitTable>(request.table);
    return list<ExitCount>(request.cursor, [this, &request, table](std::uint64_t& cursor, ExitCount& entry) {
        return target_.next_exit_count(request.domain, table, cursor, entry);
    });
}

}  // namespace hv::core::control
