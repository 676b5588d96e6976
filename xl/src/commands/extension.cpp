// SPDX-License-Identifier: MIT
//
// The verbs about extension modules.  ext-verify needs no hypervisor: it runs the loader's own checks on a
// file.
#include <array>

#include "base/file.hpp"
#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "hv/loader/load.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

constexpr std::uint64_t largest_module{64ull << 20};

/// A path where it holds a slash or such a file is here; else the module of that name in the folder of
/// modules.
std::string module_path(const Arguments& arguments)
{
    if (arguments.file.find('/') != std::string::npos)
        return arguments.file;
    try {
        static_cast<void>(open_file(arguments.file));
        return arguments.file;
    } catch (const Failure&) {
        return arguments.extensions_folder + "/" + arguments.file + ".hvx";
    }
}

std::string version_text(const loader::ModuleFacts& facts)
{
    return std::to_string(facts.version_major) + "." + std::to_string(facts.version_minor) + "." +
           std::to_string(facts.version_patch);
}

template <std::size_t Size>
std::string text_of_field(const char (&field)[Size])
{
    std::size_t length{0};
    while (length < Size && field[length] != '\0')
        ++length;
    return {field, length};
}

Json facts_json(const loader::ModuleFacts& facts, const std::string& path)
{
    const auto hash = loader::hexadecimal(facts.hash);
    return {{"name", text_of_field(facts.name)},
            {"description", text_of_field(facts.description)},
            {"version", version_text(facts)},
            {"abi", std::to_string(facts.abi_major) + "." + std::to_string(facts.abi_minor)},
            {"hash", std::string{hash.begin(), hash.end()}},
            {"path", path},
            {"fileBytes", facts.file_bytes},
            {"needs", facts.needs},
            {"valid", true}};
}

}  // namespace

ExitCode run_ext_load(const Arguments& arguments)
{
    const std::string path{module_path(arguments)};
    const FileDescriptor file{open_file(path)};
    const Json result =
        Connection{arguments.socket}.call({{"verb", "ext-load"}, {"path", path}}, {file.number()});
    if (arguments.json)
        print(json_text(result));
    else if (output_is_terminal())
        print("loaded " + result.at("name").get<std::string>() + " " +
              result.at("version").get<std::string>() + "\n");
    return ExitCode::done;
}

ExitCode run_ext_unload(const Arguments& arguments)
{
    const Json result = Connection{arguments.socket}.call({{"verb", "ext-unload"}, {"name", arguments.name}});
    if (arguments.json)
        print(json_text(result));
    return ExitCode::done;
}

ExitCode run_ext_list(const Arguments& arguments)
{
    const Json all = Connection{arguments.socket}.call({{"verb", "ext-list"}});
    if (arguments.json) {
        print(json_text(all));
        return ExitCode::done;
    }
    Table table{{"NAME", "VERSION", "ABI", "BINDINGS", "HASH", "PATH"}};
    for (const auto& one : all)
        table.add({one.at("name").get<std::string>(), one.at("version").get<std::string>(),
                   one.at("abi").get<std::string>(), one.at("bindings").dump(),
                   one.at("hash").get<std::string>().substr(0, 12), one.at("path").get<std::string>()});
    print(table.text(output_is_terminal()));
    return ExitCode::done;
}

ExitCode run_ext_verify(const Arguments& arguments)
{
    const std::string path{module_path(arguments)};
    const FileDescriptor file{open_file(path)};
    const auto bytes = read_whole(file.number(), largest_module, path);
    loader::KeptDiagnostics diagnostics;
    loader::ModuleFacts facts{};
    if (!loader::examine(bytes, {}, diagnostics, facts))
        throw Failure{ExitCode::failed, path + ": " + std::string{diagnostics.text()}};
    const Json json = facts_json(facts, path);
    if (arguments.json)
        print(json_text(json));
    else
        print(path + ": valid: " + json.at("name").get<std::string>() + " " + version_text(facts) + ", ABI " +
              json.at("abi").get<std::string>() + ", SHA-256 " + json.at("hash").get<std::string>() + "\n");
    return ExitCode::done;
}

}  // namespace hv::xl
