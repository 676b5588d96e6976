#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures what becomes of a machine whose trusted module commits a crime: every crime of tests/extensions/chaos, in each hook.

A machine commits one crime after the other, in the hooks that a guest makes run, then all of them in those of the injector (steps), until one
ends it, or leaves it in a state that nobody can vouch for: then the next machine goes on with what comes next.  Where a crime
ends its machine in one hook of a part, the other hooks of that part are not tried.  A hook that the guest's part got after the
outcomes were kept is tried alone.  Prints the tables of docs/containment.md.
"""
import argparse
import json
import os
import re
import selectors
import subprocess
import sys
import time

PATIENCE = 60  # seconds without a word from a machine that is up: it hangs
BOOT_PATIENCE = 240
PARTS = ("guest", "injector")
INJECTED = {"parameter_set", "domain_create", "hypercall_page", "vcpu_initialise", "vcpu_destroy", "domain_destroy", "freeze", "thaw",
            "export_state", "import_state"}


class Trial:
    """One crime in the hooks of one part."""

    def __init__(self, number, name, part, hooks):
        self.number, self.name, self.part = number, name, part
        self.hooks = {hook for hook in hooks if (hook in INJECTED) == (part == "injector")}
        self.outcomes = {}  # hook: (committed, lost, survived), or how the machine ended
        self.well = None

    def due(self):
        """The hooks to try: all, or, of a guest's part that did not end its machine, those that have no outcome."""
        if self.outcomes and (self.part == "injector" or any(isinstance(one, str) for one in self.outcomes.values())):
            return set()
        return self.hooks - set(self.outcomes)

    def words(self):
        """Its line in crimes.txt; the hooks only where they are not all."""
        return " ".join([str(self.number), self.name, self.part] + (sorted(self.due()) if self.outcomes else []))

    def is_clean(self):
        """Every instance was lost and another took its place: the machine is what it was."""
        return self.well and set(self.outcomes) == self.hooks and all(outcome == (1, 1, 1) for outcome in self.outcomes.values())


def last_words(log):
    """How a machine ended, from what Graft said last."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    panic = re.search(r"^.*PANIC on (.*)$", text, re.MULTILINE | re.IGNORECASE)
    return f"panic: {panic[1].strip()}" if panic else None


class Machine:
    """One boot that commits what it is given, as far as it comes."""

    def __init__(self, words, work):
        self.log = os.path.join(work, "graft.log")
        if os.path.exists(self.log):
            os.remove(self.log)
        self.process = subprocess.Popen(words + ["--log", self.log, "--", "sh", "/root/steps"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.lines = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def line(self, patience):
        """The next line; None: it hangs; "": it is over."""
        end = time.monotonic() + patience
        while b"\n" not in self.lines:
            if not self.selector.select(max(0, end - time.monotonic())):
                return None
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return ""
            self.lines += data
        line, _, self.lines = self.lines.partition(b"\n")
        return line.decode(errors="replace").replace("\r", "") + "\n"

    def end(self):
        self.process.terminate()
        self.process.wait()


def run_trials(machine, trials, keep):
    """Takes in what one machine does, and has it kept; returns how many trials are over."""
    patience, trial, hook, done = BOOT_PATIENCE, None, None, 0
    while True:
        line = machine.line(patience)
        if not line:
            machine.end()
            if trial is None:
                return 0
            ended = last_words(machine.log) or ("it hangs" if line is None else "it resets")
            trial.outcomes[hook or "-"] = ended
            keep(trial)
            return done + 1
        if line.startswith("CRIME "):
            patience, trial, hook = PATIENCE, trials[done], None
            trial.well = None
        elif match := re.match(r"(?:guest: )?trying: (\S+)", line):
            hook = match[1]
        elif match := re.match(r"(?:guest: )?outcome: (\S+) (\d+) (\d+) (\d+)", line):
            trial.outcomes[match[1]] = tuple(int(number) for number in match.groups()[1:])
        elif match := re.match(r"(NOT )?WELL ", line):
            trial.well = match[1] is None
            keep(trial)
            done += 1
            if not trial.is_clean() or done == len(trials):
                machine.end()
                return done


def letter(column):
    """Z is followed by AA."""
    return ("A" if column >= 26 else "") + chr(ord("A") + column % 26)


def word_of(outcome):
    """A hook's outcome as the table says it."""
    if outcome is None:
        return " "
    if isinstance(outcome, str):
        return "**M**"
    committed, lost, survived = outcome
    if not committed:
        return "?"
    return "L" if lost and survived else "l" if lost else "u" if survived else "w"


