// SPDX-License-Identifier: MIT
//
// JSON files of root alone: parameters of extensions may be secrets.
#include "daemon/domain_store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <span>
#include <system_error>

#include "base/new_file.hpp"
#include "config/json_text.hpp"
#include "daemon/log.hpp"

namespace hv::xl {
namespace {

constexpr std::string_view suffix{".json"};
constexpr unsigned file_mode{0600};
constexpr std::uint64_t longest_file{2 * longest_config};

Json identity_json(const std::optional<FileIdentity>& identity)
{
    if (!identity)
        return nullptr;
    return {{"path", identity->path},
            {"device", identity->device},
            {"inode", identity->inode},
            {"bytes", identity->bytes},
            {"modifiedNs", identity->modified_ns}};
}

std::optional<FileIdentity> identity_from(const Json& json)
{
    if (json.is_null())
        return std::nullopt;
    return FileIdentity{json.at("path").get<std::string>(), json.at("device").get<std::uint64_t>(),
                        json.at("inode").get<std::uint64_t>(), json.at("bytes").get<std::uint64_t>(),
                        json.at("modifiedNs").get<std::int64_t>()};
}

Json domain_json(const StoredDomain& domain)
{
    return {{"domid", domain.id},
            {"config", config_json(domain.config)},
            {"kernel", identity_json(domain.kernel)},
            {"ramdisk", identity_json(domain.ramdisk)},
            {"restartOnPoweroff", domain.restart_on_poweroff}};
}

StoredDomain domain_from(const Json& json)
{
    return {json.at("domid").get<protocol::DomainId>(), resolve_config(json.at("config"), "/"),
            identity_from(json.at("kernel")), identity_from(json.at("ramdisk")),
            json.at("restartOnPoweroff").get<bool>()};
}

/// Names that keep() gives: a number and the suffix, and what follows it in a file that was not finished.
bool is_ours(const std::string& name)
{
    const auto digits = name.find_first_not_of("0123456789");
    return digits != 0 && digits != std::string::npos && name.compare(digits, suffix.size(), suffix) == 0;
}

}  // namespace

std::optional<FileIdentity> identity_of(const FileDescriptor& file)
{
    struct stat status{};
    std::error_code error;
    if (!file.open() || ::fstat(file.number(), &status) != 0)
        return std::nullopt;
    const auto path =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file.number()), error).string();
    if (error)
        return std::nullopt;
    return FileIdentity{path, status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
                        status.st_mtim.tv_sec * std::int64_t{1'000'000'000} + status.st_mtim.tv_nsec};
}

FileDescriptor open_again(const FileIdentity& identity)
{
    FileDescriptor file{open_file(identity.path)};
    if (identity_of(file) != identity)
        throw Failure{ExitCode::not_found, identity.path + " is not the file that it was"};
    return file;
}

std::string DomainStore::path_of(protocol::DomainId id) const
{
    return folder_ + "/" + std::to_string(id) + std::string{suffix};
}

void DomainStore::keep(const StoredDomain& domain) const
{
    if (folder_.empty())
        return;
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    const std::string text{domain_json(domain).dump(1) + "\n"};
    replace_file(path_of(domain.id), std::as_bytes(std::span{text}), file_mode);
}

std::optional<StoredDomain> DomainStore::find(protocol::DomainId id) const
{
    const std::string path{path_of(id)};
    if (folder_.empty() || !std::filesystem::exists(path))
        return std::nullopt;
    try {
        const FileDescriptor file{open_file(path)};
        const auto bytes = read_whole(file.number(), longest_file, path);
        return domain_from(parse_json_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    } catch (const std::exception& problem) {
        log_error(path + " cannot be used: " + problem.what());
        return std::nullopt;
    }
}

void DomainStore::forget(protocol::DomainId id) const
{
    if (!folder_.empty())
        std::remove(path_of(id).c_str());
}

void DomainStore::forget_all_but(const std::vector<protocol::DomainId>& ids) const
{
    std::vector<std::string> known;
    for (const protocol::DomainId id : ids)
        known.push_back(std::to_string(id) + std::string{suffix});
    std::error_code error;
    std::vector<std::filesystem::path> stale;
    for (const auto& entry : std::filesystem::directory_iterator{folder_, error}) {
        const std::string name{entry.path().filename().string()};
        if (is_ours(name) && std::find(known.begin(), known.end(), name) == known.end())
            stale.push_back(entry.path());
    }
    for (const auto& path : stale)
        std::filesystem::remove(path, error);
}

}  // namespace hv::xl
