// SPDX-License-Identifier: MIT
//
// One guest: its memory, its processors, its virtual PC, its extensions, and how it lives and ends.  Made and destroyed
// by the control server on a guest processor; its VCPUs run on any of them.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/core/diag/log.hpp"
#include "hv/core/domain/console.hpp"
#include "hv/core/intercept/cpuid_policy.hpp"
#include "hv/core/interrupt/destination.hpp"
#include "hv/core/memory/domain_memory.hpp"
#include "hv/core/time/guest_time.hpp"
#include "hv/core/vcpu/vcpu.hpp"

namespace hv::core {

class VirtualPc;
class ExtensionStack;
namespace platform {
struct IsolatedSpace;
}

inline constexpr unsigned maximum_vcpus{64};
inline constexpr std::size_t maximum_domain_name{63};
inline constexpr std::size_t maximum_end_text{159};

enum class DomainState : std::uint8_t { building, paused, running, ended, dying };
enum class EndReason : std::uint8_t { none, poweroff, reboot, halt, crash, destroyed };

struct DomainConfig {
    std::string_view name;
    std::array<std::uint8_t, 16> uuid{};
    std::uint64_t memory_bytes{};
    unsigned vcpus{1};
    std::uint32_t weight{Schedulable::default_weight};
    std::uint32_t cap_percent{};
    std::uint64_t affinity{~0ull};
};

class Domain final {
public:
    /// Makes a domain in state `building`: memory, VCPUs in reset state, devices; nothing runs.  Fails with no_memory,
    /// limit_reached or invalid_argument, holding nothing then.
    static Expected<Domain*> create(std::uint32_t id, const DomainConfig& config);
    /// Gives everything back.  The domain is ended, no VCPU runs, and wait_for_turn() has passed since.
    static void destroy(Domain* domain);

    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;

    const std::uint32_t id;
    const std::array<std::uint8_t, 16> uuid;
    Ledger ledger;
    Heap heap;
    DomainMemory memory;
    GuestTime time;
    CpuidPolicy cpuid;
    Console console;
    LowestPriorityArbiter arbiter{};
    VirtualPc* pc{};               ///< never null after create
    ExtensionStack* extensions{};  ///< null while nothing is bound
    /// Stays loaded while a VCPU is: that of the first isolated extension, whose hooks then pay no switch.  Null: none.
    const platform::IsolatedSpace* resident_space{};
    const std::uint64_t created_at;  ///< host tick

    [[nodiscard]] std::string_view name() const { return {name_.data(), name_length_}; }
    void rename(std::string_view name);
    /// CpuidPolicy::adjust(), and what follows from it for the VCPUs.  While it is being built.
    Status adjust_cpuid(const CpuidAdjustment& adjustment);
    [[nodiscard]] DomainState state() const { return state_.load(std::memory_order_acquire); }
    [[nodiscard]] EndReason end_reason() const { return end_reason_; }
    /// True once after the domain has ended: whoever calls it tells the control domain.
    [[nodiscard]] bool take_end_announcement() { return end_unannounced_.exchange(false, std::memory_order_acq_rel); }
    [[nodiscard]] std::string_view end_text() const { return {end_text_.data(), end_text_length_}; }

    [[nodiscard]] unsigned vcpu_count() const { return vcpu_count_; }
    [[nodiscard]] Vcpu& vcpu(unsigned index) const { return *vcpus_[index]; }

    // ---- run state; by the control server ------------------------------------------------------------------------
    /// building → paused.  Fails with conflict in any other state.
    Status finish_build();
    /// paused → running: guest time goes on.  Fails with conflict when it is not paused.
    Status unpause();
    /// running → paused: when it returns no VCPU runs and guest time stands still.  Fails with conflict.
    Status pause();

    /// The first half of destroying it, in any state: when it returns no VCPU runs, nor will, and no timer is armed; one
    /// that has just expired may still be at work on another processor.
    void stop_for_good();

    // ---- events; any processor -----------------------------------------------------------------------------------
    /// The domain ends: its VCPUs stop as soon as they leave the guest, the control server is told.  The first reason
    /// stays; later ones are ignored.
    void end(EndReason reason, std::string_view text = {});
    /// Delivers an interrupt message to whom it addresses.  `sender` is a VCPU's index, or vcpu_count() for a device.
    /// True: somebody was addressed.
    bool route(const InterruptMessage& message, unsigned sender);
    /// Ends the domain with reason halt when every VCPU is halted for good.  By a VCPU that is about to halt, and has said so.
    void check_all_halted();
    /// Takes back that `vcpu` is halted for good.  By the processor that runs it, before it takes what ends its sleep.
    void rouse(Vcpu& vcpu)
    {
        if (vcpu.dead_halt.load()) {
            vcpu.dead_halt.store(false);
            rousings_.fetch_add(1);
        }
    }
    /// Every VCPU of this domain looks at its events (and at changed nested tables) before it runs another instruction.
    void kick_all();
    /// Said once per domain.
    OncePerDomain said_unowned_mmio, said_emulation, said_msr, said_apic_base;

    /// Called (on any processor) when a domain has ended; set once at boot by whoever tells the control domain.
    static void (*on_end)(Domain&);
    /// An extension wants the domain paused, and says why: its VCPUs stop as soon as they leave the guest, and
    /// on_request is called (any processor), so that the control server carries out the rest on its own turn.  No effect
    /// unless the domain runs; of several requests at once the first one's reason stays.
    void request_pause(std::string_view text);
    /// Something was asked for that the control server carries out; set once at boot by whoever calls it.
    static void (*on_request)(Domain&);
    /// By the control server: pauses the domain if request_pause asked for it.  True: it did.
    bool carry_out_pause_request();
    /// Why an extension had it paused; empty where nobody or the operator did.  By the control server.
    [[nodiscard]] std::string_view pause_text() const { return {pause_text_.data(), pause_text_length_}; }

private:
    Domain(std::uint32_t id, const DomainConfig& config);
    ~Domain();
    friend class Heap;
    template <typename T>
    friend class Owned;
    template <typename T, typename... A>
    friend Expected<Owned<T>> make(Heap&, A&&...);

    Status populate(const DomainConfig& config);
    void offer_features(Vcpu& vcpu) const;
    void stand_still();
    void deliver(unsigned index, const InterruptMessage& message);

    std::atomic<DomainState> state_{DomainState::building};
    EndReason end_reason_{};
    std::atomic<bool> end_unannounced_{};
    std::atomic<std::uint32_t> rousings_{};
    std::array<char, maximum_domain_name + 1> name_{};
    std::size_t name_length_{};
    std::array<char, maximum_end_text + 1> end_text_{};
    std::size_t end_text_length_{};
    enum class PauseRequest : std::uint8_t { none, being_made, made };
    std::atomic<PauseRequest> pause_request_{};
    std::array<char, maximum_end_text + 1> requested_pause_text_{};  ///< by who made the request
    std::array<char, maximum_end_text + 1> pause_text_{};
    std::size_t pause_text_length_{};
    std::array<Vcpu*, maximum_vcpus> vcpus_{};
    unsigned vcpu_count_{};
};

}  // namespace hv::core
