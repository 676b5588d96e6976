// SPDX-License-Identifier: MIT
//
// The life of domains, as the control protocol commands it.
#include "hv/core/service/core_target.hpp"

#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/service/wire_text.hpp"

namespace hv::core::service {

using control::Progress;
using control::Reason;
using control::refuse;
using control::refuse_field;

namespace {

constexpr x86::CpuidResult result_of(const std::uint32_t (&registers)[4])
{
    return {registers[0], registers[1], registers[2], registers[3]};
}

Error refuse_create(Reason& reason, Error error, const DomainConfig& config)
{
    switch (error) {
    case Error::already_exists: return refuse(reason, error, "a domain with the name ", config.name, " or this uuid exists");
    case Error::limit_reached: return refuse(reason, error, "there are as many domains as the hypervisor can hold");
    case Error::no_memory:
        return refuse_field(reason, error, "/memory", "not enough memory: ", config.memory_bytes >> 20,
                            " MiB were asked for, ", machine().frames.free_frames() * page_size >> 20, " MiB are free");
    default: return refuse(reason, error, "the domain cannot be made: ", error_name(error));
    }
}

}  // namespace

Expected<Domain*> CoreTarget::guest(protocol::DomainId domain, Reason& reason) const
{
    if (domain == protocol::control_domain)
        return refuse(reason, Error::permission_denied, "this cannot be done to the control domain");
    Domain* const found = domains_.find(domain);
    if (found == nullptr)
        return refuse(reason, Error::not_found, "there is no domain ", domain);
    return found;
}

Expected<Progress> CoreTarget::create_domain(const protocol::DomainCreateRequest& request,
                                             const protocol::EntryView<protocol::CpuidMask>& cpuid,
                                             protocol::DomainCreateReply& reply, Reason& reason)
{
    DomainConfig config{};
    config.name = get_text(request.name);
    for (std::size_t at = 0; at < config.uuid.size(); ++at)
        config.uuid[at] = request.uuid[at];
    config.memory_bytes = request.memory;
    config.vcpus = request.vcpus;
    config.weight = request.weight == 0 ? Schedulable::default_weight : request.weight;
    config.cap_percent = request.cap;
    const std::uint64_t guest_processors = (platform::processor_count() >= 64 ? ~0ull
                                                                              : (1ull << platform::processor_count()) - 1) & ~1ull;
    bool any{true};
    for (const std::uint64_t word : request.affinity)
        any = any && word == 0;
    config.affinity = any ? guest_processors : request.affinity[0] & guest_processors;
    if (config.affinity == 0)
        return refuse_field(reason, Error::invalid_argument, "/vcpus/affinity",
                            "none of these processors runs guests: those are 1 to ", platform::processor_count() - 1);
    const auto made = domains_.create(config);
    if (!made)
        return refuse_create(reason, made.error(), config);
    Domain& domain = *made.value();
    for (std::size_t index = 0; index < cpuid.size(); ++index) {
        const protocol::CpuidMask mask = cpuid.at(index);
        const auto adjusted = domain.adjust_cpuid(
            {mask.leaf, mask.subleaf, result_of(mask.and_mask), result_of(mask.or_mask)});
        if (adjusted)
            continue;
        domains_.destroy(domain);
        return refuse_field(reason, adjusted.error(), "/cpuid", "CPUID leaf ", Hex{mask.leaf}, " subleaf ", mask.subleaf,
                            adjusted.error() == Error::not_found ? " is not offered to guests"
                                                                 : ": a bit is asked for that this machine does not have");
    }
    if (const auto attached = consoles_.attach(domain); !attached) {
        domains_.destroy(domain);
        return refuse(reason, attached.error(), "no console port can be had: ", error_name(attached.error()));
    }
    reply = {domain.id, domain.console.slot()};
    return Progress::done;
}

Expected<Progress> CoreTarget::finish_build(protocol::DomainId id, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (!domain.vcpu(0).started)
        return refuse(reason, Error::conflict, "VCPU 0 has no registers to start with");
    if (domain.extensions != nullptr && domain.state() == DomainState::building)
        HV_TRY(domain.extensions->complete(domain, reason.text));
    if (!domain.finish_build())
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is built already");
    return Progress::done;
}

Status CoreTarget::unpause(protocol::DomainId id, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (!domain.unpause())
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is not paused");
    return Done{};
}

Expected<Progress> CoreTarget::pause(protocol::DomainId id, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (!domain.pause())
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is not running");
    return Progress::done;
}

void CoreTarget::carry_out_requests()
{
    for (Domain* domain = domains_.next(0); domain != nullptr; domain = domains_.next(domain->id + 1)) {
        ExtensionStack::carry_out_failures(*domain);
        if (domain->carry_out_pause_request())
            log_info("domain ", domain->id, " is paused: ", domain->pause_text());
    }
}

Expected<Progress> CoreTarget::destroy_domain(protocol::DomainId id, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    domain.stop_for_good();  // it writes no more
    machine().wait_for_turn();
    if (swap_.domain == &domain)
        swap_ = {};
    consoles_.detach(domain);
    domains_.destroy(domain);
    modules_.sweep();
    return Progress::done;
}

Status CoreTarget::rename_domain(protocol::DomainId id, std::string_view name, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    const Domain* const other = domains_.find(name);
    if (other != nullptr && other != &domain)
        return refuse(reason, Error::already_exists, "a domain with the name ", name, " exists");
    domain.rename(name);
    return Done{};
}

Status CoreTarget::shutdown_domain(protocol::DomainId id, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (domain.state() != DomainState::running)
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is not running");
    domain.pc->press_power_button();
    return Done{};
}

Status CoreTarget::trigger(protocol::DomainId id, protocol::Trigger trigger, std::uint32_t vcpu, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    if (domain.state() != DomainState::running && domain.state() != DomainState::paused)
        return refuse(reason, Error::conflict, "domain ", domain.name(), " is not running");
    if (trigger == protocol::Trigger::reset) {
        domain.end(EndReason::reboot);
        return Done{};
    }
    if (vcpu >= domain.vcpu_count())
        return refuse_field(reason, Error::out_of_range, "/vcpu", "domain ", domain.name(), " has no VCPU ", vcpu);
    domain.vcpu(vcpu).request(VcpuRequest::nmi);
    return Done{};
}

}  // namespace hv::core::service
