#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Joins what the specification requires (tlfs.py) with what guests saw: a table in Markdown, the same in JSON.

The input is what scripts/image/conformance-steps printed, or the console of the guest tlfs-conformance on any other hypervisor.
An item passes, deviates for a reason that tlfs.py states, or is not offered where it need not be; anything else is a failure.
With --check a file of an earlier report is compared: whatever it promises must hold.
"""
import argparse
import collections
import fnmatch
import json
import re
import sys

import tlfs

PASS, DEVIATION, NOT_OFFERED, FAILED = "pass", "deviation", "not offered", "FAILED"
Row = collections.namedtuple("Row", "part item where required seen result reason")


class Run:
    """The lines of one run of tlfs-conformance, by subject."""

    def __init__(self, lines):
        self.leaves, self.msrs, self.calls, self.codes, self.rules = {}, {}, {}, {}, {}
        self.others, self.steps, self.complete = None, [], False
        for line in lines:
            self.take(line)

    def take(self, line):
        if line == "tlfs: end":
            self.complete = True
        elif match := re.fullmatch(r"tlfs: cpuid (\w+): (.*)", line):
            words = match[2].split()
            self.leaves[int(match[1], 16)] = {name: int(value, 16) for name, value in zip(words[::2], words[1::2])}
        elif match := re.fullmatch(r"tlfs: msr (0x\w+) \w+: (.*)", line):
            self.msrs.setdefault(int(match[1], 16), []).append(match[2])
        elif match := re.fullmatch(r"tlfs: msr others: (.*)", line):
            self.others = match[1]
        elif match := re.fullmatch(r"tlfs: hypercall (0x\w+) (.*): (.*?)", line):
            self.codes[int(match[1], 16)] = (match[2], match[3])
        elif match := re.fullmatch(r"tlfs: call ([\w-]+): (.*)", line):
            self.calls[match[1]] = match[2]
        elif match := re.fullmatch(r"tlfs: rule ([\w-]+): (.*)", line):
            self.rules[match[1]] = match[2]
        elif match := re.fullmatch(r"tlfs: steps:? (.*)", line):
            self.steps.append(match[1])

    def register(self, leaf, register):
        return self.leaves.get(leaf, {}).get(register, 0)

    def grants(self, grant):
        kind, bit = grant
        if kind == "always":
            return True
        value = {"privilege": self.register(tlfs.FEATURES_LEAF, "eax") | self.register(tlfs.FEATURES_LEAF, "ebx") << 32,
                 "feature": self.register(tlfs.FEATURES_LEAF, "edx"), "hint": self.register(tlfs.HINTS_LEAF, "eax"),
                 "nested": self.register(0x40000009, "eax")}[kind]
        return bool(value >> bit & 1)


def ranges(mask):
    """63:12, 0"""
    found, bit = [], 63
    while bit >= 0:
        if mask >> bit & 1:
            low = bit
            while low > 0 and mask >> (low - 1) & 1:
                low -= 1
            found.append(f"{bit}:{low}" if bit != low else str(bit))
            bit = low
        bit -= 1
    return ", ".join(found) or "none"


def status_text(said):
    match = re.fullmatch(r"status (0x\w+)(?: reps (\d+))?", said)
    if not match:
        return said
    status = int(match[1], 16)
    return f"{match[1]} {tlfs.STATUS_NAMES.get(status, '')}".strip() + (f", {match[2]} done" if match[2] not in (None, "0") else "")


def statuses_text(ends):
    return " or ".join(f"{status:#06x} {tlfs.STATUS_NAMES[status]}" for status in ends)


# ---- one item in one run: (result, seen), where DEVIATION is any difference ------------------------------------------------------

def judge_leaf(run, leaf):
    values = run.leaves.get(leaf)
    if values is None:
        return FAILED, "not printed"
    seen = " ".join(f"{value:#010x}" for value in values.values())
    last = run.register(0x40000000, "eax")
    if leaf == 0x40000000:
        return (PASS if 0x40000005 <= last <= 0x400000ff else DEVIATION), seen
    if leaf == 0x40000001:
        return (PASS if values["eax"] == 0x31237648 else DEVIATION), seen
    if leaf > last:
        return (NOT_OFFERED if not any(values.values()) else DEVIATION), f"beyond the last leaf; {seen}"
    return PASS, seen


def judge_bit(run, item):
    offered = run.register(item.leaf, item.register) >> item.bit & 1
    return (PASS, "1") if offered else (NOT_OFFERED, "0")


def judge_zero(run, item):
    value = run.register(item.leaf, item.register) & item.mask
    return (DEVIATION if value else PASS), f"{value:#x}"


def read_start(msr, said):
    """What is wrong with the value at the start, and how it is shown."""
    value = next((line[5:] for line in said if line.startswith("read ")), "nothing")
    if "R" not in msr.access:
        return value != "#GP", f"reads {value}"
    if value == "#GP":
        return True, "reads #GP"
    if isinstance(msr.start, int):
        return int(value, 16) != msr.start, f"reads {value}"
    if msr.name == "CRASH_CTL":
        return int(value, 16) >> 62 == 0, f"reads {value}"
    return int(value, 16) == 0, f"reads {msr.start}"


def read_bits(msr, said):
    line = next((line for line in said if line.startswith("bits ")), None)
    if line is None or "W" not in msr.access:
        taken = [line for line in said if line.endswith(" taken")] if "W" not in msr.access else []
        return bool(taken), "written: #GP" if "W" not in msr.access and not taken else "written: taken" if taken else ""
    tried, taken, kept = (int(word, 16) for word in line.split()[1::2])
    wrong = (msr.defined & tried & ~taken) | (taken & ~(msr.defined | msr.preserved))
    if "R" in msr.access:
        wrong |= msr.defined & tried & ~msr.acts & ~kept
    refused = tried & ~taken
    text = f"takes {ranges(taken)}" + (f"; #GP for {ranges(refused)}" if refused else "")
    return bool(wrong), text + ("" if tried == tlfs.ALL else f"; {ranges(tlfs.ALL & ~tried)} not tried alone")


def judge_msr(run, msr):
    said = run.msrs.get(msr.number)
    if said is None:
        return FAILED, "not printed"
    if not run.grants(msr.grant):
        refused = said[0] == "read #GP" and "write-back #GP" in said and not any(
            line.startswith("bits ") and " taken 0x0 " not in line for line in said)
        return (NOT_OFFERED, "#GP") if refused else (DEVIATION, "; ".join(said))
    wrong, shown = zip(*(part(msr, said) for part in (read_start, read_bits)))
    extra = [line for line in said if line.startswith(("command ", "zero "))]
    bad_extra = "command #GP" in extra or "zero #GP" in extra or any(
        line.startswith("command reads") and int(line.split()[-1], 16) & 0xff != 0x51 for line in extra)
    return (DEVIATION if any(wrong) or bad_extra else PASS), "; ".join([text for text in shown if text] + extra)


def judge_call(run, code, name, grant, ends, group):
    if code not in run.codes:
        return FAILED, "not printed"
    said = run.codes[code][1]
    status = int(said.split()[1], 16) if said.startswith("status") else None
    refused = status in (tlfs.BAD_CODE, tlfs.DENIED) or (status is None and group is None)
    if group is None:
        return (NOT_OFFERED if refused else PASS), status_text(said)
    if not run.grants(grant):
        return (NOT_OFFERED if refused else DEVIATION), status_text(said)
    return (PASS if status in ends else DEVIATION), status_text(said)


def judge_case(run, case):
    said = run.calls.get(case.name)
    if said is None:
        return FAILED, "not printed"
    match = re.fullmatch(r"status (0x\w+) reps (\d+)", said)
    status = int(match[1], 16) if match else None
    if not run.grants(case.grant):
        refused = status in (tlfs.BAD_CODE, tlfs.DENIED) or (status is None and case.vectors)
        return (NOT_OFFERED if refused else DEVIATION), status_text(said)
    if case.vectors and not run.grants(("feature", 4)):
        return (NOT_OFFERED if status is None else DEVIATION), status_text(said)
    good = status in case.ends and (case.reps is None or int(match[2]) == case.reps)
    return (PASS if good else DEVIATION), status_text(said)


def judge_rule(run, rule):
    if not run.grants(rule.grant):
        return NOT_OFFERED, "not tried"
    said = run.rules.get(rule.name)
    if said is None:
        return FAILED, "not printed"
    return (PASS if said == rule.value else DEVIATION), said


# ---- one item in all runs --------------------------------------------------------------------------------------------------------

class Report:
    def __init__(self, runs, known):
        self.runs, self.known, self.rows, self.used = runs, known, [], set()

    def reason(self, item):
        for pattern, reason in self.known.items():
            if fnmatch.fnmatchcase(item, pattern):
                self.used.add(pattern)
                return reason
        return None

    def add(self, part, item, where, required, group, judge):
        """`judge` says of a run what it came to; in the run with everything a group's items must be there, and in the default too."""
        seen, worst = {}, PASS
        for name, run in self.runs.items():
            result, said = judge(run)
            seen[name] = said
            must = group is not None and (name == "all" or (name == "default" and group in tlfs.DEFAULT_GROUPS))
            if result == FAILED or (result == NOT_OFFERED and must):
                worst = FAILED
            elif result == DEVIATION and worst != FAILED:
                worst = DEVIATION
        if worst == PASS and group is None and judge(next(iter(self.runs.values())))[0] == NOT_OFFERED:
            worst = NOT_OFFERED
        reason = self.reason(item) if worst in (DEVIATION, FAILED) else None
        if worst in (DEVIATION, FAILED):
            worst = DEVIATION if reason else FAILED
        self.rows.append(Row(part, item, where, required, joined(seen), worst, reason))

    def add_check(self, part, item, where, required, good, seen):
        self.rows.append(Row(part, item, where, required, seen, PASS if good else FAILED, None))


