// SPDX-License-Identifier: MIT
//
// A module's files as the operator names them: NAME.hvx, and NAME.hvx.sig beside it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "commands/arguments.hpp"

namespace hv::xl {

/// Longer is no module: the loader takes less.
inline constexpr std::uint64_t largest_module{64ull << 20};

/// A path where it holds a slash or such a file is here; else the module of that name in the folder of modules.
[[nodiscard]] std::string module_path(const Arguments& arguments);
[[nodiscard]] inline std::string signature_path(const std::string& module) { return module + ".sig"; }
/// The signature beside a module; not open where there is none.
[[nodiscard]] FileDescriptor open_signature(const std::string& module);
/// The whole of a small file: a key or a signature.  Failure where it is not there or has more than 4096 bytes.
[[nodiscard]] std::vector<std::byte> read_small(const std::string& path);

}  // namespace hv::xl
