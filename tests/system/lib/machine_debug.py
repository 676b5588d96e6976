# SPDX-License-Identifier: MIT
#
# A running machine, looked at from outside: QEMU's debug stub and its monitor, as much of both as the tests need.
import re
import socket
import subprocess
import time

RIP, RSP = 16, 7  # numbers of the debug stub's registers


def verdict(good, what, reason=""):
    """As checks.sh speaks."""
    print(("PASS " if good else "FAIL ") + what, flush=True)
    if not good:
        print("    " + str(reason).replace("\n", "\n    "), flush=True)
    return good


def symbols(elf):
    """Addresses by demangled names."""
    lines = subprocess.run(["nm", "-C", elf], check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split(" ", 2)[2]: int(line.split(" ", 2)[0], 16) for line in lines if not line.startswith(" ")}


def wait_for(file, pattern, seconds=30):
    """What the file says, as soon as the pattern is in it, or when the time is over."""
    end = time.monotonic() + seconds
    text = ""
    while time.monotonic() < end:
        with open(file, encoding="utf-8", errors="replace") as opened:
            text = opened.read()
        if re.search(pattern, text):
            break
        time.sleep(0.2)
    return text


class DebugStub:
    """The GNU debugger's remote protocol, as much of it as is needed here."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.buffer = b""
        self.socket.settimeout(3)
        try:
            self.receive()  # the machine stops when a debugger comes, and some versions say so unasked
        except socket.timeout:
            pass
        self.socket.settimeout(60)

    def send(self, text):
        data = text.encode()
        self.socket.sendall(b"$" + data + b"#%02x" % (sum(data) % 256))

    def receive(self):
        while True:
            match = re.search(rb"\$([^#]*)#..", self.buffer, re.DOTALL)
            if match:
                self.buffer = self.buffer[match.end():]
                self.socket.sendall(b"+")
                return match.group(1).decode(errors="replace")
            self.buffer += self.socket.recv(65536)

    def ask(self, text):
        self.send(text)
        return self.receive()

    def interrupt(self):
        """Stops the machine.  What comes before it has gone on is not heard, so it is said again where nothing answers."""
        self.socket.settimeout(10)
        try:
            for _ in range(12):
                self.socket.sendall(b"\x03")
                try:
                    return self.receive()
                except socket.timeout:
                    pass
            raise RuntimeError("the machine does not stop")
        finally:
            self.socket.settimeout(60)

    def write_register(self, number, value):
        """By reading and writing all: one alone is for debuggers that have read the target's description."""
        registers = self.ask("g")
        digits = value.to_bytes(8, "little").hex()
        answer = self.ask("G" + registers[:16 * number] + digits + registers[16 * (number + 1):])
        if answer != "OK":
            raise RuntimeError(f"the debug stub does not take registers: {answer}")

    def send_interrupt(self, apic_id, vector):
        """Ends a halt, as a device does it: a message written to the processors' address."""
        answers = [self.ask("Qqemu.PhyMemMode:1"),
                   self.ask(f"M{0xfee00000 | apic_id << 12:x},4:{vector.to_bytes(4, 'little').hex()}"),
                   self.ask("Qqemu.PhyMemMode:0")]
        if answers != ["OK"] * 3:
            raise RuntimeError(f"the debug stub does not write a message: {answers}")


class Monitor:
    """QEMU's own monitor: one command, its answer."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.read_prompt()

    def read_prompt(self):
        text = b""
        while not text.endswith(b"(qemu) "):
            text += self.socket.recv(65536)
        return text.decode(errors="replace")

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\n")
        return self.read_prompt()


def mappings(text):
    """(linear, physical, writable, executable, user) of every line of the monitor's `info tlb`."""
    for match in re.finditer(r"([0-9a-f]{16}): ([0-9a-f]{16}) ([-A-Z]{9})", text):
        flags = match.group(3)
        yield int(match.group(1), 16), int(match.group(2), 16), "W" in flags, "X" not in flags, "U" in flags
