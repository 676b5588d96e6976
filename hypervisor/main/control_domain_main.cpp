// SPDX-License-Identifier: MIT
//
// The boot processor's last step as the hypervisor's: puts the control domain into its memory and becomes its
// processor.
#include <new>

#include "hv/arch/x86/control_domain/control_domain.hpp"
#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/panic_report.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/platform/serial.hpp"
#include "hv/arch/x86/svm/backend.hpp"
#include "hv/core/control_domain/builder.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/main/booted_machine.hpp"
#include "hv/main/composition.hpp"

namespace hv {

namespace {

using control_domain::ControlDomain;

using Sentence = BoundedText<300>;

alignas(ControlDomain) constinit std::byte control_domain_storage[sizeof(ControlDomain)]{};

[[noreturn]] void refuse(const Sentence& why)
{
    core::log_error(why.view());
    x86::refuse_to_run("Graft does not start.");
}

std::span<const std::byte> module_bytes(const BootedMachine& machine, core::BootModuleKind kind)
{
    const core::BootModule* const module = machine.boot.find(kind);
    if (module == nullptr)
        return {};
    return machine.firmware.at(module->range.begin, module->range.bytes);
}

core::ControlDomainEntry build(const BootedMachine& machine)
{
    Sentence why;
    const core::ControlDomainPlan plan{
        .kernel = module_bytes(machine, core::BootModuleKind::control_kernel),
        .initramfs = module_bytes(machine, core::BootModuleKind::control_initramfs),
        .command_line = machine.boot.control_command_line.view(),
        .memory = {machine.split.control_domain.begin(), machine.split.control_domain.size()},
        .firmware = machine.firmware,
        .rsdp = machine.boot.rsdp,
        .apic_id = x86::this_cpu().apic_id};
    const auto entry = core::build_control_domain(plan, why);
    if (!entry)
        refuse(why);
    return entry.value();
}

}  // namespace

void control_domain_main(BootedMachine& machine)
{
    Sentence why;
    const auto hvm = svm::find_backend(*machine.frames, *machine.ledger, why);
    if (!hvm)
        refuse(why);
    if (const Status enabled = hvm.value()->enable_processor(); !enabled) {
        say(why, "virtualization cannot be turned on: ", error_name(enabled.error()));
        refuse(why);
    }
    if (!compose(machine, *hvm.value(), why))
        refuse(why);
    const core::ControlDomainEntry entry = build(machine);
    auto& domain = *new (control_domain_storage)
                       ControlDomain{{.hvm = *hvm.value(),
                                      .frames = *machine.frames,
                                      .ledger = *machine.ledger,
                                      .machine = machine.boot.memory,
                                      .own = machine.split.control_domain,
                                      .firmware = machine.firmware,
                                      .rsdp = machine.boot.rsdp,
                                      .physical_address_end = 1ull << x86::features().physical_address_bits,
                                      .serial_port = x86::serial_console_port()}};
    if (!domain.create(entry, &control_function(), why))
        refuse(why);
    start_service(domain);
    core::log_info("dom0 starts at ", Hex{entry.rip});
    domain.run();
}

}  // namespace hv
