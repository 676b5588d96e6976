// SPDX-License-Identifier: MIT
//
// Hot swap and the state of instances, as the control protocol commands them.
#include <cstring>

#include "hv/abi/state_record.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/service/core_target.hpp"
#include "hv/core/service/wire_text.hpp"

namespace hv::core::service {

using control::Progress;
using control::Reason;
using control::refuse;
using control::refuse_field;
using control::SwapAnswer;

namespace {

constexpr std::uint64_t longest_watch_ms{1000};  ///< for VCPUs that get no processor; the swap itself is done
constexpr std::uint64_t asleep{~0ull};

// The wire's records are the ABI's.
static_assert(sizeof(protocol::StateRecordHead) == sizeof(abi::StateRecordHeader) &&
              offsetof(protocol::StateRecordHead, vcpu) == offsetof(abi::StateRecordHeader, vcpu) &&
              sizeof(protocol::StateField) == sizeof(abi::StateField) &&
              protocol::first_module_record == abi::first_module_record &&
              protocol::record_continuation == abi::record_continuation &&
              protocol::record_of_domain == abi::record_of_domain);

void put_module(const Module& module, char (&name)[protocol::name_size], char (&version)[32])
{
    put_text(name, module.name());
    BoundedText<32> text;
    write_version(text, module);
    put_text(version, text.view());
}

/// What a guest cannot be given is a conflict to who asked, whichever step found it.
Error as_refusal(Error error)
{
    switch (error) {
    case Error::not_found:
    case Error::no_memory:
    case Error::busy: return error;
    default: return Error::conflict;
    }
}

static_assert(static_cast<unsigned>(SwapStep::publish) == static_cast<unsigned>(protocol::SwapStepNumber::publish));

SwapOptions options_of(const protocol::ExtSwapRequest& request)
{
    const std::uint32_t step = (request.flags & protocol::ext_swap_fail_at_mask) >> protocol::ext_swap_fail_at_shift;
    return {.dry_run = (request.flags & protocol::ext_swap_dry_run) != 0,
            .probation_s = request.probation_s,
            .fail_at = static_cast<SwapStep>(step)};
}

const Module* module_of(const Domain& domain, std::string_view name)
{
    for (unsigned position = 0; domain.extensions != nullptr && position < domain.extensions->size(); ++position)
        if (domain.extensions->module(position).name() == name)
            return &domain.extensions->module(position);
    return nullptr;
}

}  // namespace

Expected<Module*> CoreTarget::replacement(const protocol::ExtSwapRequest& request, Reason& reason)
{
    if (request.upload == 0) {
        Module* const named = modules_.find(get_text(request.new_module));
        if (named == nullptr)
            return refuse_field(reason, Error::not_found, "/new_module", "no module ", get_text(request.new_module),
                                " is loaded");
        return named;
    }
    const Upload* const upload = find_upload(request.upload);
    if (upload == nullptr)
        return refuse_field(reason, Error::not_found, "/upload", "there is no upload ", request.upload);
    const auto loaded = modules_.load_beside({upload->bytes, static_cast<std::size_t>(upload->size)},
                                             std::span{upload->signature}.first(upload->signature_bytes),
                                             upload->path.view(), reason.text);
    abort_module(request.upload);
    return loaded;
}

Expected<Progress> CoreTarget::swap(Domain& domain, std::string_view old_name, Module& next, const SwapOptions& options,
                                    SwapAnswer& answer, Reason& reason)
{
    swap_ = {};
    if (const Module* const old = module_of(domain, old_name))
        put_module(*old, swap_.names.old_module, swap_.names.old_version);
    put_module(next, swap_.names.new_module, swap_.names.new_version);
    const auto swapped = core::swap_extension(domain, old_name, next, options, swap_.report, reason.text);
    if (swapped && !options.dry_run)
        modules_.supersede(next);
    modules_.sweep();
    if (!swapped)
        return as_refusal(swapped.error());
    swap_.names.flags = swap_.report.reverts ? protocol::swap_reverts : 0;
    if (options.dry_run) {
        answer.reply = swap_.names;
        return Progress::done;
    }
    swap_.domain = &domain;
    return Progress::more;
}

/// True where the request in hand began in a slice before.
bool CoreTarget::is_under_way(protocol::DomainId domain) const
{
    return swap_.domain != nullptr && swap_.domain->id == domain;
}

/// The answer when every VCPU that can run has gone on; only then the time for what the swap left over.
Expected<Progress> CoreTarget::watch_swap(SwapAnswer& answer)
{
    Domain& domain = *swap_.domain;
    const SwapReport& report = swap_.report;
    const std::uint64_t now = platform::ticks();
    const bool patient = now - report.published < platform::ticks_per_second() / 1000 * longest_watch_ms;
    std::uint64_t first{asleep};
    for (unsigned index = 0; index < domain.vcpu_count(); ++index) {
        const std::uint64_t at = resumed_at(domain, index);
        if (at == 0 && patient && domain.state() == DomainState::running)
            return Progress::more;
        const bool went_on = at != 0 && at != asleep;
        first = went_on && at < first ? at : first;
        const auto state = went_on ? protocol::SwappedState::went_on : protocol::SwappedState::did_not_run;
        answer.vcpus[index] = {index, static_cast<std::uint32_t>(state), went_on ? at - report.left[index] : 0};
    }
    answer.reply = swap_.names;
    answer.reply.generation = report.generation;
    answer.reply.blackout_ticks = (first == asleep ? report.published : first) - report.stopped;
    answer.reply.stop_ticks = report.stopped - report.stop_began;
    answer.reply.armed_timers = report.armed_timers;
    answer.reply.overlays = report.overlays;
    answer.reply.continuations = report.continuations;
    answer.reply.vcpu_count = domain.vcpu_count();
    answer.reply.vcpu_entry_size = sizeof(protocol::SwappedVcpu);
    swap_.domain = nullptr;
    forget_replaced(domain);
    log_info("domain ", domain.id, ": extension ", answer.reply.old_module, " swapped for ", answer.reply.new_module);
    return Progress::done;
}

Expected<Progress> CoreTarget::swap_extension(const protocol::ExtSwapRequest& request, SwapAnswer& answer,
                                              Reason& reason)
{
    const auto known = guest(request.domain, reason);
    if (!known) {
        abort_module(request.upload);
        return known.error();
    }
    if (is_under_way(request.domain))
        return watch_swap(answer);
    Module& next = *HV_TRY(replacement(request, reason));
    return swap(*known.value(), get_text(request.old_module), next, options_of(request), answer, reason);
}

Expected<Progress> CoreTarget::rollback_extension(const protocol::ExtOfDomainRequest& request, SwapAnswer& answer,
                                                  Reason& reason)
{
    Domain& domain = *HV_TRY(guest(request.domain, reason));
    if (is_under_way(request.domain))
        return watch_swap(answer);
    const std::string_view name = get_text(request.module);
    if (module_of(domain, name) == nullptr)
        return refuse_field(reason, Error::not_found, "/module", "domain '", domain.name(), "' has no extension '",
                            name, "'");
    Module* const before = module_before(domain, name, reason.text);
    if (before == nullptr)
        return Error::conflict;
    return swap(domain, name, *before, {}, answer, reason);
}

Status CoreTarget::detach_extension(const protocol::ExtOfDomainRequest& request, Reason& reason)
{
    Domain& domain = *HV_TRY(guest(request.domain, reason));
    HV_TRY(ExtensionStack::detach(domain, get_text(request.module), reason.text));
    modules_.sweep();
    return Done{};
}

Expected<std::size_t> CoreTarget::inspect_extension(const protocol::ExtOfDomainRequest& request,
                                                    std::span<std::byte> room, protocol::ExtInspectReply& reply,
                                                    Reason& reason)
{
    Domain& domain = *HV_TRY(guest(request.domain, reason));
    const std::string_view name = get_text(request.module);
    const std::size_t bytes = HV_TRY(export_extension(domain, name, room, reason.text));
    BoundedText<sizeof reply.version> version;
    write_version(version, *module_of(domain, name));
    put_text(reply.version, version.view());
    reply.generation = domain.extensions->generation();
    return bytes;
}

}  // namespace hv::core::service
