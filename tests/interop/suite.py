"""The interoperability suite: real peers against the real gateway. `tests/interop/run` installs what it needs and calls it.

Each tenant sends each kind of message; npm's SMSC must read what was meant, and the tenant must be told of it. tshark listens
meanwhile, and must find no PDU malformed. Everything ends within TIME_SECONDS, and nothing outlives the suite.
"""

import os
import shutil
import signal
import sys
import tempfile
import time

from capture import Capture
from peers import (
    BINARY, BINARY_CODING, FLASH, FLASH_CODING, KINDS, LONG, MULTI, PASSWORD, PROVIDERS, TEXT, UNICODE, UNICODE_CODING, WAYS,
    Gateway, Kannel, NpmTenant, SmpplibTenant, is_flash,
)
from programs import Node, fail, free_ports, wait_for

TIME_SECONDS = 170
CONTENTS = {
    TEXT: "Plain, with {braces} and a Euro: \u20ac",
    LONG: "A long text, of which every part has its place in the whole. " * 6,
    UNICODE: "Привет, мир \U0001f600",
    BINARY: bytes(range(1, 120)),
    FLASH: "A flash",
}
# message_state (SMPP 3.4 §5.2.28), and statuses of what cannot be done any more.
SCHEDULED, ENROUTE, DELIVERED, DELETED = 0, 1, 2, 4
CANCEL_FAILED, REPLACE_FAILED, QUERY_FAILED = 0x11, 0x13, 0x67
# What is to be there and 0 in the end, with all labels.
COUNTED = (
    "tidegate_smpp_tenant_pdus_bad_total",
    "tidegate_smpp_provider_pdus_bad_total",
    "tidegate_receipts_unmatched_total",
    "tidegate_messages_resent_in_doubt_total",
    "tidegate_responses_late_total",
)
# Octets that a phone number has no room for tell who and what a message was.
NUMBERS = {}


def number(tenant, kind):
    return NUMBERS.setdefault((tenant, kind), f"2547{len(NUMBERS):08}")


def own_number(tenant):
    """What phones write to."""
    return {"npm": "40401", "smpplib": "40402", "kannel": "40403"}[tenant]


def content_of(kind, found):
    """What the SMSC got for one number, its parts put together by their user data headers."""
    def place(message):
        elements = [bytes.fromhex(element) for element in message["udh"]]
        numbers = [element[-1] for element in elements if element[0] in (0x00, 0x08)]
        return numbers[0] if numbers else 0

    parts = sorted(found, key=place)
    if kind == BINARY:
        return b"".join(bytes.fromhex(part["hex"]) for part in parts)
    return "".join(part["text"] for part in parts)


def check_at_smsc(smsc, tenant, kind):
    """Waits until all of a message is there; how many parts it has."""
    to = number(tenant.name, kind)

    def whole():
        found = [message for message in smsc.of("message") if message["to"] == to]
        return found if found and content_of(kind, found) == CONTENTS[kind] else None

    try:
        found = wait_for(f"{tenant.name}'s {kind} message at the SMSC", whole)
    except AssertionError as error:
        fail(f"{error}; there is: {[message for message in smsc.of('message') if message['to'] == to]}")
    codings = {message["data_coding"] for message in found}
    if {is_flash(coding) for coding in codings} != {kind == FLASH}:
        fail(f"{tenant.name}'s {kind} message came with data_coding {codings}")
    return len(found)


def check_told(tenant, kind):
    """Each part has its response, and each id its receipt."""
    to = number(tenant.name, kind)
    ids = wait_for(f"a response to {tenant.name}'s {kind} message", lambda: tenant.answers(to))
    receipts = wait_for(
        f"{tenant.name}'s receipts of its {kind} message",
        lambda: len(tenant.receipts(to)) >= len(ids) and tenant.receipts(to),
    )
    told = sorted(receipt_id for receipt_id, _ in receipts)
    if tenant.name != "kannel" and told != sorted(tenant.answers(to)):
        fail(f"{tenant.name} was given {ids} and told of {told}")
    for _, text in receipts:
        if "stat:DELIVRD" not in text:
            fail(f"{tenant.name}'s receipt says {text!r}")
    return len(ids), len(receipts)


