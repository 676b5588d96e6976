#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Verifies every model of this folder exhaustively with SPIN, and that it rejects each fault that it names.

A model says in its first comment which functions it abstracts, and has a line `// fault NAME  what` for each fault that
the macro NAME seeds; `// variant NAME  what` is a further form that must hold.  Prints `PASS what` or `FAIL what` a check.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(FOLDER))
LIMIT = 300  # seconds for one verification
DEPTH = 200000  # steps; a search that needs more was not exhaustive and has failed


def verify(model, macro, level):
    """Returns what the verifier said, or raises."""
    with tempfile.TemporaryDirectory() as work:
        def run(*words):
            return subprocess.run(words, cwd=work, capture_output=True, text=True, timeout=LIMIT, check=False)
        made = run("spin", *([f"-D{macro}"] if macro else []), "-a", model)
        if made.returncode != 0:
            raise RuntimeError(made.stdout + made.stderr)
        built = run("cc", level, "-w", "-DSAFETY", "-DMEMLIM=3000", "-o", "pan", "pan.c")
        if built.returncode != 0:
            raise RuntimeError(built.stdout + built.stderr)
        return run("./pan", f"-m{DEPTH}").stdout


def judge(model, macro, seeded):
    """One check: (passed, what, reason)."""
    name = os.path.basename(model)
    what = f"{name} rejects {macro}" if seeded else f"{name}{f' with {macro}' if macro else ''} holds in every state"
    try:
        said = verify(model, macro, "-O1" if seeded else "-O2")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return False, what, str(error)
    errors = re.search(r"errors: (\d+)", said)
    exhaustive = "max search depth too small" not in said and "out of memory" not in said
    states = re.search(r"(\d+) states, stored", said)
    if seeded:
        return bool(errors) and errors[1] != "0" and "assertion violated" in said, what, said
    passed = bool(errors) and errors[1] == "0" and exhaustive
    return passed, what + (f", {states[1]} of them" if states else ""), said


def missing_functions(model):
    """The functions and files that the model says it abstracts and that are not there."""
    with open(model, encoding="utf-8") as file:
        rows = re.findall(r"^//   ([\w/]+\.[ch]pp) +(.*)$", file.read(), re.MULTILINE)
    if not rows:
        yield "none at all"
    for path, names in rows:
        places = [os.path.join(ROOT, "hypervisor/core", folder, path) for folder in ("src", "include/hv/core")]
        text = "".join(open(place, encoding="utf-8").read() for place in places if os.path.exists(place))
        if not text:
            yield path
        for name in re.findall(r"\w+", names):
            if not re.search(rf"\b{name}\(", text):
                yield f"{path}: {name}"


def main():
    models = sorted(glob.glob(os.path.join(FOLDER, "*.pml")))
    work = []
    failed = not models
    for model in models:
        with open(model, encoding="utf-8") as file:
            text = file.read()
        variants = re.findall(r"^// variant (\w+)", text, re.MULTILINE)
        faults = re.findall(r"^// fault (\w+)", text, re.MULTILINE)
        missing = list(missing_functions(model))
        failed |= bool(missing)
        print(f"{'FAIL' if missing else 'PASS'} {os.path.basename(model)} names functions that exist")
        for name in missing:
            print(f"    {name}")
        work += [(model, macro, False) for macro in [None] + variants]
        work += [(model, macro, True) for macro in faults]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for passed, what, said in pool.map(lambda job: judge(*job), work):
            failed |= not passed
            print(f"{'PASS' if passed else 'FAIL'} {what}", flush=True)
            if not passed:
                print("".join(f"    {line}\n" for line in said.splitlines()[-40:]), end="")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
