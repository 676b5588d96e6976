// SPDX-License-Identifier: MIT
//
// The fake machine's answers.
#include "fake_control_target.hpp"

#include <algorithm>
#include <cstring>

namespace hv::test {

using namespace protocol;
using core::control::refuse;
using core::control::refuse_field;

bool FakeControlTarget::slice()
{
    if (++calls_ < slices)
        return true;
    calls_ = 0;
    return false;
}

Expected<FakeDomain*> FakeControlTarget::find(DomainId domain, Reason& reason)
{
    const auto place = domains.find(domain);
    if (place == domains.end())
        return refuse_field(reason, Error::not_found, "/domain", "there is no domain ", domain);
    return &place->second;
}

Expected<std::byte*> FakeControlTarget::range(DomainId domain, std::uint64_t address, std::uint64_t bytes,
                                              Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (address > found->memory.size() || found->memory.size() - address < bytes)
        return refuse_field(reason, Error::out_of_range, "/address", "no RAM at ", Hex{address});
    return found->memory.data() + address;
}

void FakeControlTarget::info(InfoReply& reply)
{
    reply.processors = 2;
    reply.memory_total = 1 << 30;
    reply.ticks_per_second = 1'000'000'000;
    set_text_truncated(reply.version, "0.1 fake");
}

core::control::LogSlice FakeControlTarget::read_log(std::uint64_t cursor, std::span<char> room)
{
    const std::size_t from{std::min<std::size_t>(cursor, log.size())};
    const std::size_t bytes{std::min(room.size(), log.size() - from)};
    std::copy_n(log.begin() + static_cast<std::ptrdiff_t>(from), bytes, room.begin());
    return {from + bytes, 0, bytes};
}

Expected<core::control::Progress> FakeControlTarget::create_domain(const DomainCreateRequest& request,
                                                                   const EntryView<CpuidMask>& cpuid,
                                                                   DomainCreateReply& reply, Reason& reason)
{
    const auto same = [&](const auto& entry) { return entry.second.name == text_of(request.name); };
    if (reply.domain == 0) {
        if (std::any_of(domains.begin(), domains.end(), same))
            return refuse_field(reason, Error::already_exists, "/name", "the name is taken");
        if (request.memory > largest_memory)
            return refuse_field(reason, Error::no_memory, "/memory", "there are not ", request.memory,
                                " bytes");
        reply = {next_id_, next_id_};
        FakeDomain& domain{domains[next_id_++]};
        domain.name = text_of(request.name);
        domain.vcpus = request.vcpus;
        domain.memory.resize(request.memory);
        domain.masks = static_cast<std::uint32_t>(cpuid.size());
    }
    return slice() ? Progress::more : Progress::done;
}

Expected<core::control::Progress> FakeControlTarget::finish_build(DomainId domain, Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (found->state != DomainState::building)
        return refuse(reason, Error::invalid_argument, "the domain is built already");
    if (slice())
        return Progress::more;
    found->state = DomainState::paused;
    return Progress::done;
}

Status FakeControlTarget::unpause(DomainId domain, Reason& reason)
{
    HV_TRY(find(domain, reason))->state = DomainState::running;
    return Done{};
}

Expected<core::control::Progress> FakeControlTarget::pause(DomainId domain, Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (slice())
        return Progress::more;
    found->state = DomainState::paused;
    return Progress::done;
}

Expected<core::control::Progress> FakeControlTarget::destroy_domain(DomainId domain, Reason& reason)
{
    HV_TRY(find(domain, reason));
    if (slice())
        return Progress::more;
    domains.erase(domain);
    return Progress::done;
}

Status FakeControlTarget::rename_domain(DomainId domain, std::string_view name, Reason& reason)
{
    HV_TRY(find(domain, reason))->name = name;
    return Done{};
}

Status FakeControlTarget::shutdown_domain(DomainId domain, Reason& reason)
{
    HV_TRY(find(domain, reason))->log += "power button;";
    return Done{};
}

Status FakeControlTarget::trigger(DomainId domain, Trigger trigger, std::uint32_t vcpu, Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    found->log += (trigger == Trigger::nmi ? "nmi " : "reset ") + std::to_string(vcpu) + ";";
    return Done{};
}

bool FakeControlTarget::next_domain(std::uint64_t& cursor, DomainInfo& entry)
{
    for (const auto& [id, domain] : domains) {
        if (id < cursor)
            continue;
        entry.domain = id;
        entry.state = static_cast<std::uint32_t>(domain.state);
        entry.vcpus = domain.vcpus;
        entry.memory = domain.memory.size();
        set_text_truncated(entry.name, domain.name);
        cursor = std::uint64_t{id} + 1;
        return true;
    }
    return false;
}

Expected<bool> FakeControlTarget::next_vcpu(DomainId domain, std::uint64_t& cursor, VcpuInfo& entry)
{
    Reason reason{};
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (cursor >= found->vcpus)
        return false;
    entry.vcpu = static_cast<std::uint32_t>(cursor++);
    return true;
}

Expected<bool> FakeControlTarget::next_exit_count(DomainId domain, ExitTable table, std::uint64_t& cursor,
                                                  ExitCount& entry)
{
    Reason reason{};
    HV_TRY(find(domain, reason));
    if (cursor >= 3000)
        return false;
    entry.key = static_cast<std::uint32_t>(cursor++);
    entry.count = static_cast<std::uint64_t>(table);
    return true;
}

Expected<bool> FakeControlTarget::next_binding(DomainId domain, std::uint64_t& cursor, Binding& entry)
{
    Reason reason{};
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (cursor >= found->modules.size())
        return false;
    entry.position = static_cast<std::uint32_t>(cursor);
    set_text_truncated(entry.module, found->modules[cursor++]);
    return true;
}

bool FakeControlTarget::next_module(std::uint64_t& cursor, ModuleInfo& entry)
{
    if (cursor >= modules.size())
        return false;
    const auto module = std::next(modules.begin(), static_cast<std::ptrdiff_t>(cursor++));
    set_text_truncated(entry.name, module->first);
    entry.file_size = module->second.size();
    return true;
}

Status FakeControlTarget::write_memory(DomainId domain, std::uint64_t address,
                                       std::span<const std::byte> bytes, Reason& reason)
{
    std::byte* const place{HV_TRY(range(domain, address, bytes.size(), reason))};
    std::memcpy(place, bytes.data(), bytes.size());
    largest_write = std::max(largest_write, bytes.size());
    return Done{};
}

Status FakeControlTarget::read_memory(DomainId domain, std::uint64_t address, std::span<std::byte> room,
                                      Reason& reason)
{
    const std::byte* const place{HV_TRY(range(domain, address, room.size(), reason))};
    if (!room.empty())
        std::memcpy(room.data(), place, room.size());
    return Done{};
}

Status FakeControlTarget::set_registers(DomainId domain, std::uint32_t vcpu, const VcpuRegisters& registers,
                                        Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (vcpu >= found->vcpus)
        return refuse_field(reason, Error::not_found, "/vcpu", "there is no VCPU ", vcpu);
    if ((registers.cr0 >> 32) != 0)
        return refuse_field(reason, Error::invalid_argument, "/registers/cr0", "CR0 has 32 bits");
    found->registers[vcpu] = registers;
    return Done{};
}

Status FakeControlTarget::get_registers(DomainId domain, std::uint32_t vcpu, VcpuRegisters& registers,
                                        Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (vcpu >= found->vcpus)
        return refuse_field(reason, Error::not_found, "/vcpu", "there is no VCPU ", vcpu);
    registers = found->registers[vcpu];
    return Done{};
}

Status FakeControlTarget::announce_extensions(DomainId domain, const EntryView<ModuleName>& names, Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    std::vector<std::string> announced;
    for (std::size_t index = 0; index < names.size(); ++index) {
        const ModuleName entry{names.at(index)};
        announced.emplace_back(text_of(entry.name));
        if (!modules.contains(announced.back()))
            return refuse_field(reason, Error::not_found, "/modules/" + std::to_string(index), "no such module");
    }
    found->announced = announced;
    return Done{};
}

Expected<core::control::Progress> FakeControlTarget::bind_extension(const ExtBindRequest& request,
                                                                    ParameterReader parameters,
                                                                    ExtBindReply& reply, Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(request.domain, reason))};
    const std::string name{text_of(request.module)};
    if (!modules.contains(name))
        return refuse_field(reason, Error::not_found, "/name", "no module ", std::string_view{name},
                            " is loaded");
    if (slice())
        return Progress::more;
    while (!parameters.at_end()) {
        const Parameter parameter{HV_TRY(parameters.next())};
        found->parameters += std::string{parameter.key} + "=" + std::string{parameter.text} +
                             std::to_string(parameter.integer) + ";";
    }
    reply.position = static_cast<std::uint32_t>(found->modules.size());
    found->modules.push_back(name);
    return Progress::done;
}

