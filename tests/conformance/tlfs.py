# SPDX-License-Identifier: MIT
"""What the Hypervisor Top-Level Functional Specification 6.0b requires, as data: leaves, MSRs, hypercalls and how they end.

A `group` is one of those of extensions/viridian, which must offer it; None is for what need not be there.  `grant` says
by which bit a partition is given the item: (privilege, n) is bit n of EBX:EAX of leaf 0x40000003, (feature, n) of its EDX, (hint, n)
of EAX of leaf 0x40000004, (nested, n) of EAX of leaf 0x40000009; `always` needs none.  Sections are the specification's.
"""
from dataclasses import dataclass

BAD_CODE, BAD_INPUT, BAD_ALIGNMENT, BAD_PARAMETER, DENIED = 2, 3, 4, 5, 6
OK, BAD_CONNECTION, BAD_VP_INDEX = 0x0, 0x12, 0xe
STATUS_NAMES = {0: "SUCCESS", 2: "INVALID_HYPERCALL_CODE", 3: "INVALID_HYPERCALL_INPUT", 4: "INVALID_ALIGNMENT",
                5: "INVALID_PARAMETER", 6: "ACCESS_DENIED", 0xe: "INVALID_VP_INDEX", 0x12: "INVALID_CONNECTION_ID"}
ALWAYS = ("always", 0)


def bits(*ranges):
    """A mask of bits and of pairs (highest, lowest)."""
    mask = 0
    for one in ranges:
        high, low = one if isinstance(one, tuple) else (one, one)
        mask |= ((1 << (high - low + 1)) - 1) << low
    return mask


ALL = bits((63, 0))


@dataclass
class LeafBit:
    """A bit of a leaf that offers something."""
    leaf: int
    register: str
    bit: int
    name: str
    group: str = None


@dataclass
class LeafZero:
    """Bits of a leaf that are reserved."""
    leaf: int
    register: str
    mask: int


@dataclass
class Msr:
    number: int
    name: str
    where: str
    grant: tuple
    group: str
    access: str = "RW"      # letters of what is allowed
    start: object = 0       # its value in a guest that has just begun; a word where it is not always the same
    defined: int = ALL      # bits that a guest may set
    preserved: int = 0      # reserved ones that guests are to preserve: taking or refusing them is the hypervisor's choice
    acts: int = 0           # defined ones that need not be read back


@dataclass
class Hypercall:
    code: int
    name: str
    group: str = None
    grant: tuple = ALWAYS
    ends: tuple = (OK,)     # statuses of the call as the guest makes it, with words of zero


@dataclass
class Case:
    """A call of the guest's, and the statuses that it may end with where the call is offered."""
    name: str
    where: str
    group: str
    grant: tuple
    ends: tuple
    reps: int = None
    vectors: bool = False   # input in XMM registers
    words: str = ""


@dataclass
class Rule:
    name: str
    where: str
    group: str
    grant: tuple
    value: str
    words: str


# ---- leaves ---------------------------------------------------------------------------------------------------------------------

FEATURES_LEAF, HINTS_LEAF, HARDWARE_LEAF = 0x40000003, 0x40000004, 0x40000006
LEAF_NAMES = {
    0x40000000: "vendor and range", 0x40000001: "interface", 0x40000002: "system identity", 0x40000003: "features",
    0x40000004: "recommendations", 0x40000005: "limits", 0x40000006: "hardware features", 0x40000007: "CPU management features",
    0x40000008: "shared virtual memory features", 0x40000009: "nested hypervisor features",
    0x4000000a: "nested virtualization features", 0x4000000b: "reserved", 0x4000000c: "isolation configuration",
}
LAST_REQUIRED_LEAF = 0x40000006


def leaf_bits(leaf, register, rows):
    return [LeafBit(leaf, register, bit, name, group) for bit, name, group in rows]


