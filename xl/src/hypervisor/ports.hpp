// SPDX-License-Identifier: MIT
//
// Finds and opens named virtio-console ports.  udev's links in /dev/virtio-ports are used where they are;
// where no udev runs, the kernel's own list says which device has the name.
#pragma once

#include <functional>
#include <string>

#include "base/file.hpp"

namespace hv::xl {

inline constexpr char control_port_name[]{"graft.control"};
[[nodiscard]] std::string console_port_name(std::uint32_t slot);

/// Opens a port by name, non-blocking; a closed descriptor where it is not there (yet).  Tests give their
/// own.
using PortOpener = std::function<FileDescriptor(const std::string& name)>;

[[nodiscard]] FileDescriptor open_virtio_port(const std::string& name);

}  // namespace hv::xl
