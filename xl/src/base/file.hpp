// SPDX-License-Identifier: MIT
//
// File descriptors that close themselves, and files read whole.  Nothing here maps a file: one that shrinks
// while it is read is an error, not a signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace hv::xl {

/// An open file descriptor, closed at the end of its life; -1 is none.
class FileDescriptor {
public:
    FileDescriptor() = default;
    explicit FileDescriptor(int number) : number_{number} {}
    FileDescriptor(FileDescriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept
    {
        std::swap(number_, other.number_);
        return *this;
    }
    ~FileDescriptor();

    [[nodiscard]] int number() const { return number_; }
    [[nodiscard]] bool open() const { return number_ >= 0; }
    void close();

private:
    int number_{-1};
};

/// Opens a regular file for reading.  Failure: not_found, with the system's reason; anything but a regular
/// file is refused.
[[nodiscard]] FileDescriptor open_file(const std::string& path, const std::string& pointer = {});

/// The whole file, from its start whatever was read before.  Failure: not a regular file, more than `limit`
/// bytes, unreadable, or shorter than it said.  `what` names the file in the message.
[[nodiscard]] std::vector<std::byte> read_whole(int descriptor, std::uint64_t limit, const std::string& what);

/// The system's words for an errno.
[[nodiscard]] std::string system_reason(int error);

}  // namespace hv::xl
