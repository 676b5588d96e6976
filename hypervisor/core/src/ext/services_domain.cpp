// SPDX-License-Identifier: MIT
//
// Services on the domain as a whole.
#include <cstring>

#include "hv/abi/header.hpp"
#include "service_call.hpp"

namespace hv::core::services {
namespace {

EndReason reason_of(abi::ShutdownReason reason)
{
    switch (reason) {
    case abi::ShutdownReason::poweroff: return EndReason::poweroff;
    case abi::ShutdownReason::reboot: return EndReason::reboot;
    case abi::ShutdownReason::halt: return EndReason::halt;
    case abi::ShutdownReason::crash: return EndReason::crash;
    }
    return EndReason::none;
}

void end_at_return(HookCall& call, EndReason reason, const char* text, std::uint64_t length)
{
    call.after |= HookCall::ends_domain;
    call.end_reason = reason;
    call.end_text_length =
        static_cast<std::uint32_t>(length < longest_explanation ? length : longest_explanation);
    if (call.end_text_length != 0)
        std::memcpy(current_speech().end_text, text, call.end_text_length);
}

}  // namespace

Answer domain_shutdown(std::uint64_t domain, abi::ShutdownReason reason, const char* text,
                       std::uint64_t length)
{
    return serve_domain(domain, abi::need_domain | acts, [&](HookCall& call) -> Status {
        const EndReason known = reason_of(reason);
        if (known == EndReason::none || (text == nullptr && length != 0))
            return Error::invalid_argument;
        end_at_return(call, known, text, known == EndReason::crash ? length : 0);
        return Done{};
    });
}

Answer domain_reset(std::uint64_t domain)
{
    return serve_domain(domain, abi::need_domain | acts, [&](HookCall& call) -> Status {
        end_at_return(call, EndReason::reboot, nullptr, 0);
        return Done{};
    });
}

Answer domain_info(std::uint64_t domain, abi::DomainInfo* info)
{
    return serve_domain(domain, abi::need_domain, [&](HookCall& call) -> Status {
        if (info == nullptr)
            return Error::invalid_argument;
        const Domain& of = call.binding->domain;
        *info = {.domain_id = of.id,
                 .vcpu_count = of.vcpu_count(),
                 .memory_bytes = of.memory.bytes(),
                 .apic_timer_hz = of.time.frequency() >> LocalApic::timer_clock_shift,
                 .uuid = {},
                 .name = {},
                 .hypervisor_major = abi::abi_major,
                 .hypervisor_minor = abi::abi_minor};
        std::memcpy(info->uuid, of.uuid.data(), sizeof info->uuid);
        const std::string_view name = of.name();
        const std::size_t length = name.size() < sizeof info->name ? name.size() : sizeof info->name - 1;
        std::memcpy(info->name, name.data(), length);
        return Done{};
    });
}

Answer processor_leaf(std::uint64_t domain, std::uint32_t leaf, std::uint32_t subleaf, abi::CpuidResult* values)
{
    return serve_domain(domain, 0, [&](HookCall& call) -> Status {
        if (values == nullptr)
            return Error::invalid_argument;
        const x86::CpuidResult found = call.binding->domain.cpuid.answer(leaf, subleaf, {});
        *values = {found.eax, found.ebx, found.ecx, found.edx};
        return Done{};
    });
}

Answer console_write(std::uint64_t domain, const char* text, std::uint64_t length, std::uint64_t* written)
{
    return serve_domain(domain, abi::need_domain | acts, [&](HookCall& call) -> Status {
        if (written == nullptr || (text == nullptr && length != 0))
            return Error::invalid_argument;
        const std::span bytes{text, static_cast<std::size_t>(length)};
        *written = call.binding->domain.console.write(std::as_bytes(bytes));
        return Done{};
    });
}

Answer console_read(std::uint64_t domain, char* text, std::uint64_t length, std::uint64_t* read)
{
    return serve_domain(domain, abi::need_domain | acts, [&](HookCall& call) -> Status {
        if (read == nullptr || (text == nullptr && length != 0))
            return Error::invalid_argument;
        Console& console = call.binding->domain.console;
        for (*read = 0; *read < length; ++*read) {
            const auto byte = console.get();
            if (!byte)
                break;
            text[*read] = static_cast<char>(*byte);
        }
        return Done{};
    });
}

}  // namespace hv::core::services
