// SPDX-License-Identifier: MIT
//
// The keys whose signatures the operator trusts, as the boot loader handed them over: filled once at boot, read by the
// module registry ever after.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/loader/signature.hpp"

namespace hv::core {

class KeyRing final {
public:
    static constexpr std::size_t maximum_keys{16};

    KeyRing() = default;
    KeyRing(const KeyRing&) = delete;
    KeyRing& operator=(const KeyRing&) = delete;

    /// `bytes` is the key's file: 32 raw bytes of Ed25519.  Fails with malformed, invalid_argument, already_exists (the
    /// same key under another name) or limit_reached, and a sentence in `why`; nothing is then trusted.
    Status add(std::string_view name, std::span<const std::byte> bytes, TextWriter& why);

    [[nodiscard]] std::span<const loader::TrustedKey> keys() const;

private:
    /// There is no key without bytes that were found good, so there is no array of them to begin with.
    alignas(loader::TrustedKey) std::byte storage_[maximum_keys * sizeof(loader::TrustedKey)];
    std::size_t count_{};
};

}  // namespace hv::core
