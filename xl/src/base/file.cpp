// SPDX-License-Identifier: MIT
//
// Files read whole, by pread.
#include "base/file.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failure.hpp"

namespace hv::xl {

FileDescriptor::~FileDescriptor()
{
    close();
}

void FileDescriptor::close()
{
    if (number_ >= 0)
        ::close(std::exchange(number_, -1));
}

std::string system_reason(int error)
{
    return std::strerror(error);
}

FileDescriptor open_file(const std::string& path, const std::string& pointer)
{
    // Non-blocking, so that a FIFO cannot hold xl before it is found not to be a file.
    FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (!file.open())
        throw Failure{ExitCode::not_found,
                      {"cannot open " + path + ": " + system_reason(errno), pointer, {}}};
    struct stat status{};
    if (::fstat(file.number(), &status) != 0 || !S_ISREG(status.st_mode))
        throw Failure{ExitCode::not_found, {path + " is not a regular file", pointer, {}}};
    return file;
}

std::vector<std::byte> read_whole(int descriptor, std::uint64_t limit, const std::string& what)
{
    struct stat status{};
    if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode))
        throw Failure{ExitCode::failed, what + " is not a regular file"};
    if (static_cast<std::uint64_t>(status.st_size) > limit)
        throw Failure{ExitCode::failed, what + " has " + std::to_string(status.st_size) + " bytes; at most " +
                                            std::to_string(limit) + " are taken"};
    std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
    std::size_t done{0};
    while (done < bytes.size()) {
        const ssize_t count{::pread(descriptor, bytes.data() + done, bytes.size() - done,
                                    static_cast<off_t>(done))};
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            throw Failure{ExitCode::failed, "cannot read " + what + ": " + system_reason(errno)};
        if (count == 0)
            throw Failure{ExitCode::failed, what + " became shorter while it was read"};
        done += static_cast<std::size_t>(count);
    }
    return bytes;
}

}  // namespace hv::xl
