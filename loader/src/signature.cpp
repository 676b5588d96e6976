// SPDX-License-Identifier: MIT
#include "hv/loader/signature.hpp"

namespace hv::loader {

Expected<AdmittedFile> admit(std::span<const std::byte> file, std::span<const std::byte> signature,
                             const SignaturePolicy& policy, Diagnostics& diagnostics)
{
    constexpr auto denied = Error::permission_denied;
    if (signature.empty() && policy.required)
        return refused(diagnostics, denied, 0, "signed modules are required, and this one came without a signature");
    if (signature.empty())
        return AdmittedFile{file, SignatureState::none, {}};
    if (signature.size() != ed25519_signature_bytes)
        return refused(diagnostics, denied, 0, "the signature has ", signature.size(), " bytes, one of Ed25519 has ",
                       ed25519_signature_bytes);
    if (policy.keys.empty() && policy.required)
        return refused(diagnostics, denied, 0, "signed modules are required, and there is no key to check one with");
    if (policy.keys.empty())
        return AdmittedFile{file, SignatureState::unchecked, {}};
    for (const TrustedKey& key : policy.keys)
        if (key.key().signed_by(file, signature))
            return AdmittedFile{file, SignatureState::good, key.name()};
    return refused(diagnostics, denied, 0, "the signature was not made over this file by any of the ",
                   policy.keys.size(), " trusted keys");
}

}  // namespace hv::loader
