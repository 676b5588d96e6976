// SPDX-License-Identifier: MIT
//
// A binding: one instance of a module in the stack of one domain, with everything that belongs to it: its
// image, its memory and ledger, its windows and declared answers, its state blocks in their working and kept
// copies.  Its pages and timers are in its Holdings, which a swap hands to the next instance.  Internal to the
// extension framework: dispatch and services work on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "hv/core/domain/domain.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/ext/placement.hpp"
#include "hv/core/ext/module_registry.hpp"
#include "hv/core/ext/event_log.hpp"
#include "hv/core/ext/failure_report.hpp"
#include "hv/core/ext/settled_parameters.hpp"
#include "exits.hpp"
#include "holdings.hpp"
#include "isolated_memory.hpp"
#include "module_memory.hpp"
#include "window_plan.hpp"
#include "windows.hpp"

namespace hv::core {

class Binding;

/// How a hook of a binding is called now.
enum class Route : std::uint8_t {
    direct,  ///< trusted: by its address
    gate,    ///< isolated: in ring 3
    restarting,  ///< not at all: the instance has failed, and the next one is asked instead
    ended,       ///< not at all: the instance has failed, and nobody follows
};

/// The hooks by their position in abi::HookTable.
enum class Hook : std::uint8_t {
    parameter_set,
    domain_create,
    domain_destroy,
    vcpu_initialise,
    vcpu_reset,
    vcpu_destroy,
    cpuid,
    msr_read,
    msr_write,
    hypercall_page,
    hypercall,
    hypercall_continue,
    timer,
    mmio_read,
    mmio_write,
    port_read,
    port_write,
    channel_message,
    before_entry,
    interrupt_window,
    interrupt_accepted,
    interrupt_ended,
    run_state_changed,
    freeze,
    thaw,
    export_state,
    import_state,
    exit,
};
static_assert(static_cast<unsigned>(Hook::exit) + 1 == abi::hook_count);

/// A state block in its two copies: the one that hooks work on, and the one as of the last hook that returned
/// well.
struct StateCopies {
    std::uint64_t* working{};
    std::uint64_t* kept{};
    std::uint32_t words{};

    /// `shared`: where the working copy lies; null: on the heap.
    Status create(Heap& heap, std::uint32_t bytes, std::byte* shared);
    void keep();
    /// The same while other processors may be reading the kept copy: it is the domain's.
    void keep_word_by_word();
    void take_back();
    /// One word of both copies, where no hook runs that could be writing it.
    void put(std::uint32_t offset, std::uint64_t word)
    {
        __atomic_store_n(kept + offset / sizeof word, word, __ATOMIC_RELAXED);
        __atomic_store_n(working + offset / sizeof word, word, __ATOMIC_RELAXED);
    }
    /// Both copies are zero.
    void clear();
    /// Both copies are `bytes`, no more than there is room for, and zero beyond them.  No hook of the instance has run yet.
    void fill(std::span<const std::byte> bytes);
};

/// Wakes a VCPU that a `block` verdict put to sleep when its deadline comes.
struct BlockTimer final : Timer {
    explicit BlockTimer(VcpuBinding& owner);
    VcpuBinding& vcpu;
    std::uint64_t deadline_ns{};
    std::atomic<bool> armed{};
    std::atomic<std::uint32_t> firing{};  ///< callbacks of a deadline that came, and that are not at their end
};

/// interrupt_watch of one VCPU: what the module wants, and what it is to be told.
struct VectorWatch {
    VectorBitmap accepted{};
    VectorBitmap ended{};
    VectorBitmap auto_eoi{};
    VectorBitmap accepted_untold{};
    VectorBitmap ended_untold{};
};

/// What a binding has of one VCPU.
struct VcpuBinding {
    /// What the processor that runs the VCPU must do before the next entry.
    enum class Pending : std::uint32_t {
        kick = 1,
        timer = 2,
        window = 4,
        reset = 8,  ///< the hook did not return well, and hears of it again
        watched = 16,
        channel = 32,  ///< of the first VCPU alone
        run_state = 64,
    };

    VcpuBinding(Binding& owner, Vcpu& of);

    /// Notes it and makes the VCPU look.  Any processor.
    void ask(Pending what);
    /// Goes on with what is under way in the instance before: its open call, what was asked of it, pauses and
    /// blocks.  Neither runs, no callback of either is under way, and the timers name this one already.
    void take_over(VcpuBinding& before);

