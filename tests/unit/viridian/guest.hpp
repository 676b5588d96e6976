// SPDX-License-Identifier: MIT
//
// A guest of the module for the tests: the fake hypervisor with some memory, the module bound to it, and the
// few steps that most tests begin with.
#pragma once

#include <gtest/gtest.h>

#include "call.hpp"
#include "module_under_test.hpp"
#include "tlfs_msr.hpp"

namespace hv::viridian::test {

using hv::test::FakeHost;
using hv::test::ModuleUnderTest;
using Register = abi::GeneralRegister;

inline constexpr std::uint64_t ram_bytes{0x10'0000};
inline constexpr std::uint64_t linux_identity{0x8100'0006'0192'0000};

/// A domain with the module, before or after its creation.
class Guest {
public:
    explicit Guest(std::uint32_t vcpus = 1) : module{host, VIRIDIAN_MODULE, vcpus}
    {
        host.add_ram(0, ram_bytes);
    }

    /// With `features` as the config's list gives them; none: the parameter is not given.
    bool create(const std::vector<std::string>& features = {}, const std::vector<std::string>& ports = {})
    {
        for (std::uint32_t index = 0; index < ports.size(); ++index)
            if (!module.parameter("ports", ports[index], index, static_cast<std::uint32_t>(ports.size())))
                return false;
        const auto count = static_cast<std::uint32_t>(features.size());
        for (std::uint32_t index = 0; index < count; ++index)
            if (!module.parameter("features", features[index], index, count))
                return false;
        return module.create();
    }

    /// Identity and hypercall page, as a guest sets them up.
    void enable_hypercalls(std::uint64_t page = 0x5000)
    {
        ASSERT_TRUE(module.write_msr(tlfs::HV_X64_MSR_GUEST_OS_ID, linux_identity));
        ASSERT_TRUE(module.write_msr(tlfs::HV_X64_MSR_HYPERCALL, page | 1));
    }

    /// A call by the page from 64-bit code; the result value, or nothing for #UD.
    std::optional<std::uint64_t> call(std::uint64_t control, std::uint64_t input = 0,
                                      std::uint64_t output = 0, std::uint32_t vcpu = 0)
    {
        frame = {};
        frame.mode = abi::GuestMode::long_64;
        ext::reg(frame, Register::rax) = page_mark;
        ext::reg(frame, Register::rcx) = control;
        ext::reg(frame, Register::rdx) = input;
        ext::reg(frame, Register::r8) = output;
        if (module.hypercall(frame, vcpu).kind != abi::VerdictKind::done)
            return std::nullopt;
        return ext::reg(frame, Register::rax);
    }

    template <typename T>
    void put(std::uint64_t address, const T& value)
    {
        T copy{value};
        ASSERT_TRUE(host.copy(address, &copy, sizeof copy, true));
    }

    FakeHost host;
    ModuleUnderTest module;
    abi::HypercallFrame frame{};
};

constexpr std::uint64_t status(tlfs::HvStatus value)
{
    return static_cast<std::uint64_t>(value);
}

}  // namespace hv::viridian::test
