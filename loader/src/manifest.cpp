// SPDX-License-Identifier: MIT
//
// Stage 6: the manifest and the hook table, read as bytes and judged before one instruction of the module is
// run.  What is a pointer in memory is a relocation in the file: it is followed there, and must lead where
// its kind belongs: hooks into text, tables into read-only data, the service table into its own section.
#include "stages.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

namespace hv::loader {

namespace {

/// The tables as 0.1 had them: a module of any later version has at least these.
constexpr std::uint32_t manifest_bytes_0_1{216};
constexpr std::uint32_t hook_table_bytes_0_1{288};

class Judge {
public:
    Judge(File file, const SectionTable& sections, const SymbolTable& symbols, const Policy& policy,
          Diagnostics& diagnostics)
        : file_{file}, sections_{sections}, symbols_{symbols}, policy_{policy}, diagnostics_{diagnostics}
    {
    }

    Status manifest(JudgedManifest& judged);

private:
    Status header(const abi::AbiHeader& header, std::uint64_t where, std::uint32_t magic, std::uint64_t least,
                  std::uint64_t room, std::string_view what);
    Status name(const abi::Manifest& manifest, std::uint64_t where);
    Status numbers(const abi::Manifest& manifest, std::uint64_t where);
    Status needs(const abi::Manifest& manifest, std::uint64_t where);
    Status state_block(const abi::StateBlock& block, std::uint32_t limit, std::uint64_t where,
                       std::string_view what);
    Status host_table(const Location& manifest, JudgedManifest& judged);
    Status hook_table(const Location& manifest, JudgedManifest& judged);
    Status consistent(const JudgedManifest& judged, std::uint64_t where);

    /// Where the pointer at this place leads, or nothing for a null one.
    Expected<std::optional<Location>> pointer(const Location& at, std::string_view what);
    /// What the module and we both know of a table that grows at its end; zero, what only we know.
    template <typename Table>
    Expected<Table> known_part(std::uint64_t where, std::uint32_t bytes) const;
    Expected<ConstTable> table(const Location& pointer_at, std::uint32_t count, std::uint32_t limit,
                               std::uint64_t element_bytes, std::string_view what);
    /// No relocation changes these bytes but pointers at the offsets that `allowed` names.
    template <typename Allowed>
    Status untouched(const Location& at, std::uint64_t bytes, std::string_view what, Allowed allowed);

    [[nodiscard]] std::uint64_t in_file(const Location& at) const
    {
        return sections_.sections[at.section].offset + at.offset;
    }
    template <typename... Parts>
    Error no(Error error, std::uint64_t where, const Parts&... parts)
    {
        return refused(diagnostics_, error, where, parts...);
    }

