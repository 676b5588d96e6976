// SPDX-License-Identifier: MIT
//
// A processor with SVM for host tests, as unforgiving as the manual allows: what a clean bit covers is taken
// from a copy that each processor keeps of every control block it ever ran, and translations stay in the TLB,
// by address space, until they are flushed.  Links in the place of processor.cpp and run.S.  Specification:
// [APM2-3.41 §15.15, §15.16, §15.5].
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hv/arch/x86/svm/vmcb.hpp"
#include "hv/core/vcpu/registers.hpp"

namespace hv::test {

/// What the tests' processor has.
struct ModelFeatures {
    bool next_rip{};
    bool decode_assists{};
    bool flush_by_address_space{};
    bool clean_bits{true};
    bool extended_state{true};
    std::uint32_t address_spaces{16};
};

/// What the guest does in one run: looks at the state that the processor runs it with, changes it as
/// instructions would, and sets the exit fields.
class Guest {
public:
    Guest(svm::Vmcb& running, core::Registers& general) : state{running}, registers{general} {}

    svm::Vmcb& state;  ///< the processor's own copy
    core::Registers& registers;

    void exits(std::uint64_t code, std::uint64_t info_1 = 0, std::uint64_t info_2 = 0)
    {
        state.control.exit_code = code;
        state.control.exit_info_1 = info_1;
        state.control.exit_info_2 = info_2;
    }
    /// The host page that a guest page is translated to, by the TLB if it has the page; nothing: a nested
    /// fault.
    [[nodiscard]] std::optional<std::uint64_t> translate(std::uint64_t guest_page);
};
using Program = std::function<void(Guest&)>;

struct ModelProcessor {
    std::map<std::uint64_t, svm::Vmcb> remembered;                         ///< by the control block's address
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint64_t> tlb;  ///< (ASID, page) to page
    std::map<std::uint32_t, std::uint64_t> msrs;
    std::uint64_t extended_control{1};
    std::byte vectors[256]{};  ///< XMM0 to XMM15
    const void* extended_area{};  ///< that the extended state was last loaded from
    std::uint64_t debug_addresses[4]{};
    bool host_state_saved{};
    bool events_held{};
};

struct Model {
    ModelFeatures features;
    std::map<unsigned, ModelProcessor> processors;
    Program program;
    /// What happens the moment events are held: the last moment for an NMI to come.
    std::function<void()> before_hold;
    /// The control block as the last run saw it at its beginning.
    svm::Vmcb entered{};
    unsigned runs{};
    /// Groups of fields that were marked clean and were not, ever: what real processors make of that nobody
    /// knows.
    std::uint32_t wrongly_clean{};
    /// Runs that violated a rule of VMRUN, in words.
    std::vector<std::string> violations;
};

/// A new machine; the back end is to be made anew after this.
Model& reset_model(const ModelFeatures& features);
[[nodiscard]] Model& model();
[[nodiscard]] ModelProcessor& here();

}  // namespace hv::test
