// SPDX-License-Identifier: MIT
//
// A fresh instance in the place of one that has failed.  The VCPUs of its domain stand still from the failure on; the next
// instance of the same module gets the state blocks as of the last hook that returned well, hears domain_create with
// start_restart, and takes over what is the binding's: handles, pages, timers, open calls, pauses.  Then the failed one's memory
// goes back, and the VCPUs go on: each makes its access once more, or is told its event once more.  One that has failed on
// probation after a swap gives way to an instance of the module before, which imports the blocks instead.
#include "failure.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/machine.hpp"
#include "scratch.hpp"
#include "stack.hpp"
#include "standstill.hpp"
#include "transfer.hpp"

namespace hv::core {
namespace {

void copy_kept(StateCopies& to, const StateCopies& from)
{
    for (std::uint32_t at = 0; at < from.words; ++at)  // of the same module, so of the same size
        to.kept[at] = from.kept[at];
    to.take_back();
}

}  // namespace

class Restart {
public:
    Restart(ExtensionStack& stack, Binding*& place) : stack_{stack}, place_{place}, domain_{place->domain} {}

    void run()
    {
        const Standstill standstill{domain_, Blocker::restarting};
        place_->cancel_block_timers();
        BoundedText<maximum_end_text> why;
        if (domain_.state() != DomainState::running && domain_.state() != DomainState::paused)
            place_->route.store(Route::ended);
        else if (auto fresh = place_->rolls_back ? instance_before(why) : instance(why); !fresh)
            give_up(why);
        else
            succeed(fresh.value().leak());
    }

private:
    Expected<Owned<Binding>> instance(TextWriter& why)
    {
        Binding& failed = *place_;
        auto made = make<Binding>(domain_.heap, domain_, failed.module, failed.holdings, failed.options);
        if (!made) {
            say(why, "not enough memory for an instance of extension '", failed.name(), "'");
            return made.error();
        }
        Binding& fresh = *made.value();
        HV_TRY(fresh.create_beside(failed, why));
        copy_kept(fresh.state, failed.state);
        for (unsigned index = 0; index < fresh.vcpu_count; ++index)
            copy_kept(fresh.vcpus[index]->state, failed.vcpus[index]->state);
        fresh.set_start_reason(abi::start_restart);
        HV_TRY(fresh.create_domain(why));
        return made;
    }

    /// The records that a swap saw go into that module are of this kind; those of an export_state nobody can ask for any more.
    Expected<Owned<Binding>> instance_before(TextWriter& why)
    {
        Binding& failed = *place_;
        auto made = make<Binding>(domain_.heap, domain_, *failed.holdings.module_before, failed.holdings, failed.options);
        const Scratch room{export_bytes(failed)};
        if (!made || room.bytes().empty()) {
            say(why, "not enough memory for an instance of extension '", failed.holdings.module_before->name(), "'");
            return Error::no_memory;
        }
        HV_TRY(made.value()->create_beside(failed, why));
        StateWriter writer{room.bytes()};
        HV_TRY(export_blocks(failed, writer, why));
        HV_TRY(import_state(*made.value(), writer.written(), why));
        return made;
    }

    /// Nobody but this processor looks at the stack now: no VCPU runs, and timers find their VCPU under their lock.
    void succeed(Binding* fresh)
    {
        Binding* const failed = std::exchange(place_, fresh);
        ExtensionStack::Implementation& own = *stack_.implementation_;
        fresh->rehearsing = false;
        fresh->adopt_hooks();
        own.windows.replace(*failed, *fresh);
        fresh->timers.hand_over(fresh->vcpus);
        fresh->holdings.channels.hand_over(*fresh->vcpus[0]);
        for (unsigned index = 0; index < fresh->vcpu_count; ++index)
            fresh->vcpus[index]->take_over(*failed->vcpus[index]);
        fresh->arm_block_timers();
        fresh->take_residence(*failed);
        const Hook owed = failed->owed;
        if (failed->rolls_back)
            count_rollback(failed->module, fresh->module);
        else
            count_restart(*fresh);
        machine().wait_for_turn();  // a callback of the failed one's block timers may be at its end
        failed->forget_hooks();
        destroy(domain_.heap, failed);
        renew_subscriptions(domain_);
        if (owed != Hook::exit)
            tell(*fresh, owed);
    }

    void count_restart(Binding& fresh)
    {
        ++fresh.holdings.restarts.count;
        log_info("domain ", domain_.id, ": extension ", fresh.name(), " is restarted, for the ",
                 fresh.holdings.restarts.count, ". time");
    }

    /// There is nothing to go back to from here.
    void count_rollback(Module& from, Module& to)
    {
        Holdings& holdings = place_->holdings;
        --from.bindings_;
        ++to.bindings_;
        --to.kept_;
        holdings.module_before = nullptr;
        holdings.reverts = false;
        holdings.probation_ends = 0;
        ++stack_.implementation_->generation;
        log_info("domain ", domain_.id, ": extension ", from.name(), " has failed on probation and is rolled back to ", to.name());
    }

    void give_up(const TextWriter& why)
    {
        log_error("domain ", domain_.id, ": extension ", place_->name(), " cannot be restarted and is detached: ", why.view());
        say(place_->failure, "; it could not be restarted: ", why.view());
        detach(*place_);
        place_->arm_block_timers();
    }

    ExtensionStack& stack_;
    Binding*& place_;
    Domain& domain_;
};

void ExtensionStack::set_restart_window(std::uint64_t nanoseconds)
{
    Restarts::window_ns = nanoseconds;
}

void ExtensionStack::carry_out_failures(Domain& domain)
{
    if (domain.extensions == nullptr)
        return;
    for (Binding*& binding : domain.extensions->implementation_->bindings)
        while (binding->route.load() == Route::restarting)
            Restart{*domain.extensions, binding}.run();
    domain.extensions->release_failed(domain);
}

}  // namespace hv::core
