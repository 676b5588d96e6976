// SPDX-License-Identifier: MIT
#include "hv/core/domain/domain_table.hpp"

#include "hv/core/machine.hpp"

namespace hv::core {
namespace {

bool has_uuid(const std::array<std::uint8_t, 16>& uuid) { return uuid != std::array<std::uint8_t, 16>{}; }

}  // namespace

Expected<Domain*> DomainTable::create(const DomainConfig& config)
{
    if (domains_.full())
        return Error::limit_reached;
    for (const Domain* domain : domains_)
        if (domain->name() == config.name || (has_uuid(config.uuid) && domain->uuid == config.uuid))
            return Error::already_exists;
    Domain* const domain = HV_TRY(Domain::create(next_id_, config));
    ++next_id_;
    static_cast<void>(domains_.push_back(domain));
    return domain;
}

void DomainTable::destroy(Domain& domain)
{
    for (Domain** slot = domains_.begin(); slot != domains_.end(); ++slot)
        if (*slot == &domain) {
            domains_.erase(slot);
            break;
        }
    domain.stop_for_good();
    machine().wait_for_turn();
    Domain::destroy(&domain);
}

Domain* DomainTable::find(std::uint32_t id) const
{
    Domain* const domain = next(id);
    return domain != nullptr && domain->id == id ? domain : nullptr;
}

Domain* DomainTable::find(std::string_view name) const
{
    for (Domain* domain : domains_)
        if (domain->name() == name)
            return domain;
    return nullptr;
}

Domain* DomainTable::next(std::uint32_t id) const
{
    for (Domain* domain : domains_)
        if (domain->id >= id)
            return domain;
    return nullptr;
}

}  // namespace hv::core
