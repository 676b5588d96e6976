// SPDX-License-Identifier: MIT
//
// console_io, to and from the domain's own console.  A long write is done in parts: between two of them the
// call gives way.
#include "call.hpp"

namespace xen {
namespace {

constexpr std::uint64_t part_bytes{256};
constexpr std::uint64_t parts_per_slice{16};

Outcome write(const Call& call, std::uint64_t count, std::uint64_t buffer)
{
    for (std::uint64_t part = 0; call.progress() < count; ++part) {
        if (part == parts_per_slice)
            return gave_way;
        std::array<char, part_bytes> text;
        const std::uint64_t length{std::min(part_bytes, count - call.progress())};
        if (!call.read(buffer + call.progress(), text.data(), length))
            return fails(XEN_EFAULT);
        std::uint64_t written{};
        if (!ext::check(ext::host().console_write(call.vcpu().domain(), text.data(), length, &written)))
            return fails(XEN_EINVAL);
        call.progress() += length;
    }
    return returns(0);
}

/// The number of bytes read, at most a part; 0 where nothing waits.
Outcome read(const Call& call, std::uint64_t count, std::uint64_t buffer)
{
    std::array<char, part_bytes> text;
    std::uint64_t length{};
    if (!ext::check(ext::host().console_read(call.vcpu().domain(), text.data(), std::min(part_bytes, count),
                                             &length)))
        return fails(XEN_EINVAL);
    if (!call.write(buffer, text.data(), length))
        return fails(XEN_EFAULT);
    return returns(static_cast<std::int64_t>(length));
}

}  // namespace

Outcome do_console_io(const Call& call)
{
    const auto count = static_cast<std::uint32_t>(call.argument(1));
    switch (call.command()) {
    case CONSOLEIO_write: return write(call, count, call.argument(2));
    case CONSOLEIO_read: return read(call, count, call.argument(2));
    default: return fails(XEN_ENOSYS);
    }
}

}  // namespace xen
