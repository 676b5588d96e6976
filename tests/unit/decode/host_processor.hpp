// SPDX-License-Identifier: MIT
//
// The processor that the test runs on, as the oracle of the emulator: runs one instruction in 64-bit mode
// with given registers and says what became of them.  Memory is below 2 GiB, so that 32-bit addresses reach
// it.  x86-64 Linux only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/core/vcpu/registers.hpp"

namespace hv::test {

class HostProcessor {
public:
    HostProcessor();
    ~HostProcessor();
    HostProcessor(const HostProcessor&) = delete;
    HostProcessor& operator=(const HostProcessor&) = delete;

    /// Memory that instructions may access; its middle is far from both of its ends.
    [[nodiscard]] std::span<std::byte> memory() const { return {memory_, memory_size}; }
    /// Where run() puts the instruction.
    [[nodiscard]] std::uint64_t instruction_address() const
    {
        return reinterpret_cast<std::uint64_t>(code_) + prologue_size_;
    }
    /// The base that GS has while an instruction runs.
    [[nodiscard]] static std::uint64_t gs_base() { return 0x1230; }

    /// Runs the instruction with these registers (RIP is ignored; of RFLAGS the status flags and DF count).
    [[nodiscard]] core::Registers run(std::span<const std::byte> instruction, const core::Registers& before);

    static constexpr std::size_t memory_size{1 << 14};

private:
    struct Context {
        std::uint64_t general[16];
        std::uint64_t rflags;
        std::uint64_t host_stack;
    };

    void emit(std::initializer_list<unsigned> bytes);
    void emit_address(const void* address);
    void emit_prologue();
    void emit_epilogue();

    std::byte* memory_{};
    std::byte* code_{};
    std::byte* next_{};
    Context* context_{};
    std::size_t prologue_size_{};
};

}  // namespace hv::test
