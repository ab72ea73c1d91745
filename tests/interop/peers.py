"""The programs of the suite, each as something that messages are sent through and that tells what came back.

A tenant has `name`, `send(kind, to, content)`, `answers(to)`: what our responses said for a
number, `receipts(to)`: what it was told, and `inbound(phone)`: what a phone wrote to it, and whether it is to be shown at once.
What must hold is suite.py's.
"""

import http.server
import json
import os
import select
import threading
import urllib.parse
import urllib.request

import smpplib.client
import smpplib.consts
import smpplib.gsm

from programs import Node, Program, fail, wait_for

PASSWORD = "secret12"
TEXT, LONG, UNICODE, BINARY, FLASH = KINDS = ("plain", "long", "unicode", "binary", "flash")
FLASH_CODING = 0x10
BINARY_CODING = 0x04
UNICODE_CODING = 0x08


def is_flash(coding):
    """A message class that is to be shown at once: the general group, and the one for classes (3GPP TS 23.038)."""
    return coding & 0xF0 in (0x10, 0xF0) and coding & 0x03 == 0


# How long messages go to a provider, and the numbers that it is for. All of them are the one SMSC.
WAYS = {"udh8": "2547", "udh16": "25411", "sar": "25412", "payload": "25413"}
# And the one that takes messages together.
MULTI = "multi"
PROVIDERS = {**WAYS, MULTI: "25414"}


# What tenants mean that others would not read so.
MEANS = {"npm": ', charset_1 = "gsm7"', "kannel": ', national_numbers = "international"'}


class Gateway:
    """The real binary with a provider for each way of long messages and a tenant for each peer."""

    def __init__(self, binary, home, ports, provider_port, tenants):
        """`tenants`: each by its name, with the number under which phones write to it."""
        self.http, self.smpp, self.ops = ports
        with open(os.path.join(home, "tidegate.toml"), "w", encoding="utf-8") as settings:
            settings.write(self._settings(provider_port, tenants))
        # Not in need of a disk with room.
        environment = {"TIDEGATE__STORAGE__RESERVE": "1MiB", "TIDEGATE__STORAGE__RESERVE_PERCENT": "0"}
        command = [binary, "serve", "--config", "tidegate.toml"]
        self.program = Program("tidegate", command, home, environment=environment)

    def _settings(self, provider_port, tenants):
        text = (
            f'[http]\nlisten = "127.0.0.1:{self.http}"\n[smpp]\nlisten = "127.0.0.1:{self.smpp}"\n'
            f'[ops]\nlisten = "127.0.0.1:{self.ops}"\n'
        )
        for provider, prefix in PROVIDERS.items():
            own = "submit_multi = 100" if provider == MULTI else f'long_messages = "{provider}"'
            text += (
                f'[[provider]]\nid = "{provider}"\nhost = "127.0.0.1"\nport = {provider_port}\nsystem_id = "{provider}"\n'
                f'password = "{PASSWORD}"\nenquire_link = "2s"\nreconnect = {{ min = "50ms", max = "500ms" }}\n'
                f'{own}\n[[route]]\nmatch = {{ prefix = ["{prefix}"] }}\nproviders = ["{provider}"]\n'
            )
        for name, number in tenants.items():
            text += (
                f'[[tenant]]\nid = "{name}"\ncurrency = "KES"\nbalance = "1000.00"\nprice = "1.00"\n'
                f'api_keys = ["tg_live_{name}"]\nsmpp = {{ system_id = "{name}", password = "{PASSWORD}"{MEANS.get(name, "")} }}\n'
                f'[[inbound]]\nmatch = {{ to = ["{number}"] }}\ntenant = "{name}"\n'
            )
        return text

    def send_all(self, tenant, numbers, text):
        """A batch over HTTP of one text; the ids of its messages."""
        messages = [{"to": f"+{to}", "from": "ACME", "text": text} for to in numbers]
        answer = self._api(tenant, "/v1/messages", json.dumps({"messages": messages}).encode())
        return [message["id"] for message in answer["data"]]

    def state(self, tenant, message_id):
        return self._api(tenant, f"/v1/messages/{message_id}")["status"]

    def _api(self, tenant, path, body=None):
        headers = {"Authorization": f"Bearer tg_live_{tenant}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def is_ready(self):
        self.program.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in found}


