// SPDX-License-Identifier: MIT
//
// Keys and signatures of modules, by libsodium: the secret half is handled by a library that is made for it and nowhere
// else in Graft.  A secret key's file is the 32 bytes of its seed, a public key's 32 and a signature's 64 raw bytes.
#include <sodium.h>

#include <array>
#include <filesystem>

#include "base/new_file.hpp"
#include "commands/commands.hpp"
#include "commands/module_files.hpp"
#include "hv/loader/load.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

void start_sodium()
{
    if (sodium_init() < 0)
        throw Failure{ExitCode::failed, "there is no source of randomness"};
}

/// A key pair whose secret half is wiped when it goes.
class KeyPair {
public:
    using Seed = std::array<unsigned char, crypto_sign_SEEDBYTES>;
    explicit KeyPair(const Seed& seed) { crypto_sign_seed_keypair(public_.data(), secret_.data(), seed.data()); }
    ~KeyPair() { sodium_memzero(secret_.data(), secret_.size()); }
    KeyPair(const KeyPair&) = delete;
    KeyPair& operator=(const KeyPair&) = delete;

    [[nodiscard]] std::span<const std::byte> public_key() const { return std::as_bytes(std::span{public_}); }
    [[nodiscard]] std::vector<std::byte> sign(std::span<const std::byte> bytes) const
    {
        std::vector<std::byte> signature(crypto_sign_BYTES);
        crypto_sign_detached(reinterpret_cast<unsigned char*>(signature.data()), nullptr,
                             reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), secret_.data());
        return signature;
    }

private:
    std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> public_{};
    std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret_{};
};

KeyPair::Seed read_seed(const std::string& path)
{
    auto bytes = read_small(path);
    KeyPair::Seed seed{};
    if (bytes.size() != seed.size())
        throw Failure{ExitCode::bad_text, path + " is no secret key: it has " + std::to_string(bytes.size()) +
                                              " bytes, not " + std::to_string(seed.size())};
    std::copy(bytes.begin(), bytes.end(), std::as_writable_bytes(std::span{seed}).begin());
    sodium_memzero(bytes.data(), bytes.size());
    return seed;
}

std::string hexadecimal(std::span<const std::byte> bytes)
{
    std::string text(bytes.size() * 2 + 1, '\0');
    sodium_bin2hex(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    text.pop_back();
    return text;
}

/// What the loader would refuse is not signed: the signature would vouch for a mistake.
void require_module(std::span<const std::byte> bytes, const std::string& path)
{
    loader::KeptDiagnostics diagnostics;
    loader::ModuleFacts facts{};
    if (!loader::examine(bytes, {}, diagnostics, facts))
        throw Failure{ExitCode::failed, path + ": " + std::string{diagnostics.text()}};
}

}  // namespace

ExitCode run_ext_keygen(const Arguments& arguments)
{
    start_sodium();
    const std::string secret{arguments.file + ".key"}, open{arguments.file + ".pub"};
    if (std::filesystem::exists(open))
        throw Failure{ExitCode::failed, open + " is there already"};
    KeyPair::Seed seed{};
    randombytes_buf(seed.data(), seed.size());
    const KeyPair pair{seed};
    create_file(secret, std::as_bytes(std::span{seed}), 0600);
    sodium_memzero(seed.data(), seed.size());
    create_file(open, pair.public_key(), 0644);
    if (arguments.json)
        print(json_text({{"secretKey", secret}, {"publicKey", open}, {"key", hexadecimal(pair.public_key())}}));
    else
        print(secret + " is the secret key: keep it; " + open + " is the public one: give it to Graft at boot\n");
    return ExitCode::done;
}

ExitCode run_ext_sign(const Arguments& arguments)
{
    start_sodium();
    const std::string path{module_path(arguments)};
    const FileDescriptor file{open_file(path)};
    const auto bytes = read_whole(file.number(), largest_module, path);
    require_module(bytes, path);
    auto seed = read_seed(arguments.key);
    const KeyPair pair{seed};
    sodium_memzero(seed.data(), seed.size());
    const auto signature = pair.sign(bytes);
    // The verifier that will judge it is not the library that made it.
    const auto key = loader::Ed25519Key::from(pair.public_key());
    if (!key || !key.value().signed_by(bytes, signature))
        throw Failure{ExitCode::failed, "the signature that was made does not verify; nothing is written"};
    replace_file(signature_path(path), signature, 0644);
    if (arguments.json)
        print(json_text({{"module", path}, {"signature", signature_path(path)}, {"key", hexadecimal(pair.public_key())}}));
    return ExitCode::done;
}

}  // namespace hv::xl
