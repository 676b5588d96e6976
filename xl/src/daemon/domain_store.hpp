// SPDX-License-Identifier: MIT
//
// What xld knows of its domains and the hypervisor does not: their configs, and which files they were made of.
// One file each in a folder that the machine's restart empties, so that another xld goes on where this one
// stopped.  Written before a domain first runs, removed when it is gone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "config/domain_config.hpp"
#include "hv/protocol/control.hpp"

namespace hv::xl {

/// A file as it was when it was opened.  The path is the kernel's word for an open descriptor, and what is
/// opened by it later counts only if it is the very same file, unchanged.
struct FileIdentity {
    std::string path;
    std::uint64_t device{};
    std::uint64_t inode{};
    std::uint64_t bytes{};
    std::int64_t modified_ns{};

    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Of an open file; nothing where the system does not say.
[[nodiscard]] std::optional<FileIdentity> identity_of(const FileDescriptor& file);
/// Opens the file again.  Failure (not_found) where it is gone or another one by now.
[[nodiscard]] FileDescriptor open_again(const FileIdentity& identity);

struct StoredDomain {
    protocol::DomainId id{};
    DomainConfig config;
    std::optional<FileIdentity> kernel;
    std::optional<FileIdentity> ramdisk;
    bool restart_on_poweroff{};
};

class DomainStore {
public:
    /// An empty folder name keeps nothing.
    explicit DomainStore(std::string folder) : folder_{std::move(folder)} {}

    /// Writes or replaces the domain's file.  Throws Failure where that cannot be done.
    void keep(const StoredDomain& domain) const;
    /// Nothing where there is no file, or none that this xld understands (which is logged).
    [[nodiscard]] std::optional<StoredDomain> find(protocol::DomainId id) const;
    void forget(protocol::DomainId id) const;
    /// Removes the files of all other domains.
    void forget_all_but(const std::vector<protocol::DomainId>& ids) const;

private:
    [[nodiscard]] std::string path_of(protocol::DomainId id) const;

    std::string folder_;
};

}  // namespace hv::xl
