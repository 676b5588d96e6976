// SPDX-License-Identifier: MIT
//
// ext-verify: the loader's own checks on a file, and whose signature lies beside it.  Needs no hypervisor.
#include <algorithm>
#include <filesystem>

#include "commands/commands.hpp"
#include "commands/module_files.hpp"
#include "hv/loader/load.hpp"
#include "output/output.hpp"

namespace hv::xl {
namespace {

std::string version_text(const loader::ModuleFacts& facts)
{
    return std::to_string(facts.version_major) + "." + std::to_string(facts.version_minor) + "." +
           std::to_string(facts.version_patch);
}

template <std::size_t Size>
std::string text_of_field(const char (&field)[Size])
{
    return {field, std::find(field, field + Size, '\0')};
}

Json signer_json(const loader::ModuleFacts& facts)
{
    return facts.signer.empty() ? Json{} : Json(std::string{facts.signer});
}

Json facts_json(const loader::ModuleFacts& facts, const std::string& path)
{
    const auto hash = loader::hexadecimal(facts.hash);
    return {{"name", text_of_field(facts.name)},
            {"description", text_of_field(facts.description)},
            {"version", version_text(facts)},
            {"abi", std::to_string(facts.abi_major) + "." + std::to_string(facts.abi_minor)},
            {"hash", std::string{hash.begin(), hash.end()}},
            {"path", path},
            {"fileBytes", facts.file_bytes},
            {"needs", facts.needs},
            {"signature", loader::signature_state_name(facts.signature)},
            {"signer", signer_json(facts)},
            {"valid", true}};
}

std::string signer_text(const loader::ModuleFacts& facts)
{
    switch (facts.signature) {
    case loader::SignatureState::none: return "not signed";
    case loader::SignatureState::unchecked: return "signed by somebody (--key says who may be)";
    case loader::SignatureState::good: break;
    }
    return "signed by " + std::string{facts.signer};
}

/// Named as the operator names them at boot: the file's name without .pub.
std::vector<loader::TrustedKey> read_keys(const std::vector<std::string>& paths)
{
    std::vector<loader::TrustedKey> keys;
    for (const std::string& path : paths) {
        const std::filesystem::path file{path};
        const auto key = loader::Ed25519Key::from(read_small(path));
        if (!key)
            throw Failure{ExitCode::bad_text, path + " is no public key of Ed25519 that can be trusted"};
        keys.emplace_back((file.extension() == ".pub" ? file.stem() : file.filename()).string(), key.value());
    }
    return keys;
}

}  // namespace

ExitCode run_ext_verify(const Arguments& arguments)
{
    const std::string path{module_path(arguments)};
    const FileDescriptor file{open_file(path)};
    const auto bytes = read_whole(file.number(), largest_module, path);
    const FileDescriptor beside{open_signature(path)};
    const auto signature = beside.open() ? read_small(signature_path(path)) : std::vector<std::byte>{};
    if (beside.open() && signature.empty())
        throw Failure{ExitCode::not_granted, signature_path(path) + " is empty"};
    const auto keys = read_keys(arguments.keys);
    loader::KeptDiagnostics diagnostics;
    loader::ModuleFacts facts{};
    const loader::Policy policy{.signatures = {keys, !keys.empty()}};
    if (const auto valid = loader::examine(bytes, policy, diagnostics, facts, signature); !valid)
        throw Failure{valid.error() == Error::permission_denied ? ExitCode::not_granted : ExitCode::failed,
                      path + ": " + std::string{diagnostics.text()}};
    const Json json = facts_json(facts, path);
    if (arguments.json)
        print(json_text(json));
    else
        print(path + ": valid: " + json.at("name").get<std::string>() + " " + version_text(facts) + ", ABI " +
              json.at("abi").get<std::string>() + ", SHA-256 " + json.at("hash").get<std::string>() + ", " +
              signer_text(facts) + "\n");
    return ExitCode::done;
}

}  // namespace hv::xl
