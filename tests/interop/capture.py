"""What went over the wire, captured on loopback and read by tshark: no PDU may be malformed, and those we mean must be there."""

import collections
import os
import socket
import subprocess

from programs import Program, fail, free_ports, wait_for

# What the suite makes both sides say at least once.
EXPECTED = {
    0x00000009: "bind_transceiver", 0x80000009: "bind_transceiver_resp", 0x00000004: "submit_sm",
    0x80000004: "submit_sm_resp", 0x00000005: "deliver_sm", 0x80000005: "deliver_sm_resp",
    0x00000015: "enquire_link", 0x80000015: "enquire_link_resp", 0x00000006: "unbind", 0x80000006: "unbind_resp",
}
# What tshark says of a PDU, not of the TCP below it.
BAD = "_ws.malformed || (smpp && _ws.expert.severity >= 0x00600000 && !tcp.analysis.flags)"


class Capture:
    def __init__(self, home, ports):
        self.file = os.path.join(home, "all.pcapng")
        self.ports = ports
        self.marker = free_ports(1)[0]
        filter_ = " or ".join([f"udp port {self.marker}", *(f"tcp port {port}" for port in ports)])
        command = ["dumpcap", "-q", "-i", "lo", "-f", filter_, "-B", "64", "-w", self.file]
        self.program = Program("dumpcap", command, home)
        wait_for("the capture", lambda: self.program.check() or self._is_capturing())

    def _is_capturing(self):
        return "File:" in self.program.said() or os.path.exists(self.file)

    def end(self):
        self.program.end()

    def _settle(self):
        """The capture is behind: what it holds when a mark of ours is in it is all that went before."""
        mark = os.urandom(16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(mark, ("127.0.0.1", self.marker))

        def holds_mark():
            with open(self.file, "rb") as captured:
                return mark in captured.read()

        wait_for("the end of the capture", holds_mark)

    def _tshark(self, *arguments):
        decode = [word for port in self.ports for word in ("-d", f"tcp.port=={port},smpp")]
        command = ["tshark", "-n", "-r", self.file, *decode, "-o", "smpp.reassemble_smpp_over_tcp:TRUE", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            fail(f"tshark failed: {done.stderr}")
        return done.stdout

    def check(self):
        self._settle()
        self.end()
        bad = self._tshark("-Y", BAD, "-V")
        if bad:
            fail(f"tshark finds malformed PDUs:\n{bad[:4000]}")
        ids = self._tshark("-Y", "smpp", "-T", "fields", "-e", "smpp.command_id").replace(",", "\n").split()
        counts = collections.Counter(int(found, 0) for found in ids)
        missing = [name for found, name in EXPECTED.items() if not counts[found]]
        if missing:
            fail(f"the capture holds no {', '.join(missing)}; it holds {dict(counts)}")
        print(f"tshark: {sum(counts.values())} PDUs of {len(counts)} kinds, none malformed")
