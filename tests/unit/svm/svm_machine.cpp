// SPDX-License-Identifier: MIT
#include "svm_machine.hpp"

#include "hv/base/assert.hpp"
#include "hv/x86/control_registers.hpp"
#include "hv/x86/msr.hpp"

namespace hv::test {

SvmMachine::SvmMachine(const ModelFeatures& features, unsigned processors)
{
    fake::reset_platform(processors);
    reset_model(features);
    HV_ASSERT(frames.add_range({HostPhysical{1ull << 20}, 64ull << 20}).has_value());
    BoundedText<200> why;
    const auto found = svm::find_backend(frames, ledger, why);
    HV_ASSERT(found.has_value());
    hvm_ = found.value();
    for (unsigned processor = processors; processor-- > 0;) {
        fake::set_current_processor(processor);
        HV_ASSERT(hvm_->enable_processor().has_value());
    }
    ledger.refund(ledger.frames());  // the back end keeps what it took for as long as the machine lasts
}

TestVcpu::TestVcpu(SvmMachine& machine, core::VcpuKind kind)
    : map{machine.frames, ledger, machine.hvm().nested_format, true}, machine_{machine}
{
    HV_ASSERT(map.create().has_value());
    context.kind = kind;
    context.ledger = &ledger;
    context.nested_root = map.root();
    context.nested_generation = &map.generation();
    HV_ASSERT(machine.hvm().vcpu_create(context).has_value());
}

TestVcpu::~TestVcpu()
{
    if (loaded_on_ && context.kind == core::VcpuKind::guest)
        unload();
    if (!loaded_on_)
        machine_.hvm().vcpu_destroy(context);
    else
        ledger.refund(ledger.frames() - map.table_frames());  // a control VCPU stays for ever
}

void TestVcpu::load(unsigned processor)
{
    fake::set_current_processor(processor);
    machine_.hvm().load(context);
    loaded_on_ = processor;
}

void TestVcpu::unload()
{
    fake::set_current_processor(*loaded_on_);
    machine_.hvm().unload(context);
    loaded_on_.reset();
}

core::Exit TestVcpu::enter(const Program& program)
{
    fake::set_current_processor(*loaded_on_);
    model().program = program;
    machine_.hvm().run(context, [](core::VcpuContext&) { return false; });
    return context.exit;
}

core::SystemRegisters long_mode_state()
{
    core::SystemRegisters system{};
    for (core::Segment& segment : system.segments)
        segment = {0x18, 0xc93, 0xffff'ffff, 0};
    system.segments[core::segment_cs] = {0x10, 0xa9b, 0xffff'ffff, 0};
    system.ldtr = {0, 0x82, 0xffff, 0};
    system.tr = {0, 0x8b, 0xffff, 0};
    system.gdtr = {0x1000, 0x7f};
    system.idtr = {0x2000, 0xfff};
    system.cr0 = x86::Cr0::PG::mask | x86::Cr0::PE::mask | x86::Cr0::ET::mask;
    system.cr3 = 0x5000;
    system.cr4 = x86::Cr4::PAE::mask;
    system.efer = x86::Efer::LME::mask | x86::Efer::LMA::mask;
    system.dr6 = 0xffff'0ff0;
    system.dr7 = 0x400;
    system.pat = 0x0007'0406'0007'0406;
    return system;
}

}  // namespace hv::test
