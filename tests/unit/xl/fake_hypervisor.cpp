// SPDX-License-Identifier: MIT
//
// Sockets for ports, a map for domains.
#include "fake_hypervisor.hpp"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

namespace hv::xl::test {
namespace {

using core::control::Progress;
using core::control::Reason;
using core::control::refuse;
using core::control::refuse_field;
using namespace protocol;

std::pair<FileDescriptor, FileDescriptor> socket_pair()
{
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0)
        std::abort();
    return {FileDescriptor{ends[0]}, FileDescriptor{ends[1]}};
}

}  // namespace

FakeHypervisor::FakeHypervisor()
{
    auto [ours, theirs] = socket_pair();
    control_ = std::move(ours);
    ports_.emplace("graft.control", std::move(theirs));
    std::array<int, 2> wake{};
    if (::pipe2(wake.data(), O_CLOEXEC | O_NONBLOCK) != 0)
        std::abort();
    wake_read_ = FileDescriptor{wake[0]};
    wake_write_ = FileDescriptor{wake[1]};
    FakeDomain control;
    control.info.state = static_cast<std::uint32_t>(protocol::DomainState::running);
    control.info.vcpus = 1;
    static_cast<void>(protocol::set_text(control.info.name, "dom0"));
    domains.emplace(0, std::move(control));
    server_.connected();
    thread_ = std::thread{[this] { serve(); }};
}

FakeHypervisor::~FakeHypervisor()
{
    run([this] { stopping_ = true; });
    thread_.join();
}

FileDescriptor FakeHypervisor::open_port(const std::string& name)
{
    const std::lock_guard guard{mutex_};
    const auto found = ports_.find(name);
    if (found == ports_.end())
        return {};
    FileDescriptor port{std::move(found->second)};
    ports_.erase(found);
    return port;
}

void FakeHypervisor::run(const std::function<void()>& work)
{
    std::promise<void> done;
    {
        const std::lock_guard guard{mutex_};
        work_.push_back([&] {
            work();
            done.set_value();
        });
    }
    const char byte{0};
    if (::write(wake_write_.number(), &byte, 1) < 0)
        std::abort();
    done.get_future().get();
}

void FakeHypervisor::serve()
{
    while (!stopping_) {
        std::array<pollfd, 2> descriptors{
            {{control_.open() ? control_.number() : -1,
              static_cast<short>((server_.wants_input() ? POLLIN : 0) | (server_.has_output() ? POLLOUT : 0)),
              0},
             {wake_read_.number(), POLLIN, 0}}};
        ::poll(descriptors.data(), descriptors.size(), server_.needs_step() ? 1 : -1);
        std::array<char, 64> wakes;
        while (::read(wake_read_.number(), wakes.data(), wakes.size()) > 0)
            continue;
        std::vector<std::function<void()>> work;
        {
            const std::lock_guard guard{mutex_};
            work.swap(work_);
        }
        for (const auto& one : work)
            one();
        if (!stopping_ && control_.open())
            pump();
    }
}

/// For the next xld: a control port, and the consoles of the domains that are there.
void FakeHypervisor::open_anew()
{
    const std::lock_guard guard{mutex_};
    const auto fresh = [this](const std::string& name, FileDescriptor& ours) {
        auto [end, theirs] = socket_pair();
        ours = std::move(end);
        ports_[name] = std::move(theirs);
    };
    received_.clear();
    fresh("graft.control", control_);
    for (auto& [id, domain] : domains)
        if (id != 0)
            fresh("graft.console." + std::to_string(domain.info.console_slot), domain.console);
    server_.connected();
}

void FakeHypervisor::pump()
{
    std::array<std::byte, 65536> buffer;
    if (server_.wants_input() && received_.empty()) {
        const ssize_t count{::read(control_.number(), buffer.data(), buffer.size())};
        if (count == 0) {
            server_.disconnected();
            return open_anew();
        }
        if (count > 0)
            received_.assign(buffer.begin(), buffer.begin() + count);
    }
    while (!received_.empty() && server_.wants_input()) {
        const std::size_t taken{server_.receive(received_)};
        received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(taken));
        if (taken == 0)
            break;
    }
    for (unsigned slices = 0; slices < 100 && server_.step(); ++slices)
        continue;
    while (server_.has_output()) {
        const std::size_t count{server_.transmit(buffer)};
        for (std::size_t sent = 0; sent < count;) {
            const ssize_t now{::write(control_.number(), buffer.data() + sent, count - sent)};
            if (now < 0 && errno != EAGAIN && errno != EINTR)
                return;  // xld is gone
            if (now > 0)
                sent += static_cast<std::size_t>(now);
        }
    }
    if (end_told_ && after_end)
        std::exchange(after_end, {})();
}

