// SPDX-License-Identifier: MIT
//
// The swap of one instance.  To read it: Swap::run is the protocol, a line a step.  Until publish() nothing
// that the guest can reach has changed, and every way out before it lets the VCPUs go on with the old instance;
// publish() itself cannot fail.
#include "hv/core/ext/swap.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#include "hook_call.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/machine.hpp"
#include "offer.hpp"
#include "scratch.hpp"
#include "standstill.hpp"
#include "stack.hpp"
#include "transfer.hpp"

namespace hv::core {
namespace {

constexpr int int3{0xcc};  // [APM3-3.35 "INT3"]

}  // namespace

class Swap {
public:
    Swap(Domain& domain, Module& replacement, const SwapOptions& options, SwapReport& report, TextWriter& why)
        : domain_{domain}, replacement_{replacement}, options_{options}, report_{report}, why_{why}
    {
    }

    Status run(std::string_view old_name)
    {
        HV_TRY(judge(old_name));
        forget_replaced(domain_);  // of a swap whose end nobody waited for
        auto tried = HV_TRY(rehearse());
        if (options_.dry_run)
            return Done{};
        auto spare = HV_TRY(prepare(*tried));
        stop();
        const auto carried = carry_over(*tried, *spare);
        if (!carried) {
            old_->arm_block_timers();
            let_go();
            destroy(domain_.heap, stack_);
            return carried.error();
        }
        const bool as_tried = carried.value() == tried.get();
        Binding* const unused = as_tried ? spare.leak() : tried.leak();
        publish(as_tried ? tried.leak() : spare.leak(), unused);
        let_go();
        return Done{};
    }

private:
    /// What can be said without an instance.
    Status judge(std::string_view old_name)
    {
        HV_TRY(check_running(domain_, why_));
        ExtensionStack::carry_out_failures(domain_);
        old_ = find_binding(domain_, old_name, why_);
        if (old_ == nullptr)
            return Error::not_found;
        HV_TRY(judge_old());
        for (const Binding* const other : domain_.extensions->implementation().bindings)
            if (other != old_ && &other->module == &replacement_) {
                say(why_, "extension '", replacement_.name(), "' is in the domain's stack already");
                return Error::already_exists;
            }
        const std::uint32_t pages = old_->module.manifest().hypercall_pages;
        if (replacement_.manifest().hypercall_pages != pages) {
            say(why_, "extension '", replacement_.name(), "' has ", replacement_.manifest().hypercall_pages,
                " hypercall pages, the guest was given ", pages);
            return Error::conflict;
        }
        return Done{};
    }

    Status judge_old()
    {
        const Route route = old_->route.load();
        if (route == Route::direct || route == Route::gate)
            return Done{};
        say(why_, "extension '", old_->name(), "' has failed: ", old_->failure.view());
        return Error::busy;
    }

    /// Everything that can go wrong is tried on an instance of its own with a copy of the state.
    Expected<Owned<Binding>> rehearse()
    {
        auto trial = HV_TRY(instance_of(replacement_));
        HV_TRY(step(SwapStep::create));
        at_trial_.emplace(export_bytes(*old_));
        StateWriter writer{at_trial_->bytes()};
        HV_TRY(export_state(*old_, writer, Continuations::leave_out, why_));
        HV_TRY(step(SwapStep::trial_export));
        HV_TRY(import_state(*trial, writer.written(), why_));
        HV_TRY(step(SwapStep::trial_import));
        HV_TRY(check_offer(*trial, *old_, why_));
        HV_TRY(check_pages(*trial));
        HV_TRY(step(SwapStep::offer));
        report_.reverts = reverts(*trial);
        return trial;
    }

    Expected<Owned<Binding>> instance_of(Module& module)
    {
        auto made = make<Binding>(domain_.heap, domain_, module, old_->holdings, old_->options);
        if (!made) {
            say(why_, "not enough memory for an instance of extension '", module.name(), "'");
            return made.error();
        }
        HV_TRY(made.value()->create_beside(*old_, why_));
        return made;
    }

    /// The bytes that the guest calls stay as they are: the new module must mean the same ones.
    Status check_pages(Binding& trial)
    {
        if (trial.hooks.hypercall_page == nullptr && old_->hooks.hypercall_page == nullptr)
            return Done{};
        for (std::uint32_t number = 0; number < old_->module.manifest().hypercall_pages; ++number) {
            Scratch page{page_size};
            if (page.bytes().empty())
                return no_memory();
            std::memset(page.bytes().data(), int3, page_size);
            if (trial.hooks.hypercall_page != nullptr)
                HV_TRY(trial.fill_hypercall_page(number, page.bytes().data(), why_));
            if (std::memcmp(page.bytes().data(), old_->pages.hypercall_page(number), page_size) == 0)
                continue;
            say(why_, "extension '", replacement_.name(), "' would fill hypercall page ", number,
                " with other bytes than the guest was given");
            return Error::conflict;
        }
        return Done{};
    }

