// SPDX-License-Identifier: MIT
//
// Requests put together, answers taken apart.
#include "hypervisor/hypervisor.hpp"

#include <algorithm>
#include <cstring>

#include "base/byte_buffer.hpp"
#include "hv/loader/sha256.hpp"

namespace hv::xl {
namespace {

using namespace hv::protocol;

[[noreturn]] void wrong_answer()
{
    throw Failure{ExitCode::failed, "the hypervisor's answer is not what the control protocol says"};
}

template <WireStructure T>
ControlRequest request_of(Command command, const T& fixed, std::span<const std::byte> tail = {},
                          std::span<const std::byte> bulk = {})
{
    ControlRequest request{command, static_cast<std::uint16_t>(wire_size<T>), {}, bulk};
    append(request.body, std::as_bytes(std::span{&fixed, 1}).first(wire_size<T>));
    append(request.body, tail);
    return request;
}

template <WireStructure T>
T fixed_of(const ControlFrame& frame)
{
    const auto fixed = frame.view().fixed<T>();
    if (!fixed)
        wrong_answer();
    return fixed.value();
}

template <std::size_t Size>
void put_text(char (&field)[Size], const std::string& text, const char* what)
{
    if (!set_text(field, text))
        throw Failure{ExitCode::bad_text, std::string{what} + " is too long: " + text};
}

/// Adds the entries of a list's answer and returns the cursor for the rest, or nothing after the last ones.
template <WireStructure Entry>
std::optional<std::uint64_t> take_entries(const ControlFrame& frame, std::vector<Entry>& entries)
{
    const auto head = fixed_of<ListReply>(frame);
    const auto view = EntryView<Entry>::over(frame.view().tail(), head.count, head.entry_size);
    if (!view)
        wrong_answer();
    for (std::size_t i = 0; i < view.value().size(); ++i)
        entries.push_back(view.value().at(i));
    if (head.more == 0)
        return std::nullopt;
    if (head.count == 0)
        wrong_answer();  // would be asked for ever
    return head.next;
}

/// Asks until the list is complete.  `ask` is a request structure with a member `cursor`.
template <WireStructure Entry, WireStructure Ask>
Task<std::vector<Entry>> list_of(ControlLink& link, Command command, Ask ask)
{
    std::vector<Entry> entries;
    std::optional<std::uint64_t> cursor{0};
    while (cursor) {
        ask.cursor = *cursor;
        ControlRequest request = request_of(command, ask);
        const ControlFrame frame = co_await link.call(std::move(request));
        cursor = take_entries(frame, entries);
    }
    co_return entries;
}

}  // namespace

Task<void> Hypervisor::greet()
{
    HelloRequest hello{lowest_version, highest_version, 0, {}};
    set_text_truncated(hello.client, "xld");
    ControlRequest request = request_of(Command::hello, hello);
    co_await link_.call(std::move(request));
    const SubscribeRequest events{event_bit(EventCode::domain_ended) | event_bit(EventCode::console_changed) |
                                  event_bit(EventCode::log_grew) | event_bit(EventCode::channel_changed)};
    ControlRequest subscribe = request_of(Command::subscribe, events);
    co_await link_.call(std::move(subscribe));
}

Task<InfoReply> Hypervisor::info()
{
    ControlRequest request = request_of(Command::info, Empty{});
    const ControlFrame frame = co_await link_.call(std::move(request));
    co_return fixed_of<InfoReply>(frame);
}

Task<Hypervisor::LogPiece> Hypervisor::read_log(std::uint64_t cursor)
{
    ControlRequest request = request_of(Command::log_read, LogReadRequest{cursor, 0, 0});
    const ControlFrame frame = co_await link_.call(std::move(request));
    const auto head = fixed_of<LogReadReply>(frame);
    const auto tail = frame.view().tail();
    if (head.text_length > tail.size())
        wrong_answer();
    co_return LogPiece{std::string{as_text(tail.first(head.text_length))}, head.next, head.lost};
}

Task<void> Hypervisor::clear_log()
{
    ControlRequest request = request_of(Command::log_clear, Empty{});
    co_await link_.call(std::move(request));
}

Task<std::vector<DomainInfo>> Hypervisor::domains()
{
    return list_of<DomainInfo>(link_, Command::domain_list, DomainListRequest{});
}

Task<DomainInfo> Hypervisor::domain(DomainId id)
{
    ControlRequest request = request_of(Command::domain_info, DomainRequest{id, 0});
    const ControlFrame frame = co_await link_.call(std::move(request));
    co_return fixed_of<DomainInfo>(frame);
}

Task<std::vector<VcpuInfo>> Hypervisor::vcpus(DomainId id)
{
    return list_of<VcpuInfo>(link_, Command::vcpu_info, VcpuListRequest{id, 0, 0});
}

Task<std::vector<ExitCount>> Hypervisor::exit_counts(DomainId id, ExitTable table)
{
    return list_of<ExitCount>(link_, Command::exit_counts,
                              ExitCountsRequest{id, static_cast<std::uint32_t>(table), 0});
}

Task<DomainCreateReply> Hypervisor::create(DomainCreateRequest fixed, std::vector<CpuidMask> masks)
{
    fixed.cpuid_count = static_cast<std::uint32_t>(masks.size());
    fixed.cpuid_entry_size = sizeof(CpuidMask);
    ControlRequest request = request_of(Command::domain_create, fixed, std::as_bytes(std::span{masks}));
    const ControlFrame frame = co_await link_.call(std::move(request));
    co_return fixed_of<DomainCreateReply>(frame);
}

Task<void> Hypervisor::command(Command command, DomainId id)
{
    ControlRequest request = request_of(command, DomainRequest{id, 0});
    co_await link_.call(std::move(request));
}

Task<void> Hypervisor::rename(DomainId id, std::string name)
{
    DomainRenameRequest fixed{id, 0, {}};
    put_text(fixed.name, name, "the name");
    ControlRequest request = request_of(Command::domain_rename, fixed);
    co_await link_.call(std::move(request));
}

Task<void> Hypervisor::trigger(DomainId id, Trigger trigger, std::uint32_t vcpu)
{
    const DomainTriggerRequest fixed{id, static_cast<std::uint32_t>(trigger), vcpu, 0};
    ControlRequest request = request_of(Command::domain_trigger, fixed);
    co_await link_.call(std::move(request));
}

Task<void> Hypervisor::write_memory(DomainId id, std::uint64_t address, std::span<const std::byte> bytes)
{
    ControlRequest request = request_of(Command::memory_write, MemoryWriteRequest{id, 0, address}, {}, bytes);
    co_await link_.call(std::move(request));
}

Task<void> Hypervisor::set_registers(DomainId id, std::uint32_t vcpu, VcpuRegisters registers)
{
    ControlRequest request = request_of(Command::registers_set, RegistersSetRequest{id, vcpu, registers});
    co_await link_.call(std::move(request));
}

Task<std::vector<ModuleInfo>> Hypervisor::modules()
{
    return list_of<ModuleInfo>(link_, Command::ext_list, ExtListRequest{});
}

Task<std::vector<Binding>> Hypervisor::bindings(DomainId id)
{
    ControlRequest request = request_of(Command::ext_bindings, DomainRequest{id, 0});
    const ControlFrame frame = co_await link_.call(std::move(request));
    std::vector<Binding> entries;
    take_entries(frame, entries);
    co_return entries;
}

Task<void> Hypervisor::announce(DomainId id, std::vector<std::string> modules)
{
    std::vector<ModuleName> entries(modules.size());
    for (std::size_t i = 0; i < modules.size(); ++i)
        put_text(entries[i].name, modules[i], "the module's name");
    const ExtAnnounceRequest fixed{id, static_cast<std::uint32_t>(entries.size()), sizeof(ModuleName), 0};
    ControlRequest request =
        request_of(Command::ext_announce, fixed, std::as_bytes(std::span{entries}));
    co_await link_.call(std::move(request));
}

Task<void> Hypervisor::bind(DomainId id, std::string module, std::vector<std::byte> parameters,
                            std::uint32_t count, std::uint32_t placement, std::uint32_t on_fault)
{
    ExtBindRequest fixed{id, count, placement, on_fault, {}};
    put_text(fixed.module, module, "the module's name");
    ControlRequest request = request_of(Command::ext_bind, fixed, parameters);
    co_await link_.call(std::move(request));
}

Task<std::vector<SettledParameter>> Hypervisor::settled_parameters(DomainId id)
{
    return list_of<SettledParameter>(link_, Command::ext_settled, ExtSettledRequest{id, 0, 0});
}

Task<std::vector<ModuleRequest>> Hypervisor::module_requests(std::string module)
{
    ExtRequestsRequest fixed{};
    put_text(fixed.module, module, "the module's name");
    return list_of<ModuleRequest>(link_, Command::ext_requests, fixed);
}

Task<std::uint32_t> Hypervisor::send_module(std::span<const std::byte> file,
                                            std::span<const std::byte> signature, std::string path)
{
    ExtLoadBeginRequest begin{};
    begin.size = file.size();
    begin.signature_length = static_cast<std::uint32_t>(signature.size());
    std::copy(signature.begin(), signature.end(), std::as_writable_bytes(std::span{begin.signature}).begin());
    const loader::Sha256 hash{loader::sha256(file)};
    std::copy(hash.begin(), hash.end(), begin.hash);
    set_text_truncated(begin.path, path);
    ControlRequest begin_request = request_of(Command::ext_load_begin, begin);
    const ControlFrame begun = co_await link_.call(std::move(begin_request));
    const std::uint32_t upload{fixed_of<ExtLoadBeginReply>(begun).upload};
    // A refused piece ends the whole upload; the first reason is the one to tell.
    std::optional<Failure> failure;
    try {
        for (std::size_t at = 0; at < file.size(); at += maximum_request_bulk) {
            const auto piece =
                file.subspan(at, std::min<std::size_t>(file.size() - at, maximum_request_bulk));
            ControlRequest data =
                request_of(Command::ext_load_data, ExtLoadDataRequest{upload, 0, at}, {}, piece);
            co_await link_.call(std::move(data));
        }
    } catch (const Failure& why) {
        failure = why;
    }
    if (failure) {
        ControlRequest abort = request_of(Command::ext_load_abort, ExtLoadEndRequest{upload, 0});
        try {
            co_await link_.call(std::move(abort));
        } catch (const Failure&) {
            // the first reason is the one to tell
        }
        throw *failure;
    }
    co_return upload;
}

Task<ModuleInfo> Hypervisor::load_module(std::span<const std::byte> file, std::span<const std::byte> signature,
                                         std::string path)
{
    const std::uint32_t upload = co_await send_module(file, signature, std::move(path));
    ControlRequest finish = request_of(Command::ext_load_finish, ExtLoadEndRequest{upload, 0});
    const ControlFrame finished = co_await link_.call(std::move(finish));
    co_return fixed_of<ModuleInfo>(finished);
}

Task<void> Hypervisor::unload_module(std::string name)
{
    ExtUnloadRequest fixed{};
    put_text(fixed.module, name, "the module's name");
    ControlRequest request = request_of(Command::ext_unload, fixed);
    co_await link_.call(std::move(request));
}

namespace {

Hypervisor::Swapped swapped_of(const ControlFrame& frame)
{
    Hypervisor::Swapped result{fixed_of<ExtSwapReply>(frame), {}};
    const auto view = EntryView<SwappedVcpu>::over(frame.view().tail(), result.reply.vcpu_count,
                                                   result.reply.vcpu_entry_size);
    if (!view)
        wrong_answer();
    for (std::size_t i = 0; i < view.value().size(); ++i)
        result.vcpus.push_back(view.value().at(i));
    return result;
}

/// `count` entries of `size` bytes from the front of `bytes`, which then begin behind them.
template <typename Entry>
std::vector<Entry> take_entries(std::span<const std::byte>& bytes, std::uint32_t count, std::uint32_t size)
{
    if (count != 0 && (size == 0 || bytes.size() / size < count))
        throw Failure{ExitCode::failed, "the hypervisor's report is damaged"};
    std::vector<Entry> entries(count);
    for (Entry& entry : entries) {
        std::memcpy(&entry, bytes.data(), std::min<std::size_t>(size, sizeof entry));
        bytes = bytes.subspan(size);
    }
    return entries;
}

Hypervisor::Report report_of(const ControlFrame& frame)
{
    Hypervisor::Report report{fixed_of<ExtReportReply>(frame), {}, {}};
    std::span<const std::byte> bytes{frame.bulk};
    report.frames = take_entries<ReportFrame>(bytes, report.reply.frame_count, report.reply.frame_size);
    report.events = take_entries<ReportEvent>(bytes, report.reply.event_count, report.reply.event_size);
    return report;
}

ControlRequest of_domain(Command command, DomainId id, const std::string& module)
{
    ExtOfDomainRequest fixed{id, 0, {}};
    put_text(fixed.module, module, "the module's name");
    return request_of(command, fixed);
}

}  // namespace

Task<Hypervisor::Swapped> Hypervisor::swap(DomainId id, std::string old_module, std::string new_module,
                                           std::span<const std::byte> file,
                                           std::span<const std::byte> signature, SwapFlags how)
{
    ExtSwapRequest fixed{};
    fixed.domain = id;
    fixed.flags = (how.dry_run ? ext_swap_dry_run : 0) | how.fail_at << ext_swap_fail_at_shift;
    fixed.probation_s = how.probation_s;
    put_text(fixed.old_module, old_module, "the old module's name");
    if (file.empty())
        put_text(fixed.new_module, new_module, "the new module's name");
    else
        fixed.upload = co_await send_module(file, signature, std::move(new_module));
    ControlRequest request = request_of(Command::ext_swap, fixed);
    const ControlFrame frame = co_await link_.call(std::move(request));
    co_return swapped_of(frame);
}

Task<Hypervisor::Swapped> Hypervisor::roll_back(DomainId id, std::string module)
{
    ControlRequest request = of_domain(Command::ext_rollback, id, module);
    const ControlFrame frame = co_await link_.call(std::move(request));
    co_return swapped_of(frame);
}

Task<void> Hypervisor::detach(DomainId id, std::string module)
{
    ControlRequest request = of_domain(Command::ext_detach, id, module);
    co_await link_.call(std::move(request));
}

Task<Hypervisor::Inspected> Hypervisor::inspect(DomainId id, std::string module)
{
    ControlRequest request = of_domain(Command::ext_inspect, id, module);
    const ControlFrame frame = co_await link_.call(std::move(request));
    co_return Inspected{fixed_of<ExtInspectReply>(frame), frame.bulk};
}

Task<std::vector<Hypervisor::Report>> Hypervisor::reports(DomainId id, std::string module)
{
    std::vector<Report> all;
    ExtReportRequest fixed{id, 0, {}};
    put_text(fixed.module, module, "the module's name");
    try {
        for (;; ++fixed.skip) {
            ControlRequest request = request_of(Command::ext_report, fixed);
            const ControlFrame frame = co_await link_.call(std::move(request));
            all.push_back(report_of(frame));
        }
    } catch (const Refused& refused) {
        if (refused.error() != Error::not_found)
            throw;
    }
    co_return all;
}

Task<Hypervisor::CorePiece> Hypervisor::core(DomainId id, std::uint32_t segment, std::uint64_t offset)
{
    ControlRequest request = request_of(Command::ext_core, ExtCoreRequest{id, segment, offset});
    const ControlFrame frame = co_await link_.call(std::move(request));
    co_return CorePiece{fixed_of<ExtCoreReply>(frame), frame.bulk};
}

Task<Hypervisor::Channel> Hypervisor::open_channel(DomainId id, std::string name)
{
    ChannelOpenRequest fixed{id, 0, {}};
    put_text(fixed.name, name, "the channel's name");
    ControlRequest request = request_of(Command::channel_open, fixed);
    const ControlFrame frame = co_await link_.call(std::move(request));
    const auto reply = fixed_of<ChannelOpenReply>(frame);
    co_return Channel{reply.channel, (reply.flags & channel_connected) != 0};
}

Task<void> Hypervisor::send_to_channel(DomainId id, std::uint64_t channel, std::string message)
{
    const ChannelSendRequest fixed{id, static_cast<std::uint32_t>(message.size()), channel};
    ControlRequest request = request_of(Command::channel_send, fixed, protocol::as_bytes(message));
    co_await link_.call(std::move(request));
}

Task<Hypervisor::Received> Hypervisor::receive_from_channel(DomainId id, std::uint64_t channel)
{
    ControlRequest request = request_of(Command::channel_receive, ChannelRequest{id, 0, channel});
    const ControlFrame frame = co_await link_.call(std::move(request));
    const auto reply = fixed_of<ChannelReceiveReply>(frame);
    Received received{{}, reply.waiting, (reply.flags & channel_connected) != 0};
    std::span<const std::byte> rest{frame.view().tail()};
    for (std::uint32_t index = 0; index < reply.count; ++index) {
        const auto head = decode_structure<ChannelMessageHead>(rest);
        if (!head || rest.size() - sizeof head.value() < head.value().length)
            wrong_answer();
        received.messages.emplace_back(as_text(rest.subspan(sizeof head.value(), head.value().length)));
        rest = rest.subspan(sizeof head.value() + head.value().length);
    }
    co_return received;
}

Task<void> Hypervisor::close_channel(DomainId id, std::uint64_t channel)
{
    ControlRequest request = request_of(Command::channel_close, ChannelRequest{id, 0, channel});
    co_await link_.call(std::move(request));
}

}  // namespace hv::xl
