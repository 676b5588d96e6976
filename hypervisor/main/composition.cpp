// SPDX-License-Identifier: MIT
#include "hv/main/composition.hpp"

#include <new>

#include "control_endpoint.hpp"
#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/core/control/service.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/ext/key_ring.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/platform/isolated_space.hpp"
#include "hv/core/service/console_slots.hpp"
#include "hv/core/service/core_target.hpp"
#include "hv/core/time/guest_time.hpp"
#include "hv/core/vcpu/run_loop.hpp"
#include "processor_description.hpp"
#include "wall_clock.hpp"

namespace hv {
namespace {

/// Everything between the control domain's function and the core; made once, lives for ever.
struct Service final : core::BackgroundWork {
    explicit Service(core::Heap& heap, const core::service::MachineDescription& description)
        : consoles{endpoint.device(), heap}, target{description, consoles, heap}, control{endpoint.device(), target}
    {
    }
    bool step() override
    {
        endpoint.send_deferred();
        return control.run();
    }

    ControlEndpoint endpoint{};
    core::service::ConsoleSlots consoles;
    core::KeyRing keys{};  ///< before what reads it
    core::service::CoreTarget target;
    core::control::ControlService control;
};

core::Machine* the_machine{};
Service* the_service{};
core::service::MachineDescription the_description{};
std::atomic<bool> service_started{};

x86::CpuidResult host_cpuid(std::uint32_t leaf, std::uint32_t subleaf) { return x86::cpuid(leaf, subleaf); }

void attend(unsigned processor) { the_machine->attend(processor); }

std::span<const std::byte> bytes_of(const core::BootModule& module)
{
    return booted_machine().firmware.at(module.range.begin, module.range.bytes);
}

/// A key that is no good is said so and not trusted: with ext=require-signed fewer modules are let in, never more.
void read_keys()
{
    const BootedMachine& machine = booted_machine();
    for (const core::BootModule& module : machine.boot.modules) {
        if (module.kind != core::BootModuleKind::key)
            continue;
        BoundedText<300> why;
        if (!the_service->keys.add(module.name.view(), bytes_of(module), why))
            core::log_error("key ", module.name.view(), " is not trusted: ", why.view());
        else
            core::log_info("key ", module.name.view(), " is trusted to sign extensions");
    }
    const auto keys = the_service->keys.keys();
    the_service->target.set_policy({.signatures = {keys, machine.options.require_signed}});
    if (machine.options.require_signed && keys.empty())
        core::log_warning("ext=require-signed, and there is no key: no extension can be loaded");
}

/// Modules that the loader of the machine brought along; one that is no good is said so, and the machine goes on.
void load_boot_extensions()
{
    const BootedMachine& machine = booted_machine();
    for (const core::BootModule& module : machine.boot.modules) {
        if (module.kind != core::BootModuleKind::extension)
            continue;
        BoundedText<300> why;
        const auto* const signature = machine.boot.find(core::BootModuleKind::signature, module.name.view());
        const auto signature_bytes = signature == nullptr ? std::span<const std::byte>{} : bytes_of(*signature);
        if (const auto loaded =
                the_service->target.load_module(bytes_of(module), signature_bytes, module.name.view(), why);
            !loaded)
            core::log_error("extension ", module.name.view(), " cannot be loaded: ", why.view());
        else
            core::log_info("extension ", loaded.value()->name(), " loaded at boot");
    }
}

template <typename T, typename... A>
T* make_for_ever(core::Heap& heap, A&&... arguments)
{
    void* const memory = heap.allocate(sizeof(T), alignof(T));
    return memory == nullptr ? nullptr : new (memory) T{std::forward<A>(arguments)...};
}

void set_extension_policy(const core::BootOptions& options)
{
    using x86::CpuidLeaf;
    const bool emulated = x86::CpuidFeaturesEcx::HYPERVISOR::get(x86::cpuid(CpuidLeaf::features).ecx);
    const std::uint64_t by_default = emulated ? core::emulated_hook_budget_ns : core::default_hook_budget_ns;
    const std::uint64_t budget = options.hook_budget_ns != 0 ? options.hook_budget_ns : by_default;
    core::platform::set_hook_budget(
        core::scale(budget, core::platform::ticks_per_second(), core::GuestTime::nanoseconds_per_second));
    if (options.restart_window_ns != 0)
        core::ExtensionStack::set_restart_window(options.restart_window_ns);
    the_service->target.tell_hook_budget(budget);
    if (options.isolated_only)
        the_service->target.allow_isolated_only();
}

}  // namespace

Status compose(BootedMachine& machine, const core::HvmTable& hvm, TextWriter& why)
{
    the_machine = make_for_ever<core::Machine>(*machine.heap, *machine.frames, *machine.ledger, *machine.heap, hvm,
                                               host_cpuid, wall_clock_at_tick_zero());
    the_description = {graft_version, processor_name(), processor_features(), machine.boot.command_line.view()};
    the_service = make_for_ever<Service>(*machine.heap, *machine.heap, the_description);
    if (the_machine == nullptr || the_service == nullptr) {
        say(why, "Graft needs more memory: its own tables do not fit.");
        return Error::no_memory;
    }
    core::install_machine(*the_machine);
    set_extension_policy(machine.options);
    the_machine->scheduler.initialise(1, core::platform::processor_count() - 1, core::platform::ticks_per_second(),
                                      attend);
    core::Domain::on_end = [](core::Domain&) {
        the_service->control.events_waiting();
        core::announce_work();
    };
    core::Domain::on_request = [](core::Domain&) {
        the_service->control.target_waiting();
        core::announce_work();
    };
    return the_service->control.start();
}

control_domain::ControlFunction& control_function() { return the_service->endpoint; }

void start_service(control_domain::ControlDomain& domain)
{
    the_service->endpoint.attach(domain);
    the_service->target.show_control_domain(
        {core::ram_bytes(booted_machine().split.control_domain), &domain.exits()});
    core::ControlChannels::set_listener([] { the_service->control.events_waiting(); });
    core::set_log_listener([] { the_service->control.events_waiting(); });
    read_keys();
    load_boot_extensions();
    release_boot_modules(booted_machine());
    service_started.store(true, std::memory_order_release);
    for (unsigned processor = 1; processor < core::platform::processor_count(); ++processor)
        core::platform::wake(processor);
}

void run_guest_processor()
{
    while (!service_started.load(std::memory_order_acquire))
        core::platform::wait_for_interrupt();
    if (const Status enabled = the_machine->hvm.enable_processor(); !enabled) {
        core::log_error("processor ", core::platform::current_processor(), " cannot run guests: ",
                        error_name(enabled.error()));
        for (;;)
            core::platform::wait_for_interrupt();
    }
    core::run_processor(*the_service);
}

}  // namespace hv