    /// Whether a rollback would find its way: a copy of the new instance's records goes into the old module.
    bool reverts(Binding& trial)
    {
        BoundedText<200> ignored;
        Scratch room{export_bytes(trial)};
        StateWriter writer{room.bytes()};
        if (!export_state(trial, writer, Continuations::leave_out, ignored))
            return false;
        auto back = make<Binding>(domain_.heap, domain_, old_->module, old_->holdings, old_->options);
        return back && back.value()->create_beside(*old_, ignored) &&
               import_state(*back.value(), writer.written(), ignored);
    }

    /// The stack that the tried instance will stand in, and another instance in case it cannot.
    Expected<Owned<Binding>> prepare(Binding& tried)
    {
        auto spare = HV_TRY(instance_of(replacement_));
        auto stack = make<ExtensionStack::Implementation>(domain_.heap, *domain_.extensions->locks_);
        at_stop_.emplace(export_bytes(*old_));
        if (!stack || at_stop_->bytes().empty())
            return no_memory();
        stack_ = stack.value().leak();
        const ExtensionStack::Implementation& now = domain_.extensions->implementation();
        stack_->windows = now.windows;
        stack_->windows.replace(*old_, tried);
        for (Binding* const binding : now.bindings)
            HV_ASSERT(stack_->bindings.push_back(binding == old_ ? &tried : binding));
        return spare;
    }

    void stop()
    {
        report_.stop_began = platform::ticks();
        for (unsigned index = 0; index < domain_.vcpu_count(); ++index)
            machine().scheduler.block(domain_.vcpu(index), Blocker::swapping);
        static_assert(std::tuple_size_v<decltype(report_.left)> == maximum_vcpus);
        for (unsigned index = 0; index < domain_.vcpu_count(); ++index) {
            Scheduler::wait_until_off(domain_.vcpu(index));
            report_.left[index] = platform::ticks();
        }
        old_->cancel_block_timers();
        report_.stopped = platform::ticks();
    }

    /// The instance that has the state as of the stop: the tried one, where only VCPUs' blocks are others than at the
    /// trial; else the spare one, which imports all of it.
    Expected<Binding*> carry_over(Binding& tried, Binding& spare)
    {
        HV_TRY(step(SwapStep::stop));
        if (domain_.state() != DomainState::running && domain_.state() != DomainState::paused) {
            say(why_, "domain '", domain_.name(), "' has ended meanwhile");
            return Error::conflict;
        }
        HV_TRY(judge_old());  // in its last hooks before the stop
        StateWriter writer{at_stop_->bytes()};
        HV_TRY(export_state(*old_, writer, Continuations::leave_out, why_));
        HV_TRY(step(SwapStep::final_export));
        Binding* const chosen = is_as_tried(tried) ? &tried : &spare;
        if (chosen == &tried) {
            HV_TRY(import_vcpu_blocks(tried, writer.written(), why_));
        } else {
            HV_TRY(import_state(spare, writer.written(), why_));
            stack_->windows.replace(tried, spare);
            std::ranges::replace(stack_->bindings, &tried, &spare);
        }
        HV_TRY(step(SwapStep::final_import));
        HV_TRY(step(SwapStep::publish));
        return chosen;
    }

    /// What domain_create and import_state would be told is what they were told at the trial.
    [[nodiscard]] bool is_as_tried(const Binding& tried) const
    {
        if (old_->hooks.export_state != nullptr || tried.hooks.import_state != nullptr)
            return false;
        const std::size_t bytes =
            old_->state.words == 0 ? 0 : sizeof(abi::StateRecordHeader) + old_->module.manifest().domain_state.size;
        return std::memcmp(at_trial_->bytes().data(), at_stop_->bytes().data(), bytes) == 0;  // it comes first
    }

