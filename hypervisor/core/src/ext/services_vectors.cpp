// SPDX-License-Identifier: MIT
//
// Services on a VCPU's XMM registers, which stay where they are until a module asks for them: they are the guest's while hooks run.
#include "hv/core/machine.hpp"
#include "service_call.hpp"

namespace hv::core::services {
namespace {

constexpr std::uint32_t register_bytes{16};
constexpr std::uint32_t registers{16};

Status check(const HookCall& call, const VcpuBinding& own, std::uint32_t first, std::uint32_t count, const void* bytes)
{
    if (bytes == nullptr || first >= registers || count == 0 || count > registers - first)
        return Error::invalid_argument;
    return check_still(call, own);
}

}  // namespace

Answer vector_registers_read(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, void* bytes)
{
    return serve_vcpu(vcpu, abi::need_vector_registers, [&](HookCall& call, VcpuBinding& own) -> Status {
        HV_TRY(check(call, own, first, count, bytes));
        machine().hvm.read_vectors(own.vcpu, first, {static_cast<std::byte*>(bytes), std::size_t{count} * register_bytes});
        return Done{};
    });
}

Answer vector_registers_write(std::uint64_t vcpu, std::uint32_t first, std::uint32_t count, const void* bytes)
{
    return serve_vcpu(vcpu, abi::need_vector_registers | acts, [&](HookCall& call, VcpuBinding& own) -> Status {
        HV_TRY(check(call, own, first, count, bytes));
        machine().hvm.write_vectors(own.vcpu, first,
                                    {static_cast<const std::byte*>(bytes), std::size_t{count} * register_bytes});
        return Done{};
    });
}

}  // namespace hv::core::services