FakeDomain& FakeHypervisor::by_name(const std::string& name)
{
    for (auto& [id, domain] : domains)
        if (protocol::text_of(domain.info.name) == name)
            return domain;
    std::abort();
}

bool FakeHypervisor::has(const std::string& name)
{
    return std::any_of(domains.begin(), domains.end(),
                       [&](const auto& one) { return protocol::text_of(one.second.info.name) == name; });
}

void FakeHypervisor::say(FakeDomain& domain, std::string_view text)
{
    if (::write(domain.console.number(), text.data(), text.size()) < 0)
        std::abort();
}

void FakeHypervisor::end(FakeDomain& domain, protocol::EndReason reason, const std::string& text)
{
    domain.info.state = static_cast<std::uint32_t>(protocol::DomainState::ended);
    domain.info.end_reason = static_cast<std::uint32_t>(reason);
    protocol::set_text_truncated(domain.info.reason, text);
    protocol::DomainEndedEvent event{domain.info.domain, domain.info.end_reason, {}};
    protocol::set_text_truncated(event.reason, text);
    ended_.push_back(event);
    server_.events_waiting();
}

void FakeHypervisor::info(protocol::InfoReply& reply)
{
    reply.processors = 2;
    reply.guest_processors = 1;
    reply.memory_total = all_memory;
    reply.memory_free = free_memory;
    reply.ticks_per_second = 1'000'000'000;
    reply.domains = static_cast<std::uint32_t>(domains.size());
    protocol::set_text_truncated(reply.version, "0.1-fake");
    protocol::set_text_truncated(reply.backend, "fake");
}

core::control::LogSlice FakeHypervisor::read_log(std::uint64_t cursor, std::span<char> room)
{
    const std::size_t from{std::min<std::size_t>(cursor, log.size())};
    const std::size_t count{std::min(room.size(), log.size() - from)};
    std::copy_n(log.begin() + static_cast<std::ptrdiff_t>(from), count, room.begin());
    return {from + count, 0, count};
}

Expected<Progress> FakeHypervisor::create_domain(const protocol::DomainCreateRequest& request,
                                                 const protocol::EntryView<protocol::CpuidMask>&,
                                                 protocol::DomainCreateReply& reply, Reason& reason)
{
    if (has(std::string{protocol::text_of(request.name)}))
        return refuse_field(reason, Error::already_exists, "/name", "there is a domain of that name");
    if (request.memory > free_memory)
        return refuse_field(reason, Error::no_memory, "/memory", "not enough free memory");
    free_memory -= request.memory;
    auto [ours, theirs] = socket_pair();
    FakeDomain domain;
    domain.info.domain = next_id_++;
    domain.info.state = static_cast<std::uint32_t>(protocol::DomainState::building);
    domain.info.vcpus = request.vcpus;
    domain.info.memory = request.memory;
    domain.info.console_slot = domain.info.domain % protocol::maximum_consoles + 1;
    std::memcpy(domain.info.uuid, request.uuid, sizeof domain.info.uuid);
    std::memcpy(domain.info.name, request.name, sizeof domain.info.name);
    domain.console = std::move(ours);
    reply = {domain.info.domain, domain.info.console_slot};
    const std::lock_guard guard{mutex_};
    ports_["graft.console." + std::to_string(reply.console_slot)] = std::move(theirs);
    domains.emplace(reply.domain, std::move(domain));
    return Progress::done;
}

Expected<Progress> FakeHypervisor::finish_build(protocol::DomainId domain, Reason&)
{
    if (stall_finish)
        return Progress::more;
    domains.at(domain).info.state = static_cast<std::uint32_t>(protocol::DomainState::paused);
    return Progress::done;
}

Status FakeHypervisor::unpause(protocol::DomainId id, Reason&)
{
    FakeDomain& domain = domains.at(id);
    const bool first{domain.info.state == static_cast<std::uint32_t>(protocol::DomainState::paused)};
    domain.info.state = static_cast<std::uint32_t>(protocol::DomainState::running);
    if (first && on_unpause)
        on_unpause(domain);
    return Done{};
}

