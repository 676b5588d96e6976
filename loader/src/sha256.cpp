// SPDX-License-Identifier: MIT
//
// SHA-256 as [FIPS-180-4 §4.1.2, §4.2.2, §5.1.1, §6.2.2] states it, one block after the other.
#include "hv/loader/sha256.hpp"

#include <bit>
#include <cstring>

namespace hv::loader {

namespace {

constexpr std::size_t block_bytes{64};

/// First 32 bits of the fractional parts of the cube roots of the first 64 primes [FIPS-180-4 §4.2.2].
constexpr std::array<std::uint32_t, 64> round_constants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<std::uint32_t, 8>;

std::uint32_t big_endian(const std::byte* bytes)
{
    std::uint32_t word{};
    std::memcpy(&word, bytes, sizeof word);
    return __builtin_bswap32(word);
}

std::array<std::uint32_t, 64> schedule(const std::byte* block)
{
    std::array<std::uint32_t, 64> words;
    for (std::size_t t = 0; t < 16; ++t)
        words[t] = big_endian(block + 4 * t);
    for (std::size_t t = 16; t < 64; ++t) {
        const std::uint32_t low{words[t - 15]};
        const std::uint32_t high{words[t - 2]};
        const std::uint32_t sigma0{std::rotr(low, 7) ^ std::rotr(low, 18) ^ (low >> 3)};
        const std::uint32_t sigma1{std::rotr(high, 17) ^ std::rotr(high, 19) ^ (high >> 10)};
        words[t] = words[t - 16] + sigma0 + words[t - 7] + sigma1;
    }
    return words;
}

void add_block(State& state, const std::byte* block)
{
    const auto words = schedule(block);
    auto [a, b, c, d, e, f, g, h] = state;
    for (std::size_t t = 0; t < 64; ++t) {
        const std::uint32_t sum1{std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)};
        const std::uint32_t sum0{std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)};
        const std::uint32_t first{h + sum1 + ((e & f) ^ (~e & g)) + round_constants[t] + words[t]};
        const std::uint32_t second{sum0 + ((a & b) ^ (a & c) ^ (b & c))};
        h = g;
        g = f;
        f = e;
        e = d + first;
        d = c;
        c = b;
        b = a;
        a = first + second;
    }
    const State added{a, b, c, d, e, f, g, h};
    for (std::size_t index = 0; index < state.size(); ++index)
        state[index] += added[index];
}

}  // namespace

Sha256 sha256(std::span<const std::byte> bytes)
{
    State state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::size_t at{0};
    for (; bytes.size() - at >= block_bytes; at += block_bytes)
        add_block(state, bytes.data() + at);

    // The rest, a one bit, zeros, and the length in bits as 64 bits big-endian: one block or two.
    std::array<std::byte, 2 * block_bytes> tail{};
    const std::size_t rest{bytes.size() - at};
    if (rest != 0)
        std::memcpy(tail.data(), bytes.data() + at, rest);
    tail[rest] = std::byte{0x80};
    const std::size_t tail_bytes{rest < block_bytes - 8 ? block_bytes : 2 * block_bytes};
    const std::uint64_t bits{__builtin_bswap64(std::uint64_t{bytes.size()} * 8)};
    std::memcpy(tail.data() + tail_bytes - sizeof bits, &bits, sizeof bits);
    for (std::size_t block = 0; block < tail_bytes; block += block_bytes)
        add_block(state, tail.data() + block);

    Sha256 hash{};
    for (std::size_t index = 0; index < state.size(); ++index) {
        const std::uint32_t word{__builtin_bswap32(state[index])};
        std::memcpy(hash.data() + 4 * index, &word, sizeof word);
    }
    return hash;
}

std::array<char, 64> hexadecimal(const Sha256& hash)
{
    constexpr char digits[]{"0123456789abcdef"};
    std::array<char, 64> text{};
    for (std::size_t index = 0; index < hash.size(); ++index) {
        text[2 * index] = digits[hash[index] >> 4];
        text[2 * index + 1] = digits[hash[index] & 0xf];
    }
    return text;
}

}  // namespace hv::loader
