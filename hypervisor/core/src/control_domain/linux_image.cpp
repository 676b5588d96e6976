// SPDX-License-Identifier: MIT
//
// The bzImage parser.  Specification: [BOOT-6.1 "The Real-Mode Kernel Header"].
#include "hv/core/control_domain/linux_image.hpp"

#include "hv/base/bytes.hpp"
#include "hv/base/checked.hpp"

namespace hv::core {
namespace {

constexpr std::uint16_t oldest_protocol{0x020c};    // the first with xloadflags
constexpr std::uint64_t page_alignment{4096};

Error refuse(TextWriter& why, Error error, std::string_view sentence)
{
    why.append(sentence);
    return error;
}

}  // namespace

Expected<LinuxImage> parse_linux_image(std::span<const std::byte> file, TextWriter& why)
{
    namespace at = protocol::linux_boot;
    const ByteReader reader{file};
    const auto flag = reader.read<std::uint16_t>(at::boot_flag);
    const auto magic = reader.read<std::uint32_t>(at::header);
    if (!flag || !magic || flag.value() != at::boot_flag_value || magic.value() != at::header_magic)
        return refuse(why, Error::malformed, "the kernel is not a bzImage: it has no setup header");
    const auto version = reader.read<std::uint16_t>(at::version);
    const auto init_size = reader.read<std::uint32_t>(at::init_size);
    const auto header_length = reader.read<std::uint8_t>(at::jump_length);
    if (!version || !init_size || !header_length)
        return refuse(why, Error::malformed, "the kernel file ends inside its setup header");
    if (version.value() < oldest_protocol)
        return refuse(why, Error::not_supported, "the kernel's boot protocol is older than 2.12");
    if ((HV_TRY(reader.read<std::uint16_t>(at::xloadflags)) & at::XLF_KERNEL_64) == 0)
        return refuse(why, Error::not_supported, "the kernel has no 64-bit entry point");

    const std::uint64_t header_end = at::header + std::uint64_t{header_length.value()};
    if (header_end < at::init_size + sizeof(std::uint32_t) || header_end > at::header_limit)
        return refuse(why, Error::malformed, "the length of the kernel's setup header makes no sense");
    const std::uint8_t sectors = HV_TRY(reader.read<std::uint8_t>(at::setup_sects));
    const std::uint64_t payload_begin = at::payload_begin(sectors);
    if (payload_begin >= file.size())
        return refuse(why, Error::malformed, "the kernel file ends before its protected-mode part");

    LinuxImage image{};
    image.header = HV_TRY(reader.slice(LinuxImage::header_begin, header_end - LinuxImage::header_begin));
    image.payload = HV_TRY(reader.slice(payload_begin, file.size() - payload_begin));
    image.preferred_address = HV_TRY(reader.read<std::uint64_t>(at::pref_address));
    image.alignment = HV_TRY(reader.read<std::uint32_t>(at::kernel_alignment));
    image.memory_size = init_size.value();
    image.command_line_limit = HV_TRY(reader.read<std::uint32_t>(at::cmdline_size));
    image.relocatable = HV_TRY(reader.read<std::uint8_t>(at::relocatable_kernel)) != 0;
    if (!is_power_of_two(image.alignment) || image.alignment < page_alignment)
        return refuse(why, Error::malformed, "the kernel's alignment is not a power of two of at least a page");
    if (image.memory_size < image.payload.size())
        return refuse(why, Error::malformed, "the kernel's init_size is smaller than the kernel");
    return image;
}

}  // namespace hv::core
