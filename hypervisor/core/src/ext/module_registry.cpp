// SPDX-License-Identifier: MIT
#include "hv/core/ext/module_registry.hpp"

#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/core/diag/log.hpp"

namespace hv::core {

std::string_view Module::name() const
{
    return std::string_view{static_cast<const char*>(manifest().name)};
}

std::string_view Module::description() const
{
    return std::string_view{static_cast<const char*>(manifest().description)};
}

void write_version(TextWriter& text, const Module& module)
{
    const abi::Manifest& manifest = module.manifest();
    say(text, manifest.version_major, '.', manifest.version_minor, '.', manifest.version_patch);
}

ModuleRegistry::~ModuleRegistry()
{
    for (Module* const module : modules_) {
        HV_ASSERT(module->bindings_ == 0);
        destroy(heap_, module);
    }
}

Module* ModuleRegistry::find(std::string_view name) const
{
    for (Module* const module : modules_)
        if (!module->superseded_ && module->name() == name)
            return module;
    return nullptr;
}

Expected<Module*> ModuleRegistry::load(std::span<const std::byte> file, std::span<const std::byte> signature,
                                       std::string_view path, TextWriter& why)
{
    return keep(HV_TRY(verify(file, signature, path, why)), why);
}

Expected<Module*> ModuleRegistry::load_beside(std::span<const std::byte> file,
                                              std::span<const std::byte> signature, std::string_view path,
                                              TextWriter& why)
{
    auto module = HV_TRY(verify(file, signature, path, why));
    for (Module* const other : modules_)
        if (other->name() == module->name() && same_file(*other, *module))
            return other;
    module->superseded_ = true;  // until it is used
    module->generation_ = ++generation_;
    if (!modules_.push_back(module.get())) {
        say(why, "as many modules are loaded as can be: ", maximum_modules);
        return Error::limit_reached;
    }
    return module.leak();
}

void ModuleRegistry::supersede(Module& module)
{
    if (Module* const before = find(module.name()))
        before->superseded_ = true;
    module.superseded_ = false;
    sweep();
}

void ModuleRegistry::sweep()
{
    for (std::size_t index = modules_.size(); index-- > 0;) {
        Module* const module = modules_[index];
        if (!module->superseded_ || module->bindings_ != 0 || module->kept_ != 0)
            continue;
        destroy(heap_, module);
        modules_.erase(&modules_[index]);
    }
}

bool ModuleRegistry::same_file(const Module& one, const Module& other)
{
    return one.size_ == other.size_ && std::memcmp(one.file_, other.file_, one.size_) == 0;
}

Expected<Owned<Module>> ModuleRegistry::verify(std::span<const std::byte> file,
                                               std::span<const std::byte> signature, std::string_view path,
                                               TextWriter& why)
{
    if (file.empty() || file.size() > loader::maximum_file_bytes) {
        say(why, "a module file has 1 to ", loader::maximum_file_bytes, " bytes, this one has ", file.size());
        return file.empty() ? Error::malformed : Error::limit_reached;
    }
    auto made = make<Module>(heap_, heap_);
    if (made)
        made.value()->file_ = static_cast<std::byte*>(heap_.allocate(file.size()));
    if (!made || made.value()->file_ == nullptr) {
        say(why, "not enough memory to keep a module of ", file.size(), " bytes");
        return Error::no_memory;
    }
    Module& module = *made.value();
    std::memcpy(module.file_, file.data(), file.size());
    module.size_ = file.size();
    module.path_.append(path);
    loader::KeptDiagnostics diagnostics;
    if (const auto verified =
            module.verified_.verify({module.file_, module.size_}, policy, diagnostics, signature);
        !verified) {
        why.append(diagnostics.text());
        return verified.error();
    }
    return made;
}

Expected<Module*> ModuleRegistry::keep(Owned<Module> module, TextWriter& why)
{
    if (Module* const same = find(module->name())) {
        if (same_file(*same, *module))
            return same;
        say(why, "a module '", same->name(), "' is loaded already, version ");
        write_version(why, *same);
        say(why, ", from another file; unload it first");
        return Error::already_exists;
    }
    if (!modules_.push_back(module.get())) {
        say(why, "as many modules are loaded as can be: ", maximum_modules);
        return Error::limit_reached;
    }
    module->generation_ = ++generation_;
    const std::string_view signer{module->facts().signer};
    log_info("extension ", module->name(), " loaded, ", module->size_, " bytes, ",
             signer.empty() ? "not signed by a trusted key" : "signed by ", signer);
    return module.leak();
}

Status ModuleRegistry::unload(std::string_view name, TextWriter& why)
{
    for (Module*& module : modules_) {
        if (module->superseded_ || module->name() != name)
            continue;
        if (module->bindings_ != 0) {
            say(why, "module '", name, "' is bound by ", module->bindings_,
                module->bindings_ == 1 ? " domain" : " domains");
            return Error::busy;
        }
        if (module->kept_ != 0) {
            say(why, "module '", name, "' is kept for a rollback by ", module->kept_,
                module->kept_ == 1 ? " domain" : " domains");
            return Error::busy;
        }
        log_info("extension ", module->name(), " unloaded");
        destroy(heap_, module);
        modules_.erase(&module);
        return Done{};
    }
    say(why, "no module '", name, "' is loaded");
    return Error::not_found;
}

}  // namespace hv::core
