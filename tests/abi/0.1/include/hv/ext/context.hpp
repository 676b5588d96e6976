// SPDX-License-Identifier: MIT
//
// A domain and a VCPU as an extension's hooks see them: views over the context that the core hands in, with
// the state blocks in their types.  T is the author's class; T::DomainState and T::VcpuState are its blocks,
// where it has them.
#pragma once

#include <type_traits>

#include "hv/ext/host.hpp"

namespace hv::ext {

struct NoState {};

template <typename T>
struct DomainStateOf {
    using type = NoState;
};
template <typename T>
requires requires
{
    typename T::DomainState;
}
struct DomainStateOf<T> {
    using type = typename T::DomainState;
};
template <typename T>
struct VcpuStateOf {
    using type = NoState;
};
template <typename T>
requires requires
{
    typename T::VcpuState;
}
struct VcpuStateOf<T> {
    using type = typename T::VcpuState;
};

/// The bytes that the manifest declares for a block.
template <typename State>
constexpr std::uint32_t block_size()
{
    if constexpr (std::is_same_v<State, NoState>) {
        return 0;
    } else {
        static_assert(std::is_trivially_copyable_v<State> && std::is_standard_layout_v<State>,
                      "a state block is bytes: the core copies it");
        static_assert(sizeof(State) % 8 == 0 && alignof(State) <= 16,
                      "pad the state block to a multiple of 8 bytes");
        return sizeof(State);
    }
}

/// Bytes of guest memory, all or nothing: both views have these.
class GuestMemory {
public:
    constexpr explicit GuestMemory(std::uint64_t domain) : domain_{domain} {}

    template <typename V>
    requires std::is_trivially_copyable_v<V>
    [[nodiscard]] Expected<V> read(GuestPhysical address) const
    {
        V value;
        if (const auto answer = check(host().guest_read(domain_, address.raw(), &value, sizeof value));
            !answer)
            return answer.error();
        return value;
    }
    template <typename V>
    requires std::is_trivially_copyable_v<V>
    [[nodiscard]] Status write(GuestPhysical address, const V& value) const
    {
        return check(host().guest_write(domain_, address.raw(), &value, sizeof value));
    }
    [[nodiscard]] Status read_bytes(GuestPhysical address, std::span<std::byte> own) const
    {
        return check(host().guest_read(domain_, address.raw(), own.data(), own.size()));
    }
    [[nodiscard]] Status write_bytes(GuestPhysical address, std::span<const std::byte> own) const
    {
        return check(host().guest_write(domain_, address.raw(), own.data(), own.size()));
    }

private:
    std::uint64_t domain_;
};

/// The domain of a domain hook.
template <typename T>
class Domain {
public:
    using State = typename DomainStateOf<T>::type;

    explicit Domain(const abi::DomainContext& context) : context_{&context} {}

    [[nodiscard]] std::uint64_t handle() const { return context_->domain; }
    [[nodiscard]] std::uint32_t vcpu_count() const { return context_->vcpu_count; }
    [[nodiscard]] std::uint32_t start_reason() const { return context_->start_reason; }
    [[nodiscard]] GuestMemory memory() const { return GuestMemory{handle()}; }

    /// What the framework gave for the window of this number, or null where it gave nothing.
    [[nodiscard]] const abi::WindowGrant* grant(std::uint32_t window) const
    {
        for (const abi::WindowGrant& one : std::span{context_->grants, context_->grant_count})
            if (one.id == window && one.granted != 0)
                return &one;
        return nullptr;
    }

    /// The block for reading.  Another hook may be writing it: read what can change in parallel by atomic
    /// loads.
    [[nodiscard]] const State& state() const { return *static_cast<const State*>(context_->domain_state); }
    /// The block for writing, this hook's alone until it returns.
    [[nodiscard]] Expected<State*> update() const
    {
        if (const auto answer = check(host().domain_update_begin(handle())); !answer)
            return answer.error();
        return static_cast<State*>(context_->domain_state);
    }

    [[nodiscard]] Status declare(std::span<const abi::DeclaredLeaf> leaves) const
    {
        return check(host().declare_leaves(handle(), leaves.data(), leaves.size()));
    }
    [[nodiscard]] Status declare(std::span<const abi::DeclaredMsrRead> reads) const
    {
        return check(host().declare_msr_reads(handle(), reads.data(), reads.size()));
    }
    [[nodiscard]] Status declare(std::span<const abi::DeclaredMsrWrite> writes) const
    {
        return check(host().declare_msr_writes(handle(), writes.data(), writes.size()));
    }

private:
    const abi::DomainContext* context_;
};

/// The VCPU of a VCPU hook.  A const one gives its state for reading alone: a hook that takes it cannot
/// change it, and the core is told so.
template <typename T>
class Vcpu {
public:
    using State = typename VcpuStateOf<T>::type;
    using DomainState = typename DomainStateOf<T>::type;

    explicit Vcpu(const abi::VcpuContext& context) : context_{&context} {}

    [[nodiscard]] std::uint64_t handle() const { return context_->vcpu; }
    [[nodiscard]] std::uint64_t domain() const { return context_->domain; }
    [[nodiscard]] std::uint32_t index() const { return context_->index; }
    [[nodiscard]] std::uint32_t initial_apic_id() const { return context_->initial_apic_id; }
    [[nodiscard]] GuestMemory memory() const { return GuestMemory{domain()}; }

    [[nodiscard]] State& state() { return *static_cast<State*>(context_->vcpu_state); }
    [[nodiscard]] const State& state() const { return *static_cast<const State*>(context_->vcpu_state); }
    [[nodiscard]] const DomainState& domain_state() const
    {
        return *static_cast<const DomainState*>(context_->domain_state);
    }
    [[nodiscard]] Expected<DomainState*> update_domain() const
    {
        if (const auto answer = check(host().domain_update_begin(domain())); !answer)
            return answer.error();
        return static_cast<DomainState*>(context_->domain_state);
    }

    /// Guest time in nanoseconds.
    [[nodiscard]] Expected<std::uint64_t> now() const
    {
        std::uint64_t nanoseconds{};
        if (const auto answer = check(host().time_now(domain(), &nanoseconds)); !answer)
            return answer.error();
        return nanoseconds;
    }

private:
    const abi::VcpuContext* context_;
};

}  // namespace hv::ext