/// Every module of the fake has made something of one parameter.
Expected<bool> FakeControlTarget::next_settled(protocol::DomainId domain, std::uint64_t& cursor, protocol::SettledParameter& entry)
{
    Reason reason{};
    FakeDomain* const found{HV_TRY(find(domain, reason))};
    if (cursor >= found->modules.size())
        return false;
    entry = {static_cast<std::uint32_t>(cursor), 0, "words", {}};
    set_text_truncated(entry.value, found->modules[cursor++]);
    return true;
}

/// Every module of the fake asks for three ranges of MSRs.
Expected<bool> FakeControlTarget::next_module_request(std::string_view module, std::uint64_t& cursor,
                                                      ModuleRequest& entry, Reason& reason)
{
    if (!modules.contains(std::string{module}))
        return refuse_field(reason, Error::not_found, "/module", "no module ", module, " is loaded");
    if (cursor >= 3)
        return false;
    entry = {static_cast<std::uint32_t>(ModuleRequestKind::window), 2, 0, 0, 0x4000'0000 + cursor++, 1, "msr"};
    return true;
}

Expected<std::uint32_t> FakeControlTarget::begin_module(const ExtLoadBeginRequest& request, Reason& reason)
{
    if (request.size > largest_memory)
        return refuse(reason, Error::no_memory, "no room for the file");
    last_upload = request;
    uploads[next_upload_] = {};
    return next_upload_++;
}

Status FakeControlTarget::module_data(std::uint32_t upload, std::uint64_t offset,
                                      std::span<const std::byte> bytes, Reason& reason)
{
    auto& file = uploads.at(upload);
    if (offset != file.size())
        return refuse(reason, Error::invalid_argument, "a gap");
    file.insert(file.end(), bytes.begin(), bytes.end());
    return Done{};
}

Expected<core::control::Progress> FakeControlTarget::finish_module(std::uint32_t upload, ModuleInfo& reply,
                                                                   Reason& reason)
{
    if (slice())
        return Progress::more;
    const auto file = uploads.extract(upload).mapped();
    if (file[0] != std::byte{'M'})
        return refuse(reason, Error::malformed, "offset 0: this is no module");
    const std::string name{"module" + std::to_string(upload)};
    modules[name] = file;
    set_text_truncated(reply.name, name);
    reply.file_size = file.size();
    return Progress::done;
}

Expected<core::control::Progress> FakeControlTarget::swap_extension(const ExtSwapRequest& request,
                                                                    core::control::SwapAnswer& answer,
                                                                    Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(request.domain, reason))};
    if (slice())
        return Progress::more;
    uploads.erase(request.upload);
    for (std::string& module : found->modules)
        if (module == text_of(request.old_module)) {
            if ((request.flags & ext_swap_dry_run) == 0)
                module = request.upload != 0 ? "uploaded" : std::string{text_of(request.new_module)};
            answer.reply.generation = 2;
            answer.reply.vcpu_count = 2;
            answer.vcpus[1] = {1, static_cast<std::uint32_t>(SwappedState::went_on), 77};
            return Progress::done;
        }
    return refuse_field(reason, Error::not_found, "/old_module", "no such extension");
}
Expected<core::control::Progress> FakeControlTarget::rollback_extension(const ExtOfDomainRequest& request,
                                                                        core::control::SwapAnswer& answer,
                                                                        Reason& reason)
{
    HV_TRY(find(request.domain, reason));
    answer.reply.generation = 3;
    return Progress::done;
}
Expected<std::size_t> FakeControlTarget::report_failure(const ExtReportRequest& request, std::span<std::byte> room,
                                                        ExtReportReply& reply, Reason& reason)
{
    HV_TRY(find(request.domain, reason));
    if (request.skip != 0)
        return refuse(reason, Error::not_found, "there is no such report");
    ReportFrame frame{};
    frame.address = 0x1234;
    if (room.size() < sizeof frame)
        return Error::limit_reached;
    std::memcpy(room.data(), &frame, sizeof frame);
    reply.number = 5;
    reply.frame_count = 1;
    reply.frame_size = sizeof frame;
    std::memcpy(reply.module, request.module, sizeof reply.module);
    return sizeof frame;
}
Status FakeControlTarget::detach_extension(const ExtOfDomainRequest& request, Reason& reason)
{
    FakeDomain* const found{HV_TRY(find(request.domain, reason))};
    const auto place = std::find(found->modules.begin(), found->modules.end(), text_of(request.module));
    if (place == found->modules.end())
        return refuse_field(reason, Error::not_found, "/module", "no such extension");
    found->modules.erase(place);
    return Done{};
}
Expected<std::size_t> FakeControlTarget::read_core(const ExtCoreRequest& request, std::span<std::byte> room,
                                                   ExtCoreReply& reply, Reason& reason)
{
    HV_TRY(find(request.domain, reason));
    if (request.segment != 0)
        return refuse(reason, Error::not_found, "there is no such segment");
    const std::size_t bytes = std::min<std::size_t>(room.size(), 100'000 - std::min<std::uint64_t>(request.offset, 100'000));
    std::memset(room.data(), 'c', bytes);
    reply = {5, 0x4000, 100'000, core_writable, 1};
    return bytes;
}
Expected<std::size_t> FakeControlTarget::inspect_extension(const ExtOfDomainRequest& request,
                                                           std::span<std::byte> room, ExtInspectReply& reply,
                                                           Reason& reason)
{
    HV_TRY(find(request.domain, reason));
    const std::string_view bytes{"records!"};
    if (room.size() < bytes.size())
        return Error::limit_reached;
    std::memcpy(room.data(), bytes.data(), bytes.size());
    reply.generation = 9;
    return bytes.size();
}
Status FakeControlTarget::unload_module(std::string_view module, Reason& reason)
{
    if (modules.erase(std::string{module}) == 0)
        return refuse_field(reason, Error::not_found, "/name", "no module ", module, " is loaded");
    return Done{};
}

