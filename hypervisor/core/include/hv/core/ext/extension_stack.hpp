// SPDX-License-Identifier: MIT
//
// The ordered stack of extension instances of one domain, as the rest of the core sees it: who answers an
// access that the core itself does not own.  Declared answers come first, then hooks.  All functions are
// called by the processor that runs the VCPU, unless a line says otherwise; none is called before the first
// extension is bound.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/address.hpp"
#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/hvm/intercepts.hpp"
#include "hv/core/ext/control_channels.hpp"
#include "hv/core/ext/settled_parameters.hpp"
#include "hv/core/ext/placement.hpp"
#include "hv/core/hvm/system_registers.hpp"
#include "hv/x86/cpuid.hpp"

namespace hv::core {

class Binding;
class Domain;
class FailureReports;
class Heap;
class Module;
struct PlannedWindows;
struct StackLocks;
class Vcpu;
struct WindowMap;
class WindowPlan;
template <typename T>
class Owned;

/// What became of an access.
enum class Answered : std::uint8_t {
    no,     ///< nobody's window: the core gives its own answer
    done,   ///< answered; the caller advances RIP
    fault,  ///< the guest gets #GP(0); the caller raises it
    taken,  ///< answered, and RIP and exceptions are already as they must be: the caller just goes on
};

/// One value of `params` on its way to a module.
/// One value; the elements of a list follow one another under one key.
struct ExtensionParameter {
    enum class Kind : std::uint8_t {
        boolean,
        integer,
        text,
        empty_list,  ///< for which there is no kind
    };
    std::string_view key;
    Kind kind;
    std::int64_t number;
    std::string_view text;
};

class ExtensionStack {
public:
    /// Decides where the windows of a whole stack lie before its first instance is bound.  After it bind() takes
    /// just these modules in this order.  While the domain is being built, once.  Fails as a bind does, with the
    /// position in `modules` of the culprit in `culprit` where there is one, leaving nothing behind.
    static Status announce(Domain& domain, std::span<Module* const> modules, std::size_t& culprit,
                           TextWriter& why);
    /// The domain is whole, and its stack as it is to stay.  Fails with conflict, and the name of the first announced module that is
    /// missing in `why`.
    Status complete(Domain& domain, TextWriter& why);
    /// Puts an instance of `module` on top of the domain's stack, which is made with the first.  While the
    /// domain is being built.  Fails with a sentence in `why` (and, for a parameter, its number in `field`),
    /// leaving nothing behind.
    static Status bind(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
                       BindOptions options, TextWriter& why, TextWriter& field);
    /// The same under a guest that runs or is paused: the VCPUs stand still from the first hook to the last, and from then on the
    /// guest finds the instance's windows.  By the control server.  Fails likewise, with everything as it was; before anything
    /// stops where it is a window, the memory or the stack that is in the way.
    static Status attach(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
                         BindOptions options, TextWriter& why, TextWriter& field);
    /// Takes the instance of the module `name` out of a running or paused guest's stack and gives back what it held, in reverse
    /// order.  What the guest was told stays: its CPUID leaves answer as they did (a computed one as it did last, for subleaves
    /// below computed_subleaves), its hypercall pages keep their bytes.  Its MSRs are #GP, its hypercalls #UD.  The next attach of a
    /// module of that name takes what is left.  Fails with not_found, conflict (the domain does not run), no_memory or
    /// limit_reached and a sentence in `why`, with everything as it was.
    static Status detach(Domain& domain, std::string_view name, TextWriter& why);
    static constexpr std::uint32_t computed_subleaves{4};
    /// Takes all instances off, the topmost first, and gives back what they held.  No VCPU runs any more.
    static void unbind_all(Domain& domain);

    /// Leaves from 0x40000000 to 0x4000ffff; a declared leaf is answered without entering a module.
    Answered cpuid(Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf, x86::CpuidResult& result);
    Answered read_msr(Vcpu& vcpu, std::uint32_t msr, std::uint64_t& value);
    Answered write_msr(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value);
    /// The hypercall instruction was executed; `length` is its length, and the first `asked` rules are not asked any more.  `no`:
    /// #UD.
    Answered hypercall(Vcpu& vcpu, const ExecutionContext& context, std::uint8_t length, std::size_t asked = 0);
    Answered port(Vcpu& vcpu, std::uint16_t port, unsigned size, bool in, std::uint32_t& value);
    Answered mmio(Vcpu& vcpu, GuestPhysical address, unsigned size, bool write, std::uint64_t& value);
    /// Open continuations, EOI assist, before-entry hooks: called before an entry when VcpuRequest::extension
    /// was noted.
    void before_entry(Vcpu& vcpu);
    /// The guest can take an interrupt now; called when Vcpu::window_wanted was set.
    void interrupt_window(Vcpu& vcpu);
    /// A vector that Vcpu::watched names was taken by the guest, or ended: the hooks are called before the next entry.
    void interrupt_accepted(Vcpu& vcpu, std::uint8_t vector);
    void interrupt_ended(Vcpu& vcpu, std::uint8_t vector);
    /// The VCPU exits from its next entry on for what is subscribed to now.
    void adopt_intercepts(Vcpu& vcpu);
    /// Shows where the VCPU stands, if that is another boundary between instructions than the last one, to those that follow its
    /// steps.  Before an entry.
    void show_step(Vcpu& vcpu);
    /// What the VCPUs are to exit for beyond the usual.
    [[nodiscard]] Intercepts intercepts() const;
    /// The VCPU is reset by INIT.
    void vcpu_reset(Vcpu& vcpu);
    /// The domain was paused or goes on: the guest's time stands still or runs.  By the control server.
    void freeze();
    void thaw();

