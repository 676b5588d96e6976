// SPDX-License-Identifier: MIT
//
// Life of a domain.
#include "hv/core/domain/domain.hpp"

#include "hv/base/assert.hpp"
#include "hv/core/domain/virtual_pc.hpp"
#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/vcpu/exit_handlers.hpp"
#include "hv/core/vcpu/reset.hpp"
#include "hv/protocol/platform_layout.hpp"

namespace hv::core {

void (*Domain::on_end)(Domain&){};
void (*Domain::on_request)(Domain&){};

namespace {

constexpr GuestRange mmio_hole{GuestPhysical{protocol::mmio_hole_begin},
                               protocol::mmio_hole_end - protocol::mmio_hole_begin};

template <std::size_t Size>
std::size_t copy_text(std::array<char, Size>& to, std::string_view from)
{
    const std::size_t length = from.size() < Size - 1 ? from.size() : Size - 1;
    for (std::size_t at = 0; at < length; ++at)
        to[at] = from[at];
    to[length] = '\0';
    return length;
}

}  // namespace

Domain::Domain(std::uint32_t number, const DomainConfig& config)
    : id{number}, uuid{config.uuid}, ledger{Ledger::unlimited}, heap{machine().frames, ledger},
      memory{machine().frames, heap, machine().hvm.nested_format, machine().hvm.capabilities.gigabyte_pages},
      time{platform::ticks_per_second()}, cpuid{machine().host_cpuid, config.vcpus}, created_at{platform::ticks()}
{
    rename(config.name);
}

Domain::~Domain()
{
    for (unsigned index = 0; index < vcpu_count_; ++index) {
        TimerQueue::cancel(vcpus_[index]->apic_timer);
        if (vcpus_[index]->backend != nullptr)
            machine().hvm.vcpu_destroy(*vcpus_[index]);
        core::destroy(heap, vcpus_[index]);
    }
    if (pc != nullptr)
        core::destroy(heap, pc);
}

Expected<Domain*> Domain::create(std::uint32_t id, const DomainConfig& config)
{
    if (config.vcpus == 0 || config.vcpus > maximum_vcpus)
        return Error::invalid_argument;
    auto owned = HV_TRY(make<Domain>(machine().heap, id, config));
    HV_TRY(owned->populate(config));
    return owned.leak();
}

void Domain::destroy(Domain* domain)
{
    domain->state_.store(DomainState::dying, std::memory_order_release);
    if (domain->extensions != nullptr)
        ExtensionStack::unbind_all(*domain);
    core::destroy(machine().heap, domain);
}

Status Domain::populate(const DomainConfig& config)
{
    HV_TRY(memory.create(config.memory_bytes, mmio_hole));
    auto devices = HV_TRY(make<VirtualPc>(heap, *this));
    pc = devices.leak();
    HV_TRY(pc->create());
    for (unsigned index = 0; index < config.vcpus; ++index) {
        const LocalApicConfig apic{.id = index,
                                   .bootstrap = index == 0,
                                   .physical_address_bits = cpuid.physical_address_bits()};
        auto vcpu = HV_TRY(make<Vcpu>(heap, *this, index, apic));
        vcpu->weight = config.weight;
        vcpu->cap_percent = config.cap_percent;
        vcpu->affinity = config.affinity;
        HV_TRY(machine().hvm.vcpu_create(*vcpu));
        offer_features(*vcpu);
        reset_registers(*vcpu);
        machine().scheduler.attach(*vcpu);
        if (index != 0) {
            machine().scheduler.block(*vcpu, Blocker::waiting_for_startup);
            vcpu->dead_halt.store(true);
        }
        vcpus_[vcpu_count_++] = vcpu.leak();
    }
    return Done{};
}

void Domain::offer_features(Vcpu& vcpu) const
{
    vcpu.apic.offer(cpuid.has_x2apic(), cpuid.has_tsc_deadline());
    machine().hvm.offer(vcpu, {cpuid.cr4_supported(), cpuid.efer_supported(), cpuid.xcr0_supported()});
}

Status Domain::adjust_cpuid(const CpuidAdjustment& adjustment)
{
    HV_ASSERT(state() == DomainState::building);
    HV_TRY(cpuid.adjust(adjustment));
    for (unsigned index = 0; index < vcpu_count_; ++index)
        offer_features(*vcpus_[index]);
    return Done{};
}

void Domain::rename(std::string_view name) { name_length_ = copy_text(name_, name); }

// ---- run state --------------------------------------------------------------------------------------------------

Status Domain::finish_build()
{
    DomainState expected{DomainState::building};
    if (!state_.compare_exchange_strong(expected, DomainState::paused))
        return Error::conflict;
    return Done{};
}

Status Domain::unpause()
{
    if (state() != DomainState::paused)
        return Error::conflict;
    pause_text_length_ = 0;
    time.start(platform::ticks());
    pc->thaw();
    if (extensions != nullptr)
        extensions->thaw();
    state_.store(DomainState::running, std::memory_order_release);
    for (unsigned index = 0; index < vcpu_count_; ++index) {
        vcpus_[index]->request(VcpuRequest::timer);
        machine().scheduler.unblock(*vcpus_[index], Blocker::paused);
    }
    return Done{};
}

Status Domain::pause()
{
    DomainState expected{DomainState::running};
    if (!state_.compare_exchange_strong(expected, DomainState::paused))
        return Error::conflict;
    for (unsigned index = 0; index < vcpu_count_; ++index)
        machine().scheduler.block(*vcpus_[index], Blocker::paused);
    stand_still();
    return Done{};
}

void Domain::stand_still()
{
    for (unsigned index = 0; index < vcpu_count_; ++index)
        Scheduler::wait_until_off(*vcpus_[index]);
    if (extensions != nullptr)
        extensions->freeze();
    time.stop(platform::ticks());
    pc->freeze();
    for (unsigned index = 0; index < vcpu_count_; ++index)
        TimerQueue::cancel(vcpus_[index]->apic_timer);
}

void Domain::stop_for_good()
{
    state_.store(DomainState::dying, std::memory_order_release);
    for (unsigned index = 0; index < vcpu_count_; ++index)
        machine().scheduler.block(*vcpus_[index], Blocker::stopped);
    stand_still();
}

// ---- events -----------------------------------------------------------------------------------------------------

void Domain::end(EndReason reason, std::string_view text)
{
    DomainState before = state();
    do {
        if (before == DomainState::ended || before == DomainState::dying)
            return;
    } while (!state_.compare_exchange_weak(before, DomainState::ended));
    end_reason_ = reason;
    end_text_length_ = copy_text(end_text_, text);
    end_unannounced_.store(true, std::memory_order_release);
    for (unsigned index = 0; index < vcpu_count_; ++index)
        machine().scheduler.block(*vcpus_[index], Blocker::stopped);
    if (on_end != nullptr)
        on_end(*this);
}

void Domain::deliver(unsigned index, const InterruptMessage& message)
{
    Vcpu& target = *vcpus_[index];
    switch (message.delivery) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority:
        if (target.apic.accept(message.vector, message.trigger))
            target.notice_interrupt();
        return;
    case DeliveryMode::nmi: return target.request(VcpuRequest::nmi);
    case DeliveryMode::init:
        // The bootstrap processor goes on in the firmware [SDM3-083 "MP Initialization Protocol Requirements and
        // Restrictions"], which here is the loader: the machine starts over.
        if (index == 0)
            return end(EndReason::reboot);
        return target.request_init();
    case DeliveryMode::startup: return target.request_startup(message.vector);
    case DeliveryMode::external: return target.request(VcpuRequest::external_interrupt);
    case DeliveryMode::smi:
    case DeliveryMode::reserved: return;  // there is no SMM in a guest
    }
}

