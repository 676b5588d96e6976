#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads what `xl ext-report --core` wrote of an instance that read address 0, as a debugger would, and says PASS or FAIL.

The registers must be those of the fault: the instruction at RIP lies in an executable segment and is the read, the stack lies in
a writable one, and the word on top of it is an address of the text.
"""
import struct
import sys


def verdict(what, good, why=""):
    print(("PASS " if good else "FAIL ") + what + ("" if good else f"\n    {why}"))


def main():
    data = open(sys.argv[1], "rb").read()
    verdict("the core is an ELF core of x86-64", data[:6] == b"\x7fELF\x02\x01" and struct.unpack_from("<HH", data, 16) == (4, 62))
    offset, = struct.unpack_from("<Q", data, 32)
    count, = struct.unpack_from("<H", data, 56)
    headers = [struct.unpack_from("<IIQQQQQQ", data, offset + 56 * index) for index in range(count)]
    notes = [one for one in headers if one[0] == 4]
    loads = [one for one in headers if one[0] == 1]
    size, = struct.unpack_from("<I", data, notes[0][2] + 4)
    registers = struct.unpack_from("<27Q", data, notes[0][2] + 20 + 112)
    rip, rsp = registers[16], registers[19]

    def segment(address):
        found = [one for one in loads if one[3] <= address < one[3] + one[5]]
        return found[0] if found else None

    def read(address, length):
        one = segment(address)
        return data[one[2] + address - one[3]:][:length] if one else b""

    verdict("its notes have the registers", size == 336)
    text, stack = segment(rip), segment(rsp)
    verdict("the instruction lies in executable memory", text is not None and text[1] & 1 != 0, hex(rip))
    verdict("and is the one that failed", read(rip, 1) == b"\x8a", read(rip, 4).hex())
    verdict("the stack lies in writable memory", stack is not None and stack[1] & 2 != 0, hex(rsp))
    caller = segment(struct.unpack("<Q", read(rsp, 8).ljust(8, b"\0"))[0])
    verdict("and begins with the caller's address, in the same text", caller == text and caller is not None)


main()
