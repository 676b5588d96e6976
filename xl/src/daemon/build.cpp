// SPDX-License-Identifier: MIT
//
// How xld makes a domain from a config and its files: the second half of class Domains.
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/suggest.hpp"
#include "config/extension_params.hpp"
#include "daemon/domains.hpp"
#include "daemon/log.hpp"
#include "image/guest_image.hpp"

namespace hv::xl {
namespace {

using namespace std::chrono_literals;

/// A kernel or ramdisk beyond this is a mistake in the config.
constexpr std::uint64_t largest_file{4ull << 30};
constexpr std::uint64_t largest_module{64ull << 20};
constexpr auto port_patience = 20000ms;
constexpr std::string_view module_suffix{".hvx"};
constexpr std::string_view signature_suffix{".sig"};
constexpr std::uint64_t signature_bytes{sizeof protocol::ExtLoadBeginRequest::signature};

/// One of another length is nobody's; it is not passed over as if the module had none.
std::vector<std::byte> read_signature(int descriptor, const std::string& module)
{
    const std::string path{module + std::string{signature_suffix}};
    auto bytes = read_whole(descriptor, std::uint64_t{4096}, path);
    if (bytes.size() != signature_bytes)
        throw Failure{ExitCode::not_granted, path + " has " + std::to_string(bytes.size()) +
                                                 " bytes, a signature has " + std::to_string(signature_bytes)};
    return bytes;
}

protocol::DomainCreateRequest create_request(const DomainConfig& config)
{
    protocol::DomainCreateRequest request{};
    protocol::set_text_truncated(request.name, config.name);
    std::copy(config.uuid.begin(), config.uuid.end(), request.uuid);
    request.memory = config.memory_bytes;
    request.vcpus = config.vcpus.count;
    request.weight = config.vcpus.weight;
    request.cap = config.vcpus.cap;
    for (const std::uint32_t processor : config.vcpus.affinity)
        request.affinity[processor / 64] |= std::uint64_t{1} << (processor % 64);
    return request;
}

std::vector<protocol::CpuidMask> masks_of(const DomainConfig& config)
{
    std::vector<protocol::CpuidMask> masks;
    for (const CpuidMask& mask : config.cpuid) {
        protocol::CpuidMask entry{mask.leaf, mask.subleaf, {}, {}};
        std::copy(mask.keep.begin(), mask.keep.end(), entry.and_mask);
        std::copy(mask.set.begin(), mask.set.end(), entry.or_mask);
        masks.push_back(entry);
    }
    return masks;
}

protocol::Parameter wire_parameter(const ExtensionParam& param)
{
    using Type = protocol::ParameterType;
    if (param.value.is_null())
        return {param.key, Type::empty_list, 0, {}};
    if (param.value.is_boolean())
        return {param.key, Type::boolean, param.value.get<bool>() ? 1 : 0, {}};
    if (param.value.is_number())
        return {param.key, Type::integer, param.value.get<std::int64_t>(), {}};
    return {param.key, Type::text, 0, param.value.get_ref<const std::string&>()};
}

/// The parameters of one extension as the tail of ext_bind.
std::vector<std::byte> encode_parameters(const std::vector<ExtensionParam>& params)
{
    std::vector<std::byte> buffer(sizeof(protocol::FrameHeader) + protocol::maximum_body);
    protocol::FrameBuilder builder{buffer};
    builder.request(protocol::Command::ext_bind, 1);
    for (const ExtensionParam& param : params)
        if (!protocol::encode_parameter(builder, wire_parameter(param)))
            throw Failure{ExitCode::bad_text, "the parameters of an extension are too long"};
    const auto frame = builder.finish();
    const auto tail = frame.value().subspan(sizeof(protocol::FrameHeader));
    return {tail.begin(), tail.end()};
}

/// The protocol's "/params/N/…" in words of the config.
std::string config_pointer(const std::string& extension, const std::vector<ExtensionParam>& params,
                           const std::string& field)
{
    static constexpr std::string_view prefix{"/params/"};
    if (!field.starts_with(prefix))
        return extension;
    std::size_t number{params.size()};
    std::from_chars(field.data() + prefix.size(), field.data() + field.size(), number);
    return extension + "/params" + (number < params.size() ? params[number].pointer : "");
}

/// A refusal with the place in the config that it is about.
Failure at_pointer(const Failure& failure, const std::string& pointer)
{
    std::vector<Problem> problems{failure.problems()};
    for (Problem& problem : problems)
        if (problem.pointer.empty())
            problem.pointer = pointer;
    return {failure.code(), problems};
}

std::string file_name(const std::string& path)
{
    return std::filesystem::path{path}.filename().string();
}

void check_client(const Domains::CreateOptions& options)
{
    if (options.client && !options.client->alive())
        throw Failure{ExitCode::failed, "the client went away before the domain was complete"};
}

}  // namespace

Task<DomainPointer> Domains::create(DomainConfig config, FileDescriptor kernel, FileDescriptor ramdisk,
                                    CreateOptions options)
{
    auto domain = std::make_shared<Domain>(loop_);
    domain->name = config.name;
    domain->has_config = true;
    domain->config = std::move(config);
    domain->kernel = std::move(kernel);
    domain->ramdisk = std::move(ramdisk);
    const auto acquire = domain->lock.acquire();
    const auto guard = co_await acquire;
    co_await build(domain, options);
    co_return domain;
}

Task<void> Domains::build(DomainPointer domain, CreateOptions options)
{
    const DomainConfig& config = domain->config;
    for (std::size_t i = 0; i < config.extensions.size(); ++i)
        co_await ensure_loaded(config.extensions[i].name, "/extensions/" + std::to_string(i) + "/name");
    check_client(options);
    protocol::DomainCreateReply made{};
    try {
        made = co_await hypervisor_.create(create_request(config), masks_of(config));
    } catch (const Refused& refused) {
        // What a machine does not have is not granted, whatever kind of error the hypervisor calls it.
        const bool lacks{refused.error() == hv::Error::not_found ||
                         refused.error() == hv::Error::not_supported};
        throw at_pointer({lacks ? ExitCode::not_granted : refused.code(), refused.problems()},
                         refused.field());
    }
    domain->id = made.domain;
    std::optional<Failure> failure;
    try {
        co_await fill(domain, options, made.console_slot);
    } catch (const Failure& why) {
        failure = why;
    }
    if (!failure)
        co_return;
    domains_.erase(domain->id);
    store_.forget(domain->id);
    if (domain->console)
        domain->console->close_port();
    try {
        co_await hypervisor_.command(protocol::Command::domain_destroy, made.domain);
    } catch (const Failure& why) {
        log_error("half-made domain " + domain->name + " could not be destroyed: " + why.what());
    }
    log_warning(domain->name + " was not made: " + failure->what());
    throw *failure;
}

Task<void> Domains::fill(DomainPointer domain, CreateOptions options, std::uint32_t console_slot)
{
    co_await bind_extensions(domain);
    check_client(options);
    co_await write_image(domain, options);
    check_client(options);
    if (!domain->console) {
        rotate_log(log_path(domain->name));
        domain->console = std::make_unique<Console>(loop_, log_path(domain->name));
    }
    co_await open_console(domain, console_slot);
    if (options.attach && options.client)
        domain->console->attach(options.client, options.request);
    keep(*domain);
    co_await hypervisor_.command(protocol::Command::domain_finish_build, domain->id);
    check_client(options);
    domains_.emplace(domain->id, domain);
    domain->started = EventLoop::Clock::now();
    if (!options.paused)
        co_await hypervisor_.command(protocol::Command::domain_unpause, domain->id);
    log_info(domain->name + " (" + std::to_string(domain->id) + ") created" +
             (options.paused ? ", paused" : ""));
}

Task<void> Domains::announce_extensions(DomainPointer domain)
{
    std::vector<std::string> names;
    for (const auto& extension : domain->config.extensions)
        names.push_back(extension.name);
    try {
        co_await hypervisor_.announce(domain->id, std::move(names));
    } catch (const Refused& refused) {
        static constexpr std::string_view prefix{"/modules/"};
        const std::string field{refused.field()};
        const std::string place{field.starts_with(prefix) ? "/" + field.substr(prefix.size()) : ""};
        throw at_pointer(refused, "/extensions" + place);
    }
}

Task<void> Domains::bind_extensions(DomainPointer domain)
{
    const auto& extensions = domain->config.extensions;
    if (!extensions.empty())
        co_await announce_extensions(domain);
    for (std::size_t i = 0; i < extensions.size(); ++i)
        co_await bind_extension(domain, extensions[i], "/extensions/" + std::to_string(i));
}

Task<void> Domains::bind_extension(DomainPointer domain, ExtensionConfig extension, std::string pointer)
{
    const std::vector<ExtensionParam> params{flat_params(extension.params)};
    try {
        co_await hypervisor_.bind(domain->id, extension.name, encode_parameters(params),
                                  static_cast<std::uint32_t>(params.size()), extension.placement_number(),
                                  extension.on_fault_number());
    } catch (const Refused& refused) {
        const bool unknown{refused.error() == hv::Error::not_found && refused.field().starts_with("/params/")};
        throw at_pointer({unknown ? ExitCode::bad_text : refused.code(), refused.problems()},
                         config_pointer(pointer, params, refused.field()));
    }
}

Task<void> Domains::attach_extension(DomainPointer domain, Json extension)
{
    const auto acquire = domain->lock.acquire();
    const auto guard = co_await acquire;
    // The rules are the schema's: a config with this extension must be acceptable.
    const std::vector<std::string> known = co_await known_extensions();
    const DomainConfig alone{resolve_config({{"apiVersion", 1},
                                             {"name", "one"},
                                             {"memory", "64MiB"},
                                             {"boot", {{"kernel", "x"}}},
                                             {"extensions", Json::array({std::move(extension)})}},
                                            "/", known)};
    const ExtensionConfig wanted{alone.extensions.at(0)};
    co_await ensure_loaded(wanted.name, "/extensions/0/name");
    co_await bind_extension(domain, wanted, "/extensions/0");
    log_info(domain->name + ": extension " + wanted.name + " attached");
    domain->config.extensions.push_back(wanted);
    if (domain->has_config)
        keep(*domain);
}

Task<void> Domains::detach_extension(DomainPointer domain, std::string name)
{
    const auto acquire = domain->lock.acquire();
    const auto guard = co_await acquire;
    co_await hypervisor_.detach(domain->id, name);
    log_info(domain->name + ": extension " + name + " detached");
    std::erase_if(domain->config.extensions, [&](const ExtensionConfig& one) { return one.name == name; });
    if (domain->has_config)
        keep(*domain);
}

Task<void> Domains::write_image(DomainPointer domain, CreateOptions options)
{
    const DomainConfig& config = domain->config;
    const auto kernel_bytes = read_whole(domain->kernel.number(), largest_file, config.boot.kernel);
    std::vector<std::byte> ramdisk_bytes;
    if (domain->ramdisk.open())
        ramdisk_bytes = read_whole(domain->ramdisk.number(), largest_file, config.boot.ramdisk);
    Kernel kernel;
    try {
        kernel = parse_kernel(kernel_bytes);
    } catch (const Failure& failure) {
        throw Failure{failure.code(), {config.boot.kernel + ": " + failure.what(), "/boot/kernel", {}}};
    }
    const ImageRequest request{kernel,
                               ramdisk_bytes,
                               file_name(config.boot.kernel),
                               file_name(config.boot.ramdisk),
                               config.boot.cmdline,
                               config.memory_bytes,
                               config.vcpus.count};
    const GuestImage image{build_guest_image(request)};
    for (const ImagePart& part : image.parts) {
        for (std::size_t at = 0; at < part.bytes().size(); at += protocol::maximum_request_bulk) {
            const auto rest = part.bytes().subspan(at);
            const auto piece = rest.first(std::min<std::size_t>(rest.size(), protocol::maximum_request_bulk));
            check_client(options);  // a client that is gone does not want the rest
            co_await hypervisor_.write_memory(domain->id, part.address() + at, piece);
        }
    }
    co_await hypervisor_.set_registers(domain->id, 0, image.registers);
}

Task<void> Domains::open_console(DomainPointer domain, std::uint32_t slot)
{
    const std::string name{console_port_name(slot)};
    const auto start = EventLoop::Clock::now();
    FileDescriptor port{open_port_(name)};
    // The port comes with the domain; the kernel's hot-plug takes its time.
    while (!port.open() && !loop_.stopping() && EventLoop::Clock::now() - start < port_patience) {
        const auto sleep = loop_.sleep(10ms);
        co_await sleep;
        port = open_port_(name);
    }
    if (!port.open())
        throw Failure{ExitCode::timed_out, "the console port " + name + " did not appear"};
    domain->console->open_port(std::move(port));
}

Task<std::vector<std::string>> Domains::known_extensions()
{
    std::vector<std::string> names;
    const std::vector<protocol::ModuleInfo> modules = co_await hypervisor_.modules();
    for (const protocol::ModuleInfo& module : modules)
        names.emplace_back(protocol::text_of(module.name));
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{paths_.extensions, error})
        if (entry.path().extension() == module_suffix)
            names.push_back(entry.path().stem().string());
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    co_return names;
}

