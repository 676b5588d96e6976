#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# Makes the table of function names that a panic's backtrace uses (hypervisor/arch/x86/cpu/symbols.cpp): reads `nm -n -C`
# of the first link, writes assembly for the second.  With no input file it writes an empty table.
import subprocess
import sys

LONGEST_NAME = 100


def functions(nm, image):
    """(address, name) of every function in the text, ascending, one per address."""
    lines = subprocess.run([nm, "-n", "-C", image], check=True, capture_output=True, text=True).stdout.splitlines()
    found = {}
    begin = 0
    for line in lines:
        address, kind, name = line.split(" ", 2)
        if name == "image_text_begin":
            begin = int(address, 16)
        if kind in "tTwW" and not name.startswith("image_text_"):
            found.setdefault(int(address, 16), shorten(name))
    return begin, sorted(found.items())


def shorten(name):
    """The name without its parameters, which a reader of a backtrace seldom needs."""
    depth = 0
    for index, character in enumerate(name.replace("(anonymous namespace)", "{anonymous.namespace}")):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and depth == 0:
            name = name[:index]
            break
    return name.replace("(anonymous namespace)::", "")[:LONGEST_NAME]


def main():
    output, *arguments = sys.argv[1:]
    begin, symbols = functions(*arguments) if arguments else (0, [])
    offset, offsets, names = 0, [], []
    for _, name in symbols:
        offsets.append(offset)
        names.append(name)
        offset += len(name.encode()) + 1
    with open(output, "w", encoding="utf-8") as file:
        file.write('        .section .symbols, "a", @progbits\n        .balign 4\n')
        file.write(f"        .globl symbol_count\nsymbol_count: .long {len(symbols)}\n")
        file.write("        .globl symbol_offsets\nsymbol_offsets:\n")
        file.writelines(f"        .long {address - begin}\n" for address, _ in symbols)
        file.write("        .globl symbol_name_offsets\nsymbol_name_offsets:\n")
        file.writelines(f"        .long {value}\n" for value in offsets)
        file.write("        .globl symbol_names\nsymbol_names:\n")
        file.writelines(f'        .asciz "{name}"\n' for name in names)
        file.write('        .byte 0\n        .section .note.GNU-stack, "", @progbits\n')


main()
