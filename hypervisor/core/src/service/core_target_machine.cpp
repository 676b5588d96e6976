// SPDX-License-Identifier: MIT
//
// What the control protocol asks about the machine itself: its description and its log.
#include "hv/core/service/core_target.hpp"

#include <cstring>

#include "hv/core/diag/log.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/service/wire_text.hpp"

namespace hv::core::service {

void CoreTarget::info(protocol::InfoReply& reply)
{
    Machine& hypervisor = machine();
    reply.processors = platform::processor_count();
    reply.guest_processors = platform::processor_count() - 1;
    reply.memory_total = hypervisor.frames.total_frames() * page_size;
    reply.memory_free = hypervisor.frames.free_frames() * page_size;
    reply.memory_hypervisor = hypervisor.ledger.frames() * page_size;
    reply.ticks_per_second = platform::ticks_per_second();
    reply.uptime_ticks = platform::ticks();
    reply.domains = static_cast<std::uint32_t>(domains_.size()) + 1;
    reply.maximum_domains = DomainTable::capacity + 1;
    reply.maximum_vcpus = maximum_vcpus;
    put_text(reply.version, description_.version);
    put_text(reply.backend, hypervisor.hvm.name);
    put_text(reply.processor, description_.processor);
    put_text(reply.features, description_.features);
    put_text(reply.options, description_.options);
}

control::LogSlice CoreTarget::read_log(std::uint64_t cursor, std::span<char> room)
{
    const std::uint64_t from = cursor < log_begin_ ? log_begin_ : cursor;
    std::uint64_t next{from};
    std::size_t bytes = core::read_log(next, room);
    // Whole lines only: what was cut at the end of the room is read again.
    while (bytes > 0 && room[bytes - 1] != '\n') {
        --bytes;
        --next;
    }
    const std::uint64_t skipped = next - bytes - from;
    return {next, skipped, bytes};
}

std::uint64_t CoreTarget::log_end() { return core::log_end(); }

void CoreTarget::clear_log() { log_begin_ = core::log_end(); }

}  // namespace hv::core::service
