// SPDX-License-Identifier: MIT
//
// What the guest tlfs-conformance is made of: one probe a subject, each of which prints what it sees and judges nothing.  A line is
// `tlfs: SUBJECT: WHAT`, the same on any hypervisor; tests/conformance/tlfs.py knows what each should say.
#pragma once

#include <cstdint>
#include <optional>

namespace guest::tlfs {

/// What leaf 0x40000003 says of the partition's privileges, EBX:EAX, and of its features, EDX.
struct Offer {
    std::uint64_t privileges{};
    std::uint32_t features{};

    [[nodiscard]] bool may(unsigned privilege) const { return (privileges >> privilege & 1) != 0; }
    [[nodiscard]] bool has(unsigned feature) const { return (features >> feature & 1) != 0; }
};
inline constexpr unsigned access_synic{2}, access_timers{3}, access_interrupt_control{4}, access_reference_tsc{9}, access_guest_idle{10};
inline constexpr unsigned create_partitions{32}, cpu_management{32 + 12};

/// Prints every leaf, and returns what they offer.
Offer probe_leaves();

/// Prints every MSR: what it reads as, and which bits it takes; in the state of a guest that has just begun.
void probe_msrs(const Offer& offer);

/// Prints what the MSRs that place a page, and the identity, have to do with each other.
void probe_pages(const Offer& offer);

/// Prints how every call ends, and the calls that are offered with every mistake.
void probe_hypercalls(const Offer& offer);

/// So many random accesses and calls beside the reference model, from the state that the other probes leave; says the first difference.
void probe_steps(const Offer& offer, std::uint64_t steps);

/// What cannot be undone: locks the hypercall page.
void probe_lock();

/// The identity as the specification asks open-source guests for it, and a page of the guest's own for each use.
inline constexpr std::uint64_t identity{0x8100'0000'0001'0000};

/// A call through the page at `page`: the result value, or nothing where the processor raised #UD in it.
class CallPage {
public:
    /// Enables the page over one of the guest's own; nothing where it cannot be.
    static std::optional<CallPage> enable();
    /// One that is enabled already.
    static constexpr CallPage at(std::uint64_t address) { return CallPage{address}; }
    /// Takes it and the identity away.
    static void disable();
    [[nodiscard]] std::optional<std::uint64_t> call(std::uint64_t control, std::uint64_t input, std::uint64_t output) const;
    [[nodiscard]] std::uint64_t address() const { return address_; }

private:
    constexpr explicit CallPage(std::uint64_t address) : address_{address} {}
    std::uint64_t address_;
};

}  // namespace guest::tlfs
