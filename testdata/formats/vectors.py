"""Every vector of formats.md, recomputed."""

import json
import pathlib
import uuid

from .alone import Key, opening_ad
from .base import ABSENT, BOOLEAN, INTEGER, JSON, NULL, TEXT, Refused, b64, hkdf, json_value, lp, mac, sha256
from .capture import captured_id
from .fields import field_ad, index_value, normalise, personseal_ad, stream_key
from .keys import keyset_ad, personkey_ad
from .log import (
    body_key,
    check_changes,
    check_disclosure,
    check_leaf,
    commitment,
    find_key,
    head_ad,
    head_input,
    mirror_file,
    mirror_opening,
    mirror_person,
    open_body,
    queue_input,
    read_body,
    read_frames,
    read_row,
    retry_input,
    state_input,
    surrogate_input,
    write_head,
)
from .records import ledger_digest, seal_input

ROOT = bytes(range(32))
UUID_SMALL = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


def same(name, got, want):
    got = got.hex() if isinstance(got, bytes) else got
    if got != want:
        raise Refused("%s: %s instead of %s" % (name, got, want))
    print("agrees: " + name)


def run():
    keys_and_fields()
    commitments()
    sealed = seal_input("t1", "contacts", "r1", 7, "contact/1", b"", [("city", TEXT, "Bern")])
    same("row seal", mac(ROOT, sealed), "16c10f26123d9f4b8f18015971702e7494f5beee6dc2c390f5b2df5a5ecd178e")
    document = json_value('{"n": [1.50, 1E2, -0.000001, 1e400], "id": 9007199254740993, "a": "\\u00fc\\u000b"}')
    same("JSON", document, '{"a":"ü\\u000b","id":9007199254740993,"n":[1.5,100,-0.000001,1e+400]}'.encode().hex())
    sealed = seal_input("t1", "contacts", "r1", 7, "contact/1", b"", [("extra", JSON, document)])
    same("row seal, JSON", mac(ROOT, sealed), "1b59788c4e0a291ccb650d5f8cfb5faac5147a0128951ffcef270ba62895b107")
    same("ledger digest", ledger_digest(ROOT, "person", "t1", "p1"), "619ffcbbd503b050676d1c8b4ebce9b8bbb798c8cfc3728f5ce6104f43677d46")
    adoption()
    stand_alone()
    captured()
    samples()
    tables()
    disclosures()


def adoption():
    """The digest of a definition (formats.md 12)."""
    parts = ["crmguard/encryption/adoption/definition/1", "contacts", "contacts", "id", "person", "", "false"]
    column = b"".join(lp(x) for x in ["email", "email", "email_sealed", "2", "false", "0"])
    index = b"".join(lp(x) for x in ["email_sealed_idx", "email_idx", "1", "email/2", "32"])
    text = b"".join(lp(x) for x in parts) + lp(column) + lp(index)
    same("definition of an adoption", sha256(text), "0c626b7fd0776b42727721cbc6cfc6662241266811c8fe181f0bd29c20ed6a6f")