LEAF_BITS = (
    leaf_bits(FEATURES_LEAF, "eax", [
        (0, "AccessVpRunTimeReg", "runtime"), (1, "AccessPartitionReferenceCounter", "time"), (2, "AccessSynicRegs", "synic"),
        (3, "AccessSyntheticTimerRegs", "stimer"), (4, "AccessIntrCtrlRegs", "apic"), (5, "AccessHypercallMsrs", "base"),
        (6, "AccessVpIndex", "base"), (7, "AccessResetReg", "reset"), (8, "AccessStatsReg", None),
        (9, "AccessPartitionReferenceTsc", "time"), (10, "AccessGuestIdleReg", "idle"), (11, "AccessFrequencyRegs", "time"),
        (12, "AccessDebugRegs", None), (13, "AccessReenlightenmentControls", None), (15, "AccessTscInvariantControls", None)])
    + leaf_bits(FEATURES_LEAF, "ebx", [
        (0, "CreatePartitions", None), (1, "AccessPartitionId", None), (2, "AccessMemoryPool", None), (4, "PostMessages", "messages"),
        (5, "SignalEvents", "messages"), (6, "CreatePort", None), (7, "ConnectPort", None), (8, "AccessStats", None),
        (11, "Debugging", None), (12, "CpuManagement", None), (16, "AccessVSM", None), (17, "AccessVpRegisters", None),
        (20, "EnableExtendedHypercalls", "base"), (21, "StartVirtualProcessor", None), (22, "Isolation", None)])
    + leaf_bits(FEATURES_LEAF, "edx", [
        (0, "MWAIT (deprecated)", None), (1, "guest debugging", None), (2, "performance monitor", None),
        (3, "dynamic partitioning events", None), (4, "hypercall input in XMM registers", "input"), (5, "guest idle state", "idle"),
        (6, "hypervisor sleep state", None), (7, "NUMA distances", None), (8, "timer frequencies", "time"),
        (9, "synthetic machine checks", None), (10, "guest crash MSRs", "crash"), (11, "debug MSRs", None), (12, "NPIEP", None),
        (13, "DisableHypervisor", None), (14, "extended GVA ranges for flushes of lists", None),
        (15, "hypercall output in XMM registers", None), (17, "SINT polling mode", "synic"), (18, "hypercall MSR lock", "base"),
        (19, "synthetic timers in direct mode", "stimer"), (20, "PAT register for VSM", None), (21, "BNDCFGS register for VSM", None),
        (23, "synthetic time-unhalted timer", None), (26, "last branch records", None)])
    + leaf_bits(HINTS_LEAF, "eax", [
        (0, "hypercalls for address space switches", None), (1, "hypercalls for local flushes", None),
        (2, "hypercalls for remote flushes", "tlbflush"), (3, "MSRs for EOI, ICR and TPR", "apic"), (4, "the MSR for a reset", "reset"),
        (5, "relaxed timing", "base"), (6, "DMA remapping", None), (7, "interrupt remapping", None), (8, "x2APIC MSRs", None),
        (9, "no AutoEOI", "base"), (10, "synthetic cluster IPIs", "ipi"), (11, "ExProcessorMasks", "tlbflush"),
        (12, "nested in a Hyper-V partition", None), (13, "INT for MBEC system calls", None), (14, "enlightened VMCS", None),
        (15, "synced timeline", None), (17, "direct local flushes of all", None), (18, "no core sharing", None)])
    + leaf_bits(HARDWARE_LEAF, "eax", [
        (0, "APIC overlay assist", None), (1, "MSR bitmaps", None), (2, "performance counters", None),
        (3, "second level address translation", None), (4, "DMA remapping", None), (5, "interrupt remapping", None),
        (6, "memory patrol scrubber", None), (7, "DMA protection", None), (8, "HPET requested", None), (9, "volatile timers", None)]))
LEAF_ZEROS = (
    [LeafZero(0x40000001, register, bits((31, 0))) for register in ("ebx", "ecx", "edx")]
    + [LeafZero(FEATURES_LEAF, "eax", bits((31, 16), 14)), LeafZero(FEATURES_LEAF, "ebx", bits((31, 23), 19, 18, 10, 9, 3)),
       LeafZero(FEATURES_LEAF, "edx", bits((31, 27), 25, 24, 22, 16)), LeafZero(HINTS_LEAF, "eax", bits((31, 19), 16)),
       LeafZero(HINTS_LEAF, "ecx", bits((31, 7))), LeafZero(HINTS_LEAF, "edx", bits((31, 0))),
       LeafZero(0x40000005, "edx", bits((31, 0))), LeafZero(HARDWARE_LEAF, "eax", bits((31, 10)))]
    + [LeafZero(HARDWARE_LEAF, register, bits((31, 0))) for register in ("ebx", "ecx", "edx")])

