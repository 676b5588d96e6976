// SPDX-License-Identifier: MIT
//
// The way of an access from its exit to whom it belongs.  To read a write of an MSR: write_msr() finds the window, the declared
// answer if there is one, else asks the hook (ask.hpp, and hook_call.hpp calls it); settle() says what the verdict means to the
// exit handler.  Most accesses go the short way (short_exits.cpp), which gives up and comes here where anything is unusual.
#include "ask.hpp"
#include "hv/core/machine.hpp"
#include "stack.hpp"

namespace hv::core {
namespace {

template <typename Answer>
constexpr bool any(const Answer&)
{
    return true;
}

/// What is declared at a place, as one look sees it.
template <typename Answer>
struct Declared {
    bool there;
    Answer answer;
};

template <typename Answer, typename Accepts>
Declared<Answer> look_up(const DeclaredTable<Answer>& table, const Window& window, std::uint32_t place, Accepts accepts)
{
    for (;;) {
        const DeclaredReading reading{window.binding->declare_sequence};
        const Answer* const found = table.find(place, window.binding->conditions, accepts);
        const Declared<Answer> seen{found != nullptr, found != nullptr ? *found : Answer{}};
        if (reading.holds())
            return seen;
    }
}

void put_field(const Vcpu& vcpu, const LeafAnswer& answer, x86::CpuidResult& result)
{
    const std::uint32_t bits = read_field(vcpu, answer.field) << answer.field_shift;
    switch (answer.field_register) {
    case 0: result.eax |= bits; return;
    case 1: result.ebx |= bits; return;
    case 2: result.ecx |= bits; return;
    default: result.edx |= bits; return;
    }
}

[[gnu::noinline]] Answered ask_port(Vcpu& vcpu, const Window* window, std::uint16_t port, unsigned size, bool in,
                                    std::uint32_t& value)
{
    if (window->length - (port - window->base) < size)
        return Answered::no;
    const auto offset = static_cast<std::uint32_t>(port - window->base);
    VcpuBinding& own = window->binding->of(vcpu);
    const abi::HookTable& hooks = own.binding.hooks;
    if (in) {
        value = ~0u >> (32 - 8 * size);
        if (hooks.port_read == nullptr)
            return Answered::done;
        auto* const shared = reinterpret_cast<std::uint32_t*>(&own.seat.exchange->value);
        *shared = value;
        const Answered answered = settle(own, call_hook(own, Hook::port_read, hooks.port_read, window->id, offset,
                                                        size, own.seat.shown(shared)));
        value = *shared;
        return answered;
    }
    if (hooks.port_write == nullptr)
        return Answered::done;
    return settle(own, call_hook(own, Hook::port_write, hooks.port_write, window->id, offset, size, value));
}

}  // namespace

Answered ExtensionStack::cpuid(Vcpu& vcpu, std::uint32_t leaf, std::uint32_t subleaf, x86::CpuidResult& result)
{
    const std::uint32_t block = (leaf - std::uint32_t{abi::cpuid_first_block}) / std::uint32_t{abi::cpuid_block_stride};
    const Window* const window = block < WindowMap::cpuid_blocks ? implementation_->windows.cpuid[block] : nullptr;
    if (window == nullptr)
        return Answered::no;
    result = {};
    const std::uint32_t place = leaf - static_cast<std::uint32_t>(window->base);
    if (place >= window->length)
        return Answered::done;
    const auto [there, answer] = look_up(window->leaves, *window, place, OfSubleaf{subleaf});
    if (!there)
        return ask_cpuid(window->binding->of(vcpu), *window, place, subleaf, result);
    result = {answer.values.eax, answer.values.ebx, answer.values.ecx, answer.values.edx};
    if (answer.field != abi::VcpuField::none)
        put_field(vcpu, answer, result);
    return Answered::done;
}

Answered ExtensionStack::read_msr(Vcpu& vcpu, std::uint32_t msr, std::uint64_t& value)
{
    const Window* const window = WindowMap::find(implementation_->windows.msrs, msr);
    if (window == nullptr)
        return Answered::no;
    const auto [there, answer] =
        look_up(window->reads, *window, msr - static_cast<std::uint32_t>(window->base), any<MsrReadAnswer>);
    VcpuBinding& own = window->binding->of(vcpu);
    return there ? answer_read(own, answer, value) : ask_msr_read(own, *window, msr, value);
}

Answered ExtensionStack::write_msr(Vcpu& vcpu, std::uint32_t msr, std::uint64_t value)
{
    const Window* const window = WindowMap::find(implementation_->windows.msrs, msr);
    if (window == nullptr)
        return Answered::no;
    const auto [there, answer] =
        look_up(window->writes, *window, msr - static_cast<std::uint32_t>(window->base), any<MsrWriteAnswer>);
    if (there && (value & ~answer.writable) != 0)
        return Answered::fault;
    VcpuBinding& own = window->binding->of(vcpu);
    if (!there || (answer.kind == abi::MsrWriteKind::deadline && !move_deadline(own, answer.deadline, value)))
        return ask_msr_write(own, *window, msr, value);
    return answer.kind == abi::MsrWriteKind::deadline ? Answered::done : answer_write(vcpu, answer.kind, value);
}

Answered ExtensionStack::port(Vcpu& vcpu, std::uint16_t port, unsigned size, bool in, std::uint32_t& value)
{
    const Window* const window = WindowMap::find(implementation_->windows.ports, port);
    return window == nullptr ? Answered::no : ask_port(vcpu, window, port, size, in, value);
}

Answered ExtensionStack::mmio(Vcpu& vcpu, GuestPhysical address, unsigned size, bool write,
                              std::uint64_t& value)
{
    const Window* const window = WindowMap::find(implementation_->windows.mmio, address.raw());
    if (window == nullptr || window->length - (address.raw() - window->base) < size)
        return Answered::no;
    const std::uint64_t offset = address.raw() - window->base;
    VcpuBinding& own = window->binding->of(vcpu);
    const abi::HookTable& hooks = own.binding.hooks;
    if (!write) {
        value = ~0ull >> (64 - 8 * size);
        if (hooks.mmio_read == nullptr)
            return Answered::done;
        std::uint64_t& shared = own.seat.exchange->value;
        shared = value;
        const Answered answered = settle(own, call_hook(own, Hook::mmio_read, hooks.mmio_read, window->id, offset,
                                                        size, own.seat.shown(&shared)));
        value = shared;
        return answered;
    }
    if (hooks.mmio_write == nullptr)
        return Answered::done;
    return settle(own, call_hook(own, Hook::mmio_write, hooks.mmio_write, window->id, offset, size, value));
}

}  // namespace hv::core
