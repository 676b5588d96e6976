// SPDX-License-Identifier: MIT
//
// Stage 0: whose file is it?  A module's signature is detached (`NAME.hvx.sig`, 64 raw bytes of Ed25519 over the whole
// file) and is judged before the first byte of the file is parsed: the next stage takes an AdmittedFile, which nothing
// but admit() makes.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "hv/loader/diagnostics.hpp"
#include "hv/loader/ed25519.hpp"

namespace hv::loader {

/// A key that the operator trusts, by the name under which it was given at boot.
class TrustedKey {
public:
    static constexpr std::size_t longest_name{63};

    /// A longer name is cut.
    TrustedKey(std::string_view name, const Ed25519Key& key) : key_{key}
    {
        name_bytes_ = name.substr(0, longest_name).copy(name_.data(), longest_name);
    }
    [[nodiscard]] std::string_view name() const { return {name_.data(), name_bytes_}; }
    [[nodiscard]] const Ed25519Key& key() const { return key_; }

private:
    std::array<char, longest_name> name_{};
    std::size_t name_bytes_{};
    Ed25519Key key_;
};

/// What the operator wants of signatures.
struct SignaturePolicy {
    std::span<const TrustedKey> keys{};  ///< in the order in which they are tried
    bool required{};                     ///< `ext=require-signed`
};

enum class SignatureState : std::uint8_t {
    none,       ///< the file came without a signature
    unchecked,  ///< with one, and there is no key to check it with
    good,       ///< with one of a trusted key
};

/// A file that may be parsed, and who vouches for it.  A view: the file's bytes and the keys outlive it.
class AdmittedFile {
public:
    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
    [[nodiscard]] SignatureState state() const { return state_; }
    /// The name of the key that signed it; empty unless the state is good.
    [[nodiscard]] std::string_view signer() const { return signer_; }

private:
    friend Expected<AdmittedFile> admit(std::span<const std::byte>, std::span<const std::byte>,
                                        const SignaturePolicy&, Diagnostics&);
    AdmittedFile(std::span<const std::byte> bytes, SignatureState state, std::string_view signer)
        : bytes_{bytes}, signer_{signer}, state_{state}
    {
    }

    std::span<const std::byte> bytes_;
    std::string_view signer_;
    SignatureState state_;
};

/// `signature` is empty where the file came without one.  A signature that none of the keys made is refused even where
/// none is required: it was given to be believed.  Error::permission_denied, with the reason in `diagnostics`.
[[nodiscard]] Expected<AdmittedFile> admit(std::span<const std::byte> file, std::span<const std::byte> signature,
                                           const SignaturePolicy& policy, Diagnostics& diagnostics);

}  // namespace hv::loader