def joined(seen):
    """One text where all runs saw the same, else what differs from the first."""
    first, *others = seen.items()
    return "; ".join([first[1]] + [f"{name}: {said}" for name, said in others if said != first[1]])


def add_leaves(report):
    for leaf, name in tlfs.LEAF_NAMES.items():
        need = {0x40000000: "EAX at least 0x40000005", 0x40000001: "EAX is \"Hv#1\""}.get(
            leaf, "there" if leaf <= tlfs.LAST_REQUIRED_LEAF else "zeros where it is beyond the last leaf")
        report.add("Leaves", f"cpuid {leaf:#010x} {name}", "§2.4", need, "base" if leaf <= tlfs.LAST_REQUIRED_LEAF else None,
                   lambda run, leaf=leaf: judge_leaf(run, leaf))
    for item in tlfs.LEAF_BITS:
        report.add("Leaves", f"cpuid {item.leaf:#010x} {item.register} bit {item.bit} {item.name}", "§2.4",
                   f"1 with {item.group}" if item.group else "may be 0", item.group, lambda run, item=item: judge_bit(run, item))
    for item in tlfs.LEAF_ZEROS:
        report.add("Leaves", f"cpuid {item.leaf:#010x} {item.register} bits {ranges(item.mask)}", "§2.4", "reserved: 0", "base",
                   lambda run, item=item: judge_zero(run, item))


