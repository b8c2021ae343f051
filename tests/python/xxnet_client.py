#!/usr/bin/env python3
"""A client of xxnet's messages, written from core/WIRE.md alone, with the standard library.

    xxnet_client.py selftest GOLDEN          read the golden vectors in that folder
    xxnet_client.py talk HOST:PORT KEY N ID  send N dicts and take N dicts, in order, whatever breaks; KEY is 64 hex digits,
                                             ID the instance's 32

"section n" in comments is that page's.
"""

import collections
import hashlib
import hmac
import os
import random
import select
import socket
import struct
import sys
import time
import zlib

HELLO, WELCOME, CONFIRM, REFUSE, PING, PONG, GOODBYE, USE, USING, ACK = range(1, 11)
DICT, RAW = 16, 17
MESSAGES = 7
VERSION = 1
HEADER = 34
MAX_DATA = 4 << 20
STRANGER_DATA = 2048
WINDOW = 4 << 20
TIMEOUT_MS = 60_000
# Refusals after which a session is over, and those before which trying again helps nobody (section 4).
WRONG_KEY, OTHER_VERSION, NO_KIND, OTHER_INSTANCE, MYSELF, MALFORMED, STALE = 1, 2, 3, 4, 5, 8, 10
FINAL = (WRONG_KEY, OTHER_VERSION, NO_KIND, OTHER_INSTANCE, MYSELF)


class Malformed(Exception):
    """What came is not what the page says."""


class LinkOver(Exception):
    """This link is over; the session may go on."""


class Refused(LinkOver):
    def __init__(self, code, text):
        super().__init__(f"refused ({code}): {text}")
        self.code = code


class SessionOver(Exception):
    """The session is over; what was sent and not acknowledged may or may not have arrived."""

    def __init__(self, why, undelivered):
        super().__init__(f"{why}; {len(undelivered)} messages undelivered")
        self.undelivered = undelivered


# ---- section 1: packs ----

Pack = collections.namedtuple("Pack", "type sequence acknowledgement data bulk")


def encode_pack(kind, data=b"", sequence=0, acknowledgement=0, bulk=b""):
    front = struct.pack("<HIIHHQQ", 32, len(data) + len(bulk), len(data), kind, 0, sequence, acknowledgement)
    return front + struct.pack("<I", zlib.crc32(data, zlib.crc32(front))) + data + bulk


class Packs:
    """Cuts a stream into packs."""

    def __init__(self, limit):
        self.limit = limit
        self.bytes = bytearray()

    def feed(self, data):
        self.bytes += data

    def next(self):
        """The next pack, or None if it is not whole yet."""
        if len(self.bytes) < HEADER:
            if len(self.bytes) >= 2 and not 32 <= self.bytes[0] | self.bytes[1] << 8 <= 512:
                raise Malformed("header size")
            return None
        size, length, checked, kind, flags, sequence, acknowledgement, checksum = struct.unpack_from(
            "<HIIHHQQI", self.bytes
        )
        if not 32 <= size <= 512:
            raise Malformed("header size")
        if length > self.limit:
            raise Malformed("more data than is taken")
        if checked > length or flags:
            raise Malformed("header")
        end = 2 + size + length
        if len(self.bytes) < end:
            return None
        whole = bytes(self.bytes[:end])
        del self.bytes[:end]
        crc = zlib.crc32(whole[HEADER : 2 + size], zlib.crc32(whole[:30]))
        if zlib.crc32(whole[2 + size : 2 + size + checked], crc) != checksum:
            raise Malformed("checksum")
        if kind < DICT and checked < length:
            raise Malformed("bulk in a control pack")
        at = 2 + size + checked
        return Pack(kind, sequence, acknowledgement, whole[2 + size : at], whole[at:])


