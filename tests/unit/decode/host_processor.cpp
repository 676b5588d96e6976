// SPDX-License-Identifier: MIT
//
// A page of generated code: load all registers from absolute addresses, the instruction, store all registers.
#include "host_processor.hpp"

#include <asm/prctl.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace hv::test {

namespace {

std::byte* map_low(std::size_t size, int protection)
{
    void* const address{mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0)};
    if (address == MAP_FAILED) {
        std::perror("mmap");
        std::abort();
    }
    return static_cast<std::byte*>(address);
}

constexpr std::size_t page{4096};

}  // namespace

HostProcessor::HostProcessor()
    : memory_{map_low(memory_size, PROT_READ | PROT_WRITE)},
      code_{map_low(page, PROT_READ | PROT_WRITE | PROT_EXEC)},
      context_{reinterpret_cast<Context*>(map_low(page, PROT_READ | PROT_WRITE))}
{
    syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base());
    next_ = code_;
    emit_prologue();
    prologue_size_ = static_cast<std::size_t>(next_ - code_);
}

HostProcessor::~HostProcessor()
{
    munmap(memory_, memory_size);
    munmap(code_, page);
    munmap(context_, page);
}

void HostProcessor::emit(std::initializer_list<unsigned> bytes)
{
    for (const unsigned byte : bytes)
        *next_++ = static_cast<std::byte>(byte);
}

void HostProcessor::emit_address(const void* address)
{
    const auto low = static_cast<std::uint32_t>(reinterpret_cast<std::uint64_t>(address));
    std::memcpy(next_, &low, sizeof low);
    next_ += sizeof low;
}

void HostProcessor::emit_prologue()
{
    emit({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57});  // push rbx, rbp, r12–r15
    emit({0x48, 0x89, 0x24, 0x25});                                      // mov [host_stack], rsp
    emit_address(&context_->host_stack);
    emit({0xff, 0x34, 0x25});  // push [rflags]; popf
    emit_address(&context_->rflags);
    emit({0x9d});
    for (unsigned i = 0; i < 16; ++i) {  // mov reg, [general[i]]
        emit({i < 8 ? 0x48u : 0x4cu, 0x8b, 0x04 | (i & 7) << 3, 0x25});
        emit_address(&context_->general[i]);
    }
}

void HostProcessor::emit_epilogue()
{
    for (unsigned i = 0; i < 16; ++i) {  // mov [general[i]], reg
        emit({i < 8 ? 0x48u : 0x4cu, 0x89, 0x04 | (i & 7) << 3, 0x25});
        emit_address(&context_->general[i]);
    }
    emit({0x48, 0x8b, 0x24, 0x25});  // mov rsp, [host_stack]
    emit_address(&context_->host_stack);
    emit({0x9c, 0x8f, 0x04, 0x25});  // pushf; pop [rflags]
    emit_address(&context_->rflags);
    emit({0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});
}

core::Registers HostProcessor::run(std::span<const std::byte> instruction, const core::Registers& before)
{
    next_ = code_ + prologue_size_;
    std::memcpy(next_, instruction.data(), instruction.size());
    next_ += instruction.size();
    emit_epilogue();
    std::memcpy(context_->general, before.general, sizeof before.general);
    context_->rflags = (before.rflags & 0xcd5) | 0x202;
    reinterpret_cast<void (*)()>(code_)();
    core::Registers after{};
    std::memcpy(after.general, context_->general, sizeof after.general);
    after.rflags = context_->rflags;
    after.rip = instruction_address() + instruction.size();
    return after;
}

}  // namespace hv::test