def add_msrs(report):
    for msr in tlfs.MSRS:
        start = f"{msr.start:#x}" if isinstance(msr.start, int) else msr.start
        need = "; ".join(filter(None, [
            {"RW": "read and written", "R": "read only", "W": "written only"}[msr.access],
            f"at the start {start}" if "R" in msr.access else "",
            f"bits {ranges(msr.defined)}" if "W" in msr.access and msr.defined != tlfs.ALL else "",
            f"{ranges(msr.preserved)} preserved" if msr.preserved else ""])) if msr.group else "#GP where it is not offered"
        report.add("MSRs", f"msr {msr.number:#010x} {msr.name}", msr.where, need, msr.group, lambda run, msr=msr: judge_msr(run, msr))
    report.add("MSRs", "msr all other numbers to 0x400001ff", "Appendix C", "#GP", "base",
               lambda run: (PASS if run.others == "read 0 written 0" else DEVIATION, run.others or "nothing"))


def add_calls(report):
    offered = {call.code: call for call in tlfs.OFFERED_CALLS}
    codes = {code: name for run in report.runs.values() for code, (name, _) in run.codes.items()}
    codes.update({call.code: call.name for call in tlfs.OFFERED_CALLS})
    for code, name in sorted(codes.items()):
        call = offered.get(code, tlfs.Hypercall(code, name))
        need = statuses_text(call.ends) if call.group else "a refusal where it is not offered"
        report.add("Hypercalls", f"hypercall {code:#06x} {name}", "Appendix A", need, call.group,
                   lambda run, call=call: judge_call(run, call.code, call.name, call.grant, call.ends, call.group))
    for case in tlfs.CASES:
        need = statuses_text(case.ends) + (f": {case.words}" if case.words else "")
        report.add("Statuses", f"call {case.name}", case.where, need, case.group, lambda run, case=case: judge_case(run, case))


