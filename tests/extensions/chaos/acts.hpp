// SPDX-License-Identifier: MIT
//
// The crimes themselves, in the order of crimes.hpp: what needs no more than a function, and `commit`, which knows the rest.
// Part of the chaos module alone.  In the trusted placement most of these end the machine.
#pragma once

#include "crimes.hpp"
#include "hv/ext/extension.hpp"

namespace chaos {

using namespace hv;

using Function = void (*)();

constexpr std::uint64_t hypervisor_text{0xffff'ffff'8020'0000};
constexpr std::uint64_t direct_map{0xffff'8000'0020'0000};
constexpr std::uint64_t stack_area{0xffff'ffff'c000'8000};
constexpr std::uint64_t trusted_modules{0xffff'd000'0000'1000};
constexpr std::uint64_t stub_page{0x0000'4000'0000'0000};
constexpr std::uint64_t non_canonical{0x1234'0000'0000'0000};

inline void read_at(std::uint64_t address)
{
    asm volatile("movb (%0), %%al" : : "r"(address) : "rax", "memory");
}
inline void write_at(std::uint64_t address)
{
    asm volatile("movb $0xc3, (%0)" : : "r"(address) : "memory");
}
inline void jump_to(std::uint64_t address)
{
    asm volatile("call *%0" : : "r"(address) : "memory", "rax", "rcx", "rdx");
}

inline constinit volatile std::uint8_t own_data[16]{0xc3};
inline constexpr std::uint64_t own_constant{5};

[[gnu::noinline]] inline std::uint64_t overflow_stack(std::uint64_t depth)
{
    volatile std::uint64_t frame[64]{depth};
    return depth == ~0ull ? 0 : overflow_stack(depth + 1) + frame[depth % 64];
}

struct FarPointer {
    std::uint64_t offset;
    std::uint16_t selector;
};
inline void far_call(std::uint16_t selector)
{
    const FarPointer target{hypervisor_text, selector};
    asm volatile("rex.w lcall *%0" : : "m"(target) : "memory", "rax");
}

/// What chaos::msr_selectors reads as.  LAR makes the checks of privilege that a far call makes, and faults for none [APM3-3.35 "LAR"].
inline std::uint64_t usable_selectors()
{
    std::uint64_t count{}, first{}, last{};
    for (std::uint32_t selector = 0; selector <= 0xffff; ++selector) {
        std::uint32_t rights{};
        bool usable{};
        asm volatile("larl %2, %0" : "=r"(rights), "=@ccz"(usable) : "r"(selector));
        if (!usable)
            continue;
        first = count++ == 0 ? selector : first;
        last = selector;
    }
    return count << 32 | first << 16 | last;
}

struct DescriptorTable {
    std::uint16_t limit;
    std::uint8_t base[8];
};
inline constinit DescriptorTable table{};

#define INSTRUCTION(name, text)                                                                                   \
    inline void name() { asm volatile(text : : : "memory", "rax", "rcx", "rdx", "r11"); }
INSTRUCTION(do_hlt, "hlt")
INSTRUCTION(do_cli, "cli")
INSTRUCTION(do_sti, "sti")
INSTRUCTION(do_in, "inb $0x60, %%al")
INSTRUCTION(do_out, "outb %%al, $0x80")
INSTRUCTION(do_rdmsr, "movl $0xc0000080, %%ecx\n\trdmsr")
INSTRUCTION(do_wrmsr, "movl $0xc0000082, %%ecx\n\txorl %%eax, %%eax\n\txorl %%edx, %%edx\n\twrmsr")
INSTRUCTION(do_read_cr0, "movq %%cr0, %%rax")
INSTRUCTION(do_write_cr3, "xorl %%eax, %%eax\n\tmovq %%rax, %%cr3")
INSTRUCTION(do_write_cr4, "xorl %%eax, %%eax\n\tmovq %%rax, %%cr4")
INSTRUCTION(do_write_dr7, "xorl %%eax, %%eax\n\tmovq %%rax, %%dr7")
INSTRUCTION(do_ltr, "movl $0x28, %%eax\n\tltr %%ax")
INSTRUCTION(do_invlpg, "invlpg (%%rax)")
INSTRUCTION(do_wbinvd, "wbinvd")
INSTRUCTION(do_clts, "clts")
INSTRUCTION(do_swapgs, "swapgs")
INSTRUCTION(do_xsetbv, "xorl %%ecx, %%ecx\n\txorl %%edx, %%edx\n\tmovl $1, %%eax\n\txsetbv")
INSTRUCTION(do_vmrun, "xorl %%eax, %%eax\n\tvmrun %%rax")
INSTRUCTION(do_vmmcall, "vmmcall")
INSTRUCTION(do_clgi, "clgi")
INSTRUCTION(do_vmload, "xorl %%eax, %%eax\n\tvmload %%rax")
INSTRUCTION(do_syscall, "syscall")
INSTRUCTION(do_sysenter, "sysenter")
INSTRUCTION(do_sysret, "sysretq")
INSTRUCTION(do_int_3, "int3")
INSTRUCTION(do_int_2, "int $2")
INSTRUCTION(do_int_128, "int $128")
INSTRUCTION(do_int_wake, "int $0xf1")
INSTRUCTION(do_icebp, ".byte 0xf1")
INSTRUCTION(do_single_step, "pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop")
INSTRUCTION(do_iret, "movq %%rsp, %%rax\n\tpushq $0x10\n\tpushq %%rax\n\tpushq $2\n\tpushq $8\n\t"
                     "leaq 1f(%%rip), %%rax\n\tpushq %%rax\n\tiretq\n1: nop")
INSTRUCTION(do_xmm, "xorps %%xmm0, %%xmm0")
INSTRUCTION(do_x87, "fninit")
INSTRUCTION(do_divide, "xorl %%ecx, %%ecx\n\txorl %%edx, %%edx\n\tdivl %%ecx")
#undef INSTRUCTION

inline void do_lgdt()
{
    asm volatile("lgdt %0" : : "m"(table));
}
inline void do_lidt()
{
    asm volatile("lidt %0" : : "m"(table));
}
inline void do_sidt()
{
    asm volatile("sidt %0" : "=m"(table));
}
inline void read_null()
{
    read_at(0);
}
inline void write_null()
{
    write_at(0);
}
inline void jump_null()
{
    jump_to(0);
}
template <std::uint64_t Address, void (*Access)(std::uint64_t)>
inline void at()
{
    Access(Address);
}
inline void write_own_text()
{
    write_at(reinterpret_cast<std::uintptr_t>(&write_own_text));
}
inline void write_own_constant()
{
    write_at(reinterpret_cast<std::uintptr_t>(&own_constant));
}
inline void execute_data()
{
    jump_to(reinterpret_cast<std::uintptr_t>(&own_data[0]));
}
inline void execute_stack()
{
    volatile std::uint8_t code[16]{0xc3};
    jump_to(reinterpret_cast<std::uintptr_t>(&code[0]));
}
inline void far_call_kernel()
{
    far_call(0x08);
}
inline void far_call_ldt()
{
    far_call(0x07);
}
inline void overflow()
{
    static_cast<void>(overflow_stack(0));
}
inline void loop()
{
    for (;;)
        asm volatile("" : : : "memory");
}

/// Everything that ring 3 may change of the processor, changed: the hypervisor must not care.
inline void askew()
{
    asm volatile("movl $0x1b, %%eax\n\t"
                 "movl %%eax, %%ds\n\tmovl %%eax, %%es\n\tmovl %%eax, %%fs\n\tmovl %%eax, %%gs\n\t"
                 "pushfq\n\torq $0x244401, (%%rsp)\n\tpopfq\n\t"  // ID, AC, NT, DF and CF
                 "std\n\t"
                 "movq %%rsp, %%rbx\n\t"
                 "movq $-8, %%rsp\n\t"
                 "movl $200, %%eax\n\tint $4\n\t"  // no such service
                 "movabsq $0xffffffff00000049, %%rax\n\txorl %%edi, %%edi\n\tint $4\n\t"
                 "movq %%rbx, %%rsp\n\t"
                 "pushq $2\n\tpopfq\n\tcld"
                 :
                 :
                 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
}

constexpr Function acts[]{
    nullptr,
    read_null,
    write_null,
    jump_null,
    at<hypervisor_text, read_at>,
    at<hypervisor_text, write_at>,
    at<hypervisor_text, jump_to>,
    at<direct_map, read_at>,
    at<direct_map, write_at>,
    at<direct_map, jump_to>,
    at<stack_area, read_at>,
    at<trusted_modules, write_at>,
    at<non_canonical, read_at>,
    at<non_canonical, jump_to>,
    write_own_text,
    write_own_constant,
    execute_data,
    execute_stack,
    at<stub_page, write_at>,
    nullptr,  // write-own-context: with the context
    do_hlt,
    do_cli,
    do_sti,
    do_in,
    do_out,
    do_rdmsr,
    do_wrmsr,
    do_read_cr0,
    do_write_cr3,
    do_write_cr4,
    do_write_dr7,
    do_lgdt,
    do_lidt,
    do_ltr,
    do_sidt,
    do_invlpg,
    do_wbinvd,
    do_clts,
    do_swapgs,
    do_xsetbv,
    do_vmrun,
    do_vmmcall,
    do_clgi,
    do_vmload,
    do_syscall,
    do_sysenter,
    do_sysret,
    do_int_3,
    do_int_2,
    do_int_128,
    do_int_wake,
    do_icebp,
    do_single_step,
    far_call_kernel,
    far_call_ldt,
    do_iret,
    do_xmm,
    do_x87,
    do_divide,
    overflow,
    loop,
    nullptr,  // bad-verdict
    nullptr,  // bad-service-arguments: with the context
    askew,
};
static_assert(std::size(acts) == crimes.size());

consteval std::uint64_t number_of(std::string_view name)
{
    for (std::uint64_t number = 0; number < crimes.size(); ++number)
        if (crimes[number].name == name)
            return number;
    return ~0ull;
}

template <typename T>
T* wild(std::uint64_t address)
{
    return reinterpret_cast<T*>(address);
}

/// True when every service that was given somebody else's memory said so.
inline bool services_refuse(std::uint64_t domain, std::uint64_t vcpu)
{
    const abi::HostTable& host = ext::host();
    bool good = true;
    for (const std::uint64_t address : {hypervisor_text, direct_map, stack_area, std::uint64_t{8}, non_canonical, std::uint64_t{~0ull}}) {
        good = good && host.time_now(domain, wild<std::uint64_t>(address)) != abi::status_ok;
        good = good && host.guest_read(domain, 0, wild<void>(address), 4096) != abi::status_ok;
        good = good && host.guest_write(domain, 0, wild<void>(address), 4096) != abi::status_ok;
        good = good && host.log(abi::LogLevel::error, wild<char>(address), 200) != abi::status_ok;
        good = good && host.registers_read(vcpu, abi::registers_all, wild<abi::GuestRegisters>(address)) != abi::status_ok;
        good = good && host.declare_leaves(domain, wild<abi::DeclaredLeaf>(address), 4) != abi::status_ok;
        good = good && host.allocate(64, 16, wild<void*>(address)) != abi::status_ok;
        good = good && host.release(wild<void>(address)) != abi::status_ok;
        good = good && host.timer_set(address, wild<abi::TimerSetting>(address)) != abi::status_ok;
        good = good && host.vcpu_kick(address) != abi::status_ok;
    }
    return good;
}


/// Who commits, and where the core shows it what it is told.
struct Criminal {
    std::uint64_t domain;
    std::uint64_t vcpu;     ///< 0 in a hook of the domain
    std::uint64_t context;  ///< its address
};

/// Returns where the crime is none, or was refused: the verdict that the hook then gives.
inline abi::Verdict commit(std::uint64_t number, const Criminal& who)
{
    if (number == number_of("write-own-context"))
        write_at(who.context);
    if (number == number_of("bad-verdict"))
        return {static_cast<abi::VerdictKind>(77), 0, 0};
    if (number == number_of("bad-service-arguments"))
        return services_refuse(who.domain, who.vcpu) ? abi::done : abi::Verdict{static_cast<abi::VerdictKind>(78), 0, 0};
    if (acts[number] != nullptr)
        acts[number]();
    return abi::done;
}

}  // namespace chaos
