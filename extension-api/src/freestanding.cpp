// SPDX-License-Identifier: MIT
//
// The functions that a compiler or the freestanding-usable headers may call, for the hypervisor and for
// modules alike.  Copies and fills are string instructions, which need no register that belongs to a guest's
// FPU: quadwords first, for an emulator takes each turn of a repeated one by itself where a processor with fast
// strings takes a cache line at a time.  Not a C library: nothing else of <cstring> exists.
#include <cstddef>

extern "C" {

void* memcpy(void* __restrict destination, const void* __restrict source, std::size_t bytes)
{
    void* const result = destination;
    std::size_t words = bytes / 8;
    asm volatile("rep movsq" : "+D"(destination), "+S"(source), "+c"(words) : : "memory");
    bytes %= 8;
    asm volatile("rep movsb" : "+D"(destination), "+S"(source), "+c"(bytes) : : "memory");
    return result;
}

void* memset(void* destination, int value, std::size_t bytes)
{
    void* const result = destination;
    const std::size_t pattern = static_cast<unsigned char>(value) * 0x0101'0101'0101'0101u;
    std::size_t words = bytes / 8;
    asm volatile("rep stosq" : "+D"(destination), "+c"(words) : "a"(pattern) : "memory");
    bytes %= 8;
    asm volatile("rep stosb" : "+D"(destination), "+c"(bytes) : "a"(pattern) : "memory");
    return result;
}

void* memmove(void* destination, const void* source, std::size_t bytes)
{
    auto* const to = static_cast<unsigned char*>(destination);
    const auto* const from = static_cast<const unsigned char*>(source);
    // Backwards only where a forward copy would overwrite what it has still to read.
    if (reinterpret_cast<std::size_t>(to) - reinterpret_cast<std::size_t>(from) >= bytes)
        return memcpy(destination, source, bytes);
    const void* last_from = from + bytes - 1;
    void* last_to = to + bytes - 1;
    asm volatile("std\n\trep movsb\n\tcld" : "+D"(last_to), "+S"(last_from), "+c"(bytes) : : "memory", "cc");
    return destination;
}

int memcmp(const void* first, const void* second, std::size_t bytes)
{
    using Word [[gnu::may_alias, gnu::aligned(1)]] = unsigned long long;
    const auto* a = static_cast<const unsigned char*>(first);
    const auto* b = static_cast<const unsigned char*>(second);
    for (; bytes >= sizeof(Word); bytes -= sizeof(Word), a += sizeof(Word), b += sizeof(Word))
        if (*reinterpret_cast<const Word*>(a) != *reinterpret_cast<const Word*>(b))
            break;
    for (; bytes != 0; --bytes, ++a, ++b)
        if (*a != *b)
            return *a < *b ? -1 : 1;
    return 0;
}

/// What std::string_view's searches call.
void* memchr(const void* bytes, int wanted, std::size_t count)
{
    const auto* at = static_cast<const unsigned char*>(bytes);
    for (; count != 0; --count, ++at)
        if (*at == static_cast<unsigned char>(wanted))
            return const_cast<unsigned char*>(at);
    return nullptr;
}

std::size_t strlen(const char* text)
{
    const char* end = text;
    while (*end != '\0') {
        asm("" : "+r"(end));  // keeps the compiler from recognizing the loop as strlen
        ++end;
    }
    return static_cast<std::size_t>(end - text);
}

}  // extern "C"
