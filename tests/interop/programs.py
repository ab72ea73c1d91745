"""Programs that the suite starts: each ends with the suite, whatever happens, and leaves what it said in a file."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import threading
import time

WAIT_SECONDS = 40
PR_SET_PDEATHSIG = 1


def fail(what):
    raise AssertionError(what)


def wait_for(what, condition, seconds=WAIT_SECONDS):
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            fail(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A child process; what it prints goes to a file, or to `lines` where somebody reads it."""

    def __init__(self, name, command, home, reads=None, environment=None, talks=False):
        self.name = name
        self.log = os.path.join(home, f"{name}.log")
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                command,
                cwd=home,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if reads else log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                preexec_fn=die_with_parent,
            )
        if reads:
            threading.Thread(target=self._read, args=(reads,), daemon=True).start()

    def _read(self, reads):
        for line in self.child.stdout:
            reads(line.decode("utf-8", "replace").rstrip("\n"))

    def check(self):
        if self.child.poll() is not None:
            fail(f"{self.name} has ended with {self.child.returncode}; see {self.log}")

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def end(self, seconds=20):
        """SIGTERM, and SIGKILL where that is not enough; its exit code."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait()


class Node(Program):
    """peer.js, driven by lines of JSON."""

    def __init__(self, name, home, modules, *arguments):
        self.events = []
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer.js")
        super().__init__(
            name,
            ["node", script, *map(str, arguments)],
            home,
            reads=lambda line: self.events.append(json.loads(line)),
            environment={"NODE_PATH": modules},
            talks=True,
        )
        self.number = 0

    def order(self, command, **pdu):
        self.number += 1
        line = json.dumps({"do": command, "number": self.number, "pdu": pdu})
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()
        return self.number

    def of(self, event):
        return [found for found in list(self.events) if found["event"] == event]