def add_rules(report):
    for rule in tlfs.RULES:
        report.add("Pages", f"rule {rule.name}", rule.where, f"{rule.value}: {rule.words}", rule.group,
                   lambda run, rule=rule: judge_rule(run, rule))


def add_steps(report):
    """How many accesses and calls a run made beside the reference model, and the first that differed."""
    for name, run in report.runs.items():
        if run.steps:
            found = next((line for line in run.steps if re.fullmatch(r"\d+: .*", line)), "no end")
            count = found.split(":")[0]
            seen = "; ".join(run.steps) if "no difference" not in found else f"{count}, no difference"
            report.add_check("Random steps", f"steps {name}", "", "each access and call as the reference model says",
                             "no difference" in found and len(run.steps) == 1, seen)


def add_guests(report, guests):
    """The checks that guests make of themselves."""
    for name, lines in guests.items():
        ended = "guest: end" in lines and not any(line.startswith("guest: trap:") for line in lines)
        report.add_check("Guests", f"guest {name} ends", "", "it comes to its end", ended, "it does" if ended else "it does not")
        for line in lines:
            match = re.fullmatch(r"guest: ([\w-]+): (ok|FAILED.*)", line)
            if match:
                report.add_check("Guests", f"guest {name}: {match[1]}", "", "ok", match[2] == "ok", match[2])


# ---- input and output ------------------------------------------------------------------------------------------------------------

def parse(text):
    runs, guests, lines = {}, {}, []
    for line in text.replace("\r", "").split("\n"):
        if match := re.fullmatch(r"== (\S+) (\S+) (\S+)", line):
            lines = []
            if match[1] == "checks":
                guests[match[2]] = lines
            else:
                runs[match[1]] = lines
        else:
            lines.append(line.strip())
    if not runs:
        runs["all"] = lines
    return {name: Run(said) for name, said in runs.items()}, guests


PARTS = ("Leaves", "MSRs", "Pages", "Hypercalls", "Statuses", "Random steps", "Guests")


def cell(text):
    return str(text).replace("|", "\\|")


