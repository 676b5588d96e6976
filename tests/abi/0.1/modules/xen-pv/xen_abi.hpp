// SPDX-License-Identifier: MIT
//
// Xen's guest interface as numbers and layouts, as far as this extension serves it: what Xen's public headers
// of version 4.17 define (xen.h, version.h, memory.h, sched.h, hvm/hvm_op.h, hvm/params.h, arch-x86/xen.h,
// arch-x86/cpuid.h), written down anew.  Definitions only; guests of the tests use them too.
#pragma once

#include <cstddef>
#include <cstdint>

namespace xen {

inline constexpr std::uint32_t version_major{4};
inline constexpr std::uint32_t version_minor{17};
inline constexpr std::uint32_t version_word{version_major << 16 | version_minor};

// Leaves, relative to the block.
inline constexpr std::uint32_t leaf_version{1};
inline constexpr std::uint32_t leaf_hypercall_page{2};  ///< EAX pages, EBX MSR
inline constexpr std::uint32_t leaf_time{3};
inline constexpr std::uint32_t leaf_hvm{4};
inline constexpr std::uint32_t leaf_last{4};
inline constexpr std::uint32_t leaf_count{5};

/// EAX of leaf_hvm.
inline constexpr std::uint32_t hvm_vcpu_id_present{1u << 3};    ///< in EBX
inline constexpr std::uint32_t hvm_domain_id_present{1u << 4};  ///< in ECX

// Hypercalls.
inline constexpr std::uint64_t memory_op{12};
inline constexpr std::uint64_t xen_version{17};
inline constexpr std::uint64_t console_io{18};
inline constexpr std::uint64_t iret{23};
inline constexpr std::uint64_t sched_op{29};
inline constexpr std::uint64_t hvm_op{34};

inline constexpr std::size_t page_entry_bytes{32};  ///< of one call in the hypercall page
inline constexpr std::size_t page_entries{4096 / page_entry_bytes};

/// A call with this bit of EAX set belongs to another interface.
inline constexpr std::uint64_t foreign_call{0x8000'0000};

// Errors; a call answers the negated number.
inline constexpr std::int64_t XEN_EPERM{1};
inline constexpr std::int64_t XEN_ESRCH{3};
inline constexpr std::int64_t XEN_EFAULT{14};
inline constexpr std::int64_t XEN_EINVAL{22};
inline constexpr std::int64_t XEN_ENOSYS{38};
inline constexpr std::int64_t XEN_ENODATA{61};

inline constexpr std::uint16_t DOMID_SELF{0x7ff0};

// xen_version.
inline constexpr std::uint32_t XENVER_version{0};
inline constexpr std::uint32_t XENVER_extraversion{1};
inline constexpr std::uint32_t XENVER_compile_info{2};
inline constexpr std::uint32_t XENVER_capabilities{3};
inline constexpr std::uint32_t XENVER_changeset{4};
inline constexpr std::uint32_t XENVER_platform_parameters{5};
inline constexpr std::uint32_t XENVER_get_features{6};
inline constexpr std::uint32_t XENVER_pagesize{7};
inline constexpr std::uint32_t XENVER_guest_handle{8};
inline constexpr std::uint32_t XENVER_commandline{9};
inline constexpr std::uint32_t XENVER_build_id{10};

struct FeatureInfo {
    std::uint32_t submap_index;  ///< in
    std::uint32_t submap;        ///< out
};
inline constexpr std::uint32_t XENFEAT_writable_page_tables{0};
inline constexpr std::uint32_t XENFEAT_auto_translated_physmap{2};

struct CompileInfo {
    char compiler[64];
    char compile_by[16];
    char compile_domain[32];
    char compile_date[32];
};

// console_io.
inline constexpr std::uint32_t CONSOLEIO_write{0};
inline constexpr std::uint32_t CONSOLEIO_read{1};

// memory_op.
inline constexpr std::uint32_t XENMEM_add_to_physmap{7};
inline constexpr std::uint32_t XENMAPSPACE_shared_info{0};
struct AddToPhysmap64 {
    std::uint16_t domid, size;
    std::uint32_t space;
    std::uint64_t index, frame;
};
struct AddToPhysmap32 {
    std::uint16_t domid, size;
    std::uint32_t space, index, frame;
};
static_assert(sizeof(AddToPhysmap64) == 24 && sizeof(AddToPhysmap32) == 16);

// sched_op.
inline constexpr std::uint32_t SCHEDOP_yield{0};
inline constexpr std::uint32_t SCHEDOP_shutdown{2};
inline constexpr std::uint32_t SHUTDOWN_poweroff{0};
inline constexpr std::uint32_t SHUTDOWN_reboot{1};
inline constexpr std::uint32_t SHUTDOWN_crash{3};
inline constexpr std::uint32_t SHUTDOWN_watchdog{4};

// hvm_op.
inline constexpr std::uint32_t HVMOP_set_param{0};
inline constexpr std::uint32_t HVMOP_get_param{1};
struct HvmParam {
    std::uint16_t domid, padding;
    std::uint32_t index;
    std::uint64_t value;
};
static_assert(sizeof(HvmParam) == 16);
inline constexpr std::uint32_t HVM_PARAM_CALLBACK_IRQ{0};
inline constexpr std::uint32_t HVM_PARAM_STORE_PFN{1};
inline constexpr std::uint32_t HVM_PARAM_STORE_EVTCHN{2};
inline constexpr std::uint32_t HVM_PARAM_CONSOLE_PFN{17};
inline constexpr std::uint32_t HVM_PARAM_CONSOLE_EVTCHN{18};

// The shared information page.
struct VcpuTime {
    std::uint32_t version;  ///< odd while it is being written
    std::uint32_t padding;
    std::uint64_t tsc_timestamp;
    std::uint64_t system_time;  ///< nanoseconds at tsc_timestamp
    std::uint32_t tsc_to_system_mul;
    std::int8_t tsc_shift;
    std::uint8_t flags;
    std::uint8_t padding_2[2];
};
static_assert(sizeof(VcpuTime) == 32);
inline constexpr std::uint32_t vcpu_info_bytes{64};
inline constexpr std::uint32_t vcpu_info_count{32};
inline constexpr std::uint32_t vcpu_time_offset{32};
struct WallClock {
    std::uint32_t version;
    std::uint32_t seconds;  ///< of the wall clock when system time was 0
    std::uint32_t nanoseconds;
    std::uint32_t seconds_high;
};
/// Behind the VCPUs' information and the two bitmaps of 64, or 32, words.
inline constexpr std::uint32_t wall_clock_offset_64{0xc00};
inline constexpr std::uint32_t wall_clock_offset_32{0x900};

}  // namespace xen