    File file_;
    const SectionTable& sections_;
    const SymbolTable& symbols_;
    const Policy& policy_;
    Diagnostics& diagnostics_;
};

Status Judge::header(const abi::AbiHeader& header, std::uint64_t where, std::uint32_t magic,
                     std::uint64_t least, std::uint64_t room, std::string_view what)
{
    if (header.magic != magic)
        return no(Error::malformed, where, "the ", what, "'s magic is ", Hex{header.magic, 8}, ", not ",
                  Hex{magic, 8});
    if (header.major != abi::abi_major)
        return no(Error::abi_mismatch, where + 4, "the ", what, " is of extension ABI ", header.major, ".",
                  header.minor, ", this hypervisor has ", abi::abi_major, ".", abi::abi_minor);
    if (header.minor == 0)
        return no(Error::abi_mismatch, where + 6, "the ", what, " is of extension ABI ", header.major,
                  ".0, which never existed");
    if (header.size < least)
        return no(Error::malformed, where + 8, "the ", what, " says that it has ", header.size,
                  " bytes, ABI 0.1 has ", least);
    if (header.size > room)
        return no(Error::malformed, where + 8, "the ", what, " says that it has ", header.size,
                  " bytes, its section has ", room);
    if (header.reserved != 0)
        return no(Error::malformed, where + 12, "the ", what, "'s reserved bytes are not zero");
    return Done{};
}

template <typename Table>
Expected<Table> Judge::known_part(std::uint64_t where, std::uint32_t bytes) const
{
    Table table{};
    const auto known = HV_TRY(ByteReader{file_}.slice(where, std::min<std::uint64_t>(bytes, sizeof table)));
    std::memcpy(&table, known.data(), known.size());
    return table;
}

template <typename Allowed>
Status Judge::untouched(const Location& at, std::uint64_t bytes, std::string_view what, Allowed allowed)
{
    Status status{Done{}};
    for_each_relocation_of(file_, sections_, symbols_, at.section, [&](const Relocation& relocation) {
        const std::uint64_t start{relocation.at.offset};
        const std::uint64_t end{start + relocation_width(relocation.type)};
        if (end <= at.offset || start >= at.offset + bytes)
            return true;
        if (start >= at.offset && relocation.type == R_X86_64_64 && allowed(start - at.offset))
            return true;
        status = no(Error::malformed, relocation.file_offset, "a relocation changes ", what,
                    " where it has no pointer");
        return false;
    });
    return status;
}

Expected<std::optional<Location>> Judge::pointer(const Location& at, std::string_view what)
{
    std::optional<Location> found;
    Status status{Done{}};
    for_each_relocation_of(file_, sections_, symbols_, at.section, [&](const Relocation& relocation) {
        if (relocation.at.offset != at.offset)
            return true;
        const std::uint64_t offset{relocation.target.offset + static_cast<std::uint64_t>(relocation.addend)};
        if (found)
            status =
                no(Error::malformed, relocation.file_offset, "the pointer to ", what, " is relocated twice");
        else if (offset > sections_.sections[relocation.target.section].size)
            status = no(Error::malformed, relocation.file_offset, "the pointer to ", what,
                        " leads outside its section ",
                        ShownName{sections_.sections[relocation.target.section].name});
        else
            found = Location{relocation.target.section, offset};
        return status.has_value();
    });
    HV_TRY(status);
    if (!found && HV_TRY(ByteReader{file_}.read<std::uint64_t>(in_file(at))) != 0)
        return no(Error::malformed, in_file(at), "the pointer to ", what,
                  " is a number, not an address of the module");
    return found;
}

Expected<ConstTable> Judge::table(const Location& pointer_at, std::uint32_t count, std::uint32_t limit,
                                  std::uint64_t element_bytes, std::string_view what)
{
    if (count > limit)
        return no(Error::limit_reached, in_file(pointer_at), "the module has ", count, " ", what,
                  ", the limit is ", limit);
    const auto at = HV_TRY(pointer(pointer_at, what));
    if (at.has_value() != (count != 0))
        return no(Error::malformed, in_file(pointer_at), "the module says ", count, " ", what, ", and ",
                  at ? "has a" : "has no", " table of them");
    if (!at)
        return ConstTable{};
    const Section& section = sections_.sections[at->section];
    if (section.place != SectionPlace::rodata || section.type == SHT_NOBITS)
        return no(Error::malformed, in_file(pointer_at), "the table of ", what, " lies in section ",
                  ShownName{section.name}, ", which is not read-only data");
    if (section.size - at->offset < count * element_bytes)
        return no(Error::malformed, in_file(pointer_at), "the table of ", count, " ", what,
                  " lies partly outside section ", ShownName{section.name});
    HV_TRY(untouched(*at, count * element_bytes, what, [](std::uint64_t) { return false; }));
    return ConstTable{*at, count};
}

Status Judge::name(const abi::Manifest& manifest, std::uint64_t where)
{
    std::size_t length{0};
    for (; length < sizeof manifest.name && manifest.name[length] != '\0'; ++length) {
        const char character{manifest.name[length]};
        const bool letter = character >= 'a' && character <= 'z';
        const bool other = (character >= '0' && character <= '9') || character == '-';
        if (!letter && (!other || length == 0))
            return no(Error::invalid_argument, where, "the module's name ",
                      ShownName{std::string_view{manifest.name, sizeof manifest.name}.substr(0, length + 1)},
                      " is not of a-z, 0-9 and '-', beginning with a letter");
    }
    if (length == 0 || length == sizeof manifest.name)
        return no(Error::invalid_argument, where,
                  length == 0 ? "the module has no name" : "the module's name does not end");
    return Done{};
}

Status Judge::state_block(const abi::StateBlock& block, std::uint32_t limit, std::uint64_t where,
                          std::string_view what)
{
    if (block.size > limit)
        return no(Error::limit_reached, where, "the ", what, " state block has ", block.size,
                  " bytes, the limit is ", limit);
    if (block.size % 8 != 0)
        return no(Error::malformed, where, "the ", what, " state block has ", block.size,
                  " bytes, not a multiple of 8");
    return Done{};
}

Status Judge::numbers(const abi::Manifest& manifest, std::uint64_t where)
{
    if (manifest.reserved != 0)
        return no(Error::malformed, where + offsetof(abi::Manifest, reserved),
                  "the manifest's reserved bytes are not zero");
    if (manifest.reserved_2 != 0)
        return no(Error::malformed, where + offsetof(abi::Manifest, reserved_2),
                  "the manifest's reserved bytes are not zero");
    if (manifest.reserved_3 != 0)
        return no(Error::malformed, where + offsetof(abi::Manifest, reserved_3),
                  "the manifest's reserved bytes are not zero");
    if ((manifest.flags & ~abi::manifest_known_flags) != 0)
        return no(Error::not_supported, where + offsetof(abi::Manifest, flags),
                  "the manifest has unknown flags ", Hex{manifest.flags & ~abi::manifest_known_flags});
    if (manifest.hypercall_pages > maximum_hypercall_pages)
        return no(Error::limit_reached, where + offsetof(abi::Manifest, hypercall_pages), "the module wants ",
                  manifest.hypercall_pages, " hypercall pages, the limit is ", maximum_hypercall_pages);
    if (std::string_view{manifest.description, sizeof manifest.description}.find('\0') ==
        std::string_view::npos)
        return no(Error::malformed, where + offsetof(abi::Manifest, description),
                  "the module's description does not end");
    HV_TRY(state_block(manifest.domain_state, maximum_domain_state,
                       where + offsetof(abi::Manifest, domain_state), "domain's"));
    return state_block(manifest.vcpu_state, maximum_vcpu_state, where + offsetof(abi::Manifest, vcpu_state),
                       "VCPU's");
}

Status Judge::needs(const abi::Manifest& manifest, std::uint64_t where)
{
    const std::uint64_t missing{manifest.needs & ~(policy_.provided_needs & abi::known_needs)};
    if (missing == 0)
        return Done{};
    const auto bit = static_cast<unsigned>(__builtin_ctzll(missing));
    if (need_name(bit).empty())
        return no(Error::not_supported, where + offsetof(abi::Manifest, needs), "the module, of extension ABI ",
                  manifest.header.major, ".", manifest.header.minor, ", needs capability ", bit,
                  ", which this hypervisor, of ABI ", abi::abi_major, ".", abi::abi_minor, ", does not know");
    return no(Error::not_supported, where + offsetof(abi::Manifest, needs), "the module needs capability '",
              need_name(bit), "', which this hypervisor does not provide");
}

Status Judge::host_table(const Location& manifest, JudgedManifest& judged)
{
    const Location at{manifest.section, offsetof(abi::Manifest, host)};
    const std::uint32_t bytes{judged.manifest.host_size};
    const auto target = HV_TRY(pointer(at, "the service table"));
    if (!target || sections_.host_table == 0 || target->section != sections_.host_table)
        return no(Error::malformed, in_file(at),
                  "the service table does not lie in section '" HV_HOST_TABLE_SECTION "'");
    const Section& section = sections_.sections[sections_.host_table];
    if (section.place != SectionPlace::rodata)
        return no(Error::malformed, section.header,
                  "section '" HV_HOST_TABLE_SECTION "' is not data of the image");
    if (bytes < sizeof(abi::AbiHeader) || bytes > maximum_host_table_bytes ||
        section.size - target->offset < bytes)
        return no(Error::malformed, in_file({manifest.section, offsetof(abi::Manifest, host_size)}),
                  "the service table of ", bytes,
                  " bytes does not fit into section '" HV_HOST_TABLE_SECTION "' of ", section.size);
    if (target->offset % alignof(abi::HostTable) != 0 || section.alignment < alignof(abi::HostTable))
        return no(Error::malformed, section.header, "the service table is not aligned to 8 bytes");
    if (section.type != SHT_NOBITS)
        HV_TRY(untouched(*target, bytes, "the service table", [](std::uint64_t) { return false; }));
    judged.host_table = *target;
    return Done{};
}

Status Judge::hook_table(const Location& manifest, JudgedManifest& judged)
{
    const Location at{manifest.section, offsetof(abi::Manifest, hooks)};
    const auto target = HV_TRY(pointer(at, "the hook table"));
    if (!target)
        return no(Error::malformed, in_file(at), "the manifest names no hook table");
    const Section& section = sections_.sections[target->section];
    if (section.place != SectionPlace::rodata || section.type == SHT_NOBITS)
        return no(Error::malformed, in_file(at), "the hook table lies in section ", ShownName{section.name},
                  ", which is not read-only data");
    const std::uint64_t where{in_file(*target)};
    if (section.size - target->offset < hook_table_bytes_0_1)
        return no(Error::malformed, in_file(at), "the hook table lies partly outside section ",
                  ShownName{section.name});
    const auto own_header = HV_TRY(ByteReader{file_}.read<abi::AbiHeader>(where));
    HV_TRY(header(own_header, where, abi::hook_table_magic, hook_table_bytes_0_1,
                  section.size - target->offset, "hook table"));
    const auto hooks = HV_TRY(known_part<abi::HookTable>(where, own_header.size));
    const std::uint64_t known{std::min<std::uint64_t>(own_header.size, sizeof hooks)};
    HV_TRY(untouched(*target, known, "the hook table", [](std::uint64_t offset) {
        return offset >= abi::first_hook_offset && offset < offsetof(abi::HookTable, leaf_count) &&
               offset % 8 == 0;
    }));
    for (std::uint32_t hook = 0; hook < abi::hook_count; ++hook) {
        const Location pointer_at{target->section,
                                  target->offset + abi::first_hook_offset + std::uint64_t{hook} * 8};
        const auto function = HV_TRY(pointer(pointer_at, hook_name(hook)));
        if (!function)
            continue;
        const Section& text = sections_.sections[function->section];
        if (text.place != SectionPlace::text || function->offset >= text.size)
            return no(Error::malformed, in_file(pointer_at), "the hook ", hook_name(hook),
                      " is not a function of the module: it lies in section ", ShownName{text.name});
        judged.hook_targets[hook] = *function;
    }
    const auto member = [&](std::uint64_t offset) {
        return Location{target->section, target->offset + offset};
    };
    judged.leaves = HV_TRY(table(member(offsetof(abi::HookTable, leaves)), hooks.leaf_count,
                                 maximum_declared, sizeof(abi::DeclaredLeaf), "declared leaves"));
    judged.msr_reads = HV_TRY(table(member(offsetof(abi::HookTable, msr_reads)), hooks.msr_read_count,
                                    maximum_declared, sizeof(abi::DeclaredMsrRead), "declared MSR reads"));
    judged.msr_writes = HV_TRY(table(member(offsetof(abi::HookTable, msr_writes)), hooks.msr_write_count,
                                     maximum_declared, sizeof(abi::DeclaredMsrWrite), "declared MSR writes"));
    judged.exits = HV_TRY(table(member(offsetof(abi::HookTable, exits)), hooks.exit_count, maximum_exits,
                                sizeof(abi::ExitSubscription), "exit subscriptions"));
    return Done{};
}

/// What one part says and another must answer for.
Status Judge::consistent(const JudgedManifest& judged, std::uint64_t where)
{
    constexpr auto index_of = [](std::size_t offset) { return (offset - abi::first_hook_offset) / 8; };
    const auto has = [&](std::size_t offset) { return judged.hook_targets[index_of(offset)].section != 0; };
    if (judged.manifest.hypercall_pages != 0 && !has(offsetof(abi::HookTable, hypercall_page)))
        return no(Error::malformed, where + offsetof(abi::Manifest, hypercall_pages),
                  "the module wants hypercall pages and has no hook hypercall_page to fill them");
    if (judged.parameters.count != 0 && !has(offsetof(abi::HookTable, parameter_set)))
        return no(Error::malformed, where + offsetof(abi::Manifest, parameter_count),
                  "the module describes parameters and has no hook parameter_set to take them");
    if (judged.exits.count != 0 && (judged.manifest.needs & abi::need_exits) == 0)
        return no(Error::permission_denied, where + offsetof(abi::Manifest, needs),
                  "the module subscribes to exits and does not ask for capability 'exits'");
    if (judged.exits.count != 0 && !has(offsetof(abi::HookTable, exit)))
        return no(Error::malformed, where + offsetof(abi::Manifest, needs),
                  "the module subscribes to exits and has no hook exit to see them");
    return Done{};
}

Status Judge::manifest(JudgedManifest& judged)
{
    const Section& section = sections_.sections[sections_.manifest];
    const Location at{sections_.manifest, 0};
    if (section.size < manifest_bytes_0_1)
        return no(Error::malformed, section.header, "section '" HV_MANIFEST_SECTION "' has ", section.size,
                  " bytes, a manifest of ABI 0.1 has ", manifest_bytes_0_1);
    const auto own_header = HV_TRY(ByteReader{file_}.read<abi::AbiHeader>(section.offset));
    HV_TRY(header(own_header, section.offset, abi::manifest_magic, manifest_bytes_0_1, section.size, "manifest"));
    judged.manifest = HV_TRY(known_part<abi::Manifest>(section.offset, own_header.size));
    const abi::Manifest& manifest = judged.manifest;
    const std::uint64_t known{std::min<std::uint64_t>(own_header.size, sizeof manifest)};
    HV_TRY(untouched(at, known, "the manifest", [](std::uint64_t offset) {
        return (offset >= offsetof(abi::Manifest, hooks) && offset <= offsetof(abi::Manifest, parameters) &&
                offset % 8 == 0) ||
               offset == offsetof(abi::Manifest, counters);
    }));
    HV_TRY(name(manifest, section.offset + offsetof(abi::Manifest, name)));
    HV_TRY(numbers(manifest, section.offset));
    HV_TRY(needs(manifest, section.offset));
    HV_TRY(host_table(at, judged));
    HV_TRY(hook_table(at, judged));
    judged.windows = HV_TRY(table({at.section, offsetof(abi::Manifest, windows)}, manifest.window_count,
                                  maximum_windows, sizeof(abi::WindowRequest), "windows"));
    judged.parameters =
        HV_TRY(table({at.section, offsetof(abi::Manifest, parameters)}, manifest.parameter_count,
                     maximum_parameters, sizeof(abi::ParameterDescription), "parameters"));
    judged.counters = HV_TRY(table({at.section, offsetof(abi::Manifest, counters)}, manifest.counter_count,
                                   maximum_counters, sizeof(abi::CounterDescription), "counters"));
    judged.manifest.hooks = nullptr;
    judged.manifest.host = nullptr;
    judged.manifest.windows = nullptr;
    judged.manifest.parameters = nullptr;
    judged.manifest.counters = nullptr;
    return consistent(judged, section.offset);
}

}  // namespace

Status judge_manifest(File file, const SectionTable& sections, const SymbolTable& symbols,
                      const RelocationTable&, const Policy& policy, Diagnostics& diagnostics,
                      JudgedManifest& judged)
{
    return Judge{file, sections, symbols, policy, diagnostics}.manifest(judged);
}

}  // namespace hv::loader