def stand_alone():
    for name, key, number, want in [
        ("seal, t1", Key(ROOT, "seal", "t1"), 0x578D2AB5, "c39cbe17eaf67a45fc7a109332890638b2058bfb6a43e3d429dd6170d1f86157"),
        ("log, t1", Key(ROOT, "log", "t1"), 0x92FA9477, "948787ade2b69802b96bf8f66cb9b6f03b77e342c057e46069cd87866d70c750"),
        ("audit, t1", Key(ROOT, "audit", "t1"), 0x6283E3FA, "735019a35cb8f752a93946f87a8b47b66e10ca8c550931f6d7cc5e137281e861"),
        ("manifest", Key(ROOT, "manifest"), 0x9810E2CD, "b9d9238f52b628e9d8cec6eb0e25edf1f20c42fa32af6625143ec8005938ce33"),
        ("ledger", Key(ROOT, "ledger"), 0xFBC3607E, "c4a6825cfdec63d3a7abd6fdc12a69de73955bf7a1f214d06086a97000a0e652"),
    ]:
        same("stand-alone key, " + name, key.key, want)
        same("stand-alone key, " + name + ", id", key.id, number)
    same("stand-alone tag", Key(ROOT, "seal", "t1").tag(b"tagged"), "01578d2ab5dfb11f9dfc3e9eeee2aa3905d2c488a6d89bd4ffd1d369be42333a2a2a287102")
    sealed = Key(ROOT, "audit", "t1").seal(b"an opening", opening_ad("t1", "p1", b"ad"), bytes(range(12)))
    same("stand-alone sealed bytes", sealed, "016283e3fa000102030405060708090a0be66c7e900658ff6b6f5739efd71c5a3d3039b3669c81be2ab319")
    digest = Key(ROOT, "ledger").digest("crmguard/ledger/digest/v1", b"p1")
    info = lp("crmguard/audit/queue-key/v2", "crm.example/audit")
    same("MAC key of audit", hkdf(ROOT, info), "c4556f5853bbd83fa702d62f2d1d8bbd469466fdc0ca88bc132732d85b144406")
    same("stand-alone MAC key of audit", Key(ROOT, "log", "t1").mac_key(info), "de9b2e4fcea7449e7f6329d6810c1c58bb8a8e5b55e65ebb3b6cf46763cd4a1c")
    same("stand-alone digest", digest, "f321601b6c60cef29dbd2db2e31e4ff3eeb7e8b55d8b6b8a3724fc49e728689f")


def keys_and_fields():
    same("keyset associated data", sha256(keyset_ad("t1", "wrap")), "6055f18668ae6c85afa2a5b70c4329c09cff5cceb19661274bda51af7d3dcc96")
    same("associated data of a branch key", sha256(keyset_ad("t1", "branch")), "28431dace131404bbb3acc7110467ec4dbe692a0487e5c66039bfb933c6d3cce")
    level3 = field_ad(3, "t1", "contacts", "email", "p1", "r1")
    level2 = field_ad(2, "t1", "contacts", "email", "p1", "r1")
    same("field, level 3, size", len(level3), 61)
    same("field, level 3", sha256(level3), "e9c5e8941c7a99fcbb1127f37ac4d27a205357a6348316cb311bf2ca8799f962")
    same("field, level 2, size", len(level2), 59)
    same("field, level 2", sha256(level2), "7ee18d1ee7dae646745d7ff6dba4cd18dfdfa2bc94df10e2b28dd6cc4ea6af6d")
    for uuid in (UUID_SMALL, UUID_SMALL.upper(), "A0eeBC99" + UUID_SMALL[8:]):
        same("field, level 3, a UUID", sha256(field_ad(3, "t1", "contacts", "email", uuid, "de/" + uuid)), "ad8354a6f4de042ea0e5a5887283fd4b51e150806567fb4350752548be304f81")
        same("person-sealed bytes, a UUID", sha256(personseal_ad("opening", "t1", uuid, b"ad")), "abc7676600bc153dc1af3b0f369a7d398f5bf8bf4c6e6288984e0a27c56ef75e")
    for one, other in [
        (field_ad(2, "t", "c", "x", UUID_SMALL.replace("-", "")), field_ad(2, "t", "c", "x", UUID_SMALL.replace("-", "").upper())),
        (field_ad(2, "ab", "c", "x"), field_ad(2, "a", "bc", "x")),
        (field_ad(3, "t", "c", "x", "p"), field_ad(2, "t", "c", "x", "p")),
    ]:
        if one == other:
            raise Refused("two fields share their associated data")
    same("wrapped person key", sha256(personkey_ad("t1", "p1", 0x01020304)), "96231f177c28e9657f1cd620a4a40883fccb72085806d768dd6ef3be8a3d0ccc")
    same("stream key", stream_key(ROOT), "82d8994b9b78ea1eecefc0e85cd9acfa376a75f31685e84b9e8995004f63f1d7")
    value = index_value(ROOT, "t1", "contacts", "email_index", 1, "email/1", 32, "a@b.example")
    same("blind index", value, 0x2C963D68)
    same("blind index, decimal", value, 748043624)
    value = index_value(ROOT, "t1", "contacts", "email_index", 2, "email/2", 128, "a@b.example")
    same("blind index, unique", value, "071b57aca5a4b5ac17a80bfed49fa2a8")
    rules = json.loads((pathlib.Path(__file__).parents[2] / "encryption/internal/normalise/testdata/vectors.json").read_text())
    for rule in sorted({v["rule"] for v in rules}):
        of = [v for v in rules if v["rule"] == rule]
        same("normaliser " + rule, [normalise(rule, v["in"]) for v in of], [v["out"] for v in of])


