// SPDX-License-Identifier: MIT
//
// The services over containers.  What ABI 0.1 calls `not supported` is so here too.
#include "fake_host.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace hv::test {

namespace {

FakeHost* current{};

/// No processor has more bits of a physical address [APM2-3.41 §5.3].
constexpr std::uint64_t end_of_addresses{1ull << 52};

FakeHost& fake()
{
    if (current == nullptr)
        throw std::logic_error{"a service was called with no FakeHost"};
    return *current;
}

template <typename... Arguments>
abi::Answer not_supported(Arguments...)
{
    return abi::status_not_supported;
}

bool is_domain(std::uint64_t handle)
{
    return handle == FakeHost::domain_handle;
}
bool is_vcpu(std::uint64_t handle)
{
    return handle >= FakeHost::vcpu_handle(0) && handle < FakeHost::vcpu_handle(fake().vcpu_count);
}

/// Replaces what was declared for the same place, or adds; `withdrawn` only removes.
template <typename T, typename Same>
abi::Answer declare(std::vector<T>& declared, const T* rows, std::uint64_t count, Same same, auto withdrawn)
{
    for (std::uint64_t index = 0; index < count; ++index) {
        std::erase_if(declared, [&](const T& one) { return same(one, rows[index]); });
        if (!withdrawn(rows[index]))
            declared.push_back(rows[index]);
    }
    return abi::status_ok;
}

constexpr auto same_msr = [](const auto& one, const auto& other) {
    return one.window == other.window && one.offset == other.offset && one.condition == other.condition;
};

void fill_text_and_declared(abi::HostTable& host)
{
    host.log = [](abi::LogLevel, const char* text, std::uint64_t length) {
        fake().log.emplace_back(text, length);
        return abi::status_ok;
    };
    host.explain = [](std::uint64_t, const char* text, std::uint64_t length) {
        fake().explained.assign(text, length);
        return abi::status_ok;
    };
    host.processor_leaf = [](std::uint64_t, std::uint32_t leaf, std::uint32_t, abi::CpuidResult* values) {
        const auto found = fake().processor_leaves.find(leaf);
        *values = found == fake().processor_leaves.end() ? abi::CpuidResult{} : found->second;
        return abi::status_ok;
    };
    host.settled = [](std::uint64_t, const char* key, std::uint64_t key_length, const char* value, std::uint64_t value_length) {
        fake().settled.emplace_back(std::string{key, key_length}, std::string{value, value_length});
        return abi::status_ok;
    };
    host.domain_update_begin = [](std::uint64_t domain) {
        fake().domain_update_held = true;
        return is_domain(domain) ? abi::status_ok : abi::status_gone;
    };
    host.declare_leaves = [](std::uint64_t, const abi::DeclaredLeaf* rows, std::uint64_t count) {
        const auto same = [](const abi::DeclaredLeaf& one, const abi::DeclaredLeaf& other) {
            return one.window == other.window && one.leaf == other.leaf && one.subleaf == other.subleaf &&
                   one.condition == other.condition;
        };
        return declare(fake().leaves, rows, count, same, [](const auto&) { return false; });
    };
    host.declare_msr_reads = [](std::uint64_t, const abi::DeclaredMsrRead* rows, std::uint64_t count) {
        return declare(fake().msr_reads, rows, count, same_msr,
                       [](const auto& row) { return row.kind == abi::MsrReadKind::withdrawn; });
    };
    host.declare_msr_writes = [](std::uint64_t, const abi::DeclaredMsrWrite* rows, std::uint64_t count) {
        return declare(fake().msr_writes, rows, count, same_msr,
                       [](const auto& row) { return row.kind == abi::MsrWriteKind::withdrawn; });
    };
    host.declare_eoi_assist = [](std::uint64_t vcpu, const abi::DeclaredEoiAssist* assist) {
        if (assist->page == 0)
            fake().eoi_assists.erase(vcpu);
        else
            fake().eoi_assists[vcpu] = *assist;
        return abi::status_ok;
    };
    host.set_condition = [](std::uint64_t, std::uint32_t condition, std::uint32_t on) {
        if (condition == 0 || condition > abi::maximum_condition)
            return abi::status_invalid_argument;
        if (on != 0)
            fake().conditions.insert(condition);
        else
            fake().conditions.erase(condition);
        return abi::status_ok;
    };
}

void fill_hvm(abi::HostTable& host)
{
    host.registers_read = [](std::uint64_t, std::uint32_t, abi::GuestRegisters* registers) {
        *registers = fake().registers;
        return abi::status_ok;
    };
    host.registers_write = [](std::uint64_t, std::uint32_t, const abi::GuestRegisters* registers) {
        fake().registers = *registers;
        return abi::status_ok;
    };
    host.inject_interrupt = [](std::uint64_t vcpu, std::uint32_t vector, std::uint32_t how) {
        if (!is_vcpu(vcpu) || vector < 16 || vector > 255)
            return abi::status_invalid_argument;
        fake().injected.push_back({vcpu, vector, how});
        return abi::status_ok;
    };
    host.inject_nmi = [](std::uint64_t vcpu) {
        fake().injected.push_back({vcpu, 2, abi::inject_bare});
        return abi::status_ok;
    };
    host.interrupt_watch = [](std::uint64_t vcpu, std::uint32_t vector, std::uint32_t what) {
        if (!is_vcpu(vcpu) || vector < 16 || vector > 255 || (what & ~abi::watch_known) != 0)
            return abi::status_invalid_argument;
        if (what == 0)
            fake().watched[vcpu].erase(vector);
        else
            fake().watched[vcpu][vector] = what;
        return abi::status_ok;
    };
    host.interrupt_window_request = [](std::uint64_t) { return abi::status_ok; };
    host.tlb_flush = [](std::uint64_t, const std::uint64_t* vcpus, std::uint32_t words, std::uint32_t how) {
        const bool all{vcpus == nullptr};
        fake().flushes.push_back({all ? std::nullopt : std::optional{words == 0 ? 0 : vcpus[0]}, how});
        return abi::status_ok;
    };
    host.hypercall_instruction = [](std::uint8_t* bytes, std::uint32_t* length) {
        std::ranges::copy(fake().hypercall_instruction, bytes);
        *length = static_cast<std::uint32_t>(fake().hypercall_instruction.size());
        return abi::status_ok;
    };
}

void fill_guest_memory(abi::HostTable& host)
{
    host.guest_read = [](std::uint64_t, std::uint64_t gpa, void* own, std::uint64_t length) {
        return fake().copy(gpa, own, length, false) ? abi::status_ok : abi::status_out_of_range;
    };
    host.guest_write = [](std::uint64_t, std::uint64_t gpa, const void* own, std::uint64_t length) {
        return !fake().is_read_only(gpa, length) && fake().copy(gpa, const_cast<void*>(own), length, true) ? abi::status_ok
                                                                      : abi::status_out_of_range;
    };
    // The fake's guest has its linear addresses equal to its physical ones.
    host.guest_read_linear = [](std::uint64_t, std::uint64_t address, void* own, std::uint64_t length,
                                std::uint32_t, abi::GuestFault* fault) {
        *fault = {14, 0, address};
        return fake().copy(address, own, length, false) ? abi::status_ok : abi::status_out_of_range;
    };
    host.guest_write_linear = [](std::uint64_t, std::uint64_t address, const void* own, std::uint64_t length,
                                 std::uint32_t, abi::GuestFault* fault) {
        *fault = {14, 2, address};
        return fake().copy(address, const_cast<void*>(own), length, true) ? abi::status_ok
                                                                          : abi::status_out_of_range;
    };
    host.translate = [](std::uint64_t, std::uint64_t address, std::uint32_t, std::uint64_t* gpa,
                        abi::GuestFault*) {
        *gpa = address;
        return abi::status_ok;
    };
    host.hypercall_page_place = [](std::uint64_t, std::uint32_t page, std::uint64_t gpa, std::uint32_t how) {
        if (gpa % 4096 != 0 || gpa >= end_of_addresses || how > abi::hypercall_page_copy)
            return abi::status_invalid_argument;
        if (how == abi::hypercall_page_remove) {
            fake().hypercall_pages_placed.erase(page);
            return abi::status_ok;
        }
        if (how == abi::hypercall_page_copy &&
            !fake().copy(gpa, fake().hypercall_pages[page].data(), 4096, true))
            return abi::status_out_of_range;
        fake().hypercall_pages_placed[page] = {gpa, how};
        return abi::status_ok;
    };
}

FakeHost::PageBytes* bytes_of(std::uint64_t handle)
{
    const auto found = fake().pages.find(handle);
    if (found == fake().pages.end())
        return nullptr;
    return found->second.overlay ? &found->second.bytes : fake().seen_at(*found->second.gpa);
}

/// Runs `act` on the `size` bytes at `offset` of a page as a number, and puts back what it leaves.
template <typename Act>
abi::Answer on_number(std::uint64_t page, std::uint32_t offset, std::uint32_t size, Act act)
{
    auto* const bytes = bytes_of(page);
    if (bytes == nullptr)
        return abi::status_gone;
    if ((size != 1 && size != 2 && size != 4 && size != 8) || offset % size != 0 || offset + size > 4096)
        return abi::status_invalid_argument;
    std::uint64_t value{};
    std::memcpy(&value, bytes->data() + offset, size);
    act(value);
    std::memcpy(bytes->data() + offset, &value, size);
    return abi::status_ok;
}

void fill_overlays(abi::HostTable& host)
{
    host.overlay_create = [](std::uint64_t, std::uint64_t* page) {
        *page = fake().next_handle++;
        fake().pages[*page] = {.overlay = true};
        return abi::status_ok;
    };
    host.overlay_place = [](std::uint64_t, std::uint64_t page, std::uint64_t gpa, std::uint32_t writable) {
        const auto found = fake().pages.find(page);
        if (found == fake().pages.end() || !found->second.overlay)
            return abi::status_gone;
        if (gpa % 4096 != 0 || gpa >= end_of_addresses)
            return abi::status_invalid_argument;
        for (const auto& [handle, other] : fake().pages)
            if (handle != page && other.overlay && other.gpa == gpa)
                return abi::status_conflict;
        found->second.gpa = gpa;
        found->second.writable = writable != 0;
        return abi::status_ok;
    };
    host.overlay_remove = [](std::uint64_t, std::uint64_t page) {
        const auto found = fake().pages.find(page);
        if (found == fake().pages.end() || !found->second.overlay)
            return abi::status_gone;
        if (!found->second.gpa)
            return abi::status_not_found;
        found->second.gpa.reset();
        return abi::status_ok;
    };
    host.overlay_destroy = [](std::uint64_t, std::uint64_t page) {
        return fake().pages.erase(page) != 0 ? abi::status_ok : abi::status_gone;
    };
    host.page_read = [](std::uint64_t, std::uint64_t page, std::uint32_t offset, void* own,
                        std::uint64_t length) {
        const auto* const bytes = bytes_of(page);
        if (bytes == nullptr)
            return abi::status_gone;
        if (length > 4096 || offset > 4096 - length)
            return abi::status_out_of_range;
        std::memcpy(own, bytes->data() + offset, length);
        return abi::status_ok;
    };
    host.page_write = [](std::uint64_t, std::uint64_t page, std::uint32_t offset, const void* own,
                         std::uint64_t length) {
        auto* const bytes = bytes_of(page);
        if (bytes == nullptr)
            return abi::status_gone;
        if (length > 4096 || offset > 4096 - length)
            return abi::status_out_of_range;
        std::memcpy(bytes->data() + offset, own, length);
        return abi::status_ok;
    };
}

void fill_pinned(abi::HostTable& host)
{
    host.page_pin = [](std::uint64_t, std::uint64_t gpa, std::uint32_t, std::uint64_t* page) {
        if (gpa % 4096 != 0)
            return abi::status_invalid_argument;
        if (!fake().ram.contains(gpa))
            return abi::status_out_of_range;
        *page = fake().next_handle++;
        fake().pages[*page] = {.overlay = false, .writable = true, .gpa = gpa};
        return abi::status_ok;
    };
    host.page_unpin = [](std::uint64_t, std::uint64_t page) {
        return fake().pages.erase(page) != 0 ? abi::status_ok : abi::status_gone;
    };
    host.page_load = [](std::uint64_t, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                        std::uint64_t* value) {
        return on_number(page, offset, size, [&](std::uint64_t& there) { *value = there; });
    };
    host.page_store = [](std::uint64_t, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                         std::uint64_t value) {
        return on_number(page, offset, size, [&](std::uint64_t& there) { there = value; });
    };
    host.page_exchange = [](std::uint64_t, std::uint64_t page, std::uint32_t offset, std::uint32_t size,
                            std::uint64_t value, std::uint64_t* before) {
        return on_number(page, offset, size, [&](std::uint64_t& there) {
            *before = there;
            there = value;
        });
    };
    host.page_compare_exchange = [](std::uint64_t, std::uint64_t page, std::uint32_t offset,
                                    std::uint32_t size, std::uint64_t expected, std::uint64_t desired,
                                    std::uint64_t* before) {
        return on_number(page, offset, size, [&](std::uint64_t& there) {
            *before = there;
            if (there == expected)
                there = desired;
        });
    };
    host.page_test_and_set = [](std::uint64_t, std::uint64_t page, std::uint32_t bit, std::uint32_t* before) {
        return on_number(page, bit / 8, 1, [&](std::uint64_t& there) {
            *before = there >> bit % 8 & 1;
            there |= 1u << bit % 8;
        });
    };
    host.page_test_and_clear = [](std::uint64_t, std::uint64_t page, std::uint32_t bit,
                                  std::uint32_t* before) {
        return on_number(page, bit / 8, 1, [&](std::uint64_t& there) {
            *before = there >> bit % 8 & 1;
            there &= ~(1u << bit % 8);
        });
    };
}

void fill_vcpus(abi::HostTable& host)
{
    host.vcpu_by_index = [](std::uint64_t, std::uint32_t index, std::uint64_t* vcpu) {
        if (index >= fake().vcpu_count)
            return abi::status_not_found;
        *vcpu = FakeHost::vcpu_handle(index);
        return abi::status_ok;
    };
    host.vcpu_pause = [](std::uint64_t) { return abi::status_ok; };
    host.vcpu_unpause = [](std::uint64_t) { return abi::status_ok; };
    host.vcpu_kick = [](std::uint64_t vcpu) {
        fake().kicked.push_back(vcpu);
        return is_vcpu(vcpu) ? abi::status_ok : abi::status_gone;
    };
    host.vcpu_yield = [](std::uint64_t vcpu) {
        fake().yielded.push_back(vcpu);
        return is_vcpu(vcpu) ? abi::status_ok : abi::status_gone;
    };
    host.vcpu_block = [](std::uint64_t vcpu, std::uint32_t wake, std::uint64_t deadline_ns) {
        fake().blocked.push_back({vcpu, wake, deadline_ns});
        return is_vcpu(vcpu) ? abi::status_ok : abi::status_gone;
    };
    host.apic_read = [](std::uint64_t vcpu, std::uint32_t name, std::uint64_t* value) {
        *value = fake().apic[vcpu][name];
        return abi::status_ok;
    };
    host.apic_write = [](std::uint64_t vcpu, std::uint32_t name, std::uint64_t value) {
        fake().apic[vcpu][name] = value;
        return abi::status_ok;
    };
    host.run_state_times = [](std::uint64_t, abi::RunStateTimes* times) {
        *times = {
            .ns = {fake().now_ns, 0, 0, 0}, .now = abi::RunState::running, .reserved = 0, .since_ns = 0};
        return abi::status_ok;
    };
}

void fill_time(abi::HostTable& host)
{
    host.time_now = [](std::uint64_t, std::uint64_t* guest_ns) {
        *guest_ns = fake().now_ns;
        return abi::status_ok;
    };
    host.time_snapshot = [](std::uint64_t, abi::TimeSnapshot* snapshot) {
        const auto tsc = static_cast<unsigned __int128>(fake().now_ns) * fake().tsc_hz / 1'000'000'000;
        *snapshot = {fake().now_ns, static_cast<std::uint64_t>(tsc), fake().tsc_hz, fake().wall_clock_ns};
        return abi::status_ok;
    };
    host.timer_create = [](std::uint64_t vcpu, std::uint64_t cookie, std::uint64_t* timer) {
        *timer = fake().next_handle++;
        fake().timers[*timer] = {vcpu, cookie, std::nullopt, std::nullopt};
        return abi::status_ok;
    };
    host.timer_set = [](std::uint64_t timer, const abi::TimerSetting* setting) {
        const auto found = fake().timers.find(timer);
        if (found == fake().timers.end())
            return abi::status_gone;
        if (setting->period_ns != 0 && setting->period_ns < 100'000)
            return abi::status_invalid_argument;
        found->second.setting = found->second.last = *setting;
        return abi::status_ok;
    };
    host.timer_cancel = [](std::uint64_t timer) {
        const auto found = fake().timers.find(timer);
        if (found == fake().timers.end())
            return abi::status_gone;
        found->second.setting.reset();
        return abi::status_ok;
    };
    host.timer_destroy = [](std::uint64_t timer) {
        return fake().timers.erase(timer) != 0 ? abi::status_ok : abi::status_gone;
    };
}

void fill_domain(abi::HostTable& host)
{
    host.domain_shutdown = [](std::uint64_t, abi::ShutdownReason reason, const char* text,
                              std::uint64_t length) {
        fake().shutdown = FakeHost::Shutdown{reason, std::string{text, length}};
        return abi::status_ok;
    };
    host.domain_reset = [](std::uint64_t) {
        fake().reset_wanted = true;
        return abi::status_ok;
    };
    host.domain_info = [](std::uint64_t, abi::DomainInfo* info) {
        *info = fake().info;
        info->vcpu_count = fake().vcpu_count;
        return abi::status_ok;
    };
    host.console_write = [](std::uint64_t, const char* text, std::uint64_t length, std::uint64_t* written) {
        fake().console_output.append(text, length);
        *written = length;
        return abi::status_ok;
    };
    host.console_read = [](std::uint64_t, char* text, std::uint64_t length, std::uint64_t* read) {
        *read = std::min<std::uint64_t>(length, fake().console_input.size());
        std::copy_n(fake().console_input.begin(), *read, text);
        fake().console_input.erase(0, *read);
        return abi::status_ok;
    };
}

void fill_absent(abi::HostTable& host)
{
    host.vector_registers_read = [](std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, void* bytes) {
        if (bytes == nullptr || first >= 16 || count == 0 || count > 16 - first || !is_vcpu(vcpu))
            return abi::status_invalid_argument;
        std::memcpy(bytes, fake().vectors[vcpu].data() + 16 * first, 16 * count);
        return abi::status_ok;
    };
    host.vector_registers_write = [](std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, const void* bytes) {
        if (bytes == nullptr || first >= 16 || count == 0 || count > 16 - first || !is_vcpu(vcpu))
            return abi::status_invalid_argument;
        std::memcpy(fake().vectors[vcpu].data() + 16 * first, bytes, 16 * count);
        return abi::status_ok;
    };
    host.intercept_msr = not_supported;
    host.page_map = not_supported;
    host.page_unmap = not_supported;
    host.physical_map_add = not_supported;
    host.physical_map_remove = not_supported;
    host.page_offer = not_supported;
    host.page_accept = not_supported;
    host.allocate = not_supported;
    host.release = not_supported;
    host.mmio_claim = not_supported;
    host.mmio_withdraw = not_supported;
    host.channel_open = [](std::uint64_t, const char* name, std::uint64_t length, std::uint64_t* channel) {
        const std::string text{name, length};
        for (const auto& [handle, other] : fake().channels)
            if (other.name == text)
                return abi::status_already_exists;
        *channel = fake().next_handle++;
        fake().channels[*channel].name = text;
        return abi::status_ok;
    };
    host.channel_send = [](std::uint64_t channel, const void* bytes, std::uint64_t length) {
        const auto found = fake().channels.find(channel);
        if (found == fake().channels.end())
            return abi::status_gone;
        if (!found->second.heard)
            return abi::status_not_found;
        if (found->second.sent.size() >= found->second.room)
            return abi::status_limit_reached;
        const auto* const first = static_cast<const std::byte*>(bytes);
        found->second.sent.emplace_back(first, first + length);
        return abi::status_ok;
    };
    host.channel_close = [](std::uint64_t channel) {
        return fake().channels.erase(channel) != 0 ? abi::status_ok : abi::status_gone;
    };
}

}  // namespace

FakeHost::FakeHost()
{
    if (current != nullptr)
        throw std::logic_error{"two FakeHosts at once"};
    current = this;
    std::strcpy(info.name, "fake");
    info.apic_timer_hz = 1'000'000'000;
}

FakeHost::~FakeHost()
{
    current = nullptr;
}

abi::HostTable FakeHost::table()
{
    abi::HostTable host{};
    host.header = {abi::host_table_magic, abi::abi_major, abi::abi_minor, sizeof host, 0};
    fill_text_and_declared(host);
    fill_hvm(host);
    fill_guest_memory(host);
    fill_overlays(host);
    fill_pinned(host);
    fill_vcpus(host);
    fill_time(host);
    fill_domain(host);
    fill_absent(host);
    return host;
}

void FakeHost::add_ram(std::uint64_t gpa, std::uint64_t bytes)
{
    for (std::uint64_t page = gpa & ~0xfffull; page < gpa + bytes; page += 4096)
        ram[page] = {};
}

FakeHost::PageBytes* FakeHost::seen_at(std::uint64_t gpa)
{
    for (auto& [handle, page] : pages)
        if (page.overlay && page.gpa == gpa)
            return &page.bytes;
    for (auto& [index, placed] : hypercall_pages_placed)
        if (placed.how == abi::hypercall_page_overlay && placed.gpa == gpa)
            return &hypercall_pages[index];
    const auto found = ram.find(gpa);
    return found == ram.end() ? nullptr : &found->second;
}

bool FakeHost::is_read_only(std::uint64_t gpa, std::uint64_t length) const
{
    const auto touches = [&](std::uint64_t page) { return page < gpa + length && gpa < page + 4096; };
    for (const auto& [handle, page] : pages)
        if (page.overlay && page.gpa && !page.writable && touches(*page.gpa))
            return true;
    return std::ranges::any_of(hypercall_pages_placed, [&](const auto& one) {
        return one.second.how == abi::hypercall_page_overlay && touches(one.second.gpa);
    });
}

bool FakeHost::copy(std::uint64_t gpa, void* own, std::uint64_t length, bool to_guest)
{
    for (std::uint64_t done = 0; done < length;) {
        auto* const page = seen_at((gpa + done) & ~0xfffull);
        if (page == nullptr)
            return false;
        const std::uint64_t offset{(gpa + done) & 0xfff};
        const std::uint64_t part{std::min(length - done, 4096 - offset)};
        auto* const here = static_cast<std::uint8_t*>(own) + done;
        if (to_guest)
            std::memcpy(page->data() + offset, here, part);
        else
            std::memcpy(here, page->data() + offset, part);
        done += part;
    }
    return true;
}

std::uint64_t FakeHost::guest_u64(std::uint64_t gpa)
{
    std::uint64_t value{};
    if (!copy(gpa, &value, sizeof value, false))
        throw std::runtime_error{"no guest memory there"};
    return value;
}

}  // namespace hv::test
