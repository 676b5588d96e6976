#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# An NMI while Graft's own handler of one is at work, on dom0's processor, by QEMU's debug stub and monitor: it waits until the
# handler has returned; and a fault inside of the handler, whose IRET would let it in too soon, is a panic, also at an
# instruction whose faults are met elsewhere.
#
#   inside.py GRAFT-ELF DEBUG-SOCKET MONITOR-SOCKET GRAFT-LOG DOM0-LOG
import os
import re
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from machine_debug import RIP, RSP, DebugStub, Monitor, symbols, verdict, wait_for  # pylint: disable=wrong-import-position

STUB_BYTES = 16
NMI_VECTOR = 2
EXCEPTION_STACK_BYTES = 8 * 1024
FLAGS_AT = 17 * 16  # in the digits of all of the stub's registers; eight digits
TRAP_FLAG = 0x100


def words(stub, address, count):
    return struct.unpack(f"<{count}Q", bytes.fromhex(stub.ask(f"m{address:x},{8 * count:x}")))


def register(stub, number):
    return struct.unpack("<Q", bytes.fromhex(stub.ask("g")[16 * number:16 * number + 16]))[0]


def counted(log):
    with open(log, encoding="utf-8", errors="replace") as file:
        return int(re.findall(r"dom0 counts (\d+) NMIs", file.read())[-1])


def set_trap_flag(stub):
    """An exception behind the next instruction, whatever that is."""
    registers = stub.ask("g")
    flags = struct.unpack("<I", bytes.fromhex(registers[FLAGS_AT:FLAGS_AT + 8]))[0] | TRAP_FLAG
    stub.ask("G" + registers[:FLAGS_AT] + struct.pack("<I", flags).hex() + registers[FLAGS_AT + 8:])


class Handler:
    """The NMI handler's first instruction, where the machine stops."""

    def __init__(self, names, stub):
        self.stub = stub
        self.address = names["interrupt_stubs"] + NMI_VECTOR * STUB_BYTES

    def arm(self):
        self.stub.ask(f"Z0,{self.address:x},1")

    def disarm(self):
        self.stub.ask(f"z0,{self.address:x},1")

    def stopped_at(self):
        """RIP and RSP there, and what was interrupted: its RIP and RSP."""
        rsp = register(self.stub, RSP)
        rip, _, _, interrupted, _ = words(self.stub, rsp, 5)
        return register(self.stub, RIP), rsp, rip, interrupted

    def go_on(self):
        self.disarm()
        self.stub.ask("s")
        self.arm()
        self.stub.send("c")


def check_second_waits(names, stub, monitor):
    handler = Handler(names, stub)
    handler.arm()
    stub.send("c")
    monitor.ask("nmi")
    stub.receive()
    rip, rsp, interrupted, _ = handler.stopped_at()
    good = verdict(rip == handler.address, "an NMI stops the machine in Graft's handler", hex(rip))
    monitor.ask("nmi")  # inside of the handler
    handler.go_on()
    stub.receive()
    again, rsp_again, interrupted_again, rsp_interrupted = handler.stopped_at()
    good &= verdict(again == handler.address and rsp_again == rsp, "the second one comes to it as well",
                    (hex(again), hex(rsp), hex(rsp_again)))
    good &= verdict(interrupted_again == interrupted and not 0 <= rsp - rsp_interrupted < EXCEPTION_STACK_BYTES,
                    "when the first has returned, and not before",
                    (hex(interrupted), hex(interrupted_again), hex(rsp), hex(rsp_interrupted)))
    handler.disarm()
    return good


def check_fault_inside(names, stub, monitor, log):
    handler = Handler(names, stub)
    stub.interrupt()
    handler.arm()
    stub.send("c")
    monitor.ask("nmi")
    stub.receive()
    begin, end = words(stub, names["fixup_table_begin"], 2)
    stub.write_register(RIP, begin)
    set_trap_flag(stub)
    handler.disarm()
    stub.send("c")
    text = wait_for(log, r"PANIC(.|\n)* rip 0x[0-9a-f]{16}", 30)
    panic = re.search(r"PANIC on processor 0: exception 1,(.|\n)* rip 0x([0-9a-f]{16})", text)
    return verdict(panic is not None and begin <= int(panic.group(2), 16) < end,
                   "a fault inside of the handler is a panic, where there is a way out too", text[-1500:])


def main():
    elf, debug, control, graft_log, dom0_log = sys.argv[1:6]
    names = symbols(elf)
    stub = DebugStub(debug)
    monitor = Monitor(control)
    stub.ask("?")
    stub.ask("Hg1")
    before = counted(dom0_log)
    good = check_second_waits(names, stub, monitor)
    stub.send("c")
    wait_for(dom0_log, rf"dom0 counts ({before + 1}|{before + 2}) NMIs", 60)
    good &= verdict(counted(dom0_log) in (before + 1, before + 2), "dom0's kernel gets them, as one or as two", counted(dom0_log))
    good &= check_fault_inside(names, stub, monitor, graft_log)
    sys.exit(0 if good else 1)


main()
