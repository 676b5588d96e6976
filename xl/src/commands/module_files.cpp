// SPDX-License-Identifier: MIT
#include "commands/module_files.hpp"

#include <filesystem>

#include "base/failure.hpp"

namespace hv::xl {

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

FileDescriptor open_signature(const std::string& module)
{
    const std::string path{signature_path(module)};
    if (!std::filesystem::exists(path))
        return {};
    return open_file(path);
}

std::vector<std::byte> read_small(const std::string& path)
{
    constexpr std::uint64_t most{4096};
    const FileDescriptor file{open_file(path)};
    return read_whole(file.number(), most, path);
}

}  // namespace hv::xl
