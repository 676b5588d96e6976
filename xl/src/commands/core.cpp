// SPDX-License-Identifier: MIT
//
// ext-report --core: fetches the memory of the instance that failed, piece by piece, writes it as a core file, and says how a
// debugger gets the module's names with it.
#include <charconv>
#include <memory>

#include "base/new_file.hpp"
#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "commands/module_files.hpp"
#include "hv/loader/load.hpp"
#include "output/core_file.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

constexpr std::size_t most_segments{64};
constexpr std::uint64_t most_bytes{64u << 20};
constexpr unsigned file_mode{0600};

[[noreturn]] void wrong_answer()
{
    throw Failure{ExitCode::failed, "what xld says of the instance's memory makes no sense"};
}

std::uint64_t hex_value(std::string_view text)
{
    std::uint64_t value{};
    if (text.starts_with("0x"))
        text.remove_prefix(2);
    if (std::from_chars(text.data(), text.data() + text.size(), value, 16).ptr != text.data() + text.size())
        wrong_answer();
    return value;
}

void append_hex(std::vector<std::byte>& bytes, const std::string& digits)
{
    for (std::size_t at = 0; at + 1 < digits.size(); at += 2)
        bytes.push_back(static_cast<std::byte>(hex_value(std::string_view{digits}.substr(at, 2))));
}

/// Another instance may fail meanwhile: then what was fetched does not belong together.
CoreSegment fetch(Connection& connection, const Arguments& arguments, std::size_t index, std::uint64_t number, std::size_t& count)
{
    CoreSegment segment;
    for (;;) {
        const Json piece = connection.call({{"verb", "ext-core"},
                                            {"domain", arguments.domain},
                                            {"segment", index},
                                            {"offset", segment.bytes.size()}});
        if (piece.at("number").get<std::uint64_t>() != number)
            throw Failure{ExitCode::failed, "the memory that is kept is of failure " + piece.at("number").dump() + ", not of " +
                                                std::to_string(number) + ": ask again"};
        segment.address = piece.at("address").get<std::uint64_t>();
        segment.writable = piece.at("writable").get<bool>();
        segment.executable = piece.at("executable").get<bool>();
        count = piece.at("segments").get<std::size_t>();
        const std::uint64_t before{segment.bytes.size()};
        append_hex(segment.bytes, piece.at("data").get<std::string>());
        const auto whole = piece.at("bytes").get<std::uint64_t>();
        if (segment.bytes.size() == whole)
            return segment;
        if (segment.bytes.size() == before || segment.bytes.size() > whole || whole > most_bytes || count > most_segments)
            wrong_answer();
    }
}

std::optional<CoreRegisters> registers_of(const Json& report)
{
    if (report.at("registers").is_null())
        return std::nullopt;
    static constexpr const char* names[]{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    const auto read = [&](const char* name) { return hex_value(report.at("registers").at(name).get<std::string>()); };
    CoreRegisters registers;
    for (std::size_t index = 0; index < std::size(names); ++index)
        registers.general[index] = read(names[index]);
    registers.rip = read("rip");
    registers.rflags = read("rflags");
    registers.vector = report.at("fault").at("vector").get<std::uint32_t>();
    return registers;
}

/// The file that the module was loaded from, if it is still that; else empty.
std::string file_of(Connection& connection, const Json& report)
{
    for (const Json& module : connection.call({{"verb", "ext-list"}}))
        if (module.at("name") == report.at("module") && module.at("hash") == report.at("hash"))
            return module.at("path").get<std::string>();
    return {};
}

/// What gdb is to be told of the sections; .text alone where the file cannot be read any more.
std::string symbols_command(const std::string& path, const Json& report)
{
    const std::uint64_t image{hex_value(report.at("image").get<std::string>())};
    const auto at = [&](std::string_view name, std::uint64_t offset) {
        char text[24];
        std::snprintf(text, sizeof text, " 0x%llx", static_cast<unsigned long long>(image + offset));
        return " -s " + std::string{name} + text;
    };
    std::string sections;
    try {
        const FileDescriptor file{open_file(path)};
        const auto bytes = read_whole(file.number(), largest_module, path);
        const auto module = std::make_unique<loader::Module>();
        loader::IgnoredDiagnostics diagnostics;
        if (module->verify(bytes, {}, diagnostics))
            for (std::size_t index = 0; const auto section = module->section(index); ++index)
                sections += at(section->name, section->image_offset);
    } catch (const Failure&) {
        // the file is gone: its text's place is known anyway
    }
    const std::string name{path.empty() ? report.at("module").get<std::string>() + ".hvx" : path};
    return "add-symbol-file " + name + (sections.empty() ? at(".text", 0) : sections);
}

}  // namespace

void write_core(const Arguments& arguments, const Json& report)
{
    Connection connection{arguments.socket};
    const auto number = report.at("number").get<std::uint64_t>();
    std::vector<CoreSegment> segments;
    for (std::size_t count = 1; segments.size() < count;)
        segments.push_back(fetch(connection, arguments, segments.size(), number, count));
    replace_file(arguments.core, core_file(segments, registers_of(report)), file_mode);
    if (!arguments.json)
        print("core:       gdb -ex 'core-file " + arguments.core + "' -ex '" +
              symbols_command(file_of(connection, report), report) + "'\n");
}

}  // namespace hv::xl
