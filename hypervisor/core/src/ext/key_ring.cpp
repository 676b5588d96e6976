// SPDX-License-Identifier: MIT
#include "hv/core/ext/key_ring.hpp"

#include <new>

namespace hv::core {

Status KeyRing::add(std::string_view name, std::span<const std::byte> bytes, TextWriter& why)
{
    const auto key = loader::Ed25519Key::from(bytes);
    if (!key) {
        if (bytes.size() != loader::ed25519_key_bytes)
            say(why, "a public key of Ed25519 has ", loader::ed25519_key_bytes, " bytes, this file has ", bytes.size());
        else if (key.error() == Error::malformed)
            say(why, "its bytes are no public key of Ed25519");
        else
            say(why, "it is a point of small or mixed order, for which others than its owner could sign");
        return key.error();
    }
    for (const loader::TrustedKey& other : keys())
        if (other.key().bytes() == key.value().bytes()) {
            say(why, "it is the key that is called ", other.name(), " already");
            return Error::already_exists;
        }
    if (count_ == maximum_keys) {
        say(why, "there are more than ", maximum_keys, " keys");
        return Error::limit_reached;
    }
    new (storage_ + count_ * sizeof(loader::TrustedKey)) loader::TrustedKey{name, key.value()};
    ++count_;
    return Done{};
}

std::span<const loader::TrustedKey> KeyRing::keys() const
{
    return {std::launder(reinterpret_cast<const loader::TrustedKey*>(storage_)), count_};
}

}  // namespace hv::core
