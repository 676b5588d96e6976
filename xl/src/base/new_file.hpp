// SPDX-License-Identifier: MIT
//
// Files that xl writes: keys and signatures.  Each is whole or not there.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace hv::xl {

/// A file that must not be there yet, with this mode.  Failure (failed): it is there, or cannot be written.
void create_file(const std::string& path, std::span<const std::byte> bytes, unsigned mode);
/// Takes the place of an older file of that name, if there is one.
void replace_file(const std::string& path, std::span<const std::byte> bytes, unsigned mode);

}  // namespace hv::xl