def commitments():
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


def captured():
    """The ids of captured rows."""
    log = "crm.example/audit"
    same("captured row", captured_id(log, "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f01"), "3b171282-47f6-8bf9-8d48-2d3247776327")
    same("captured row, another", captured_id(log, "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f02"), "95476d04-326a-8fa7-85b9-008be4de8292")
    same("captured row, another log", captured_id(log + "/b", "0d9488d4-1c6c-4b6e-9f6a-6a5d3c9a1f01"), "806d6d50-9fa7-8a63-878e-32c87ebeeec3")
    same("captured row, the largest", captured_id(log, "ffffffff-ffff-4fff-bfff-ffffffffffff"), "11647818-06b3-80c8-879e-9fc4844b5a2a")
    leaf = b'{"action":"capture.%s","actor":"db/crm_app","at":"2026-01-01T00:00:00.000000Z","cap":{"op":"%s","table":"public.deals"},"id":"3b171282-47f6-8bf9-8d48-2d3247776327","kind":"capture","outcome":"ok","tenant":"main","v":1}'
    same("captured row, a truncation", check_leaf(leaf % (b"truncate", b"t"))["cap"], {"op": "t", "table": "public.deals"})
    try:
        check_leaf(leaf % (b"truncate", b"x"))
        same("captured row, of no op", "read", "refused")
    except Refused:
        same("captured row, of no op", "refused", "refused")


