// SPDX-License-Identifier: MIT
//
// The control protocol: what the daemon of the control domain and the hypervisor say to each other over one
// byte stream (the port `graft.control`).  Mechanism only; a policy (what to do when a domain ends) is not in
// here.  This is the layout and the numbers; codec.hpp turns them into bytes and back,
// docs/control-protocol.md tells the story.
//
// A frame is a FrameHeader, then `body_length` bytes of body, then `bulk_length` bytes of bulk data.  The
// body is one fixed structure of `fixed_length` bytes and, where a comment says so, a tail (entries or
// text).  All numbers are little-endian; padding is explicit and sent as zero.
//
// It only grows.  Structures are extended at their end, and `fixed_length` (for entries: `entry_size`) says
// how much of one the sender knew: the receiver ignores what it does not know and reads as zero what it was
// not sent.  Values are appended, never renumbered.  The asserts below each structure freeze what is
// published.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hv/base/expected.hpp"

namespace hv::protocol {

// ---- frames -----------------------------------------------------------------------------------------------

inline constexpr std::uint32_t frame_magic{0x5446'5247};  ///< the bytes "GRFT"
inline constexpr std::uint16_t lowest_version{1};
inline constexpr std::uint16_t highest_version{1};

/// The longest body of a frame, in both directions.
inline constexpr std::uint32_t maximum_body{64 * 1024};
/// The most bulk data of a request: it goes from the receive queue to where it belongs and is not kept in
/// between.
inline constexpr std::uint32_t maximum_request_bulk{1024 * 1024};
/// The most bulk data of a reply.
inline constexpr std::uint32_t maximum_reply_bulk{64 * 1024};

enum class FrameKind : std::uint16_t { request = 1, reply = 2, event = 3 };

struct FrameHeader {
    std::uint32_t magic;
    std::uint16_t version;       ///< as agreed by hello; hello itself is always sent as version 1
    std::uint16_t kind;          ///< FrameKind
    std::uint16_t command;       ///< Command; in an event, EventCode
    std::uint16_t status;        ///< in a reply: 0, or an hv::Error, and the body is then a Refusal; else 0
    std::uint16_t fixed_length;  ///< bytes of the fixed structure at the start of the body
    std::uint16_t reserved;
    std::uint64_t request_id;    ///< chosen by the client, not 0, repeated in the reply; 0 in an event
    std::uint32_t body_length;   ///< bytes of body, at most maximum_body
    std::uint32_t bulk_length;   ///< bytes of bulk data after the body; 0 where a command has none
};
static_assert(sizeof(FrameHeader) == 32);
static_assert(offsetof(FrameHeader, command) == 8 && offsetof(FrameHeader, fixed_length) == 12);
static_assert(offsetof(FrameHeader, request_id) == 16 && offsetof(FrameHeader, body_length) == 24);

enum class Command : std::uint16_t {
    hello = 1,
    info = 2,
    subscribe = 3,
    log_read = 4,
    log_clear = 5,

    domain_create = 16,
    domain_finish_build = 17,
    domain_unpause = 18,
    domain_pause = 19,
    domain_destroy = 20,
    domain_rename = 21,
    domain_shutdown = 22,
    domain_trigger = 23,

    domain_list = 32,
    domain_info = 33,
    vcpu_info = 34,
    exit_counts = 35,

    memory_write = 48,
    memory_read = 49,
    registers_set = 50,
    registers_get = 51,

    ext_bind = 64,
    ext_bindings = 65,
    ext_list = 66,
    ext_load_begin = 67,
    ext_load_data = 68,
    ext_load_finish = 69,
    ext_load_abort = 70,
    ext_unload = 71,
    ext_swap = 72,
    ext_rollback = 73,
    ext_inspect = 74,
    ext_detach = 75,
    ext_requests = 80,
    ext_announce = 81,
    ext_settled = 82,
    ext_report = 90,
    ext_core = 91,

    channel_open = 96,
    channel_send = 97,
    channel_receive = 98,
    channel_close = 99,
};

/// Body of every reply whose status is not 0.  Tail: `text_length` bytes of the sentence to show to the user
/// word for word, then `field_length` bytes that name the culprit as a JSON pointer into the request (for
/// example `/params/0/value`), where there is one.
struct Refusal {
    std::uint32_t text_length;
    std::uint32_t field_length;
};
static_assert(sizeof(Refusal) == 8);
inline constexpr std::size_t maximum_refusal_text{4096};
inline constexpr std::size_t maximum_refusal_field{256};

/// Body of a reply or request that carries nothing.
struct Empty {};

// ---- vocabulary -------------------------------------------------------------------------------------------

/// The control domain is number 0; a number is not used again before the machine is switched off.
using DomainId = std::uint32_t;
inline constexpr DomainId control_domain{0};

/// Text in a structure is padded with zero bytes; at least one ends it.
inline constexpr std::size_t name_size{64};  ///< of a domain, a module, a parameter key
inline constexpr std::size_t reason_size{160};
inline constexpr std::uint32_t maximum_vcpus{64};
inline constexpr std::size_t affinity_words{4};
/// Console slots are 1 … maximum_consoles; slot N is the port `graft.console.N`.  0 is no console.
inline constexpr std::uint32_t maximum_consoles{64};

enum class DomainState : std::uint32_t {
    building = 1,  ///< created; memory and registers may be written; no VCPU has run
    paused = 2,
    running = 3,
    ended = 4,     ///< stopped for good with a reason; memory and counts can still be read
    dying = 5,     ///< being destroyed
};

enum class EndReason : std::uint32_t {
    none = 0,
    poweroff = 1,
    reboot = 2,
    halt = 3,
    crash = 4,
    destroyed = 5
};

/// A structure with nothing but the domain: finish_build, unpause, pause, destroy, shutdown, domain_info,
/// ext_bindings.
struct DomainRequest {
    DomainId domain;
    std::uint32_t reserved;
};
static_assert(sizeof(DomainRequest) == 8);

/// Start of the body of a reply that lists.  Tail: `count` entries of `entry_size` bytes each.  `next` is the
/// cursor to ask with for the following entries; with `more` 0 these were the last.
struct ListReply {
    std::uint32_t count;
    std::uint32_t entry_size;
    std::uint64_t next;
    std::uint32_t more;
    std::uint32_t reserved;
};
static_assert(sizeof(ListReply) == 24 && offsetof(ListReply, next) == 8);

// ---- hello, info, log -------------------------------------------------------------------------------------

/// The first request on a connection; before it, everything else is refused.  A second one starts over.
struct HelloRequest {
    std::uint16_t lowest_version;
    std::uint16_t highest_version;
    std::uint32_t reserved;
    char client[32];
};
static_assert(sizeof(HelloRequest) == 40);

/// The version to speak is the highest that both know; none in common is refused with Error::abi_mismatch.
struct HelloReply {
    std::uint16_t version;
    std::uint16_t lowest_version;
    std::uint16_t highest_version;
    std::uint16_t reserved;
    std::uint32_t maximum_body;
    std::uint32_t maximum_request_bulk;
    char server[32];
};
static_assert(sizeof(HelloReply) == 48 && offsetof(HelloReply, server) == 16);

/// Reply to `info` (whose request is Empty).
struct InfoReply {
    std::uint32_t processors;        ///< of the machine, the control domain's among them
    std::uint32_t guest_processors;  ///< those that run guests
    std::uint64_t memory_total;      ///< bytes that the hypervisor manages: not the control domain's
    std::uint64_t memory_free;
    std::uint64_t ticks_per_second;  ///< of the time-stamp counter
    std::uint64_t uptime_ticks;
    std::uint32_t domains;           ///< now, the control domain among them
    std::uint32_t maximum_domains;
    std::uint32_t maximum_vcpus;     ///< of one domain
    std::uint32_t reserved;
    std::uint64_t memory_hypervisor; ///< bytes in use by the hypervisor itself, not by any domain
    char version[64];
    char backend[16];                ///< "svm", …
    char processor[64];              ///< the processor's own name
    char features[256];              ///< words separated by blanks
    char options[512];               ///< the hypervisor's command line
};
static_assert(offsetof(InfoReply, memory_total) == 8 && offsetof(InfoReply, domains) == 40);
static_assert(offsetof(InfoReply, version) == 64 && offsetof(InfoReply, options) == 464 &&
              sizeof(InfoReply) == 976);

/// Which events the client wants; none before it says so.  Reply: Empty.
struct SubscribeRequest {
    std::uint64_t events;  ///< sum of event_bit(EventCode)
};
static_assert(sizeof(SubscribeRequest) == 8);

/// Reads the log from `cursor` on (0: the oldest that is left).  `maximum_bytes` 0 means as much as fits.
struct LogReadRequest {
    std::uint64_t cursor;
    std::uint32_t maximum_bytes;
    std::uint32_t reserved;
};
static_assert(sizeof(LogReadRequest) == 16);

/// Tail: `text_length` bytes, whole lines that end in a newline.  `lost` messages were overwritten before
/// they could be read.  `next` is the cursor to go on with; text_length 0 means there is no more now.
struct LogReadReply {
    std::uint64_t next;
    std::uint64_t lost;
    std::uint32_t text_length;
    std::uint32_t reserved;
};
static_assert(sizeof(LogReadReply) == 24);

// log_clear: request and reply are Empty; what is in the log now is not read again.

// ---- domains ----------------------------------------------------------------------------------------------

/// For one CPUID leaf: result = (policy & and_mask) | or_mask, registers in the order EAX, EBX, ECX, EDX.  An
/// or_mask that sets what the machine cannot do is refused.
struct CpuidMask {
    std::uint32_t leaf;
    std::uint32_t subleaf;
    std::uint32_t and_mask[4];
    std::uint32_t or_mask[4];
};
static_assert(sizeof(CpuidMask) == 40);

/// Tail: `cpuid_count` entries (CpuidMask) of `cpuid_entry_size` bytes.  The domain is made with zeroed
/// memory, paused and in state `building`; if the client goes away before domain_finish_build it is destroyed
/// again.
struct DomainCreateRequest {
    char name[name_size];       ///< not empty, unique among the domains
    std::uint8_t uuid[16];      ///< unique; all zero: the domain has none
    std::uint64_t memory;       ///< bytes of RAM, a multiple of 4096
    std::uint32_t vcpus;        ///< 1 … maximum_vcpus
    std::uint32_t weight;       ///< share of the processors; 0: the default, 256
    std::uint32_t cap;          ///< per cent of one processor; 0: none
    std::uint32_t cpuid_count;
    std::uint32_t cpuid_entry_size;
    std::uint32_t flags;        ///< none defined: 0
    std::uint64_t affinity[affinity_words];  ///< bit n: may run on processor n; all zero: on any
};
static_assert(offsetof(DomainCreateRequest, memory) == 80 && offsetof(DomainCreateRequest, affinity) == 112);
static_assert(sizeof(DomainCreateRequest) == 144);

struct DomainCreateReply {
    DomainId domain;
    std::uint32_t console_slot;
};
static_assert(sizeof(DomainCreateReply) == 8);

// domain_finish_build: DomainRequest → Empty; state becomes `paused`.  unpause, pause, shutdown (the power
// button) and destroy likewise; destroy answers when the domain's memory is free again.

struct DomainRenameRequest {
    DomainId domain;
    std::uint32_t reserved;
    char name[name_size];
};
static_assert(sizeof(DomainRenameRequest) == 72);

enum class Trigger : std::uint32_t { nmi = 1, reset = 2 };

/// nmi: to one VCPU.  reset: the domain ends with EndReason::reboot.  Reply: Empty.
struct DomainTriggerRequest {
    DomainId domain;
    std::uint32_t trigger;  ///< Trigger
    std::uint32_t vcpu;
    std::uint32_t reserved;
};
static_assert(sizeof(DomainTriggerRequest) == 16);

/// domain_list; the cursor is the lowest domain number wanted.  Reply: ListReply of DomainInfo, ascending.
struct DomainListRequest {
    std::uint64_t cursor;
};
static_assert(sizeof(DomainListRequest) == 8);

/// Entry of domain_list, and reply to domain_info.
struct DomainInfo {
    DomainId domain;
    std::uint32_t state;            ///< DomainState
    std::uint32_t end_reason;       ///< EndReason
    std::uint32_t vcpus;
    std::uint64_t memory;           ///< bytes of the guest's RAM
    std::uint64_t memory_overhead;  ///< bytes the hypervisor keeps for it beside that, nested tables included
    std::uint64_t uptime_ticks;     ///< since it was created
    std::uint64_t run_ticks;        ///< all its VCPUs spent running, together
    std::uint64_t exits;
    std::uint32_t weight;
    std::uint32_t cap;
    std::uint32_t console_slot;     ///< 0: no console of this kind
    std::uint32_t extensions;       ///< length of its stack
    std::uint64_t affinity[affinity_words];
    std::uint8_t uuid[16];
    char name[name_size];
    char reason[reason_size];       ///< of an ended one, the text of a crash; of a paused one, why an extension did it
};
static_assert(offsetof(DomainInfo, memory) == 16 && offsetof(DomainInfo, weight) == 56);
static_assert(offsetof(DomainInfo, uuid) == 104 && offsetof(DomainInfo, reason) == 184 &&
              sizeof(DomainInfo) == 344);

/// vcpu_info; the cursor is the lowest VCPU number wanted.  Reply: ListReply of VcpuInfo.
struct VcpuListRequest {
    DomainId domain;
    std::uint32_t reserved;
    std::uint64_t cursor;
};
static_assert(sizeof(VcpuListRequest) == 16);

enum class VcpuState : std::uint32_t {
    running = 1,   ///< on a processor now
    runnable = 2,  ///< waits for its turn
    blocked = 3,   ///< HLT
    stopped = 4,   ///< waits for INIT and SIPI
    paused = 5,
    ended = 6,
};

struct VcpuInfo {
    std::uint32_t vcpu;
    std::uint32_t state;        ///< VcpuState
    std::uint32_t processor;    ///< where it runs or last ran; ~0: nowhere yet
    std::uint32_t apic_id;
    std::uint64_t run_ticks;
    std::uint64_t exits;
    std::uint64_t affinity[affinity_words];
    std::uint64_t state_ticks[4];  ///< spent running, runnable, blocked and offline (stopped or paused), up to now
};
static_assert(offsetof(VcpuInfo, affinity) == 32 && offsetof(VcpuInfo, state_ticks) == 64 &&
              sizeof(VcpuInfo) == 96);

/// `counter` has what the domain's extensions count for themselves, VCPU by VCPU; `vcpu_msr` is `msr` VCPU by VCPU, without those
/// that there was no room to count one by one.
enum class ExitTable : std::uint32_t { reason = 1, msr = 2, port = 3, counter = 4, vcpu_msr = 5 };

/// Reply: ListReply of ExitCount, of all VCPUs together but for `counter` and `vcpu_msr`.
struct ExitCountsRequest {
    DomainId domain;
    std::uint32_t table;  ///< ExitTable
    std::uint64_t cursor;
};
static_assert(sizeof(ExitCountsRequest) == 16);

inline constexpr std::uint32_t exit_count_write{1};  ///< the MSR or port was written, not read
inline constexpr unsigned exit_count_vcpu_shift{8};  ///< of `vcpu_msr`: in the bits from here on the VCPU

struct ExitCount {
    std::uint32_t key;    ///< the exit's number, the MSR, the port or the VCPU
    std::uint32_t flags;  ///< exit_count_write; of a counter the extension's position in the stack
    std::uint64_t count;
    char name[32];        ///< of the reason or MSR where there is one, or of the counter
};
static_assert(sizeof(ExitCount) == 48);

// ---- memory and registers ---------------------------------------------------------------------------------

/// memory_write: `bulk_length` bytes of bulk data to guest-physical `address`; the range lies in one domain's
/// RAM.  A request that is refused half-way says so; what was written until then stays.  Reply: Empty.
struct MemoryWriteRequest {
    DomainId domain;
    std::uint32_t reserved;
    std::uint64_t address;
};
static_assert(sizeof(MemoryWriteRequest) == 16);

/// Reply: Empty, with `length` bytes of bulk data; `length` is at most maximum_reply_bulk.
struct MemoryReadRequest {
    DomainId domain;
    std::uint32_t length;
    std::uint64_t address;
};
static_assert(sizeof(MemoryReadRequest) == 16);

struct SegmentRegister {
    std::uint64_t base;
    std::uint32_t limit;       ///< in bytes, scaled by G already
    std::uint16_t selector;
    std::uint16_t attributes;  ///< bits 0–7 the access byte, bits 8–11 AVL, L, D/B, G [APM2-3.41 §15.5.1]
};
static_assert(sizeof(SegmentRegister) == 16);

struct DescriptorTableRegister {
    std::uint64_t base;
    std::uint32_t limit;
    std::uint32_t reserved;
};
static_assert(sizeof(DescriptorTableRegister) == 16);

/// A VCPU's registers.
struct VcpuRegisters {
    /// In the instruction encoding's order: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 …
    std::uint64_t general[16];
    std::uint64_t rip;
    std::uint64_t rflags;
    std::uint64_t cr0, cr2, cr3, cr4, cr8;
    std::uint64_t efer;
    SegmentRegister segments[6];  ///< ES, CS, SS, DS, FS, GS
    SegmentRegister ldtr, tr;
    DescriptorTableRegister gdtr, idtr;
};
static_assert(offsetof(VcpuRegisters, rip) == 128 && offsetof(VcpuRegisters, cr0) == 144);
static_assert(offsetof(VcpuRegisters, segments) == 192 && offsetof(VcpuRegisters, gdtr) == 320);
static_assert(sizeof(VcpuRegisters) == 352);

/// While the domain is being built.  A VCPU whose registers are set starts running there; the others wait for
/// SIPI.  A combination that no processor accepts is refused, with the register as the field.  Reply: Empty.
struct RegistersSetRequest {
    DomainId domain;
    std::uint32_t vcpu;
    VcpuRegisters registers;
};
static_assert(sizeof(RegistersSetRequest) == 360 && offsetof(RegistersSetRequest, registers) == 8);

/// Reply: VcpuRegisters.  The VCPU must not be running: the domain is paused, being built or ended.
struct RegistersGetRequest {
    DomainId domain;
    std::uint32_t vcpu;
};
static_assert(sizeof(RegistersGetRequest) == 8);

// ---- extensions -------------------------------------------------------------------------------------------

enum class ParameterType : std::uint16_t { boolean = 1, integer = 2, text = 3, empty_list = 4 };
inline constexpr std::uint32_t maximum_parameters{64};
inline constexpr std::uint32_t maximum_parameter_text{1024};

/// Head of one parameter in the tail of ext_bind; `key_length` bytes of key and `value_length` bytes of value
/// follow at once.  A boolean is one byte, 0 or 1; an integer eight bytes, signed; text is UTF-8 without a
/// zero.  A list is its elements one after the other, under the same key; an empty one has no value.
struct ParameterHead {
    std::uint16_t type;  ///< ParameterType
    std::uint16_t key_length;
    std::uint32_t value_length;
};
static_assert(sizeof(ParameterHead) == 8);

/// Where an instance runs.
enum class BindPlacement : std::uint32_t {
    isolated = 1,  ///< without privileges, in an address space of its own
    trusted = 2,   ///< in the hypervisor
};
/// What becomes of the domain when the instance fails.
enum class FaultPolicy : std::uint32_t {
    restart = 1,
    detach = 2,
    pause = 3,
    crash = 4,
};

struct ModuleName {
    char name[name_size];
};
static_assert(sizeof(ModuleName) == 64);

/// Says the whole stack before its first instance is bound, so that windows are allotted for all of it: what a
/// module demands at a fixed place is kept free of those that are content with another.  Tail: `module_count`
/// entries (ModuleName) of `module_entry_size` bytes, in stacking order.  After it ext_bind takes just these, in
/// this order, and domain_finish_build wants them all bound.  A domain that is announced nothing takes what is
/// bound, each placed by itself.  A refusal names the culprit as `/modules/N`.  Reply: Empty.
struct ExtAnnounceRequest {
    DomainId domain;
    std::uint32_t module_count;
    std::uint32_t module_entry_size;
    std::uint32_t reserved;
};
static_assert(sizeof(ExtAnnounceRequest) == 16);

/// Puts an instance of a loaded module on top of the domain's stack: the first bound is the first asked.  While the
/// domain is being built, or under a guest that runs or is paused, whose VCPUs then stand still meanwhile.  A refusal
/// leaves everything as it was.  Tail: `parameter_count` parameters.  A refusal names the culprit as `/params/N`, N
/// counting them from 0.
struct ExtBindRequest {
    DomainId domain;
    std::uint32_t parameter_count;
    std::uint32_t placement;  ///< BindPlacement, or 0: the hypervisor's default
    std::uint32_t on_fault;   ///< FaultPolicy, or 0: the hypervisor's default
    char module[name_size];
};
static_assert(sizeof(ExtBindRequest) == 80 && offsetof(ExtBindRequest, module) == 16);

struct ExtBindReply {
    std::uint32_t position;  ///< in the stack, from 0
    std::uint32_t reserved;
};
static_assert(sizeof(ExtBindReply) == 8);

/// ext_bindings: DomainRequest → ListReply of Binding, in stacking order.
struct Binding {
    char module[name_size];
    char version[32];
    std::uint32_t position;
    std::uint32_t cpuid_base;    ///< first leaf of the block it was allotted; 0: none
    std::uint64_t memory_bytes;  ///< the hypervisor's memory that the instance holds
    std::uint32_t placement;     ///< BindPlacement
    std::uint32_t on_fault;      ///< FaultPolicy
    std::uint32_t restarts;      ///< of instances that failed, since the bind
    std::uint32_t flags;         ///< binding_*
    std::uint64_t generation;    ///< of the domain's stack: 1, and one more with each swap
    std::uint64_t budget_ns;     ///< how long a hook may run
};
static_assert(sizeof(Binding) == 144 && offsetof(Binding, position) == 96 && offsetof(Binding, placement) == 112 &&
              offsetof(Binding, generation) == 128);
inline constexpr std::uint32_t binding_ended{1};  ///< the instance has failed, and no hook is called any more

/// ext_list; the cursor counts modules.  Reply: ListReply of ModuleInfo.
struct ExtListRequest {
    std::uint64_t cursor;
};
static_assert(sizeof(ExtListRequest) == 8);

/// Entry of ext_list, and reply to ext_load_finish.
struct ModuleInfo {
    char name[name_size];
    char version[32];
    std::uint16_t abi_major, abi_minor;
    std::uint32_t bindings;   ///< instances of it now
    std::uint64_t file_size;  ///< bytes
    std::uint8_t hash[32];    ///< SHA-256 of the file, as the hypervisor has it
    char path[256];           ///< as given to ext_load_begin
    char signer[name_size];   ///< the name of the trusted key that signed the file; empty unless it is `good`
    std::uint32_t signature;  ///< SignatureState
    std::uint32_t flags;      ///< module_*
    std::uint64_t needs;      ///< the services that it may use: the manifest's bits
    std::uint64_t generation;    ///< counts the files loaded since the machine was started, from 1
    std::uint64_t memory_bytes;  ///< the hypervisor's memory that it holds, instances not counted
    char description[80];
};
static_assert(offsetof(ModuleInfo, abi_major) == 96 && offsetof(ModuleInfo, hash) == 112);
static_assert(offsetof(ModuleInfo, signer) == 400 && offsetof(ModuleInfo, signature) == 464 &&
              offsetof(ModuleInfo, generation) == 480 && offsetof(ModuleInfo, description) == 496 &&
              sizeof(ModuleInfo) == 576);

enum class SignatureState : std::uint32_t {
    none = 0,       ///< the file came without a signature
    unchecked = 1,  ///< with one, and no key was given at boot to check it with
    good = 2,
};
inline constexpr std::uint32_t module_serial{1};  ///< hooks of one instance run one at a time

/// ext_requests: what a module's manifest asks for beside services, windows first.  Reply: ListReply of
/// ModuleRequest.
struct ExtRequestsRequest {
    char module[name_size];
    std::uint64_t cursor;
};
static_assert(sizeof(ExtRequestsRequest) == 72);

enum class ModuleRequestKind : std::uint32_t { window = 1, exit = 2 };

struct ModuleRequest {
    std::uint32_t kind;   ///< ModuleRequestKind
    std::uint32_t what;   ///< the extension ABI's WindowKind or ExitKind
    std::uint32_t flags;  ///< of a window: 1 fixed, 2 optional; of an exit: 1 instead of the core, else before it
    std::uint32_t reserved;
    std::uint64_t first;  ///< leaf, MSR, port, guest-physical address, vector or register; 0: anywhere, or none
    std::uint64_t count;  ///< how many of them; 0 where the kind has none
    char label[32];
};
static_assert(sizeof(ModuleRequest) == 64);

/// ext_settled: what the extensions of a domain say that their parameters came to, in stacking order.  Reply: ListReply of
/// SettledParameter.
struct ExtSettledRequest {
    DomainId domain;
    std::uint32_t reserved;
    std::uint64_t cursor;
};
static_assert(sizeof(ExtSettledRequest) == 16);

/// One value; a parameter that is a list has one entry for each.
struct SettledParameter {
    std::uint32_t position;  ///< of the extension in the stack, from 0
    std::uint32_t reserved;
    char key[32];
    char value[64];
};
static_assert(sizeof(SettledParameter) == 104);

/// Begins to send a module file.  Nothing of it is looked at before ext_load_finish.
struct ExtLoadBeginRequest {
    std::uint64_t size;     ///< bytes of the file
    std::uint8_t hash[32];  ///< SHA-256 of the file by the client; not used: the hypervisor makes its own
    char path[256];         ///< where the client found it; kept for ext_list
    std::uint32_t signature_length;  ///< 64, or 0: the file comes without a signature
    std::uint32_t reserved;
    std::uint8_t signature[64];      ///< Ed25519, over the whole file
};
static_assert(offsetof(ExtLoadBeginRequest, signature_length) == 296 &&
              offsetof(ExtLoadBeginRequest, signature) == 304 && sizeof(ExtLoadBeginRequest) == 368);

struct ExtLoadBeginReply {
    std::uint32_t upload;
    std::uint32_t reserved;
};
static_assert(sizeof(ExtLoadBeginReply) == 8);

/// Bulk data: the file's bytes from `offset` on, in ascending order without gaps.  Reply: Empty.
struct ExtLoadDataRequest {
    std::uint32_t upload;
    std::uint32_t reserved;
    std::uint64_t offset;
};
static_assert(sizeof(ExtLoadDataRequest) == 16);

/// ext_load_finish: checks and links the file; the reply is ModuleInfo or the loader's own sentences.  Either
/// way the upload is over.  ext_load_abort: the upload is over; reply: Empty.
struct ExtLoadEndRequest {
    std::uint32_t upload;
    std::uint32_t reserved;
};
static_assert(sizeof(ExtLoadEndRequest) == 8);

/// A module that has instances is refused with Error::busy.  Reply: Empty.
struct ExtUnloadRequest {
    char module[name_size];
};
static_assert(sizeof(ExtUnloadRequest) == 64);

inline constexpr std::uint32_t ext_swap_dry_run{1};  ///< everything that is judged before anything stops, and no more
/// In bits 11:8 of the flags the number of a step that is to fail, to see that nothing comes of it; 0: none.
enum class SwapStepNumber : std::uint32_t {
    none = 0,
    create = 1,
    offer = 2,
    trial_export = 3,
    trial_import = 4,
    stop = 5,
    final_export = 6,
    final_import = 7,
    publish = 8,
};
inline constexpr unsigned ext_swap_fail_at_shift{8};
inline constexpr std::uint32_t ext_swap_fail_at_mask{0xf00};
inline constexpr std::uint32_t ext_swap_known_flags{ext_swap_dry_run | ext_swap_fail_at_mask};

/// Gives the place of `old_module` in a running domain's stack to another module, with the state that it has: a
/// loaded one, or a file that was sent as for ext_load_finish and is loaded by this.  Either way the upload is
/// over.  A refusal leaves everything as it was.  Reply: ExtSwapReply, once the guest runs again.
struct ExtSwapRequest {
    DomainId domain;
    std::uint32_t upload;  ///< 0: the module is named
    std::uint32_t flags;   ///< ext_swap_*
    std::uint32_t probation_s;  ///< an instance that fails within so many seconds gives way to the old module; 0: it does not
    char old_module[name_size];
    char new_module[name_size];
};
static_assert(sizeof(ExtSwapRequest) == 144 && offsetof(ExtSwapRequest, old_module) == 16);

/// ext_rollback: swaps back to the module before the last swap; reply: ExtSwapReply.  ext_inspect: see
/// ExtInspectReply.  ext_detach: takes the instance from under a guest that runs or is paused, and gives back what it
/// held; the guest's CPUID leaves stay as it was told them, MSRs are #GP, hypercalls #UD.  Reply: Empty.
struct ExtOfDomainRequest {
    DomainId domain;
    std::uint32_t reserved;
    char module[name_size];
};
static_assert(sizeof(ExtOfDomainRequest) == 72);

inline constexpr std::uint32_t swap_reverts{1};  ///< the new state was seen to go back into the old module

/// Ticks of the time-stamp counter.  Tail: `vcpu_count` SwappedVcpu.  All zero but names after a dry run.
struct ExtSwapReply {
    std::uint64_t generation;       ///< of the domain's stack: 1, and one more with each swap
    std::uint64_t blackout_ticks;   ///< from the last VCPU's stop to the first one's going on
    std::uint64_t stop_ticks;       ///< from the first request to stop to the last VCPU's stop
    std::uint32_t armed_timers;     ///< that went over
    std::uint32_t overlays;         ///< pages over the guest's memory
    std::uint32_t continuations;    ///< hypercalls under way
    std::uint32_t flags;            ///< swap_*
    char old_module[name_size];
    char old_version[32];
    char new_module[name_size];
    char new_version[32];
    std::uint32_t vcpu_count;
    std::uint32_t vcpu_entry_size;
};
static_assert(offsetof(ExtSwapReply, old_module) == 40 && offsetof(ExtSwapReply, vcpu_count) == 232);
static_assert(sizeof(ExtSwapReply) == 240);

enum class SwappedState : std::uint32_t {
    went_on = 1,
    did_not_run = 2,  ///< halted or stopped when the others went on: it missed nothing
};
struct SwappedVcpu {
    std::uint32_t vcpu;
    std::uint32_t state;       ///< SwappedState
    std::uint64_t out_ticks;   ///< from its stop to its going on
};
static_assert(sizeof(SwappedVcpu) == 16);

/// One state record, as in the extension ABI's state_record.hpp; `length` bytes of data follow, padded to a
/// multiple of 8.  Types from first_module_record on are the module's own: their data are StateField, each with
/// its value padded to a multiple of 4.
struct StateRecordHead {
    std::uint32_t type;
    std::uint16_t version;
    std::uint16_t flags;
    std::uint32_t length;
    std::uint32_t vcpu;  ///< or record_of_domain
};
static_assert(sizeof(StateRecordHead) == 16 && offsetof(StateRecordHead, length) == 8);
inline constexpr std::uint32_t record_domain_block{1};
inline constexpr std::uint32_t record_vcpu_block{2};
inline constexpr std::uint32_t record_continuation{3};
inline constexpr std::uint32_t first_module_record{0x1000};
inline constexpr std::uint32_t record_of_domain{0xffff'ffff};
struct StateField {
    std::uint16_t number;
    std::uint16_t length;
};
static_assert(sizeof(StateField) == 4);

/// Bulk data: StateRecordHead and data, one after the other, at most what a reply takes.
struct ExtInspectReply {
    char version[32];  ///< of the module
    std::uint64_t generation;
};
static_assert(sizeof(ExtInspectReply) == 40);

/// ext_report: what is kept of an instance that failed.  The hypervisor keeps a domain's newest few for as long as the
/// domain is there, whatever became of the instance.  Reply: ExtReportReply; Error::not_found where there is none (left).
struct ExtReportRequest {
    DomainId domain;
    std::uint32_t skip;      ///< 0: the newest, 1: the one before it …
    char module[name_size];  ///< empty: of any module
};
static_assert(sizeof(ExtReportRequest) == 72);

inline constexpr std::uint32_t report_has_registers{1};  ///< the hook did not return
inline constexpr std::uint32_t report_of_bind{2};        ///< there was no guest yet: nothing was done but to refuse
inline constexpr std::uint32_t report_of_domain{0xffff'ffff};

/// Bulk data: `frame_count` ReportFrame of `frame_size` bytes, the innermost first, then `event_count` ReportEvent of
/// `event_size` bytes, the oldest first.
struct ExtReportReply {
    std::uint64_t number;      ///< counts the failures in this domain, from 1
    std::uint64_t failures;    ///< in this domain until now
    std::uint64_t ticks;       ///< of the time-stamp counter, at the failure
    std::uint64_t generation;  ///< which load of the module: as in ModuleInfo
    std::uint64_t general[16]; ///< in the instruction encoding's order
    std::uint64_t rip, rflags;
    std::uint64_t fault_address;  ///< of a page fault
    std::uint64_t image;          ///< where the module's text began
    std::uint32_t vector;
    std::uint32_t error_code;
    std::uint32_t vcpu;       ///< report_of_domain: the hook was not a VCPU's
    std::uint32_t placement;  ///< BindPlacement
    std::uint32_t action;     ///< FaultPolicy: what was done then
    std::uint32_t flags;      ///< report_*
    std::uint32_t frame_count, frame_size;
    std::uint32_t event_count, event_size;
    char module[name_size];
    char version[32];
    std::uint8_t hash[32];  ///< SHA-256 of the module's file
    char hook[32];
    char reason[reason_size];
};
static_assert(offsetof(ExtReportReply, rip) == 160 && offsetof(ExtReportReply, vector) == 192);
static_assert(offsetof(ExtReportReply, frame_count) == 216 && offsetof(ExtReportReply, module) == 232 &&
              offsetof(ExtReportReply, reason) == 392 && sizeof(ExtReportReply) == 552);

inline constexpr std::uint32_t report_frame_guessed{1};  ///< found on the stack, not by the chain of frame pointers

struct ReportFrame {
    std::uint64_t address;
    std::uint64_t offset;  ///< in the function
    std::uint32_t flags;
    std::uint32_t reserved;
    char symbol[112];  ///< as in the module's file; empty: unknown
};
static_assert(sizeof(ReportFrame) == 136);

enum class ReportEventKind : std::uint32_t { hook = 1, service = 2 };

struct ReportEvent {
    std::uint64_t ticks;
    std::uint32_t vcpu;  ///< or report_of_domain
    std::uint32_t kind;  ///< ReportEventKind
    std::uint32_t argument_count;
    std::uint32_t reserved;
    std::uint64_t arguments[5];  ///< of a hook, after its context; a pointer is the module's
    char name[32];
    char result[40];  ///< the verdict, or the service's answer, in words
};
static_assert(sizeof(ReportEvent) == 136);

/// ext_core: the memory of the newest instance of the domain that failed after its bind, as it was then, piece by piece: an isolated
/// one's image, constants, state, allocations and the stack of the hook that failed.  Error::not_found where none is kept, or there
/// is no such segment.
struct ExtCoreRequest {
    DomainId domain;
    std::uint32_t segment;  ///< from 0
    std::uint64_t offset;   ///< in the segment
};
static_assert(sizeof(ExtCoreRequest) == 16);

inline constexpr std::uint32_t core_writable{1};
inline constexpr std::uint32_t core_executable{2};

/// Bulk data: the segment's bytes from the offset on, as many as a reply takes.
struct ExtCoreReply {
    std::uint64_t number;   ///< of the failure: as in ExtReportReply
    std::uint64_t address;  ///< of the segment, the module's
    std::uint64_t bytes;    ///< of the whole segment
    std::uint32_t flags;    ///< core_*
    std::uint32_t segment_count;
};
static_assert(sizeof(ExtCoreReply) == 32);

// ---- channels ---------------------------------------------------------------------------------------------

/// Bytes of the longest message; the shortest has one.
inline constexpr std::uint32_t longest_channel_message{512};

/// Opens an end of the channel `name` of a domain that is built and has extensions; the other end is one of them's, whether it has
/// opened it already or will.  It lives until it is closed, the domain is gone, or the client is.  Refused with already_exists where
/// this client has it, with conflict where two extensions have both ends or the domain has none, with limit_reached beyond 8 ends
/// of a domain.
struct ChannelOpenRequest {
    DomainId domain;
    std::uint32_t reserved;
    char name[32];  ///< 1 to 31 printable ASCII letters without a blank
};
static_assert(sizeof(ChannelOpenRequest) == 40);

inline constexpr std::uint32_t channel_connected{1};  ///< an extension has the other end

struct ChannelOpenReply {
    std::uint64_t channel;  ///< this end's number in its domain
    std::uint32_t flags;    ///< channel_*
    std::uint32_t reserved;
};
static_assert(sizeof(ChannelOpenReply) == 16);

/// Tail: the message, as many bytes as it has.  Reply: Empty, and the message waits for the extension, which hears of messages in
/// their order.  Refused with not_found and the field `/channel` where nobody has the other end, and with limit_reached where as many
/// as can wait there do: the event channel_changed comes when that is over.
struct ChannelSendRequest {
    DomainId domain;
    std::uint32_t length;  ///< of the message, all that is behind this structure
    std::uint64_t channel;
};
static_assert(sizeof(ChannelSendRequest) == 16);

/// channel_receive and channel_close (reply: Empty; what waits there is dropped).
struct ChannelRequest {
    DomainId domain;
    std::uint32_t maximum;  ///< of channel_receive: messages wanted; 0: all that wait
    std::uint64_t channel;
};
static_assert(sizeof(ChannelRequest) == 16);

/// Tail: `count` messages in the order of sending, each a ChannelMessageHead and its bytes.  They do not wait any more.
struct ChannelReceiveReply {
    std::uint32_t count;
    std::uint32_t waiting;  ///< that are left
    std::uint32_t flags;    ///< channel_*
    std::uint32_t reserved;
};
static_assert(sizeof(ChannelReceiveReply) == 16);

struct ChannelMessageHead {
    std::uint32_t length;
};
static_assert(sizeof(ChannelMessageHead) == 4);

// ---- events -----------------------------------------------------------------------------------------------

enum class EventCode : std::uint16_t {
    domain_ended = 1,     ///< DomainEndedEvent
    console_changed = 2,  ///< ConsoleChangedEvent
    log_grew = 3,         ///< LogGrewEvent
    channel_changed = 4,  ///< ChannelChangedEvent
};
constexpr std::uint64_t event_bit(EventCode code)
{
    return std::uint64_t{1} << static_cast<unsigned>(code);
}

/// A domain's state became `ended`.  Sent once per domain; domain_list tells a client that came later.
struct DomainEndedEvent {
    DomainId domain;
    std::uint32_t end_reason;  ///< EndReason
    char reason[reason_size];
};
static_assert(sizeof(DomainEndedEvent) == 168);

/// A console slot was given to a domain, or (domain 0) is free again.
struct ConsoleChangedEvent {
    std::uint32_t slot;
    DomainId domain;
};
static_assert(sizeof(ConsoleChangedEvent) == 8);

/// There is more log than what log_read has returned.  Sent again only after a log_read.
struct LogGrewEvent {
    std::uint64_t next;  ///< the cursor behind the newest message
};
static_assert(sizeof(LogGrewEvent) == 8);

/// At an end of the client's a message waits where none did, or the other end was opened or closed, or there is room again for a
/// message that was refused.  What it says was true when it was sent: ask.  Of messages it is sent again only after a
/// channel_receive that left none.
struct ChannelChangedEvent {
    DomainId domain;
    std::uint32_t waiting;
    std::uint64_t channel;
    std::uint32_t flags;  ///< channel_*
    std::uint32_t reserved;
};
static_assert(sizeof(ChannelChangedEvent) == 24);

}  // namespace hv::protocol
