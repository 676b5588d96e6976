// SPDX-License-Identifier: MIT
//
// Everything that a loader, firmware or an operator hands to the hypervisor at boot, as arbitrary bytes: the first byte
// says which parser gets them.  The bytes are memory from `base` on; everything else is out of reach.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "hv/core/boot/acpi_tables.hpp"
#include "hv/core/boot/boot_options.hpp"
#include "hv/core/boot/loader_information.hpp"

using namespace hv;
using namespace hv::core;

namespace {

constexpr std::uint64_t base{0x400};

std::span<const std::byte> look(void* context, HostPhysical address, std::uint64_t length)
{
    const auto& bytes = *static_cast<const std::span<const std::byte>*>(context);
    if (!HostRange{HostPhysical{base}, bytes.size()}.contains(address, length))
        return {};
    return bytes.subspan(address.raw() - base, length);
}

void parse_loader(const FirmwareMemory& memory, bool pvh)
{
    const auto information = std::make_unique<BootInformation>();
    BoundedText<300> why;
    const Status parsed = pvh ? parse_pvh_start_info(memory, HostPhysical{base}, *information, why)
                              : parse_multiboot2_information(memory, HostPhysical{base}, *information, why);
    if (parsed)
        (void)interpret_modules(memory, *information, why);
}

void parse_archive(const FirmwareMemory& memory, std::uint64_t bytes)
{
    const auto information = std::make_unique<BootInformation>();
    BoundedText<300> why;
    information->protocol = BootProtocol::pvh;
    (void)information->raw_modules.push_back({.range = {HostPhysical{base}, bytes}, .text = {}});
    (void)interpret_modules(memory, *information, why);
}

void parse_acpi(const FirmwareMemory& memory, std::span<const std::byte> bytes)
{
    BoundedText<300> why;
    if (const auto rsdp = search_rsdp(memory))
        (void)find_acpi_table(memory, rsdp.value(), "APIC", why);
    (void)find_acpi_table(memory, HostPhysical{base}, "APIC", why);
    (void)parse_madt(bytes, why);
    (void)power_timer_port(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size == 0)
        return 0;
    std::span<const std::byte> bytes = std::as_bytes(std::span{data + 1, size - 1});
    const FirmwareMemory memory{.context = &bytes, .view = look};
    switch (data[0] % 5) {
    case 0: parse_loader(memory, true); break;
    case 1: parse_loader(memory, false); break;
    case 2: parse_archive(memory, bytes.size()); break;
    case 3: parse_acpi(memory, bytes); break;
    case 4: {
        BootOptions options;
        BoundedText<300> why;
        (void)parse_boot_options({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, options, why);
        break;
    }
    }
    return 0;
}
