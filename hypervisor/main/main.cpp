// SPDX-License-Identifier: MIT
//
// The order in which the hypervisor comes up: what the loader handed over, memory, processors, and then each
// processor's own work.  The only place that sees the portable core and the architecture together.
#include <cstring>
#include <new>

#include "hv/arch/x86/boot/firmware_view.hpp"
#include "hv/arch/x86/cpu/features.hpp"
#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/interrupts.hpp"
#include "hv/arch/x86/cpu/panic_report.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/arch/x86/platform/clock.hpp"
#include "hv/arch/x86/platform/local_apic.hpp"
#include "hv/arch/x86/platform/processors.hpp"
#include "hv/arch/x86/platform/serial.hpp"
#include "hv/core/boot/acpi_tables.hpp"
#include "hv/core/boot/boot_options.hpp"
#include "hv/core/boot/loader_information.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/main/booted_machine.hpp"

extern "C" void (*const init_array_begin[])();
extern "C" void (*const init_array_end[])();
extern "C" const char boot_stack_top[];
extern "C" [[noreturn]] void switch_stack(std::uint64_t top, void (*function)(std::uint64_t),
                                          std::uint64_t argument);
/// Called by boot/entry.S on the boot stack and the boot page tables.
extern "C" [[noreturn]] void boot_main(std::uint32_t protocol, std::uint32_t information);

