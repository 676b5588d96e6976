// SPDX-License-Identifier: MIT
//
// The words of a hypercall: input value, result value, call codes, status codes, flags.  Definitions alone.
// Specification: [TLFS-6.0b §3.7 to §3.11, §9.4, §10.5 and Appendix A and B].
#pragma once

#include "hv/base/field.hpp"

namespace hv::viridian::tlfs {

/// The hypercall input value.
struct InputValue {
    using CallCode = Field<15, 0, std::uint16_t>;
    using Fast = Bit<16>;
    using VariableHeaderSize = Field<26, 17, std::uint32_t>;  ///< in units of 8 bytes
    using RepCount = Field<43, 32, std::uint32_t>;
    using RepStartIndex = Field<59, 48, std::uint32_t>;
    static constexpr std::uint64_t defined{CallCode::mask | Fast::mask | VariableHeaderSize::mask |
                                           RepCount::mask | RepStartIndex::mask};
    static constexpr std::uint64_t reserved{~defined};
};
static_assert(InputValue::reserved == 0xf000'f000'f800'0000);

/// The hypercall result value.
struct ResultValue {
    using Status = Field<15, 0, std::uint16_t>;
    using RepsCompleted = Field<43, 32, std::uint32_t>;
};

/// HV_STATUS: those that this module gives.
enum class HvStatus : std::uint16_t {
    HV_STATUS_SUCCESS = 0x0000,
    HV_STATUS_INVALID_HYPERCALL_CODE = 0x0002,
    HV_STATUS_INVALID_HYPERCALL_INPUT = 0x0003,
    HV_STATUS_INVALID_ALIGNMENT = 0x0004,
    HV_STATUS_INVALID_PARAMETER = 0x0005,
    HV_STATUS_ACCESS_DENIED = 0x0006,
    HV_STATUS_INVALID_VP_INDEX = 0x000e,
    HV_STATUS_INVALID_PORT_ID = 0x0011,
    HV_STATUS_INVALID_CONNECTION_ID = 0x0012,
    HV_STATUS_INSUFFICIENT_BUFFERS = 0x0013,
};

inline constexpr std::uint16_t HvCallFlushVirtualAddressSpace{0x0002};
inline constexpr std::uint16_t HvCallFlushVirtualAddressList{0x0003};
inline constexpr std::uint16_t HvCallNotifyLongSpinWait{0x0008};
inline constexpr std::uint16_t HvCallSendSyntheticClusterIpi{0x000b};
inline constexpr std::uint16_t HvCallFlushVirtualAddressSpaceEx{0x0013};
inline constexpr std::uint16_t HvCallFlushVirtualAddressListEx{0x0014};
inline constexpr std::uint16_t HvCallSendSyntheticClusterIpiEx{0x0015};
inline constexpr std::uint16_t HvCallPostMessage{0x005c};
inline constexpr std::uint16_t HvCallSignalEvent{0x005d};
inline constexpr std::uint16_t HvExtCallQueryCapabilities{0x8001};

/// The format of an HV_VP_SET.
inline constexpr std::uint64_t vp_set_sparse{0};
inline constexpr std::uint64_t vp_set_all{1};
inline constexpr std::uint32_t vp_set_banks{64};  ///< at most, of 64 VPs each

/// HV_FLUSH_FLAGS.
struct FlushFlags {
    using AllProcessors = Bit<0>;
    using AllVirtualAddressSpaces = Bit<1>;
    using NonGlobalMappingsOnly = Bit<2>;
    static constexpr std::uint64_t defined{AllProcessors::mask | AllVirtualAddressSpaces::mask |
                                           NonGlobalMappingsOnly::mask};
};

/// The first 8 bytes of HvCallSendSyntheticClusterIpi; the padding above is ignored.
struct ClusterIpiTarget {
    using Vector = Field<31, 0, std::uint32_t>;
    using TargetVtl = Field<35, 32, std::uint32_t>;
    using UseTargetVtl = Bit<36>;
    using ReservedVtlBits = Field<39, 37, std::uint32_t>;
};
inline constexpr std::uint32_t lowest_ipi_vector{0x10};
inline constexpr std::uint32_t highest_ipi_vector{0xff};

/// What the two registers of the fast form hold, and what they and XMM0 to XMM5 hold [TLFS-6.0b §3.7].
inline constexpr std::uint32_t fast_input_bytes{16};
inline constexpr std::uint32_t vector_register_bytes{16};
inline constexpr std::uint32_t input_vector_registers{6};
inline constexpr std::uint32_t longest_fast_input_bytes{fast_input_bytes +
                                                        input_vector_registers * vector_register_bytes};

}  // namespace hv::viridian::tlfs
