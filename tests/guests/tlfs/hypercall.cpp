// SPDX-License-Identifier: MIT
//
// Every hypercall that the specification lists, made once, and the calls that small guests need with every mistake that a caller can
// make.  The calls of a root partition are made only where the partition is none. Specification: [TLFS-6.0b §3, §9.4, §10.5, §11.11,
// Appendix A and B].
#include <cstring>

#include "kit/console.hpp"
#include "kit/machine.hpp"
#include "tlfs/probes.hpp"

namespace guest::tlfs {
namespace {

struct Code {
    std::uint16_t code;
    std::string_view name;
};
constexpr Code codes[]{
    {0x0001, "HvCallSwitchVirtualAddressSpace"},
    {0x0002, "HvCallFlushVirtualAddressSpace"},
    {0x0003, "HvCallFlushVirtualAddressList"},
    {0x0004, "HvCallGetLogicalProcessorRunTime"},
    {0x0008, "HvCallNotifyLongSpinWait"},
    {0x0009, "HvCallParkedVirtualProcessors"},
    {0x000b, "HvCallSendSyntheticClusterIpi"},
    {0x000c, "HvCallModifyVtlProtectionMask"},
    {0x000d, "HvCallEnablePartitionVtl"},
    {0x000e, "HvCallDisablePartitionVtl"},
    {0x000f, "HvCallEnableVpVtl"},
    {0x0010, "HvCallDisableVpVtl"},
    {0x0011, "HvCallVtlCall"},
    {0x0012, "HvCallVtlReturn"},
    {0x0013, "HvCallFlushVirtualAddressSpaceEx"},
    {0x0014, "HvCallFlushVirtualAddressListEx"},
    {0x0015, "HvCallSendSyntheticClusterIpiEx"},
    {0x0040, "HvCallCreatePartition"},
    {0x0041, "HvCallInitializePartition"},
    {0x0042, "HvCallFinalizePartition"},
    {0x0043, "HvCallDeletePartition"},
    {0x0044, "HvCallGetPartitionProperty"},
    {0x0045, "HvCallSetPartitionProperty"},
    {0x0046, "HvCallGetPartitionId"},
    {0x0047, "HvCallGetNextChildPartition"},
    {0x0048, "HvCallDepositMemory"},
    {0x0049, "HvCallWithdrawMemory"},
    {0x004a, "HvCallGetMemoryBalance"},
    {0x004b, "HvCallMapGpaPages"},
    {0x004c, "HvCallUnmapGpaPages"},
    {0x004d, "HvCallInstallIntercept"},
    {0x004e, "HvCallCreateVp"},
    {0x004f, "HvCallDeleteVp"},
    {0x0050, "HvCallGetVpRegisters"},
    {0x0051, "HvCallSetVpRegisters"},
    {0x0052, "HvCallTranslateVirtualAddress"},
    {0x0053, "HvCallReadGpa"},
    {0x0054, "HvCallWriteGpa"},
    {0x0056, "HvCallClearVirtualInterrupt"},
    {0x0058, "HvCallDeletePort"},
    {0x0059, "HvCallConnectPort (old)"},
    {0x005a, "HvCallGetPortProperty"},
    {0x005b, "HvCallDisconnectPort"},
    {0x005c, "HvCallPostMessage"},
    {0x005d, "HvCallSignalEvent"},
    {0x005e, "HvCallSavePartitionState"},
    {0x005f, "HvCallRestorePartitionState"},
    {0x0060, "HvCallInitializeEventLogBufferGroup"},
    {0x0061, "HvCallFinalizeEventLogBufferGroup"},
    {0x0062, "HvCallCreateEventLogBuffer"},
    {0x0063, "HvCallDeleteEventLogBuffer"},
    {0x0064, "HvCallMapEventLogBuffer"},
    {0x0065, "HvCallUnmapEventLogBuffer"},
    {0x0066, "HvCallSetEventLogGroupSources"},
    {0x0067, "HvCallReleaseEventLogBuffer"},
    {0x0068, "HvCallFlushEventLogBuffer"},
    {0x0069, "HvCallPostDebugData"},
    {0x006a, "HvCallRetrieveDebugData"},
    {0x006b, "HvCallResetDebugSession"},
    {0x006c, "HvCallMapStatsPage"},
    {0x006d, "HvCallUnmapStatsPage"},
    {0x006e, "HvCallMapSparseGpaPages"},
    {0x006f, "HvCallSetSystemProperty"},
    {0x0070, "HvCallSetPortProperty"},
    {0x0076, "HvCallAddLogicalProcessor"},
    {0x0077, "HvCallRemoveLogicalProcessor"},
    {0x0078, "HvCallQueryNumaDistance"},
    {0x0079, "HvCallSetLogicalProcessorProperty"},
    {0x007a, "HvCallGetLogicalProcessorProperty"},
    {0x007b, "HvCallGetSystemProperty"},
    {0x007c, "HvCallMapDeviceInterrupt"},
    {0x007d, "HvCallUnmapDeviceInterrupt"},
    {0x007e, "HvCallRetargetDeviceInterrupt"},
    {0x0080, "HvCallMapDevicePages"},
    {0x0081, "HvCallUnmapDevicePages"},
    {0x0082, "HvCallAttachDevice"},
    {0x0083, "HvCallDetachDevice"},
    {0x0084, "HvCallNotifyStandbyTransition"},
    {0x0085, "HvCallPrepareForSleep"},
    {0x0086, "HvCallPrepareForHibernate"},
    {0x0087, "HvCallNotifyPartitionEvent"},
    {0x0088, "HvCallGetLogicalProcessorRegisters"},
    {0x0089, "HvCallSetLogicalProcessorRegisters"},
    {0x008a, "HvCallQueryAssociatedLpsForMca"},
    {0x008b, "HvCallNotifyRingEmpty"},
    {0x008c, "HvCallInjectSyntheticMachineCheck"},
    {0x008d, "HvCallScrubPartition"},
    {0x008e, "HvCallCollectLivedump"},
    {0x008f, "HvCallDisableHypervisor"},
    {0x0090, "HvCallModifySparseGpaPages"},
    {0x0091, "HvCallRegisterInterceptResult"},
    {0x0092, "HvCallUnregisterInterceptResult"},
    {0x0094, "HvCallAssertVirtualInterrupt"},
    {0x0095, "HvCallCreatePort"},
    {0x0096, "HvCallConnectPort"},
    {0x0097, "HvCallGetSpaPageList"},
    {0x0099, "HvCallStartVirtualProcessor"},
    {0x009a, "HvCallGetVpIndexFromApicId"},
    {0x00af, "HvCallFlushGuestPhysicalAddressSpace"},
    {0x00b0, "HvCallFlushGuestPhysicalAddressList"},
    {0x8001, "HvExtCallQueryCapabilities"},
    {0x8002, "HvExtCallGetBootZeroedMemory"},
    {0x8003, "HvExtCallMemoryHeatHint"},
    {0x8004, "HvExtCallEpfSetup"},
    {0x8006, "HvExtCallMemoryHeatHintAsync"},
};

constexpr std::uint64_t flush_space{0x02}, flush_list{0x03}, spin_wait{0x08}, send_ipi{0x0b};
constexpr std::uint64_t flush_space_ex{0x13}, flush_list_ex{0x14}, send_ipi_ex{0x15}, post{0x5c}, signal{0x5d}, query{0x8001};
constexpr std::uint64_t fast{1 << 16}, sparse{0}, everybody{1}, all_spaces{2};
constexpr std::uint64_t vector{0x51}, nowhere{1ull << 51};

constexpr std::uint64_t banks(std::uint64_t count)
{
    return count << 17;
}
constexpr std::uint64_t reps(std::uint64_t count, std::uint64_t from = 0)
{
    return count << 32 | from << 48;
}

/// Words at `offset` of the input page; in a fast call, of the two registers and XMM0 to XMM5.
struct Case {
    std::string_view name;
    std::uint64_t control;
    std::uint64_t words[8]{};
    std::uint64_t offset{};
    std::uint64_t output_offset{};
    std::uint64_t moved{};  ///< added to the address of the input
};
constexpr Case cases[]{
    // what every call shares, by the simplest of them
    {"code-0", 0},
    {"code-7777", 0x7777},
    {"code-8000", 0x8000},
    {"code-ffff", 0xffff},
    {"input-bit-27", flush_space | 1ull << 27, {0, all_spaces, 1}},
    {"input-bit-28", flush_space | 1ull << 28, {0, all_spaces, 1}},
    {"input-bit-29", flush_space | 1ull << 29, {0, all_spaces, 1}},
    {"input-bit-30", flush_space | 1ull << 30, {0, all_spaces, 1}},
    {"input-bit-31", flush_space | 1ull << 31, {0, all_spaces, 1}},
    {"input-bit-44", flush_space | 1ull << 44, {0, all_spaces, 1}},
    {"input-bit-45", flush_space | 1ull << 45, {0, all_spaces, 1}},
    {"input-bit-46", flush_space | 1ull << 46, {0, all_spaces, 1}},
    {"input-bit-47", flush_space | 1ull << 47, {0, all_spaces, 1}},
    {"input-bit-60", flush_space | 1ull << 60, {0, all_spaces, 1}},
    {"input-bit-61", flush_space | 1ull << 61, {0, all_spaces, 1}},
    {"input-bit-62", flush_space | 1ull << 62, {0, all_spaces, 1}},
    {"input-bit-63", flush_space | 1ull << 63, {0, all_spaces, 1}},
    {"simple-call-with-a-rep-count", flush_space | reps(1), {0, all_spaces, 1}},
    {"simple-call-with-a-start-index", flush_space | reps(0, 1), {0, all_spaces, 1}},
    {"header-of-a-call-that-has-none", flush_space | banks(1), {0, all_spaces, 1}},
    {"rep-call-without-a-count", flush_list, {0, all_spaces, 1}},
    {"rep-call-from-its-end", flush_list | reps(3, 3), {0, all_spaces, 1}},
    {"rep-call-from-beyond-its-end", flush_list | reps(3, 4), {0, all_spaces, 1}},
    {"input-unaligned", flush_space, {0, all_spaces, 1}, 4},
    {"input-across-pages", flush_space, {0, all_spaces, 1}, 4080},
    {"list-across-pages", flush_list | reps(510), {0, all_spaces, 1}},
    {"input-beyond-memory", flush_space, {}, 0, 0, nowhere},
    {"output-unaligned", query, {}, 0, 4},
    {"output-beyond-memory", query, {}, 0, nowhere},
    {"output-of-a-fast-call", query | fast},
    // flushes
    {"flush-of-a-mask", flush_space, {0, all_spaces, 1}},
    {"flush-of-all", flush_space, {0, 3, 0}},
    {"flush-of-non-global-ones", flush_space, {0, 6, 1}},
    {"flush-flag-3", flush_space, {0, 8, 1}},
    {"flush-flag-63", flush_space, {0, 1ull << 63, 1}},
    {"flush-by-vector-registers", flush_space | fast, {0, all_spaces, 1}},
    {"list", flush_list | reps(2), {0, all_spaces, 1, 0x1000, 0x2000}},
    {"list-from-its-middle", flush_list | reps(2, 1), {0, all_spaces, 1, 0x1000, 0x2000}},
    {"flush-of-a-set", flush_space_ex | banks(1), {0, all_spaces, sparse, 1, 1}},
    {"flush-of-everybody", flush_space_ex, {0, all_spaces, everybody, 0}},
    {"flush-of-a-set-by-vector-registers", flush_space_ex | banks(1) | fast, {0, all_spaces, sparse, 1, 1}},
    {"flush-of-a-set-of-unknown-format", flush_space_ex | banks(1), {0, all_spaces, 2, 1, 1}},
    {"flush-of-a-set-with-too-few-banks", flush_space_ex | banks(1), {0, all_spaces, sparse, 3, 1}},
    {"list-of-a-set", flush_list_ex | banks(1) | reps(2), {0, all_spaces, sparse, 1, 1, 0x1000, 0x2000}},
    // interrupts
    {"ipi", send_ipi, {vector, 1}},
    {"ipi-in-registers", send_ipi | fast, {vector, 1}},
    {"ipi-to-nobody", send_ipi | fast, {vector, 0}},
    {"ipi-vector-15", send_ipi | fast, {15, 1}},
    {"ipi-vector-256", send_ipi | fast, {256, 1}},
    {"ipi-to-nobody-there", send_ipi | fast, {vector, 1ull << 63}},
    {"ipi-to-a-set", send_ipi_ex | banks(1), {vector, sparse, 1, 1}},
    {"ipi-to-everybody", send_ipi_ex, {vector, everybody, 0}},
    {"ipi-to-a-set-by-vector-registers", send_ipi_ex | banks(1) | fast, {vector, sparse, 1, 1}},
    {"ipi-to-a-set-of-nobody-there", send_ipi_ex | banks(1), {vector, sparse, 2, 1}},
    {"ipi-to-a-set-of-unknown-format", send_ipi_ex | banks(1), {vector, 2, 1, 1}},
    {"ipi-to-a-set-vector-15", send_ipi_ex, {15, everybody, 0}},
    // the rest
    {"spin-wait-in-registers", spin_wait | fast, {5}},
    {"spin-wait-in-memory", spin_wait, {5}},
    {"message-to-no-connection", post, {0x7fff'ffff, 1ull | 8ull << 32, 1}},
    {"message-of-too-many-bytes", post, {0x7fff'ffff, 1ull | 241ull << 32, 1}},
    {"message-of-a-hypervisors-type", post, {0x7fff'ffff, 0x8000'0001ull | 8ull << 32, 1}},
    {"event-to-no-connection", signal | fast, {0x7fff'ffff}},
    {"query", query},
};

alignas(4096) std::uint64_t input[1024];
alignas(4096) std::uint64_t output[512];

void enable_vectors()
{
    constexpr std::uint64_t emulate_and_task_switched{1 << 2 | 1 << 3}, osfxsr{1 << 9};
    std::uint64_t cr0, cr4;
    asm volatile("mov %%cr0, %0\n mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
    asm volatile("mov %0, %%cr0\n mov %1, %%cr4" ::"r"(cr0 & ~emulate_and_task_switched), "r"(cr4 | osfxsr));
}

void make(const CallPage& page, const Case& one)
{
    std::memset(input, 0, sizeof input);
    auto* const at = reinterpret_cast<unsigned char*>(input) + one.offset;
    std::memcpy(at, one.words, sizeof one.words);
    output[0] = ~0ull;
    const auto address = reinterpret_cast<std::uint64_t>(at) + one.moved;
    std::optional<std::uint64_t> result;
    if ((one.control & fast) != 0) {
        asm volatile("movdqu (%0), %%xmm0\n movdqu 16(%0), %%xmm1\n movdqu 32(%0), %%xmm2" ::"r"(&one.words[2]) : "memory");
        result = page.call(one.control, one.words[0], one.words[1]);
    } else {
        result = page.call(one.control, address, reinterpret_cast<std::uint64_t>(output) + one.output_offset);
    }
    if (!result)
        return print_line("tlfs: call ", one.name, ": #UD");
    print_line("tlfs: call ", one.name, ": status ", hv::Hex{*result & 0xffff, 4}, " reps ", *result >> 32 & 0xfff);
}

/// A call that wants a list is made again with one element.
void list(const CallPage& page, const Code& one)
{
    constexpr std::uint64_t bad_input{3};
    std::memset(input, 0, sizeof input);
    input[0] = one.code <= flush_list ? read_cr3() : 0;
    auto result = page.call(one.code, reinterpret_cast<std::uint64_t>(input), reinterpret_cast<std::uint64_t>(output));
    if (result && (*result & 0xffff) == bad_input)
        result = page.call(one.code | reps(1), reinterpret_cast<std::uint64_t>(input), reinterpret_cast<std::uint64_t>(output));
    if (result)
        print_line("tlfs: hypercall ", hv::Hex{one.code, 4}, ' ', one.name, ": status ", hv::Hex{*result & 0xffff, 4});
    else
        print_line("tlfs: hypercall ", hv::Hex{one.code, 4}, ' ', one.name, ": #UD");
}

/// The page is code: as input it is read as it is or refused; output never changes it.
void use_page_as_buffer(const CallPage& page)
{
    std::uint64_t before{}, after{};
    std::memcpy(&before, reinterpret_cast<const void*>(page.address()), sizeof before);
    static_cast<void>(page.call(query, 0, page.address()));
    std::memcpy(&after, reinterpret_cast<const void*>(page.address()), sizeof after);
    print_line("tlfs: rule hypercall-page-as-output-stays: ", hv::Hex{std::uint64_t{before == after}});
}

}  // namespace

void probe_hypercalls(const Offer& offer)
{
    const auto page = CallPage::enable();
    if (!page)
        return print_line("tlfs: hypercalls: there is no page");
    enable_vectors();
    const bool is_root{offer.may(create_partitions) || offer.may(cpu_management)};
    for (const Code& one : codes)
        if (!is_root || one.code <= send_ipi_ex || one.code == post || one.code == signal || one.code >= query)
            list(*page, one);
    for (const Case& one : cases)
        make(*page, one);
    output[0] = output[1] = ~0ull;
    static_cast<void>(page->call(query, 0, reinterpret_cast<std::uint64_t>(output)));
    print_line("tlfs: rule capabilities: ", hv::Hex{output[0]});
    print_line("tlfs: rule capabilities-are-8-bytes: ", hv::Hex{std::uint64_t{output[1] == ~0ull}});
    use_page_as_buffer(*page);
    CallPage::disable();
}

}  // namespace guest::tlfs