namespace hv {

namespace {

using namespace core;
using namespace x86;

using Sentence = BoundedText<300>;

/// The least that is of use to guests beside the control domain.
constexpr std::uint64_t minimum_guest_memory{32ull << 20};
constexpr std::uint32_t protocol_pvh{0};

constinit BootedMachine machine_state{};
alignas(FrameAllocator) constinit std::byte frames_storage[sizeof(FrameAllocator)]{};
alignas(Ledger) constinit std::byte ledger_storage[sizeof(Ledger)]{};
alignas(Heap) constinit std::byte heap_storage[sizeof(Heap)]{};

[[noreturn]] void refuse(const Sentence& sentence)
{
    core::log_error(sentence.view());
    refuse_to_run("Graft does not start.");
}

template <typename... Parts>
[[noreturn]] void refuse_because(const Parts&... parts)
{
    Sentence sentence;
    say(sentence, parts...);
    refuse(sentence);
}

/// Options decide where the log goes, so they are looked at before anything is said, and judged after.
void read_options()
{
    BootInformation& boot = machine_state.boot;
    Sentence why;
    const Status options = parse_boot_options(boot.command_line.view(), machine_state.options, why);
    const bool console = open_serial_console(machine_state.options.console);
    set_log_level(machine_state.options.log_level);
    core::log_info("Graft ", graft_version, ", booted by ",
                   boot.protocol == BootProtocol::pvh ? "the PVH note" : "multiboot2", ", options \"",
                   boot.command_line.view(), '"');
    if (!console)
        core::log_warning("no serial port answers where console= says: the console is off");
    if (!options)
        refuse(why);
}

void read_boot_information(std::uint32_t protocol, HostPhysical information)
{
    Sentence why;
    const FirmwareMemory memory = boot_memory_view();
    const Status parsed = protocol == protocol_pvh
                              ? parse_pvh_start_info(memory, information, machine_state.boot, why)
                              : parse_multiboot2_information(memory, information, machine_state.boot, why);
    if (!parsed) {
        open_serial_console(ConsoleChoice::com1);
        refuse(why);
    }
}

/// Keeps the root pointer in the image: what the loader handed over may lie in memory that gets other owners.
void keep_rsdp()
{
    const FirmwareMemory memory = boot_memory_view();
    HostPhysical where = machine_state.boot.rsdp;
    if (!machine_state.boot.has_rsdp) {
        const auto found = search_rsdp(memory);
        if (!found)
            refuse_because("Graft needs ACPI, and there is no ACPI root pointer (RSDP).");
        where = found.value();
    }
    const auto bytes = memory.at(where, rsdp_bytes);
    if (bytes.size() != rsdp_bytes)
        refuse_because("the ACPI root pointer at ", Hex{where.raw()}, " is out of reach.");
    std::memcpy(machine_state.rsdp_copy.data(), bytes.data(), bytes.size());
    machine_state.boot.rsdp = platform::to_physical(machine_state.rsdp_copy.data());
    machine_state.boot.has_rsdp = true;
}

ModuleMoves divide_memory()
{
    BootInformation& boot = machine_state.boot;
    StaticVector<HostRange, maximum_raw_modules + 2> taken;
    for (const RawModule& module : boot.raw_modules)
        (void)taken.push_back(module.range);
    (void)taken.push_back(image_range());
    const auto low_page = find_low_page(boot.memory, taken);
    if (!low_page)
        refuse_because(
            "Graft needs a page of memory below 512 KiB to start processors in, and there is none.");
    machine_state.start_page = low_page.value();

    const HostRange reserved[]{image_range(), {machine_state.start_page, page_size}};
    auto split = split_memory(boot.memory, reserved, machine_state.options.control_memory);
    if (!split)
        refuse_because("Graft needs more memory: dom0_mem= asks for ",
                       machine_state.options.control_memory >> 20, " MiB, and the machine has ",
                       ram_bytes(boot.memory) >> 20, " MiB.");
    const HostRanges modules_only = machine_state.module_ranges();
    const auto moves = plan_module_moves(split.value(), {modules_only.data(), modules_only.size()},
                                         HostPhysical{boot_mapped_bytes});
    if (!moves)
        refuse_because("Graft needs more memory: the boot modules do not fit beside dom0_mem=",
                       machine_state.options.control_memory >> 20, "M.");
    machine_state.split = split.value();
    return moves.value();
}

void move_modules(const ModuleMoves& moves)
{
    for (const ModuleMove& move : moves) {
        HostRange& range = machine_state.boot.raw_modules[move.index].range;
        std::memcpy(platform::to_pointer(move.to), platform::to_pointer(range.begin), range.bytes);
        range.begin = move.to;
    }
}

void add_frames(bool reachable_by_boot_tables)
{
    for (const HostRange& range : machine_state.split.allocator) {
        const bool low = range.begin.raw() + range.bytes <= boot_mapped_bytes;
        if (low != reachable_by_boot_tables)
            continue;
        const Status added = machine_state.frames->add_range(range);
        if (!added && added.error() != Error::invalid_argument)
            core::log_warning("memory at ", Hex{range.begin.raw()},
                              " is not used: ", error_name(added.error()));
    }
}

void build_memory()
{
    const ModuleMoves moves = divide_memory();
    move_modules(moves);
    machine_state.frames = new (frames_storage) FrameAllocator{};
    machine_state.ledger = new (ledger_storage) Ledger{};
    machine_state.heap = new (heap_storage) Heap{*machine_state.frames, *machine_state.ledger};
    add_frames(true);
    if (machine_state.frames->free_frames() * page_size < minimum_guest_memory)
        refuse_because(
            "Graft needs more memory: beside dom0_mem=", machine_state.options.control_memory >> 20,
            "M only ", machine_state.frames->free_frames() * page_size >> 20,
            " MiB are left below 4 GiB, and it wants at least ", minimum_guest_memory >> 20, '.');
    if (!build_address_space(machine_state.boot.memory, *machine_state.frames, *machine_state.ledger))
        refuse_because("Graft needs more memory: its page tables do not fit.");
    add_frames(false);
    machine_state.firmware = firmware_memory_view(machine_state.boot.memory);
    core::log_info("memory: ", ram_bytes(machine_state.boot.memory) >> 20, " MiB, ",
                   ram_bytes(machine_state.split.control_domain) >> 20, " for dom0, ",
                   machine_state.frames->free_frames() * page_size >> 20, " for guests");
}

void read_modules()
{
    Sentence why;
    if (!interpret_modules(machine_state.firmware, machine_state.boot, why))
        refuse(why);
    if (machine_state.boot.find(BootModuleKind::control_kernel) == nullptr)
        refuse_because("Graft needs a boot module with dom0's kernel, and there is none.");
    for (const BootModule& module : machine_state.boot.modules)
        core::log_debug("boot module kind ", static_cast<unsigned>(module.kind), ' ', module.name.view(),
                        " at ", Hex{module.range.begin.raw()}, ", ", module.range.bytes, " bytes");
}

ProcessorList read_processors()
{
    Sentence why;
    const auto madt = find_acpi_table(machine_state.firmware, machine_state.boot.rsdp, "APIC", why);
    const auto list = madt ? parse_madt(madt.value(), why) : Expected<ProcessorList>{madt.error()};
    if (!list)
        refuse(why);
    if (list.value().left_out != 0)
        core::log_warning(list.value().left_out, " processors are more than Graft can use and are left out");
    return list.value();
}

void start_clocks(const ProcessorList& list)
{
    Sentence why;
    if (!initialize_local_apic(list.local_apic, why))
        refuse(why);
    if (!why.view().empty())
        core::log_warning(why.view());
    enable_boot_local_apic();
    this_cpu().apic_id = local_apic_id();
    this_cpu().online.store(true);
    Sentence ignored;
    const auto fadt = find_acpi_table(machine_state.firmware, machine_state.boot.rsdp, "FACP", ignored);
    const auto port = fadt ? power_timer_port(fadt.value()) : Expected<std::uint16_t>{Error::not_found};
    if (!calibrate_clocks(port ? std::optional{port.value()} : std::nullopt))
        refuse_because(
            "Graft needs a PIT or an ACPI power management timer to measure its clocks, and neither runs.");
    core::log_info("clocks: time-stamp counter ", tsc_frequency(), " Hz, local APIC timer ",
                   apic_timer_frequency(), " Hz");
}

void start_other_processors(const ProcessorList& list)
{
    if (list.apic_ids.size() < 2)
        refuse_because("Graft needs at least two processors, one for dom0 and one for guests, and this "
                       "machine has one.");
    if (!start_processors(list, machine_state.start_page))
        refuse_because("Graft needs more memory: the processors' stacks do not fit.");
    if (platform::processor_count() < 2)
        refuse_because("Graft needs at least two processors, and only one of this machine's ",
                       list.apic_ids.size(), " started.");
    core::log_info("started ", platform::processor_count(), " processors");
}

/// On the boot processor's own stack, with everything that needs no processor but this one done.
[[noreturn]] void boot_on_own_stack(std::uint64_t)
{
    read_modules();
    const ProcessorList list = read_processors();
    start_clocks(list);
    start_other_processors(list);
    control_domain_main(machine_state);
}

}  // namespace

BootedMachine& booted_machine()
{
    return machine_state;
}

void release_boot_modules(BootedMachine& machine)
{
    machine.boot.modules.clear();
    for (const RawModule& module : machine.boot.raw_modules)
        (void)machine.frames->add_range(
            module.range);  // one that is too small for a zone is lost: a page at most
    machine.boot.raw_modules.clear();
}

HostRanges BootedMachine::module_ranges() const
{
    HostRanges ranges;
    for (const RawModule& module : boot.raw_modules)
        (void)ranges.push_back(module.range);
    return ranges;
}

}  // namespace hv

void boot_main(std::uint32_t protocol, std::uint32_t information)
{
    using namespace hv;
    x86::build_interrupt_table();
    x86::initialize_processor_state(0);
    for (void (*const* function)() = init_array_begin; function != init_array_end; ++function)
        (*function)();
    x86::initialize_features();
    read_boot_information(protocol, HostPhysical{information});
    read_options();
    Sentence why;
    if (!x86::require_features(x86::features(), why))
        refuse(why);
    x86::set_control_registers();
    keep_rsdp();
    build_memory();
    if (!x86::prepare_processor(0))
        refuse_because("Graft needs more memory: the processors' stacks do not fit.");
    switch_stack(x86::this_cpu().stack_top, boot_on_own_stack, 0);
}
