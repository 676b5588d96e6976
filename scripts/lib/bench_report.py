#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Turns what scripts/image/bench-steps printed into a table and into build/bench.json."""
import argparse
import json
import subprocess
import sys

# What to aim for, and what other hypervisors take in the same emulator with such a guest (README says how measured).
COMPARED = {
    "CPUID 0x40000000 (declared)": (5954, 2909, 250),
    "read VP_INDEX (declared)": (5982, 3062, 250),
    "write EOI MSR (declared)": (6140, 3173, 300),
    "read TIME_REF_COUNT": (6055, 3301, 300),
    "read TPR MSR (declared)": (6074, 3174, 300),
    "write TPR MSR (declared)": (6074, 3174, 300),
    "write STIMER0_COUNT (direct mode)": (6071, 3196, 500),
    "no-op hypercall, handler in a module": (6197, 3384, 400),
    "xAPIC register read (decoded)": (15514, 3753, 1200),
    "x2APIC register read": (6002, 3081, 250),
    "x2APIC self-IPI + interrupt + EOI": (12935, 7941, 1200),
    "OUT to a port that somebody emulates": (1136, 2468, 350),
    "HLT until a timer's deadline (deadline to next instruction)": (43463, 13026, 3000),
}
SWAP = "blackout of a swap, four VCPUs on one processor"
MEMORY = "hypervisor memory per idle one-VCPU domain, nested tables and all, bytes"
MOVE = "xl create, ticks of the whole machine per MiB moved"
COPIES = "xl create, hundredths of copies of each byte moved: into xld, out of it, into the guest"
FIRST = "xl create of Debian's kernel to its first process, ticks"
BARE = "the same kernel to its first process on the bare emulator, ticks"
RATIO = "the former in percent of the latter"

SINGLE = {"MEMORY": MEMORY, "MOVE": MOVE, "COPIES": COPIES, "FIRST": FIRST, "BARE": BARE}
SINGLE_AIMS = {SWAP: 20000, MEMORY: 256 * 1024, RATIO: 125}


HOOKS = ("cpuid", "msr_read", "msr_write", "hypercall", "port_read", "port_write", "mmio_read", "mmio_write")
# Hooks that come by an event: what the guest does for it is in the figures.  Beside each, what of that enters the module as well.
EVENTS = {"exit": None, "hypercall_continue": "hypercall", "before_entry": "hypercall", "interrupt_window": "hypercall", "timer": None,
          "interrupt_accepted and interrupt_ended": None}
# Hooks of a domain's life: the least time from one's end to the next one's beginning, for those that come once to an instance from the first
# instance's to the second's.  Of the others the one before is the same hook or, where there is but one, what comes before it.
LIFE = ("parameter_set", "domain_create", "hypercall_page", "vcpu_initialise", "vcpu_destroy", "domain_destroy", "channel_message",
        "run_state_changed", "export_state", "import_state")
LIFE_OF_BOTH = ("vcpu_reset", "freeze", "thaw")
CALL_AIMS = {"trusted": 60, "isolated": 350}


def call_row(hook, placement):
    return f"call of an empty {hook} and back, {placement}, on top of a declared answer"


def price_row(hook):
    return f"price of isolation: {hook}"


def add_hooks(rows):
    """What the hooks of the empty module cost in either placement, from its runs."""
    values = {row["operation"]: row["median"] for row in rows}
    for hook in HOOKS:
        trusted, isolated = (values.get(f"empty {hook} [hooks-{placement}]") for placement in CALL_AIMS)
        for placement, value in (("trusted", trusted), ("isolated", isolated)):
            alone = values.get(f"declared {hook} [hooks-{placement}]")
            if value is not None and alone is not None:
                add_single(rows, call_row(hook, placement), value - alone)
                SINGLE_AIMS[call_row(hook, placement)] = CALL_AIMS[placement]
        if trusted is not None and isolated is not None:
            add_single(rows, price_row(hook), isolated - trusted)


def add_events(rows):
    """What the hooks of the module of events cost more where it is isolated, less what its hypercall does."""
    values = {row["operation"]: row["median"] for row in rows}

    def price(hook):
        trusted, isolated = (values.get(f"empty {hook} [events-{placement}]") for placement in CALL_AIMS)
        return None if trusted is None or isolated is None else isolated - trusted
    for hook, also in EVENTS.items():
        whole, other = price(hook), price(also) if also else 0
        if whole is not None and other is not None:
            add_single(rows, price_row(hook), whole - other)


def add_life(rows, life):
    """What scripts/image/bench-steps read in the log: {(placement, instance, hook): [(gap, began, ended), ...]}."""
    def between(placement, hook):
        if hook in LIFE_OF_BOTH:
            first, second = (life.get((placement, instance, hook)) for instance in "01")
            return second[-1][1] - first[-1][2] if first and second else None
        gaps = [gap for instance in "01" for gap, _, _ in life.get((placement, instance, hook), []) if gap != 2**64 - 1]
        return min(gaps, default=None)
    for hook in (*LIFE, *LIFE_OF_BOTH):
        trusted, isolated = (between(placement, hook) for placement in CALL_AIMS)
        if trusted is not None and isolated is not None:
            add_single(rows, f"to an empty {hook} from the hook before it, trusted", trusted)
            add_single(rows, f"to an empty {hook} from the hook before it, isolated", isolated)
            add_single(rows, price_row(hook), isolated - trusted)


def parse(lines):
    rows, life = [], {}
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "BENCH":
            run, operation, low, median, high, exits = rest.split("|")
            rows.append({"operation": operation if run == "viridian" else f"{operation} [{run}]", "min": int(low),
                         "median": int(median), "max": int(high), "exits": int(exits) if exits.isdigit() else None})
        elif word == "LIFE":
            placement, instance, hook, *numbers = rest.split()
            life.setdefault((placement, instance, hook), []).append(tuple(int(number) for number in numbers))
        elif word in SINGLE:
            add_single(rows, SINGLE[word], sum(int(number, 0) for number in rest.split()))
    add_hooks(rows)
    add_events(rows)
    add_life(rows, life)
    values = {row["operation"]: row["median"] for row in rows}
    if FIRST in values and BARE in values:
        add_single(rows, RATIO, round(100 * values[FIRST] / values[BARE]))
    return rows


def add_single(rows, name, value):
    """What is measured once."""
    rows.append({"operation": name, "min": value, "median": value, "max": value, "exits": None})


def show(rows):
    print("| operation | Xen | KVM | aim | Graft: median | min | max | exits |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: |")
    for row in rows:
        xen, kvm, aim = COMPARED.get(row["operation"], ("", "", ""))
        aim = SINGLE_AIMS.get(row["operation"], aim)
        exits = "" if row["exits"] is None else row["exits"]
        cells = [row["operation"], xen, kvm, f"≤ {aim}" if aim else "", row["median"], row["min"], row["max"], exits]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True)
    parser.add_argument("results")
    options = parser.parse_args()
    with open(options.results, encoding="utf-8") as file:
        rows = parse(file)
    expected = [*COMPARED, *map(price_row, (*HOOKS, *EVENTS, *LIFE, *LIFE_OF_BOTH)), SWAP, MEMORY, MOVE, COPIES, RATIO]
    missing = [name for name in expected if name not in {row["operation"] for row in rows}]
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    with open(options.output, "w", encoding="utf-8") as file:
        json.dump({"version": 1, "qemu": qemu.splitlines()[0], "rows": rows}, file, indent=2)
        file.write("\n")
    show(rows)
    for name in missing:
        print(f"bench: not measured: {name}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
