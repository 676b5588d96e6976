// SPDX-License-Identifier: MIT
//
// State of another module of this family.  The interface's two words come first in every version of the domain's block; what
// the strategies keep of a VCPU has one layout, which the core copies where both have it.  What this does not know is refused.
#include "hv/abi/state_record.hpp"
#include "hv/ext/log.hpp"
#include "novell_extension.hpp"

namespace novell {
namespace {

constexpr std::uint64_t common_bytes{2 * sizeof(std::uint64_t)};
constexpr std::uint16_t newest_version{2};  ///< 1: the interface alone; 2: and a strategy

abi::Verdict refuse_version(std::uint64_t domain, const abi::StateRecordHeader& header)
{
    ext::explain(domain, "it cannot read the state: a block of version ", header.version, ", it knows 1 to ",
                 newest_version);
    return ext::refuse(Error::abi_mismatch);
}

abi::Verdict refuse_damaged(std::uint64_t domain, std::string_view what)
{
    ext::explain(domain, "the state ", what);
    return ext::refuse(Error::malformed);
}

abi::Verdict take_domain_block(Novell::Domain domain, const abi::StateRecordHeader& header, const std::uint8_t* data)
{
    if (header.length < common_bytes)
        return refuse_damaged(domain.handle(), "has a domain's block that is too short");
    const auto state = domain.update();
    if (!state)
        return ext::refuse(state.error());
    __builtin_memcpy(state.value(), data, common_bytes);
    return abi::done;
}

abi::Verdict take(Novell::Domain domain, const abi::StateRecordHeader& header, const std::uint8_t* data)
{
    const bool block{header.type == abi::record_domain_block || header.type == abi::record_vcpu_block};
    if (block && (header.version == 0 || header.version > newest_version))
        return refuse_version(domain.handle(), header);
    if (header.type == abi::record_domain_block)
        return take_domain_block(domain, header, data);
    if (block || header.type == abi::record_continuation || (header.flags & abi::record_optional) != 0)
        return abi::done;
    ext::explain(domain.handle(), "the state has records of type ", Hex{header.type});
    return ext::refuse(Error::abi_mismatch);
}

}  // namespace

abi::Verdict Novell::import_state(Domain domain, const std::uint8_t* bytes, std::uint64_t length)
{
    constexpr std::uint64_t word{8};
    bool has_domain{};
    abi::StateRecordHeader header{};
    for (std::uint64_t at{0}; at != length;) {
        if (length - at < sizeof header)
            return refuse_damaged(domain.handle(), "ends in the middle of a record");
        __builtin_memcpy(&header, bytes + at, sizeof header);
        at += sizeof header;
        const std::uint64_t padded{(std::uint64_t{header.length} + word - 1) / word * word};
        if (padded > length - at)
            return refuse_damaged(domain.handle(), "ends in the middle of a record");
        if (const abi::Verdict verdict = take(domain, header, bytes + at); verdict.kind != abi::VerdictKind::done)
            return verdict;
        has_domain = has_domain || header.type == abi::record_domain_block;
        at += padded;
    }
    return has_domain ? abi::done : refuse_damaged(domain.handle(), "lacks the domain's block");
}

}  // namespace novell