class NpmTenant(Node):
    """npm's smpp. Its long messages are one submit_sm with message_payload."""

    name = "npm"

    def __init__(self, home, modules, smpp_port):
        super().__init__("npm", home, modules, "tenant", smpp_port, self.name, PASSWORD)
        self.numbers = {}
        bound = wait_for("npm's bind", lambda: self.of("bound"))[0]
        if (bound["status"], bound["system_id"]) != (0, "tidegate"):
            fail(f"npm's bind was answered with {bound}")

    def send(self, kind, to, content):
        pdu = {
            "source_addr_ton": 5, "source_addr": "NPM", "dest_addr_ton": 1, "dest_addr_npi": 1,
            "destination_addr": to, "registered_delivery": 1,
        }
        pdu.update({
            # Its own default: septets, and a data_coding that others read as IA5.
            TEXT: {"text": content, "data_coding": 1},
            LONG: {"text": content, "data_coding": 0, "payload": True},
            UNICODE: {"text": content, "data_coding": UNICODE_CODING},
            BINARY: {"hex": content.hex() if kind == BINARY else "", "data_coding": BINARY_CODING},
            FLASH: {"text": content, "data_coding": FLASH_CODING},
        }[kind])
        self.numbers[self.order("submit_sm", **pdu)] = to

    def end(self):
        if self.child.poll() is None and not self.of("closed"):
            self.order("unbind")
            wait_for("the answer to npm's unbind", lambda: self.of("closed"))
        return super().end()

    def answers(self, to):
        mine = [found for found in self.of("response") if self.numbers.get(found["number"]) == to]
        for refused in (found for found in mine if found["status"] != 0):
            fail(f"npm was refused: {refused}")
        return [found["message_id"] for found in mine]

    def ask(self, command, **pdu):
        """A request and its response."""
        asked = self.order(command, **pdu)
        found = wait_for(
            f"the answer to npm's {command}",
            lambda: [found for found in self.of("response") if found["number"] == asked],
        )
        return found[0]

    def receipts(self, to):
        return [
            (found["receipted_message_id"], found["text"] or "")
            for found in self.of("message")
            if found["esm_class"] & 0x3C == 0x04 and found["from"] == to
        ]

    def inbound(self, phone):
        return [
            (bytes.fromhex(found["hex"]) if found["text"] is None else found["text"], is_flash(found["data_coding"]))
            for found in self.of("message")
            if found["esm_class"] & 0x3C == 0 and found["from"] == phone
        ]


class SmpplibTenant:
    """Python's smpplib. It cuts its long messages itself, with user data headers."""

    name = "smpplib"

    def __init__(self, smpp_port):
        self.client = smpplib.client.Client("127.0.0.1", smpp_port, timeout=10, allow_unknown_opt_params=True)
        self.client.set_message_sent_handler(lambda pdu: self.responses.append((pdu.sequence, pdu.message_id)))
        self.client.set_message_received_handler(lambda pdu: self.delivered.append(pdu))
        self.client.set_error_pdu_handler(lambda pdu: self.errors.append((pdu.command, pdu.status)))
        self.client.set_query_resp_handler(lambda pdu: self.states.append(pdu.message_state))
        self.responses, self.delivered, self.errors, self.states, self.numbers = [], [], [], [], {}
        self.is_over = threading.Event()
        self.client.connect()
        self.client.bind_transceiver(system_id=self.name, password=PASSWORD)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while not self.is_over.is_set():
            if select.select([self.client._socket], [], [], 0.1)[0]:
                self.client.read_once()

    def send(self, kind, to, content):
        coding, esm_class, parts = 0, 0, [content]
        if kind in (TEXT, LONG, UNICODE):
            parts, coding, esm_class = smpplib.gsm.make_parts(content)
        elif kind == FLASH:
            parts, coding = [smpplib.gsm.gsm_encode(content)], FLASH_CODING
        elif kind == BINARY:
            coding = BINARY_CODING
        for part in parts:
            sent = self.client.send_message(
                source_addr_ton=smpplib.consts.SMPP_TON_ALNUM, source_addr="PYTHON",
                dest_addr_ton=smpplib.consts.SMPP_TON_INTL, dest_addr_npi=smpplib.consts.SMPP_NPI_ISDN,
                destination_addr=to, short_message=part, data_coding=coding, esm_class=esm_class,
                registered_delivery=True,
            )
            self.numbers[sent.sequence] = to

    def query(self, message_id):
        """The message_state of a message."""
        known = len(self.states)
        self.client.query_message(
            message_id=message_id, source_addr_ton=smpplib.consts.SMPP_TON_ALNUM, source_addr="PYTHON"
        )
        wait_for("the answer to smpplib's query_sm", lambda: len(self.states) > known)
        return self.states[known]

    def answers(self, to):
        if self.errors:
            fail(f"smpplib was refused: {self.errors}")
        mine = [message_id for sequence, message_id in list(self.responses) if self.numbers[sequence] == to]
        return [message_id.decode() for message_id in mine]

    def receipts(self, to):
        mine = [pdu for pdu in list(self.delivered) if pdu.esm_class & 0x3C == 4 and pdu.source_addr.decode() == to]
        return [(pdu.receipted_message_id.decode(), pdu.short_message.decode()) for pdu in mine]

    def inbound(self, phone):
        mine = [pdu for pdu in list(self.delivered) if pdu.esm_class & 0x3C == 0 and pdu.source_addr.decode() == phone]
        return [(self._text(pdu), is_flash(pdu.data_coding)) for pdu in mine]

    def _text(self, pdu):
        octets = pdu.short_message or pdu.message_payload
        if pdu.data_coding == UNICODE_CODING:
            return octets.decode("utf-16-be")
        if pdu.data_coding == BINARY_CODING:
            return octets
        # The library writes GSM 7-bit and does not read it; its own table does.
        codes = iter(octets)
        return "".join(
            smpplib.gsm.GSM_CHARACTER_TABLE[code if code != 0x1B else 0x80 + next(codes)] for code in codes
        )

    def check(self):
        if not self.reader.is_alive():
            fail("smpplib's reader has ended")

    def end(self):
        if self.is_over.is_set():
            return
        self.is_over.set()
        self.reader.join(20)
        self.client.unbind()
        self.client.disconnect()


