"""What all formats share (formats.md, preamble and "General")."""

import base64
import hashlib
import hmac
import json
import re
import struct
from decimal import Decimal

ABSENT, NULL, TEXT, INTEGER, BOOLEAN, BYTES, TIME, JSON, DECIMAL, FLOAT, DATE = range(11)


UUID = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"


class Refused(Exception):
    """The bytes are not what the format says."""


def require(condition, what):
    """Refuses unless the condition holds; unlike assert it stays under -O."""
    if not condition:
        raise Refused(what)


def fold(owner):
    """Section 0.1: a UUID of 36 characters in small letters, every other id as it is."""
    return owner.lower() if re.fullmatch(UUID, owner) else owner


def fold_row(row):
    """Section 1: each part between / of a row's key."""
    return "/".join(fold(part) for part in row.split("/"))


def u32(number):
    return struct.pack(">I", number)


def u64(number):
    return struct.pack(">Q", number)


def lp(*parts):
    """LP(x): a 4-byte big-endian length, then the bytes."""
    out = b""
    for part in parts:
        if isinstance(part, str):
            part = part.encode()
        out += u32(len(part)) + part
    return out


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def equal(got, want, what):
    """Compares secrets in constant time."""
    require(hmac.compare_digest(got, want), what + " does not verify")


def expand(prk, info, length):
    """The second half of HKDF-SHA256 (RFC 5869)."""
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = mac(prk, block + info + bytes([counter]))
        out += block
        counter += 1
    return out[:length]


def hkdf(root, info, length=32, salt=bytes(32)):
    """HKDF-SHA256; an empty salt is 32 zero bytes."""
    return expand(mac(salt, root), info, length)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    """base64url without padding, in its one spelling."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    require(b64(data) == text, "another spelling of base64url")
    return data


def std64(data):
    return base64.b64encode(data).decode()


def unstd64(text):
    data = base64.b64decode(text, validate=True)
    require(std64(data) == text, "another spelling of base64")
    return data


def canonical(value):
    """RFC 8785 for the profile of "JSON that is hashed or signed"."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _no(_):
    raise Refused("a number that is no integer")


def parse(data):
    """Reads canonical JSON and refuses every other spelling of it."""
    value = json.loads(data.decode(), parse_float=_no, parse_constant=_no)
    require(canonical(value) == data, "JSON is not canonical")
    _profile(value, 0)
    return value


def _profile(value, depth):
    require(depth <= 16 and value is not None, "JSON is too deep, or holds null")
    if isinstance(value, dict):
        require(all(name.isascii() for name in value), "a member name that is not ASCII")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _profile(item, depth + 1)
    elif isinstance(value, int):
        require(abs(value) < 1 << 53, "an integer beyond 2^53-1")


def json_value(text):
    """Typed value 7: RFC 8785, but each number with all of its digits."""
    return _value(json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=_no, object_pairs_hook=_members)).encode()


def _members(pairs):
    require(len({name for name, _ in pairs}) == len(pairs), "a name stands twice")
    return dict(pairs)


def _value(value):
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(_value(name) + ":" + _value(value[name]) for name in names) + "}"
    return json.dumps(value, ensure_ascii=False)


def _number(number):
    """The notation of ECMAScript, 6.1.6.1.20, over exact digits."""
    sign, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    point = len(text) + exponent
    text, sign = text.rstrip("0"), "-" * sign
    if not text:
        require(not sign, "the number -0")
        return "0"
    if len(text) <= point <= 21:
        return sign + text + "0" * (point - len(text))
    if 0 < point <= 21:
        return sign + text[:point] + "." + text[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + text
    return sign + text[0] + ("." + text[1:] if text[1:] else "") + "e%+d" % (point - 1)


def without(entry, member="mac"):
    """The canonical bytes of an object without one member."""
    return canonical({k: v for k, v in entry.items() if k != member})


def typed_fields(fields):
    """n (4) ‖ n × (LP(name) ‖ type ‖ LP(value)), by name bytes (section 7)."""
    out = u32(len(fields))
    for name, kind, value in sorted(fields, key=lambda field: field[0].encode()):
        out += lp(name) + bytes([kind]) + lp(value)
    return out


def bit_flips(data, places=24):
    """Copies of data with one bit turned: at both ends and in between."""
    step = max(1, len(data) // places)
    for at in sorted({0, len(data) - 1, *range(0, len(data), step)}):
        copy = bytearray(data)
        copy[at] ^= 1 << at % 8
        yield bytes(copy)