Expected<FakeChannel*> FakeControlTarget::find(DomainId domain, std::uint64_t channel, Reason& reason)
{
    HV_TRY(find(domain, reason));
    const auto place = channels.find(channel);
    if (place == channels.end() || place->second.domain != domain)
        return refuse_field(reason, Error::gone, "/channel", "there is no channel ", channel);
    return &place->second;
}

Expected<ChannelOpenReply> FakeControlTarget::open_channel(DomainId domain, std::string_view name, Reason& reason)
{
    HV_TRY(find(domain, reason));
    for (const auto& [number, channel] : channels)
        if (channel.domain == domain && channel.name == name)
            return refuse_field(reason, Error::already_exists, "/name", "the channel is open already");
    if (channels.size() == 8)
        return refuse(reason, Error::limit_reached, "too many channels");
    channels[next_channel_] = {domain, std::string{name}, {}, {}};
    return ChannelOpenReply{next_channel_++, channel_connected, 0};
}

Status FakeControlTarget::send_to_channel(DomainId domain, std::uint64_t channel, std::span<const std::byte> message, Reason& reason)
{
    FakeChannel* const end{HV_TRY(find(domain, channel, reason))};
    if (!end->connected)
        return refuse_field(reason, Error::not_found, "/channel", "nobody is there");
    if (end->sent.size() == 8)
        return refuse(reason, Error::limit_reached, "no room");
    end->sent.emplace_back(as_text(message));
    return Done{};
}

