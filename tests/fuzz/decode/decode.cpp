// SPDX-License-Identifier: MIT
//
// Fuzzes the decoder, the MMIO planner and its execution: registers, segments and bytes are the guest's. What
// is checked beyond the sanitizers: a decoded length is within what was shown, and a plan is consistent.
#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/core/emulate/intercepted.hpp"
#include "hv/core/emulate/mmio_access.hpp"

using namespace hv;
using namespace hv::core;
using namespace hv::core::emulate;

namespace {

struct Input {
    std::uint8_t mode;
    std::uint8_t which;
    Registers registers;
    Segments segments;
};

struct CheckingPort {
    Expected<std::uint64_t> read(GuestLinear address, unsigned size)
    {
        check(size);
        return address.raw() * 0x9e37'79b9'7f4a'7c15ull;
    }
    Status write(GuestLinear, unsigned size, std::uint64_t value)
    {
        check(size);
        HV_ASSERT(size == 8 || value >> (8 * size) == 0);
        return Done{};
    }
    static void check(unsigned size) { HV_ASSERT(size == 1 || size == 2 || size == 4 || size == 8); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    Input input{};
    const std::size_t shown{size < 16 ? size : 16};
    const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data), shown};
    if (size > shown)
        std::memcpy(static_cast<void*>(&input), data + shown,
                    size - shown < sizeof input ? size - shown : sizeof input);
    const auto mode = static_cast<Mode>(input.mode % 3);
    const auto instruction = decode(bytes, mode);
    if (instruction) {
        const unsigned length{instruction.value().length};
        HV_ASSERT(length >= 1 && length <= maximum_instruction_length && length <= shown);
        HV_ASSERT(decode(bytes.first(length), mode).value().length == length);
        HV_ASSERT(decode(bytes.first(length - 1), mode).error() == truncated);
    }
    const auto which = static_cast<Intercepted>(input.which % static_cast<unsigned>(Intercepted::end));
    const auto length = instruction_length(which, bytes, mode);
    HV_ASSERT(!length || length.value() <= shown);
    CheckingPort port{};
    Registers registers{input.registers};
    const Status status{emulate_access(bytes, mode, registers, input.segments, port)};
    HV_ASSERT(status.has_value() || std::memcmp(&registers, &input.registers, sizeof registers) == 0);
    return 0;
}
