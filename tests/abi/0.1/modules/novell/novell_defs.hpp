// SPDX-License-Identifier: MIT
//
// The interface of the novell extension as numbers: its leaves, MSRs and hypercalls.  Offsets, feature bits,
// call codes and status values follow the Longhorn-era part of Microsoft's specification, so that a guest's
// code for that serves here with another base; signature, version leaf and the tag of the hypercall page are
// this interface's own (README.md).
// Specification: [TLFS-6.0b §2.4, §3.7, §3.13, appendix A, appendix B].
#pragma once

#include <cstdint>

namespace novell {

// Leaves, relative to the block.
inline constexpr std::uint32_t leaf_interface{1};
inline constexpr std::uint32_t leaf_version{2};          ///< EAX version, EBX first MSR, ECX number of MSRs
inline constexpr std::uint32_t leaf_features{3};         ///< EAX MSRs, EBX hypercalls
inline constexpr std::uint32_t leaf_recommendations{4};  ///< EAX what a guest had better use
inline constexpr std::uint32_t leaf_last{4};
inline constexpr std::uint32_t leaf_count{5};

/// EAX of leaf_features.
inline constexpr std::uint32_t feature_apic{1u << 4};
inline constexpr std::uint32_t feature_hypercall{1u << 5};
inline constexpr std::uint32_t feature_vp_index{1u << 6};

/// EBX of leaf_features.
inline constexpr std::uint32_t call_switch_offered{1u << 0};
inline constexpr std::uint32_t call_flush_offered{1u << 1};

/// EAX of leaf_recommendations.
inline constexpr std::uint32_t recommend_switch{1u << 0};
inline constexpr std::uint32_t recommend_local_flush{1u << 1};
inline constexpr std::uint32_t recommend_remote_flush{1u << 2};
inline constexpr std::uint32_t recommend_apic_msrs{1u << 3};

// MSRs, relative to the window.
inline constexpr std::uint32_t msr_guest_id{0x00};
inline constexpr std::uint32_t msr_hypercall{0x01};
inline constexpr std::uint32_t msr_vp_index{0x02};
inline constexpr std::uint32_t msr_eoi{0x70};
inline constexpr std::uint32_t msr_icr{0x71};
inline constexpr std::uint32_t msr_tpr{0x72};
inline constexpr std::uint32_t msr_count{0x73};

// The hypercall MSR.
inline constexpr std::uint64_t hypercall_enable{1};
inline constexpr std::uint64_t hypercall_locked{2};
inline constexpr std::uint64_t hypercall_page_mask{0x000f'ffff'ffff'f000};

/// Bits 31 and 30 of EAX in a call: 01, set by the page.
inline constexpr std::uint64_t call_tag_mask{0xc000'0000};
inline constexpr std::uint64_t call_tag{0x4000'0000};

// The control word.
inline constexpr std::uint64_t control_code_mask{0xffff};
inline constexpr std::uint64_t control_fast{1u << 16};
inline constexpr unsigned control_count_shift{32};
inline constexpr unsigned control_start_shift{48};
inline constexpr std::uint64_t control_rep_mask{0xfff};
inline constexpr std::uint64_t control_reserved{0xf000'f000'fffe'0000 & ~call_tag_mask};

inline constexpr std::uint16_t call_switch_address_space{0x0001};
inline constexpr std::uint16_t call_flush_address_space{0x0002};
inline constexpr std::uint16_t call_flush_address_list{0x0003};

inline constexpr std::uint16_t status_success{0};
inline constexpr std::uint16_t status_invalid_code{2};
inline constexpr std::uint16_t status_invalid_input{3};
inline constexpr std::uint16_t status_invalid_alignment{4};
inline constexpr std::uint16_t status_invalid_parameter{5};

// Flags of a flush.
inline constexpr std::uint64_t flush_all_processors{1};
inline constexpr std::uint64_t flush_all_address_spaces{2};
inline constexpr std::uint64_t flush_non_global_only{4};
inline constexpr std::uint64_t flush_known_flags{7};

}  // namespace novell