def run(binary, work, home):
    http_port, smpp_port, ops_port, provider_port, *kannel_ports = free_ports(7)
    modules = os.path.join(work, "node_modules")
    running = []
    try:
        capture = Capture(home, [smpp_port, provider_port])
        running.append(capture)
        smsc = Node("smsc", home, modules, "smsc", provider_port)
        running.append(smsc)
        wait_for("npm's SMSC", lambda: smsc.of("listening"))
        tenants = {name: own_number(name) for name in (NpmTenant.name, SmpplibTenant.name, Kannel.name)}
        gateway = Gateway(binary, home, (http_port, smpp_port, ops_port), provider_port, tenants)
        running.append(gateway.program)
        wait_for("the gateway", gateway.is_ready)
        bound = wait_for("the gateway's binds", lambda: len(smsc.of("bound")) == len(PROVIDERS) and smsc.of("bound"))
        if sorted(bind["system_id"] for bind in bound) != sorted(PROVIDERS) or any(
            bind["password"] != PASSWORD for bind in bound
        ):
            fail(f"the gateway bound as {bound}")
        peers = []
        for start in (
            lambda: NpmTenant(home, modules, smpp_port),
            lambda: SmpplibTenant(smpp_port),
            lambda: Kannel(home, smpp_port, kannel_ports),
        ):
            peers.append(start())
            running.append(peers[-1])
        outbound(smsc, peers)
        ways(smsc, peers[0])
        together(smsc, gateway)
        inbound(smsc, peers)
        operations(smsc, peers[0], peers[1])
        keep_alive(smsc, peers[0])
        check_gateway(gateway)
        for peer in reversed(peers):
            peer.end()
        code = gateway.program.end()
        if code != 0:
            fail(f"the gateway ended with {code}; see {gateway.program.log}")
        capture.check()
    finally:
        for each in reversed(running):
            try:
                each.end()
            except Exception as error:  # What is left is killed with us.
                print(f"tests/interop: {each} did not end: {error}", file=sys.stderr)


def outbound(smsc, peers):
    for peer in peers:
        for kind in KINDS:
            peer.send(kind, number(peer.name, kind), CONTENTS[kind])
    for peer in peers:
        for kind in KINDS:
            parts = check_at_smsc(smsc, peer, kind)
            answers, receipts = check_told(peer, kind)
            print(f"{peer.name:8} {kind:8} sent: {answers} responses, {parts} parts at the SMSC, {receipts} receipts")


def inbound(smsc, peers):
    """A phone for each kind of message writes to each tenant."""
    for peer in peers:
        for kind in KINDS:
            phone = number(f"{peer.name}'s phone", kind)
            for pdu in as_sent_by_phone(kind):
                smsc.order(
                    "deliver_sm", source_addr_ton=1, source_addr_npi=1, source_addr=phone,
                    dest_addr_ton=0, dest_addr_npi=1, destination_addr=own_number(peer.name), **pdu,
                )
    for peer in peers:
        for kind in KINDS:
            phone = number(f"{peer.name}'s phone", kind)
            found = wait_for(f"a {kind} message from a phone at {peer.name}", lambda: peer.inbound(phone))
            if found != [(CONTENTS[kind], kind == FLASH)]:
                fail(f"{peer.name} reads a {kind} message from a phone as {found}")
        print(f"{peer.name:8} has what phones wrote, of {len(KINDS)} kinds")


def as_sent_by_phone(kind):
    content = CONTENTS[kind]
    if kind == LONG:
        # The last part first, then the others.
        cuts = [content[start : start + 153] for start in range(0, len(content), 153)]
        parts = [(number, part) for number, part in enumerate(cuts, start=1)]
        return [
            {"text": part, "udh": f"05000342{len(parts):02x}{number:02x}", "data_coding": 0}
            for number, part in reversed(parts)
        ]
    if kind == BINARY:
        return [{"hex": content.hex(), "data_coding": BINARY_CODING}]
    coding = {TEXT: 0, UNICODE: UNICODE_CODING, FLASH: FLASH_CODING}[kind]
    return [{"text": content, "data_coding": coding}]


def ways(smsc, npm):
    """A long message goes to each provider as its entry says, and its receipt comes back."""
    for way, prefix in WAYS.items():
        to = f"{prefix}99999999"[:12]
        npm.send(LONG, to, CONTENTS[LONG])
        found = wait_for(f"a long message by {way}", lambda: [found for found in smsc.of("message") if found["to"] == to])
        wait_for(f"the receipt of a long message by {way}", lambda: npm.receipts(to))
        found = [found for found in smsc.of("message") if found["to"] == to]
        if way == "payload":
            is_right = len(found) == 1 and found[0]["is_payload"] and found[0]["text"] == CONTENTS[LONG]
        elif way == "sar":
            parts = sorted((tuple(part["sar"]), part["text"]) for part in found)
            is_right = [sar[1:] for sar, _ in parts] == [(3, 1), (3, 2), (3, 3)] and not any(p["udh"] for p in found)
            is_right = is_right and "".join(text for _, text in parts) == CONTENTS[LONG]
        else:
            element = {"udh8": "0003", "udh16": "0804"}[way]
            is_right = len(found) == 3 and all(part["udh"][0].startswith(element) for part in found)
            is_right = is_right and content_of(LONG, found) == CONTENTS[LONG]
        if not is_right:
            fail(f"a long message by {way} came as {found}")
    print(f"long messages went by {', '.join(WAYS)}")


