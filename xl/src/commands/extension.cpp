// SPDX-License-Identifier: MIT
//
// The verbs about extension modules that the hypervisor has.
#include "client/connection.hpp"
#include "commands/commands.hpp"
#include "commands/module_files.hpp"
#include "output/output.hpp"

namespace hv::xl {
ExitCode run_ext_load(const Arguments& arguments)
{
    const std::string path{module_path(arguments)};
    const FileDescriptor file{open_file(path)};
    const FileDescriptor signature{open_signature(path)};
    std::vector<int> files{file.number()};
    if (signature.open())
        files.push_back(signature.number());
    const Json result = Connection{arguments.socket}.call({{"verb", "ext-load"}, {"path", path}}, files);
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
    const Json all =
        Connection{arguments.socket}.call({{"verb", "ext-list"}, {"long", arguments.long_form}});
    if (arguments.json || arguments.long_form) {
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

}  // namespace hv::xl
