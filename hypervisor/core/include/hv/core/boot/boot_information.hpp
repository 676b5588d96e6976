// SPDX-License-Identifier: MIT
//
// What the boot loader handed over, whichever it was: one structure, made by the parsers of the PVH start
// info and of the multiboot2 information, and copied so that nothing of the loader's memory is looked at
// again but the modules.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hv/base/address.hpp"
#include "hv/base/expected.hpp"
#include "hv/base/static_vector.hpp"
#include "hv/core/boot/memory_map.hpp"
#include "hv/core/control_domain/acpi_edit.hpp"  // FirmwareMemory

namespace hv::core {

/// Text of bounded length that owns its bytes.
template <std::size_t Capacity>
class FixedText {
public:
    /// False when it does not fit; the text is then unchanged.
    [[nodiscard]] bool assign(std::string_view text)
    {
        if (text.size() > Capacity)
            return false;
        for (size_ = 0; size_ < text.size(); ++size_)
            bytes_[size_] = text[size_];
        return true;
    }
    [[nodiscard]] std::string_view view() const { return {bytes_.data(), size_}; }

private:
    std::array<char, Capacity> bytes_{};
    std::size_t size_{};
};

inline constexpr std::size_t maximum_command_line{2048};
inline constexpr std::size_t maximum_raw_modules{64};
inline constexpr std::size_t maximum_boot_modules{128};
inline constexpr std::size_t rsdp_bytes{36};

/// Which protocol the loader spoke.
enum class BootProtocol : std::uint8_t {
    pvh,
    multiboot2
};

/// A module as the loader put it into memory, before anybody looked into it.
struct RawModule {
    HostRange range;
    FixedText<maximum_command_line> text;  ///< what the loader was told about it; empty with PVH
};

/// What a module is for.
enum class BootModuleKind : std::uint8_t {
    control_kernel,
    control_initramfs,
    extension,
    key,
    signature
};

/// One file that the operator gave: a module of multiboot2, or a member of the PVH archive.
struct BootModule {
    BootModuleKind kind;
    FixedText<64> name;  ///< of an extension (without .hvx), its signature or a key; else empty
    HostRange range;
};

struct BootInformation {
    BootProtocol protocol{};
    FixedText<maximum_command_line> command_line;
    MemoryMap memory;
    StaticVector<RawModule, maximum_raw_modules> raw_modules;
    /// The root pointer as the loader handed it over, or none: then the firmware's area has to be searched.
    HostPhysical rsdp;
    bool has_rsdp{};

    /// Filled by interpret_modules().
    StaticVector<BootModule, maximum_boot_modules> modules;
    FixedText<maximum_command_line> control_command_line;

    /// The first module of a kind, or nullptr.
    [[nodiscard]] const BootModule* find(BootModuleKind kind) const
    {
        for (const BootModule& module : modules)
            if (module.kind == kind)
                return &module;
        return nullptr;
    }
    [[nodiscard]] const BootModule* find(BootModuleKind kind, std::string_view name) const
    {
        for (const BootModule& module : modules)
            if (module.kind == kind && module.name.view() == name)
                return &module;
        return nullptr;
    }
};

}  // namespace hv::core
