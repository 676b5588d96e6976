// SPDX-License-Identifier: MIT
//
// xen-pv.hvx, loaded and asked what a guest would ask: every call that it serves, in both register
// conventions.
#include <gtest/gtest.h>

#include <cstring>

#include "module_under_test.hpp"
#include "xen_abi.hpp"

namespace hv::test {
namespace {

using namespace xen;

constexpr std::uint64_t ram_bytes{0x10'0000};
constexpr std::uint64_t buffer{0x8000};
constexpr std::uint64_t no_memory{0x7fff'0000};
constexpr std::uint32_t block{0x4000'0000};

enum Index : unsigned {
    rax = 0,
    rcx = 1,
    rdx = 2,
    rbx = 3,
    rsi = 6,
    rdi = 7
};

class XenPvModule : public ::testing::Test {
protected:
    XenPvModule()
    {
        host_.add_ram(0, ram_bytes);
        host_.vcpu_count = 2;
        host_.info.domain_id = 5;
        for (std::uint8_t index = 0; index < 16; ++index)
            host_.info.uuid[index] = index;
        EXPECT_TRUE(module_.create());
    }
    std::int64_t finish(abi::HypercallFrame& frame)
    {
        auto verdict = module_.hypercall(frame);
        while (verdict.kind == abi::VerdictKind::again) {
            ++slices_;
            verdict = module_.hypercall_continue(frame);
        }
        EXPECT_EQ(verdict.kind, abi::VerdictKind::done);
        return static_cast<std::int64_t>(frame.general[rax]);
    }
    std::int64_t call(std::uint64_t number, std::uint64_t first = 0, std::uint64_t second = 0,
                      std::uint64_t third = 0)
    {
        abi::HypercallFrame frame{};
        frame.mode = abi::GuestMode::long_64;
        frame.general[rax] = number;
        frame.general[rdi] = first;
        frame.general[rsi] = second;
        frame.general[rdx] = third;
        return finish(frame);
    }
    std::int32_t call_32(std::uint32_t number, std::uint32_t first = 0, std::uint32_t second = 0,
                         std::uint32_t third = 0)
    {
        abi::HypercallFrame frame{};
        frame.mode = abi::GuestMode::protected_32;
        frame.general[rax] = number;
        frame.general[rbx] = first;
        frame.general[rcx] = second;
        frame.general[rdx] = third;
        return static_cast<std::int32_t>(finish(frame));
    }
    template <typename T>
    void put(const T& value, std::uint64_t at = buffer)
    {
        T copy{value};
        ASSERT_TRUE(host_.copy(at, &copy, sizeof copy, true));
    }
    template <typename T>
    T get(std::uint64_t at = buffer)
    {
        T value;
        EXPECT_TRUE(host_.copy(at, &value, sizeof value, false));
        return value;
    }
    std::string text(std::uint64_t bytes, std::uint64_t at = buffer)
    {
        std::string found(bytes, '\0');
        EXPECT_TRUE(host_.copy(at, found.data(), bytes, false));
        return found.c_str();
    }

    FakeHost host_;
    ModuleUnderTest module_{host_, XEN_PV_HVX, 2};
    unsigned slices_{};
};

TEST_F(XenPvModule, SaysInItsLeavesWhatItIsAndWhereItsMsrIs)
{
    const auto signature = module_.cpuid(block);
    EXPECT_EQ(signature.eax, block + leaf_last);
    EXPECT_EQ(signature.ebx, 0x566e6558u);
    EXPECT_EQ(signature.ecx, 0x65584d4du);
    EXPECT_EQ(signature.edx, 0x4d4d566eu);
    EXPECT_EQ(module_.cpuid(block + leaf_version).eax, 0x0004'0011u);
    const auto page = module_.cpuid(block + leaf_hypercall_page);
    EXPECT_EQ(page.eax, 1u);
    EXPECT_EQ(page.ebx, module_.grant(2).base);
    EXPECT_EQ(module_.cpuid(block + leaf_time).ecx, 2'000'000u);
    const auto hvm = module_.cpuid(block + leaf_hvm, 0, 1);
    EXPECT_EQ(hvm.eax, hvm_vcpu_id_present | hvm_domain_id_present);
    EXPECT_EQ(hvm.ebx, 1u);
    EXPECT_EQ(hvm.ecx, 5u);
}

TEST_F(XenPvModule, WritesTheHypercallPageWhereTheMsrSays)
{
    const auto msr = static_cast<std::uint32_t>(module_.grant(2).base);
    EXPECT_EQ(module_.read_msr(msr), 0u);
    EXPECT_TRUE(module_.write_msr(msr, 0x6000));
    const std::array<std::uint8_t, 9> version{0xb8, 17, 0, 0, 0, 0x0f, 0x01, 0xd9, 0xc3};
    EXPECT_EQ((get<std::array<std::uint8_t, 9>>(0x6000 + 17 * page_entry_bytes)), version);
    EXPECT_EQ(get<std::uint16_t>(0x6000 + iret * page_entry_bytes), 0x0b0f);
    EXPECT_EQ(get<std::uint8_t>(0x6000 + 127 * page_entry_bytes + 1), 127);
}

TEST_F(XenPvModule, RefusesASecondPageAndOneOutsideOfMemoryAndWritesNothing)
{
    const auto msr = static_cast<std::uint32_t>(module_.grant(2).base);
    EXPECT_FALSE(module_.write_msr(msr, 0x6001));
    EXPECT_FALSE(module_.write_msr(msr, no_memory));
    EXPECT_EQ(get<std::uint64_t>(0x6000), 0u);
    EXPECT_TRUE(host_.hypercall_pages_placed.empty());
}

TEST_F(XenPvModule, TellsItsVersionInBothConventions)
{
    EXPECT_EQ(call(xen_version, XENVER_version), 0x0004'0011);
    EXPECT_EQ(call_32(xen_version, XENVER_version), 0x0004'0011);
    EXPECT_EQ(call(xen_version, XENVER_extraversion, buffer), 0);
    EXPECT_EQ(text(16), ".0-graft");
    EXPECT_EQ(call_32(xen_version, XENVER_capabilities, buffer), 0);
    EXPECT_NE(text(1024).find("hvm-3.0-x86_64"), std::string::npos);
    EXPECT_EQ(call(xen_version, XENVER_pagesize), 4096);
    EXPECT_EQ(call(xen_version, XENVER_guest_handle, buffer), 0);
    EXPECT_EQ(get<std::uint8_t>(buffer + 15), 15);
}

TEST_F(XenPvModule, OffersTheFeaturesThatItHasAndNoOther)
{
    put(FeatureInfo{0, 0xffff'ffff});
    EXPECT_EQ(call(xen_version, XENVER_get_features, buffer), 0);
    EXPECT_EQ(get<FeatureInfo>().submap, 0x5u);
    put(FeatureInfo{1, 77});
    EXPECT_EQ(call(xen_version, XENVER_get_features, buffer), -XEN_EINVAL);
    EXPECT_EQ(get<FeatureInfo>().submap, 77u);
}

TEST_F(XenPvModule, AnswersABadPointerWithEfault)
{
    EXPECT_EQ(call(xen_version, XENVER_extraversion, no_memory), -XEN_EFAULT);
    EXPECT_EQ(call(xen_version, XENVER_get_features, no_memory), -XEN_EFAULT);
    EXPECT_EQ(call(hvm_op, HVMOP_get_param, no_memory), -XEN_EFAULT);
    EXPECT_EQ(call(memory_op, XENMEM_add_to_physmap, no_memory), -XEN_EFAULT);
    EXPECT_EQ(call(sched_op, SCHEDOP_shutdown, no_memory), -XEN_EFAULT);
    EXPECT_EQ(call(console_io, CONSOLEIO_write, 4, no_memory), -XEN_EFAULT);
    EXPECT_TRUE(host_.console_output.empty());
    EXPECT_FALSE(host_.shutdown.has_value());
}

TEST_F(XenPvModule, AnswersEveryOtherNumberWithEnosys)
{
    for (const std::uint64_t number :
         {0ull, 1ull, 6ull, 13ull, 20ull, 24ull, 32ull, 41ull, 99ull, 0x7fff'ffffull})
        EXPECT_EQ(call(number), -XEN_ENOSYS) << number;
    EXPECT_EQ(call(xen_version, 99), -XEN_ENOSYS);
    EXPECT_EQ(call(console_io, 99), -XEN_ENOSYS);
    EXPECT_EQ(call(memory_op, 6), -XEN_ENOSYS);
    EXPECT_EQ(call(sched_op, 1), -XEN_ENOSYS);
    EXPECT_EQ(call(hvm_op, 23), -XEN_ENOSYS);
    EXPECT_EQ(call(xen_version | 1ull << 32, XENVER_version), -XEN_ENOSYS);
}

TEST_F(XenPvModule, LeavesCallsWithBit31ToOthersAndRefusesUserCode)
{
    abi::HypercallFrame frame{};
    frame.mode = abi::GuestMode::long_64;
    frame.general[rax] = foreign_call | xen_version;
    EXPECT_EQ(module_.hypercall(frame).kind, abi::VerdictKind::inject);
    frame.general[rax] = xen_version;
    frame.cpl = 3;
    EXPECT_EQ(finish(frame), -XEN_EPERM);
}

TEST_F(XenPvModule, WritesToTheDomainsConsole)
{
    put(std::array{'h', 'e', 'l', 'l', 'o'});
    EXPECT_EQ(call(console_io, CONSOLEIO_write, 5, buffer), 0);
    EXPECT_EQ(call_32(console_io, CONSOLEIO_write, 2, buffer), 0);
    EXPECT_EQ(host_.console_output, "hellohe");
    EXPECT_EQ(call(console_io, CONSOLEIO_write, 0, buffer), 0);
    EXPECT_EQ(slices_, 0u);
}

TEST_F(XenPvModule, GivesWayInALongWriteAndLosesNothing)
{
    std::array<char, 20'000> long_text;
    for (std::size_t index = 0; index < long_text.size(); ++index)
        long_text[index] = static_cast<char>('a' + index % 23);
    put(long_text);
    EXPECT_EQ(call(console_io, CONSOLEIO_write, long_text.size(), buffer), 0);
    EXPECT_EQ(host_.console_output, std::string(long_text.data(), long_text.size()));
    EXPECT_EQ(slices_, 4u);
}

TEST_F(XenPvModule, ReadsFromTheDomainsConsoleWhatIsThere)
{
    host_.console_input = "abc";
    EXPECT_EQ(call(console_io, CONSOLEIO_read, 2, buffer), 2);
    EXPECT_EQ(text(3), "ab");
    EXPECT_EQ(call(console_io, CONSOLEIO_read, 10, buffer), 1);
    EXPECT_EQ(call(console_io, CONSOLEIO_read, 10, buffer), 0);
}

TEST_F(XenPvModule, HasNoStoreAndNoConsoleRing)
{
    for (const std::uint32_t index : {HVM_PARAM_STORE_PFN, HVM_PARAM_STORE_EVTCHN}) {
        put(HvmParam{DOMID_SELF, 0, index, 99});
        EXPECT_EQ(call(hvm_op, HVMOP_get_param, buffer), 0);
        EXPECT_EQ(get<HvmParam>().value, 0u);
        EXPECT_EQ(call(hvm_op, HVMOP_set_param, buffer), -XEN_EPERM);
    }
    for (const std::uint32_t index : {HVM_PARAM_CONSOLE_PFN, HVM_PARAM_CONSOLE_EVTCHN, 38u, 39u, ~0u}) {
        put(HvmParam{DOMID_SELF, 0, index, 99});
        EXPECT_EQ(call(hvm_op, HVMOP_get_param, buffer), -XEN_EINVAL);
        EXPECT_EQ(call(hvm_op, HVMOP_set_param, buffer), -XEN_EINVAL);
        EXPECT_EQ(get<HvmParam>().value, 99u);
    }
}

TEST_F(XenPvModule, KeepsTheCallbackOfThisDomainAlone)
{
    put(HvmParam{6, 0, HVM_PARAM_CALLBACK_IRQ, 99});
    EXPECT_EQ(call(hvm_op, HVMOP_set_param, buffer), -XEN_ESRCH);
    put(HvmParam{5, 0, HVM_PARAM_CALLBACK_IRQ, 0x0200'0000'0000'00f3});
    EXPECT_EQ(call(hvm_op, HVMOP_set_param, buffer), 0);
    put(HvmParam{DOMID_SELF, 0, HVM_PARAM_CALLBACK_IRQ, 0});
    EXPECT_EQ(call_32(hvm_op, HVMOP_get_param, buffer), 0);
    EXPECT_EQ(get<HvmParam>().value, 0x0200'0000'0000'00f3u);
}

TEST_F(XenPvModule, PlacesSharedInfoWithClocksThatAreRight)
{
    put(AddToPhysmap64{DOMID_SELF, 0, XENMAPSPACE_shared_info, 0, 0x20});
    EXPECT_EQ(call(memory_op, XENMEM_add_to_physmap, buffer), 0);
    for (const std::uint64_t vcpu : {0, 1, 31}) {
        const auto time = get<VcpuTime>(0x2'0000 + vcpu * vcpu_info_bytes + vcpu_time_offset);
        EXPECT_EQ(time.version, 2u);
        EXPECT_EQ(time.system_time, host_.now_ns);
        EXPECT_EQ(time.tsc_timestamp, 2'000'000'000u);
        // One second of ticks is one second.
        const auto shifted =
            time.tsc_shift < 0 ? host_.tsc_hz >> -time.tsc_shift : host_.tsc_hz << time.tsc_shift;
        const auto ns = static_cast<unsigned __int128>(shifted) * time.tsc_to_system_mul >> 32;
        EXPECT_NEAR(static_cast<double>(ns), 1e9, 1.0);
    }
    const auto wall = get<WallClock>(0x2'0000 + wall_clock_offset_64);
    EXPECT_EQ(wall.version, 2u);
    EXPECT_EQ(wall.seconds, 1'699'999'999u);
}

TEST_F(XenPvModule, MovesSharedInfoAndKeepsItsBytes)
{
    put(AddToPhysmap64{DOMID_SELF, 0, XENMAPSPACE_shared_info, 0, 0x20});
    EXPECT_EQ(call(memory_op, XENMEM_add_to_physmap, buffer), 0);
    put(std::uint32_t{0x1234}, 0x2'0000);
    put(AddToPhysmap32{DOMID_SELF, 0, XENMAPSPACE_shared_info, 0, 0x21});
    EXPECT_EQ(call_32(memory_op, XENMEM_add_to_physmap, buffer), 0);
    EXPECT_EQ(get<std::uint32_t>(0x2'1000), 0x1234u);
    EXPECT_EQ(get<std::uint32_t>(0x2'0000), 0u);
    EXPECT_EQ(get<WallClock>(0x2'1000 + wall_clock_offset_32).seconds, 1'699'999'999u);
    EXPECT_EQ(get<VcpuTime>(0x2'1000 + vcpu_time_offset).version, 4u);
}

TEST_F(XenPvModule, RefusesToMapWhatIsNotThereAndMapsNothing)
{
    put(AddToPhysmap64{6, 0, XENMAPSPACE_shared_info, 0, 0x20});
    EXPECT_EQ(call(memory_op, XENMEM_add_to_physmap, buffer), -XEN_ESRCH);
    put(AddToPhysmap64{DOMID_SELF, 0, 1, 0, 0x20});
    EXPECT_EQ(call(memory_op, XENMEM_add_to_physmap, buffer), -XEN_ENOSYS);
    put(AddToPhysmap64{DOMID_SELF, 0, XENMAPSPACE_shared_info, 1, 0x20});
    EXPECT_EQ(call(memory_op, XENMEM_add_to_physmap, buffer), -XEN_EINVAL);
    put(AddToPhysmap64{DOMID_SELF, 0, XENMAPSPACE_shared_info, 0, 1ull << 40});
    EXPECT_EQ(call(memory_op, XENMEM_add_to_physmap, buffer), -XEN_EINVAL);
    for (const auto& [handle, page] : host_.pages)
        EXPECT_FALSE(page.gpa.has_value()) << handle;
}

TEST_F(XenPvModule, YieldsTheProcessor)
{
    EXPECT_EQ(call(sched_op, SCHEDOP_yield), 0);
    EXPECT_EQ(host_.yielded, std::vector{FakeHost::vcpu_handle(0)});
}

TEST_F(XenPvModule, EndsTheDomainForTheReasonThatTheGuestGives)
{
    put(std::uint32_t{99});
    EXPECT_EQ(call(sched_op, SCHEDOP_shutdown, buffer), -XEN_EINVAL);
    EXPECT_FALSE(host_.shutdown.has_value());
    const std::pair<std::uint32_t, abi::ShutdownReason> reasons[]{
        {SHUTDOWN_poweroff, abi::ShutdownReason::poweroff},
        {SHUTDOWN_reboot, abi::ShutdownReason::reboot},
        {SHUTDOWN_crash, abi::ShutdownReason::crash},
        {SHUTDOWN_watchdog, abi::ShutdownReason::crash}};
    for (const auto& [number, reason] : reasons) {
        put(number);
        EXPECT_EQ(call_32(sched_op, SCHEDOP_shutdown, buffer), 0);
        ASSERT_TRUE(host_.shutdown.has_value());
        EXPECT_EQ(host_.shutdown->reason, reason);
    }
}

}  // namespace
}  // namespace hv::test
