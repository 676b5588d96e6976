// SPDX-License-Identifier: MIT
//
// The MMIO emulator against the processor: random instructions with random operands, addressed in random
// ways, must leave memory, registers and flags as the real instruction does.
#include <array>
#include <cpuid.h>
#include <cstring>
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "host_processor.hpp"
#include "hv/core/emulate/mmio.hpp"

using namespace hv;
using namespace hv::core;
using namespace hv::core::emulate;

namespace {

constexpr std::uint64_t status_flags{0x8d5};
constexpr std::uint64_t direction_flag{0x400};

/// A family of encodings: an opcode, the immediate after it, and the values of ModRM.reg that are meant.
struct Family {
    const char* name;
    std::uint8_t map;  ///< 0: primary, 1: 0F, 2: 0F 38
    std::uint8_t opcode;
    std::uint8_t count;  ///< opcodes from there on
    char immediate;      ///< '-', 'b' byte, 'z' operand size up to four, 's' z for odd opcodes, byte for even
    std::uint8_t first_reg{0};  ///< of ModRM
    std::uint8_t last_reg{7};
    bool lockable{false};
    std::uint64_t undefined{0};  ///< flags that the manuals leave undefined
    bool is_string{false};
};

constexpr std::uint64_t adjust{0x10};
constexpr std::uint64_t all_but_carry{0x8d4 & ~0x40u};

constexpr Family families[]{
    {"ADD", 0, 0x00, 4, '-'},
    {"OR", 0, 0x08, 4, '-', 0, 7, false, adjust},
    {"ADC", 0, 0x10, 4, '-'},
    {"SBB", 0, 0x18, 4, '-'},
    {"AND", 0, 0x20, 4, '-', 0, 7, false, adjust},
    {"SUB", 0, 0x28, 4, '-'},
    {"XOR", 0, 0x30, 4, '-', 0, 7, false, adjust},
    {"CMP", 0, 0x38, 4, '-'},
    {"locked ADD", 0, 0x00, 2, '-', 0, 7, true},
    {"group 1", 0, 0x80, 2, 's', 0, 7, false, adjust},
    {"group 1, sign-extended", 0, 0x83, 1, 'b', 0, 7, false, adjust},
    {"group 1 without logic", 0, 0x81, 1, 'z', 2, 3, true},
    {"TEST", 0, 0x84, 2, '-', 0, 7, false, adjust},
    {"TEST with an immediate", 0, 0xf6, 2, 's', 0, 1, false, adjust},
    {"XCHG", 0, 0x86, 2, '-', 0, 7, true},
    {"MOV", 0, 0x88, 4, '-'},
    {"MOV with an immediate", 0, 0xc6, 2, 's', 0, 0},
    {"MOVSXD", 0, 0x63, 1, '-'},
    {"NOT, NEG", 0, 0xf6, 2, '-', 2, 3, true},
    {"INC, DEC", 0, 0xfe, 2, '-', 0, 1, true},
    {"PUSH", 0, 0xff, 1, '-', 6, 6},
    {"POP", 0, 0x8f, 1, '-', 0, 0},
    {"CMOVcc", 1, 0x40, 16, '-'},
    {"SETcc", 1, 0x90, 16, '-'},
    {"BT", 1, 0xa3, 1, '-', 0, 7, false, all_but_carry},
    {"BTS", 1, 0xab, 1, '-', 0, 7, true, all_but_carry},
    {"BTR", 1, 0xb3, 1, '-', 0, 7, true, all_but_carry},
    {"BTC", 1, 0xbb, 1, '-', 0, 7, true, all_but_carry},
    {"BT with an immediate", 1, 0xba, 1, 'b', 4, 7, false, all_but_carry},
    {"CMPXCHG", 1, 0xb0, 2, '-', 0, 7, true},
    {"CMPXCHG8B", 1, 0xc7, 1, '-', 1, 1, true},
    {"XADD", 1, 0xc0, 2, '-', 0, 7, true},
    {"MOVZX", 1, 0xb6, 2, '-'},
    {"MOVSX", 1, 0xbe, 2, '-'},
    {"MOVNTI", 1, 0xc3, 1, '-'},
    {"MOVBE", 2, 0xf0, 2, '-'},
    {"MOVS", 0, 0xa4, 2, '-', 0, 7, false, 0, true},
    {"STOS, LODS, SCAS", 0, 0xaa, 6, '-', 0, 7, false, 0, true},
};

/// One random case: bytes and registers whose memory operand lies in the processor's memory.
struct Case {
    std::vector<std::byte> bytes;
    Registers registers{};
};

class MmioAgainstProcessor : public testing::TestWithParam<Family> {
protected:
    std::uint64_t random() { return generator_(); }
    bool chance(unsigned one_in) { return random() % one_in == 0; }
    std::uint64_t memory_start() { return reinterpret_cast<std::uint64_t>(processor_.memory().data()); }
    std::uint64_t middle() { return memory_start() + test::HostProcessor::memory_size / 2; }

