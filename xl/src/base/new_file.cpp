// SPDX-License-Identifier: MIT
#include "base/new_file.hpp"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

#include "base/failure.hpp"
#include "base/file.hpp"

namespace hv::xl {
namespace {

[[noreturn]] void cannot_write(const std::string& path, int error)
{
    throw Failure{ExitCode::failed, "cannot write " + path + ": " + system_reason(error)};
}

void write_all(const FileDescriptor& file, std::span<const std::byte> bytes)
{
    while (!bytes.empty()) {
        const ssize_t count{::write(file.number(), bytes.data(), bytes.size())};
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            throw errno;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    if (::fsync(file.number()) != 0 && errno != EINVAL)
        throw errno;
}

}  // namespace

void create_file(const std::string& path, std::span<const std::byte> bytes, unsigned mode)
{
    const FileDescriptor file{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
    if (!file.open())
        cannot_write(path, errno);
    try {
        write_all(file, bytes);
    } catch (int error) {
        ::unlink(path.c_str());
        cannot_write(path, error);
    }
}

void replace_file(const std::string& path, std::span<const std::byte> bytes, unsigned mode)
{
    const std::string part{path + ".part." + std::to_string(::getpid())};
    create_file(part, bytes, mode);
    if (std::rename(part.c_str(), path.c_str()) != 0) {
        const int error{errno};
        ::unlink(part.c_str());
        cannot_write(path, error);
    }
}

}  // namespace hv::xl
