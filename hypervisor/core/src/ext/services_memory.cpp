// SPDX-License-Identifier: MIT
//
// Services that copy from and to the guest, by guest-physical and by guest-linear address, and the instance's
// own memory.
#include "hv/base/checked.hpp"
#include "hv/core/machine.hpp"
#include "hv/core/memory/guest_walk.hpp"
#include "service_call.hpp"

namespace hv::core {

/// One block that a module holds.
void release_allocations(Binding& binding)
{
    while (Binding::Allocation* const one = binding.allocations) {
        binding.allocations = one->next;
        binding.heap.release(one->bytes);
        binding.heap.release(one);
    }
}

namespace services {
namespace {

constexpr std::uint64_t longest_copy{64 * 1024};
constexpr std::uint64_t largest_allocation{16 << 20};
constexpr std::uint32_t known_linear_flags{abi::linear_write | abi::linear_execute | abi::linear_user};
constexpr std::uint32_t page_fault_vector{14};

Status check_copy(const void* own, std::uint64_t length)
{
    if (length > longest_copy || (own == nullptr && length != 0))
        return Error::invalid_argument;
    return Done{};
}

std::span<std::byte> bytes_at(void* own, std::uint64_t length)
{
    return {static_cast<std::byte*>(own), static_cast<std::size_t>(length)};
}
std::span<const std::byte> bytes_at(const void* own, std::uint64_t length)
{
    return {static_cast<const std::byte*>(own), static_cast<std::size_t>(length)};
}

/// A walk of the calling VCPU's page tables, as an instruction of it would.
class LinearView {
public:
    LinearView(const Vcpu& vcpu, std::uint32_t flags, abi::GuestFault& fault)
        : vcpu_{vcpu},
          access_{.write = (flags & abi::linear_write) != 0,
                  .user = (flags & abi::linear_user) != 0,
                  .execute = (flags & abi::linear_execute) != 0},
          fault_{fault}
    {
        machine().hvm.read_context(vcpu, context_);
    }

    /// out_of_range: the guest would fault, and `fault` says how.
    Expected<GuestPhysical> translate(std::uint64_t address)
    {
        const std::uint64_t linear = context_.long_mode_active() ? address : address & 0xffff'ffff;
        const auto walk =
            walk_guest_tables(vcpu_.domain.memory.guest(), context_, GuestLinear{linear}, access_);
        if (!walk) {
            fault_ = {page_fault_vector, walk.error_code(), linear};
            return Error::out_of_range;
        }
        mark_accessed(*walk, access_.write);
        return walk->address;
    }