# ---- MSRs -----------------------------------------------------------------------------------------------------------------------

PAGE, PAGE_PRESERVED = bits((63, 12), 0), bits((11, 1))
SYNIC, TIMERS, INTERRUPTS = ("privilege", 2), ("privilege", 3), ("privilege", 4)
HYPERCALL, TIME = ("privilege", 5), ("privilege", 1)
TIMER_CONFIG = bits((19, 16), (12, 0))
SINT_PRESERVED = bits((63, 19), (15, 8))

MSRS = (
    [Msr(0x40000000, "GUEST_OS_ID", "§3.12", HYPERCALL, "base"),
     Msr(0x40000001, "HYPERCALL", "§3.13", HYPERCALL, "base", defined=PAGE | 2, preserved=bits((11, 2))),
     Msr(0x40000002, "VP_INDEX", "§7.8", ("privilege", 6), "base", "R"),
     Msr(0x40000003, "RESET", "Appendix C", ("privilege", 7), "reset", defined=1),
     Msr(0x40000010, "VP_RUNTIME", "§7.8", ("privilege", 0), "runtime", "R", "a time"),
     Msr(0x40000020, "TIME_REF_COUNT", "§12.3", TIME, "time", "R", "a time"),
     Msr(0x40000021, "REFERENCE_TSC", "§12.7", ("privilege", 9), "time", defined=PAGE, preserved=PAGE_PRESERVED),
     Msr(0x40000022, "TSC_FREQUENCY", "Appendix C", ("privilege", 11), "time", "R", "a frequency"),
     Msr(0x40000023, "APIC_FREQUENCY", "Appendix C", ("privilege", 11), "time", "R", "a frequency"),
     Msr(0x40000040, "NPIEP_CONFIG", "Appendix C", ("feature", 12), None),
     Msr(0x40000070, "EOI", "§10.2", INTERRUPTS, "apic", "W", defined=bits((31, 0))),
     Msr(0x40000071, "ICR", "§10.2", INTERRUPTS, "apic"),
     Msr(0x40000072, "TPR", "§10.2", INTERRUPTS, "apic", defined=bits((7, 0))),
     Msr(0x40000073, "VP_ASSIST_PAGE", "§7.8", INTERRUPTS, "apic", defined=PAGE, preserved=PAGE_PRESERVED),
     Msr(0x40000080, "SCONTROL", "§11.10", SYNIC, "synic", defined=1, preserved=bits((63, 1))),
     Msr(0x40000081, "SVERSION", "§11.10", SYNIC, "synic", "R", "a version"),
     Msr(0x40000082, "SIEFP", "§11.10", SYNIC, "synic", defined=PAGE, preserved=PAGE_PRESERVED),
     Msr(0x40000083, "SIMP", "§11.10", SYNIC, "synic", defined=PAGE, preserved=PAGE_PRESERVED),
     Msr(0x40000084, "EOM", "§11.10", SYNIC, "synic", defined=0)]
    + [Msr(0x40000090 + sint, f"SINT{sint}", "§11.10", SYNIC, "synic", start=0x10000, defined=bits((18, 16), (7, 0)),
           preserved=SINT_PRESERVED) for sint in range(16)]
    + [row for timer in range(4) for row in (
        Msr(0x400000b0 + 2 * timer, f"STIMER{timer}_CONFIG", "§12.3", TIMERS, "stimer", defined=TIMER_CONFIG, acts=1),
        Msr(0x400000b1 + 2 * timer, f"STIMER{timer}_COUNT", "§12.3", TIMERS, "stimer"))]
    + [Msr(number, name, "Appendix C", ("privilege", 32 + 12), None) for number, name in (
        (0x400000c1, "POWER_STATE_TRIGGER_C1"), (0x400000c2, "POWER_STATE_TRIGGER_C2"), (0x400000c3, "POWER_STATE_TRIGGER_C3"),
        (0x400000d1, "POWER_STATE_CONFIG_C1"), (0x400000d2, "POWER_STATE_CONFIG_C2"), (0x400000d3, "POWER_STATE_CONFIG_C3"))]
    + [Msr(number, name, "Appendix C", ("privilege", 8), None) for number, name in (
        (0x400000e0, "STATS_PARTITION_RETAIL_PAGE"), (0x400000e1, "STATS_PARTITION_INTERNAL_PAGE"),
        (0x400000e2, "STATS_VP_RETAIL_PAGE"), (0x400000e3, "STATS_VP_INTERNAL_PAGE"))]
    + [Msr(0x400000f0, "GUEST_IDLE", "Appendix C", ("privilege", 10), "idle", "R")]
    + [Msr(0x400000f1 + index, f"SYNTH_DEBUG_{name}", "Appendix C", ("privilege", 12), None) for index, name in enumerate(
        ("CONTROL", "STATUS", "SEND_BUFFER", "RECEIVE_BUFFER", "PENDING_BUFFER"))]
    + [Msr(0x40000100 + index, f"CRASH_P{index}", "Appendix C", ("feature", 10), "crash") for index in range(5)]
    + [Msr(0x40000105, "CRASH_CTL", "Appendix C", ("feature", 10), "crash", start="what it can do", defined=bits((63, 62)),
           preserved=bits((61, 0))),
       Msr(0x40000106, "REENLIGHTENMENT_CONTROL", "Appendix C", ("privilege", 13), None),
       Msr(0x40000107, "TSC_EMULATION_CONTROL", "Appendix C", ("privilege", 13), None),
       Msr(0x40000108, "TSC_EMULATION_STATUS", "Appendix C", ("privilege", 13), None),
       Msr(0x40000114, "STIME_UNHALTED_TIMER_CONFIG", "Appendix C", ("feature", 23), None),
       Msr(0x40000115, "STIME_UNHALTED_TIMER_COUNT", "Appendix C", ("feature", 23), None),
       Msr(0x40000118, "TSC_INVARIANT_CONTROL", "Appendix C", ("privilege", 15), None, defined=1)]
    + [Msr(number, f"NESTED_{name}", "Appendix C", ("nested", bit), None) for number, name, bit in (
        (0x40001002, "VP_INDEX", 6), (0x40001080, "SCONTROL", 2), (0x40001081, "SVERSION", 2), (0x40001082, "SIEFP", 2),
        (0x40001083, "SIMP", 2), (0x40001084, "EOM", 2), (0x40001090, "SINT0", 2))])