def show(trials, hooks):
    """The table, and the lists that follow from it."""
    rows = {}
    for trial in trials:
        rows.setdefault(trial.name, []).append(trial)
    lines = [" · ".join(f"{letter(index)} {hook}" for index, hook in enumerate(hooks)), "",
             "| crime | " + " | ".join(letter(index) for index in range(len(hooks))) + " | then |",
             "| --- |" + " --- |" * len(hooks) + " --- |"]
    fatal, stopped, unnoticed, untried = [], [], [], []
    for name, parts in rows.items():
        outcomes = {hook: outcome for trial in parts for hook, outcome in trial.outcomes.items()}
        if not outcomes:
            untried.append(name)
            continue
        ends = sorted({outcome for outcome in outcomes.values() if isinstance(outcome, str)})
        ill = [trial for trial in parts if trial.well is False]
        then = "; ".join(ends + (["not well"] if ill else []))
        lines.append(f"| {name} | " + " | ".join(word_of(outcomes.get(hook)) for hook in hooks) + f" | {then} |")
        if ends or ill:
            fatal.append(name)
        elif all(outcome == (1, 1, 1) for outcome in outcomes.values()):
            stopped.append(name)
        else:
            unnoticed.append(name)
    lines.append("")
    for what, names in (("Stopped wherever it was tried", stopped), ("Not noticed, and the machine went on", unnoticed),
                        ("The machine ended, or went wrong", fatal), ("Not measured yet", untried)):
        if names or what == "Stopped wherever it was tried":
            lines.append(f"* {what}, {len(names)}: " + ", ".join(f"`{name}`" for name in names))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True)
    parser.add_argument("--crimes", required=True, help="NUMBER NAME, a line each")
    parser.add_argument("--hooks", required=True, help="the hooks, in the table's order, separated by blanks")
    parser.add_argument("--results", help="keep the outcomes there, and go on from what it has")
    parser.add_argument("dom0", nargs="+", help="scripts/dom0 and its words, without the command")
    options = parser.parse_args()
    with open(options.crimes, encoding="utf-8") as file:
        trials = [Trial(*line.split(), part, options.hooks.split()) for line in file for part in PARTS]
    if options.results and os.path.exists(options.results):
        with open(options.results, encoding="utf-8") as file:
            for trial, (outcomes, well) in zip(trials, json.load(file)):
                trial.outcomes = {hook: tuple(one) if isinstance(one, list) else one for hook, one in outcomes.items()}
                trial.well = well

    def keep(trial):
        print(f"{trial.name}, {trial.part}: {trial.outcomes}, {'well' if trial.well else 'NOT well'}", file=sys.stderr, flush=True)
        if options.results:
            with open(options.results, "w", encoding="utf-8") as kept:
                json.dump([(one.outcomes, one.well) for one in trials], kept)

    due = sorted((trial for trial in trials if trial.due()), key=lambda trial: PARTS.index(trial.part))
    silent = 0
    while due and silent < 3:
        with open(os.path.join(options.work, "crimes.txt"), "w", encoding="utf-8") as file:
            file.writelines(f"{trial.words()}\n" for trial in due)
        done = run_trials(Machine(options.dom0, options.work), due, keep)
        silent = 0 if done else silent + 1
        due = due[done:]
    print(show(trials, options.hooks.split()))
    return 1 if due else 0


if __name__ == "__main__":
    sys.exit(main())
