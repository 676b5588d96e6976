#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# Looks at the page tables of isolated instances while their hooks begin: which pages are mapped, and which of them are the
# instance's own; and at those that dom0's processor has loaded in its exits.  Writes, as 64-bit addresses, the pages that are not
# the smallest instance's own, and what another has of its own elsewhere.
#
#   look.py FOLDER GRAFT-ELF OUTPUT
import os
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from machine_debug import DebugStub, Monitor, mappings  # pylint: disable=wrong-import-position

LOOKS = 300
LOOKS_AT_DOM0 = 50


def address_of(elf, part):
    """Of the function whose symbol has that part."""
    for line in subprocess.run(["nm", elf], check=True, capture_output=True, text=True).stdout.splitlines():
        address, kind, name = line.rsplit(" ", 2)
        if kind == "T" and part in name:
            return int(address, 16)
    raise RuntimeError(f"{elf} has no {part}")


def look_at(stub, monitor, function, count):
    """At each of so many calls of a function: the processor, the root of its tables, and the pages that they map."""
    known = {}
    for _ in range(count):
        stub.send("c")
        time.sleep(0.02)  # for whose turn is next
        stub.interrupt()
        stub.ask(f"Z1,{function:x},1")
        stub.send("c")
        stopped = re.search(r"thread:([0-9a-f]+)", stub.receive())
        processor = int(stopped.group(1), 16) - 1
        monitor.ask(f"cpu {processor}")
        root = re.search(r"CR3=([0-9a-f]+)", monitor.ask("info registers")).group(1)
        if root not in known:
            known[root] = list(mappings(monitor.ask("info tlb")))
        stub.ask(f"z1,{function:x},1")
        yield processor, root, known[root]


def spaces(stub, monitor, elf):
    """The mapped pages of each space that a hook is entered in, by the root of its tables."""
    found = {}
    for processor, root, pages in look_at(stub, monitor, address_of(elf, "hv_enter_module"), LOOKS):
        if processor == 0:
            sys.exit("a hook was entered on dom0's processor")
        found[root] = pages
        if len(found) == 2:
            return found
    sys.exit(f"hooks were entered in {len(found)} spaces, not in two")


def check_control_processor(stub, monitor, elf, roots):
    """In exits of dom0's the hypervisor's own tables are loaded."""
    for processor, root, pages in look_at(stub, monitor, address_of(elf, "ControlDomain8dispatch"), LOOKS_AT_DOM0):
        if processor != 0 or root in roots or any(page[4] for page in pages):
            sys.exit(f"processor {processor} in an exit of dom0: tables at {root}, with pages of a module")


def foreign_pages(found):
    """What the smallest instance, the prober's, sees in no way of its own: everything of ring 0, and what others have elsewhere."""
    own = sorted(({page[0] for page in pages if page[4]} for pages in found.values()), key=len)
    of_ring_0 = [{page[0] for page in pages if not page[4]} for pages in found.values()]
    return set.union(*of_ring_0), set.union(*own) - own[0]


def main():
    folder, elf, output = sys.argv[1:4]
    stub = DebugStub(os.path.join(folder, "debug"))
    monitor = Monitor(os.path.join(folder, "monitor"))
    found = spaces(stub, monitor, elf)
    check_control_processor(stub, monitor, elf, found)
    stub.send("c")
    of_ring_0, of_others = foreign_pages(found)
    print(f"{len(of_ring_0)} pages of ring 0, {len(of_others)} of another instance's alone")
    with open(output, "wb") as file:
        for address in sorted(of_ring_0 | of_others):
            file.write(struct.pack("<Q", address))


main()
