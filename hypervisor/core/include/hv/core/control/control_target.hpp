// SPDX-License-Identifier: MIT
//
// What the control server acts on: the machine as the control protocol knows it.  The core implements it over
// real domains; host tests have a fake.  The server has judged the shape of every request before it calls
// (texts end, counts fit, numbers are inside the protocol's ranges); whether a request can be granted is
// decided here.
//
// All of it is called on the one processor that runs the server at the moment, and by nobody else.  A method
// must not take long: what can (memory to clear, a module to link) does a slice and answers Progress::more;
// it is then called again with equal arguments until it is done or fails.  An error means that nothing was
// changed, unless said otherwise.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/base/bounded_text.hpp"
#include "hv/base/expected.hpp"
#include "hv/protocol/codec.hpp"
#include "hv/protocol/control.hpp"

namespace hv::core::control {

enum class Progress : std::uint8_t { done, more };

/// Why a request was refused, for the user, word for word.  What is not filled in is said by the Error alone.
struct Reason {
    BoundedText<protocol::maximum_refusal_text> text{};
    BoundedText<protocol::maximum_refusal_field> field{};  ///< JSON pointer into the request

    void clear()
    {
        text.clear();
        field.clear();
    }
};

/// Says why and returns the error: `return refuse(reason, Error::busy, "module ", name, " has instances");`
template <typename... Parts>
Error refuse(Reason& reason, Error error, const Parts&... parts)
{
    reason.text.clear();
    say(reason.text, parts...);
    return error;
}
template <typename... Parts>
Error refuse_field(Reason& reason, Error error, std::string_view field, const Parts&... parts)
{
    reason.field.clear();
    reason.field.append(field);
    return refuse(reason, error, parts...);
}

/// What read_log found.
struct LogSlice {
    std::uint64_t next{};   ///< cursor to go on with
    std::uint64_t lost{};   ///< messages overwritten since the cursor that was asked for
    std::size_t bytes{};    ///< how much of the room was filled, whole lines
};

/// What a swap is answered with.
struct SwapAnswer {
    protocol::ExtSwapReply reply{};
    std::array<protocol::SwappedVcpu, protocol::maximum_vcpus> vcpus{};
};

class ControlTarget {
public:
    // ---- the machine --------------------------------------------------------------------------------------
    virtual void info(protocol::InfoReply& reply) = 0;
    virtual LogSlice read_log(std::uint64_t cursor, std::span<char> room) = 0;
    /// The cursor behind the newest message.
    virtual std::uint64_t log_end() = 0;
    virtual void clear_log() = 0;

    // ---- life of a domain ---------------------------------------------------------------------------------
    /// Sliced.  `reply.domain` is 0 in the first call and then what the target left there.
    virtual Expected<Progress> create_domain(const protocol::DomainCreateRequest& request,
                                             const protocol::EntryView<protocol::CpuidMask>& cpuid,
                                             protocol::DomainCreateReply& reply, Reason& reason) = 0;
    /// Sliced.
    virtual Expected<Progress> finish_build(protocol::DomainId domain, Reason& reason) = 0;
    virtual Status unpause(protocol::DomainId domain, Reason& reason) = 0;
    /// Sliced: done once no VCPU of the domain runs.
    virtual Expected<Progress> pause(protocol::DomainId domain, Reason& reason) = 0;
    /// Sliced: done once the domain's number is gone and its memory is free.
    virtual Expected<Progress> destroy_domain(protocol::DomainId domain, Reason& reason) = 0;
    virtual Status rename_domain(protocol::DomainId domain, std::string_view name, Reason& reason) = 0;
    /// Presses the power button.
    virtual Status shutdown_domain(protocol::DomainId domain, Reason& reason) = 0;
    virtual Status trigger(protocol::DomainId domain, protocol::Trigger trigger, std::uint32_t vcpu,
                           Reason& reason) = 0;

    // ---- what there is ------------------------------------------------------------------------------------
    // Each finds the first entry at or behind `cursor`, writes it, and moves the cursor behind it; false:
    // there is none.
    virtual bool next_domain(std::uint64_t& cursor, protocol::DomainInfo& entry) = 0;
    virtual Expected<bool> next_vcpu(protocol::DomainId domain, std::uint64_t& cursor,
                                     protocol::VcpuInfo& entry) = 0;
    virtual Expected<bool> next_exit_count(protocol::DomainId domain, protocol::ExitTable table,
                                           std::uint64_t& cursor, protocol::ExitCount& entry) = 0;
    virtual Expected<bool> next_binding(protocol::DomainId domain, std::uint64_t& cursor,
                                        protocol::Binding& entry) = 0;
    virtual bool next_module(std::uint64_t& cursor, protocol::ModuleInfo& entry) = 0;
    virtual Expected<bool> next_settled(protocol::DomainId domain, std::uint64_t& cursor, protocol::SettledParameter& entry) = 0;
    virtual Expected<bool> next_module_request(std::string_view module, std::uint64_t& cursor,
                                               protocol::ModuleRequest& entry, Reason& reason) = 0;

