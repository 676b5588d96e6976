#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# Looks at a running Graft from outside, by QEMU's debug stub and monitor: no page that can be written and executed, no
# identity map, and what a panic says when a guest processor is sent to where it must not go.
#
#   inspect.py GRAFT-ELF DEBUG-SOCKET MONITOR-SOCKET GRAFT-LOG
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from machine_debug import RIP, RSP, DebugStub, Monitor, mappings, symbols, verdict, wait_for  # pylint: disable=wrong-import-position

GUEST_PROCESSOR = 2  # the stub counts from 1
WAKE_VECTOR = 0xF1  # HostVector::wake


def check_mappings(names, text):
    pages = list(mappings(text))
    image = [page for page in pages if page[0] >= 0xFFFF_FFFF_8000_0000]
    good = verdict(len(pages) > 100 and len(image) > 20, "the page tables can be read", text[:400])
    good &= verdict(not [page for page in pages if page[2] and page[3]], "no page is writable and executable",
                    [page for page in pages if page[2] and page[3]][:5])
    good &= verdict(not [page for page in pages if page[0] < 0x8000_0000_0000], "nothing is mapped in the lower half",
                    [page for page in pages if page[0] < 0x8000_0000_0000][:5])
    good &= verdict(not [page for page in pages if page[4]], "nothing is open to ring 3")
    text_begin, text_end = names["image_text_begin"], names["image_text_end"]
    outside = [page for page in pages if page[3] and not text_begin <= page[0] < text_end]
    good &= verdict(not outside, "nothing but the image's text is executable", outside[:5])
    constants = (names["image_text_begin"] & 0x7FFF_FFFF, names["image_rodata_end"] & 0x7FFF_FFFF)
    alias = [page for page in pages if page[2] and constants[0] <= page[1] < constants[1]]
    return good & verdict(not alias, "text and constants are writable at no address", alias[:5])


def standing_still(monitor):
    """Whether each processor is halted with interrupts disabled."""
    states = []
    for number in range(2):
        monitor.ask(f"cpu {number}")
        text = monitor.ask("info registers")
        flags = re.search(r"RFL=([0-9a-f]+)", text)
        states.append("HLT=1" in text and flags is not None and not int(flags.group(1), 16) & 0x200)
    return states


def check_panic(what, expected, stub, monitor, log):
    stub.send_interrupt(GUEST_PROCESSOR - 1, WAKE_VECTOR)  # its handler returns to where the registers point now
    stub.send("c")
    text = wait_for(log, r"PANIC(.|\n)* ss (.|\n)*\n  0x", 20)
    time.sleep(0.5)
    text = wait_for(log, r"PANIC", 1)
    good = True
    for line in expected:
        good &= verdict(re.search(line, text) is not None, f"a panic ({what}) says: {line}", text[-2500:])
    stub.interrupt()
    still = standing_still(monitor)
    return good & verdict(all(still), f"after the panic ({what}) every processor stands still", still)


def main():
    elf, debug, control, log, what = sys.argv[1:6]
    names = symbols(elf)
    stub = DebugStub(debug)
    monitor = Monitor(control)
    stub.ask("?")
    stub.ask(f"Hg{GUEST_PROCESSOR}")
    if what == "mappings":
        monitor.ask(f"cpu {GUEST_PROCESSOR - 1}")
        good = check_mappings(names, monitor.ask("info tlb"))
    elif what == "jump":
        stub.write_register(RIP, 0x200000)  # the image's physical address: mapped 1:1 while booting, and not now
        expected = [r"PANIC on processor 1: exception 14, error code 0x10", r"rip 0x0000000000200000",
                    r"cr2 0x0000000000200000", r" hv::x86::application_processor_entry\+0x"]
        good = check_panic(what, expected, stub, monitor, log)
    else:
        stub.write_register(RSP, int(sys.argv[6], 16))  # just above the guard page, in a function that pushes
        stub.write_register(RIP, names["hv::x86::stop_other_processors()"])
        expected = [r"PANIC on processor 1: exception 8, error code 0x0", r" hv::x86::stop_other_processors\+0x"]
        good = check_panic(what, expected, stub, monitor, log)
    sys.exit(0 if good else 1)


main()
