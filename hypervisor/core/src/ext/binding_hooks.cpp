// SPDX-License-Identifier: MIT
//
// The hooks of a bind, one after the other until one refuses, and those of the end: parameters, the domain,
// hypercall pages, VCPUs.  What a module refuses is told to the operator in its own words, or else by the
// name of its error.
#include <algorithm>
#include <cstring>

#include "binding.hpp"
#include "hook_call.hpp"
#include "hv/core/machine.hpp"

namespace hv::core {

/// What an operator reads when a hook of the bind did not answer done.
Status Binding::refused(abi::Verdict verdict, std::string_view hook, TextWriter& why) const
{
    if (verdict.kind == abi::VerdictKind::done)
        return Done{};
    if (!failure.view().empty()) {
        say(why, failure.view());
        return Error::malformed;
    }
    const bool known = verdict.detail >= 1 && verdict.detail <= static_cast<std::uint32_t>(Error::gone);
    const Error error = known ? static_cast<Error>(verdict.detail) : Error::malformed;
    say(why, "extension '", name(), "' refuses: ");
    if (const std::string_view words = explained(); !words.empty())
        say(why, words);
    else
        say(why, error_name(error), " (hook ", hook, ")");
    return error;
}

Status Binding::start(std::span<const ExtensionParameter> parameters, TextWriter& why, TextWriter& field)
{
    HV_TRY(set_parameters(parameters, why, field));
    HV_TRY(create_domain(why));
    HV_TRY(fill_hypercall_pages(why));
    return initialise_vcpus(why);
}

namespace {

struct ListPlace {
    std::uint32_t index;
    std::uint32_t count;
};

/// Where parameter `at` stands among those of its key.
ListPlace place_in_list(std::span<const ExtensionParameter> parameters, std::size_t at)
{
    ListPlace place{};
    if (parameters[at].kind == ExtensionParameter::Kind::empty_list)
        return place;
    for (std::size_t other = 0; other < parameters.size(); ++other)
        if (parameters[other].key == parameters[at].key) {
            ++place.count;
            place.index += other < at ? 1 : 0;
        }
    return place;
}

}  // namespace

Status Binding::set_parameters(std::span<const ExtensionParameter> parameters, TextWriter& why,
                               TextWriter& field)
{
    for (std::size_t at = 0; at < parameters.size(); ++at) {
        const ExtensionParameter& one = parameters[at];
        const ListPlace place = place_in_list(parameters, at);
        const auto kind = check_parameter(module, one, place.count, why);
        if (!kind) {
            say(field, at);
            return kind.error();
        }
        const ShownText shown = HV_TRY(show(one));
        abi::Parameter& parameter = seat.exchange->parameter;
        parameter = {
            .key = shown.key,
            .text = shown.text,
            .number = one.number,
            .key_length = static_cast<std::uint32_t>(one.key.size()),
            .text_length = static_cast<std::uint32_t>(one.text.size()),
            .kind = kind.value(),
            .index = place.index,
            .count = place.count,
            .reserved = 0};
        const abi::Verdict verdict = call_hook(*this, Hook::parameter_set, hooks.parameter_set,
                                               seat.shown(&parameter));
        if (const auto taken = refused(verdict, "parameter_set", why); !taken) {
            say(field, at);
            return taken;
        }
    }
    return Done{};
}

/// Where the module reads a parameter's text: an isolated one in its buffer.
Expected<Binding::ShownText> Binding::show(const ExtensionParameter& parameter)
{
    if (isolated == nullptr)
        return ShownText{parameter.key.data(), parameter.text.data()};
    if (parameter.key.size() + parameter.text.size() > IsolatedMemory::buffer_bytes)
        return Error::limit_reached;
    std::ranges::copy(std::as_bytes(std::span{parameter.key}), buffer);
    std::ranges::copy(std::as_bytes(std::span{parameter.text}), buffer + parameter.key.size());
    const auto* const key = reinterpret_cast<const char*>(isolated->address_of(buffer));
    return ShownText{key, key + parameter.key.size()};
}

Status Binding::create_domain(TextWriter& why)
{
    if (hooks.domain_create != nullptr)
        HV_TRY(refused(call_hook(*this, Hook::domain_create, hooks.domain_create), "domain_create", why));
    created_ = true;
    return Done{};
}

Status Binding::fill_hypercall_pages(TextWriter& why)
{
    if (hooks.hypercall_page == nullptr)
        return Done{};
    for (std::uint32_t page = 0; page < module.manifest().hypercall_pages; ++page)
        HV_TRY(fill_hypercall_page(page, pages.hypercall_page(page), why));
    return Done{};
}

Status Binding::fill_hypercall_page(std::uint32_t index, std::byte* page, TextWriter& why)
{
    abi::HypercallPageRequest request{
        .page = index, .instruction_length = 0, .instruction = {}, .bytes = nullptr};
    for (const std::uint8_t byte : machine().hvm.hypercall_instruction)
        request.instruction[request.instruction_length++] = byte;
    request.bytes = reinterpret_cast<std::uint8_t*>(page);
    if (isolated != nullptr) {
        std::memcpy(buffer, page, page_size);
        request.bytes = reinterpret_cast<std::uint8_t*>(isolated->address_of(buffer));
    }
    seat.exchange->page_request = request;
    HV_TRY(refused(call_hook(*this, Hook::hypercall_page, hooks.hypercall_page,
                             seat.shown(&seat.exchange->page_request)),
                   "hypercall_page", why));
    if (isolated != nullptr)
        std::memcpy(page, buffer, page_size);
    return Done{};
}

Status Binding::initialise_vcpus(TextWriter& why)
{
    for (unsigned index = 0; index < vcpu_count; ++index) {
        if (hooks.vcpu_initialise != nullptr)
            HV_TRY(refused(call_hook(*vcpus[index], Hook::vcpu_initialise, hooks.vcpu_initialise),
                           "vcpu_initialise", why));
        ++initialised_vcpus_;
    }
    return Done{};
}

void Binding::stop_hooks()
{
    while (initialised_vcpus_ > 0) {
        VcpuBinding& vcpu = *vcpus[--initialised_vcpus_];
        if (hooks.vcpu_destroy != nullptr)
            static_cast<void>(call_hook(vcpu, Hook::vcpu_destroy, hooks.vcpu_destroy));
    }
    if (std::exchange(created_, false) && hooks.domain_destroy != nullptr)
        static_cast<void>(call_hook(*this, Hook::domain_destroy, hooks.domain_destroy));
}

}  // namespace hv::core