    /// Calls `copy(guest-physical, offset, bytes)` for each piece within a page.
    template <typename Copy>
    Status for_each_page(std::uint64_t address, std::uint64_t length, Copy copy)
    {
        if (!checked_add(address, length))
            return Error::invalid_argument;
        for (std::uint64_t done = 0; done < length;) {
            const GuestPhysical at = HV_TRY(translate(address + done));
            const std::uint64_t room = page_size - at.page_offset();
            const std::uint64_t piece = room < length - done ? room : length - done;
            HV_TRY(copy(at, done, piece));
            done += piece;
        }
        return Done{};
    }

private:
    const Vcpu& vcpu_;
    const LinearAccess access_;
    abi::GuestFault& fault_;
    ExecutionContext context_{};
};

/// A service by linear address: of the calling hook's own VCPU.
template <typename Body>
Answer serve_linear(std::uint64_t vcpu, std::uint32_t flags, abi::GuestFault* fault, Body body)
{
    return serve_vcpu(vcpu, abi::need_guest_memory, [&](HookCall& call, VcpuBinding& own) -> Status {
        if ((flags & ~known_linear_flags) != 0 || fault == nullptr || call.vcpu != &own)
            return Error::invalid_argument;
        *fault = {};
        LinearView view{own.vcpu, flags, *fault};
        return body(own.vcpu.domain.memory.guest(), view);
    });
}

}  // namespace

Answer guest_read(std::uint64_t domain, std::uint64_t gpa, void* own, std::uint64_t length)
{
    return serve_domain(domain, abi::need_guest_memory, [&](HookCall& call) -> Status {
        HV_TRY(check_copy(own, length));
        return call.binding->domain.memory.guest().read(GuestPhysical{gpa}, bytes_at(own, length));
    });
}

Answer guest_write(std::uint64_t domain, std::uint64_t gpa, const void* own, std::uint64_t length)
{
    return serve_domain(domain, abi::need_guest_memory | acts, [&](HookCall& call) -> Status {
        HV_TRY(check_copy(own, length));
        return call.binding->domain.memory.guest().write(GuestPhysical{gpa}, bytes_at(own, length));
    });
}

Answer guest_read_linear(std::uint64_t vcpu, std::uint64_t address, void* own, std::uint64_t length,
                         std::uint32_t flags, abi::GuestFault* fault)
{
    return serve_linear(vcpu, flags, fault, [&](const GuestMemory& memory, LinearView& view) -> Status {
        HV_TRY(check_copy(own, length));
        return view.for_each_page(address, length,
                                  [&](GuestPhysical at, std::uint64_t offset, std::uint64_t bytes) {
                                      return memory.read(at, bytes_at(own, length).subspan(offset, bytes));
                                  });
    });
}

Answer guest_write_linear(std::uint64_t vcpu, std::uint64_t address, const void* own, std::uint64_t length,
                          std::uint32_t flags, abi::GuestFault* fault)
{
    return serve_linear(
        vcpu, flags | abi::linear_write, fault, [&](const GuestMemory& memory, LinearView& view) -> Status {
            HV_TRY(check_copy(own, length));
            return view.for_each_page(
                address, length, [&](GuestPhysical at, std::uint64_t offset, std::uint64_t bytes) {
                    return memory.write(at, bytes_at(own, length).subspan(offset, bytes));
                });
        });
}

Answer translate(std::uint64_t vcpu, std::uint64_t address, std::uint32_t flags, std::uint64_t* gpa,
                 abi::GuestFault* fault)
{
    return serve_linear(vcpu, flags, fault, [&](const GuestMemory&, LinearView& view) -> Status {
        if (gpa == nullptr)
            return Error::invalid_argument;
        *gpa = HV_TRY(view.translate(address)).raw();
        return Done{};
    });
}

Answer allocate(std::uint64_t length, std::uint64_t alignment, void** own)
{
    return serve(abi::need_allocation, [&](HookCall& call) -> Status {
        if (own == nullptr || length == 0 || !is_power_of_two(alignment) || alignment > page_size)
            return Error::invalid_argument;
        if (length > largest_allocation)
            return Error::limit_reached;
        Binding& binding = *call.binding;
        auto* const one =
            static_cast<Binding::Allocation*>(binding.heap.allocate(sizeof(Binding::Allocation)));
        void* const bytes = one == nullptr ? nullptr : binding.heap.allocate(length, alignment);
        if (bytes == nullptr) {
            binding.heap.release(one);
            return Error::no_memory;
        }
        const LockGuard guard{binding.allocation_lock};
        *one = {binding.allocations, bytes, length};
        binding.allocations = one;
        *own = bytes;
        return Done{};
    });
}

Answer release(void* own)
{
    return serve(abi::need_allocation, [&](HookCall& call) -> Status {
        Binding& binding = *call.binding;
        const LockGuard guard{binding.allocation_lock};
        Binding::Allocation** link = &binding.allocations;
        while (*link != nullptr && (*link)->bytes != own)
            link = &(*link)->next;
        Binding::Allocation* const found = *link;
        if (found == nullptr)
            return Error::invalid_argument;
        *link = found->next;
        binding.heap.release(found->bytes);
        binding.heap.release(found);
        return Done{};
    });
}

}  // namespace services
}  // namespace hv::core
