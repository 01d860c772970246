"""Sealed fields, person-sealed bytes, streams and blind indexes (formats.md 1, 2, 4 and 5)."""

import hmac
import os
import unicodedata

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .base import b64, equal, fold, fold_row, hkdf, lp, mac, require, u32, u64, unb64

PADDED = 0x10
SEGMENT, STREAM_TAG, STREAM_SALT, NONCE_PREFIX = 64 * 1024, 32, 32, 7
HEADER = 1 + STREAM_SALT + NONCE_PREFIX


def field_ad(level, tenant, table, column, owner="", row=""):
    """Section 1: parts above the level are empty."""
    depth = level & 0x0F
    return (lp("crmguard/field/v1") + bytes([level]) + lp(tenant, table, column)
            + lp(fold(owner) if depth >= 2 else "", fold_row(row) if depth >= 3 else ""))


def pad(value, bucket):
    """Section 1: value ‖ 0x80 ‖ 0x00... to a multiple of bucket; 0 is the Padmé length."""
    size = len(value) + 1
    if bucket:
        size = -(-size // bucket) * bucket
    elif size > 1:
        exponent = size.bit_length() - 1
        last = max(0, exponent - exponent.bit_length())
        size = -(-size // (1 << last)) * (1 << last)
    return (value + b"\x80").ljust(size, b"\0")


def unpad(padded):
    stripped = padded.rstrip(b"\0")
    require(stripped.endswith(b"\x80"), "padding")
    return stripped[:-1]


def seal(key, generation, ad, plain):
    """Section 2: 0x01 ‖ generation (4) ‖ IV (12) ‖ ciphertext ‖ tag (16)."""
    nonce = os.urandom(12)
    return b"\x01" + u32(generation) + nonce + AESGCM(key).encrypt(nonce, plain, ad)


def open_sealed(keys, tenant, owner, ad, sealed):
    """Opens under the key that the prefix names, and no other."""
    require(len(sealed) >= 33 and sealed[0] == 1, "no sealed field")
    key = keys.person_key(tenant, owner, int.from_bytes(sealed[1:5], "big"))
    return AESGCM(key).decrypt(sealed[5:17], sealed[17:], ad)


def text_form(sealed):
    """Section 2: cg1. ‖ generation in hex ‖ . ‖ base64url of the whole."""
    return "cg1." + sealed[1:5].hex() + "." + b64(sealed)


def parse_text(text):
    sealed = unb64(text[13:])
    require(text_form(sealed) == text, "no text form")
    return sealed


def personseal_ad(purpose, tenant, owner, ad):
    """Section 2: bytes sealed for other packages."""
    return lp("crmguard/personseal/v1", purpose, tenant, fold(owner), ad)


def stream_key(person_key):
    """Section 4."""
    return hkdf(person_key, lp("crmguard/stream/v1"))


def stream_ad(tenant, table, column, owner, row):
    return lp("crmguard/streamad/v1") + field_ad(3, tenant, table, column, owner, row)


def _segment_keys(person_key, salt, ad):
    """Tink's AES256-CTR-HMAC-SHA256: AES key and HMAC key of one stream."""
    keys = hkdf(stream_key(person_key), ad, 64, salt)
    return keys[:32], keys[32:]


def _segment_nonce(prefix, number, last):
    return prefix + u32(number) + (b"\x01" if last else b"\x00") + b"\0\0\0\0"


def _ctr(key, nonce, data):
    return Cipher(algorithms.AES(key), modes.CTR(nonce)).encryptor().update(data)


def seal_stream(person_key, generation, ad, name, content):
    """Section 4: 0x02 ‖ generation ‖ header ‖ segments of 64 KiB, the first shorter by the header."""
    salt, prefix = os.urandom(STREAM_SALT), os.urandom(NONCE_PREFIX)
    aes_key, mac_key = _segment_keys(person_key, salt, ad)
    plain = u64(len(content)) + lp(name) + content
    out, at, number = [b"\x02" + u32(generation) + bytes([HEADER]) + salt + prefix], 0, 0
    while True:
        room = SEGMENT - STREAM_TAG - (HEADER if number == 0 else 0)
        part, at = plain[at:at + room], at + room
        last = at >= len(plain)
        nonce = _segment_nonce(prefix, number, last)
        text = _ctr(aes_key, nonce, part)
        out += [text, mac(mac_key, nonce + text)]
        if last:
            return b"".join(out)
        number += 1


def open_stream(keys, tenant, owner, ad, sealed):
    """Returns name and content of a stream; a cut, changed or longer one is refused."""
    require(sealed[0] == 2 and sealed[5] == HEADER, "no stream begins here")
    person_key = keys.person_key(tenant, owner, int.from_bytes(sealed[1:5], "big"))
    body = sealed[5:]
    prefix = body[1 + STREAM_SALT:HEADER]
    aes_key, mac_key = _segment_keys(person_key, body[1:1 + STREAM_SALT], ad)
    plain, at, number = [], HEADER, 0
    while at < len(body):
        room = SEGMENT - (HEADER if number == 0 else 0)
        segment, at = body[at:at + room], at + room
        nonce = _segment_nonce(prefix, number, at >= len(body))
        text, tag = segment[:-STREAM_TAG], segment[-STREAM_TAG:]
        equal(tag, mac(mac_key, nonce + text), "segment %d" % number)
        plain.append(_ctr(aes_key, nonce, text))
        number += 1
    return _stream_parts(b"".join(plain))


def _stream_parts(plain):
    name_end = 12 + int.from_bytes(plain[8:12], "big")
    content = plain[name_end:]
    require(len(content) == int.from_bytes(plain[:8], "big"), "the size differs")
    return plain[12:name_end].decode(), content


IGNORABLE = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
]
BLANKS = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u2800\u3000"


def normalise(rule, value):
    """Section 5: the normalisers."""
    if rule == "exact/1":
        return value
    if rule == "email/1":
        value = value.strip(" \t\r\n")
        return ascii_lower(value) if _unknown(value) else nfc(ascii_lower(nfc(value)))
    if rule == "email/2":
        return _email2(value)
    if rule == "email-domain/1":
        host = _email2(value).rpartition("@")[2].lstrip(BLANKS)
        return _email2("@" + host)[1:]
    require(rule in ["last%d/1" % n for n in range(2, 16)], "an unknown normaliser")
    count = int(rule[4:-2])
    digits = [str(unicodedata.decimal(c)) for c in value if unicodedata.category(c) == "Nd"]
    return "".join(digits[-count:]) if len(digits) >= count else ""


def ascii_lower(value):
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in value)