# ---- hypercalls -----------------------------------------------------------------------------------------------------------------

FLUSH, IPI, EX = ("hint", 2), ("hint", 10), ("hint", 11)
POST, SIGNAL, EXTENDED = ("privilege", 32 + 4), ("privilege", 32 + 5), ("privilege", 32 + 20)
OFFERED_CALLS = [
    Hypercall(0x0002, "HvCallFlushVirtualAddressSpace", "tlbflush", FLUSH),
    Hypercall(0x0003, "HvCallFlushVirtualAddressList", "tlbflush", FLUSH),
    Hypercall(0x0008, "HvCallNotifyLongSpinWait", "base", ALWAYS),
    Hypercall(0x000b, "HvCallSendSyntheticClusterIpi", "ipi", IPI, (BAD_PARAMETER,)),
    Hypercall(0x0013, "HvCallFlushVirtualAddressSpaceEx", "tlbflush", FLUSH),
    Hypercall(0x0014, "HvCallFlushVirtualAddressListEx", "tlbflush", FLUSH),
    Hypercall(0x0015, "HvCallSendSyntheticClusterIpiEx", "ipi", IPI, (BAD_PARAMETER,)),
    Hypercall(0x005c, "HvCallPostMessage", "messages", POST, (BAD_CONNECTION, BAD_PARAMETER)),
    Hypercall(0x005d, "HvCallSignalEvent", "messages", SIGNAL, (BAD_CONNECTION, BAD_PARAMETER)),
    Hypercall(0x8001, "HvExtCallQueryCapabilities", "base", EXTENDED),
]

