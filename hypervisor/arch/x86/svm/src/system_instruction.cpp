// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/system_instruction.hpp"

#include <algorithm>
#include <iterator>

#include "hv/arch/x86/svm/guest_intercepts.hpp"
#include "hv/arch/x86/svm/intercepts.hpp"
#include "hv/arch/x86/svm/processor.hpp"
#include "hv/arch/x86/svm/state.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/emulate/decode.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::svm {

namespace {

namespace emulate = core::emulate;

/// A MOV with a control or debug register; not_supported: the bytes are none.
Expected<emulate::Instruction> decode_move(const core::ExecutionContext& context, std::span<const std::byte> bytes)
{
    const auto decoded = emulate::decode(bytes, emulate::mode_of(context));
    if (!decoded || decoded.value().map != emulate::OpcodeMap::legacy_0f)
        return Error::not_supported;
    return decoded.value();
}

/// The operand's width does not depend on prefixes [APM3-3.35 "MOV CRn", "MOV DRn"].
std::uint64_t move_mask(const core::ExecutionContext& context) { return context.code_64() ? ~0ull : 0xffff'ffff; }

/// Bits of DR6 and DR7 that are always 1, and those that are always 0 [APM2-3.41 §13.1.1.3, §13.1.1.4].
constexpr std::uint64_t dr6_ones{0xffff'0ff0}, dr6_zeros{1 << 12};
constexpr std::uint64_t dr7_ones{1 << 10}, dr7_zeros{1 << 12 | 1 << 14 | 1 << 15};

/// DR7.GD makes an access to any of them a #DB, and is cleared by it; DR6.BD then says so [SDM3-083 §18.2.4].
constexpr std::uint64_t general_detect{1 << 13}, access_detected{1 << 13};

std::uint64_t read_debug_register(const VcpuState& vcpu, unsigned number)
{
    if (number == 6)
        return vcpu.vmcb->save.dr6;
    if (number == 7)
        return vcpu.vmcb->save.dr7;
    std::uint64_t addresses[4];
    read_debug_addresses(vcpu, addresses);
    return addresses[number & 3];
}

Status write_debug_register(VcpuState& vcpu, unsigned number, std::uint64_t value)
{
    if (number < 4) {
        std::uint64_t addresses[4];
        read_debug_addresses(vcpu, addresses);
        addresses[number] = value;
        write_debug_addresses(vcpu, addresses);
        return Done{};
    }
    if (value >> 32 != 0)
        return Error::invalid_argument;
    if (number == 6)
        vcpu.vmcb->save.dr6 = (value | dr6_ones) & ~dr6_zeros;
    else
        vcpu.vmcb->save.dr7 = (value | dr7_ones) & ~dr7_zeros;
    dirty(vcpu, clean_debug_registers);
    return Done{};
}

}  // namespace

Status move_control_register(VcpuState& vcpu, core::Registers& registers, std::span<const std::byte> bytes,
                             const Features& features)
{
    constexpr std::uint8_t from_control{0x20}, to_control{0x22};
    core::ExecutionContext context{};
    read_context(vcpu, context);
    const emulate::Instruction instruction = HV_TRY(decode_move(context, bytes));
    const bool locked = (instruction.prefixes & emulate::prefix::lock) != 0;  // CR8 outside 64-bit mode
    const unsigned number = instruction.reg_index() + (locked ? 8u : 0u);
    const std::uint64_t mask = move_mask(context);
    std::uint64_t& general = registers.general[instruction.rm_index()];
    if (instruction.opcode == to_control)
        return write_control_register(vcpu, number, general & mask, features);
    if (instruction.opcode != from_control)
        return Error::not_supported;
    general = HV_TRY(read_control_register(vcpu, number)) & mask;
    return Done{};
}

Status set_extended_control(VcpuState& vcpu, const core::Registers& registers)
{
    const VmcbSaveArea& save = vcpu.vmcb->save;
    if (vcpu.offered.xcr0 == 0 || !x86::Cr4::OSXSAVE::get(save.cr4))
        return Error::not_supported;
    const std::uint64_t value =
        registers.general[core::rdx] << 32 | (registers.general[core::rax] & 0xffff'ffff);
    const bool first_register = (registers.general[core::rcx] & 0xffff'ffff) == 0;
    if (save.cpl != 0 || !first_register || !legal_extended_control(value, vcpu.offered.xcr0))
        return Error::invalid_argument;
    vcpu.extended_control = value;
    return Done{};
}

Status move_debug_register(VcpuState& vcpu, core::Registers& registers, std::span<const std::byte> bytes)
{
    constexpr std::uint8_t from_debug{0x21}, to_debug{0x23};
    core::ExecutionContext context{};
    read_context(vcpu, context);
    const emulate::Instruction instruction = HV_TRY(decode_move(context, bytes));
    const bool writes = instruction.opcode == to_debug;
    unsigned number = instruction.reg_index();
    const bool alias = number == 4 || number == 5;
    if ((!writes && instruction.opcode != from_debug) || (alias && x86::Cr4::DE::get(context.cr4)))
        return Error::not_supported;
    if (context.privilege_level != 0)
        return Error::invalid_argument;
    if (vcpu.vmcb->save.dr7 & general_detect) {
        vcpu.vmcb->save.dr7 &= ~general_detect;
        vcpu.vmcb->save.dr6 |= access_detected;
        dirty(vcpu, clean_debug_registers);
        return Error::conflict;
    }
    number += alias ? 2 : 0;
    const std::uint64_t mask = move_mask(context);
    std::uint64_t& general = registers.general[instruction.rm_index()];
    if (writes)
        return write_debug_register(vcpu, number, general & mask);
    general = read_debug_register(vcpu, number) & mask;
    return Done{};
}

void pass_debug_registers(VcpuState& vcpu)
{
    processor::load_debug_addresses(vcpu.debug_addresses);
    vcpu.debug_loaded = true;
    vcpu.vmcb->control.intercept_dr = wanted_debug_bits(vcpu);
    dirty(vcpu, clean_intercepts);
}

void take_debug_registers(VcpuState& vcpu)
{
    processor::save_debug_addresses(vcpu.debug_addresses);
    vcpu.debug_loaded = false;
    vcpu.vmcb->control.intercept_dr = all_debug_registers;
    dirty(vcpu, clean_intercepts);
}

void read_debug_addresses(const VcpuState& vcpu, std::uint64_t (&to)[4])
{
    if (vcpu.debug_loaded)
        return processor::save_debug_addresses(to);
    std::copy(std::begin(vcpu.debug_addresses), std::end(vcpu.debug_addresses), to);
}

void write_debug_addresses(VcpuState& vcpu, const std::uint64_t (&from)[4])
{
    if (vcpu.debug_loaded)
        processor::load_debug_addresses(from);
    std::copy(std::begin(from), std::end(from), vcpu.debug_addresses);
}

}  // namespace hv::svm
