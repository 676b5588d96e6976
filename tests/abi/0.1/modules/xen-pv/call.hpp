// SPDX-License-Identifier: MIT
//
// One hypercall, with its arguments out of the registers of its mode, and access to what they point at.
#pragma once

#include "xen_pv.hpp"

namespace xen {

/// What a call comes to: a number for EAX or RAX, or that it gave way and goes on later.
struct Outcome {
    std::int64_t result;
    bool goes_on{};
};
constexpr Outcome returns(std::int64_t result)
{
    return {result};
}
constexpr Outcome fails(std::int64_t error)
{
    return {-error};
}
inline constexpr Outcome gave_way{0, true};

class [[gnu::visibility("hidden")]] Call
{
public:
    Call(XenPv::Vcpu & vcpu, abi::HypercallFrame & frame) : vcpu_{vcpu}, frame_{frame} {}

    [[nodiscard]] XenPv::Vcpu& vcpu() const
    {
        return vcpu_;
    }
    [[nodiscard]] bool wide() const
    {
        return frame_.mode == abi::GuestMode::long_64;
    }
    [[nodiscard]] std::uint64_t number() const
    {
        return ext::reg(frame_, abi::GeneralRegister::rax);
    }
    /// RDI, RSI, RDX, R10, R8; in other modes EBX, ECX, EDX, ESI, EDI.
    [[nodiscard]] std::uint64_t argument(unsigned index) const
    {
        using enum abi::GeneralRegister;
        constexpr std::array in_64{rdi, rsi, rdx, r10, r8};
        constexpr std::array in_32{rbx, rcx, rdx, rsi, rdi};
        HV_ASSERT(index < in_64.size());
        return ext::reg(frame_, wide() ? in_64[index] : in_32[index]);
    }
    [[nodiscard]] std::uint32_t command() const
    {
        return static_cast<std::uint32_t>(argument(0));
    }
    /// Kept while a call gives way.
    [[nodiscard]] std::uint64_t& progress() const
    {
        return frame_.continuation[0];
    }

    /// From and to the guest's linear addresses, with the rights of its kernel.
    [[nodiscard]] bool read(std::uint64_t address, void* own, std::uint64_t length) const
    {
        abi::GuestFault fault{};
        return ext::check(ext::host().guest_read_linear(vcpu_.handle(), address, own, length, 0, &fault))
            .has_value();
    }
    [[nodiscard]] bool write(std::uint64_t address, const void* own, std::uint64_t length) const
    {
        abi::GuestFault fault{};
        return ext::check(ext::host().guest_write_linear(vcpu_.handle(), address, own, length,
                                                         abi::linear_write, &fault))
            .has_value();
    }
    template <typename V>
    [[nodiscard]] std::optional<V> read(std::uint64_t address) const
    {
        V value;
        if (!read(address, &value, sizeof value))
            return std::nullopt;
        return value;
    }
    /// 0, or -EFAULT.
    template <typename V>
    [[nodiscard]] Outcome give(std::uint64_t address, const V& value) const
    {
        return write(address, &value, sizeof value) ? returns(0) : fails(XEN_EFAULT);
    }

    [[nodiscard]] Expected<abi::DomainInfo> domain_info() const
    {
        abi::DomainInfo info{};
        if (const auto answer = ext::check(ext::host().domain_info(vcpu_.domain(), &info)); !answer)
            return answer.error();
        return info;
    }
    /// True of DOMID_SELF and of the domain's own number: no other domain is reached from here.
    [[nodiscard]] bool is_self(std::uint16_t domid) const
    {
        if (domid == DOMID_SELF)
            return true;
        const auto info = domain_info();
        return info && info.value().domain_id == domid;
    }

private:
    XenPv::Vcpu& vcpu_;
    abi::HypercallFrame& frame_;
};

[[gnu::visibility("hidden")]] Outcome do_xen_version(const Call& call);
[[gnu::visibility("hidden")]] Outcome do_console_io(const Call& call);
[[gnu::visibility("hidden")]] Outcome do_memory_op(const Call& call);
[[gnu::visibility("hidden")]] Outcome do_sched_op(const Call& call);
[[gnu::visibility("hidden")]] Outcome do_hvm_op(const Call& call);

}  // namespace xen