    /// Instances that have failed and are to be restarted give way to fresh ones; those that nobody follows give back what they
    /// held, as soon as no VCPU is in them, but stay in the stack for the operator to see.  The VCPUs go on.  By the control server,
    /// on its turn, in any state of the domain.
    static void carry_out_failures(Domain& domain);
    /// Eight restarts of a binding in so much time are followed by one more, and then by none.  Before the first bind.
    static void set_restart_window(std::uint64_t nanoseconds);

    struct Implementation;  ///< the framework's own
    [[nodiscard]] Implementation& implementation() const { return *implementation_; }

    // ---- for the operator; any processor, the domain exists ----
    [[nodiscard]] unsigned size() const { return count_; }
    struct Description {
        std::string_view name;
        std::uint16_t version[3];
        std::uint32_t cpuid_base;  ///< 0: no block
        std::uint64_t memory_bytes;
        Placement placement;
        OnFault on_fault;
        std::uint32_t restarts;  ///< of its instances that failed, since the bind
        bool failed;  ///< its hooks are not called any more
    };
    [[nodiscard]] Description describe(unsigned position) const;
    struct Counter {
        BoundedText<24> name;
        std::uint64_t value{};  ///< as of the last hook that returned well
    };
    [[nodiscard]] unsigned counter_count(unsigned position) const;
    void counter(unsigned position, unsigned index, unsigned vcpu, Counter& counter) const;
    /// What the instance says that its parameters came to, from the first; null: no more.
    [[nodiscard]] const SettledParameter* settled(unsigned position, std::uint64_t index) const;
    [[nodiscard]] const Module& module(unsigned position) const;
    /// 1, and one more with each swap.
    [[nodiscard]] std::uint64_t generation() const;
    /// Of instances that failed, also of those that another has taken the place of.
    [[nodiscard]] FailureReports& reports() const { return *reports_; }
    /// The ends of the domain's channels that the control domain has.
    [[nodiscard]] ControlChannels control_channels() const;

private:
    template <typename T, typename... A>
    friend Expected<Owned<T>> make(Heap&, A&&...);
    template <typename T>
    friend class Owned;
    friend class Swap;
    friend class Restart;
    ExtensionStack() = default;
    ~ExtensionStack() = default;
    static constexpr std::size_t maximum_detached{8};
    static Expected<ExtensionStack*> create(Domain& domain);
    Expected<const PlannedWindows*> planned_for(const Module& module, TextWriter& why) const;
    static Expected<ExtensionStack*> of(Domain& domain);
    static void discard(Domain& domain, ExtensionStack* stack);
    Status check_place(const Module& module, TextWriter& why) const;
    Status attach_instance(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
                           BindOptions options, TextWriter& why, TextWriter& field);
    Status put_under_guest(Domain& domain, Binding& binding, WindowMap& windows,
                           std::span<const ExtensionParameter> parameters, TextWriter& why, TextWriter& field);
    void take_away(Binding& binding);
    void empty(Binding& binding);
    void release_vcpus(Binding& binding);
    void release_failed(Domain& domain);
    Status put_on_top(Binding& binding, std::span<const ExtensionParameter> parameters, TextWriter& why, TextWriter& field);
    void take_off(Binding& binding);
    void forget_detached(Binding& rest);
    void carry_out_all_failures();
    [[nodiscard]] Binding* find_detached(std::string_view name) const;
    Status add(Domain& domain, Module& module, std::span<const ExtensionParameter> parameters,
               BindOptions options, TextWriter& why, TextWriter& field);

    Implementation* implementation_{};
    StackLocks* locks_{};
    FailureReports* reports_{};
    WindowPlan* plan_{};  ///< from announce() to complete()
    unsigned count_{};
    StaticVector<Binding*, maximum_detached> detached_{};  ///< what is left of detached ones: leaves, MSRs, hypercall pages
};

}  // namespace hv::core