    /// From the store of the pointer on, everything that leads to an instance leads to the new one.
    void publish(Binding* fresh, Binding* unused)
    {
        ExtensionStack& stack = *domain_.extensions;
        fresh->rehearsing = false;
        fresh->adopt_hooks();
        fresh->timers.hand_over(fresh->vcpus);
        fresh->holdings.channels.hand_over(*fresh->vcpus[0]);
        for (unsigned index = 0; index < fresh->vcpu_count; ++index) {
            report_.continuations += old_->vcpus[index]->continuing ? 1 : 0;
            fresh->vcpus[index]->take_over(*old_->vcpus[index]);
        }
        fresh->arm_block_timers();
        fresh->take_residence(*old_);
        stack_->generation = report_.generation = stack.implementation_->generation + 1;
        stack_->frozen = stack.implementation_->frozen;
        stack_->before = std::exchange(stack.implementation_, stack_);
        stack_->left_over = {old_, unused};
        renew_subscriptions(domain_);
        take_counts();
    }

    /// The modules' counts, and what a rollback goes by.
    void take_counts()
    {
        Holdings& holdings = old_->holdings;
        report_.armed_timers = holdings.timers.armed();
        report_.overlays = holdings.pages.placed();
        Module& before = old_->module;
        ++replacement_.bindings_;
        --before.bindings_;
        ++before.kept_;
        if (holdings.module_before != nullptr)
            --holdings.module_before->kept_;
        holdings.module_before = &before;
        holdings.reverts = report_.reverts;
        holdings.probation_ends = options_.probation_s == 0
                                      ? 0
                                      : platform::ticks() + options_.probation_s * platform::ticks_per_second();
    }

    void let_go()
    {
        for (unsigned index = 0; index < domain_.vcpu_count(); ++index) {
            Vcpu& vcpu = domain_.vcpu(index);
            vcpu.resumed_at.store(0);
            vcpu.mark(VcpuRequest::resumed);
            machine().scheduler.unblock(vcpu, Blocker::swapping);
        }
        report_.published = platform::ticks();
    }

    Status step(SwapStep which)
    {
        if (options_.fail_at != which)
            return Done{};
        say(why_, "this step of the swap was made to fail");
        return Error::no_memory;
    }
    Error no_memory()
    {
        say(why_, "not enough memory to swap extension '", old_->name(), "'");
        return Error::no_memory;
    }

    Domain& domain_;
    Module& replacement_;
    const SwapOptions& options_;
    SwapReport& report_;
    TextWriter& why_;
    Binding* old_{};
    ExtensionStack::Implementation* stack_{};  ///< the next one
    std::optional<Scratch> at_trial_{};  ///< the records as of the trial
    std::optional<Scratch> at_stop_{};
};

Status swap_extension(Domain& domain, std::string_view old_name, Module& replacement, const SwapOptions& options,
                      SwapReport& report, TextWriter& why)
{
    return Swap{domain, replacement, options, report, why}.run(old_name);
}

void forget_replaced(Domain& domain)
{
    if (domain.extensions == nullptr)
        return;
    ExtensionStack::Implementation& now = domain.extensions->implementation();
    if (now.before == nullptr)
        return;
    machine().wait_for_turn();  // nobody looks at the stack that was any more
    for (Binding* const binding : std::exchange(now.left_over, {})) {
        binding->forget_hooks();
        destroy(domain.heap, binding);
    }
    destroy(domain.heap, std::exchange(now.before, nullptr));
}

Module* module_before(Domain& domain, std::string_view name, TextWriter& why)
{
    const Binding* const binding = find_binding(domain, name, why);
    if (binding == nullptr)
        return nullptr;
    if (binding->holdings.module_before == nullptr)
        say(why, "extension '", name, "' was not swapped in domain '", domain.name(), "'");
    else if (!binding->holdings.reverts)
        say(why, "the state of extension '", name, "' was seen not to go back into '",
            binding->holdings.module_before->name(), "'");
    else
        return binding->holdings.module_before;
    return nullptr;
}

std::uint64_t resumed_at(Domain& domain, unsigned index)
{
    const Vcpu& vcpu = domain.vcpu(index);
    const std::uint64_t at = vcpu.resumed_at.load(std::memory_order_acquire);
    return at == 0 && !vcpu.runnable() ? ~0ull : at;
}

Expected<std::size_t> export_extension(Domain& domain, std::string_view name, std::span<std::byte> room,
                                       TextWriter& why)
{
    Binding* const binding = find_binding(domain, name, why);
    if (binding == nullptr)
        return Error::not_found;
    if (binding->hollow()) {
        say(why, "extension '", name, "' has failed: ", binding->failure.view());
        return Error::busy;
    }
    StateWriter writer{room};
    HV_TRY(export_state(*binding, writer, Continuations::put_in, why));
    return writer.written().size();
}

}  // namespace hv::core