bool Domain::route(const InterruptMessage& message, unsigned sender)
{
    const auto addressing = [this](unsigned index) { return vcpus_[index]->apic.addressing(); };
    const std::uint64_t targets = destinations(vcpu_count_, addressing, message, sender, arbiter);
    for (unsigned index = 0; index < vcpu_count_; ++index)
        if ((targets >> index & 1) != 0)
            deliver(index, message);
    return targets != 0;
}

void Domain::request_pause(std::string_view text)
{
    PauseRequest before{PauseRequest::none};
    if (state() != DomainState::running ||
        !pause_request_.compare_exchange_strong(before, PauseRequest::being_made))
        return;
    copy_text(requested_pause_text_, text);
    for (unsigned index = 0; index < vcpu_count_; ++index)
        machine().scheduler.block(*vcpus_[index], Blocker::paused);
    // Only now, so that whoever unpauses the domain does so after the last block.
    pause_request_.store(PauseRequest::made, std::memory_order_release);
    if (on_request != nullptr)
        on_request(*this);
}

bool Domain::carry_out_pause_request()
{
    if (pause_request_.load(std::memory_order_acquire) != PauseRequest::made)
        return false;
    const bool paused = pause().has_value();  // else the operator was first, or the domain has ended
    if (paused)
        pause_text_length_ = copy_text(pause_text_, requested_pause_text_.data());
    pause_request_.store(PauseRequest::none, std::memory_order_release);
    return paused;
}

/// In this order (tests/models/all_halted.pml): once each of them was seen asleep, and none has been roused since, nobody is
/// left who could send a message, and what was sent before is noted.
void Domain::check_all_halted()
{
    const std::uint32_t rousings = rousings_.load();
    for (unsigned index = 0; index < vcpu_count_; ++index)
        if (!vcpus_[index]->dead_halt.load())
            return;
    for (unsigned index = 0; index < vcpu_count_; ++index)
        if (vcpus_[index]->has_rousing_request())
            return;
    if (rousings_.load() == rousings)
        end(EndReason::halt);
}

void Domain::kick_all()
{
    for (unsigned index = 0; index < vcpu_count_; ++index)
        machine().scheduler.kick(*vcpus_[index]);
}

}  // namespace hv::core
