// SPDX-License-Identifier: MIT
//
// What was recorded of an instance's hooks and service calls, in words.
#include <bit>

#include "failure.hpp"
#include "hv/core/ext/event_log.hpp"

namespace hv::core {
namespace {

template <typename Context, typename... Parameters>
constexpr std::uint8_t count(abi::Verdict (*abi::HookTable::*)(const Context*, Parameters...))
{
    return sizeof...(Parameters);
}

using Table = abi::HookTable;
/// By Hook.
constexpr std::uint8_t arguments[]{
    count(&Table::parameter_set),  count(&Table::domain_create),     count(&Table::domain_destroy),
    count(&Table::vcpu_initialise), count(&Table::vcpu_reset),       count(&Table::vcpu_destroy),
    count(&Table::cpuid),          count(&Table::msr_read),          count(&Table::msr_write),
    count(&Table::hypercall_page), count(&Table::hypercall),         count(&Table::hypercall_continue),
    count(&Table::timer),          count(&Table::mmio_read),         count(&Table::mmio_write),
    count(&Table::port_read),      count(&Table::port_write),        count(&Table::channel_message),
    count(&Table::before_entry),   count(&Table::interrupt_window),  count(&Table::interrupt_accepted),
    count(&Table::interrupt_ended), count(&Table::run_state_changed), count(&Table::freeze),
    count(&Table::thaw),           count(&Table::export_state),      count(&Table::import_state),
    count(&Table::exit),
};
static_assert(std::size(arguments) == abi::hook_count);

void say_status(TextWriter& text, std::int64_t status)
{
    if (status == abi::status_ok)
        say(text, "ok");
    else
        say(text, error_name(static_cast<Error>(-status)));
}

void say_exception(TextWriter& text, std::uint32_t detail)
{
    say(text, "inject #", detail & 0xff);
    if ((detail >> 8 & 1) != 0)
        say(text, '(', Hex{detail >> 16}, ')');
}

void say_verdict(TextWriter& text, abi::Verdict verdict)
{
    using enum abi::VerdictKind;
    switch (verdict.kind) {
    case done: say(text, (verdict.flags & abi::verdict_unchanged) != 0 ? "done, unchanged" : "done"); return;
    case not_mine: say(text, "not mine"); return;
    case inject: say_exception(text, verdict.detail); return;
    case again: say(text, "again"); return;
    case block: say(text, "block"); return;
    case pause: say(text, "pause (", verdict.detail, ')'); return;
    case crash: say(text, "crash (", verdict.detail, ')'); return;
    case refuse: say(text, "refuse: "); return say_status(text, -std::int64_t{verdict.detail});
    }
    say(text, "kind ", static_cast<unsigned>(verdict.kind), ", detail ", Hex{verdict.detail});
}

}  // namespace

bool is_service(const HookEvent& event)
{
    return event.what >= abi::hook_count;
}

std::string_view name_of(const HookEvent& event)
{
    // What was recorded is the address of a function's name, which is never freed.
    return is_service(event) ? reinterpret_cast<const char*>(event.what) : name_of(static_cast<Hook>(event.what));
}

unsigned argument_count(const HookEvent& event)
{
    return is_service(event) ? 0 : arguments[event.what];
}

void say_result(TextWriter& text, const HookEvent& event)
{
    if (is_service(event))
        say_status(text, static_cast<std::int64_t>(event.words[0]));
    else if (event.verdict == HookEvent::running)
        say(text, "runs");
    else if (event.verdict == HookEvent::thrown_out)
        say(text, "thrown out");
    else
        say_verdict(text, std::bit_cast<abi::Verdict>(event.verdict));
}

}  // namespace hv::core
