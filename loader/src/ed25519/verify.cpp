// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>

#include "hv/base/assert.hpp"
#include "hv/loader/ed25519.hpp"
#include "hv/loader/sha512.hpp"
#include "point.hpp"
#include "scalar.hpp"

namespace hv::loader {

using namespace ed25519;

Expected<Ed25519Key> Ed25519Key::from(std::span<const std::byte> bytes)
{
    std::array<std::uint8_t, ed25519_key_bytes> key{};
    if (bytes.size() != key.size())
        return Error::malformed;
    std::memcpy(key.data(), bytes.data(), key.size());
    const auto point = decoded(key);
    if (!point)
        return Error::malformed;
    if (is_neutral(*point) || !is_neutral(combination(group_order, *point, Words{}, *point)))
        return Error::invalid_argument;
    return Ed25519Key{key};
}

// [RFC-8032 §5.1.7], with R = [S]B - [k]A computed and compared in place of decoding it.
bool Ed25519Key::signed_by(std::span<const std::byte> message, std::span<const std::byte> signature) const
{
    if (signature.size() != ed25519_signature_bytes)
        return false;
    std::array<std::uint8_t, 32> commitment{}, scalar{};
    std::memcpy(commitment.data(), signature.data(), commitment.size());
    std::memcpy(scalar.data(), signature.data() + commitment.size(), scalar.size());
    const Words s{words_of(scalar)};
    if (!less(s, group_order))
        return false;

    const auto hash = Sha512{}
                          .add(signature.first(commitment.size()))
                          .add(std::as_bytes(std::span{bytes_}))
                          .add(message)
                          .finish();
    const auto key = decoded(bytes_);
    HV_ASSERT(key.has_value());
    const Point expected{combination(s, base_point, reduced(hash), -*key)};
    return !is_neutral(expected) && encoded(expected) == commitment;
}

}  // namespace hv::loader
