// SPDX-License-Identifier: MIT
//
// Services that every module has: text for people, its domain's state block, and declared answers.
#include <cstring>

#include "hv/core/diag/log.hpp"
#include "service_call.hpp"

namespace hv::core::services {
namespace {

constexpr std::uint32_t lines_per_second{32};
constexpr std::uint64_t longest_array{4096};

constexpr core::LogLevel level_of(abi::LogLevel level)
{
    return level <= abi::LogLevel::debug ? static_cast<core::LogLevel>(level) : core::LogLevel::debug;
}

/// A guest can make a module talk: so many lines in a second, and one that says that there were more.
bool may_log(Binding& binding)
{
    const std::uint64_t second = platform::ticks() / platform::ticks_per_second();
    if (binding.log_second.exchange(second) != second)
        binding.log_lines.store(0);
    const std::uint32_t line = binding.log_lines.fetch_add(1);
    if (line == lines_per_second)
        log_warning("domain ", binding.domain.id, ", extension ", binding.name(),
                    ": says too much, the rest is dropped");
    return line < lines_per_second;
}

template <typename Declared>
Answer declare_array(std::uint64_t domain, const Declared* answers, std::uint64_t count)
{
    return serve_domain(domain, 0, [&](HookCall& call) -> Status {
        if (count == 0)
            return Done{};
        if (answers == nullptr || count > longest_array)
            return Error::invalid_argument;
        return declare(*call.binding, std::span{answers, static_cast<std::size_t>(count)});
    });
}

}  // namespace

Answer log(abi::LogLevel level, const char* text, std::uint64_t length)
{
    return serve(0, [&](HookCall& call) -> Status {
        if (text == nullptr && length != 0)
            return Error::invalid_argument;
        Binding& binding = *call.binding;
        const std::size_t shown =
            length < longest_explanation ? static_cast<std::size_t>(length) : longest_explanation;
        if (may_log(binding))
            core::log(level_of(level), "domain ", binding.domain.id, ", extension ", binding.name(), ": ",
                      std::string_view{text, shown});
        return Done{};
    });
}

Answer explain(std::uint64_t domain, const char* text, std::uint64_t length)
{
    return serve_domain(domain, 0, [&](HookCall& call) -> Status {
        if (text == nullptr && length != 0)
            return Error::invalid_argument;
        call.explanation_length =
            static_cast<std::uint32_t>(length < longest_explanation ? length : longest_explanation);
        if (call.explanation_length != 0)
            std::memcpy(current_speech().explanation, text, call.explanation_length);
        return Done{};
    });
}

Answer settled(std::uint64_t domain, const char* key, std::uint64_t key_length, const char* value, std::uint64_t value_length)
{
    return serve_domain(domain, 0, [&](HookCall& call) -> Status {
        if (key == nullptr || key_length == 0 || (value == nullptr && value_length != 0))
            return Error::invalid_argument;
        return call.binding->settled.add({key, static_cast<std::size_t>(key_length)},
                                         {value, static_cast<std::size_t>(value_length)});
    });
}

Answer domain_update_begin(std::uint64_t domain)
{
    return serve_domain(domain, 0, [&](HookCall& call) -> Status {
        if ((call.after & HookCall::domain_updated) != 0)
            return Done{};
        call.binding->state_lock.lock();
        call.after |= HookCall::domain_updated;
        return Done{};
    });
}

Answer declare_leaves(std::uint64_t domain, const abi::DeclaredLeaf* leaves, std::uint64_t count)
{
    return declare_array(domain, leaves, count);
}

Answer declare_msr_reads(std::uint64_t domain, const abi::DeclaredMsrRead* reads, std::uint64_t count)
{
    return declare_array(domain, reads, count);
}

Answer declare_msr_writes(std::uint64_t domain, const abi::DeclaredMsrWrite* writes, std::uint64_t count)
{
    return declare_array(domain, writes, count);
}

Answer set_condition(std::uint64_t domain, std::uint32_t condition, std::uint32_t on)
{
    return serve_domain(domain, 0, [&](HookCall& call) -> Status {
        if (condition == 0 || condition > abi::maximum_condition || on > 1)
            return Error::invalid_argument;
        if (on != 0)
            call.binding->conditions.fetch_or(condition_bit(condition));
        else
            call.binding->conditions.fetch_and(~condition_bit(condition));
        if (call.binding->subscriptions.count != 0 && !rehearses(call))
            renew_subscriptions(call.binding->domain);
        return Done{};
    });
}

Answer declare_eoi_assist(std::uint64_t vcpu, const abi::DeclaredEoiAssist* assist)
{
    return serve_vcpu(vcpu, acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        if (assist == nullptr || assist->offset % 4 != 0 || assist->offset > page_size - 4 ||
            assist->bit > 31)
            return Error::invalid_argument;
        HV_TRY(check_still(call, own));  // the processor that runs the VCPU uses the bit at each entry
        EoiAssist& taken = own.vcpu.eoi_assist;
        if (taken.word != nullptr && own.eoi_assist_page == 0)
            return Error::conflict;  // another extension of this guest has it
        if (assist->page == 0) {
            taken = {};
            own.eoi_assist_page = 0;
            own.vcpu.renew_entry_extras();
            return Done{};
        }
        const Handle page = HV_TRY(own_handle(call, assist->page, HandleKind::page));
        return call.binding->pages.with_page(page, true, [&](std::byte* bytes) -> Status {
            taken = {reinterpret_cast<std::atomic<std::uint32_t>*>(bytes + assist->offset), 1u << assist->bit,
                     false};
            own.eoi_assist_page = assist->page;
            own.vcpu.renew_entry_extras();
            return Done{};
        });
    });
}

}  // namespace hv::core::services