    Binding& binding;
    Vcpu& vcpu;
    abi::VcpuContext context{};
    StateCopies state{};
    Seat seat{};
    std::uint8_t hypercall_length{};
    bool continuing{};  ///< the module answered `again`: hypercall_continue is next
    abi::HypercallFrame open_call{};  ///< of that call, as the hook left it when it returned
    std::atomic<std::uint32_t> pending{};
    std::atomic<std::uint32_t> pauses{};  ///< vcpu_pause without vcpu_unpause yet
    std::atomic<bool> held{};             ///< blocked without regard to interrupts
    std::uint32_t wake{};                 ///< of the vcpu_block in this hook
    std::uint64_t wake_deadline_ns{};
    BlockTimer block_timer;
    EventLog events{};
    std::uint64_t eoi_assist_page{};  ///< the handle it was declared with; 0: none
    bool wants_window{};
    VectorWatch watch{};
    std::uint64_t run_changes_told;  ///< of Vcpu::run_changes, as a number: what came before its time is none of its business
    std::uint8_t exit_rules{};  ///< ExitRule, of the exit hook that runs
    bool polling{};             ///< the module keeps a halt awake
    abi::ExitFrame poll_frame{};
};

class Binding {
public:
    static constexpr std::size_t maximum_windows{PlannedWindows::maximum};
    static constexpr std::uint32_t maximum_declared{4096};
    /// Frames that one instance may hold: 64 MiB.
    static constexpr std::uint64_t frame_limit{16384};

    /// The holdings outlive it.
    Binding(Domain& owner, Module& of, Holdings& holds, BindOptions options);
    /// Gives everything back; asserts that the ledger then reads zero.  Nobody uses it any more: no VCPU of the
    /// domain runs in it, its windows are in no map, and its holdings' timers are stopped or another's.
    ~Binding();
    Binding(const Binding&) = delete;
    Binding& operator=(const Binding&) = delete;

    [[nodiscard]] std::string_view name() const { return kept_name_.view().empty() ? module.name() : kept_name_.view(); }

    /// Image, contexts, blocks and windows, which are entered in `map`: at the places that were planned for the
    /// module, or without a plan (null) where the map has room now.  A sentence in `why`.
    Status create(WindowMap& map, const PlannedWindows* planned, TextWriter& why);
    /// The same for an instance that is to take the place of another: nothing is asked of its holdings, and it
    /// gets the other's windows, which are in no map.
    Status create_beside(const Binding& old, TextWriter& why);
    Status create_domain(TextWriter& why);
    /// Fills `page` as the module would; `why` and the errors as at the bind.
    Status fill_hypercall_page(std::uint32_t index, std::byte* page, TextWriter& why);
    /// What an operator reads when a hook of creation or import did not answer done.
    Status refused(abi::Verdict verdict, std::string_view hook, TextWriter& why) const;
    Expected<Window*> open_window(const abi::WindowRequest& request, std::uint64_t base, TextWriter& why);
    /// Its hooks of the end are not called: what they would undo belongs to the next instance.
    void forget_hooks()
    {
        initialised_vcpus_ = 0;
        created_ = false;
    }
    /// What the contexts say from now on; abi::start_*.
    void set_start_reason(std::uint32_t reason);
    /// It stands where another stood: the hooks of the end are its own to call.
    void adopt_hooks() { initialised_vcpus_ = vcpu_count; }
    /// Its space is the one that stays loaded, where that was the space of the instance before.  No VCPU runs.
    void take_residence(const Binding& before);
    /// Gives back all but what the guest was told: its CPUID leaves stay, its MSRs have no answer any more, every other window is
    /// gone.  No hook is called any more, no VCPU of the domain runs, and its windows are in no map.
    void hollow_out();
    [[nodiscard]] bool hollow() const { return !kept_name_.view().empty(); }
    /// It has failed on probation: an instance of the module before takes its place.
    bool rolls_back{};
    /// Block timers that were stopped stand again.
    void arm_block_timers();
    /// Block timers are stopped, and no callback of one is under way when this returns.
    void cancel_block_timers();
    /// Calls the hooks in the order of hook_table.hpp; those that undo them run when one fails.
    Status start(std::span<const ExtensionParameter> parameters, TextWriter& why, TextWriter& field);
    /// vcpu_destroy and domain_destroy for what start() initialised; then no hook is called any more.
    void stop_hooks();

    [[nodiscard]] Window* window(std::uint32_t id, abi::WindowKind kind);
    [[nodiscard]] VcpuBinding& of(const Vcpu& vcpu) { return *vcpus[vcpu.id]; }
    /// True when the lazy end of interrupt of this VCPU is this binding's.
    [[nodiscard]] bool owns_assist(unsigned vcpu) const
    {
        return vcpu < vcpu_count && vcpus[vcpu]->eoi_assist_page != 0;
    }
    /// True when a handle of a VCPU of this binding leads to one.
    [[nodiscard]] VcpuBinding* vcpu_of(std::uint64_t handle);