_FLUSH_ROW = ("§9.4", "tlbflush", FLUSH)
_IPI_ROW = ("§10.5", "ipi", IPI)
CASES = (
    [Case(f"code-{word}", "§3.11", "base", ALWAYS, (BAD_CODE,), words="a code that nobody has") for word in ("0", "7777", "8000", "ffff")]
    + [Case(f"input-bit-{bit}", "§3.7", "tlbflush", FLUSH, (BAD_INPUT,), words="a reserved bit of the input value")
       for bit in (27, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63)]
    + [Case(name, "§3.7", "tlbflush", FLUSH, (BAD_INPUT,), words=words) for name, words in (
        ("simple-call-with-a-rep-count", "it must be zero"), ("simple-call-with-a-start-index", "it must be zero"),
        ("header-of-a-call-that-has-none", "a variable header is illegal"), ("rep-call-without-a-count", "the count is zero"),
        ("rep-call-from-its-end", "the index is not less than the count"),
        ("rep-call-from-beyond-its-end", "the index is not less than the count"))]
    + [Case(name, "§3.6", "tlbflush", FLUSH, (BAD_ALIGNMENT,), words=words) for name, words in (
        ("input-unaligned", "on 8 bytes"), ("input-across-pages", "in one page"), ("list-across-pages", "in one page"),
        ("input-beyond-memory", "within the guest's memory"))]
    + [Case(name, "§3.6", "base", EXTENDED, (BAD_ALIGNMENT,), words=words) for name, words in (
        ("output-unaligned", "on 8 bytes"), ("output-beyond-memory", "within the guest's memory"))]
    + [Case("output-of-a-fast-call", "§3.7", "base", EXTENDED, (BAD_INPUT,), words="registers have no room for output"),
       Case("flush-of-a-mask", *_FLUSH_ROW, (OK,)), Case("flush-of-all", *_FLUSH_ROW, (OK,)),
       Case("flush-of-non-global-ones", *_FLUSH_ROW, (OK,)),
       Case("flush-flag-3", *_FLUSH_ROW, (BAD_PARAMETER,), words="a reserved flag"),
       Case("flush-flag-63", *_FLUSH_ROW, (BAD_PARAMETER,), words="a reserved flag"),
       Case("flush-by-vector-registers", *_FLUSH_ROW, (OK,), vectors=True),
       Case("list", *_FLUSH_ROW, (OK,), reps=2, words="all elements are done"),
       Case("list-from-its-middle", *_FLUSH_ROW, (OK,), reps=2, words="the count is of the whole list"),
       Case("flush-of-a-set", *_FLUSH_ROW, (OK,)), Case("flush-of-everybody", *_FLUSH_ROW, (OK,)),
       Case("flush-of-a-set-by-vector-registers", *_FLUSH_ROW, (OK,), vectors=True),
       Case("flush-of-a-set-of-unknown-format", *_FLUSH_ROW, (BAD_PARAMETER,)),
       Case("flush-of-a-set-with-too-few-banks", *_FLUSH_ROW, (BAD_INPUT, BAD_PARAMETER)),
       Case("list-of-a-set", *_FLUSH_ROW, (OK,), reps=2),
       Case("ipi", *_IPI_ROW, (OK,)), Case("ipi-in-registers", *_IPI_ROW, (OK,)), Case("ipi-to-nobody", *_IPI_ROW, (OK,)),
       Case("ipi-vector-15", *_IPI_ROW, (BAD_PARAMETER,), words="vectors are 0x10 to 0xff"),
       Case("ipi-vector-256", *_IPI_ROW, (BAD_PARAMETER,), words="vectors are 0x10 to 0xff"),
       Case("ipi-to-nobody-there", *_IPI_ROW, (BAD_VP_INDEX, BAD_PARAMETER)),
       Case("ipi-to-a-set", *_IPI_ROW, (OK,)), Case("ipi-to-everybody", *_IPI_ROW, (OK,)),
       Case("ipi-to-a-set-by-vector-registers", *_IPI_ROW, (OK,), vectors=True),
       Case("ipi-to-a-set-of-nobody-there", *_IPI_ROW, (BAD_VP_INDEX, BAD_PARAMETER)),
       Case("ipi-to-a-set-of-unknown-format", *_IPI_ROW, (BAD_PARAMETER,)),
       Case("ipi-to-a-set-vector-15", *_IPI_ROW, (BAD_PARAMETER,)),
       Case("spin-wait-in-registers", "Appendix A", "base", ALWAYS, (OK,)),
       Case("spin-wait-in-memory", "Appendix A", "base", ALWAYS, (OK,)),
       Case("message-to-no-connection", "§11", "messages", POST, (BAD_CONNECTION,)),
       Case("message-of-too-many-bytes", "§11", "messages", POST, (BAD_PARAMETER, BAD_CONNECTION)),
       Case("message-of-a-hypervisors-type", "§11", "messages", POST, (BAD_PARAMETER, BAD_CONNECTION)),
       Case("event-to-no-connection", "§11", "messages", SIGNAL, (BAD_CONNECTION,)),
       Case("query", "Appendix A", "base", EXTENDED, (OK,))])