def markdown(rows, foreign=False):
    counts = collections.Counter(row.result for row in rows)
    lines = ["# Conformance to the Hypervisor Top-Level Functional Specification 6.0b", "",
             "What `scripts/conformance` saw of `extensions/viridian`, item by item. It boots Graft and runs the guest `tlfs-conformance`",
             "with `params.features` of `all`, of `default` and of `base`, and the guests that check what needs more than one",
             "register or call. Random steps are accesses and calls beside the reference model of `tests/conformance`. \"Seen\" is the run with `all`; what the others saw stands behind it where it is another. *Not offered* is only",
             "what the groups of `extensions/viridian/README.md` do not list, and the invariant-TSC control, which is offered where the host's",
             "TSC is invariant: the emulator's is not. `scripts/README.md` says how to ask another hypervisor.", "",
             f"{len(rows)} items: " + ", ".join(f"{counts[result]} {result}" for result in (PASS, DEVIATION, NOT_OFFERED, FAILED)
                                                if counts[result]) + ".", ""]
    for part in PARTS:
        of_part = [row for row in rows if row.part == part]
        if not of_part:
            continue
        lines += [f"## {part}", "| item | section | required | seen | result |", "| --- | --- | --- | --- | --- |"]
        lines += ["| " + " | ".join(map(cell, (row.item, row.where, row.required, row.seen,
                                               row.result + (f": {row.reason}" if row.reason else "")))) + " |" for row in of_part]
        lines.append("")
    if not foreign:
        lines += ["## Deviations that no item shows"] + [f"* {text}" for text in tlfs.DEVIATIONS_THAT_NO_ITEM_SHOWS] + [""]
    return "\n".join(lines)


def promised(text):
    """Item to (part, result) of a report in Markdown."""
    found, part = {}, None
    for line in text.split("\n"):
        if line.startswith("## "):
            part = line[3:]
        cells = [one.strip() for one in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 5 and cells[0] not in ("item", "---"):
            found[cells[0]] = (part, cells[4].split(":")[0].strip())
    return found


def broken_promises(rows, text):
    """By part, what the report promises and does not hold.  More than it promises is none of that; the checks that guests make of
    themselves come and go with the guests."""
    now, broken = {row.item: row for row in rows}, {part: [] for part in PARTS}
    for item, (part, result) in promised(text).items():
        row = now.get(item)
        if row is None:
            if part != "Guests":
                broken[part].append(f"{item}: no longer seen")
        elif row.result != result and row.result != PASS:
            broken[part].append(f"{item}: {result} in the report, now {row.result}: {row.seen}")
    for row in rows:
        if row.result == FAILED and row.item not in promised(text):
            broken[row.part].append(f"{row.item}: {row.seen}; required: {row.required}")
    return broken


def check(rows, path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    failed = False
    for part, broken in broken_promises(rows, text).items():
        failed = failed or bool(broken)
        print(f"{'FAIL' if broken else 'PASS'} what {path.split('/')[-1]} says holds: {part}")
        for line in broken:
            print(f"    {line}")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="what the guests printed; - is standard input")
    parser.add_argument("--markdown", help="write the report there")
    parser.add_argument("--json", help="write the rows there")
    parser.add_argument("--check", metavar="REPORT", help="compare with a report, with one line PASS or FAIL for each part")
    parser.add_argument("--foreign", action="store_true", help="of another hypervisor: no deviation is known")
    options = parser.parse_args()
    with (sys.stdin if options.results == "-" else open(options.results, encoding="utf-8", errors="replace")) as file:
        runs, guests = parse(file.read())
    report = Report(runs, {} if options.foreign else tlfs.DEVIATIONS)
    for name, run in runs.items():
        report.add_check("Leaves", f"run {name}", "", "the guest comes to its end", run.complete, "it does" if run.complete else "it does not")
    for add in (add_leaves, add_msrs, add_rules, add_calls, add_steps):
        add(report)
    add_guests(report, guests)
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write(markdown(report.rows, options.foreign))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "specification": "TLFS 6.0b", "items": [row._asdict() for row in report.rows]}, file, indent=1)
            file.write("\n")
    failed = [row for row in report.rows if row.result == FAILED]
    for row in failed:
        print(f"conformance: {row.item}: required {row.required}; seen {row.seen}", file=sys.stderr)
    for pattern in report.known.keys() - report.used:
        print(f"conformance: nothing deviates any more as tlfs.py says: {pattern}", file=sys.stderr)
    if options.check:
        return 1 if check(report.rows, options.check) or failed else 0
    counts = collections.Counter(row.result for row in report.rows)
    print(", ".join(f"{count} {result}" for result, count in counts.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
