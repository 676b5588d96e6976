// SPDX-License-Identifier: MIT
//
// Ports by name.
#include "hypervisor/ports.hpp"

#include <fcntl.h>

#include <filesystem>
#include <fstream>

namespace hv::xl {
namespace {

FileDescriptor open_device(const std::string& path)
{
    return FileDescriptor{::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)};
}

}  // namespace

std::string console_port_name(std::uint32_t slot)
{
    return "graft.console." + std::to_string(slot);
}

FileDescriptor open_virtio_port(const std::string& name)
{
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{"/sys/class/virtio-ports", error}) {
        std::ifstream file{entry.path() / "name"};
        std::string its_name;
        if (std::getline(file, its_name) && its_name == name)
            return open_device("/dev/" + entry.path().filename().string());
    }
    return open_device("/dev/virtio-ports/" + name);
}

}  // namespace hv::xl