class Kannel:
    """bearerbox and smsbox. What is sent goes in over HTTP; receipts and messages from phones come out over HTTP.

    Without a `+` Kannel says of a number that it is a national one. Its plain message goes so, the others with it.
    """

    name = "kannel"

    def __init__(self, home, smpp_port, ports):
        admin, boxes, self.door = ports
        self.calls = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.back = f"http://127.0.0.1:{self.server.server_address[1]}"
        configuration = os.path.join(home, "kannel.conf")
        with open(configuration, "w", encoding="utf-8") as text:
            text.write(self._configuration(smpp_port, admin, boxes))
        self.status = f"http://127.0.0.1:{admin}/status.txt?password={PASSWORD}"
        self.bearerbox = Program("bearerbox", ["/usr/sbin/bearerbox", "-v", "0", configuration], home)
        wait_for("bearerbox", lambda: self.bearerbox.check() or self._status())
        self.smsbox = Program("smsbox", ["/usr/sbin/smsbox", "-v", "0", configuration], home)
        wait_for("Kannel's bind", lambda: self.check() or "(online" in self._status())
        # Its door opens before it knows its users, and it does not survive a request then: bearerbox tells when it is through.
        wait_for("smsbox", lambda: self.check() or "smsbox:" in self._status())

    def _handler(self):
        calls = self.calls

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                place = urllib.parse.urlsplit(self.path)
                calls.append((place.path, dict(urllib.parse.parse_qsl(place.query, encoding="latin-1"))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler

    def _configuration(self, smpp_port, admin, boxes):
        return f"""
group = core
admin-port = {admin}
admin-interface = "127.0.0.1"
admin-password = {PASSWORD}
smsbox-port = {boxes}
smsbox-interface = "127.0.0.1"
box-allow-ip = "127.0.0.1"
dlr-storage = internal

group = smsc
smsc = smpp
smsc-id = tidegate
host = "127.0.0.1"
port = {smpp_port}
transceiver-mode = true
smsc-username = {self.name}
smsc-password = {PASSWORD}
system-type = ""
interface-version = 34
enquire-link-interval = 2

group = smsbox
bearerbox-host = "127.0.0.1"
sendsms-port = {self.door}
sendsms-interface = "127.0.0.1"

group = sendsms-user
username = suite
password = {PASSWORD}
max-messages = 10
concatenation = true

group = sms-service
keyword = default
catch-all = true
max-messages = 0
get-url = "{self.back}/inbound?from=%p&to=%P&text=%b&coding=%c&udh=%u&mclass=%m"
"""

    def _get(self, url):
        """The page, also one that refuses; None while nobody answers."""
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return None

    def _status(self):
        return self._get(self.status) or ""

    def check(self):
        self.bearerbox.check()
        if hasattr(self, "smsbox"):
            self.smsbox.check()

    def send(self, kind, to, content):
        form = {
            "username": "suite", "password": PASSWORD, "from": "KANNEL", "to": to if kind == TEXT else f"+{to}", "text": content,
            "dlr-mask": "31", "dlr-url": f"{self.back}/receipt?to={to}&type=%d&id=%F&text=%A",
        }
        form.update({
            TEXT: {"charset": "UTF-8"},
            LONG: {"charset": "UTF-8"},
            UNICODE: {"charset": "UTF-8", "coding": "2"},
            BINARY: {"coding": "1"},
            FLASH: {"charset": "UTF-8", "mclass": "0"},
        }[kind])
        page = self._get(f"http://127.0.0.1:{self.door}/cgi-bin/sendsms?{urllib.parse.urlencode(form)}")
        if not page or not page.startswith("0: "):
            fail(f"Kannel did not take a message: {page}")

    def _told(self, to, kind):
        told = [form for path, form in list(self.calls) if path == "/receipt" and form["to"] == to]
        if any(form["type"] in ("2", "16") for form in told):
            fail(f"Kannel was refused or told of a failure: {told}")
        return [form for form in told if form["type"] == kind]

    def answers(self, to):
        """Type 8: our response. It does not tell which."""
        return [form.get("id", "") for form in self._told(to, "8")]

    def receipts(self, to):
        """Type 1: delivered."""
        return [(form.get("id", ""), form.get("text", "")) for form in self._told(to, "1")]

    def inbound(self, phone):
        """Kannel gives text as UTF-8, or as UTF-16 where it came so."""
        read = {"0": lambda octets: octets.decode(), "1": bytes, "2": lambda octets: octets.decode("utf-16-be")}
        return [
            (read[form["coding"]](form["text"].encode("latin-1")), form["mclass"] == "0")
            for path, form in list(self.calls)
            if path == "/inbound" and form["from"].lstrip("+") == phone
        ]

    def end(self):
        self.smsbox.end()
        self.bearerbox.end()
        self.server.shutdown()
