// SPDX-License-Identifier: MIT
//
// Stage 0: whose signature lets a file in, what is said of it, and that nothing of a file that is refused was parsed.
#include <gtest/gtest.h>
#include <sodium.h>

#include "module_file.hpp"

namespace hv::test {
namespace {

using namespace loader;

struct Signer {
    explicit Signer(std::uint8_t seed)
    {
        std::array<std::uint8_t, 32> bytes{seed};
        crypto_sign_seed_keypair(key.data(), secret.data(), bytes.data());
    }
    [[nodiscard]] TrustedKey trusted(std::string_view name) const
    {
        return {name, Ed25519Key::from(std::as_bytes(std::span{key})).value()};
    }
    [[nodiscard]] std::vector<std::byte> sign(std::span<const std::byte> file) const
    {
        std::vector<std::byte> signature(64);
        crypto_sign_detached(reinterpret_cast<std::uint8_t*>(signature.data()), nullptr,
                             reinterpret_cast<const std::uint8_t*>(file.data()), file.size(), secret.data());
        return signature;
    }
    std::array<std::uint8_t, 32> key{};
    std::array<std::uint8_t, 64> secret{};
};

class SignedModule : public testing::Test {
protected:
    Status verify(std::span<const std::byte> signature, const SignaturePolicy& signatures)
    {
        return module.verify(file.view(), {.signatures = signatures}, diagnostics, signature);
    }
    void expect_denied(std::span<const std::byte> signature, const SignaturePolicy& policy, std::string_view sentence)
    {
        const auto status = verify(signature, policy);
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error(), Error::permission_denied);
        EXPECT_NE(diagnostics.text().find(sentence), std::string_view::npos) << diagnostics.text();
        EXPECT_FALSE(module.verified());
    }

    ModuleFile file{ModuleFile::built("minimal")};
    Signer vendor{1}, operators{2}, stranger{3};
    TrustedKey keys[2]{vendor.trusted("vendor"), operators.trusted("operator")};
    Module module;
    KeptDiagnostics diagnostics;
};

TEST_F(SignedModule, IsLetInByTheKeyThatSignedItAndSaysWhich)
{
    for (const bool required : {false, true}) {
        ASSERT_TRUE(verify(operators.sign(file.view()), {keys, required})) << diagnostics.text();
        EXPECT_EQ(module.facts().signature, SignatureState::good);
        EXPECT_EQ(module.facts().signer, "operator");
        ASSERT_TRUE(verify(vendor.sign(file.view()), {keys, required})) << diagnostics.text();
        EXPECT_EQ(module.facts().signer, "vendor");
    }
}

TEST_F(SignedModule, WithoutASignatureIsLetInWhereNoneIsRequired)
{
    ASSERT_TRUE(verify({}, {keys, false}));
    EXPECT_EQ(module.facts().signature, SignatureState::none);
    EXPECT_EQ(module.facts().signer, "");
    expect_denied({}, {keys, true}, "signed modules are required, and this one came without a signature");
}

TEST_F(SignedModule, WithNoKeyToCheckItIsUncheckedOrRefused)
{
    ASSERT_TRUE(verify(stranger.sign(file.view()), {}));
    EXPECT_EQ(module.facts().signature, SignatureState::unchecked);
    EXPECT_EQ(module.facts().signer, "");
    expect_denied(stranger.sign(file.view()), {{}, true}, "there is no key to check one with");
}

TEST_F(SignedModule, OfAStrangerOrChangedIsRefusedEvenWhereNoneIsRequired)
{
    for (const bool required : {false, true}) {
        expect_denied(stranger.sign(file.view()), {keys, required}, "not made over this file by any of the 2 trusted");
        const auto signature = vendor.sign(file.view());
        expect_denied(std::span{signature}.first(63), {keys, required}, "the signature has 63 bytes");
        file.bytes.back() ^= std::byte{1};
        expect_denied(signature, {keys, required}, "not made over this file");
        file.bytes.back() ^= std::byte{1};
        file.bytes.push_back(std::byte{});
        expect_denied(signature, {keys, required}, "not made over this file");
        file.bytes.pop_back();
        ASSERT_TRUE(verify(signature, {keys, required}));
    }
}

TEST_F(SignedModule, IsRefusedBeforeItsFirstByteIsParsed)
{
    file.bytes.assign(3, std::byte{0x7f});
    expect_denied({}, {keys, true}, "came without a signature");
    expect_denied(stranger.sign(file.view()), {keys, false}, "not made over this file");
    const auto status = verify(vendor.sign(file.view()), {keys, true});
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error(), Error::malformed);  // let in, and found to be no module
}

TEST_F(SignedModule, HasNoSignerOfTheFileBeforeIt)
{
    ASSERT_TRUE(verify(vendor.sign(file.view()), {keys, true}));
    ASSERT_TRUE(verify({}, {keys, false}));
    EXPECT_EQ(module.facts().signer, "");
}

}  // namespace
}  // namespace hv::test