def disclosures():
    """What an outsider is shown of one event."""
    folder = pathlib.Path(__file__).parents[2] / "audit/auditlog/testdata/v1/disclosures"
    vkey = (folder / "log.vkey").read_text().strip()
    for name, path, side, value in [
        ("plain", "email", 1, (TEXT, b"a@b.example")),
        ("null", "email", 0, (NULL, b"")),
        ("named", "a name of no column", 1, (11, b"\x01\xff")),
        ("nobody", "stage", 1, (BOOLEAN, b"\x01")),
        ("folded", "field17", 1, (TEXT, b"field17")),
    ]:
        data = (folder / (name + ".json")).read_bytes()
        same("disclosure, " + name, check_disclosure(data, vkey)[1:], (path, side, value))
        for n in range(0, len(data), 1 + len(data) // 200):
            bad = bytearray(data)
            bad[n] ^= 1
            try:
                check_disclosure(bytes(bad), vkey)
            except Exception:
                continue
            same("disclosure, %s, byte %d turned" % (name, n), "accepted", "refused")
    for name in ("value", "name"):  # its salt reaches into what is committed to
        try:
            check_disclosure((folder / ("forged-%s.json" % name)).read_bytes(), (folder / "forged.vkey").read_text().strip())
            outcome = "accepted"
        except Refused:
            outcome = "refused"
        same("disclosure, forged " + name, outcome, "refused")


def samples():
    """One leaf of each kind, and a waiting row with the openings of three owners."""
    frozen = json.loads((pathlib.Path(__file__).parents[2] / "audit/auditlog/testdata/v1/samples.json").read_text())
    for kind, text in sorted(frozen["leaves"].items()):
        same("leaf, " + kind, check_leaf(text.encode())["kind"], kind)
    same("key of an opening", body_key(ROOT, bytes(range(16))), "f1640ca1e7a4042d822a0ed0b0305390406214ce9b2d0a7dfddc5adbc2c6b667")
    surrogate = bytes([1, 2, 3]).ljust(16, b"\0")
    same("head", sha256(write_head(ROOT, surrogate, "p1")), "de8814efba32d96cd07f1420cdeac2a08d2b9555d25e9b24f5d11a52d8dfd27e")
    same("head, associated data", sha256(head_ad("crm.example/audit", surrogate)), "62be746455eece9b7b078e60f17d057f4556ef7a421b64d2e2ea6353da20cb3b")
    tag, text, sealed = read_row(bytes.fromhex(frozen["row"]))
    same("waiting row, tag", tag, frozen["tag"])
    leaf = check_leaf(text)
    same("waiting row, leaf", leaf["id"], frozen["event"])
    event = uuid.UUID(leaf["id"]).bytes
    for n, (owner, body) in enumerate(read_frames(sealed)):
        same("opening %d, owner" % n, owner, frozen["owners"][n])
        plain = open_body(bytes.fromhex(frozen["content"][n]), event, owner, body)
        same("opening %d" % n, plain, frozen["plains"][n])
        seed, fields = read_body(plain)
        who = "s:" + b64(owner) if any(owner) else None
        clear = check_changes(leaf, who, seed, {(path, side): (kind, value) for path, side, kind, value in fields})
        same("opening %d, changes" % n, sorted(clear), ["a name of no column", "email"])


def tables():
    """What stands in tables and in the mirror beside the log."""
    frozen = json.loads((pathlib.Path(__file__).parents[2] / "audit/testdata/v1/tables.json").read_text())
    name, origin, tenant = frozen["name"], frozen["origin"], frozen["tenant"]
    key = Key(bytes.fromhex(frozen["secret"]), "log", tenant)
    raw = bytes.fromhex

    def tagged(use, data):
        return key.prefix + mac(key.mac_key(lp("crmguard/audit/" + use, name)), data)

    row = dict(frozen["state"])
    tag, size, root = row.pop("tag"), row.pop("size"), raw(row.pop("root"))
    order = ["published", "beat", "beat_size", "found", "mirrored", "people", "drained", "pruned", "swept"]
    same("tag of the state", key.tag(state_input(origin, root, size, *(row.pop(n) for n in order))), tag)
    same("the state has nothing else", row, {})
    row = frozen["head"]
    same("tag of a head", key.tag(head_input(origin, raw(row["root"]), row["size"], row["at"], row["note"])), row["tag"])
    row = frozen["queue"]
    same("queue tag", tagged("queue-key/v2", queue_input(name, tenant, raw(row["sealed"]), row["leaf"].encode())), row["tag"])
    row = frozen["retry"]
    same("retry tag", mac(key.mac_key(lp("crmguard/audit/retry-key/v2", name)), retry_input(tenant, row["given"])), row["tag"])
    for row in frozen["surrogates"]:
        data = surrogate_input(tenant, raw(row["surrogate"]), row["state"], raw(row["into"]), row["person"])
        same("tag of a surrogate, state %d%s" % (row["state"], ", merged" if row["into"] else ""), tagged("surrogate-key/v2", data), row["tag"])
    mirror = frozen["mirror"]
    parts = [mirror_opening(o["index"], raw(o["owner"]), raw(o["sealed"])) for o in mirror["openings"]]
    same("mirror, openings", mirror_file("openings", 1, parts), mirror["openings/000"])
    large = mirror["large"]
    mine, sealed = (large["index"], raw(large["owner"])), raw(large["byte"]) * large["bytes"]
    parts = sorted(parts + [mirror_opening(*mine, b"")])
    same("mirror, the block of a large entry", mirror_file("openings", 1, parts), large["openings/000"])
    own = mirror_file("openings", 1, [mirror_opening(*mine, sealed)])
    same("mirror, a large entry", sha256(own), large["sha256 of openings/000.p/7"])
    parts = [mirror_person(p["tenant"], raw(p["surrogate"]), raw(p["head"])) for p in mirror["people"]]
    same("mirror, people", mirror_file("people", 2, parts), mirror["people/000"])
    for row in frozen["found"]:
        value = row["value"]
        same("query key, " + row["column"], find_key(row["column"], tenant, lp(*value) if isinstance(value, list) else value), row["key"])
