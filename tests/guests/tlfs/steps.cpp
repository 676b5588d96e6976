// SPDX-License-Identifier: MIT
//
// Random accesses to MSRs and hypercalls beside the reference model of tests/conformance, on the processor that the guest runs on, and
// a look at whose memory the guest sees.  No timer is ever due and no interrupt taken.
#include <cstring>

#include "conformance/random_steps.hpp"
#include "kit/boot.hpp"
#include "kit/console.hpp"
#include "kit/machine.hpp"
#include "tlfs/probes.hpp"

namespace guest::tlfs {
namespace {

using reference::Model;
using reference::Step;
using reference::StepKind;
using reference::Word;

constexpr unsigned page_count{2 + 2 * 4};  // two for each register that places one
constexpr Word pattern{0x6a09'e667'f3bc'c908};
constexpr Word seed{0x9e37'79b9'7f4a'7c15};
alignas(4096) volatile Word pages[page_count][512];
alignas(4096) Word input[1024];
alignas(4096) Word output[512];

Word last_count;

/// The reference counter never goes back; other values of this machine's may be any.
bool is_plausible(std::uint32_t msr, Word value)
{
    if (msr != 0x4000'0020)
        return true;
    const bool good{value >= last_count};
    last_count = value;
    return good;
}

bool read(const Step& step, Model& model)
{
    const auto expected = model.read(step.msr, 0, 0);
    const auto seen = read_msr(step.msr);
    if (seen.has_value() != expected.fault && (!seen || (expected.any ? is_plausible(step.msr, *seen) : *seen == expected.value)))
        return true;
    print_line("tlfs: steps: MSR ", hv::Hex{step.msr, 8}, " reads ", hv::Hex{seen.value_or(0)}, seen ? "" : " by #GP", ", expected ",
               hv::Hex{expected.value}, expected.fault ? " by #GP" : "");
    return false;
}

bool write(const Step& step, Model& model)
{
    const bool expected{model.write(step.msr, 0, step.value, 0)};
    if (write_msr(step.msr, step.value) == expected)
        return true;
    print_line("tlfs: steps: MSR ", hv::Hex{step.msr, 8}, " written ", hv::Hex{step.value}, expected ? ": #GP" : ": taken");
    return false;
}

bool look(Word page, const Model& model)
{
    Word word{};
    std::memcpy(&word, reinterpret_cast<const void*>(page + 8 * 100), sizeof word);
    const bool own{word == (pattern ^ 100)};
    if (own != model.is_covered(page))
        return true;
    print_line("tlfs: steps: the page at ", hv::Hex{page}, own ? " is the guest's own" : " is covered");
    return false;
}

std::optional<Word> make(const reference::Call& call, Word page)
{
    const CallPage through{CallPage::at(page)};
    if ((call.control & 1 << 16) == 0) {
        const auto first = reinterpret_cast<Word>(input);
        if (call.input >= first && call.input - first <= sizeof input - sizeof call.words)
            std::memcpy(reinterpret_cast<void*>(call.input), call.words, sizeof call.words);
        return through.call(call.control, call.input, call.output);
    }
    asm volatile("movdqu (%0), %%xmm0\n movdqu 16(%0), %%xmm1\n movdqu 32(%0), %%xmm2\n"
                 "movdqu 48(%0), %%xmm3\n movdqu 64(%0), %%xmm4\n movdqu 80(%0), %%xmm5" ::"r"(&call.words[2])
                 : "memory");
    return through.call(call.control, call.words[0], call.words[1]);
}

bool call(const reference::Call& call, const Model& model)
{
    const auto expected = model.call(call);
    const auto seen = make(call, model.hypercall & ~0xfffull);
    const Word status{seen ? *seen & 0xffff : Word{reference::undefined_opcode}};
    const bool done{status != reference::ok || (*seen >> 32 & 0xfff) == expected.reps};
    if (status < 64 && expected.allows(static_cast<unsigned>(status)) && done)
        return true;
    print_line("tlfs: steps: call ", hv::Hex{call.control}, " of ", hv::Hex{call.words[0]}, ' ', hv::Hex{call.words[1]}, ' ',
               hv::Hex{call.words[2]}, ' ', hv::Hex{call.words[3]}, " ends with ", hv::Hex{seen.value_or(status)}, ", allowed ",
               hv::Hex{expected.statuses});
    return false;
}

bool take(const Step& step, Model& model)
{
    switch (step.kind) {
    case StepKind::read: return read(step, model);
    case StepKind::write: return write(step, model);
    case StepKind::look: return look(step.value, model);
    case StepKind::call: return call(step.call, model);
    }
    return false;
}

/// No page is left over the guest's memory.
void take_pages_away()
{
    for (const std::uint32_t msr : {0x4000'0021u, 0x4000'0073u, 0x4000'0082u, 0x4000'0083u, 0x4000'0001u, 0x4000'0000u})
        static_cast<void>(write_msr(msr, 0));
}

}  // namespace

void probe_steps(const Offer& offer, std::uint64_t count)
{
    for (auto& page : pages)
        for (unsigned word = 0; word < 512; ++word)
            page[word] = pattern ^ word;
    const reference::World world{.pages = reinterpret_cast<Word>(pages), .page_count = page_count, .input = reinterpret_cast<Word>(input),
                                 .output = reinterpret_cast<Word>(output)};
    Model model{{offer.privileges, offer.features, cpuid(0x4000'0004).eax}, 1, memory_end(), 1ull << 52};
    model.vp[0].icr = read_msr(0x4000'0071).value_or(0);
    reference::Steps steps{seed, world};
    std::uint64_t taken{};
    while (taken < count && take(steps.next(model), model))
        ++taken;
    take_pages_away();
    print_line("tlfs: steps ", count, ": ", taken == count ? "no difference" : "a difference", " at step ", taken);
}

}  // namespace guest::tlfs