Task<void> Domains::ensure_loaded(std::string name, std::string pointer)
{
    const std::vector<protocol::ModuleInfo> modules = co_await hypervisor_.modules();
    for (const protocol::ModuleInfo& module : modules)
        if (protocol::text_of(module.name) == name)
            co_return;
    const std::string path{paths_.extensions + "/" + name + std::string{module_suffix}};
    if (!std::filesystem::exists(path)) {
        const std::vector<std::string> names = co_await known_extensions();
        throw Failure{ExitCode::bad_text,
                      {"unknown extension \"" + name + "\"", pointer, nearest_name(name, names)}};
    }
    const FileDescriptor file{open_file(path, pointer)};
    const std::string beside{path + std::string{signature_suffix}};
    const FileDescriptor signature{std::filesystem::exists(beside) ? open_file(beside, pointer) : FileDescriptor{}};
    protocol::ModuleInfo loaded{};
    try {
        loaded = co_await load_extension(file.number(), signature.number(), path);
    } catch (const Failure& failure) {
        throw at_pointer(failure, pointer);
    }
    if (protocol::text_of(loaded.name) != name)
        throw Failure{ExitCode::failed, {path + " holds the module \"" +
                                             std::string{protocol::text_of(loaded.name)} + "\"",
                                         pointer, name}};
}

Task<protocol::ModuleInfo> Domains::load_extension(int descriptor, int signature, std::string path)
{
    const auto bytes = read_whole(descriptor, largest_module, path);
    const auto signature_bytes = signature < 0 ? std::vector<std::byte>{} : read_signature(signature, path);
    const protocol::ModuleInfo module = co_await hypervisor_.load_module(bytes, signature_bytes, path);
    log_info("extension " + std::string{protocol::text_of(module.name)} + " loaded from " + path);
    co_return module;
}

}  // namespace hv::xl
