// SPDX-License-Identifier: MIT
//
// Reads a cpio archive of the "newc" kind (magic 070701, and 070702 with its checksum), strictly: every
// member's header and extent is checked before it is told.  Specification: cpio(5), "New ASCII Format".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/base/expected.hpp"

namespace hv::core {

/// One member; name and data lie in the archive.
struct ArchiveMember {
    std::string_view name;  ///< without a leading "./" or "/"
    std::span<const std::byte> data;
    std::uint64_t data_offset;
    bool regular;  ///< a file; else a folder, a link or a device
};

/// Goes through an archive from its first member to its trailer.
class ArchiveReader {
public:
    explicit ArchiveReader(std::span<const std::byte> archive) : archive_{archive} {}

    /// The next member; not_found behind the last one (the trailer was seen); malformed for anything that is
    /// not an archive in every byte that was looked at, and for an archive that ends without a trailer.
    Expected<ArchiveMember> next();
    /// Where in the archive the reader stands, for messages.
    [[nodiscard]] std::uint64_t offset() const { return offset_; }

private:
    std::span<const std::byte> archive_;
    std::uint64_t offset_{};
};

}  // namespace hv::core