def together(smsc, gateway):
    """A batch of one text goes as one submit_multi; who is refused in its answer fails, and the others have their receipts."""
    prefix = PROVIDERS[MULTI]
    numbers = [f"{prefix}{place:07}" for place in (1, 2, 99, 3)]
    ids = gateway.send_all("npm", numbers, CONTENTS[UNICODE])
    sent = wait_for("a submit_multi at the SMSC", lambda: smsc.of("multi"))
    if len(sent) != 1 or sent[0]["to"] != numbers or sent[0]["text"] != CONTENTS[UNICODE]:
        fail(f"a batch to {numbers} came as {sent}")
    for to, message_id in zip(numbers, ids):
        wanted = "failed" if to.endswith("99") else "delivered"
        wait_for(f"{to} to be {wanted}", lambda: gateway.state("npm", message_id) == wanted)
    print(f"{len(numbers)} messages went as one, and each came to its own end")


def operations(smsc, npm, smpplib):
    """query_sm, replace_sm and cancel_sm: of what has been delivered, of what waits, and of what nobody knows."""
    state = smpplib.query(smpplib.answers(number(smpplib.name, TEXT))[0])
    if state != DELIVERED:
        fail(f"smpplib is told that its message is in state {state}")
    source = {"source_addr_ton": 5, "source_addr": "NPM"}
    delivered = {"message_id": npm.answers(number(npm.name, TEXT))[0], **source}
    destination = {"dest_addr_ton": 1, "dest_addr_npi": 1, "destination_addr": "254788888888"}
    waits = npm.ask(
        "submit_sm", **source, **destination, schedule_delivery_time="000000010000000R", text="later", data_coding=0
    )
    waiting = {"message_id": waits["message_id"], **source}
    for command, pdu, statuses, states in (
        ("query_sm", delivered, {0}, {DELIVERED}),
        ("cancel_sm", {**delivered, "destination_addr": ""}, {CANCEL_FAILED}, None),
        ("replace_sm", {**delivered, "text": "other"}, {REPLACE_FAILED}, None),
        ("query_sm", waiting, {0}, {SCHEDULED, ENROUTE}),
        ("replace_sm", {**waiting, "text": "much later", "schedule_delivery_time": "000000020000000R"}, {0}, None),
        ("cancel_sm", {**waiting, "destination_addr": ""}, {0}, None),
        ("query_sm", waiting, {0}, {DELETED}),
        ("query_sm", {**waiting, "message_id": "nobody"}, {QUERY_FAILED}, None),
    ):
        answer = npm.ask(command, **pdu)
        if answer["status"] not in statuses or (states and answer["message_state"] not in states):
            fail(f"npm's {command} was answered with {answer}")
    if any(message["to"] == "254788888888" for message in smsc.of("message")):
        fail("a message that was cancelled was sent")
    print("npm and smpplib can query, replace and cancel")


def keep_alive(smsc, tenant):
    """Both sides ask, and both are answered: a silence at the SMSC, and a question of the tenant's."""
    answered = tenant.ask("enquire_link")
    if (answered["command"], answered["status"]) != ("enquire_link_resp", 0):
        fail(f"npm's enquire_link was answered with {answered}")
    wait_for("an enquire_link at the SMSC", lambda: smsc.of("enquired"))


def check_gateway(gateway):
    """What the gateway counts of what it could not read, match or send: each of it is counted, and nothing was."""
    metrics = gateway.metrics()
    for name in COUNTED:
        found = {series: value for series, value in metrics.items() if series.partition("{")[0] == name}
        if not found:
            fail(f"the gateway does not count {name}")
        if any(found.values()):
            fail(f"the gateway counts {found}")


def out_of_time(*_):
    fail(f"the suite was not through after {TIME_SECONDS} s")


def main():
    binary, work = sys.argv[1:]
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(TIME_SECONDS)
    began = time.monotonic()
    home = tempfile.mkdtemp(prefix="tidegate-interop-")
    try:
        run(binary, work, home)
    except BaseException:
        print(f"tests/interop: kept {home}", file=sys.stderr)
        raise
    shutil.rmtree(home)
    print(f"tests/interop: all fine after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
