// SPDX-License-Identifier: MIT
//
// Whatever a guest writes and calls, mine.hvx answers by the ABI's rules: the harness ends the run where it does not.
#include <cstdint>
#include <cstring>

#include "module_under_test.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    hv::test::FakeHost host;
    hv::test::ModuleUnderTest mine{host, HVX_FILE};
    if (!mine.create())
        return 0;
    for (std::uint64_t words[3]; size >= sizeof words; data += sizeof words, size -= sizeof words) {
        std::memcpy(words, data, sizeof words);
        static_cast<void>(mine.write_msr(0x4000'0300, words[0]));
        hv::abi::HypercallFrame frame{};
        frame.mode = hv::abi::GuestMode::long_64;
        std::memcpy(frame.general, words, sizeof words);
        static_cast<void>(mine.hypercall(frame));
    }
    return 0;
}
