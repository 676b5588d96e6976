// SPDX-License-Identifier: MIT
//
// Asks the xen-pv extension for each call that it serves, with and without a hypercall page, out of 64-bit
// and 32-bit code, and for some that it must refuse; prints by hypercall, and shuts down by hypercall.
#include "kit/console.hpp"
#include "kit/known_interfaces.hpp"
#include "kit/machine.hpp"
#include "kit/xen_checks.hpp"
#include "xen_abi.hpp"

namespace {

using namespace guest;
using namespace xen;

constexpr std::uint64_t by_instruction{0};
alignas(4096) std::uint8_t shared_info[4096];

template <typename T>
std::uint64_t address_of(const T& object)
{
    return reinterpret_cast<std::uint64_t>(&object);
}

std::uint64_t negative(std::int64_t error)
{
    return static_cast<std::uint64_t>(-error);
}

void check_versions()
{
    FeatureInfo feature{.submap_index = 0, .submap = 0};
    expect_equal("xen-features", 0, xen_call(0, xen_version, XENVER_get_features, address_of(feature)));
    fact("xen-features-are", hv::Hex{feature.submap});
    feature.submap_index = 1;
    expect_equal("xen-no-more-features", negative(XEN_EINVAL),
                 xen_call(0, xen_version, XENVER_get_features, address_of(feature)));
    expect_equal("xen-page-size", 4096, xen_call(0, xen_version, XENVER_pagesize));
    constexpr std::uint64_t unmapped{0x12'3456'7000};
    expect_equal("xen-bad-pointer", negative(XEN_EFAULT),
                 xen_call(0, xen_version, XENVER_extraversion, unmapped));
}

std::uint64_t parameter(std::uint64_t operation, HvmParam& param)
{
    return xen_call(0, hvm_op, operation, address_of(param));
}

void check_parameters()
{
    HvmParam param{.domid = DOMID_SELF, .padding = 0, .index = HVM_PARAM_STORE_PFN, .value = 99};
    expect_equal("xen-store-pfn", 0, parameter(HVMOP_get_param, param) | param.value);
    param = {.domid = DOMID_SELF, .padding = 0, .index = HVM_PARAM_STORE_EVTCHN, .value = 99};
    expect_equal("xen-store-evtchn", 0, parameter(HVMOP_get_param, param) | param.value);
    param.index = HVM_PARAM_CONSOLE_PFN;
    expect_equal("xen-console-pfn", negative(XEN_EINVAL), parameter(HVMOP_get_param, param));
    param.index = HVM_PARAM_CONSOLE_EVTCHN;
    expect_equal("xen-console-evtchn", negative(XEN_EINVAL), parameter(HVMOP_get_param, param));
    param = {
        .domid = DOMID_SELF, .padding = 0, .index = HVM_PARAM_CALLBACK_IRQ, .value = 0x200'0000'0000'00f3};
    expect_equal("xen-set-callback", 0, parameter(HVMOP_set_param, param));
    param.value = 0;
    expect_equal("xen-get-callback", 0, parameter(HVMOP_get_param, param));
    expect_equal("xen-callback-kept", 0x200'0000'0000'00f3, param.value);
    param.domid = 4711;
    expect_equal("xen-other-domain", negative(XEN_ESRCH), parameter(HVMOP_get_param, param));
}

/// Nanoseconds since the domain began, by the page's own rule.
std::uint64_t system_time()
{
    const auto& time = *reinterpret_cast<const VcpuTime*>(shared_info + vcpu_time_offset);
    std::uint64_t delta{read_tsc() - time.tsc_timestamp};
    delta = time.tsc_shift >= 0 ? delta << time.tsc_shift : delta >> -time.tsc_shift;
    return time.system_time +
           static_cast<std::uint64_t>(static_cast<unsigned __int128>(delta) * time.tsc_to_system_mul >> 32);
}

void check_shared_info()
{
    shared_info[100] = 0x77;
    const AddToPhysmap64 request{.domid = DOMID_SELF,
                                 .size = 0,
                                 .space = XENMAPSPACE_shared_info,
                                 .index = 0,
                                 .frame = reinterpret_cast<std::uint64_t>(shared_info) >> 12};
    expect_equal("xen-shared-info", 0, xen_call(0, memory_op, XENMEM_add_to_physmap, address_of(request)));
    const auto& time = *reinterpret_cast<const volatile VcpuTime*>(shared_info + vcpu_time_offset);
    expect("xen-shared-info-seen", shared_info[100] == 0 && time.version != 0 && (time.version & 1) == 0);
    const std::uint64_t before{system_time()};
    const std::uint64_t after{system_time()};
    expect("xen-system-time", before != 0 && after > before);
    fact("xen-system-time-ns", after);
    shared_info[100] = 0x55;
    expect("xen-shared-info-writable", *static_cast<volatile std::uint8_t*>(shared_info + 100) == 0x55);
    AddToPhysmap64 wrong{request};
    wrong.space = 1;
    expect_equal("xen-grant-table-absent", negative(XEN_ENOSYS),
                 xen_call(0, memory_op, XENMEM_add_to_physmap, address_of(wrong)));
}

void check_32_bit_code()
{
    static char text[]{"guest: xen-32-bit-console: ok\r\n"};
    std::uint32_t registers[6]{static_cast<std::uint32_t>(xen_version), XENVER_version};
    guest_vmmcall_32(registers);
    expect_equal("xen-32-bit-version", version_word, registers[0]);
    std::uint32_t write[6]{static_cast<std::uint32_t>(console_io), CONSOLEIO_write, sizeof text - 1,
                           static_cast<std::uint32_t>(address_of(text))};
    guest_vmmcall_32(write);
    if (write[0] != 0)
        fact("xen-32-bit-console", "FAILED, ", static_cast<std::int32_t>(write[0]));
    std::uint32_t unknown[6]{99};
    guest_vmmcall_32(unknown);
    expect_equal("xen-32-bit-unknown", static_cast<std::uint32_t>(-XEN_ENOSYS), unknown[0]);
}

void check_calls(const Block& block)
{
    check_xen_leaves(block);
    check_xen_version(by_instruction, "xen-version");
    const std::uint32_t msr{cpuid(block.base + leaf_hypercall_page).ebx};
    expect("xen-no-second-page", !write_msr(msr, 0x20'0000 | 1));
    const auto page = enable_xen_page();
    expect("xen-hypercall-page", page.has_value());
    if (page)
        check_xen_version(*page, "xen-version-by-page");
    check_versions();
    check_parameters();
    check_shared_info();
    check_32_bit_code();
    expect_equal("xen-yield", 0, xen_call(0, sched_op, SCHEDOP_yield));
    expect_equal("xen-block-absent", negative(XEN_ENOSYS), xen_call(0, sched_op, 1));
    expect_equal("xen-unknown-call", negative(XEN_ENOSYS), xen_call(0, 0x7fff'ffff));
    expect_equal("xen-event-channels-absent", negative(XEN_ENOSYS), xen_call(0, 32, 11));
    say_by_hypercall(by_instruction, "xen-console", "ok");
    say_end();
    shut_down_by_hypercall(page.value_or(by_instruction));
}

}  // namespace

extern "C" void guest_main()
{
    say_begin("xen-pv");
    if (const auto block = find_block(xen_signature))
        return check_calls(*block);
    fact("xen-pv", "absent");
    say_end();
}
