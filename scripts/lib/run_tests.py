#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests that scripts/test was asked for and counts them: cases of GoogleTest programs, checks of the others.

A unit test is a ctest test; GoogleTest programs write a report, by which their cases are counted, and a program that
dies without one, or fails beside its cases (a leak, say), is one failed test more.  Any other test is a program that
prints one line `PASS ...` or `FAIL ...` a check; one that prints none, or ends badly without a FAIL, has failed.

System tests run side by side, one for each processor of ours: each has machines and folders of its own, and none measures time.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

SCENARIO_LIMIT = 1200  # seconds; a scenario that takes longer, beside another, is stuck
UNIT_LIMIT = 600

# System tests that take minutes, the longest first: begun before all others, so that none is left alone at the end.
LONG_SYSTEM_TESTS = ("hot-swap-load", "guest-debian", "trusted-crimes", "vendor-sdk", "dom0-script", "guest-stress",
                     "guest-kernels", "foreign-pages", "bad-guests", "virtual-time", "hot-swap", "xl-verbs", "bad-input",
                     "hook-budget", "containment")


class Tally:
    """What was counted so far."""

    def __init__(self, logs):
        self.logs = logs
        self.passed = 0
        self.failures = []  # (name, what it said: text or lines)
        self.lock = threading.Lock()

    def add_passed(self, count):
        with self.lock:
            self.passed += count

    def fail(self, name, said=""):
        with self.lock:
            self.failures.append((name, said))
            print(f"FAIL {name}", flush=True)

    def log(self, name, text):
        path = os.path.join(self.logs, name.replace("/", "-") + ".log")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def count_cases(tally, name, report):
    """Counts a GoogleTest report; returns how many cases failed."""
    failed = 0
    ran = 0
    for suite in report.get("testsuites", []):
        for case in suite.get("testsuite", []):
            title = f"unit/{name}: {case['classname']}.{case['name']}"
            if case.get("status") != "RUN" or case.get("result") == "SKIPPED":
                print(f"skipped {title}")
                continue
            ran += 1
            if case.get("failures"):
                failed += 1
                tally.fail(title, "\n".join(failure["failure"] for failure in case["failures"]))
            else:
                tally.passed += 1
    if ran == 0:
        failed += 1
        tally.fail(f"unit/{name}: it holds no test")
    return failed


def run_units(tally, build, names):
    """Runs ctest's tests, all or those named."""
    reports = os.path.join(tally.logs, "unit-reports")
    shutil.rmtree(reports, ignore_errors=True)
    os.makedirs(reports)
    junit = os.path.join(reports, "ctest.xml")
    words = ["ctest", "--test-dir", os.path.join(build, "host"), "--output-junit", junit, "--timeout", str(UNIT_LIMIT),
             "-j", str(os.cpu_count() or 1), "--quiet"]
    if names:
        words += ["-R", "^(" + "|".join(names) + ")$"]
    environment = os.environ | {"GTEST_OUTPUT": f"json:{reports}/", "GTEST_COLOR": "no"}
    subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, check=False)
    try:
        cases = ElementTree.parse(junit).getroot().findall("testcase")
    except (OSError, ElementTree.ParseError) as error:
        tally.fail("unit: ctest made no report", str(error))
        return
    for missing in sorted(set(names) - {case.get("name") for case in cases}):
        tally.fail(f"unit/{missing}: there is no such test")
    if not cases:
        tally.fail("unit: there is no unit test")
    for case in cases:
        name = case.get("name")
        said = case.findtext("system-out") or ""
        tally.log(f"unit-{name}", said)
        succeeded = case.get("status") == "run"
        try:
            with open(os.path.join(reports, f"{name}.json"), encoding="utf-8") as file:
                failed = count_cases(tally, name, json.load(file))
        except (OSError, json.JSONDecodeError):
            failed = 0
            if succeeded:
                tally.passed += 1
        if not succeeded and failed == 0:
            tally.fail(f"unit/{name}: the program failed ({case.get('status')})", said)


