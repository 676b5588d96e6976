// SPDX-License-Identifier: MIT
//
// Descriptors and control registers [APM2-3.41 §4.7, §4.8, §5.3, §14.6].
#include "image/start_registers.hpp"

#include <array>

namespace hv::xl {
namespace {

constexpr std::uint16_t code_selector{0x10};
constexpr std::uint16_t data_selector{0x18};
constexpr std::uint16_t task_selector{0x20};

// Descriptors as the processor reads them, and the same attributes as the VMCB packs them.
constexpr std::uint64_t code_32_descriptor{0x00cf'9b00'0000'ffff};
constexpr std::uint64_t code_64_descriptor{0x00af'9b00'0000'ffff};
constexpr std::uint64_t data_descriptor{0x00cf'9300'0000'ffff};
constexpr std::uint64_t task_descriptor{0x0000'8b00'0000'0067};
constexpr std::uint16_t code_32_attributes{0xc9b};
constexpr std::uint16_t code_64_attributes{0xa9b};
constexpr std::uint16_t data_attributes{0xc93};
constexpr std::uint16_t task_attributes{0x08b};
constexpr std::uint32_t flat_limit{0xffff'ffff};
constexpr std::uint32_t task_limit{0x67};

constexpr std::uint64_t CR0_PE{1u << 0}, CR0_ET{1u << 4}, CR0_PG{1u << 31};
constexpr std::uint64_t CR4_PAE{1u << 5};
constexpr std::uint64_t EFER_LME{1u << 8}, EFER_LMA{1u << 10};
constexpr std::uint64_t RFLAGS_RESERVED{1u << 1};

constexpr std::uint64_t present_writable{0x3};
constexpr std::uint64_t large_page{0x80};
constexpr std::uint64_t table_bytes{4096};
constexpr std::uint64_t directories{4};  // of 1 GiB each

enum SegmentIndex : std::uint8_t { ES, CS, SS, DS, FS, GS };

protocol::VcpuRegisters flat_registers(std::uint64_t entry, std::uint64_t gdt, std::uint16_t code_attributes)
{
    protocol::VcpuRegisters registers{};
    registers.rip = entry;
    registers.rflags = RFLAGS_RESERVED;
    for (auto& segment : registers.segments)
        segment = {0, flat_limit, data_selector, data_attributes};
    registers.segments[CS] = {0, flat_limit, code_selector, code_attributes};
    registers.tr = {0, task_limit, task_selector, task_attributes};
    // Five descriptors, and a sixth slot: in long mode a task descriptor takes two.
    registers.gdtr = {gdt, 6 * 8 - 1, 0};
    return registers;
}

}  // namespace

ByteBuffer start_descriptors(bool long_mode)
{
    ByteBuffer table;
    for (const std::uint64_t descriptor :
         {std::uint64_t{0}, std::uint64_t{0}, long_mode ? code_64_descriptor : code_32_descriptor,
          data_descriptor, task_descriptor, std::uint64_t{0}})
        table.put<std::uint64_t>(descriptor);
    return table;
}

ByteBuffer identity_tables(std::uint64_t address)
{
    ByteBuffer tables{identity_table_bytes};
    tables.set<std::uint64_t>(0, (address + table_bytes) | present_writable);
    for (std::uint64_t i = 0; i < directories; ++i)
        tables.set<std::uint64_t>(table_bytes + 8 * i, (address + (2 + i) * table_bytes) | present_writable);
    for (std::uint64_t i = 0; i < directories * 512; ++i)
        tables.set<std::uint64_t>(2 * table_bytes + 8 * i, (i << 21) | large_page | present_writable);
    return tables;
}

protocol::VcpuRegisters protected_mode_registers(std::uint64_t entry, std::uint64_t gdt)
{
    protocol::VcpuRegisters registers{flat_registers(entry, gdt, code_32_attributes)};
    registers.cr0 = CR0_PE | CR0_ET;
    return registers;
}

protocol::VcpuRegisters long_mode_registers(std::uint64_t entry, std::uint64_t gdt, std::uint64_t page_tables)
{
    protocol::VcpuRegisters registers{flat_registers(entry, gdt, code_64_attributes)};
    registers.cr0 = CR0_PE | CR0_ET | CR0_PG;
    registers.cr3 = page_tables;
    registers.cr4 = CR4_PAE;
    registers.efer = EFER_LME | EFER_LMA;
    return registers;
}

}  // namespace hv::xl
