// SPDX-License-Identifier: MIT
//
// What is said at the end: see panic_report.hpp.  Goes straight to the console: the log's lock may be held by
// the very code that failed.
#include <atomic>

#include "hv/arch/x86/cpu/instructions.hpp"
#include "hv/arch/x86/cpu/panic_report.hpp"
#include "hv/arch/x86/cpu/per_cpu.hpp"
#include "hv/arch/x86/mm/address_space.hpp"
#include "hv/arch/x86/platform/processors.hpp"
#include "hv/arch/x86/platform/serial.hpp"
#include "hv/base/assert.hpp"
#include "hv/base/bounded_text.hpp"

namespace hv::x86 {

namespace {

constexpr unsigned maximum_backtrace{32};

constinit std::atomic<bool> panicking{false};

using Line = BoundedText<200>;

void write(Line& line)
{
    line.append('\n');
    write_serial_console(line.view());
    line.clear();
}

/// The GS base may be a guest's when things went wrong next to a #VMEXIT: look before using it.
bool has_own_cpu_data()
{
    const std::uint64_t base = read_msr(Msr::GS_BASE);
    const auto first = reinterpret_cast<std::uintptr_t>(&cpu_data(0));
    return base >= first && base < first + core::platform::maximum_processors * sizeof(PerCpu) &&
           (base - first) % sizeof(PerCpu) == 0;
}

void append_processor(Line& line)
{
    if (has_own_cpu_data())
        say(line, "processor ", this_cpu().number);
    else
        say(line, "a processor whose GS base is not the hypervisor's");
}

/// One processor panics at a time, and once: a panic in the panic only halts.
void begin_panic()
{
    if (panicking.exchange(true))
        halt_forever();
    stop_other_processors();
}

void write_backtrace(std::uint64_t rip, std::uint64_t rbp)
{
    Line line;
    for (unsigned depth = 0; depth < maximum_backtrace && rip != 0; ++depth) {
        const SymbolName symbol = find_symbol(rip);
        say(line, "  ", Hex{rip, 16});
        if (!symbol.name.empty())
            say(line, ' ', symbol.name, '+', Hex{symbol.offset});
        write(line);
        if (rbp % 8 != 0 || !on_a_stack(rbp, 16))
            break;
        const auto* const frame = reinterpret_cast<const std::uint64_t*>(rbp);
        if (frame[0] != 0 && frame[0] <= rbp && !on_a_stack(frame[0], 16))
            break;
        rip = frame[1];
        rbp = frame[0];
    }
}

void write_registers(const InterruptFrame& frame)
{
    struct Named {
        const char* name;
        std::uint64_t value;
    };
    const Named registers[]{
        {"rax", frame.rax},  {"rbx", frame.rbx},    {"rcx", frame.rcx},  {"rdx", frame.rdx},
        {"rsi", frame.rsi},  {"rdi", frame.rdi},    {"rbp", frame.rbp},  {"rsp", frame.rsp},
        {"r8 ", frame.r8},   {"r9 ", frame.r9},     {"r10", frame.r10},  {"r11", frame.r11},
        {"r12", frame.r12},  {"r13", frame.r13},    {"r14", frame.r14},  {"r15", frame.r15},
        {"cr0", read_cr0()}, {"cr2", read_cr2()},   {"cr3", read_cr3()}, {"cr4", read_cr4()},
        {"rip", frame.rip},  {"flg", frame.rflags}, {"cs ", frame.cs},   {"ss ", frame.ss},
    };
    Line line;
    unsigned column{0};
    for (const Named& named : registers) {
        say(line, ' ', named.name, ' ', Hex{named.value, 16});
        if (++column % 4 == 0)
            write(line);
    }
}

}  // namespace

void panic_on_exception(const InterruptFrame& frame)
{
    begin_panic();
    Line line;
    say(line, "\nPANIC on ");
    append_processor(line);
    say(line, ": exception ", frame.vector, ", error code ", Hex{frame.error_code});
    write(line);
    write_registers(frame);
    write_backtrace(frame.rip, frame.rbp);
    halt_forever();
}

void refuse_to_run(std::string_view sentence)
{
    begin_panic();
    Line line;
    line.append(sentence);
    write(line);
    halt_forever();
}

}  // namespace hv::x86

void hv::panic(const char* file, int line_number, const char* what)
{
    x86::begin_panic();
    x86::Line line;
    say(line, "\nPANIC on ");
    x86::append_processor(line);
    say(line, ": ", file, ":", line_number, ": ", what);
    x86::write(line);
    x86::write_backtrace(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)),
                         reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)));
    x86::halt_forever();
}

/// The compiler's name for a call of a function that has no body.
extern "C" [[noreturn]] void __cxa_pure_virtual();
extern "C" void __cxa_pure_virtual()
{
    hv::panic(__FILE_NAME__, __LINE__, "a pure virtual function was called");
}

/// What std::string_view and std::array call where a program would throw: an index of ours was wrong.
namespace std {
[[noreturn]] void __throw_out_of_range_fmt(const char* format, ...);
void __throw_out_of_range_fmt(const char* format, ...)
{
    hv::panic(__FILE_NAME__, __LINE__, format);
}
}  // namespace std
