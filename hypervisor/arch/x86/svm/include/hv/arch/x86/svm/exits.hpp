// SPDX-License-Identifier: MIT
//
// From a VMCB after #VMEXIT to an Exit that the core understands.  Specification: [APM2-3.41 §15.7, appendix
// C].
#pragma once

#include <array>
#include <cstdint>

#include "hv/arch/x86/svm/vcpu_state.hpp"
#include "hv/core/hvm/exit.hpp"

namespace hv::svm {

/// How much more than its kind there is to say of an exit.
enum class Detail : std::uint8_t {
    none,
    port,
    exception,
    information,  ///< the raw EXITINFO fields
    window,
    nmi_return,
    debug,
    general_protection,  ///< becomes #GP(0), queued
};

struct alignas(4) ExitRow {
    core::ExitKind kind;
    Detail detail;
    std::uint8_t kind_bits;  ///< those of EXITINFO1 that are added to the kind
};

inline constexpr std::size_t exit_rows{0xa8};
/// By exit code.  Beyond the table are NPF and INVALID; describe_exit() knows them.
extern const std::array<ExitRow, exit_rows> exit_table;

/// A row's kind: for RDMSR and WRMSR, which have one exit code, EXITINFO1 tells the two apart [APM2-3.41 §15.11].
inline core::ExitKind kind_of(const ExitRow& row, const VmcbControlArea& control)
{
    return static_cast<core::ExitKind>(static_cast<unsigned>(row.kind) + (control.exit_info_1 & row.kind_bits));
}
static_assert(static_cast<unsigned>(core::ExitKind::msr_write) == static_cast<unsigned>(core::ExitKind::msr_read) + 1);

/// Fills what the table's row does not say, or everything for codes beyond the table.  False: the exit was
/// the back end's own business, and the guest goes on.
[[nodiscard]] bool describe_exit(VcpuState& vcpu, std::uint64_t rip, core::Exit& exit);

}  // namespace hv::svm
