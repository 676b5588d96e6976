// SPDX-License-Identifier: MIT
//
// The SVM back end on the tests' processor, with VCPUs that have nested tables of their own.
#pragma once

#include <optional>

#include "fake_platform.hpp"
#include "hv/arch/x86/svm/backend.hpp"
#include "hv/arch/x86/svm/exit_code.hpp"
#include "hv/arch/x86/svm/vcpu_state.hpp"
#include "hv/core/memory/nested_map.hpp"
#include "model_processor.hpp"

namespace hv::test {

inline constexpr std::uint64_t cpuid_exit{svm::number(svm::ExitCode::CPUID)};

/// The machine of one test.  Everything is given back at its end.
class SvmMachine {
public:
    explicit SvmMachine(const ModelFeatures& features = {}, unsigned processors = 2);

    [[nodiscard]] const core::HvmTable& hvm() const { return *hvm_; }

    core::FrameAllocator frames;
    core::Ledger ledger;

private:
    const core::HvmTable* hvm_{};
};

/// A VCPU in a domain of its own.
class TestVcpu {
public:
    explicit TestVcpu(SvmMachine& machine, core::VcpuKind kind = core::VcpuKind::guest);
    ~TestVcpu();
    TestVcpu(const TestVcpu&) = delete;
    TestVcpu& operator=(const TestVcpu&) = delete;

    void load(unsigned processor);
    void unload();
    /// Runs the guest once; by default it executes CPUID.
    core::Exit enter(const Program& program = [](Guest& guest) { guest.exits(cpuid_exit); });

    [[nodiscard]] svm::VcpuState& state() { return *static_cast<svm::VcpuState*>(context.backend); }
    [[nodiscard]] svm::Vmcb& vmcb() { return *state().vmcb; }

    core::Ledger ledger;
    core::NestedMap map;
    core::VcpuContext context{};

private:
    SvmMachine& machine_;
    std::optional<unsigned> loaded_on_;
};

/// 64-bit code at privilege level 0 with paging on.
[[nodiscard]] core::SystemRegisters long_mode_state();

}  // namespace hv::test
