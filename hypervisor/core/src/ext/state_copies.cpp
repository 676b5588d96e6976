// SPDX-License-Identifier: MIT
//
// A state block's two copies: the one that hooks work on, and the one as of the last hook that returned
// well.  Between them the bytes go by one string instruction while nobody else looks, and a word at a time
// where a declared MSR may read them meanwhile.
#include <cstring>

#include "binding.hpp"

namespace hv::core {
namespace {

void copy_words(std::uint64_t* to, const std::uint64_t* from, std::uint32_t words)
{
    for (std::uint32_t at = 0; at < words; ++at)  // a word at a time: a declared MSR may read it meanwhile
        __atomic_store_n(to + at, from[at], __ATOMIC_RELAXED);
}

/// The same by one string instruction, while nobody else looks.
void copy_words_at_once(void* to, const void* from, std::uint64_t words)
{
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

}  // namespace

Status StateCopies::create(Heap& heap, std::uint32_t bytes, std::byte* shared)
{
    if (bytes == 0)
        return Done{};
    working = static_cast<std::uint64_t*>(shared != nullptr ? shared : heap.allocate(bytes));
    kept = static_cast<std::uint64_t*>(heap.allocate(bytes));
    if (working == nullptr || kept == nullptr)
        return Error::no_memory;
    words = bytes / static_cast<std::uint32_t>(sizeof *working);
    return Done{};
}

void StateCopies::keep()
{
    copy_words_at_once(kept, working, words);
}

void StateCopies::keep_word_by_word()
{
    copy_words(kept, working, words);
}

void StateCopies::take_back()
{
    copy_words(working, kept, words);
}

void StateCopies::fill(std::span<const std::byte> bytes)
{
    constexpr std::size_t word{sizeof *kept};
    const std::size_t whole = bytes.size() / word;
    HV_ASSERT(bytes.size() <= words * word);
    if (words == 0)
        return;
    if (whole != words)
        clear();
    copy_words_at_once(kept, bytes.data(), whole);
    std::memcpy(kept + whole, bytes.data() + whole * word, bytes.size() % word);
    copy_words_at_once(working, kept, words);
}

void StateCopies::clear()
{
    for (std::uint32_t at = 0; at < words; ++at) {
        __atomic_store_n(working + at, 0, __ATOMIC_RELAXED);
        __atomic_store_n(kept + at, 0, __ATOMIC_RELAXED);
    }
}

}  // namespace hv::core