def run_checks(tally, name, words, root):
    """Runs a program that prints PASS and FAIL lines, and shows what failed as it comes."""
    started = time.monotonic()
    log = os.path.join(tally.logs, name.replace("/", "-") + ".log")
    passed, failed = 0, 0
    with open(log, "w", encoding="utf-8", errors="replace") as file:
        process = subprocess.Popen(["timeout", "--kill-after=20", str(SCENARIO_LIMIT)] + words, cwd=root,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   encoding="utf-8", errors="replace")
        reason = None  # of the check that failed last: the indented lines below its FAIL
        for line in process.stdout:
            file.write(line)
            file.flush()
            if reason is not None and line.startswith("    "):
                reason.append(line)
                continue
            reason = None
            if line.startswith("PASS "):
                passed += 1
            elif line.startswith("FAIL "):
                failed += 1
                reason = [f"(all of its output: {log})\n"]
                tally.fail(f"{name}: {line[5:].strip()}", reason)
        status = process.wait()
    tally.add_passed(passed)
    if failed == 0 and (status != 0 or passed == 0):
        why = f"ended with status {status}" if status else "made no check"
        if status == 124:
            why = f"was ended after {SCENARIO_LIMIT} s"
        tally.fail(f"{name}: {why}", tail(log))
    print(f"== {name}: {passed} passed, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)


def tail(path, count=60):
    with open(path, encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-count:])


def run_scripts(tally, root):
    """shellcheck of every script, and that they are executable."""
    def first_line(path):
        with open(path, "rb") as file:
            return file.readline()
    candidates = [path for pattern in ("scripts/*", "scripts/*/*", ".ci/*", "tests/system/*/run", "tests/system/*/steps",
                                        "tests/system/lib/*")
                  for path in sorted(glob.glob(os.path.join(root, pattern))) if os.path.isfile(path)]
    print("== scripts: shellcheck", flush=True)
    shells = [path for path in candidates if path.endswith((".sh", "/steps")) or b"sh" in first_line(path)[:30].split(b"/")[-1]
              and first_line(path).startswith(b"#!")]
    for path in shells:
        name = f"scripts: shellcheck {os.path.relpath(path, root)}"
        result = subprocess.run(["shellcheck", "--external-sources", path], cwd=root, capture_output=True, text=True,
                                check=False)
        if result.returncode == 0:
            tally.passed += 1
        else:
            tally.fail(name, result.stdout + result.stderr)
    if not shells:
        tally.fail("scripts: no script found")


def run_system(tally, root, names):
    scenarios = sorted(os.path.basename(os.path.dirname(path))
                       for path in glob.glob(os.path.join(root, "tests/system/*/run")))
    for name in sorted(set(names) - set(scenarios)):
        tally.fail(f"system/{name}: there is no such folder with a run")
    chosen = [name for name in scenarios if not names or name in names]
    if not chosen and not names:
        tally.fail("system: there is no system test")
    chosen.sort(key=lambda name: LONG_SYSTEM_TESTS.index(name) if name in LONG_SYSTEM_TESTS else len(LONG_SYSTEM_TESTS))
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as side_by_side:
        running = [side_by_side.submit(run_checks, tally, f"system/{name}",
                                       [os.path.join(root, "tests/system", name, "run")], root) for name in chosen]
        for one in running:
            one.result()


def under(wanted, area):
    """None if the area is not wanted, [] for all of it, else the names."""
    if area in wanted:
        return []
    names = [word.split("/", 1)[1] for word in wanted if word.startswith(area + "/")]
    return names or None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--broken", default="", help="presets that did not build")
    parser.add_argument("wanted", nargs="+")
    options = parser.parse_args()
    logs = os.path.join(options.build, "test-logs")
    os.makedirs(logs, exist_ok=True)
    tally = Tally(logs)
    broken = options.broken.split()
    for preset in broken:
        tally.fail(f"build: preset {preset} does not build")
    units = under(options.wanted, "unit")
    if units is not None and "host" not in broken:
        run_units(tally, options.build, units)
    if "layering" in options.wanted:
        checker = os.path.join(options.root, "tests/layering/check_includes.py")
        run_checks(tally, "layering/self-test", [sys.executable, checker, "--self-test"], options.root)
        run_checks(tally, "layering", [sys.executable, checker], options.root)
    if "models" in options.wanted:
        checker = os.path.join(options.root, "tests/models/check_models.py")
        run_checks(tally, "models", [sys.executable, checker], options.root)
    if "scripts" in options.wanted:
        run_scripts(tally, options.root)
    fuzzers = under(options.wanted, "fuzz")
    if fuzzers is not None and "fuzz" not in broken:
        runner = os.path.join(options.root, "tests/fuzz/run_fuzzers.py")
        run_checks(tally, "fuzz", [sys.executable, runner, "--build", options.build, *fuzzers], options.root)
    system = under(options.wanted, "system")
    if system is not None and not {"target", "tools"} & set(broken):
        run_system(tally, options.root, system)
    if tally.failures:
        print("\nWhat failed:")
        for name, said in tally.failures:
            print(f"--- {name}")
            if said:
                print("".join(said).rstrip())
    print(f"{tally.passed} passed, {len(tally.failures)} failed")
    return 0 if tally.passed and not tally.failures else 1


if __name__ == "__main__":
    sys.exit(main())
