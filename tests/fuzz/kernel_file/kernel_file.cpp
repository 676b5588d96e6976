// SPDX-License-Identifier: MIT
//
// Any bytes as a kernel, and then as a guest's memory: refused with a reason, or every part lies in the guest's RAM.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/failure.hpp"
#include "image/guest_image.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    using namespace hv::xl;
    constexpr std::uint64_t memory{64u << 20};
    try {
        const Kernel kernel{parse_kernel(std::as_bytes(std::span{data, size}))};
        const GuestImage image{build_guest_image({kernel, {}, "kernel", "", "console=ttyS0", memory, 2})};
        for (const ImagePart& part : image.parts)
            if (part.address() > memory || memory - part.address() < part.bytes().size())
                std::abort();
    } catch (const Failure& failure) {
        if (failure.what()[0] == '\0')
            std::abort();
    }
    return 0;
}