Expected<Progress> FakeHypervisor::pause(protocol::DomainId id, Reason&)
{
    domains.at(id).info.state = static_cast<std::uint32_t>(protocol::DomainState::paused);
    return Progress::done;
}

Expected<Progress> FakeHypervisor::destroy_domain(protocol::DomainId id, Reason& reason)
{
    const auto found = domains.find(id);
    if (found == domains.end())
        return refuse(reason, Error::not_found, "no such domain");
    free_memory += found->second.info.memory;
    domains.erase(found);
    std::erase_if(channels, [id](const auto& one) { return one.second.domain == id; });
    return Progress::done;
}

Status FakeHypervisor::rename_domain(protocol::DomainId id, std::string_view name, Reason&)
{
    return protocol::set_text(domains.at(id).info.name, name);
}

Status FakeHypervisor::shutdown_domain(protocol::DomainId id, Reason&)
{
    FakeDomain& domain = domains.at(id);
    ++domain.powerbutton;
    if (ignore_powerbutton)
        return Done{};
    end(domain, protocol::EndReason::poweroff);
    return Done{};
}

Status FakeHypervisor::trigger(protocol::DomainId id, protocol::Trigger trigger, std::uint32_t, Reason&)
{
    FakeDomain& domain = domains.at(id);
    if (trigger == protocol::Trigger::nmi)
        ++domain.nmis;
    else
        end(domain, protocol::EndReason::reboot);
    return Done{};
}

bool FakeHypervisor::next_domain(std::uint64_t& cursor, protocol::DomainInfo& entry)
{
    const auto found = domains.lower_bound(static_cast<protocol::DomainId>(cursor));
    if (found == domains.end())
        return false;
    entry = found->second.info;
    entry.extensions = static_cast<std::uint32_t>(found->second.modules.size());
    cursor = found->first + 1;
    return true;
}

Expected<bool> FakeHypervisor::next_vcpu(protocol::DomainId id, std::uint64_t& cursor,
                                         protocol::VcpuInfo& entry)
{
    const FakeDomain& domain = domains.at(id);
    if (cursor >= domain.info.vcpus)
        return false;
    entry = {};
    entry.vcpu = entry.apic_id = static_cast<std::uint32_t>(cursor++);
    entry.state = static_cast<std::uint32_t>(protocol::VcpuState::blocked);
    entry.run_ticks = run_ticks;
    return true;
}

