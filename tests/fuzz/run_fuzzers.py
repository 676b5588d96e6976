#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the libFuzzer targets of this folder, built by the preset `fuzz`, side by side.

Prints `PASS what` or `FAIL what` a target, with the number of executions.  Each starts from tests/fuzz/NAME/corpus and from
what earlier runs found (BUILD/fuzz-corpus/NAME); an input that breaks something is left in BUILD/fuzz-findings.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(FOLDER))

# What each target is given where nothing else is said: seconds, and an input's longest length in bytes.
TARGETS = {
    "loader": (60, 6000),
    "manifest": (60, 512),
    "control_protocol": (60, 1024),
    "state_records": (60, 2048),
    "boot": (20, 4096),
    "decode": (20, 256),
    "domain_config": (20, 2048),
    "kernel_file": (20, 4096),
    "state_json": (20, 512),
    "virtio": (20, 1024),
}


def folders(name, build):
    """Where a run finds inputs; it writes new ones to the first."""
    found = os.path.join(build, "fuzz-corpus", name)
    os.makedirs(found, exist_ok=True)
    kept = os.path.join(FOLDER, name, "corpus")
    return [found] + ([kept] if os.path.isdir(kept) else [])


def program(name, build):
    return os.path.join(build, "fuzz", "fuzzers", name)


def fuzz(name, build, limit):
    """One target: (passed, what, the end of what it said)."""
    findings = os.path.join(build, "fuzz-findings")
    os.makedirs(findings, exist_ok=True)
    words = [program(name, build), limit, f"-max_len={TARGETS[name][1]}", "-timeout=20", "-rss_limit_mb=1024",
             f"-artifact_prefix={findings}/{name}-", "-print_final_stats=1", *folders(name, build)]
    log = os.path.join(build, "test-logs", f"fuzz-{name}.log")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "w", encoding="utf-8", errors="replace") as file:
        try:
            status = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False).returncode
        except OSError as error:
            return False, f"{name}: {error}", ""
    with open(log, encoding="utf-8", errors="replace") as file:
        said = file.read()
    if status != 0:
        input_file = re.search(r"Test unit written to (\S+)", said)
        return False, f"{name}: {input_file[1] if input_file else f'ended with status {status}'}", said[-6000:]
    executions = re.search(r"stat::number_of_executed_units: *(\d+)", said)
    if not executions or int(executions[1]) == 0:
        return False, f"{name}: nothing was executed", said[-2000:]
    return True, f"{name}: {int(executions[1]):,} executions without a finding".replace(",", " "), ""


def keep(name, build):
    """Adds to the corpus of this folder what earlier runs found and what reaches something new."""
    kept = os.path.join(FOLDER, name, "corpus")
    os.makedirs(kept, exist_ok=True)
    subprocess.run([program(name, build), "-set_cover_merge=1", f"-max_len={TARGETS[name][1]}", kept,
                    os.path.join(build, "fuzz-corpus", name)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the folder of the presets' builds")
    parser.add_argument("--runs", type=int, help="executions of each target, instead of its seconds")
    parser.add_argument("--seconds", type=int, help="of each target, instead of its own")
    parser.add_argument("--jobs", type=int, default=len(TARGETS), help="targets at a time; all without this")
    parser.add_argument("--keep", action="store_true", help="run nothing: merge what was found into the corpora here")
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; all where none is named")
    options = parser.parse_args()
    failed = False
    there = {name for name in os.listdir(FOLDER) if os.path.exists(os.path.join(FOLDER, name, f"{name}.cpp"))}
    if there != set(TARGETS):
        print(f"FAIL the folders and the table of targets differ: {', '.join(sorted(there ^ set(TARGETS)))}")
        failed = True
    for name in sorted(set(options.names) - there):
        print(f"FAIL {name}: there is no such target")
        failed = True
    chosen = [name for name in TARGETS if name in there and (not options.names or name in options.names)]
    if options.keep:
        for name in chosen:
            keep(name, options.build)
        return 0

    def run(name):
        limit = f"-max_total_time={options.seconds or TARGETS[name][0]}"
        return fuzz(name, options.build, f"-runs={options.runs}" if options.runs else limit)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for passed, what, said in pool.map(run, chosen):
            failed |= not passed
            print(f"{'PASS' if passed else 'FAIL'} {what}", flush=True)
            print("".join(f"    {line}\n" for line in said.splitlines()), end="")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
