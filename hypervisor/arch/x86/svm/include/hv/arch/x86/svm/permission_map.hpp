// SPDX-License-Identifier: MIT
//
// The bitmaps that say which MSRs and ports a guest reaches without an exit.  Specification: [APM2-3.41
// §15.10, §15.11].
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hv/x86/msr.hpp"

namespace hv::svm {

/// Two bits per MSR, read and write; a set bit is an exit.  MSRs outside the three mapped ranges always exit.
struct alignas(4096) MsrPermissionMap {
    std::array<std::uint8_t, 8192> bytes;

    /// Where the read bit of an MSR is, as a bit number; the write bit is the next.
    static constexpr std::optional<std::uint32_t> bit_of(std::uint32_t msr)
    {
        constexpr std::uint32_t range_size{0x2000};
        constexpr std::uint32_t range_bits{2 * range_size};
        constexpr std::array<std::uint32_t, 3> ranges{0, 0xc000'0000, 0xc001'0000};
        for (std::uint32_t range = 0; range < ranges.size(); ++range)
            if (msr - ranges[range] < range_size)
                return range * range_bits + 2 * (msr - ranges[range]);
        return std::nullopt;
    }
    void fill(bool exits) { bytes.fill(exits ? 0xff : 0x00); }
    void set(std::uint32_t msr, bool read_exits, bool write_exits);
    [[nodiscard]] bool read_exits(std::uint32_t msr) const { return bit(msr, 0); }
    [[nodiscard]] bool write_exits(std::uint32_t msr) const { return bit(msr, 1); }

private:
    [[nodiscard]] bool bit(std::uint32_t msr, std::uint32_t which) const
    {
        const auto position = bit_of(msr);
        return !position || (bytes[(*position + which) / 8] >> ((*position + which) % 8) & 1) != 0;
    }
};
static_assert(sizeof(MsrPermissionMap) == 8192);
static_assert(MsrPermissionMap::bit_of(0xc000'0080) == 0x800 * 8 + 0x100);
static_assert(MsrPermissionMap::bit_of(0xc001'0000) == 0x1000 * 8);
static_assert(!MsrPermissionMap::bit_of(0x4000'0000) && !MsrPermissionMap::bit_of(0x2000));

/// One bit per port; a set bit is an exit.  The third page holds the bits of an access that runs past port
/// 0xffff.
struct alignas(4096) PortPermissionMap {
    std::array<std::uint8_t, 3 * 4096> bytes;

    void fill(bool exits) { bytes.fill(exits ? 0xff : 0x00); }
    /// `count` ports from `first` on exit from now on.
    void intercept(std::uint32_t first, std::uint32_t count);
    [[nodiscard]] bool exits(std::uint32_t port) const { return (bytes[port / 8] >> (port % 8) & 1) != 0; }
};
static_assert(sizeof(PortPermissionMap) == 12288);

/// What a guest has for itself.  All but the first, of which it only reads, are held in the VMCB and exchanged by VMLOAD and
/// VMSAVE, so that its accesses touch nothing of the host's.
inline constexpr std::array passed_guest_msrs{
    x86::Msr::TSC,     x86::Msr::STAR,    x86::Msr::LSTAR,       x86::Msr::CSTAR,
    x86::Msr::SFMASK,  x86::Msr::FS_BASE, x86::Msr::GS_BASE,     x86::Msr::KERNEL_GS_BASE,
    x86::Msr::SYSENTER_CS, x86::Msr::SYSENTER_ESP, x86::Msr::SYSENTER_EIP};

/// A guest's: everything exits but what is in passed_guest_msrs.
void fill_guest_maps(MsrPermissionMap& msrs, PortPermissionMap& ports);
/// The control domain's: nothing exits but what would take the machine out of the hypervisor's hands.
void fill_control_maps(MsrPermissionMap& msrs, PortPermissionMap& ports);

}  // namespace hv::svm
