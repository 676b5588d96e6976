#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of scripts/enlightenments: exits per second by groups of features, from what its steps printed."""
import json
import sys

# The interface's MSRs that show up: the hypervisor has no names for what a module answers.
NAMES = {"msr 0x40000020": "TIME_REF_COUNT", "msr 0x40000070": "EOI", "msr 0x40000071": "ICR", "msr 0x400000b0": "STIMER0_CONFIG",
         "msr 0x400000b1": "STIMER0_COUNT", "msr 0x400000f0": "GUEST_IDLE", "msr 0x830": "x2APIC ICR", "port 0x608": "PM timer",
         "msr 0x80b": "x2APIC EOI", "msr 0x6e0": "TSC deadline"}
SHOWN = 3  # of the causes of a row, the most frequent first


def rows(text):
    """(groups, load, seconds, counts before, counts after) of each measurement."""
    for part in text.replace("\r", "").split("ROW ")[1:]:
        title, rest = part.split("\n", 1)
        before, after = rest.split("DONE")[0].split("AFTER\n")
        groups, load, seconds = title.split("|")
        yield groups, load, int(seconds), json.loads(before), json.loads(after)


def causes(exits):
    """Counts by cause: reasons, where MSRs and ports are told one by one instead of as a whole."""
    counts = {}
    for reason in exits["reasons"]:
        if not reason["name"].startswith(("MSR", "port")):
            counts[reason["name"]] = reason["count"]
    for kind in ("msrs", "ports"):
        for row in exits[kind]:
            name = row["name"] or f"{kind[:-1]} {row['key']:#x}"
            counts[f"{NAMES.get(name, name)} {'write' if row['write'] else 'read'}"] = row["count"]
    return counts


def cell(seconds, before, after):
    """`NUMBER (CAUSE NUMBER, …)` per second."""
    first, last = causes(before), causes(after)
    rates = {name: (count - first.get(name, 0)) / seconds for name, count in last.items()}
    top = sorted(rates.items(), key=lambda item: -item[1])[:SHOWN]
    total = (after["total"] - before["total"]) / seconds
    return f"{total:.0f} ({', '.join(f'{name} {rate:.0f}' for name, rate in top if rate >= 1)})"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        measured = {(groups, load): cell(seconds, before, after)
                    for groups, load, seconds, before, after in rows(file.read())}
    print("| groups | idle | under load |\n| --- | --- | --- |")
    shown = ""
    for groups in dict.fromkeys(groups for groups, _ in measured):
        words = groups.replace(shown, "… ") if shown and groups.startswith(shown) else groups
        shown = groups
        print(f"| {words} | {measured[groups, 'wait']} | {measured[groups, 'stress']} |")


if __name__ == "__main__":
    main()
