// SPDX-License-Identifier: MIT
//
// Makes the chaos modules commit their crimes in the hooks that no guest can make run: those of the bind and the end, freeze and
// thaw, export and import.  Asks the hypervisor on the control port itself, thousands of times; in dom0, with xld stopped.
//   injector ROUNDS OTHER    each crime ROUNDS times in each of those hooks, while the domain OTHER is to run on
//   injector ROUNDS OTHER CRIME    that crime by a trusted module, each hook announced before it, since it may be the last
// Writes a line `committed|lost|survived HOOK COUNT...`, the counts by crime: how often it was committed, how often its instance
// was lost, and how often hypervisor, dom0 and the domain OTHER were there after it.
#include "injected.hpp"

namespace {

using namespace test;
using chaos::Hook;
using protocol::Command;

struct Cell {
    unsigned committed{}, lost{}, survived{};
};
using Row = std::array<Cell, chaos::crimes.size()>;

/// Of a trusted module: the one crime that is committed, 0: every fatal one.
std::uint32_t only{};

bool is_wanted(std::uint32_t crime)
{
    return only != 0 ? crime == only : chaos::crimes[crime].fate == chaos::Fate::dies;
}

/// Ring 0 may do much of what is a crime in ring 3.
bool unnoticed(const Answer& answer)
{
    return only != 0 && answer.good();
}

void announce(Hook hook)
{
    std::printf("trying: %s\n", name_of(hook).data());
    std::fflush(stdout);
    ::usleep(500'000);
}

void print(Hook hook, const Row& row)
{
    if (only != 0)
        std::printf("outcome: %s %u %u %u\n", name_of(hook).data(), row[only].committed, row[only].lost, row[only].survived);
    static constexpr std::array columns{std::pair{"committed", &Cell::committed}, std::pair{"lost", &Cell::lost},
                                        std::pair{"survived", &Cell::survived}};
    for (const auto& [word, member] : columns) {
        if (only != 0)
            break;
        std::printf("%s %s", word, name_of(hook).data());
        for (std::size_t crime = 1; crime < row.size(); ++crime)
            if (chaos::crimes[crime].fate == chaos::Fate::dies)
                std::printf(" %u", row[crime].*member);
        std::printf("\n");
    }
    std::fflush(stdout);
}

/// How often the log says that this instance was lost in this hook.
unsigned losses(const std::string& log, unsigned instance, Hook hook)
{
    const std::string fault = "module " + module_of(instance) + " failed in hook " + std::string{name_of(hook)} + ":";
    const std::string verdict = "bad verdict from module " + module_of(instance) + " in hook " + std::string{name_of(hook)} + " ";
    unsigned count{};
    for (const std::string& words : {fault, verdict})
        for (std::size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1))
            ++count;
    return count;
}

template <typename Commit>
Row each_crime(unsigned rounds, Commit commit)
{
    Row row{};
    for (std::uint32_t crime = 1; crime < row.size(); ++crime)
        for (unsigned round = 0; is_wanted(crime) && round < rounds; ++round)
            commit(crime, row[crime]);
    return row;
}

/// All fatal crimes, so many times, in groups of as many as there are instances: `commit` gets a group and the first's number.
template <typename Commit>
Row in_groups(unsigned rounds, Commit commit)
{
    Row row{};
    std::vector<std::uint32_t> due;
    for (unsigned round = 0; round < rounds; ++round)
        for (std::uint32_t crime = 1; crime < row.size(); ++crime)
            if (is_wanted(crime))
                due.push_back(crime);
    for (std::size_t first = 0; first < due.size(); first += chaos::instances)
        commit(std::span{due}.subspan(first, std::min<std::size_t>(chaos::instances, due.size() - first)), row);
    return row;
}

/// Each failure refuses the bind, and leaves the domain as it was: so one domain serves them all.
Row in_bind(Machine& machine, Hook hook, unsigned rounds)
{
    const protocol::DomainId domain = machine.create("bound");
    const Row row = each_crime(rounds, [&](std::uint32_t crime, Cell& cell) {
        const Answer answer = machine.bind(domain, 0, {{"hook", static_cast<std::int64_t>(hook)}, {"crime", crime}});
        const unsigned lost = losses(machine.news(), 0, hook);
        cell.committed += 1;
        cell.lost += !answer.good() && answer.why().find(name_of(hook)) != std::string::npos ? lost : 0;
        cell.survived += machine.all_is_well() && (unnoticed(answer) || machine.info(domain).extensions == 0) ? 1 : 0;
    });
    machine.command(Command::domain_destroy, domain);
    return row;
}

/// A domain whose instances commit one each when it goes.
Row in_end(Machine& machine, Hook hook, unsigned rounds)
{
    return in_groups(rounds, [&](std::span<const std::uint32_t> crimes, Row& row) {
        const protocol::DomainId domain = machine.create("ends");
        for (unsigned instance = 0; instance < crimes.size(); ++instance) {
            if (!machine.bind(domain, instance).good())
                give_up("an instance cannot be bound");
            machine.order(domain, instance, hook, crimes[instance]);
        }
        machine.command(Command::domain_destroy, domain);
        const std::string log = machine.news();
        const bool well = machine.all_is_well();
        for (unsigned instance = 0; instance < crimes.size(); ++instance) {
            Cell& cell = row[crimes[instance]];
            cell.committed += 1;
            cell.lost += losses(log, instance, hook);
            cell.survived += well ? 1 : 0;
        }
    });
}

/// A domain that does nothing for ever, paused, with so many instances.
protocol::DomainId idle_domain(Machine& machine, const char* name, unsigned instances)
{
    const protocol::DomainId domain = machine.create(name);
    for (unsigned instance = 0; instance < instances; ++instance)
        if (!machine.bind(domain, instance).good())
            give_up("an instance cannot be bound");
    machine.let_it_idle(domain);
    machine.command(Command::domain_finish_build, domain);
    return domain;
}

/// Orders can be given to a paused domain alone: thaw is met at once, freeze after it.
Row in_pauses(Machine& machine, Hook hook, unsigned rounds)
{
    const protocol::DomainId domain = idle_domain(machine, "pauses", only == 0 ? chaos::instances : 1);
    machine.command(Command::domain_unpause, domain);  // the first one thaws nothing
    machine.command(Command::domain_pause, domain);
    const Row row = in_groups(rounds, [&](std::span<const std::uint32_t> crimes, Row& row) {
        for (unsigned instance = 0; instance < crimes.size(); ++instance)
            machine.order(domain, instance, hook, crimes[instance]);
        machine.command(Command::domain_unpause, domain);
        machine.command(Command::domain_pause, domain);
        const bool well = machine.all_is_well();
        const std::string log = machine.news();
        for (unsigned instance = 0; instance < crimes.size(); ++instance) {
            Cell& cell = row[crimes[instance]];
            cell.committed += machine.order_is_gone(domain, instance) ? 1 : 0;
            cell.lost += losses(log, instance, hook);
            cell.survived += well ? 1 : 0;
        }
    });
    machine.command(Command::domain_destroy, domain);
    return row;
}

/// The look at the state, or the swap, is refused for it; the instance in its place goes on.
Row in_transfer(Machine& machine, Hook hook, unsigned rounds)
{
    const protocol::DomainId domain = idle_domain(machine, "transfers", 1);
    const Row row = each_crime(rounds, [&](std::uint32_t crime, Cell& cell) {
        machine.order(domain, 0, hook, crime);
        const Answer answer = hook == Hook::export_state ? machine.inspect(domain) : machine.try_swap(domain);
        const unsigned lost = losses(machine.news(), 0, hook);
        cell.committed += 1;
        cell.lost += answer.good() ? 0 : lost;
        machine.order(domain, 0, Hook::cpuid, 0);
        const Answer look = machine.inspect(domain);
        cell.survived += machine.all_is_well() && look.good() ? 1 : 0;
        if (lost == 0 || !look.good())
            std::printf("  %s, then: %s\n", answer.why().c_str(), look.why().c_str());
    });
    machine.command(Command::domain_destroy, domain);
    return row;
}

}  // namespace

int main(int count, char** words)
{
    if (count != 3 && count != 4)
        give_up("usage: injector ROUNDS OTHER [CRIME]");
    const auto rounds = static_cast<unsigned>(std::strtoul(words[1], nullptr, 10));
    if (count == 4)
        only = static_cast<std::uint32_t>(std::strtoul(words[3], nullptr, 10)) % chaos::crimes.size();
    Machine machine{words[2], only == 0 ? protocol::BindPlacement::isolated : protocol::BindPlacement::trusted};
    const auto each = [&](std::initializer_list<Hook> hooks, Row (*in)(Machine&, Hook, unsigned)) {
        for (const Hook hook : hooks) {
            if (only != 0)
                announce(hook);
            print(hook, in(machine, hook, rounds));
        }
    };
    each({Hook::parameter_set, Hook::domain_create, Hook::hypercall_page, Hook::vcpu_initialise}, in_bind);
    each({Hook::vcpu_destroy, Hook::domain_destroy}, in_end);
    each({Hook::freeze, Hook::thaw}, in_pauses);
    each({Hook::export_state, Hook::import_state}, in_transfer);
}