    Domain& domain;
    Module& module;
    Holdings& holdings;
    const std::uint32_t number;  ///< of this binding in handles
    Ledger ledger;
    Heap heap;
    InstanceMemory memory;              ///< of a trusted instance
    IsolatedMemory* isolated{};         ///< of an isolated one, else null
    std::atomic<Route> route{Route::direct};
    const BindOptions options;
    loader::Image image{};
    abi::HookTable hooks{};
    const std::uint64_t needs;
    /// It is to take another's place and has not yet: services that act on the guest or on holdings answer busy,
    /// and a bad verdict ends nothing.
    bool rehearsing{};
    const bool serial;
    Spinlock serial_lock{};
    /// Held around channel_message and export_state: of the hooks that run on the domain's seat those that another could meet there, since
    /// VCPUs run when the state is looked at.
    Spinlock seat_lock{};

    Subscriptions subscriptions{};

    abi::DomainContext context{};
    Seat seat{};  ///< of the domain's hooks
    EventLog events{};
    abi::WindowGrant* grants{};
    StateCopies state{};
    Spinlock state_lock{};  ///< domain_update_begin
    std::byte* buffer{};    ///< of IsolatedMemory::buffer_bytes, for what the bind's hooks are shown; isolated only
    VcpuBinding* vcpus[maximum_vcpus]{};
    unsigned vcpu_count{};

    Spinlock declare_lock{};
    DeclareSequence declare_sequence{};
    std::uint32_t declared{};
    std::atomic<std::uint64_t> conditions{};

    StaticVector<Window*, maximum_windows> windows{};
    GuestPages& pages;  ///< of the holdings
    Timers& timers;

    struct Allocation {
        Allocation* next;
        void* bytes;
        std::uint64_t length;
    };
    Spinlock allocation_lock{};
    Allocation* allocations{};  ///< what the module holds by `allocate`

    SettledParameters settled{heap};

    BoundedText<maximum_failure_text> failure{};  ///< why the route is `restarting` or `ended`
    Hook owed{Hook::exit};  ///< freeze or thaw, which the instance failed to hear and the next is told; exit: none

    std::atomic<std::uint64_t> log_second{};
    std::atomic<std::uint32_t> log_lines{};

private:
    Error say_memory(TextWriter& why, Error error) const;
    Status create_isolated();
    Status place_image(TextWriter& why);
    [[nodiscard]] loader::ModuleMemory& image_memory();
    Status create_contexts();
    Status create_events(EventLog& of);
    Status create_holdings();
    Status open_windows(WindowMap& map, const PlannedWindows* planned, TextWriter& why);
    Status grant_window(WindowMap& map, const abi::WindowRequest& request, std::uint64_t base,
                        abi::WindowGrant& grant, TextWriter& why);
    Status create_seat(Seat& of, unsigned index);
    void show_contexts();
    void release(StateCopies& copies);
    void release(VcpuBinding& vcpu);
    void release_instance();
    void destroy_window(Window* window);
    struct Constants;
    struct ShownText {
        const char* key;
        const char* text;
    };
    Expected<ShownText> show(const ExtensionParameter& parameter);
    Status declare_constants(TextWriter& why);
    Status set_parameters(std::span<const ExtensionParameter> parameters, TextWriter& why, TextWriter& field);
    Status fill_hypercall_pages(TextWriter& why);
    Status initialise_vcpus(TextWriter& why);

    BoundedText<32> kept_name_{};  ///< of one that is hollow: the module may be unloaded
    bool created_{};  ///< domain_create has succeeded
    unsigned initialised_vcpus_{};
};

// ---- declared answers (declare.cpp)
// -----------------------------------------------------------------------------

/// All or none of an array: validated, prepared, then set in one change.  Errors as the ABI says.
Status declare(Binding& binding, std::span<const abi::DeclaredLeaf> leaves);
Status declare(Binding& binding, std::span<const abi::DeclaredMsrRead> reads);
Status declare(Binding& binding, std::span<const abi::DeclaredMsrWrite> writes);

/// From now on every declared MSR of the binding is #GP, and none can be declared.  Its route is `ended`.
void withdraw_msrs(Binding& binding);

// ---- parameters (parameters.cpp)
// --------------------------------------------------------------------------------

/// Judges one value of `params`, of a list of `elements`, by the module's description, and returns the kind that this
/// asks for; the sentence of a refusal goes to `why`.
Expected<abi::ParameterKind> check_parameter(const Module& module, const ExtensionParameter& parameter,
                                             unsigned elements, TextWriter& why);

/// Gives back what the module allocated and did not release (services_memory.cpp).
void release_allocations(Binding& binding);

/// The service table that every trusted instance gets (services.cpp).
[[nodiscard]] const abi::HostTable& host_services();
/// Fills `table` with what an isolated instance calls (isolated_services.cpp).
const abi::HostTable& stubs_of(abi::HostTable& table);

}  // namespace hv::core
