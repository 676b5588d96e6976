// SPDX-License-Identifier: MIT
//
// What a domain's processors are: one table of CPUID leaves, computed once from what the host has, less what a guest must not
// see, plus what Graft provides whatever the host has, with a topology that agrees with the guest's ACPI tables.  Every
// later question ("has this guest x2APIC?") is asked here, so that CPUID and behaviour cannot disagree.  The leaves from
// 0x40000000 on belong to the extensions; without one, the first block says that this is Graft.
// Specification: [APM3-3.35 Appendix E], [SDM2-083 "CPUID"].
#pragma once

#include <cstdint>
#include <span>

#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/x86/cpuid.hpp"

namespace hv::core {

/// How the host's processors answer; on the target the instruction itself.
using CpuidReader = x86::CpuidResult (*)(std::uint32_t leaf, std::uint32_t subleaf);

/// What the configuration asks of one leaf: result = (policy & and_mask) | or_mask.
struct CpuidAdjustment {
    std::uint32_t leaf;
    std::uint32_t subleaf;
    x86::CpuidResult and_mask;
    x86::CpuidResult or_mask;
};

/// What of a VCPU shows in its leaves.
struct CpuidVcpu {
    std::uint32_t apic_id;
    std::uint64_t cr4;
    std::uint64_t xcr0;
};

class CpuidPolicy {
public:
    static constexpr std::uint32_t hypervisor_leaf{0x4000'0000};
    static constexpr std::uint32_t hypervisor_leaf_end{0x4001'0000};

    CpuidPolicy(CpuidReader host, unsigned vcpus);

    /// Applies what the configuration asks.  Fails with not_supported where a bit would be set that neither the host nor
    /// Graft has, or not_found where that is in a leaf that does not exist, whose bits can only be taken; nothing is then
    /// changed.
    Status adjust(const CpuidAdjustment& adjustment);

    /// The guest's answer; leaves that do not exist read as zeroes.
    [[nodiscard]] x86::CpuidResult answer(std::uint32_t leaf, std::uint32_t subleaf, const CpuidVcpu& vcpu) const;

    /// Bits that the guest may set in XCR0; none without XSAVE.
    [[nodiscard]] std::uint64_t xcr0_supported() const;
    /// Bits that the guest may set in CR4 and in EFER: those of the features that it is shown.
    [[nodiscard]] std::uint64_t cr4_supported() const;
    [[nodiscard]] std::uint64_t efer_supported() const;
    [[nodiscard]] bool has_x2apic() const;
    [[nodiscard]] bool has_tsc_deadline() const;
    [[nodiscard]] bool has_tsc_adjust() const;
    [[nodiscard]] unsigned physical_address_bits() const { return physical_address_bits_; }

private:
    struct Leaf {
        std::uint32_t leaf;
        std::uint32_t subleaf;
        x86::CpuidResult values;
    };
    static constexpr unsigned direct{0x20};  ///< leaves of each range that are found by index

    void add(std::uint32_t leaf, std::uint32_t subleaf, const x86::CpuidResult& values);
    void add_basic(CpuidReader host, unsigned vcpus);
    void add_extended_state(CpuidReader host);
    void add_topology(unsigned vcpus);
    void add_extended(CpuidReader host, unsigned vcpus);
    [[nodiscard]] std::uint32_t standard_area(std::uint64_t xcr0) const;
    [[nodiscard]] std::uint32_t compacted_area(std::uint64_t xcr0) const;
    [[nodiscard]] const Leaf* find(std::uint32_t leaf, std::uint32_t subleaf) const;
    [[nodiscard]] x86::CpuidResult values(std::uint32_t leaf) const;
    void index();

    StaticVector<Leaf, 64> leaves_{};
    std::uint8_t basic_[direct]{};     ///< 1 + index into leaves_ of the first subleaf, 0: none
    std::uint8_t extended_[direct]{};
    unsigned physical_address_bits_{};
};

}  // namespace hv::core
