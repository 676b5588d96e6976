// SPDX-License-Identifier: MIT
//
// The pipeline: the stages in their order, then images of what they proved.
#include "hv/loader/load.hpp"

#include <algorithm>
#include <cstring>

#include "stages.hpp"

namespace hv::loader {

Status Module::run_stages(const AdmittedFile& file, const Policy& policy, Diagnostics& diagnostics)
{
    const auto header = HV_TRY(check_header(file, diagnostics));
    file_ = file.bytes();
    HV_TRY(read_sections(file_, header, diagnostics, sections_));
    symbols_ = HV_TRY(read_symbols(file_, sections_, diagnostics));
    relocations_ = HV_TRY(check_relocations(file_, sections_, symbols_, diagnostics));
    layout_ = HV_TRY(lay_out(sections_, diagnostics));
    HV_TRY(check_distances(file_, sections_, symbols_, relocations_, diagnostics));
    HV_TRY(judge_manifest(file_, sections_, symbols_, relocations_, policy, diagnostics, judged_));
    return judge_tables(file_, sections_, diagnostics, judged_);
}

Status Module::verify(std::span<const std::byte> file, const Policy& policy, Diagnostics& diagnostics,
                      std::span<const std::byte> signature)
{
    file_ = {};
    const AdmittedFile admitted{HV_TRY(admit(file, signature, policy.signatures, diagnostics))};
    sections_.sections.clear();
    sections_.symbols = sections_.manifest = sections_.host_table = 0;
    judged_ = {};
    if (auto status = run_stages(admitted, policy, diagnostics); !status) {
        file_ = {};
        return status;
    }
    hash_ = sha256(file);
    signature_ = admitted.state();
    signer_ = admitted.signer();
    return Done{};
}

ModuleFacts Module::facts() const
{
    HV_ASSERT(verified());
    const abi::Manifest& manifest = judged_.manifest;
    ModuleFacts facts{};
    std::memcpy(facts.name, manifest.name, sizeof facts.name);
    std::memcpy(facts.description, manifest.description, sizeof facts.description);
    facts.version_major = manifest.version_major;
    facts.version_minor = manifest.version_minor;
    facts.version_patch = manifest.version_patch;
    facts.abi_major = manifest.header.major;
    facts.abi_minor = manifest.header.minor;
    facts.flags = manifest.flags;
    facts.needs = manifest.needs;
    facts.hash = hash_;
    facts.file_bytes = file_.size();
    facts.layout = layout_;
    facts.signature = signature_;
    facts.signer = signer_;
    return facts;
}

template <typename T>
T Module::element(const ConstTable& table, std::uint32_t index) const
{
    return read_element<T>(file_, sections_, table, index);
}

abi::WindowRequest Module::window(std::uint32_t index) const
{
    return element<abi::WindowRequest>(judged_.windows, index);
}
abi::ParameterDescription Module::parameter(std::uint32_t index) const
{
    return element<abi::ParameterDescription>(judged_.parameters, index);
}
abi::CounterDescription Module::counter(std::uint32_t index) const
{
    return element<abi::CounterDescription>(judged_.counters, index);
}
abi::DeclaredLeaf Module::leaf(std::uint32_t index) const
{
    return element<abi::DeclaredLeaf>(judged_.leaves, index);
}
abi::DeclaredMsrRead Module::msr_read(std::uint32_t index) const
{
    return element<abi::DeclaredMsrRead>(judged_.msr_reads, index);
}
abi::DeclaredMsrWrite Module::msr_write(std::uint32_t index) const
{
    return element<abi::DeclaredMsrWrite>(judged_.msr_writes, index);
}
abi::ExitSubscription Module::exit(std::uint32_t index) const
{
    return element<abi::ExitSubscription>(judged_.exits, index);
}

bool Module::has_hook(std::uint32_t index) const
{
    return index < abi::hook_count && judged_.hook_targets[index].section != 0;
}

/// Both sides' knowledge: no more than the module has room for, and no more than we have.
void Module::fill_host_table(const Placement& placement, const abi::HostTable& host) const
{
    const std::uint64_t at{sections_.sections[judged_.host_table.section].image_offset +
                           judged_.host_table.offset};
    const auto bytes = std::min<std::uint64_t>(judged_.manifest.host_size, host.header.size);
    HV_ASSERT(host.header.size <= sizeof host && at + judged_.manifest.host_size <= placement.bytes.size());
    std::memset(placement.bytes.data() + at, 0, judged_.manifest.host_size);
    std::memcpy(placement.bytes.data() + at, &host, bytes);
    const auto size = static_cast<std::uint32_t>(bytes);
    std::memcpy(placement.bytes.data() + at + offsetof(abi::AbiHeader, size), &size, sizeof size);
}

abi::HookTable Module::placed_hooks(const Placement& placement) const
{
    abi::HookTable hooks{};
    hooks.header = {abi::hook_table_magic, abi::abi_major, abi::abi_minor, sizeof hooks, 0};
    for (std::uint32_t hook = 0; hook < abi::hook_count; ++hook) {
        const Location& function = judged_.hook_targets[hook];
        if (function.section == 0)
            continue;
        const std::uint64_t address{placement.address + sections_.sections[function.section].image_offset +
                                    function.offset};
        std::memcpy(reinterpret_cast<std::byte*>(&hooks) + abi::first_hook_offset + std::uint64_t{hook} * 8,
                    &address, sizeof address);
    }
    return hooks;
}

Expected<Image> Module::instantiate(ModuleMemory& memory, const abi::HostTable& host) const
{
    HV_ASSERT(verified());
    const Placement placement{HV_TRY(memory.reserve(layout_))};
    HV_ASSERT(placement.bytes.size() == layout_.bytes() && placement.address % maximum_alignment == 0);
    relocate(placement);
    fill_host_table(placement, host);
    if (const auto sealed = memory.seal(placement, layout_); !sealed) {
        memory.release(placement, layout_);
        return sealed.error();
    }
    return Image{placement, layout_, placed_hooks(placement)};
}

std::optional<SectionAt> Module::section(std::size_t index) const
{
    HV_ASSERT(verified());
    for (const Section& one : sections_.sections)
        if (one.place != SectionPlace::none && one.size != 0 && index-- == 0)
            return SectionAt{one.name, one.image_offset};
    return std::nullopt;
}

std::optional<SymbolAt> Module::symbolise(const Image& image, std::uint64_t address) const
{
    HV_ASSERT(verified());
    const std::uint64_t at{address - image.placement.address};
    if (address < image.placement.address || at >= image.layout.text.bytes)
        return std::nullopt;
    std::optional<SymbolAt> best;
    for (std::uint64_t index = 1; index < symbols_.count; ++index) {
        const Elf64_Sym symbol{symbol_at(ByteReader{file_}, symbols_, index)};
        if ((symbol.st_info & 0xf) != STT_FUNC || symbol.st_shndx >= sections_.sections.size() ||
            sections_.sections[symbol.st_shndx].place != SectionPlace::text)
            continue;
        const std::uint64_t start{sections_.sections[symbol.st_shndx].image_offset + symbol.st_value};
        if (start <= at && at - start < symbol.st_size && (!best || at - start < best->offset))
            best = SymbolAt{symbol_name(file_, symbols_, symbol), at - start};
    }
    return best;
}

Status examine(std::span<const std::byte> file, const Policy& policy, Diagnostics& diagnostics,
               ModuleFacts& facts, std::span<const std::byte> signature)
{
    Module module;
    HV_TRY(module.verify(file, policy, diagnostics, signature));
    facts = module.facts();
    return Done{};
}

}  // namespace hv::loader
