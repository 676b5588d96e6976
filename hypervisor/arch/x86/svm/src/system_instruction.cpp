// SPDX-License-Identifier: MIT
#include "hv/arch/x86/svm/system_instruction.hpp"

#include <algorithm>
#include <iterator>

#include "hv/arch/x86/svm/intercepts.hpp"
#include "hv/arch/x86/svm/processor.hpp"
#include "hv/arch/x86/svm/state.hpp"
#include "hv/core/emulate/code_mode.hpp"
#include "hv/core/emulate/decode.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::svm {

namespace {

namespace emulate = core::emulate;

}  // namespace

Status move_control_register(VcpuState& vcpu, core::Registers& registers, std::span<const std::byte> bytes,
                             const Features& features)
{
    constexpr std::uint8_t from_control{0x20}, to_control{0x22};
    core::ExecutionContext context{};
    read_context(vcpu, context);
    const auto decoded = emulate::decode(bytes, emulate::mode_of(context));
    if (!decoded || decoded.value().map != emulate::OpcodeMap::legacy_0f)
        return Error::not_supported;
    const emulate::Instruction& instruction = decoded.value();
    const bool locked = (instruction.prefixes & emulate::prefix::lock) != 0;  // CR8 outside 64-bit mode
    const unsigned number = instruction.reg_index() + (locked ? 8u : 0u);
    const std::uint64_t mask = context.code_64() ? ~0ull : 0xffff'ffffull;
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

void pass_debug_registers(VcpuState& vcpu)
{
    processor::load_debug_addresses(vcpu.debug_addresses);
    vcpu.debug_loaded = true;
    vcpu.vmcb->control.intercept_dr = 0;
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
