#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one machine and carries a command's output, errors and exit status out of its dom0.

Called by scripts/dom0 alone, which has made the run's folder; this program removes it.  QEMU gets three ports on a
virtio-serial device whose other ends are sockets held here: `graft-run.control` carries lines (from dom0 `ready`,
`status N`, `failed TEXT`; to dom0 `off`), `.out` and `.err` the command's bytes.  dom0's init (scripts/image/dom0-init)
ends each of the two streams with a mark that only this run knows, so that no byte written before the command's end is
lost and none that came after it is waited for.  In shell mode dom0's console is the terminal and nothing is carried.
"""
import argparse
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time

TIMED_OUT = 124
NOT_UP = 125
POWER_OFF_GRACE = 20.0  # seconds from the command's end to the machine's
LOG_TAIL_LINES = 25


class MarkFilter:
    """Passes bytes on until the mark; holds back only what may be the mark's beginning."""

    def __init__(self, mark):
        self.mark = mark
        self.held = b""

    def feed(self, data):
        """Returns the bytes to pass on and whether the mark was met."""
        data = self.held + data
        end = data.find(self.mark)
        if end >= 0:
            self.held = b""
            return data[:end], True
        longest = min(len(self.mark) - 1, len(data))
        kept = next((n for n in range(longest, 0, -1) if data.endswith(self.mark[:n])), 0)
        self.held = data[len(data) - kept:]
        return data[:len(data) - kept], False


def write_all(descriptor, data):
    """Writes to a descriptor that whoever started us may have left non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view):]
        except BlockingIOError:
            select.select([], [descriptor], [])


class Stream(threading.Thread):
    """One of the command's two streams, on its way to one of ours."""

    def __init__(self, source, descriptor, mark, wake):
        super().__init__(daemon=True)
        self.source = source
        self.descriptor = descriptor
        self.filter = MarkFilter(mark)
        self.wake = wake
        self.complete = False  # the mark was met: everything before it is written
        self.reader_gone = False  # nobody reads our output any more

    def run(self):
        try:
            while data := self.source.recv(65536):
                if self.complete:
                    continue
                passed, marked = self.filter.feed(data)
                write_all(self.descriptor, passed)
                if marked:
                    self.complete = True
                    self.wake()
            if not self.complete:
                write_all(self.descriptor, self.filter.held)
        except ConnectionError:
            self.reader_gone = True
        except OSError as error:
            self.reader_gone = True
            if self.descriptor != 2:
                tell(f"cannot write the command's output: {error.strerror}")
        self.wake()


