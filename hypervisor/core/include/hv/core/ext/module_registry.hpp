// SPDX-License-Identifier: MIT
//
// The modules that are loaded: each verified by the loader once and kept as a copy of its file, from which
// every binding places an image of its own.  Names are unique, but that a module which another of its name was
// loaded beside, for a swap, stays without its name until nobody needs it.  Called by the control server (and once at
// boot) only; binding and unbinding, which count, happen there too.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/memory/heap.hpp"
#include "hv/loader/load.hpp"

namespace hv::core {

/// One loaded module.
class Module final {
public:
    static constexpr std::size_t longest_path{255};

    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;

    [[nodiscard]] std::string_view name() const;
    [[nodiscard]] std::string_view path() const { return path_.view(); }
    [[nodiscard]] std::string_view description() const;
    [[nodiscard]] loader::ModuleFacts facts() const { return verified_.facts(); }
    [[nodiscard]] const loader::Module& verified() const { return verified_; }
    [[nodiscard]] const abi::Manifest& manifest() const { return verified_.manifest(); }
    /// Instances of it now.
    [[nodiscard]] std::uint32_t bindings() const { return bindings_; }
    /// Its name leads to another module: it is there for those who have it.
    [[nodiscard]] bool superseded() const { return superseded_; }
    [[nodiscard]] std::uint64_t file_bytes() const { return size_; }
    /// Counts the files that were loaded since the machine was started: two loads of one name differ in it.
    [[nodiscard]] std::uint64_t generation() const { return generation_; }
    /// What it takes of the hypervisor's memory, its instances not counted.
    [[nodiscard]] std::uint64_t memory_bytes() const { return sizeof *this + size_; }

private:
    friend class ModuleRegistry;
    friend class ExtensionStack;
    friend class Restart;
    friend class Swap;
    template <typename T, typename... A>
    friend Expected<Owned<T>> make(Heap&, A&&...);
    friend class Owned<Module>;
    explicit Module(Heap& heap) : heap_{heap} {}
    ~Module() { heap_.release(file_); }

    Heap& heap_;
    std::byte* file_{};
    std::size_t size_{};
    loader::Module verified_{};
    BoundedText<longest_path> path_{};
    std::uint32_t bindings_{};
    std::uint64_t generation_{};
    std::uint32_t kept_{};  ///< bindings that would go back to it
    bool superseded_{};     ///< another of its name was loaded after it
};

/// "1.2.3".
void write_version(TextWriter& text, const Module& module);

class ModuleRegistry final {
public:
    static constexpr std::size_t maximum_modules{64};

    /// The heap outlives the registry.
    explicit ModuleRegistry(Heap& heap) : heap_{heap} {}
    /// Asserts that no module is bound.
    ~ModuleRegistry();
    ModuleRegistry(const ModuleRegistry&) = delete;
    ModuleRegistry& operator=(const ModuleRegistry&) = delete;

    /// What the loader lets in; set before the first load.  Its keys outlive the registry.
    loader::Policy policy{};

    /// Verifies `file` and keeps a copy; `signature` is what came beside it, or empty, and is not kept.  The same
    /// bytes under the same name again are answered with the module that is there.  Fails with what the loader
    /// says, in its own words, already_exists (another file under that name), limit_reached or no_memory, a
    /// sentence in `why` and nothing kept.
    Expected<Module*> load(std::span<const std::byte> file, std::span<const std::byte> signature,
                           std::string_view path, TextWriter& why);
    /// The same, but another file under that name does not stand in the way: once supersede() is called, the
    /// name leads to the new one.  Before that it leads to the one that had it.
    Expected<Module*> load_beside(std::span<const std::byte> file, std::span<const std::byte> signature,
                                  std::string_view path, TextWriter& why);
    /// The name of `module` leads to it; one that had it before is dropped as soon as nothing is bound to it.
    void supersede(Module& module);
    /// Drops what was loaded beside and not used, and what was superseded and is not needed any more.
    void sweep();
    /// Fails with not_found or, while there are instances, busy.
    Status unload(std::string_view name, TextWriter& why);
    /// Null: there is no such module.
    [[nodiscard]] Module* find(std::string_view name) const;

    [[nodiscard]] std::size_t size() const { return modules_.size(); }
    /// In the order of loading; `index` below size().
    [[nodiscard]] Module& at(std::size_t index) const { return *modules_[index]; }

private:
    Expected<Owned<Module>> verify(std::span<const std::byte> file, std::span<const std::byte> signature,
                                   std::string_view path, TextWriter& why);
    Expected<Module*> keep(Owned<Module> module, TextWriter& why);
    static bool same_file(const Module& one, const Module& other);

    Heap& heap_;
    StaticVector<Module*, maximum_modules> modules_{};
    std::uint64_t generation_{};
};

}  // namespace hv::core
