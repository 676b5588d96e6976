// SPDX-License-Identifier: MIT
//
// What a module that answers instead of the core has left in the frame.
#include "shown_exit.hpp"

#include "guest_mode.hpp"
#include "hv/core/domain/domain.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/core/vcpu/machine_status.hpp"

namespace hv::core {

namespace {

bool take_status(Vcpu& vcpu, const Shown& shown, std::uint64_t value)
{
    ExecutionContext context;  // filled in whole
    machine().hvm.read_context(vcpu, context);
    return store_status(vcpu, context, shown.status, value);
}

}  // namespace

bool take_answer(Vcpu& vcpu, const Exit& exit, const Shown& shown, const abi::ExitFrame& answer)
{
    constexpr std::uint64_t low_half{0xffff'ffff};
    std::uint64_t* const guest = vcpu.registers.general;
    const std::uint64_t mask = width_mask(shown.frame.mode);
    write_back_registers(guest, answer.general, shown.frame.mode);
    const std::uint64_t value = answer.value;
    const auto number = static_cast<std::uint32_t>(shown.frame.number);
    const bool write = shown.frame.write != 0;
    switch (shown.frame.kind) {
    case abi::ExitKind::cpuid:
        for (const unsigned index : {rax, rbx, rcx, rdx})
            guest[index] &= low_half;
        return true;
    case abi::ExitKind::msr: vcpu.exits.msrs.count(number, write); [[fallthrough]];
    case abi::ExitKind::read_tsc:
        if (!write)
            write_pair(vcpu, value);
        return true;
    case abi::ExitKind::port: {
        vcpu.exits.ports.count(exit.port.port, write);
        const std::uint64_t bits = low_half >> (32 - 8 * exit.port.size);
        if (!write)
            guest[rax] = exit.port.size == 4 ? value & bits : (guest[rax] & ~bits) | (value & bits);
        return true;
    }
    case abi::ExitKind::control_register:
        if (shown.status.length != 0 && !write)
            return take_status(vcpu, shown, value);
        [[fallthrough]];
    case abi::ExitKind::debug_register:
        if (!write)
            guest[shown.result_register] = value & mask;
        return true;
    default: return true;
    }
}

}  // namespace hv::core
