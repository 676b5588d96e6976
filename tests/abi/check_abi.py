#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the ABI's headers against every version that was published: abidiff of their debug information and golden/VERSION.abi.

It sees what offsets do not: a service's or a hook's parameter of another type, an enumerator of another value.  Then the
check is checked: copies of the headers, each with one change, must be refused or let through as the append-only rule says.
--make VERSION writes the golden file of a version that is about to be published.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PLAIN = ["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs"]

# (what, header, text, its replacement, whether old modules still work)
CHANGES = [
    ("a service's parameter of another size", "host_table.hpp",
     "Answer (*log)(LogLevel level, const char* text, std::uint64_t length);",
     "Answer (*log)(LogLevel level, const char* text, std::uint32_t length);", False),
    ("a window kind of another number", "window.hpp", "    port = 5, ", "    port = 8, ", False),
    ("a member of another meaning and equal size", "window.hpp", "    std::uint32_t granted;", "    float granted;", False),
    ("one more window kind", "window.hpp", "    acpi = 7, ", "    another = 8, acpi = 7, ", True),
    ("a service at the table's end", "host_table.hpp", None, None, True),
]


def build(compiler, include, work, name):
    library = os.path.join(work, name + ".so")
    subprocess.run([compiler, "-std=gnu++20", "-g", "-gdwarf-4", "-O0", "-shared", "-fPIC", "-I" + include,
                    "reachable.cpp", "-o", library], cwd=HERE, check=True)
    return library


# The tables that grow at their ends, and what abidiff says of one that did nothing else.
TABLES = re.compile(r"'struct hv::abi::(HostTable|HookTable|Manifest)' changed:")
GREW = re.compile(r"type size changed from (\d+) to \d+ \(in bits\)")
INSERTED = re.compile(r"'.*', at offset (\d+) \(in bits\)")
HARMLESS = [re.compile(text) for text in (r"\d+ data member insertions?:", r"'enum hv::abi::\w+' changed:",
                                          r"type size hasn't changed", r"\d+ enumerator insertions?:",
                                          r"'hv::abi::\w+::\w+' value '\d+'")]


def only_appends(report):
    """True where all that changed is tables with members behind their former ends, and enumerations with more values."""
    former = None
    blocks = report.split("\n\n", 1)[1] if "\n\n" in report else report
    for line in (line.strip() for line in blocks.splitlines()):
        inserted = INSERTED.fullmatch(line)
        if grew := GREW.fullmatch(line):
            former = int(grew[1])
        elif inserted and (former is None or int(inserted[1]) < former):
            return False
        elif TABLES.fullmatch(line):
            former = None
        elif line and not inserted and not any(pattern.fullmatch(line) for pattern in HARMLESS):
            return False
    return True


def differs(golden, library):
    """What abidiff says of a change that breaks an old module, or nothing."""
    result = subprocess.run(["abidiff", "--leaf-changes-only", "--no-show-locs", golden, library], capture_output=True,
                            text=True, check=False)
    if result.returncode & 3:
        raise SystemExit(f"abidiff failed:\n{result.stdout}{result.stderr}")
    return "" if result.returncode == 0 or only_appends(result.stdout) else result.stdout


def append_service(text):
    """HostTable with one more service, and its asserts told of it."""
    start = text.index("struct HostTable {")
    end = text.index("\n};", start)
    text = text[:end] + "\n    Answer (*one_more)(std::uint64_t domain);" + text[end:]
    return text.replace("HV_FROZEN_SIZE(HostTable, 16 + 8 * 74)", "HV_FROZEN_SIZE(HostTable, 16 + 8 * 75)")


def versions(folder):
    """The published versions, oldest first."""
    found = [name.removesuffix(".abi") for name in os.listdir(folder) if name.endswith(".abi")]
    return sorted(found, key=lambda version: [int(number) for number in version.split(".")])


def golden_of(options, version):
    return os.path.join(options.golden, version + ".abi")


def changed_headers(include, work, index, change):
    _, header, old, new, _ = change
    copy = os.path.join(work, f"change{index}")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(include, copy)
    path = os.path.join(copy, "hv/abi", header)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if old is not None and old not in text:
        raise SystemExit(f"check_abi.py: '{old}' is no longer in {header}: bring the list of changes up to date")
    text = append_service(text) if old is None else text.replace(old, new)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return copy


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--include", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--golden", required=True, help="the folder of the golden files")
    parser.add_argument("--make", metavar="VERSION")
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    library = build(options.compiler, options.include, options.work, "now")
    if options.make:
        with open(golden_of(options, options.make), "w", encoding="utf-8") as file:
            subprocess.run(["abidw", *PLAIN, library], stdout=file, check=True)
        return 0
    failed = 0
    for version in versions(options.golden):
        if said := differs(golden_of(options, version), library):
            failed += 1
            print(f"the ABI differs from {version} in a way that breaks old modules:\n{said}")
    newest = golden_of(options, versions(options.golden)[-1])
    for index, change in enumerate(CHANGES):
        copy = changed_headers(options.include, options.work, index, change)
        said = differs(newest, build(options.compiler, copy, options.work, f"change{index}"))
        if bool(said) == change[4]:
            failed += 1
            print(f"{change[0]}: {'refused' if said else 'let through'}, which is wrong\n{said}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