    // ---- memory and registers -----------------------------------------------------------------------------
    /// Copies straight from the control domain's buffer: at most 64 KiB at a time.  All of it, or an error.
    virtual Status write_memory(protocol::DomainId domain, std::uint64_t address,
                                std::span<const std::byte> bytes, Reason& reason) = 0;
    virtual Status read_memory(protocol::DomainId domain, std::uint64_t address, std::span<std::byte> room,
                               Reason& reason) = 0;
    virtual Status set_registers(protocol::DomainId domain, std::uint32_t vcpu,
                                 const protocol::VcpuRegisters& registers, Reason& reason) = 0;
    virtual Status get_registers(protocol::DomainId domain, std::uint32_t vcpu,
                                 protocol::VcpuRegisters& registers, Reason& reason) = 0;

    // ---- extensions ---------------------------------------------------------------------------------------
    /// The modules that will be bound to the domain, in stacking order; the names are texts.
    virtual Status announce_extensions(protocol::DomainId domain,
                                       const protocol::EntryView<protocol::ModuleName>& modules,
                                       Reason& reason) = 0;
    /// Sliced, of a domain that is being built or has been.  The reader stands at the first parameter in every call;
    /// all of them are well-formed, no key twice.
    virtual Expected<Progress> bind_extension(const protocol::ExtBindRequest& request,
                                              protocol::ParameterReader parameters,
                                              protocol::ExtBindReply& reply, Reason& reason) = 0;
    /// A place for a module file of `request.size` bytes; returns its number, not 0.
    virtual Expected<std::uint32_t> begin_module(const protocol::ExtLoadBeginRequest& request,
                                                 Reason& reason) = 0;
    /// The file's next bytes; `offset` ascends without gaps and stays within the size.
    virtual Status module_data(std::uint32_t upload, std::uint64_t offset, std::span<const std::byte> bytes,
                               Reason& reason) = 0;
    /// Sliced.  When it is done or fails the upload is over.
    virtual Expected<Progress> finish_module(std::uint32_t upload, protocol::ModuleInfo& reply,
                                             Reason& reason) = 0;
    virtual void abort_module(std::uint32_t upload) = 0;
    virtual Status unload_module(std::string_view module, Reason& reason) = 0;
    /// Sliced: done when the guest runs again.  When it is done or fails a named upload is over.
    virtual Expected<Progress> swap_extension(const protocol::ExtSwapRequest& request, SwapAnswer& answer,
                                              Reason& reason) = 0;
    /// Sliced likewise.
    virtual Expected<Progress> rollback_extension(const protocol::ExtOfDomainRequest& request,
                                                  SwapAnswer& answer, Reason& reason) = 0;
    virtual Status detach_extension(const protocol::ExtOfDomainRequest& request, Reason& reason) = 0;
    /// Writes state records into `room`; returns how many bytes.
    virtual Expected<std::size_t> inspect_extension(const protocol::ExtOfDomainRequest& request,
                                                    std::span<std::byte> room, protocol::ExtInspectReply& reply,
                                                    Reason& reason) = 0;

    /// The report of a failed instance; its frames and events go to `room`.  Returns how many bytes.
    virtual Expected<std::size_t> report_failure(const protocol::ExtReportRequest& request, std::span<std::byte> room,
                                                 protocol::ExtReportReply& reply, Reason& reason) = 0;
    /// A piece of the memory of one, to `room`.  Returns how many bytes.
    virtual Expected<std::size_t> read_core(const protocol::ExtCoreRequest& request, std::span<std::byte> room,
                                            protocol::ExtCoreReply& reply, Reason& reason) = 0;

    // ---- the client's ends of channels --------------------------------------------------------------------
    virtual Expected<protocol::ChannelOpenReply> open_channel(protocol::DomainId domain, std::string_view name, Reason& reason) = 0;
    /// The message has 1 to protocol::longest_channel_message bytes.
    virtual Status send_to_channel(protocol::DomainId domain, std::uint64_t channel, std::span<const std::byte> message,
                                   Reason& reason) = 0;
    /// The first message that waits, moved into `room`, which takes the longest one; returns its bytes, 0: none waits.  Writes what
    /// is left into `reply`, whose count it does not touch.
    virtual Expected<std::size_t> receive_from_channel(protocol::DomainId domain, std::uint64_t channel, std::span<std::byte> room,
                                                       protocol::ChannelReceiveReply& reply, Reason& reason) = 0;
    virtual Status close_channel(protocol::DomainId domain, std::uint64_t channel, Reason& reason) = 0;
    /// The client is gone: all ends that were opened are closed.
    virtual void close_channels() = 0;

    // ---- the target's own work ----------------------------------------------------------------------------
    /// What somebody asked of the target that is no client: a pause that an extension wants.
    /// ControlService::target_waiting() makes the service call it.
    virtual void carry_out_requests() {}

    // ---- events -------------------------------------------------------------------------------------------
    // True: an event that was not told yet, and now is.  ControlServer::events_waiting() makes the server
    // ask.
    virtual bool next_domain_ended(protocol::DomainEndedEvent& event) = 0;
    virtual bool next_console_changed(protocol::ConsoleChangedEvent& event) = 0;
    virtual bool next_channel_changed(protocol::ChannelChangedEvent& event) = 0;

protected:
    ~ControlTarget() = default;
};

}  // namespace hv::core::control
