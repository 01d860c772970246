#!/usr/bin/env python3
"""Reads and writes crmguard's formats with nothing of crmguard.

  formats.py vectors            recompute every published vector
  formats.py write  FILE.json   write samples that the Go tests must open
  formats.py read   FILE.json   open samples that the Go tests have written

Only hashlib, hmac and the cryptography package are used. A second program
that agrees byte for byte is what makes the formats a promise.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ROOT = bytes(range(32))


def lp(*parts):
    out = b""
    for part in parts:
        if isinstance(part, str):
            part = part.encode()
        out += struct.pack(">I", len(part)) + part
    return out


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(root, info, length=32):
    """HKDF-SHA256 (RFC 5869) with an empty salt."""
    prk = mac(b"\0" * 32, root)
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = mac(prk, block + info + bytes([counter]))
        out += block
        counter += 1
    return out[:length]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# Section 1: associated data of a sealed field.
def field_ad(level, tenant, table, column, owner="", row=""):
    depth = level & 0x0F
    return (lp("crmguard/field/v1") + bytes([level]) + lp(tenant) + lp(table) + lp(column)
            + lp(owner if depth >= 2 else "") + lp(row if depth >= 3 else ""))


# Section 2: a sealed field.
def seal_field(key, generation, ad, plaintext):
    nonce = os.urandom(12)
    return b"\x01" + struct.pack(">I", generation) + nonce + AESGCM(key).encrypt(nonce, plaintext, ad)


def open_field(key, ad, sealed):
    assert sealed[0] == 1
    return AESGCM(key).decrypt(sealed[5:17], sealed[17:], ad)


def text_form(sealed):
    return "cg1." + sealed[1:5].hex() + "." + b64(sealed)


def personseal_ad(purpose, tenant, owner, ad):
    return lp("crmguard/personseal/v1", purpose, tenant, owner, ad)


# Section 3: a wrapped person key.
def personkey_ad(tenant, owner, generation):
    return lp("crmguard/personkey/v1", tenant, owner) + struct.pack(">I", generation)


# Section 4: a stream, Tink AES256-CTR-HMAC-SHA256 with 64 KiB segments.
SEGMENT, STREAM_TAG, STREAM_SALT, NONCE_PREFIX = 64 * 1024, 32, 32, 7


def stream_key(person_key):
    return hkdf(person_key, lp("crmguard/stream/v1"))


def stream_ad(tenant, table, column, owner, row):
    return lp("crmguard/streamad/v1") + field_ad(3, tenant, table, column, owner, row)


def open_stream(person_key, ad, sealed):
    assert sealed[0] == 2
    body = sealed[5:]
    header_size = 1 + STREAM_SALT + NONCE_PREFIX
    assert body[0] == header_size
    salt, prefix = body[1:1 + STREAM_SALT], body[1 + STREAM_SALT:header_size]
    prk = mac(salt, stream_key(person_key))  # Tink salts this HKDF with the header's salt
    keys, block, counter = b"", b"", 1
    while len(keys) < 64:
        block = mac(prk, block + ad + bytes([counter]))
        keys += block
        counter += 1
    aes_key, mac_key = keys[:32], keys[32:64]
    plain, offset, number = b"", header_size, 0
    while True:
        size = SEGMENT - (header_size if number == 0 else 0)
        segment = body[offset:offset + size]
        offset += size
        last = offset >= len(body)
        nonce = prefix + struct.pack(">I", number) + (b"\x01" if last else b"\x00") + b"\0\0\0\0"
        text, tag = segment[:-STREAM_TAG], segment[-STREAM_TAG:]
        assert hmac.compare_digest(tag, mac(mac_key, nonce + text)), "segment %d" % number
        cipher = Cipher(algorithms.AES(aes_key), modes.CTR(nonce)).decryptor()
        plain += cipher.update(text)
        number += 1
        if last:
            break
    size = struct.unpack(">Q", plain[:8])[0]
    name_size = struct.unpack(">I", plain[8:12])[0]
    name, content = plain[12:12 + name_size], plain[12 + name_size:]
    assert len(content) == size
    return name.decode(), content


# Section 5: a lookup index.
def index_value(root, tenant, table, index, version, normaliser, bits, *parts):
    info = (lp("crmguard/index/v1", tenant, table, index) + struct.pack(">I", version)
            + lp(normaliser) + struct.pack(">H", bits))
    digest = mac(hkdf(root, info), lp(*parts))
    if bits <= 63:
        return int.from_bytes(digest[:8], "big") >> (64 - bits)
    return digest[:bits // 8]


# Section 6: audit.
ABSENT, NULL, TEXT, INTEGER, BOOLEAN, BYTES = 0, 1, 2, 3, 4, 5


def commitment(seed, event, path, side, kind, value):
    salt = mac(seed, lp("crmguard/audit/salt/v1") + lp(path) + bytes([side]))
    return salt, sha256(lp("crmguard/audit/commit/v1") + salt + lp(event) + lp(path) + bytes([side, kind]) + lp(value))


# Section 7: a row seal.
def seal_input(tenant, table, key, version, schema, event, fields):
    out = lp("crmguard/seal/v1", tenant, table, key) + struct.pack(">Q", version) + lp(schema) + lp(event)
    out += struct.pack(">I", len(fields))
    for name, kind, value in sorted(fields):
        out += lp(name) + bytes([kind]) + lp(value)
    return out


# Section 8: the erasure ledger.
def ledger_digest(root, kind, tenant, ident):
    return mac(hkdf(root, lp("crmguard/ledger/digest/v1")), lp("crmguard/ledger/v1", kind, tenant, ident))


def ledger_mac(root, line):
    entry = json.loads(line)
    want = entry.pop("mac")
    body = json.dumps(entry, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    return want, b64(mac(hkdf(root, lp("crmguard/ledger/mac/v1")), body))


def same(name, got, want):
    got = got.hex() if isinstance(got, bytes) else got
    if got != want:
        sys.exit("%s: %s instead of %s" % (name, got, want))
    print("agrees: " + name)


def vectors():
    same("keyset associated data", sha256(lp("crmguard/keyset/v1", "t1", "wrap")), "6055f18668ae6c85afa2a5b70c4329c09cff5cceb19661274bda51af7d3dcc96")
    level3 = field_ad(3, "t1", "contacts", "email", "p1", "r1")
    level2 = field_ad(2, "t1", "contacts", "email", "p1", "r1")
    same("field, level 3, size", len(level3), 61)
    same("field, level 3", sha256(level3), "e9c5e8941c7a99fcbb1127f37ac4d27a205357a6348316cb311bf2ca8799f962")
    same("field, level 2, size", len(level2), 59)
    same("field, level 2", sha256(level2), "7ee18d1ee7dae646745d7ff6dba4cd18dfdfa2bc94df10e2b28dd6cc4ea6af6d")
    same("wrapped person key", sha256(personkey_ad("t1", "p1", 0x01020304)), "96231f177c28e9657f1cd620a4a40883fccb72085806d768dd6ef3be8a3d0ccc")
    same("stream key", stream_key(ROOT), "82d8994b9b78ea1eecefc0e85cd9acfa376a75f31685e84b9e8995004f63f1d7")
    same("lookup index", index_value(ROOT, "t1", "contacts", "email_index", 1, "email/1", 32, "a@b.example"), 748043624)
    event = bytes(range(16))
    salt, text = commitment(ROOT, event, "email", 1, TEXT, "a@b.example")
    same("commitment, salt", salt, "244303c20ef2a1290e83ebc6c255829a0d2bc5d3d42a48b0b7faf62c483b25bf")
    same("commitment, text", text, "fa7faecbb34a54a5b4f063268d4f09c82a32e48bde225133acf9d8fefc6c5081")
    for name, kind, value, want in [
        ("absent", ABSENT, b"", "6cb7f34920a2a27828661225ff7d8fbc8ddcb3c07be4cbaf0e6f9beffa50955e"),
        ("null", NULL, b"", "d0a6c71ae081485329be76a7e69c6322f8c127ee7bbae28d8a05b5369af475c1"),
        ("empty text", TEXT, b"", "e63920b3b915688ee4eafaca97dbbcb4f2f0f9442fd06c2eff2f25e895f9730d"),
        ("integer 0", INTEGER, bytes(8), "3f3bd894bb55ffd6e7de3dccd2c3971c4069a47139d6fe03c6e74a8f375bc1f5"),
        ("text 0", TEXT, b"0", "74fc4c9e02a246c7840d59c95801b999a3b9840586eedba8a55607e7c6699cff"),
        ("true", BOOLEAN, b"\x01", "ba9276e9d98ee1c55ed8290e3f2378a64387f83b85a80d1c96ac81ef45ca408a"),
    ]:
        same("commitment, " + name, commitment(ROOT, event, "email", 1, kind, value)[1], want)
    same("row seal", mac(ROOT, seal_input("t1", "contacts", "r1", 7, "contact/1", b"", [("city", TEXT, "Bern")])), "16c10f26123d9f4b8f18015971702e7494f5beee6dc2c390f5b2df5a5ecd178e")
    same("ledger digest", ledger_digest(ROOT, "person", "t1", "p1"), "619ffcbbd503b050676d1c8b4ebce9b8bbb798c8cfc3728f5ce6104f43677d46")


if __name__ == "__main__":
    if sys.argv[1:] == ["vectors"]:
        vectors()
    else:
        sys.exit(__doc__)
