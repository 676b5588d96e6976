// SPDX-License-Identifier: MIT
//
// create and validate.  A config is checked as a whole before anything that it names is touched; xld then
// gets the resolved config and the files, opened with the rights of who asked.
#include <algorithm>
#include <filesystem>

#include "base/file.hpp"
#include "client/console_client.hpp"
#include "commands/commands.hpp"
#include "config/domain_config.hpp"
#include "config/json_text.hpp"
#include "config/overrides.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

std::string folder_of(const std::string& file)
{
    return std::filesystem::absolute(file).parent_path().string();
}

Json read_config(const Arguments& arguments)
{
    const FileDescriptor file{open_file(arguments.file)};
    const auto bytes = read_whole(file.number(), longest_config, arguments.file);
    Json config = parse_json_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    for (const std::string& setting : arguments.settings)
        apply_override(config, setting);
    return config;
}

/// Names of the extensions that a domain could have: what xld says, or what lies in the folder where no xld
/// answers; nothing where nobody knows (a config can be checked on any machine).
std::optional<std::vector<std::string>> known_extensions(const Arguments& arguments,
                                                         const std::optional<Connection>& connection)
{
    std::vector<std::string> names;
    if (connection) {
        const Json known = Connection{arguments.socket}.call({{"verb", "ext-names"}});
        for (const auto& name : known)
            names.push_back(name.get<std::string>());
        return names;
    }
    std::error_code error;
    if (!std::filesystem::is_directory(arguments.extensions_folder, error))
        return std::nullopt;
    for (const auto& entry : std::filesystem::directory_iterator{arguments.extensions_folder, error})
        if (entry.path().extension() == ".hvx")
            names.push_back(entry.path().stem().string());
    return names;
}

/// The connection, or why there is none: that is told only once the config is known to be right.
struct Attempt {
    std::optional<Connection> connection;
    std::optional<Failure> failure;
};

Attempt try_to_connect(const Arguments& arguments)
{
    Attempt attempt;
    try {
        attempt.connection.emplace(arguments.socket);
    } catch (const Failure& failure) {
        attempt.failure = failure;
    }
    return attempt;
}

DomainConfig checked_config(const Arguments& arguments, const Attempt& attempt)
{
    const Json config = read_config(arguments);
    std::optional<std::vector<std::string>> known;
    try {
        known = known_extensions(arguments, attempt.connection);
    } catch (const Failure&) {
        // xld has no hypervisor: the config can be checked all the same, and creating it says what is wrong
    }
    return resolve_config(config, folder_of(arguments.file), known);
}

/// Both files, or every reason why not.
std::vector<FileDescriptor> open_boot_files(const BootConfig& boot)
{
    std::vector<FileDescriptor> files;
    std::vector<Problem> problems;
    const auto open = [&](const std::string& path, const char* pointer) {
        try {
            files.push_back(open_file(path, pointer));
        } catch (const Failure& failure) {
            problems.insert(problems.end(), failure.problems().begin(), failure.problems().end());
        }
    };
    open(boot.kernel, "/boot/kernel");
    if (!boot.ramdisk.empty())
        open(boot.ramdisk, "/boot/ramdisk");
    if (!problems.empty())
        throw Failure{ExitCode::not_found, problems};
    return files;
}

}  // namespace

ExitCode run_create(const Arguments& arguments)
{
    Attempt attempt{try_to_connect(arguments)};
    const DomainConfig config{checked_config(arguments, attempt)};
    if (arguments.dry_run) {
        print(json_text(config_json(config)));
        return ExitCode::done;
    }
    if (attempt.failure)
        throw *attempt.failure;
    const std::vector<FileDescriptor> files{open_boot_files(config.boot)};
    std::vector<int> descriptors;
    for (const FileDescriptor& file : files)
        descriptors.push_back(file.number());
    const Json request{{"verb", "create"},
                       {"config", config_json(config)},
                       {"paused", arguments.paused},
                       {"attach", arguments.console}};
    if (arguments.console)
        return run_console(*attempt.connection, request, descriptors);
    const Json result = attempt.connection->call(request, descriptors);
    if (arguments.json)
        print(json_text(result));
    else if (output_is_terminal())
        print("created " + config.name + " as domain " + result.at("domid").dump() + "\n");
    return ExitCode::done;
}

ExitCode run_validate(const Arguments& arguments)
{
    const DomainConfig config{checked_config(arguments, try_to_connect(arguments))};
    if (arguments.json)
        print(json_text({{"valid", true}, {"name", config.name}}));
    else
        print(arguments.file + ": valid\n");
    return ExitCode::done;
}

}  // namespace hv::xl
