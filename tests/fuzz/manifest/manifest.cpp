// SPDX-License-Identifier: MIT
//
// A good module whose manifest, hook table, arrays and their relocations say anything: what loader.cpp's mutations of whole
// files seldom reach, for a file must be sound in its outer form first.  The input is a list of changes: a byte for the
// place, two for the offset in it, one for the length, then the bytes.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../loader/module_promises.hpp"
#include "stages.hpp"

namespace {

using namespace hv;
using namespace hv::loader;
using fuzz::require;

struct Place {
    std::uint64_t offset;
    std::uint64_t bytes;
};

/// The module that is changed, and the places in it that are.
class Carrier {
public:
    Carrier()
    {
        std::ifstream stream{CARRIER, std::ios::binary};
        for (std::istreambuf_iterator<char> at{stream}, end; at != end; ++at)
            bytes_.push_back(static_cast<std::byte>(*at));
        KeptDiagnostics diagnostics;
        const auto admitted = admit(bytes_, {}, {}, diagnostics);
        require(admitted.has_value());
        const auto header = check_header(admitted.value(), diagnostics);
        require(header.has_value() && read_sections(bytes_, header.value(), diagnostics, sections_));
        symbols_ = read_symbols(bytes_, sections_, diagnostics).value();
        require(lay_out(sections_, diagnostics).has_value());
        JudgedManifest judged;
        if (!stages(bytes_, diagnostics, judged)) {
            std::fprintf(stderr, "the carrier is refused: %s\n", std::string{diagnostics.text()}.c_str());
            std::abort();
        }
        find_places(judged);
    }
    /// The stages that read what is changed.
    Status judge(File file, JudgedManifest& judged) const
    {
        KeptDiagnostics diagnostics;
        const Status status = stages(file, diagnostics, judged);
        require(status || !diagnostics.text().empty());
        return status;
    }
    [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
    [[nodiscard]] const std::vector<Place>& places() const { return places_; }

private:
    Status stages(File file, Diagnostics& diagnostics, JudgedManifest& judged) const
    {
        const auto relocations = HV_TRY(check_relocations(file, sections_, symbols_, diagnostics));
        HV_TRY(check_distances(file, sections_, symbols_, relocations, diagnostics));
        HV_TRY(judge_manifest(file, sections_, symbols_, relocations, {}, diagnostics, judged));
        return judge_tables(file, sections_, diagnostics, judged);
    }
    void find_places(const JudgedManifest& judged)
    {
        const Section& manifest = sections_.sections[sections_.manifest];
        places_.push_back({manifest.offset, sizeof(abi::Manifest)});
        for_each_relocation_of(bytes_, sections_, symbols_, sections_.manifest, [&](const Relocation& relocation) {
            places_.push_back({relocation.file_offset, sizeof(Elf64_Rela)});
            if (relocation.at.offset == offsetof(abi::Manifest, hooks))
                add_hook_table(relocation);
            return true;
        });
        add(judged.windows, sizeof(abi::WindowRequest));
        add(judged.parameters, sizeof(abi::ParameterDescription));
        add(judged.leaves, sizeof(abi::DeclaredLeaf));
        add(judged.msr_reads, sizeof(abi::DeclaredMsrRead));
        add(judged.msr_writes, sizeof(abi::DeclaredMsrWrite));
        add(judged.exits, sizeof(abi::ExitSubscription));
    }
    void add_hook_table(const Relocation& pointer)
    {
        const std::uint64_t start = pointer.target.offset + static_cast<std::uint64_t>(pointer.addend);
        const Section& section = sections_.sections[pointer.target.section];
        places_.push_back({section.offset + start, sizeof(abi::HookTable)});
        for_each_relocation_of(bytes_, sections_, symbols_, pointer.target.section, [&](const Relocation& relocation) {
            if (relocation.at.offset - start < sizeof(abi::HookTable))
                places_.push_back({relocation.file_offset, sizeof(Elf64_Rela)});
            return true;
        });
    }
    void add(const ConstTable& table, std::uint64_t element)
    {
        if (table.count != 0)
            places_.push_back({sections_.sections[table.at.section].offset + table.at.offset, table.count * element});
    }

    std::vector<std::byte> bytes_;
    SectionTable sections_;
    SymbolTable symbols_{};
    std::vector<Place> places_;
};

/// One change; returns what is left of the input.
std::span<const std::uint8_t> change(std::span<std::byte> file, const std::vector<Place>& places,
                                     std::span<const std::uint8_t> input)
{
    const Place& place = places[input[0] % places.size()];
    const std::uint64_t offset = (input[1] | std::uint64_t{input[2]} << 8) % place.bytes;
    std::uint64_t length = std::uint64_t{input[3]} % 32 + 1;
    input = input.subspan(4);
    length = std::min<std::uint64_t>({length, input.size(), place.bytes - offset});
    if (length != 0)
        __builtin_memcpy(file.data() + place.offset + offset, input.data(), length);
    return input.subspan(length);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static const Carrier carrier;
    static std::vector<std::byte> file;
    file = carrier.bytes();
    for (std::span<const std::uint8_t> input{data, size}; input.size() > 4;)
        input = change(file, carrier.places(), input);
    JudgedManifest judged;
    if (carrier.judge(file, judged))
        fuzz::judge_module(file);
    return 0;
}
