// SPDX-License-Identifier: MIT
//
// Modules and bindings, as the control protocol commands them.
#include "hv/core/service/core_target.hpp"

#include <cstring>

#include "hv/core/ext/extension_stack.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/service/wire_text.hpp"

namespace hv::core::service {

using control::Progress;
using control::Reason;
using control::refuse;
using control::refuse_field;

namespace {

protocol::SignatureState wire_state(loader::SignatureState state)
{
    switch (state) {
    case loader::SignatureState::none: return protocol::SignatureState::none;
    case loader::SignatureState::unchecked: return protocol::SignatureState::unchecked;
    case loader::SignatureState::good: break;
    }
    return protocol::SignatureState::good;
}

void describe(const Module& module, protocol::ModuleInfo& entry)
{
    const loader::ModuleFacts facts = module.facts();
    entry = {};
    put_text(entry.name, module.name());
    BoundedText<sizeof entry.version> version;
    write_version(version, module);
    put_text(entry.version, version.view());
    entry.abi_major = facts.abi_major;
    entry.abi_minor = facts.abi_minor;
    entry.bindings = module.bindings();
    entry.file_size = facts.file_bytes;
    static_assert(sizeof entry.hash == sizeof facts.hash);
    std::memcpy(entry.hash, &facts.hash, sizeof entry.hash);
    put_text(entry.path, module.path());
    put_text(entry.signer, facts.signer);
    entry.signature = static_cast<std::uint32_t>(wire_state(facts.signature));
    entry.flags = (facts.flags & abi::manifest_serial) != 0 ? protocol::module_serial : 0;
    entry.needs = facts.needs;
    entry.generation = module.generation();
    entry.memory_bytes = module.memory_bytes();
    put_text(entry.description, module.description());
}

void describe_window(const abi::WindowRequest& window, protocol::ModuleRequest& entry)
{
    entry.kind = static_cast<std::uint32_t>(protocol::ModuleRequestKind::window);
    entry.what = static_cast<std::uint32_t>(window.kind);
    entry.flags = window.flags;
    entry.first = window.base;
    entry.count = window.length;
    put_text(entry.label, get_text(window.label));
}

void describe_exit(const abi::ExitSubscription& exit, protocol::ModuleRequest& entry)
{
    entry.kind = static_cast<std::uint32_t>(protocol::ModuleRequestKind::exit);
    entry.what = static_cast<std::uint32_t>(exit.kind);
    entry.flags = exit.flags;
    entry.first = exit.first;
    entry.count = exit.last - exit.first + 1;
}

ExtensionParameter parameter_of(const protocol::Parameter& wire)
{
    using Kind = ExtensionParameter::Kind;
    switch (wire.type) {
    case protocol::ParameterType::boolean: return {wire.key, Kind::boolean, wire.integer, {}};
    case protocol::ParameterType::integer: return {wire.key, Kind::integer, wire.integer, {}};
    case protocol::ParameterType::text: return {wire.key, Kind::text, 0, wire.text};
    case protocol::ParameterType::empty_list: return {wire.key, Kind::empty_list, 0, {}};
    }
    return {wire.key, Kind::text, 0, wire.text};
}

}  // namespace

Expected<bool> CoreTarget::next_binding(protocol::DomainId id, std::uint64_t& cursor, protocol::Binding& entry)
{
    entry = {};
    if (id == protocol::control_domain)
        return false;
    const Domain* const domain = domains_.find(id);
    if (domain == nullptr)
        return Error::not_found;
    if (domain->extensions == nullptr || cursor >= domain->extensions->size())
        return false;
    const auto position = static_cast<unsigned>(cursor);
    const ExtensionStack::Description binding = domain->extensions->describe(position);
    put_text(entry.module, binding.name);
    BoundedText<sizeof entry.version> version;
    say(version, binding.version[0], '.', binding.version[1], '.', binding.version[2]);
    put_text(entry.version, version.view());
    entry.position = position;
    entry.cpuid_base = binding.cpuid_base;
    entry.memory_bytes = binding.memory_bytes;
    entry.placement = static_cast<std::uint32_t>(binding.placement);
    entry.on_fault = static_cast<std::uint32_t>(binding.on_fault);
    entry.restarts = binding.restarts;
    entry.flags = binding.failed ? protocol::binding_ended : 0;
    entry.generation = domain->extensions->generation();
    entry.budget_ns = hook_budget_ns_;
    ++cursor;
    return true;
}

bool CoreTarget::next_module(std::uint64_t& cursor, protocol::ModuleInfo& entry)
{
    if (cursor >= modules_.size())
        return false;
    describe(modules_.at(static_cast<std::size_t>(cursor)), entry);
    ++cursor;
    return true;
}

/// The cursor has the position in its upper half.
Expected<bool> CoreTarget::next_settled(protocol::DomainId id, std::uint64_t& cursor, protocol::SettledParameter& entry)
{
    const Domain* const domain = domains_.find(id);
    if (domain == nullptr)
        return id == protocol::control_domain ? Expected<bool>{false} : Error::not_found;
    if (domain->extensions == nullptr)
        return false;
    for (std::uint64_t position = cursor >> 32; position < domain->extensions->size(); cursor = ++position << 32) {
        const SettledParameter* const one =
            domain->extensions->settled(static_cast<unsigned>(position), cursor & 0xffff'ffff);
        if (one == nullptr)
            continue;
        entry = {static_cast<std::uint32_t>(position), 0, {}, {}};
        put_text(entry.key, one->key.view());
        put_text(entry.value, one->value.view());
        ++cursor;
        return true;
    }
    return false;
}

Expected<bool> CoreTarget::next_module_request(std::string_view name, std::uint64_t& cursor,
                                               protocol::ModuleRequest& entry, Reason& reason)
{
    const Module* const module = modules_.find(name);
    if (module == nullptr)
        return refuse_field(reason, Error::not_found, "/module", "no module ", name, " is loaded");
    const std::uint64_t windows = module->manifest().window_count;
    if (cursor >= windows + module->verified().exit_count())
        return false;
    entry = {};
    if (cursor < windows)
        describe_window(module->verified().window(static_cast<std::uint32_t>(cursor)), entry);
    else
        describe_exit(module->verified().exit(static_cast<std::uint32_t>(cursor - windows)), entry);
    ++cursor;
    return true;
}

namespace {

/// 0 asks for the default, which BindOptions has.
Expected<BindOptions> options_of(const protocol::ExtBindRequest& request, bool isolated_only, Reason& reason)
{
    BindOptions options{};
    if (isolated_only)
        options.placement = Placement::isolated;
    if (isolated_only && request.placement == static_cast<std::uint32_t>(Placement::trusted))
        return refuse_field(reason, Error::permission_denied, "/placement",
                            "this hypervisor runs extensions isolated only (ext=isolated-only)");
    if (request.placement > static_cast<std::uint32_t>(Placement::trusted))
        return refuse_field(reason, Error::invalid_argument, "/placement", "there is no placement ", request.placement);
    if (request.on_fault > static_cast<std::uint32_t>(OnFault::crash))
        return refuse_field(reason, Error::invalid_argument, "/on_fault", "there is no policy ", request.on_fault);
    if (request.placement != 0)
        options.placement = static_cast<Placement>(request.placement);
    if (request.on_fault != 0)
        options.on_fault = static_cast<OnFault>(request.on_fault);
    return options;
}

}  // namespace

Status CoreTarget::announce_extensions(protocol::DomainId id, const protocol::EntryView<protocol::ModuleName>& modules,
                                       Reason& reason)
{
    Domain& domain = *HV_TRY(guest(id, reason));
    StaticVector<Module*, ModuleRegistry::maximum_modules> stack;  // more than a domain may have
    for (std::size_t index = 0; index < modules.size() && !stack.full(); ++index) {
        const protocol::ModuleName entry = modules.at(index);
        Module* const module = modules_.find(get_text(entry.name));
        if (module == nullptr) {
            say(reason.field, "/modules/", index);
            return refuse(reason, Error::not_found, "no module ", get_text(entry.name), " is loaded");
        }
        static_cast<void>(stack.push_back(module));
    }
    std::size_t culprit{stack.size()};
    const Status announced =
        ExtensionStack::announce(domain, {stack.data(), stack.size()}, culprit, reason.text);
    if (!announced && culprit < stack.size())
        say(reason.field, "/modules/", culprit);
    return announced;
}

Expected<Progress> CoreTarget::bind_extension(const protocol::ExtBindRequest& request,
                                              protocol::ParameterReader parameters, protocol::ExtBindReply& reply,
                                              Reason& reason)
{
    Domain& domain = *HV_TRY(guest(request.domain, reason));
    const BindOptions options = HV_TRY(options_of(request, isolated_only_, reason));
    Module* const module = modules_.find(get_text(request.module));
    if (module == nullptr)
        return refuse_field(reason, Error::not_found, "/module", "no module ", get_text(request.module), " is loaded");
    StaticVector<ExtensionParameter, protocol::maximum_parameters> values;
    while (!parameters.at_end())
        static_cast<void>(values.push_back(parameter_of(HV_TRY(parameters.next()))));
    BoundedText<20> parameter;
    const auto put = domain.state() == DomainState::building ? ExtensionStack::bind : ExtensionStack::attach;
    const Status bound = put(domain, *module, {values.data(), values.size()}, options, reason.text, parameter);
    if (!bound) {
        if (!parameter.view().empty())
            say(reason.field, "/params/", parameter.view());
        return bound.error();
    }
    reply = {domain.extensions->size() - 1, 0};
    return Progress::done;
}

Expected<std::uint32_t> CoreTarget::begin_module(const protocol::ExtLoadBeginRequest& request, Reason& reason)
{
    for (Upload& upload : uploads_) {
        if (upload.bytes != nullptr)
            continue;
        auto* const bytes = static_cast<std::byte*>(machine().heap.allocate(static_cast<std::size_t>(request.size)));
        if (bytes == nullptr)
            return refuse_field(reason, Error::no_memory, "/size", "not enough memory for a module file of ", request.size,
                                " bytes");
        upload.bytes = bytes;
        upload.size = request.size;
        upload.path.clear();
        upload.path.append(get_text(request.path));
        upload.signature_bytes = request.signature_length;
        static_assert(sizeof request.signature == sizeof upload.signature);
        std::memcpy(upload.signature.data(), request.signature, sizeof request.signature);
        return static_cast<std::uint32_t>(&upload - uploads_.data()) + 1;
    }
    return refuse(reason, Error::limit_reached, "too many module files are being sent at once");
}

CoreTarget::Upload* CoreTarget::find_upload(std::uint32_t number)
{
    if (number == 0 || number > uploads_.size() || uploads_[number - 1].bytes == nullptr)
        return nullptr;
    return &uploads_[number - 1];
}

Status CoreTarget::module_data(std::uint32_t number, std::uint64_t offset, std::span<const std::byte> bytes,
                               Reason& reason)
{
    const Upload* const upload = find_upload(number);
    if (upload == nullptr)
        return refuse(reason, Error::not_found, "there is no upload ", number);
    if (offset > upload->size || upload->size - offset < bytes.size())
        return refuse(reason, Error::out_of_range, "the data runs past the end of the file");
    if (!bytes.empty())
        std::memcpy(upload->bytes + offset, bytes.data(), bytes.size());
    return Done{};
}

Expected<Progress> CoreTarget::finish_module(std::uint32_t number, protocol::ModuleInfo& reply, Reason& reason)
{
    const Upload* const upload = find_upload(number);
    if (upload == nullptr)
        return refuse(reason, Error::not_found, "there is no upload ", number);
    const auto module = load_module({upload->bytes, static_cast<std::size_t>(upload->size)},
                                    std::span{upload->signature}.first(upload->signature_bytes), upload->path.view(),
                                    reason.text);
    abort_module(number);
    if (!module)
        return module.error();
    describe(*module.value(), reply);
    return Progress::done;
}

Expected<Module*> CoreTarget::load_module(std::span<const std::byte> file, std::span<const std::byte> signature,
                                          std::string_view path, TextWriter& why)
{
    return modules_.load(file, signature, path, why);
}

void CoreTarget::abort_module(std::uint32_t number)
{
    if (Upload* const upload = find_upload(number)) {
        machine().heap.release(upload->bytes);
        upload->bytes = nullptr;
    }
}

Status CoreTarget::unload_module(std::string_view module, Reason& reason)
{
    return modules_.unload(module, reason.text);
}

}  // namespace hv::core::service
