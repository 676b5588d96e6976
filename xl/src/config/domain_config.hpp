// SPDX-License-Identifier: MIT
//
// A domain config, checked and resolved: every default filled in, every size in bytes, every path absolute.
// From here on nobody looks at JSON.  The rules that the schema can say are in configs/schema; the rest is
// here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/cpuid_masks.hpp"
#include "config/json.hpp"
#include "config/uuid.hpp"

namespace hv::xl {

/// Limits that the schema's description states and its pattern cannot hold.
inline constexpr std::uint64_t least_memory{2ull << 20};
inline constexpr std::uint64_t most_memory{1ull << 40};
/// No config is longer; a file that is, is refused before it is read.
inline constexpr std::uint64_t longest_config{1ull << 20};

struct VcpuConfig {
    std::uint32_t count{1};
    std::vector<std::uint32_t> affinity;  ///< processors by number; empty is every guest processor
    std::uint32_t weight{256};
    std::uint32_t cap{};  ///< percent of one processor; 0 is no limit
};

struct BootConfig {
    std::string kernel;
    std::string ramdisk;  ///< empty: none
    std::string cmdline;
};

struct ExtensionConfig {
    std::string name;
    /// As written: text, integers of 64 bits with sign, truth values, lists of these, and objects of them all.
    Json params = Json::object();
    std::string placement{default_placement};
    std::string on_fault{default_on_fault};

    static constexpr const char* default_placement{"isolated"};
    static constexpr const char* default_on_fault{"restart"};
    /// As the control protocol numbers them.
    [[nodiscard]] std::uint32_t placement_number() const;
    [[nodiscard]] std::uint32_t on_fault_number() const;
};

/// What is done when a domain ends.
enum class EndAction : std::uint8_t { destroy, restart, preserve };
/// Why a domain ended, as the keys of "on".
enum class EndReason : std::uint8_t { poweroff, reboot, crash, halt };

struct EndActions {
    EndAction poweroff{EndAction::destroy};
    EndAction reboot{EndAction::restart};
    EndAction crash{EndAction::destroy};
    EndAction halt{EndAction::destroy};

    [[nodiscard]] EndAction of(EndReason reason) const;
};

struct DomainConfig {
    std::string name;
    Uuid uuid{};
    VcpuConfig vcpus;
    std::uint64_t memory_bytes{};
    BootConfig boot;
    Json written_cpuid = Json::object();
    std::vector<CpuidMask> cpuid;
    std::vector<ExtensionConfig> extensions;
    EndActions on;
};

/// Checks and resolves.  Relative paths are taken from `folder`.  Where `known_extensions` is given, a name
/// that is not among them is an error with the nearest one.  Failure (bad_text) holds every problem, not just
/// the first.
[[nodiscard]] DomainConfig
resolve_config(const Json& config, const std::string& folder,
               const std::optional<std::vector<std::string>>& known_extensions = {});

/// The config as JSON with nothing left to default; resolve_config gives the same config back for it.
[[nodiscard]] Json config_json(const DomainConfig& config);

[[nodiscard]] std::string_view end_action_name(EndAction action);
[[nodiscard]] std::string_view end_reason_name(EndReason reason);

}  // namespace hv::xl