# ---- what registers have to do with each other ----------------------------------------------------------------------------------

TAKEN, FAULT, YES, NO = "taken", "#GP", "0x1", "0x0"
TSC_PAGE = ("privilege", 9)


def page_rules(name, where, group, grant):
    return [Rule(f"{name}-{what}", where, group, grant, value, words) for what, value, words in (
        ("beyond-memory", TAKEN, "accepted, and shown nowhere"), ("enabled", TAKEN, "it lies where the guest wants it"),
        ("begins-with-zeros", YES, "a new page is zero"), ("is-writable", YES, "it is as memory"),
        ("disabled", TAKEN, "the guest may take it away"), ("off-memory-comes-back", YES, "it is an overlay"))]


RULES = (
    [Rule(name, "§3.13", "base", HYPERCALL, value, words) for name, value, words in (
        ("hypercall-page-without-identity", TAKEN, "the write is no fault"),
        ("hypercall-page-without-identity-enabled", NO, "the enable bit stays clear"),
        ("hypercall-page-beyond-memory", FAULT, "the page must be in the guest's memory"),
        ("hypercall-page-enabled", YES, "with an identity it is enabled"),
        ("hypercall-page-covers-memory", YES, "it is an overlay"),
        ("hypercall-page-write", FAULT, "the page is read-only"),
        ("hypercall-page-after-identity-is-cleared-enabled", NO, "it is disabled with the identity"),
        ("memory-comes-back", YES, "it is an overlay"))]
    + [Rule(name, "§3.13", "base", ("feature", 18), value, words) for name, value, words in (
        ("hypercall-page-lock", TAKEN, "the page can be locked"), ("hypercall-page-locked-stays", YES, "nobody moves it then"))]
    + [Rule(f"reference-tsc-page{name}", "§12.7", "time", TSC_PAGE, value, words) for name, value, words in (
        ("-beyond-memory", TAKEN, "accepted, and shown nowhere"), ("", TAKEN, "it lies where the guest wants it"),
        ("-sequence-is-valid", YES, "neither 0 nor all ones"),
        ("-agrees-with-the-counter", "0x64", "each of 100 times between two reads of the counter"),
        ("-off", TAKEN, "the guest may take it away"), ("-off-memory-comes-back", YES, "it is an overlay"))]
    + page_rules("assist-page", "§7.8", "apic", INTERRUPTS) + page_rules("event-page", "§11.8", "synic", SYNIC)
    + page_rules("message-page", "§11.8", "synic", SYNIC)
    + [Rule("capabilities-are-8-bytes", "Appendix A", "base", EXTENDED, YES, "no byte beyond them is written"),
       Rule("hypercall-page-as-output-stays", "§3.6", "base", HYPERCALL, YES, "no call writes over it")])

# Groups that a guest has whose config does not say; `all` is every group above.
DEFAULT_GROUPS = ("base", "time", "apic", "synic", "stimer", "tlbflush", "ipi", "input", "crash")

# What Graft does otherwise, and why.  By item, with * for any letters.
DEVIATIONS = {}

# Of these no item shows anything: extensions/viridian/README.md has all of them.
DEVIATIONS_THAT_NO_ITEM_SHOWS = (
    "A 32-bit caller that sets bit 31 of the input value, which is reserved, is not refused: the hypercall page itself sets it.",
    "The header of a message has the size of its payload before the flags, as all guests read it, and not as the specification draws it.",
    "The reference TSC page takes the TSCs of all VPs for one clock; a guest that writes its TSC computes another time than the counter's.",
)
