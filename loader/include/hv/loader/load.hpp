// SPDX-License-Identifier: MIT
//
// The loader's one entry.  `Module::verify` takes a file to pieces once, without placing anything, and either
// says precisely why not or keeps what it proved; `Module::instantiate` makes one placed image of it, as
// often as there are bindings.  Pure: bytes and a memory provider in, an image or a reason out.
//
// In 0.1 each instance is a placement of the whole image, text included: relocations in text refer to the
// data of one instance.  Where all instances run at the same address of different address spaces, text and
// rodata come out equal and can be shared by the memory provider.
#pragma once

#include "hv/loader/judged_manifest.hpp"
#include "hv/loader/sha256.hpp"
#include "hv/loader/signature.hpp"

namespace hv::loader {

/// What the hypervisor lets in.
struct Policy {
    std::uint64_t provided_needs{abi::provided_needs};
    SignaturePolicy signatures{};
};

/// A module that is placed, relocated and sealed.  Hooks are computed from the file, not read back from the
/// image, so nothing that the module does can change them; the table's declared arrays are null: read them
/// from the Module.
struct Image {
    Placement placement;
    ImageLayout layout;
    abi::HookTable hooks{};
};

/// What an operator is shown of a module.
struct ModuleFacts {
    char name[32];
    char description[80];
    std::uint16_t version_major, version_minor, version_patch;
    std::uint16_t abi_major, abi_minor;
    std::uint32_t flags;
    std::uint64_t needs;
    Sha256 hash;
    std::uint64_t file_bytes;
    ImageLayout layout;
    SignatureState signature;
    std::string_view signer;  ///< the trusted key's name, where the signature is good; lives as long as the key
};

/// Where an address lies, for a report: "name+0x12".
struct SymbolAt {
    std::string_view name;  ///< mangled, of the file
    std::uint64_t offset;
};

/// A section of the file that the image has: its offset there.
struct SectionAt {
    std::string_view name;
    std::uint64_t image_offset;
};

/// Some 10 KiB: keep it in a registry's entry, not on a stack.  Refers to the file's bytes, which must stay.
class Module {
public:
    Module() = default;
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;

    /// `signature` is what came beside the file, or empty.  Fails with malformed, abi_mismatch, limit_reached,
    /// not_supported, permission_denied or invalid_argument, and the reason in `diagnostics`; the module is then
    /// empty.
    [[nodiscard]] Status verify(std::span<const std::byte> file, const Policy& policy, Diagnostics& diagnostics,
                                std::span<const std::byte> signature = {});

    [[nodiscard]] bool verified() const { return !file_.empty(); }
    [[nodiscard]] ModuleFacts facts() const;

    /// The manifest, with its pointers null: what they name is read by the members below.
    [[nodiscard]] const abi::Manifest& manifest() const { return judged_.manifest; }
    [[nodiscard]] std::uint32_t leaf_count() const { return judged_.leaves.count; }
    [[nodiscard]] std::uint32_t msr_read_count() const { return judged_.msr_reads.count; }
    [[nodiscard]] std::uint32_t msr_write_count() const { return judged_.msr_writes.count; }
    [[nodiscard]] std::uint32_t exit_count() const { return judged_.exits.count; }
    /// `index` below the count of the manifest, or above.
    [[nodiscard]] abi::WindowRequest window(std::uint32_t index) const;
    [[nodiscard]] abi::ParameterDescription parameter(std::uint32_t index) const;
    [[nodiscard]] std::uint32_t counter_count() const { return judged_.counters.count; }
    [[nodiscard]] abi::CounterDescription counter(std::uint32_t index) const;
    [[nodiscard]] abi::DeclaredLeaf leaf(std::uint32_t index) const;
    [[nodiscard]] abi::DeclaredMsrRead msr_read(std::uint32_t index) const;
    [[nodiscard]] abi::DeclaredMsrWrite msr_write(std::uint32_t index) const;
    [[nodiscard]] abi::ExitSubscription exit(std::uint32_t index) const;
    /// True when the module implements the hook at this position of abi::HookTable (0 is parameter_set).
    [[nodiscard]] bool has_hook(std::uint32_t index) const;

    /// One placed image with `host` as its service table, sealed.  Every member of `host` up to
    /// host.header.size is filled in.  Fails as the memory provider does; nothing is then held.
    [[nodiscard]] Expected<Image> instantiate(ModuleMemory& memory, const abi::HostTable& host) const;

    /// What the file calls the part of an image at this offset, one after the other by `index`: a debugger asks by name.  Nothing:
    /// there are no more.
    [[nodiscard]] std::optional<SectionAt> section(std::size_t index) const;
    /// The function that an address of the image lies in.
    [[nodiscard]] std::optional<SymbolAt> symbolise(const Image& image, std::uint64_t address) const;

private:
    [[nodiscard]] Status run_stages(const AdmittedFile& file, const Policy& policy, Diagnostics& diagnostics);
    void relocate(const Placement& placement) const;
    void fill_host_table(const Placement& placement, const abi::HostTable& host) const;
    [[nodiscard]] abi::HookTable placed_hooks(const Placement& placement) const;
    template <typename T>
    [[nodiscard]] T element(const ConstTable& table, std::uint32_t index) const;

    std::span<const std::byte> file_{};
    SectionTable sections_{};
    SymbolTable symbols_{};
    RelocationTable relocations_{};
    ImageLayout layout_{};
    JudgedManifest judged_{};
    Sha256 hash_{};
    SignatureState signature_{};
    std::string_view signer_{};
};

/// Everything about a file in one call, for tools: `facts` is filled where the module is accepted.
[[nodiscard]] Status examine(std::span<const std::byte> file, const Policy& policy, Diagnostics& diagnostics,
                             ModuleFacts& facts, std::span<const std::byte> signature = {});

}  // namespace hv::loader
