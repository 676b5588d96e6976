#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks what the build cannot see of the tree's walls (rules.py): who includes whom, names that must not be said, headers
that share a name, files without a licence line, citations that nobody can look up.  Reads text, compiles nothing.

usage: check_includes.py [TREE]     one line PASS or FAIL for each promise, offenders below it; exit status 1 on any FAIL
       check_includes.py --self-test    the same on trees in which each promise is broken once
"""
import itertools
import os
import re
import sys

import rules

INCLUDE = re.compile(r'^\s*#\s*include(?:_next)?\s*([<"])([^>"]+)[>"]')
SKIPPED_FOLDERS = {".git", "build", "__pycache__"}


class Tree:
    """The files of a source tree, by path relative to its root."""

    def __init__(self, root):
        self.root = root
        self.paths = sorted(self._walk())
        self.headers = {}
        for path in self.paths:
            if path.endswith(rules.HEADER_ENDINGS):
                self.headers.setdefault(os.path.basename(path), []).append(path)

    def _walk(self):
        for folder, folders, files in os.walk(self.root):
            below = os.path.relpath(folder, self.root)
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and
                          not rules.KEPT_VERSIONS.fullmatch(os.path.join(below, name))]
            for name in files:
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def lines(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()

    def resolve(self, includer, name):
        """The tree's files that an include may mean: the includer's neighbour, else whatever ends in that path."""
        neighbour = os.path.normpath(os.path.join(os.path.dirname(includer), name))
        if neighbour in self.headers.get(os.path.basename(name), []):
            return [neighbour]
        plain = os.path.normpath(name).lstrip("./")
        return [path for path in self.headers.get(os.path.basename(name), []) if ("/" + path).endswith("/" + plain)]

    def includes(self, path):
        """(line number, quote or angle, name) of each include."""
        for number, line in enumerate(self.lines(path), start=1):
            if match := INCLUDE.match(line):
                yield number, match.group(1), match.group(2)


def layer_of(path):
    return next((layer for folder, layer in rules.LAYERS if path.startswith(folder)), None)


def is_source(path):
    return path.endswith(rules.SOURCE_ENDINGS) or os.path.basename(path) in rules.SOURCE_NAMES


def wrong_arrows(tree):
    for path in filter(is_source, tree.paths):
        layer = layer_of(path)
        if layer is None:
            continue
        for number, _, name in tree.includes(path):
            targets = tree.resolve(path, name)
            seen = [target for target in targets if layer_of(target) == layer or
                    layer_of(target) in rules.MAY_INCLUDE[layer]]
            if len(seen) > 1:
                yield f"{path}:{number}: \"{name}\" may mean {' or '.join(seen)}"
            if targets and not seen:
                other = layer_of(targets[0]) or "no layer of the product"
                yield f"{path}:{number}: {layer} includes {targets[0]} ({other})"


def foreign_headers(tree):
    for path in filter(is_source, tree.paths):
        if not path.startswith(rules.FREESTANDING_FOLDERS):
            continue
        for number, _, name in tree.includes(path):
            if not tree.resolve(path, name) and name not in rules.FREESTANDING_HEADERS:
                yield f"{path}:{number}: <{name}>"


def guest_interface_names(tree):
    name = re.compile(rules.GUEST_INTERFACE, re.IGNORECASE)
    note = re.compile(rules.NOTE_LINE, re.IGNORECASE)
    for path in tree.paths:
        if not path.startswith(rules.NAMELESS_FOLDERS):
            continue
        if match := name.search(path):
            yield f"{path}: the path says {match.group(0)}"
        for number, line in enumerate(tree.lines(path), start=1):
            for match in name.finditer(line):
                if match.group(0).lower() != rules.NOTE_NAME or not note.search(line):
                    yield f"{path}:{number}: {match.group(0)}"


def include_name(path):
    """What an include may call a header: its path below the folder that compilers search."""
    for root in ("/include/", "/src/"):
        if root in path:
            return path.rpartition(root)[2]
    return os.path.basename(path)


def see_each_other(one, other):
    return one == other or one is None or other is None or \
        other in rules.MAY_INCLUDE[one] or one in rules.MAY_INCLUDE[other]


def repeated_headers(tree):
    """Headers of one include name where one layer sees both: which one it gets would be the search path's choice."""
    for paths in tree.headers.values():
        for one, other in itertools.combinations(paths, 2):
            if include_name(one) == include_name(other) and see_each_other(layer_of(one), layer_of(other)):
                yield f"{one} and {other}"


def is_script(tree, path):
    return "." not in os.path.basename(path) and tree.lines(path)[:1] and tree.lines(path)[0].startswith("#!")


def without_licence(tree):
    for path in tree.paths:
        if (is_source(path) or is_script(tree, path)) and \
                not any("SPDX-License-Identifier: MIT" in line for line in tree.lines(path)[:3]):
            yield path


def declared_tags(tree):
    """The tags of the specifications' table."""
    if rules.SPECIFICATIONS not in tree.paths:
        return set()
    rows = (re.match(r"\| `([^`]+)` \|", line) for line in tree.lines(rules.SPECIFICATIONS))
    return {row.group(1) for row in rows if row}


def unknown_citations(tree):
    """A manual is cited by a tag that the table has, edition and all: SDM3-083, never SDM3 or SDM3-082."""
    tags = declared_tags(tree)
    names = "|".join(sorted({re.escape(tag.rpartition("-")[0]) for tag in tags}, key=len, reverse=True))
    if not tags:
        return
    with_edition = re.compile(rf"\b(?:{names})-[0-9][0-9A-Za-z]*(?:\.[0-9A-Za-z]+)*")
    without = re.compile(rf"\[(?:{names})(?: [§\"]|\])")
    stranger = re.compile(r"\[([A-Za-z0-9]+(?:-[0-9A-Za-z.]+)?) §")
    for path in filter(is_source, tree.paths):
        if path.startswith("tests/layering/"):  # speaks of wrong ones
            continue
        for number, line in enumerate(tree.lines(path), start=1):
            cited = [match.group(0) for match in with_edition.finditer(line)] + stranger.findall(line)
            wrong = {tag for tag in cited if tag not in tags} | {match.group(0) for match in without.finditer(line)}
            if wrong:
                yield f"{path}:{number}: {', '.join(sorted(wrong))}"


CHECKS = [
    ("layers include only what DESIGN's arrows allow", wrong_arrows),
    ("freestanding code takes only the listed standard headers", foreign_headers),
    ("no guest interface is named in hypervisor, loader and extension-api", guest_interface_names),
    ("no include name means two headers", repeated_headers),
    ("every source file begins with its licence", without_licence),
    ("manuals are cited by the tags of the specifications' table", unknown_citations),
]


def main():
    if sys.argv[1:] == ["--self-test"]:
        import self_test
        return self_test.run(Tree, CHECKS)
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    tree = Tree(os.path.normpath(root))
    failures = 0
    for promise, check in CHECKS:
        offenders = list(check(tree))
        failures += bool(offenders)
        print(f"{'FAIL' if offenders else 'PASS'} {promise}")
        for offender in offenders:
            print(f"    {offender}")
    return 1 if failures or not tree.paths else 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main())
