"""Key copies, Tink keysets and wrapped person keys (formats.md, General, 3 and 9)."""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .base import Refused, b64, canonical, equal, fold, lp, mac, parse, require, sha256, u32, unb64

KINDS = ["keyset", "generation", "owner", "key", "alias", "index", "mark"]
PRIMARY_KEY = {
    "keyset": ("tenant", "purpose"), "generation": ("tenant", "generation"), "owner": ("tenant", "owner"),
    "key": ("tenant", "owner", "generation"), "alias": ("tenant", "alias"), "index": ("tenant", "table", "index", "version"), "mark": ("sequence",),
}
AES_GCM, HMAC, HKDF_PRF = "AesGcmKey", "HmacKey", "HkdfPrfKey"
KIND_OF = {"branch": AES_GCM, "wrap": AES_GCM, "seal": HMAC, "log": HMAC, "manifest": HMAC, "index": HKDF_PRF, "suppression": HKDF_PRF, "ledger": HKDF_PRF}
SHA256_HASH, ENABLED, TINK, RAW = 3, 1, 1, 3  # numbers of Tink's tink.proto and common.proto


def keyset_ad(tenant, purpose):
    """General: associated data of a wrapped keyset; tenant "" is the installation."""
    if tenant == "":
        return lp("crmguard/keyset/installation/v1", purpose)
    return lp("crmguard/keyset/v1", tenant, purpose)


def personkey_ad(tenant, owner, generation):
    """Section 3."""
    return lp("crmguard/personkey/v1", tenant, fold(owner)) + u32(generation)


