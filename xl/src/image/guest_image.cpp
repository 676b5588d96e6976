// SPDX-License-Identifier: MIT
//
// Puts the parts where they go: first what the kernel's file fixes, then the ramdisk as high as it may be,
// then our own structures in low memory.
#include "image/guest_image.hpp"

#include "acpi/tables.hpp"
#include "base/failure.hpp"
#include "hv/base/checked.hpp"
#include "image/guest_layout.hpp"
#include "image/start_registers.hpp"
#include "image/start_structures.hpp"

namespace hv::xl {
namespace {

constexpr std::uint64_t rsdp_address{0xe'0000};
constexpr std::uint64_t facs_address{0xe'0040};
constexpr std::uint64_t four_gib{1ull << 32};
/// What a multiboot kernel's command line and PVH's may be; Linux says its own.
constexpr std::size_t longest_cmdline{2047};
constexpr std::uint32_t multiboot_magic{0x2bad'b002};

std::uint64_t acpi_bytes(std::uint32_t vcpus)
{
    return *checked_align_up<std::uint64_t>(acpi_image(vcpus, {}).tables.size(), page_size);
}

class Builder {
public:
    explicit Builder(const ImageRequest& request)
        : request_{request}, layout_{request.memory_bytes, acpi_bytes(request.vcpus)}
    {
    }

    GuestImage build()
    {
        add_acpi();
        switch (request_.kernel.kind) {
        case KernelKind::linux_64:
        case KernelKind::linux_32: start_linux(); break;
        case KernelKind::pvh: start_pvh(); break;
        case KernelKind::multiboot: start_multiboot(); break;
        }
        return std::move(image_);
    }

private:
    void add(std::uint64_t address, std::span<const std::byte> bytes)
    {
        if (!bytes.empty())
            image_.parts.emplace_back(address, bytes);
    }
    void add(std::uint64_t address, std::vector<std::byte> bytes)
    {
        if (!bytes.empty())
            image_.parts.emplace_back(address, std::move(bytes));
    }

    void add_acpi()
    {
        AcpiImage acpi{acpi_image(request_.vcpus, {rsdp_address, facs_address, layout_.acpi_address()})};
        add(rsdp_address, std::move(acpi.rsdp));
        add(facs_address, std::move(acpi.facs));
        add(layout_.acpi_address(), std::move(acpi.tables));
        addresses_.rsdp = rsdp_address;
    }

    void add_segments()
    {
        for (const KernelSegment& segment : request_.kernel.segments) {
            layout_.claim(segment.address, segment.memory_bytes, "the kernel");
            add(segment.address, segment.bytes);
        }
    }

    void add_ramdisk(std::uint64_t limit)
    {
        if (request_.ramdisk.empty())
            return;
        addresses_.ramdisk = layout_.place_high(request_.ramdisk.size(), page_size, limit, "the ramdisk");
        addresses_.ramdisk_bytes = request_.ramdisk.size();
        add(addresses_.ramdisk, request_.ramdisk);
    }

    void check_cmdline(std::size_t longest) const
    {
        if (request_.cmdline.size() > longest)
            throw Failure{ExitCode::bad_text,
                          {"this kernel takes a command line of at most " + std::to_string(longest) +
                               " bytes, this has " + std::to_string(request_.cmdline.size()),
                           "/boot/cmdline",
                           {}}};
    }

    void add_cmdline(std::size_t longest)
    {
        check_cmdline(longest);
        ByteBuffer text;
        text.put_text(request_.cmdline);
        text.put<std::uint8_t>(0);
        addresses_.cmdline = layout_.place_low(text.size(), 16, "the command line");
        add(addresses_.cmdline, text.take());
    }

    std::uint64_t add_descriptors(bool long_mode)
    {
        ByteBuffer table{start_descriptors(long_mode)};
        const std::uint64_t address{layout_.place_low(table.size(), 16, "the descriptor table")};
        add(address, table.take());
        return address;
    }

    /// Where Linux wants to be: loaded lower, a relocatable kernel would move itself there; loaded higher
    /// gains nothing where everything below is free [BOOT-6.1 "pref_address"].
    void load_linux()
    {
        const LinuxSetup& setup = request_.kernel.linux_setup;
        addresses_.kernel = setup.preferred_address;
        layout_.claim(addresses_.kernel, setup.memory_bytes, "the kernel");
        add(addresses_.kernel, setup.payload);
    }

    void start_linux()
    {
        const LinuxSetup& setup = request_.kernel.linux_setup;
        const bool long_mode{request_.kernel.kind == KernelKind::linux_64};
        load_linux();
        add_ramdisk(setup.ramdisk_limit);
        add_cmdline(setup.command_line_bytes);
        const std::uint64_t zero_page_at{layout_.place_low(zero_page_bytes, page_size, "the zero page")};
        const std::uint64_t gdt{add_descriptors(long_mode)};
        const std::uint64_t entry{addresses_.kernel + request_.kernel.entry};
        if (long_mode) {
            const std::uint64_t tables{layout_.place_low(identity_table_bytes, page_size, "page tables")};
            add(tables, identity_tables(tables).take());
            image_.registers = long_mode_registers(entry, gdt, tables);
        } else {
            image_.registers = protected_mode_registers(entry, gdt);
        }
        image_.registers.general[RSI] = zero_page_at;
        add(zero_page_at, zero_page(setup, addresses_, layout_.memory_map()).take());
    }

    void start_pvh()
    {
        add_segments();
        add_ramdisk(four_gib);
        add_cmdline(longest_cmdline);
        const auto map = layout_.memory_map();
        const std::size_t bytes{pvh_start_info(0, addresses_, map).size()};
        const std::uint64_t info_at{layout_.place_low(bytes, 16, "the start info")};
        add(info_at, pvh_start_info(info_at, addresses_, map).take());
        image_.registers = protected_mode_registers(request_.kernel.entry, add_descriptors(false));
        image_.registers.general[RBX] = info_at;
    }

    void start_multiboot()
    {
        add_segments();
        add_ramdisk(four_gib);
        check_cmdline(longest_cmdline);
        const std::string cmdline{request_.kernel_name + (request_.cmdline.empty() ? "" : " ") +
                                  request_.cmdline};
        const auto map = layout_.memory_map();
        const auto encode = [&](std::uint64_t at) {
            return multiboot_information(at, addresses_, map, cmdline, request_.ramdisk_name);
        };
        const std::uint64_t info_at{layout_.place_low(encode(0).size(), 16, "the multiboot information")};
        add(info_at, encode(info_at).take());
        image_.registers = protected_mode_registers(request_.kernel.entry, add_descriptors(false));
        image_.registers.general[RAX] = multiboot_magic;
        image_.registers.general[RBX] = info_at;
    }

    const ImageRequest& request_;
    GuestLayout layout_;
    StartAddresses addresses_;
    GuestImage image_;
};

}  // namespace

GuestImage build_guest_image(const ImageRequest& request)
{
    return Builder{request}.build();
}

}  // namespace hv::xl
