// SPDX-License-Identifier: MIT
//
// The format in which an instance's state leaves it and comes back: a run of records, each a header and its
// data, used alike for hot swap, restart, save, restore and migration.  Little-endian, records 8-aligned,
// unknown record types refused unless they are marked optional.
#pragma once

#include "hv/abi/header.hpp"

namespace hv::abi {

/// Record types below this are the framework's, the same for every module; the others are the module's own.
inline constexpr std::uint32_t first_module_record{0x1000};
inline constexpr std::uint32_t record_domain_block{1};  ///< the domain's state block, byte for byte
inline constexpr std::uint32_t record_vcpu_block{2};    ///< a VCPU's state block, byte for byte
inline constexpr std::uint32_t record_continuation{3};  ///< an open continuation of one VCPU: HypercallFrame

/// An importer that does not know the type may pass over it.
inline constexpr std::uint16_t record_optional{1};

struct StateRecordHeader {
    std::uint32_t type;
    std::uint16_t version;  ///< of this type's data; an importer names the versions that it reads
    std::uint16_t flags;    ///< record_*
    /// Bytes of data, padded with zeros to a multiple of 8 in the stream but not in this number.
    std::uint32_t length;
    std::uint32_t vcpu;  ///< index, or record_of_domain
};
inline constexpr std::uint32_t record_of_domain{0xffff'ffff};

HV_FROZEN(StateRecordHeader, type, 0);
HV_FROZEN(StateRecordHeader, version, 4);
HV_FROZEN(StateRecordHeader, flags, 6);
HV_FROZEN(StateRecordHeader, length, 8);
HV_FROZEN(StateRecordHeader, vcpu, 12);
HV_FROZEN_SIZE(StateRecordHeader, 16);

/// Inside a module's own record: fields by number, so that a later version adds and drops them one by one.
struct StateField {
    std::uint16_t number;  ///< unique in the record, never used again for something else
    std::uint16_t length;  ///< bytes of value after this header, padded to 4
};
HV_FROZEN(StateField, number, 0);
HV_FROZEN(StateField, length, 2);
HV_FROZEN_SIZE(StateField, 4);

}  // namespace hv::abi
