// SPDX-License-Identifier: MIT
//
// The tables, field by field.  Offsets in comments and code are the specification's.
#include "acpi/tables.hpp"

#include <string>

#include "acpi/aml.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::xl {
namespace {

namespace layout = hv::protocol;

constexpr std::size_t checksum_offset{9};
constexpr std::size_t facs_bytes{64};

std::uint8_t checksum_of(std::span<const std::byte> bytes)
{
    unsigned sum{0};
    for (const std::byte byte : bytes)
        sum += std::to_integer<unsigned>(byte);
    return static_cast<std::uint8_t>(0u - sum);
}

/// The header of every table but RSDP and FACS; length and checksum are set by `finish` [ACPI-6.5 §5.2.6].
ByteBuffer start_table(std::string_view signature, std::uint8_t revision)
{
    ByteBuffer table;
    table.put_text(signature);
    table.put<std::uint32_t>(0);
    table.put<std::uint8_t>(revision);
    table.put<std::uint8_t>(0);
    table.put_text("GRAFT GRAFTVPC");  // OEM id, OEM table id
    table.put<std::uint32_t>(1);
    table.put_text("GRFT");            // the compiler: this file
    table.put<std::uint32_t>(1);
    return table;
}

void finish_table(ByteBuffer& table)
{
    table.set<std::uint32_t>(4, static_cast<std::uint32_t>(table.size()));
    table.set<std::uint8_t>(checksum_offset, 0);
    table.set<std::uint8_t>(checksum_offset, checksum_of(table.view()));
}

/// A Generic Address Structure for a port [ACPI-6.5 §5.2.3.2].
void set_port(ByteBuffer& table, std::size_t offset, std::uint16_t port, std::uint8_t bytes)
{
    constexpr std::uint8_t system_io_space{1};
    table.set<std::uint8_t>(offset, system_io_space);
    table.set<std::uint8_t>(offset + 1, static_cast<std::uint8_t>(bytes * 8));
    // Event blocks are accessed by 16 bits: their status and enable registers are that wide.
    const std::uint8_t access{static_cast<std::uint8_t>(bytes == 1 ? 1 : 2)};
    table.set<std::uint8_t>(offset + 3, access);
    table.set<std::uint64_t>(offset + 4, port);
}

Aml processor(std::uint32_t number)
{
    static constexpr std::string_view digits{"0123456789ABCDEF"};
    const std::string name{'C', digits[(number >> 8) & 0xf], digits[(number >> 4) & 0xf],
                           digits[number & 0xf]};
    return aml_device(name, aml_list({aml_name("_HID", aml_string("ACPI0007")),
                                      aml_name("_UID", aml_integer(number))}));
}

Aml uart()
{
    return aml_device(
        "COM1",
        aml_list(
            {aml_name("_HID", aml_eisa_id("PNP0501")), aml_name("_UID", aml_integer(1)),
             aml_name(
                 "_CRS",
                 AmlResources{}.ports(layout::uart_port, layout::uart_ports).irq(layout::uart_gsi).aml())}));
}

Aml real_time_clock()
{
    return aml_device("RTC", aml_list({aml_name("_HID", aml_eisa_id("PNP0B00")),
                                       aml_name("_CRS", AmlResources{}
                                                            .ports(layout::rtc_port, 2)
                                                            .irq(layout::rtc_gsi)
                                                            .aml())}));
}

ByteBuffer dsdt(std::uint32_t vcpus)
{
    ByteBuffer table{start_table("DSDT", 2)};
    const Aml s5{
        aml_package({aml_integer(layout::sleep_type_s5), aml_integer(0), aml_integer(0), aml_integer(0)})};
    table.put_bytes(aml_name("\\_S5", s5));
    Aml devices{aml_list({uart(), real_time_clock()})};
    for (std::uint32_t vcpu = 0; vcpu < vcpus; ++vcpu)
        devices = aml_list({devices, processor(vcpu)});
    table.put_bytes(aml_scope("\\_SB", devices));
    finish_table(table);
    return table;
}

/// [ACPI-6.5 §5.2.9].
ByteBuffer fadt(const AcpiPlacement& placement, std::uint64_t dsdt_address)
{
    constexpr std::size_t bytes{276};
    constexpr std::uint16_t LEGACY_DEVICES{1u << 0}, VGA_NOT_PRESENT{1u << 2};
    constexpr std::uint32_t WBINVD{1u << 0}, PROC_C1{1u << 2}, SLP_BUTTON{1u << 5}, FIX_RTC{1u << 6},
        TMR_VAL_EXT{1u << 8}, RESET_REG_SUP{1u << 10};
    ByteBuffer table{bytes};
    table.set_bytes(0, start_table("FACP", 6).view());
    table.set<std::uint32_t>(36, static_cast<std::uint32_t>(placement.facs));
    table.set<std::uint32_t>(40, static_cast<std::uint32_t>(dsdt_address));
    table.set<std::uint16_t>(46, layout::sci_gsi);
    table.set<std::uint32_t>(56, layout::pm1a_event_port);
    table.set<std::uint32_t>(64, layout::pm1a_control_port);
    table.set<std::uint32_t>(76, layout::pm_timer_port);
    table.set<std::uint8_t>(88, layout::pm1a_event_bytes);
    table.set<std::uint8_t>(89, layout::pm1a_control_bytes);
    table.set<std::uint8_t>(91, layout::pm_timer_bytes);
    table.set<std::uint16_t>(96, 0xffff);  // P_LVL2_LAT and P_LVL3_LAT: there is no C2 and no C3
    table.set<std::uint16_t>(98, 0xffff);
    table.set<std::uint8_t>(108, layout::rtc_century_index);
    table.set<std::uint16_t>(109, LEGACY_DEVICES | VGA_NOT_PRESENT);
    // PWR_BUTTON is clear: the power button is fixed hardware.  SLP_BUTTON and FIX_RTC are set: those are
    // not.
    table.set<std::uint32_t>(112, WBINVD | PROC_C1 | SLP_BUTTON | FIX_RTC | TMR_VAL_EXT | RESET_REG_SUP);
    set_port(table, 116, layout::reset_port, 1);
    table.set<std::uint8_t>(128, layout::reset_value);
    table.set<std::uint8_t>(131, 5);       // minor version
    table.set<std::uint64_t>(140, dsdt_address);
    set_port(table, 148, layout::pm1a_event_port, layout::pm1a_event_bytes);
    set_port(table, 172, layout::pm1a_control_port, layout::pm1a_control_bytes);
    set_port(table, 208, layout::pm_timer_port, layout::pm_timer_bytes);
    table.set<std::uint8_t>(211, 3);       // the timer is read by 32 bits
    table.set_bytes(268, std::as_bytes(std::span{"Graft\0\0", 8}));
    finish_table(table);
    return table;
}

void put_local_apic(ByteBuffer& table, std::uint32_t vcpu)
{
    constexpr std::uint32_t enabled{1};
    constexpr std::uint32_t last_8_bit_id{254};
    if (vcpu <= last_8_bit_id) {
        table.put<std::uint8_t>(0);  // Processor Local APIC
        table.put<std::uint8_t>(8);
        table.put<std::uint8_t>(static_cast<std::uint8_t>(vcpu));
        table.put<std::uint8_t>(static_cast<std::uint8_t>(vcpu));
        table.put<std::uint32_t>(enabled);
        return;
    }
    table.put<std::uint8_t>(9);  // Processor Local x2APIC
    table.put<std::uint8_t>(16);
    table.put<std::uint16_t>(0);
    table.put<std::uint32_t>(vcpu);
    table.put<std::uint32_t>(enabled);
    table.put<std::uint32_t>(vcpu);
}

void put_source_override(ByteBuffer& table, std::uint8_t irq, std::uint32_t gsi, std::uint16_t flags)
{
    table.put<std::uint8_t>(2);
    table.put<std::uint8_t>(10);
    table.put<std::uint8_t>(0);  // ISA
    table.put<std::uint8_t>(irq);
    table.put<std::uint32_t>(gsi);
    table.put<std::uint16_t>(flags);
}

/// [ACPI-6.5 §5.2.12].
ByteBuffer madt(std::uint32_t vcpus)
{
    constexpr std::uint32_t PCAT_COMPAT{1};
    constexpr std::uint16_t conforms{0};
    constexpr std::uint16_t active_high_level{0xd};
    ByteBuffer table{start_table("APIC", 5)};
    table.put<std::uint32_t>(static_cast<std::uint32_t>(layout::local_apic_base));
    table.put<std::uint32_t>(PCAT_COMPAT);
    for (std::uint32_t vcpu = 0; vcpu < vcpus; ++vcpu)
        put_local_apic(table, vcpu);
    table.put<std::uint8_t>(1);  // I/O APIC
    table.put<std::uint8_t>(12);
    table.put<std::uint8_t>(layout::io_apic_id);
    table.put<std::uint8_t>(0);
    table.put<std::uint32_t>(static_cast<std::uint32_t>(layout::io_apic_base));
    table.put<std::uint32_t>(0);
    put_source_override(table, layout::pit_irq, layout::pit_gsi, conforms);
    put_source_override(table, layout::sci_gsi, layout::sci_gsi, active_high_level);
    table.put<std::uint8_t>(4);  // Local APIC NMI: LINT1 of every processor
    table.put<std::uint8_t>(6);
    table.put<std::uint8_t>(0xff);
    table.put<std::uint16_t>(conforms);
    table.put<std::uint8_t>(1);
    finish_table(table);
    return table;
}

/// [ACPI-6.5 §5.2.5.3]: the first checksum covers 20 bytes, the second all 36.
ByteBuffer rsdp(std::uint64_t xsdt)
{
    ByteBuffer table{36};
    table.set_bytes(0, std::as_bytes(std::span{"RSD PTR ", 8}));
    table.set_bytes(9, std::as_bytes(std::span{"GRAFT ", 6}));
    table.set<std::uint8_t>(15, 2);
    table.set<std::uint32_t>(20, 36);
    table.set<std::uint64_t>(24, xsdt);
    table.set<std::uint8_t>(8, checksum_of(table.view().first(20)));
    table.set<std::uint8_t>(32, checksum_of(table.view()));
    return table;
}

/// [ACPI-6.5 §5.2.10].
ByteBuffer facs()
{
    ByteBuffer table{facs_bytes};
    table.set_bytes(0, std::as_bytes(std::span{"FACS", 4}));
    table.set<std::uint32_t>(4, facs_bytes);
    table.set<std::uint8_t>(32, 2);
    return table;
}

}  // namespace

std::vector<std::byte> acpi_dsdt(std::uint32_t vcpus)
{
    return dsdt(vcpus).take();
}

AcpiImage acpi_image(std::uint32_t vcpus, const AcpiPlacement& placement)
{
    ByteBuffer tables;
    const auto append = [&](const ByteBuffer& table) {
        tables.align(16);
        const std::uint64_t address{placement.tables + tables.size()};
        tables.put_bytes(table.view());
        return address;
    };
    const std::uint64_t dsdt_address{append(dsdt(vcpus))};
    const std::uint64_t fadt_address{append(fadt(placement, dsdt_address))};
    const std::uint64_t madt_address{append(madt(vcpus))};
    ByteBuffer xsdt{start_table("XSDT", 1)};
    xsdt.put<std::uint64_t>(fadt_address);
    xsdt.put<std::uint64_t>(madt_address);
    finish_table(xsdt);
    const std::uint64_t xsdt_address{append(xsdt)};
    return {rsdp(xsdt_address).take(), facs().take(), tables.take()};
}

}  // namespace hv::xl