def tell(text):
    try:
        sys.stderr.write(f"dom0: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass


class Machine:
    """QEMU, its sockets, and what dom0 has said so far."""

    def __init__(self, options):
        self.options = options
        self.log = os.path.join(options.folder, "graft.log")
        self.console = os.path.join(options.folder, "console.log")
        self.ready = False
        self.status = None
        self.failure = None
        self.signal = None
        self.control_text = b""
        self.process = None
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self):
        try:
            os.write(self.wake_write, b".")
        except BlockingIOError:
            pass

    def on_signal(self, number, _frame):
        self.signal = number
        self.wake()

    def start(self):
        ports = ["control"] if self.options.mode == "shell" else ["control", "out", "err"]
        ours, theirs = {}, {}
        words = ["setpriv", "--pdeathsig", "KILL", "--"] + self.options.qemu
        words += ["-serial", f"file:{self.log}"]
        if self.options.mode == "shell":
            words += ["-chardev", "stdio,id=terminal,mux=on,signal=off", "-serial", "chardev:terminal"]
        else:
            words += ["-serial", f"file:{self.console}"]
        words += ["-monitor", "none", "-device", "virtio-serial-pci,id=run,max_ports=4"]
        for number, port in enumerate(ports, start=1):
            ours[port], theirs[port] = socket.socketpair()
            words += ["-chardev", f"socket,id=run-{port},fd={theirs[port].fileno()}",
                      "-device", f"virtserialport,bus=run.0,nr={number},chardev=run-{port},name=graft-run.{port}"]
        interactive = self.options.mode == "shell"
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            words, pass_fds=[end.fileno() for end in theirs.values()], start_new_session=not interactive,
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=None if interactive else open(os.path.join(self.options.folder, "qemu.log"), "wb"),
            stderr=None if interactive else subprocess.STDOUT)
        for end in theirs.values():
            end.close()
        self.control = ours["control"]
        self.control.setblocking(False)
        mark = b"\0\x1egraft-run-" + self.options.token.encode()
        self.streams = [Stream(ours[port], descriptor, mark, self.wake)
                        for port, descriptor in (("out", 1), ("err", 2)) if port in ours]
        for stream in self.streams:
            stream.start()

    def read_control(self):
        """Takes in what came from dom0's init; returns False at the end of the connection."""
        try:
            data = self.control.recv(4096)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        self.control_text += data
        *lines, self.control_text = self.control_text.split(b"\n")
        for line in lines:
            self.take_line(line.decode(errors="replace"))
        return bool(data)

    def take_line(self, line):
        word, _, rest = line.partition(" ")
        if word == "ready":
            self.ready = True
            if os.environ.get("GRAFT_TIMES"):
                tell(f"ready after {time.monotonic() - self.started:.2f} s")
        elif word == "status" and rest.isdecimal():
            self.status = int(rest)
        elif word == "failed":
            self.failure = rest
        else:
            self.failure = f"unknown word from dom0: {line!r}"

    def done(self):
        return self.status is not None and all(stream.complete for stream in self.streams)

    def ended_early(self):
        return self.signal or self.failure or any(stream.reader_gone for stream in self.streams)

    def wait(self, deadline, finished):
        """Waits for `finished`, a reason to stop, QEMU's end, or the deadline; returns False at the deadline."""
        watched = [self.wake_read, self.control]
        exit_watch = os.pidfd_open(self.process.pid)
        try:
            while not finished() and not self.ended_early():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                readable, _, _ = select.select(watched + [exit_watch], [], [], left)
                if self.wake_read in readable:
                    os.read(self.wake_read, 4096)
                if self.control in readable and not self.read_control():
                    watched.remove(self.control)
                if exit_watch in readable and self.control not in readable:
                    return True
        finally:
            os.close(exit_watch)
        return True

    def stop(self):
        """Ends QEMU, and lets the streams write what had left the machine."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in self.streams:
            stream.join(5)

    def power_off(self):
        """The command is done: dom0 switches the machine off by itself."""
        self.control.setblocking(True)
        try:
            self.control.sendall(b"off\n")
        except ConnectionError:
            pass
        try:
            self.process.wait(POWER_OFF_GRACE)
        except subprocess.TimeoutExpired:
            tell("the machine did not power off; ended it")

    def show_tail(self, title, path):
        try:
            with open(path, "rb") as file:
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return
        if lines:
            tell(f"the last lines of {title}:")
            for line in lines[-LOG_TAIL_LINES:]:
                tell(f"| {line.rstrip()}")

    def show_logs(self):
        self.show_tail("QEMU's own output", os.path.join(self.options.folder, "qemu.log"))
        self.show_tail("Graft's log", self.log)
        self.show_tail("dom0's console", self.console)

    def verdict(self, in_time):
        """The exit status, after the machine has ended or has been given up."""
        if self.signal:
            return 128 + self.signal
        if any(stream.reader_gone for stream in self.streams):
            return 128 + signal.SIGPIPE
        if self.done():
            return self.status
        if not self.ready:
            why = self.failure or ("the machine ended" if in_time else "no sign of it before the timeout")
            tell(f"Graft or dom0 did not come up: {why}")
        elif not in_time:
            tell(f"timed out after {self.options.timeout:g} s")
            return TIMED_OUT
        else:
            tell(f"the machine went down before the command ended{': ' + self.failure if self.failure else ''}")
        self.show_logs()
        return NOT_UP

    def run_command(self):
        deadline = None if self.options.timeout is None else self.started + self.options.timeout
        in_time = self.wait(deadline, self.done)
        if self.done():
            self.power_off()
        self.stop()
        while self.read_control():  # QEMU is gone: what dom0 had said last
            if not select.select([self.control], [], [], 0)[0]:
                break
        return self.verdict(in_time)

    def run_shell(self):
        """dom0's console is the terminal: only the machine's end, or a limit that was asked for, matters."""
        deadline = None if self.options.timeout is None else self.started + self.options.timeout
        in_time = self.wait(deadline, lambda: False)
        self.stop()
        if self.signal:
            return 128 + self.signal
        if self.failure or not self.ready:
            tell(f"Graft or dom0 did not come up{': ' + self.failure if self.failure else ''}")
            self.show_logs()
            return NOT_UP
        return 0 if in_time else TIMED_OUT

    def keep_logs(self):
        for source, target in ((self.log, self.options.keep_log), (self.console, self.options.keep_console)):
            if target and os.path.exists(source):
                shutil.copyfile(source, target)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--mode", choices=("command", "shell"), required=True)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--keep-log")
    parser.add_argument("--keep-console")
    parser.add_argument("qemu", nargs="+")
    return parser.parse_args()


def main():
    options = parse()
    machine = Machine(options)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, machine.on_signal)
    terminal = termios.tcgetattr(0) if options.mode == "shell" else None
    try:
        machine.start()
        status = machine.run_shell() if options.mode == "shell" else machine.run_command()
        machine.keep_logs()
    finally:
        if terminal:
            termios.tcsetattr(0, termios.TCSADRAIN, terminal)
        shutil.rmtree(options.folder, ignore_errors=True)
    os._exit(status)  # a stream thread may still be stuck in a write that nobody reads


if __name__ == "__main__":
    main()