def _varint(data, at):
    value, shift = 0, 0
    while True:
        require(at < len(data) and shift < 64, "a varint that does not end")
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def message(data):
    """The least of a protobuf reader: field number -> values, wire types 0 and 2."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 2:
            require(at + value <= len(data), "a field that is cut off")
            value, at = data[at:at + value], at + value
        else:
            require(tag & 7 == 0, "a wire type that keysets do not have")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


class Keyset:
    """A Tink keyset in the clear: the primary id, and 32 bytes by id."""

    def __init__(self, plain, purpose):
        fields = message(plain)
        self.primary, self.keys = fields[1][0], {}
        for entry in fields[2]:
            entry = message(entry)
            require(entry[2] == [ENABLED] and entry[3][0] != 0, "a key that is not enabled, or has no id")
            self.keys[entry[3][0]] = self._key(message(entry[1][0]), entry[4][0], purpose)
        require(self.primary in self.keys, "a keyset without its primary key")
        require(purpose != "branch" or len(self.keys) == 1, "a second branch key")

    @staticmethod
    def _key(data, prefix, purpose):
        kind = KIND_OF[purpose]
        require(data[1][0] == b"type.googleapis.com/google.crypto.tink." + kind.encode(), "a key of another kind")
        require(prefix == (RAW if kind == HKDF_PRF else TINK), "a key of another prefix")
        key = message(data[2][0])
        if kind == HMAC:
            require(message(key[2][0]) == {1: [SHA256_HASH], 2: [32]}, "an HMAC of another hash or size")
        if kind == HKDF_PRF:
            params = message(key[2][0])
            require(params[1] == [SHA256_HASH] and not params.get(2, [b""])[0], "an HKDF of another hash, or with a salt")
        require(len(key[3][0]) == 32, "a key of another size")
        return key[3][0]

    def tag(self, data):
        """A Tink MAC: 0x01 ‖ key id (4) ‖ HMAC-SHA256."""
        return b"\x01" + u32(self.primary) + mac(self.keys[self.primary], data)

    def verify(self, data, tag, what):
        require(len(tag) == 37 and tag[0] == 1, what + " is no Tink tag")
        number = int.from_bytes(tag[1:5], "big")
        require(number in self.keys, what + " is under an unknown key")
        equal(tag[5:], mac(self.keys[number], data), what)

    def seal(self, data, ad):
        """A Tink AES-256-GCM ciphertext: 0x01 ‖ key id (4) ‖ IV ‖ ciphertext ‖ tag."""
        nonce = os.urandom(12)
        return b"\x01" + u32(self.primary) + nonce + AESGCM(self.keys[self.primary]).encrypt(nonce, data, ad)

    def open(self, sealed, ad):
        number = int.from_bytes(sealed[1:5], "big")
        require(sealed[0] == 1 and number in self.keys, "sealed under an unknown key")
        return AESGCM(self.keys[number]).decrypt(sealed[5:17], sealed[17:], ad)


class Installation:
    """All keys of an installation, from nothing but a key copy and the KEK (section 9)."""

    def __init__(self, copy, kek):
        self.lines = copy.split(b"\n")
        require(self.lines.pop() == b"", "no newline at the end")
        rows = [parse(line) for line in self.lines]
        self.header, self.rows, self.end = rows[0], rows[1:-1], rows[-1]
        require(self.header["v"] == 1, "another version")
        self._check_order()
        self.keysets = {}
        for row in self.of("keyset"):
            self.keysets[row["tenant"], row["purpose"]] = Keyset(self._unwrapped(row, kek), row["purpose"])
        self._check_end()
        self._check_history()
        self.person_keys = {key: self._unwrap(key, row) for key, row in self._key_rows()}

    def of(self, kind):
        return [row for row in self.rows if row["kind"] == kind]

    def _unwrapped(self, row, kek):
        """General: the KEK wraps the branch key, the branch key, which comes first, all other keysets of the tenant."""
        wrapped, ad = message(unb64(row["wrapped"]))[2][0], keyset_ad(row["tenant"], row["purpose"])
        require((row["purpose"] == "branch") == ("kek" in row), "a branch key names a KEK, and nothing else does")
        if row["purpose"] == "branch":
            return AESGCM(kek).decrypt(wrapped[:12], wrapped[12:], ad)
        require((row["tenant"], "branch") in self.keysets, "a keyset without its branch key")
        return self.keysets[row["tenant"], "branch"].open(wrapped, ad)

    def _check_order(self):
        """Kind by kind, each by primary key, ascending, none twice."""
        order = []
        for row in self.rows:
            key = tuple(part.encode() if isinstance(part, str) else part for part in (row[name] for name in PRIMARY_KEY[row["kind"]]))
            order.append((KINDS.index(row["kind"]), key))
        require(all(a < b for a, b in zip(order, order[1:])), "rows are out of order, or twice there")

    def _check_end(self):
        """The last line: count of rows, of rows that it lacks (unless none), SHA-256 of all lines before it, mac."""
        require(self.end.get("holes", 1) >= 1, "a number of holes that would not be written")
        require(self.end["count"] == len(self.rows), "the count differs")
        body = b"".join(line + b"\n" for line in self.lines[:-1])
        require(unb64(self.end["sha256"]) == sha256(body), "the digest differs")
        self.keysets["", "manifest"].verify(copy_mac_input(self.end), unb64(self.end["mac"]), "the mac of the key copy")

    def _check_history(self):
        """Section 0.10: 16 random bytes for each sequence up to that of the copy."""
        self.marks = {row["sequence"]: row["mark"] for row in self.of("mark")}
        require(max(self.marks) == self.header["sequence"], "the history does not end with the copy's own sequence")
        require(all(len(unb64(mark)) == 16 for mark in self.marks.values()), "a mark has 16 bytes")

    def covers(self, position):
        """Section 0.10: no holes, the same store, and the mark of the position in its history."""
        return "holes" not in self.end and position["store"] == self.header["store"] and self.marks.get(position["sequence"]) == position["mark"]

    def _key_rows(self):
        tombstones = {(row["tenant"], row["owner"]) for row in self.of("owner") if row["state"] == "tombstone"}
        for row in self.of("key"):
            require((row["tenant"], row["owner"]) not in tombstones, "a key under a tombstone")
            require(0 < row.get("seals", 1) <= 1 << 32, "allotted seals are left out where there are none, and are at most 2^32")
            yield (row["tenant"], row["owner"], row["generation"]), row

    def _unwrap(self, key, row):
        wrapped = unb64(row["wrapped"])
        require(len(wrapped) == 65, "a key row has 65 bytes")
        plain = self.keysets[row["tenant"], "wrap"].open(wrapped, personkey_ad(*key))
        require(len(plain) == 32, "a person key has 32 bytes")
        return plain

    def person_key(self, tenant, owner, generation):
        """Section 0.4: exact lookup, the owner as 0.1 has it, never another one or generation."""
        key = self.person_keys.get((tenant, fold(owner), generation))
        if key is None:
            raise Refused("no key of this owner and generation")
        return key

    def active(self, tenant):
        active = [row["generation"] for row in self.of("generation") if row["tenant"] == tenant and row["state"] == "active"]
        require(len(active) == 1, "one active generation a tenant")
        return active[0]

    def index_root(self, tenant, table, index, version):
        """The root of an index version, which its row names by key id."""
        for row in self.of("index"):
            if (row["tenant"], row["table"], row["index"], row["version"]) == (tenant, table, index, version):
                return self.keysets[tenant, "index"].keys[row["root"]]
        raise Refused("no such index version")

    def with_person(self, tenant, owner, key, state="live", holes=0):
        """The bytes of a key copy that knows one more person."""
        generation, sequence = self.active(tenant), self.header["sequence"] + 1
        wrapped = self.keysets[tenant, "wrap"].seal(key, personkey_ad(tenant, owner, generation))
        rows = self.rows + [
            {"kind": "owner", "tenant": tenant, "owner": owner, "state": state, "sequence": sequence},
            {"kind": "key", "tenant": tenant, "owner": owner, "generation": generation, "wrapped": b64(wrapped)},
            {"kind": "mark", "tenant": "", "sequence": sequence, "mark": b64(os.urandom(16)), "created": self.header["written"]},
        ]
        rows.sort(key=lambda row: (KINDS.index(row["kind"]), [row[name] for name in PRIMARY_KEY[row["kind"]]]))
        body = b"".join(canonical(row) + b"\n" for row in [dict(self.header, sequence=sequence), *rows])
        end = {"count": len(rows), "sha256": b64(sha256(body))}
        if holes:
            end["holes"] = holes
        end["mac"] = b64(self.keysets["", "manifest"].tag(copy_mac_input(end)))
        return body + canonical(end) + b"\n"


def copy_mac_input(end):
    """What the mac of the last line is over."""
    return lp("crmguard/keycopy/v1") + canonical({name: value for name, value in end.items() if name != "mac"})
