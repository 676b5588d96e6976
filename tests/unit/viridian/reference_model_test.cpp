// SPDX-License-Identifier: MIT
//
// A million random accesses to MSRs and hypercalls, legal and illegal, of the very module beside the reference model: what each reads,
// which are #GP, how each call ends, whom it reaches, and whose memory the guest sees.  Several VPs, several sets of groups.
#include <bit>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "conformance/random_steps.hpp"
#include "guest.hpp"

namespace hv::viridian::test {
namespace {

using reference::Model;
using reference::Step;
using reference::StepKind;
using reference::Word;

constexpr Word pattern{0x6a09'e667'f3bc'c908};
constexpr reference::World world{.pages = 0x4'0000, .page_count = 12, .input = 0x2'0000, .output = 0x3'0000, .may_end = true, .may_overlap = true};
constexpr unsigned steps_of_one_guest{4'000};

struct Kind {
    std::string name;
    std::vector<std::string> features;
    unsigned vps;

    friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

class Walk {
public:
    Walk(const Kind& kind, Word seed) : guest_{kind.vps}, steps_{seed, world}, seed_{seed}
    {
        if (kind.vps > 1)  // whose processors have an invariant counter
            guest_.host.processor_leaves[0x8000'0007] = {.edx = 1 << 8};
        EXPECT_TRUE(guest_.create(kind.features));
        for (unsigned page = 0; page < world.page_count; ++page)
            for (unsigned word = 0; word < 512; ++word)
                guest_.put(world.pages + page * reference::page_bytes + word * 8, pattern ^ word);
        const auto leaf = guest_.module.cpuid(0x4000'0003);
        const reference::Offer offer{Word{leaf.ebx} << 32 | leaf.eax, leaf.edx, guest_.module.cpuid(0x4000'0004).eax};
        model_ = Model{offer, kind.vps, ram_bytes, 1ull << 52};
    }

    /// False at the first difference, which is said.
    bool take(unsigned count)
    {
        for (unsigned number = 0; number < count; ++number) {
            guest_.host.now_ns += 1'000;
            const Step step{steps_.next(model_)};
            const std::string wrong{one(step)};
            if (!wrong.empty()) {
                ADD_FAILURE() << "seed " << seed_ << ", step " << number << ": " << wrong;
                return false;
            }
        }
        return true;
    }

private:
    static std::string hex(Word value)
    {
        std::ostringstream text;
        text << std::hex << "0x" << value;
        return text.str();
    }
    [[nodiscard]] Word now() const { return guest_.host.now_ns / 100; }

    std::string one(const Step& step)
    {
        switch (step.kind) {
        case StepKind::read: return read(step);
        case StepKind::write: return write(step);
        case StepKind::look: return look(step.value);
        case StepKind::call: return call(step.call, step.vp);
        }
        return "no step";
    }

    std::string read(const Step& step)
    {
        const auto expected = model_.read(step.msr, step.vp, now());
        const auto seen = guest_.module.read_msr(step.msr, step.vp);
        if (seen.has_value() == expected.fault || (seen && !expected.any && *seen != expected.value))
            return "VP " + std::to_string(step.vp) + " reads " + hex(step.msr) + ": " + (seen ? hex(*seen) : "#GP") + ", expected " +
                   (expected.fault ? "#GP" : hex(expected.value));
        if (step.msr == 0x4000'0020 && seen && *seen != now())
            return "the reference counter is wrong";
        return {};
    }

    std::string write(const Step& step)
    {
        const bool expected{model_.write(step.msr, step.vp, step.value, now())};
        const bool seen{guest_.module.write_msr(step.msr, step.value, step.vp)};
        guest_.host.log.clear();
        if (seen != expected)
            return "VP " + std::to_string(step.vp) + " writes " + hex(step.value) + " to " + hex(step.msr) + ": " + (seen ? "taken" : "#GP");
        return {};
    }

    std::string look(Word page)
    {
        const auto* const seen = guest_.host.seen_at(page);
        Word word{};
        std::memcpy(&word, seen->data() + 8 * 100, sizeof word);
        const bool covered{model_.is_covered(page)};
        if (covered == (word == (pattern ^ 100)))
            return "the page at " + hex(page) + (covered ? " is the guest's own memory" : " is covered");
        return {};
    }

    void prepare(const reference::Call& call, unsigned vp)
    {
        if ((call.control & 1 << 16) != 0)
            std::memcpy(guest_.host.vectors[FakeHost::vcpu_handle(vp)].data(), &call.words[2], 6 * 16);
        else if (call.input < ram_bytes)
            guest_.host.copy(call.input, const_cast<Word*>(call.words), sizeof call.words, true);
        guest_.host.injected.clear();
        guest_.host.flushes.clear();
        guest_.host.yielded.clear();
    }

    std::string call(const reference::Call& call, unsigned vp)
    {
        prepare(call, vp);
        const bool fast{(call.control & 1 << 16) != 0};
        const auto expected = model_.call(call);
        const auto seen = fast ? guest_.call(call.control, call.words[0], call.words[1], vp)
                               : guest_.call(call.control, call.input, call.output, vp);
        const unsigned status{seen ? static_cast<unsigned>(*seen & 0xffff) : unsigned{reference::undefined_opcode}};
        const std::string what{"call " + hex(call.control) + " of " + hex(call.words[0]) + ' ' + hex(call.words[1]) + ' ' + hex(call.words[2]) +
                               ' ' + hex(call.words[3]) + " at " + hex(call.input)};
        if (status > 63 || !expected.allows(status))
            return what + " ends with " + hex(status) + ", allowed " + hex(expected.statuses);
        if (status == reference::ok && (*seen >> 32 & 0xfff) != expected.reps)
            return what + " completed " + hex(*seen >> 32 & 0xfff);
        return effects(call.control & 0xffff, status, expected.reached, what);
    }

    /// A call that succeeds reaches whom it should, one that does not nobody.
    std::string effects(Word code, unsigned status, Word reached, const std::string& what) const
    {
        const bool good{status == reference::ok};
        Word interrupted{}, flushed{};
        for (const auto& one : guest_.host.injected)
            interrupted |= 1ull << (one.vcpu - FakeHost::vcpu_handle(0));
        for (const auto& one : guest_.host.flushes)
            flushed |= one.vcpus.value_or(~0ull);
        const bool ipi{code == 0x0b || code == 0x15};
        const bool flush{code == 0x02 || code == 0x03 || code == 0x13 || code == 0x14};
        if (interrupted != (good && ipi ? reached : 0) || guest_.host.injected.size() != static_cast<std::size_t>(std::popcount(interrupted)))
            return what + " interrupts " + hex(interrupted) + ", expected " + hex(reached);
        if (good && flush && (reached & ~flushed) != 0)
            return what + " flushes " + hex(flushed) + ", expected " + hex(reached);
        if ((!good || !flush) && flushed != 0)
            return what + " flushes, and should not";
        return {};
    }

    Guest guest_;
    Model model_{{}, 1, 0, 0};
    reference::Steps steps_;
    Word seed_;
};

class ReferenceModel : public testing::TestWithParam<Kind> {};

TEST_P(ReferenceModel, AnswersAsTheModuleDoes)
{
    const char* const wanted{std::getenv("REFERENCE_STEPS")};
    const unsigned steps{wanted != nullptr ? static_cast<unsigned>(std::strtoul(wanted, nullptr, 10)) : 1'000'000 / 4};
    for (unsigned taken = 0, round = 1; taken < steps; taken += steps_of_one_guest, ++round)
        if (!Walk{GetParam(), round * 0x9e37'79b9'7f4a'7c15}.take(steps_of_one_guest))
            return;
}

INSTANTIATE_TEST_SUITE_P(, ReferenceModel,
                         testing::Values(Kind{"Everything", {"all"}, 4}, Kind{"Default", {"default"}, 1}, Kind{"Base", {"base"}, 2},
                                         Kind{"Some", {"default", "!input", "!apic", "!ipi", "idle"}, 3}),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace hv::viridian::test