# ---- section 2: encoding ----


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Malformed("truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def count(self, least):
        count = self.number("Q")
        if count > (len(self.data) - self.at) // least:
            raise Malformed("truncated")
        return count

    def string(self):
        try:
            return self.take(self.count(1)).decode()
        except UnicodeDecodeError:
            raise Malformed("not UTF-8") from None

    def option(self, read):
        tag = self.number("B")
        if tag > 1:
            raise Malformed("option")
        return read() if tag else None

    def address(self):
        tag = self.number("I")
        if tag == 1:
            return self.string(), self.number("H")
        if tag == 2:
            return self.string(), None  # the path of a Unix socket
        if tag != 0:
            raise Malformed("address")
        family = self.number("I")
        if family > 1:
            raise Malformed("address")
        host = socket.inet_ntop(*((socket.AF_INET, self.take(4)) if family == 0 else (socket.AF_INET6, self.take(16))))
        return host, self.number("H")

    def end(self):
        if self.at != len(self.data):
            raise Malformed("bytes left over")


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def address(host, port):
    if port is None:  # the path of a Unix socket
        return struct.pack("<I", 2) + string(host)
    for tag, family in enumerate((socket.AF_INET, socket.AF_INET6)):
        try:
            return struct.pack("<II", 0, tag) + socket.inet_pton(family, host) + struct.pack("<H", port)
        except OSError:
            pass
    return struct.pack("<I", 1) + string(host) + struct.pack("<H", port)


def option(value):
    return b"\0" if value is None else b"\1" + value


MAX_DEPTH = 64


def encode_dict(entries, depth=MAX_DEPTH):
    if depth == 0:
        raise ValueError("nested too deep")
    out = [struct.pack("<Q", len(entries))]
    for key in sorted(entries, key=str.encode):
        out += [string(key), encode_value(entries[key], depth - 1)]
    return b"".join(out)


def encode_value(value, depth):
    if value is None:
        return struct.pack("<I", 0)
    if isinstance(value, bool):
        return struct.pack("<IB", 1, value)
    if isinstance(value, int):
        return struct.pack("<Iq", 2, value)
    if isinstance(value, float):
        return struct.pack("<Id", 3, value)
    if isinstance(value, str):
        return struct.pack("<I", 4) + string(value)
    if isinstance(value, bytes):
        return struct.pack("<IQ", 5, len(value)) + value
    if isinstance(value, list):
        if depth == 0:
            raise ValueError("nested too deep")
        return struct.pack("<IQ", 6, len(value)) + b"".join(encode_value(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return struct.pack("<I", 7) + encode_dict(value, depth)
    raise TypeError(f"no value: {value!r}")


def decode_dict(data):
    reader = Reader(data)
    entries = read_dict(reader, MAX_DEPTH)
    reader.end()
    return entries


def read_dict(reader, depth):
    if depth == 0:
        raise Malformed("nested too deep")
    entries, last = {}, None
    for _ in range(reader.count(12)):
        key = reader.string()
        if last is not None and last >= key.encode():
            raise Malformed("keys out of order")
        last = key.encode()
        entries[key] = read_value(reader, depth - 1)
    return entries


def read_value(reader, depth):
    tag = reader.number("I")
    if tag == 0:
        return None
    if tag == 1:
        value = reader.number("B")
        if value > 1:
            raise Malformed("bool")
        return bool(value)
    if tag == 2:
        return reader.number("q")
    if tag == 3:
        return reader.number("d")
    if tag == 4:
        return reader.string()
    if tag == 5:
        return reader.take(reader.count(1))
    if tag == 6:
        if depth == 0:
            raise Malformed("nested too deep")
        return [read_value(reader, depth - 1) for _ in range(reader.count(4))]
    if tag == 7:
        return read_dict(reader, depth)
    raise Malformed(f"unknown tag {tag}")


# ---- sections 3 and 4: handshake and refusals ----

Hello = collections.namedtuple("Hello", "instance expected kind epoch connection address name max_data nonce")
Resume = collections.namedtuple("Resume", "generation known received window timeout")
Welcome = collections.namedtuple("Welcome", "instance connection address name max_data nonce resume proof")
Refusal = collections.namedtuple("Refusal", "version instance code text")


def encode_hello(hello):
    where = option(None if hello.address is None else address(*hello.address))
    return b"".join(
        (
            b"xxn1",
            struct.pack("<H", VERSION),
            hello.instance,
            hello.expected,
            struct.pack("<HQQ", hello.kind, hello.epoch, hello.connection),
            where,
            string(hello.name),
            struct.pack("<I", hello.max_data),
            hello.nonce,
        )
    )


def decode_hello(data):
    reader = Reader(data)
    if reader.take(4) != b"xxn1" or reader.number("H") != VERSION:
        raise Malformed("hello")
    hello = Hello(
        reader.take(16),
        reader.take(16),
        reader.number("H"),
        reader.number("Q"),
        reader.number("Q"),
        reader.option(reader.address),
        reader.string(),
        reader.number("I"),
        reader.take(32),
    )
    reader.end()
    return hello


def encode_resume(resume):
    return struct.pack("<QQQII", *resume)


def decode_resume(data):
    return Resume(*struct.unpack("<QQQII", data))


def proof(key, label, *parts):
    mac = hmac.new(key, label, hashlib.sha256)
    for part in parts:
        mac.update(struct.pack("<I", len(part)) + part)
    return mac.digest()


def encode_welcome(key, hello, welcome):
    """The proof in `welcome` is made here."""
    where = option(None if welcome.address is None else address(*welcome.address))
    body = b"".join(
        (
            struct.pack("<H", VERSION),
            welcome.instance,
            struct.pack("<Q", welcome.connection),
            where,
            string(welcome.name),
            struct.pack("<I", welcome.max_data),
            welcome.nonce,
            encode_resume(welcome.resume),
        )
    )
    return body + proof(key, b"xxnet welcome", hello, body)


def decode_welcome(key, hello, data):
    reader = Reader(data)
    if reader.number("H") != VERSION:
        raise Refused(OTHER_VERSION, "the protocol versions differ")
    welcome = Welcome(
        reader.take(16),
        reader.number("Q"),
        reader.option(reader.address),
        reader.string(),
        reader.number("I"),
        reader.take(32),
        decode_resume(reader.take(32)),
        reader.take(32),
    )
    reader.end()
    if not hmac.compare_digest(welcome.proof, proof(key, b"xxnet welcome", hello, data[:-32])):
        raise Refused(WRONG_KEY, "the cluster keys differ")
    return welcome


def encode_confirm(key, hello, welcome, resume):
    body = encode_resume(resume)
    return body + proof(key, b"xxnet confirm", hello, welcome, body)


def encode_refuse(refusal):
    return struct.pack("<H", refusal.version) + refusal.instance + struct.pack("<H", refusal.code) + string(refusal.text)


def decode_refuse(data):
    reader = Reader(data)
    refusal = Refusal(reader.number("H"), reader.take(16), reader.number("H"), reader.string())
    reader.end()
    return refusal


# ---- sections 5 to 7: a session ----


class Link:
    """One TCP connection, established."""

    def __init__(self, stream, packs, cursor, max_data):
        self.stream, self.packs, self.cursor, self.max_data = stream, packs, cursor, max_data
        self.out = bytearray()
        self.heard = self.spoke = time.monotonic()
        self.asked = None

    def close(self):
        self.stream.close()


class Session:
    """Messages with whatever listens at an address; dials again whenever the link breaks."""

    def __init__(self, at, key, name="python", instance=None):
        self.at, self.key, self.name = at, key, name
        self.instance = instance or os.urandom(16)
        self.peer = None
        self.epoch, self.generation, self.known = 0, 1, 0
        # What is not acknowledged, from number `acknowledged` + 1 on.
        self.queue = collections.deque()
        self.acknowledged, self.sent, self.in_flight, self.window = 0, 0, 0, 0
        self.inbox = collections.deque()
        self.received, self.taken, self.told, self.repeat = 0, 0, 0, False
        self.taken_bytes, self.untaken_bytes = 0, 0
        self.ack_at = None
        self.used, self.link, self.links, self.resent = 0, None, 0, 0
        self.progress, self.pause, self.without = False, 0.2, time.monotonic()
        self.timeout = TIMEOUT_MS / 1000

    # -- what an application calls --

    def send(self, kind, data):
        self.queue.append((kind, data))

    def recv(self, timeout):
        """The next message, which is taken with that; None if none comes in time."""
        end = time.monotonic() + timeout
        while not self.inbox:
            if time.monotonic() >= end:
                return None
            self.pump(end)
        kind, data = self.inbox.popleft()
        self.taken += 1
        cost = HEADER + len(data)
        self.untaken_bytes -= cost
        self.taken_bytes += cost
        if self.ack_at is None:
            self.ack_at = time.monotonic() + 0.001
        return kind, data

    def flush(self, timeout):
        """Waits until everything is acknowledged; answers whether it is."""
        end = time.monotonic() + timeout
        while self.queue and time.monotonic() < end:
            self.pump(end)
        return not self.queue

    def close(self):
        """Section 5, the end."""
        if self.link is None:
            self.dial()
        link = self.link
        link.out += encode_pack(ACK, acknowledgement=self.taken) + encode_pack(GOODBYE)
        try:
            link.stream.settimeout(2)
            link.stream.sendall(link.out)
            link.stream.shutdown(socket.SHUT_WR)
            while link.stream.recv(65536):
                pass
        except OSError:
            pass
        link.close()
        self.link = None

    # -- the machine --

    def pump(self, until):
        """Does what can be done, and waits at most until then for more."""
        if self.link is None:
            self.dial()
        try:
            self.turn(until)
        except Malformed as error:
            self.refuse(MALFORMED, str(error))
            self.broke()
        except (OSError, LinkOver):
            self.broke()

    def broke(self):
        self.link.close()
        self.link, self.without = None, time.monotonic()
        # What was acknowledged on it may be lost.
        self.repeat = self.taken > 0
        if self.progress:
            self.pause = 0.2
        else:
            self.wait()

    def wait(self):
        time.sleep(self.pause * random.uniform(0.5, 1))
        self.pause = min(self.pause * 2, 10)

    def over(self, why):
        undelivered = list(self.queue)
        raise SessionOver(why, undelivered)

    def refuse(self, code, text):
        """Tells the other end why, if it can still hear; it makes no difference to us."""
        try:
            self.link.stream.settimeout(1)
            refusal = Refusal(VERSION, self.instance, code, text)
            self.link.stream.sendall(encode_pack(REFUSE, encode_refuse(refusal)))
        except OSError:
            pass

    def dial(self):
        while self.link is None:
            if time.monotonic() - self.without > self.timeout:
                self.over("no link for too long")
            try:
                self.link = self.shake_hands()
                self.links += 1
                return
            except Refused as refused:
                if refused.code in FINAL:
                    self.over(str(refused))
                self.wait()
            except (OSError, LinkOver, Malformed):
                self.wait()

    def shake_hands(self):
        self.epoch += 1
        hello = encode_hello(
            Hello(
                self.instance, self.peer or bytes(16), MESSAGES, self.epoch, 1, None, self.name, MAX_DATA, os.urandom(32)
            )
        )
        stream = socket.create_connection(self.at, timeout=5)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.sendall(encode_pack(HELLO, hello))
            packs, end = Packs(STRANGER_DATA), time.monotonic() + 5
            while (pack := packs.next()) is None:
                stream.settimeout(max(end - time.monotonic(), 0.001))
                data = stream.recv(4096)
                if not data:
                    raise LinkOver("closed")
                packs.feed(data)
            if pack.type == REFUSE:
                refusal = decode_refuse(pack.data)
                raise Refused(refusal.code, refusal.text)
            if pack.type != WELCOME:
                raise Malformed("another pack than WELCOME")
            welcome = decode_welcome(self.key, hello, pack.data)
            link = self.judge(stream, packs, hello, pack.data, welcome)
            stream.setblocking(False)
            return link
        except BaseException:
            stream.close()
            raise

    def judge(self, stream, packs, hello, welcome_data, welcome):
        """Section 5, resuming: the dialler's side."""
        if self.peer is not None and welcome.instance != self.peer:
            raise Refused(OTHER_INSTANCE, "another instance runs there")
        if welcome.instance == self.instance:
            raise Refused(MYSELF, "this is myself")
        theirs = welcome.resume
        if theirs.generation == 0 or theirs.window == 0:
            raise Malformed("no session")
        if theirs.generation < self.known:
            raise LinkOver("of the past")
        count = 0
        if theirs.generation > self.known:
            if self.known:
                self.over("the peer has ended the session")
            self.known, self.peer = theirs.generation, welcome.instance
            self.window = theirs.window
            self.timeout = min(TIMEOUT_MS, theirs.timeout) / 1000
        elif theirs.known == self.generation:
            count = theirs.received
        if count > self.sent:
            raise Malformed("more received than was sent")
        resume = Resume(self.generation, self.known, self.received, WINDOW, TIMEOUT_MS)
        link = Link(stream, packs, count + 1, welcome.max_data)
        packs.limit = MAX_DATA
        link.out += encode_pack(CONFIRM, encode_confirm(self.key, hello, welcome_data, resume))
        # Section 6: the smaller id chooses.
        self.chooses = self.instance < self.peer
        if self.chooses:
            self.used += 1
            link.out += encode_pack(USE, struct.pack("<Q", self.used))
        self.progress = False
        return link

    def fill(self):
        """Messages and acknowledgements that may leave now."""
        link = self.link
        while len(link.out) < 65536:
            number = max(link.cursor, self.acknowledged + 1)
            index = number - self.acknowledged - 1
            if index >= len(self.queue) or (number > self.sent and self.in_flight >= self.window):
                break
            kind, data = self.queue[index]
            if number > self.sent:
                self.sent = number
                self.in_flight += HEADER + len(data)
            else:
                self.resent += 1
            link.cursor = number + 1
            link.out += encode_pack(kind, data, number, self.taken)
            self.acknowledgement_told()
        now = time.monotonic()
        due = self.ack_at is not None and now >= self.ack_at
        if self.repeat or self.taken_bytes >= WINDOW // 4 or (due and self.taken > self.told):
            link.out += encode_pack(ACK, acknowledgement=self.taken)
            self.acknowledgement_told()
        if now - link.spoke >= 3 and not link.out:
            link.out += encode_pack(PING)

    def acknowledgement_told(self):
        self.told, self.repeat, self.taken_bytes, self.ack_at = self.taken, False, 0, None

    def turn(self, until):
        self.fill()
        link, now = self.link, time.monotonic()
        if now - link.heard >= 3 and link.asked is None:
            link.asked = now
            link.out += encode_pack(PING)
        if link.asked is not None and now - link.asked >= 6:
            raise LinkOver("silent")
        wait = min(until - now, 1, *([self.ack_at - now] if self.ack_at else []))
        readable, writable, _ = select.select([link.stream], [link.stream] if link.out else [], [], max(wait, 0))
        if writable:
            sent = link.stream.send(link.out)
            del link.out[:sent]
            link.spoke = time.monotonic()
        if readable:
            data = link.stream.recv(65536)
            if not data:
                raise LinkOver("closed")
            link.heard, link.asked = time.monotonic(), None
            link.packs.feed(data)
            while (pack := link.packs.next()) is not None:
                self.take(pack)

    def take(self, pack):
        link = self.link
        if pack.type == PING:
            link.out += encode_pack(PONG)
        elif pack.type == PONG:
            pass
        elif pack.type == REFUSE:
            refusal = decode_refuse(pack.data)
            raise Refused(refusal.code, refusal.text)
        elif pack.type == GOODBYE:
            self.link.close()
            self.link = None
            self.over("the peer said goodbye")
        elif pack.type in (USE, USING):
            if len(pack.data) != 8 or (pack.type == USE) == self.chooses:
                raise Malformed("a word that is the other end's")
            (number,) = struct.unpack("<Q", pack.data)
            if pack.type == USING:
                if number > self.used:
                    raise Malformed("a choice that was not made")
            elif number > self.used:
                self.used = number
                link.out += encode_pack(USING, pack.data)
        elif pack.type == ACK:
            if pack.data:
                raise Malformed("data in an acknowledgement")
            self.acknowledge(pack.acknowledgement)
        elif pack.type >= DICT:
            self.acknowledge(pack.acknowledgement)
            self.arrive(pack)
        else:
            raise Malformed("an unknown pack type")

    def acknowledge(self, number):
        if number > self.sent:
            raise Malformed("an acknowledgement of what was not sent")
        while self.acknowledged < number:
            self.in_flight -= HEADER + len(self.queue.popleft()[1])
            self.acknowledged += 1
            self.progress = True

    def arrive(self, pack):
        if pack.sequence == 0 or pack.sequence > self.received + 1:
            raise Malformed("a gap in the sequence")
        if pack.sequence <= self.received:
            self.repeat = True
            return
        if self.untaken_bytes >= WINDOW:
            raise Malformed("more than the window")
        data = pack.data + pack.bulk
        self.received += 1
        self.untaken_bytes += HEADER + len(data)
        self.inbox.append((pack.type, data))
        self.progress = True


# ---- the golden vectors ----


def vectors(folder, name):
    found = {}
    with open(os.path.join(folder, name), encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("= "):
                current = found.setdefault(line[2:].rstrip("\n"), bytearray())
            elif line.split("#")[0].strip():
                current += bytes.fromhex(line.split("#")[0])
    return {name: bytes(data) for name, data in found.items()}


def only(data):
    packs = Packs(MAX_DATA)
    packs.feed(data)
    pack = packs.next()
    assert pack is not None and not packs.bytes
    return pack


def selftest(folder):
    count = 0
    for name, data in vectors(folder, "packs.hex").items():
        pack = only(data)
        again = encode_pack(pack.type, pack.data, pack.sequence, pack.acknowledgement, pack.bulk)
        assert name.startswith("long") or again == data, name
        for bit in range(8 * (len(data) - len(pack.bulk))):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            try:
                packs = Packs(1000)
                packs.feed(flipped)
                assert packs.next() is None, (name, bit)
            except Malformed:
                pass
        count += 1
    for name, data in vectors(folder, "dicts.hex").items():
        assert encode_dict(decode_dict(data)) == data, name
        count += 1
    for name, data in vectors(folder, "addresses.hex").items():
        reader = Reader(data)
        host, port = reader.address()
        reader.end()
        written = (f"unix:{host}",) if port is None else (f"{host}:{port}", f"[{host}]:{port}")
        assert address(host, port) == data and name in written, name
        count += 1
    return count + test_handshake(folder) + test_session(folder)


KEY = b"a cluster key that is 32 bytes !"


def test_handshake(folder):
    said = vectors(folder, "handshake.hex")
    hellos = {}
    for name, data in said.items():
        word, _, which = name.partition(" ")
        if word == "HELLO":
            assert encode_hello(decode_hello(data)) == data, name
            hellos[which] = data
        elif word == "WELCOME":
            welcome = decode_welcome(KEY, hellos[which], data)
            assert encode_welcome(KEY, hellos[which], welcome) == data, name
        elif word == "CONFIRM":
            resume = decode_resume(data[:32])
            assert encode_confirm(KEY, hellos[which], said["WELCOME " + which], resume) == data, name
        else:
            refusal = decode_refuse(data)
            assert encode_refuse(refusal) == data and which == str(refusal.code), name
    return len(said)


def test_session(folder):
    said = vectors(folder, "session.hex")
    hello = welcome = None
    received = {"A": 0, "B": 0}
    for name, data in said.items():
        _, who, what = name.replace(":", "").split()
        pack = only(data)
        assert encode_pack(pack.type, pack.data, pack.sequence, pack.acknowledgement) == data, name
        assert globals()[what] == pack.type, name
        if pack.type == HELLO:
            hello = pack.data
            assert encode_hello(decode_hello(hello)) == hello, name
        elif pack.type == WELCOME:
            welcome = pack.data
            assert encode_welcome(KEY, hello, decode_welcome(KEY, hello, welcome)) == welcome, name
        elif pack.type == CONFIRM:
            assert encode_confirm(KEY, hello, welcome, decode_resume(pack.data[:32])) == pack.data, name
        elif pack.type == DICT:
            assert encode_dict(decode_dict(pack.data)) == pack.data, name
            assert pack.sequence <= received[who] + 1, name
            received[who] = max(received[who], pack.sequence)
    assert received == {"A": 3, "B": 1}
    return len(said)


# ---- the command line ----


def talk(at, key, count, instance):
    host, _, port = at.rpartition(":")
    session = Session((host.strip("[]"), int(port)), bytes.fromhex(key), instance=bytes.fromhex(instance))
    for n in range(count):
        session.send(DICT, encode_dict({"n": n, "text": "x" * (n % 300)}))
    for n in range(count):
        message = session.recv(60)
        assert message is not None, f"message {n} did not come"
        kind, data = message
        got = decode_dict(data)
        assert (kind, got) == (DICT, {"back": n, "bytes": bytes([n % 256]) * (n % 200)}), (n, kind, got)
    assert session.flush(60), "not all was acknowledged"
    # What was acknowledged last may be lost with its link; only the peer knows.
    session.close()
    print(f"links={session.links} resent={session.resent} taken={session.taken}")


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "selftest":
        print(f"vectors={selftest(arguments[1])}")
    elif len(arguments) == 5 and arguments[0] == "talk":
        talk(arguments[1], arguments[2], int(arguments[3]), arguments[4])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