    std::optional<Case> make(const Family& family);
    bool aim(Case& made, const Instruction& instruction);
    void aim_strings(Case& made, const Instruction& instruction);
    std::string emulate(const Case& made, Registers& registers);
    void check(const Family& family, const Case& made);

    Segments segments()
    {
        Segments result{};
        result.segments[static_cast<unsigned>(SegmentRegister::gs)].base = test::HostProcessor::gs_base();
        return result;
    }

    test::HostProcessor processor_{};
    std::mt19937_64 generator_{42};
    unsigned tested_{};
};

std::optional<Case> MmioAgainstProcessor::make(const Family& family)
{
    Case made{};
    const auto put = [&made](std::uint64_t value, unsigned size = 1) {
        for (unsigned i = 0; i < size; ++i)
            made.bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
    };
    const auto opcode = static_cast<std::uint8_t>(family.opcode + random() % family.count);
    if (family.lockable && chance(2))
        put(0xf0);
    if (chance(4))
        put(0x66);
    if (chance(6))
        put(0x67);
    if (chance(6))
        put(0x65);
    if (chance(16))
        put(0x2e);
    if (family.is_string && !chance(3))
        put(chance(2) ? 0xf3 : 0xf2);
    if (chance(2))
        put(0x40 | random() % 16);
    if (family.map != 0)
        put(0x0f);
    if (family.map == 2)
        put(0x38);
    put(opcode);
    if (!family.is_string) {
        const std::uint64_t reg{family.first_reg + random() % (family.last_reg - family.first_reg + 1u)};
        put((random() % 3) << 6 | reg << 3 | random() % 8);
    }
    for (int i = 0; i < 12; ++i)
        put(random());
    for (std::uint64_t& value : made.registers.general)
        value = chance(3) ? random() % 4 - 2 : random();
    made.registers.general[rdx] =
        made.registers.general[rax] >> 32;  // so that CMPXCHG8B finds what it looks for
    made.registers.rflags = (random() & (status_flags | direction_flag)) | 0x202;
    made.registers.rip = processor_.instruction_address();
    const Expected<Instruction> instruction{decode(made.bytes, Mode::bits64)};
    if (!instruction)
        return std::nullopt;
    made.bytes.resize(instruction.value().length);
    if (!family.is_string)
        return aim(made, instruction.value()) ? std::optional{made} : std::nullopt;
    aim_strings(made, instruction.value());
    return made;
}

/// Changes base, index or displacement until the operand lies in the middle of the memory.
bool MmioAgainstProcessor::aim(Case& made, const Instruction& instruction)
{
    std::uint64_t& stack_pointer{made.registers.general[rsp]};
    const bool uses_stack{instruction.map == OpcodeMap::primary &&
                          (instruction.opcode == 0xff || instruction.opcode == 0x8f)};
    if (uses_stack)
        stack_pointer = middle() - 2048;
    const bool bit_string{instruction.map == OpcodeMap::legacy_0f && (instruction.opcode & 0xe7) == 0xa3};
    if (bit_string && made.registers.general[instruction.reg_index()] + 0x4000 > 0x8000)
        made.registers.general[instruction.reg_index()] = random() % 0x8000 - 0x4000;
    const Expected<MmioOperation> first{plan(instruction, made.registers, segments())};
    if (!first)
        return false;
    const bool pops{first.value().operation == Operation::pop};
    const auto address = [pops](const MmioOperation& planned) {
        return (pops || !planned.reads ? planned.write_address : planned.read_address).raw();
    };
    const std::uint64_t distance{middle() + random() % 64 - address(first.value())};
    const bool has_base{instruction.mod() != 0 ||
                        (instruction.has_sib ? instruction.sib & 7 : instruction.rm()) != 5};
    if (has_base) {
        const unsigned base{(instruction.has_sib ? instruction.sib & 7u : instruction.rm()) |
                            ((instruction.rex & rex::b) != 0 ? 8u : 0u)};
        if (uses_stack && base == rsp)
            return false;
        made.registers.general[base] += distance;
    } else {
        std::uint32_t displacement{};
        std::byte* const place{made.bytes.data() + made.bytes.size() - instruction.immediate_size - 4};
        std::memcpy(&displacement, place, 4);
        displacement += static_cast<std::uint32_t>(distance);
        std::memcpy(place, &displacement, 4);
    }
    const Expected<MmioOperation> second{
        plan(decode(made.bytes, Mode::bits64).value(), made.registers, segments())};
    return second && address(second.value()) - memory_start() - 64 < test::HostProcessor::memory_size - 128;
}

void MmioAgainstProcessor::aim_strings(Case& made, const Instruction& instruction)
{
    const bool has_gs{instruction.segment == SegmentRegister::gs};
    made.registers.general[rsi] = middle() + random() % 64 - (has_gs ? test::HostProcessor::gs_base() : 0);
    made.registers.general[rdi] = middle() + random() % 64;
    made.registers.general[rcx] = random() % 20;
    if (instruction.address_size == 4)
        for (const unsigned index : {rsi, rdi, rcx})
            made.registers.general[index] |= random() << 32;
}

/// Runs the emulator to the end of the instruction.  Returns what went wrong, or nothing.
std::string MmioAgainstProcessor::emulate(const Case& made, Registers& registers)
{
    const std::span<std::byte> memory{processor_.memory()};
    const Expected<Instruction> instruction{decode(made.bytes, Mode::bits64)};
    for (unsigned iteration = 0; iteration < 64; ++iteration) {
        const Expected<MmioOperation> planned{plan(instruction.value(), registers, segments())};
        if (!planned)
            return error_name(planned.error());
        const MmioOperation& operation{planned.value()};
        const auto at = [&](GuestLinear address) { return memory.data() + (address.raw() - memory_start()); };
        for (const GuestLinear address : {operation.read_address, operation.write_address})
            if (address.raw() != 0 && address.raw() - memory_start() > memory.size() - 8)
                return "an address outside of the memory";
        std::uint64_t value{};
        if (operation.reads)
            std::memcpy(&value, at(operation.read_address), operation.size);
        const Effect effect{execute(operation, registers, value)};
        if (operation.writes)
            std::memcpy(at(operation.write_address), &effect.write_value, operation.size);
        commit(effect, registers);
        if (registers.rip != made.registers.rip)
            return {};
    }
    return "the instruction does not end";
}

std::string hex(std::span<const std::byte> bytes)
{
    std::string text;
    char buffer[4];
    for (const std::byte byte : bytes) {
        std::snprintf(buffer, sizeof buffer, "%02x ", static_cast<unsigned>(byte));
        text += buffer;
    }
    return text;
}

bool undefined_flags_are_compared()
{
    unsigned eax{}, ebx{}, ecx{}, edx{};
    __get_cpuid(0, &eax, &ebx, &ecx, &edx);
    return ebx == 0x68747541;  // "Auth": the emulator leaves undefined flags as AMD's processors do
}

void MmioAgainstProcessor::check(const Family& family, const Case& made)
{
    const std::span<std::byte> memory{processor_.memory()};
    std::vector<std::byte> initial(memory.size());
    for (std::size_t i = 0; i < initial.size(); i += 8) {
        const std::uint64_t value{chance(4) ? 0 : random()};
        std::memcpy(initial.data() + i, &value, 8);
    }
    if (chance(2))  // so that CMPXCHG and SCAS find what they look for
        for (std::size_t i = 0; i < initial.size(); i += 8)
            std::memcpy(initial.data() + i, &made.registers.general[rax], 8);
    std::memcpy(memory.data(), initial.data(), initial.size());
    Registers emulated{made.registers};
    const std::string problem{emulate(made, emulated)};
    ASSERT_EQ(problem, "") << family.name << ": " << hex(made.bytes);
    const std::vector<std::byte> emulated_memory(memory.begin(), memory.end());

    std::memcpy(memory.data(), initial.data(), initial.size());
    const Registers real{processor_.run(made.bytes, made.registers)};
    ++tested_;
    ASSERT_EQ(std::memcmp(memory.data(), emulated_memory.data(), memory.size()), 0)
        << family.name << ": " << hex(made.bytes);
    for (unsigned i = 0; i < 16; ++i)
        ASSERT_EQ(emulated.general[i], real.general[i])
            << family.name << ": " << hex(made.bytes) << "register " << i;
    const std::uint64_t compared{undefined_flags_are_compared() ? status_flags
                                                                : status_flags & ~family.undefined};
    ASSERT_EQ(emulated.rflags & compared, real.rflags & compared) << family.name << ": " << hex(made.bytes);
    ASSERT_EQ(emulated.rip, real.rip);
}

}  // namespace

TEST_P(MmioAgainstProcessor, LeavesWhatTheInstructionLeaves)
{
    const Family& family{GetParam()};
    constexpr unsigned attempts{3000};
    for (unsigned i = 0; i < attempts; ++i) {
        const std::optional<Case> made{make(family)};
        if (!made)
            continue;
        check(family, *made);
        if (HasFatalFailure())
            return;
    }
    EXPECT_GT(tested_, attempts / 8) << family.name;
}

INSTANTIATE_TEST_SUITE_P(Families, MmioAgainstProcessor, testing::ValuesIn(families));
