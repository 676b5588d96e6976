// SPDX-License-Identifier: MIT
//
// A module that on order reads, writes or executes one address, or takes its time.  Where that ends the instance, the next one is asked for the same
// access again, and finds in the guest's memory that it was tried.  For tests alone.
#include "hv/ext/extension.hpp"
#include "probe_orders.hpp"

using namespace hv;
using namespace prober;

namespace {

constinit volatile std::uint8_t own_byte{};

void do_access(std::uint64_t address, Access access)
{
    switch (access) {
    case Access::read: asm volatile("movb (%0), %%al" : : "r"(address) : "rax", "memory"); break;
    case Access::write: asm volatile("orb $0, (%0)" : : "r"(address) : "memory", "cc"); break;
    case Access::execute: asm volatile("call *%0" : : "r"(address) : "memory", "rax", "rcx", "rdx"); break;
    case Access::spin: asm volatile("1: decq %0\n\tjnz 1b" : "+r"(address) : : "cc"); break;
    }
}

}  // namespace

struct Prober {
    static constexpr std::uint32_t window{1};
    static constexpr ext::Info info{.name = "prober",
                                    .version_major = 1,
                                    .needs = abi::need_guest_memory,
                                    .description = "touches the address that its guest names"};
    static constexpr std::array windows{ext::fixed_msrs(window, msr, 1)};

    static abi::Verdict msr_write(ext::Vcpu<Prober>& vcpu, std::uint32_t, std::uint32_t, std::uint64_t where)
    {
        Order order{};
        if (ext::host().guest_read(vcpu.domain(), where, &order, sizeof order) != abi::status_ok)
            return abi::inject_general_protection;
        if (order.fate == Fate::tried)
            return note(vcpu, where, order, Fate::faulted);
        if (note(vcpu, where, order, Fate::tried).kind != abi::VerdictKind::done)
            return abi::inject_general_protection;
        do_access(order.address == own_page ? reinterpret_cast<std::uintptr_t>(&own_byte) : order.address, order.access);
        return note(vcpu, where, order, Fate::reached);
    }

private:
    static abi::Verdict note(const ext::Vcpu<Prober>& vcpu, std::uint64_t where, Order order, Fate fate)
    {
        order.fate = fate;
        const auto written = ext::host().guest_write(vcpu.domain(), where, &order, sizeof order);
        return written == abi::status_ok ? abi::done : abi::inject_general_protection;
    }
};

HV_EXTENSION(Prober)
