// SPDX-License-Identifier: MIT
//
// What the boot modules are for: see interpret_modules in loader_information.hpp.
#include "hv/core/boot/loader_information.hpp"
#include "hv/core/boot/newc_archive.hpp"

namespace hv::core {

namespace {

constexpr std::string_view extension_folder{"extensions/"};
constexpr std::string_view extension_suffix{".hvx"};
constexpr std::string_view signature_suffix{".hvx.sig"};
constexpr std::string_view key_folder{"keys/"};

std::string_view trimmed(std::string_view text)
{
    constexpr std::string_view blanks{" \t\r\n"};
    const std::size_t first = text.find_first_not_of(blanks);
    return first == text.npos ? std::string_view{}
                              : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

Status fail(TextWriter& why, std::string_view what, std::string_view which)
{
    say(why, what, " \"", which, "\"");
    return Error::malformed;
}

std::string_view word_of(BootModuleKind kind)
{
    switch (kind) {
    case BootModuleKind::key: return "key";
    case BootModuleKind::signature: return "signature";
    case BootModuleKind::control_kernel: return "kernel";
    case BootModuleKind::control_initramfs: return "initramfs";
    case BootModuleKind::extension: break;
    }
    return "extension";
}

Status add(BootInformation& information, BootModuleKind kind, std::string_view name, HostRange range,
           TextWriter& why)
{
    const bool only_one = kind == BootModuleKind::control_kernel || kind == BootModuleKind::control_initramfs;
    if (only_one && information.find(kind) != nullptr)
        return fail(why, "there are two boot modules for dom0's", word_of(kind));
    if (!only_one && information.find(kind, name) != nullptr)
        return fail(why, "two boot modules have the name", name);
    BootModule module{.kind = kind, .name = {}, .range = range};
    if (!only_one && name.empty())
        return fail(why, "a boot module has no name after", word_of(kind));
    if (!module.name.assign(name))
        return fail(why, "the name of a boot module is too long:", name);
    if (!information.modules.push_back(module))
        return fail(why, "there are too many boot modules at", name);
    return Done{};
}

/// A file in the archive's folder of extensions: NAME.hvx or NAME.hvx.sig.
Status take_extension_file(std::string_view name, HostRange range, BootInformation& information, TextWriter& why)
{
    const bool signature = name.ends_with(signature_suffix);
    name.remove_suffix(signature ? signature_suffix.size() : extension_suffix.size());
    return add(information, signature ? BootModuleKind::signature : BootModuleKind::extension, name, range, why);
}

/// A member of the PVH archive.  Folders are passed over, and so is any file in a folder of ours that has no
/// purpose there.
Status take_member(const ArchiveMember& member, HostPhysical archive, BootInformation& information,
                   TextWriter& why)
{
    if (!member.regular)
        return Done{};
    const HostRange range{archive.plus(member.data_offset), member.data.size()};
    if (member.name == "kernel")
        return add(information, BootModuleKind::control_kernel, {}, range, why);
    if (member.name == "initramfs")
        return add(information, BootModuleKind::control_initramfs, {}, range, why);
    if (member.name == "cmdline") {
        const std::string_view text{reinterpret_cast<const char*>(member.data.data()), member.data.size()};
        if (text.find('\0') != text.npos || !information.control_command_line.assign(trimmed(text)))
            return fail(why, "the boot archive's file is too long or not a text:", "cmdline");
        return Done{};
    }
    if (member.name.starts_with(extension_folder) &&
        (member.name.ends_with(extension_suffix) || member.name.ends_with(signature_suffix)))
        return take_extension_file(member.name.substr(extension_folder.size()), range, information, why);
    if (member.name.starts_with(key_folder))
        return add(information, BootModuleKind::key, member.name.substr(key_folder.size()), range, why);
    return fail(why, "the boot archive has a file that is nothing to Graft:", member.name);
}

Status interpret_archive(const FirmwareMemory& memory, BootInformation& information, TextWriter& why)
{
    if (information.raw_modules.empty())
        return Done{};
    if (information.raw_modules.size() != 1)
        return fail(why, "PVH boot takes one module, a cpio archive, and got", "more");
    const HostRange range = information.raw_modules[0].range;
    const auto bytes = memory.at(range.begin, range.bytes);
    if (bytes.size() != range.bytes)
        return fail(why, "the boot archive is out of reach:", "initrd");
    ArchiveReader reader{bytes};
    for (;;) {
        const auto member = reader.next();
        if (!member && member.error() == Error::not_found)
            return Done{};
        if (!member) {
            say(why, "the boot module is not a cpio archive in the newc format (at byte ", reader.offset(),
                ")");
            return member.error();
        }
        HV_TRY(take_member(member.value(), range.begin, information, why));
    }
}

Status take_module(const RawModule& module, BootInformation& information, TextWriter& why)
{
    const std::string_view text = trimmed(module.text.view());
    const std::size_t end = text.find_first_of(" \t");
    const std::string_view word = text.substr(0, end);
    const std::string_view rest = end == text.npos ? std::string_view{} : trimmed(text.substr(end));
    if (word == "dom0-kernel") {
        const bool fits = information.control_command_line.assign(rest);
        return fits ? add(information, BootModuleKind::control_kernel, {}, module.range, why)
                    : fail(why, "dom0's command line is too long:", rest.substr(0, 40));
    }
    if (word == "dom0-initramfs" && rest.empty())
        return add(information, BootModuleKind::control_initramfs, {}, module.range, why);
    if (word == "extension")
        return add(information, BootModuleKind::extension, rest, module.range, why);
    if (word == "key")
        return add(information, BootModuleKind::key, rest, module.range, why);
    if (word == "signature")
        return add(information, BootModuleKind::signature, rest, module.range, why);
    return fail(why, "a boot module says neither dom0-kernel, dom0-initramfs, extension, signature nor key but",
                text);
}

/// A signature of nothing is a mistake: the module that it should vouch for would be taken for unsigned.
Status match_signatures(const BootInformation& information, TextWriter& why)
{
    for (const BootModule& module : information.modules)
        if (module.kind == BootModuleKind::signature &&
            information.find(BootModuleKind::extension, module.name.view()) == nullptr)
            return fail(why, "there is a signature, and no extension, with the name", module.name.view());
    return Done{};
}

}  // namespace

Status interpret_modules(const FirmwareMemory& memory, BootInformation& information, TextWriter& why)
{
    if (information.protocol == BootProtocol::pvh)
        HV_TRY(interpret_archive(memory, information, why));
    else
        for (const RawModule& module : information.raw_modules)
            HV_TRY(take_module(module, information, why));
    return match_signatures(information, why);
}

}  // namespace hv::core
