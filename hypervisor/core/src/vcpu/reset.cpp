// SPDX-License-Identifier: MIT
#include "hv/core/vcpu/reset.hpp"

#include "hv/base/assert.hpp"
#include "hv/core/machine.hpp"
#include "hv/x86/control_registers.hpp"

namespace hv::core {
namespace {

constexpr std::uint16_t real_mode_code{0x9b};  // present, code, readable, accessed
constexpr std::uint16_t real_mode_data{0x93};
constexpr std::uint16_t system_ldt{0x82};
constexpr std::uint16_t system_busy_tss{0x8b};
constexpr std::uint32_t real_mode_limit{0xffff};
constexpr std::uint64_t reset_cr0{0x6000'0010};  // CD, NW, ET
constexpr std::uint64_t reset_pat{0x0007'0406'0007'0406};
constexpr std::uint64_t reset_dr6{0xffff'0ff0};
constexpr std::uint64_t reset_dr7{0x400};

SystemRegisters reset_system()
{
    SystemRegisters system{};
    for (Segment& segment : system.segments)
        segment = {0, real_mode_data, real_mode_limit, 0};
    system.segments[segment_cs] = {0xf000, real_mode_code, real_mode_limit, 0xffff'0000};
    system.ldtr = {0, system_ldt, real_mode_limit, 0};
    system.tr = {0, system_busy_tss, real_mode_limit, 0};
    system.gdtr = {0, real_mode_limit};
    system.idtr = {0, real_mode_limit};
    system.cr0 = reset_cr0;
    system.dr6 = reset_dr6;
    system.dr7 = reset_dr7;
    system.pat = reset_pat;
    return system;
}

void write(Vcpu& vcpu, const SystemRegisters& system)
{
    const auto written = machine().hvm.write_system(vcpu, system);
    HV_ASSERT(written.has_value());
}

}  // namespace

void reset_registers(Vcpu& vcpu)
{
    vcpu.registers = Registers{};
    vcpu.registers.rip = 0xfff0;
    vcpu.registers.rflags = x86::Rflags::always_one;
    write(vcpu, reset_system());
}

void start_real_mode(Vcpu& vcpu, std::uint8_t vector)
{
    SystemRegisters system = reset_system();
    system.segments[segment_cs] = {static_cast<std::uint16_t>(vector << 8), real_mode_code, real_mode_limit,
                                   std::uint64_t{vector} << 12};
    write(vcpu, system);
    vcpu.registers.rip = 0;
}

}  // namespace hv::core