def _email2(value):
    """Each step again until none changes anything."""
    while True:
        before = value
        value = "".join(c for c in value if not _hidden(ord(c))).strip(BLANKS)
        if _unknown(value):
            value = ascii_lower(value)
        else:
            value = unicodedata.normalize("NFKC", value).casefold()
        local, at, host = value.rpartition("@")
        value = local + at + host.replace("\u3002", ".").rstrip(BLANKS + ".") if at else value
        if value == before:
            return value


def nfc(value):
    return unicodedata.normalize("NFC", value)


def _unknown(value):
    """Unicode 15.0 decides; an interpreter with an older one knows a few characters less."""
    return any(unicodedata.category(c) == "Cn" for c in value)


def _hidden(c):
    return c < 0x20 or 0x7F <= c <= 0x9F or any(lo <= c <= hi for lo, hi in IGNORABLE)


def index_value(root, tenant, table, index, version, rule, bits, *parts):
    """Section 5: the leftmost bits, an integer up to 63 and bytes above."""
    info = lp("crmguard/index/v1", tenant, table, index) + u32(version) + lp(rule) + bits.to_bytes(2, "big")
    digest = hmac.new(hkdf(root, info), lp(*parts), "sha256").digest()
    if bits <= 63:
        return int.from_bytes(digest[:8], "big") >> (64 - bits)
    return digest[:bits // 8]