Expected<std::size_t> FakeControlTarget::receive_from_channel(DomainId domain, std::uint64_t channel, std::span<std::byte> room,
                                                              ChannelReceiveReply& reply, Reason& reason)
{
    FakeChannel* const end{HV_TRY(find(domain, channel, reason))};
    reply.flags = end->connected ? channel_connected : 0;
    reply.waiting = 0;
    if (end->waiting.empty())
        return std::size_t{0};
    const std::string message{end->waiting.front()};
    end->waiting.pop_front();
    reply.waiting = static_cast<std::uint32_t>(end->waiting.size());
    std::memcpy(room.data(), message.data(), message.size());
    return message.size();
}

Status FakeControlTarget::close_channel(DomainId domain, std::uint64_t channel, Reason& reason)
{
    HV_TRY(find(domain, channel, reason));
    channels.erase(channel);
    return Done{};
}

bool FakeControlTarget::next_channel_changed(ChannelChangedEvent& event)
{
    if (channel_news.empty())
        return false;
    event = channel_news.front();
    channel_news.pop_front();
    return true;
}

bool FakeControlTarget::next_domain_ended(DomainEndedEvent& event)
{
    if (ended.empty())
        return false;
    event = ended.front();
    ended.pop_front();
    return true;
}

bool FakeControlTarget::next_console_changed(ConsoleChangedEvent& event)
{
    if (consoles.empty())
        return false;
    event = consoles.front();
    consoles.pop_front();
    return true;
}

}  // namespace hv::test