Expected<bool> FakeHypervisor::next_exit_count(protocol::DomainId, protocol::ExitTable table,
                                               std::uint64_t& cursor, protocol::ExitCount& entry)
{
    if (table == protocol::ExitTable::counter) {
        if (cursor >= 2)
            return false;
        entry = {static_cast<std::uint32_t>(cursor), 0, 40 + cursor, "flushes"};
        ++cursor;
        return true;
    }
    if (cursor != 0 || table == protocol::ExitTable::port)
        return false;
    ++cursor;
    const bool reason = table == protocol::ExitTable::reason;
    entry = {reason ? 0x72u : 0x4000'0002u, 0, reason ? cpuid_exits : 7, {}};
    protocol::set_text_truncated(entry.name, table == protocol::ExitTable::reason ? "CPUID" : "");
    return true;
}

Expected<bool> FakeHypervisor::next_binding(protocol::DomainId id, std::uint64_t& cursor,
                                            protocol::Binding& entry)
{
    const FakeDomain& domain = domains.at(id);
    if (cursor >= domain.modules.size())
        return false;
    entry = {};
    protocol::set_text_truncated(entry.module, domain.modules[cursor]);
    entry.position = static_cast<std::uint32_t>(cursor++);
    entry.placement = static_cast<std::uint32_t>(protocol::BindPlacement::isolated);
    entry.on_fault = static_cast<std::uint32_t>(protocol::FaultPolicy::restart);
    entry.restarts = 3;
    entry.flags = protocol::binding_ended;
    entry.generation = 2;
    entry.budget_ns = 1'000'000;
    return true;
}

bool FakeHypervisor::next_module(std::uint64_t& cursor, protocol::ModuleInfo& entry)
{
    if (cursor >= modules.size())
        return false;
    entry = std::next(modules.begin(), static_cast<std::ptrdiff_t>(cursor++))->second;
    return true;
}

Status FakeHypervisor::write_memory(protocol::DomainId id, std::uint64_t address,
                                    std::span<const std::byte> bytes, Reason&)
{
    domains.at(id).memory[address].assign(bytes.begin(), bytes.end());
    return Done{};
}

Status FakeHypervisor::set_registers(protocol::DomainId id, std::uint32_t,
                                     const protocol::VcpuRegisters& registers, Reason&)
{
    domains.at(id).registers = registers;
    return Done{};
}

Status FakeHypervisor::announce_extensions(protocol::DomainId id,
                                           const protocol::EntryView<protocol::ModuleName>& names, Reason& reason)
{
    FakeDomain& domain = domains.at(id);
    for (std::size_t index = 0; index < names.size(); ++index) {
        const protocol::ModuleName entry = names.at(index);
        domain.announced.emplace_back(protocol::text_of(entry.name));
        if (domain.announced.back() == clashing_module)
            return refuse_field(reason, Error::conflict, "/modules/" + std::to_string(index),
                                "both want the same window");
    }
    return Done{};
}

Expected<Progress> FakeHypervisor::bind_extension(const protocol::ExtBindRequest& request,
                                                  protocol::ParameterReader parameters,
                                                  protocol::ExtBindReply& reply, Reason& reason)
{
    FakeDomain& domain = domains.at(request.domain);
    const std::string name{protocol::text_of(request.module)};
    if (name == binding_fails)
        return refuse(reason, Error::conflict, "it does not like the domain");
    const bool being_built{domain.info.state == static_cast<std::uint32_t>(protocol::DomainState::building)};
    const std::size_t place{domain.modules.size()};
    if (being_built && (place >= domain.announced.size() || domain.announced[place] != name))
        return refuse(reason, Error::conflict, "not the one that was announced");
    for (unsigned number = 0; !parameters.at_end(); ++number) {
        const auto parameter = parameters.next();
        if (parameter.value().key == "unknown")
            return refuse_field(reason, Error::not_found, "/params/" + std::to_string(number), "no such parameter");
        if (parameter.value().text == "bad")
            return refuse_field(reason, Error::invalid_argument, "/params/" + std::to_string(number),
                                "no such word");
        domain.parameters.emplace_back(parameter.value().key);
    }
    reply.position = static_cast<std::uint32_t>(domain.modules.size());
    domain.modules.push_back(name);
    ++modules.at(name).bindings;
    return Progress::done;
}

Status FakeHypervisor::detach_extension(const protocol::ExtOfDomainRequest& request, Reason& reason)
{
    FakeDomain& domain = domains.at(request.domain);
    const std::string name{protocol::text_of(request.module)};
    if (name == clashing_module)
        return refuse(reason, Error::no_memory, "not enough memory to keep what the guest was told");
    std::erase(domain.modules, name);
    --modules.at(name).bindings;
    return Done{};
}

Expected<Progress> FakeHypervisor::swap_extension(const protocol::ExtSwapRequest& request,
                                                  core::control::SwapAnswer& answer, Reason& reason)
{
    FakeDomain& domain = domains.at(request.domain);
    if (protocol::text_of(domain.info.name) == keeping_domain)
        return refuse(reason, Error::conflict, "the new one wants other windows");
    const std::string next{request.upload != 0 ? uploaded_ : std::string{protocol::text_of(request.new_module)}};
    if ((request.flags & protocol::ext_swap_dry_run) == 0)
        std::replace(domain.modules.begin(), domain.modules.end(), std::string{protocol::text_of(request.old_module)},
                     next);
    std::memcpy(answer.reply.old_module, request.old_module, sizeof answer.reply.old_module);
    protocol::set_text_truncated(answer.reply.new_module, next);
    return Progress::done;
}

/// A window, and more exits than one answer holds.
/// The first module's features came to two.
Expected<bool> FakeHypervisor::next_settled(protocol::DomainId id, std::uint64_t& cursor, protocol::SettledParameter& entry)
{
    if (domains.at(id).modules.empty() || cursor >= 2)
        return false;
    entry = {0, 0, "features", {}};
    protocol::set_text_truncated(entry.value, cursor++ == 0 ? "base" : "time");
    return true;
}

Expected<bool> FakeHypervisor::next_module_request(std::string_view, std::uint64_t& cursor,
                                                   protocol::ModuleRequest& entry, Reason&)
{
    if (cursor > 1100)
        return false;
    if (cursor == 0)
        entry = {static_cast<std::uint32_t>(protocol::ModuleRequestKind::window), 2, 1, 0, 0x4000'0000, 8, "msrs"};
    else
        entry = {static_cast<std::uint32_t>(protocol::ModuleRequestKind::exit), 7, 1, 0, 0, cursor, ""};
    ++cursor;
    return true;
}

Expected<std::uint32_t> FakeHypervisor::begin_module(const protocol::ExtLoadBeginRequest& request, Reason&)
{
    upload_ = request;
    uploaded_.clear();
    return 1u;
}

Status FakeHypervisor::module_data(std::uint32_t, std::uint64_t, std::span<const std::byte> bytes, Reason&)
{
    uploaded_.append(protocol::as_text(bytes));
    return Done{};
}

/// A module of the fake is a text file that holds the module's name.
Expected<Progress> FakeHypervisor::finish_module(std::uint32_t, protocol::ModuleInfo& reply, Reason& reason)
{
    if (uploaded_.starts_with("broken"))
        return refuse(reason, Error::malformed, "section '.text': sh_offset is outside the file");
    reply = {};
    protocol::set_text_truncated(reply.name, uploaded_);
    protocol::set_text_truncated(reply.version, "1.0.0");
    reply.abi_minor = 1;
    std::memcpy(reply.hash, upload_.hash, sizeof reply.hash);
    std::memcpy(reply.path, upload_.path, sizeof reply.path);
    if (upload_.signature_length != 0) {
        reply.signature = static_cast<std::uint32_t>(protocol::SignatureState::good);
        // The signature of the fake is the signer's name.
        protocol::set_text_truncated(
            reply.signer, {reinterpret_cast<const char*>(upload_.signature), sizeof upload_.signature});
    }
    reply.needs = 0x3;
    reply.generation = modules.size() + 1;
    reply.file_size = uploaded_.size();
    reply.memory_bytes = 4096;
    reply.flags = protocol::module_serial;
    modules[uploaded_] = reply;
    return Progress::done;
}

/// Two segments, of which the first takes several pieces: its byte n is n modulo 251.
Expected<std::size_t> FakeHypervisor::read_core(const ExtCoreRequest& request, std::span<std::byte> room,
                                                ExtCoreReply& reply, Reason& reason)
{
    if (domains.at(request.domain).modules.empty() || request.segment > 1)
        return refuse(reason, Error::not_found, "nothing is kept");
    const std::uint64_t length{request.segment == 0 ? 150'000u : 4096u};
    reply = {1, request.segment == 0 ? 0x5000u : 0x9'0000u, length, request.segment == 0 ? core_executable : core_writable, 2};
    const std::size_t bytes = std::min<std::size_t>(room.size(), length - std::min(request.offset, length));
    for (std::size_t index = 0; index < bytes; ++index)
        room[index] = static_cast<std::byte>((request.offset + index) % 251);
    return bytes;
}

/// A domain with an extension has had one failure, with what a report can say.
Expected<std::size_t> FakeHypervisor::report_failure(const ExtReportRequest& request, std::span<std::byte> room,
                                                     ExtReportReply& reply, Reason& reason)
{
    const FakeDomain& domain{domains.at(request.domain)};
    const std::string name{text_of(request.module)};
    if (domain.modules.empty() || request.skip != 0 || (!name.empty() && name != domain.modules[0]))
        return refuse(reason, Error::not_found, "no failure is known");
    ReportFrame frames[2]{};
    frames[0].address = 0x5010;
    frames[0].offset = 16;
    std::strcpy(frames[0].symbol, "_ZN5Chaos4loopEv");
    frames[1].flags = report_frame_guessed;
    ReportEvent events[2]{};
    events[0].ticks = 900;
    events[0].kind = static_cast<std::uint32_t>(ReportEventKind::hook);
    events[0].argument_count = 2;
    events[0].arguments[1] = 0x77;
    std::strcpy(events[0].name, "msr_write");
    std::strcpy(events[0].result, "thrown out");
    events[1].ticks = 950;
    events[1].kind = static_cast<std::uint32_t>(ReportEventKind::service);
    std::strcpy(events[1].name, "vcpu_kick");
    std::strcpy(events[1].result, "ok");
    std::memcpy(room.data(), frames, sizeof frames);
    std::memcpy(room.data() + sizeof frames, events, sizeof events);
    reply.number = reply.failures = 1;
    reply.ticks = 1000;
    reply.image = 0x5000;
    reply.general[3] = 0x1234;
    reply.vector = 14;
    reply.placement = static_cast<std::uint32_t>(BindPlacement::isolated);
    reply.action = static_cast<std::uint32_t>(FaultPolicy::detach);
    reply.flags = report_has_registers;
    reply.frame_count = reply.event_count = 2;
    reply.frame_size = sizeof(ReportFrame);
    reply.event_size = sizeof(ReportEvent);
    std::strcpy(reply.module, domain.modules[0].c_str());
    std::strcpy(reply.version, "1.2.3");
    std::strcpy(reply.hook, "msr_write");
    std::strcpy(reply.reason, "it failed");
    return sizeof frames + sizeof events;
}
Status FakeHypervisor::unload_module(std::string_view module, Reason& reason)
{
    const auto found = modules.find(std::string{module});
    if (found->second.bindings != 0)
        return refuse(reason, Error::busy, "the module has instances");
    modules.erase(found);
    return Done{};
}

FakeChannel* FakeHypervisor::channel(const std::string& name)
{
    for (auto& [number, channel] : channels)
        if (channel.name == name)
            return &channel;
    return nullptr;
}

void FakeHypervisor::announce(const FakeChannel& channel)
{
    channel_news_.push_back({channel.domain, static_cast<std::uint32_t>(channel.waiting.size()), channel.number, 0, 0});
    server_.events_waiting();
}

void FakeHypervisor::say(FakeChannel& channel, const std::string& message)
{
    channel.waiting.push_back(message);
    if (channel.waiting.size() == 1)
        announce(channel);
}

Expected<FakeChannel*> FakeHypervisor::find_channel(DomainId domain, std::uint64_t channel, Reason& reason)
{
    const auto found = channels.find(channel);
    if (!domains.contains(domain) || found == channels.end() || found->second.domain != domain)
        return refuse_field(reason, Error::gone, "/channel", "there is no such channel");
    return &found->second;
}

Expected<ChannelOpenReply> FakeHypervisor::open_channel(DomainId domain, std::string_view name, Reason& reason)
{
    if (domains.at(domain).modules.empty())
        return refuse(reason, Error::conflict, "the domain has no extension");
    if (channel(std::string{name}) != nullptr)
        return refuse_field(reason, Error::already_exists, "/name", "the channel is open already");
    FakeChannel& made = channels[next_channel_];
    made.number = next_channel_++;
    made.domain = domain;
    made.name = name;
    if (on_channel_open)
        on_channel_open(made);
    return ChannelOpenReply{made.number, made.connected ? channel_connected : 0, 0};
}

Status FakeHypervisor::send_to_channel(DomainId domain, std::uint64_t number, std::span<const std::byte> message, Reason& reason)
{
    FakeChannel* const channel{HV_TRY(find_channel(domain, number, reason))};
    if (!channel->connected)
        return refuse_field(reason, Error::not_found, "/channel", "nobody is there");
    if (channel->room == 0)
        return refuse(reason, Error::limit_reached, "no room");
    --channel->room;
    channel->sent.emplace_back(as_text(message));
    if (on_channel_message)
        on_channel_message(*channel, channel->sent.back());
    return Done{};
}

Expected<std::size_t> FakeHypervisor::receive_from_channel(DomainId domain, std::uint64_t number, std::span<std::byte> room,
                                                           ChannelReceiveReply& reply, Reason& reason)
{
    FakeChannel* const channel{HV_TRY(find_channel(domain, number, reason))};
    reply.flags = channel->connected ? channel_connected : 0;
    reply.waiting = 0;
    if (channel->waiting.empty())
        return std::size_t{0};
    const std::string message{channel->waiting.front()};
    channel->waiting.pop_front();
    reply.waiting = static_cast<std::uint32_t>(channel->waiting.size());
    std::memcpy(room.data(), message.data(), message.size());
    return message.size();
}

Status FakeHypervisor::close_channel(DomainId domain, std::uint64_t number, Reason& reason)
{
    HV_TRY(find_channel(domain, number, reason));
    channels.erase(number);
    return Done{};
}

bool FakeHypervisor::next_channel_changed(ChannelChangedEvent& event)
{
    if (channel_news_.empty())
        return false;
    event = channel_news_.front();
    channel_news_.pop_front();
    return true;
}

bool FakeHypervisor::next_domain_ended(protocol::DomainEndedEvent& event)
{
    if (ended_.empty())
        return false;
    event = ended_.front();
    end_told_ = true;
    ended_.erase(ended_.begin());
    return true;
}

}  // namespace hv::xl::test
