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
    "no-op hypercall, handler in a module": (6197, 3384, 400),
    "xAPIC register read (decoded)": (15514, 3753, 1200),
    "x2APIC register read": (6002, 3081, 250),
    "x2APIC self-IPI + interrupt + EOI": (12935, 7941, 1200),
    "OUT to a port that somebody emulates": (1136, 2468, 350),
    "HLT until a timer's deadline (deadline to next instruction)": (43463, 13026, 3000),
}
MEMORY = "hypervisor memory per idle one-VCPU domain, nested tables and all, bytes"
MOVE = "xl create, ticks of the whole machine per MiB moved"


def parse(lines):
    rows = []
    for line in lines:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "BENCH":
            run, operation, low, median, high, exits = rest.split("|")
            rows.append({"operation": operation if run == "viridian" else f"{operation} [{run}]", "min": int(low),
                         "median": int(median), "max": int(high), "exits": int(exits) if exits.isdigit() else None})
        elif word in ("MEMORY", "MOVE"):
            name = {"MEMORY": MEMORY, "MOVE": MOVE}[word]
            rows.append({"operation": name, "min": int(rest), "median": int(rest), "max": int(rest), "exits": None})
    return rows


def show(rows):
    print("| operation | Xen | KVM | aim | Graft: median | min | max | exits |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: |")
    for row in rows:
        xen, kvm, aim = COMPARED.get(row["operation"], ("", "", ""))
        if row["operation"] == MEMORY:
            aim = 256 * 1024
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
    missing = [name for name in COMPARED if name not in {row["operation"] for row in rows}]
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
