"""Row seals and roots, the erasure ledger and statements, suppression (formats.md 7, 8, 10, 11)."""

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .base import b64, canonical, equal, hkdf, lp, mac, parse, require, sha256, std64, typed_fields, u64, unb64, unstd64, without

STATEMENT, PAYLOAD = "https://in-toto.io/Statement/v1", "application/vnd.in-toto+json"
ERASURE = "https://github.com/crmguard/crmguard/erasure/v1"


def seal_input(tenant, table, key, version, schema, event, fields):
    """Section 7."""
    return lp("crmguard/seal/v1", tenant, table, key) + u64(version) + lp(schema, event) + typed_fields(fields)


def roots(tenant, table, rows):
    """The roots of a table: a tag for each of 256 buckets over (key, version, seal) of its rows."""
    buckets = [[] for _ in range(256)]
    for key, version, seal in rows:
        digest = sha256(lp(key) + u64(version) + lp(seal))
        buckets[sha256(lp("crmguard/roots/bucket/v1", tenant, table, key))[0]].append(digest)
    return [(len(digests), lp("crmguard/roots/v1", tenant, table) + bytes([number]) + u64(len(digests)) + b"".join(sorted(digests)))
            for number, digests in enumerate(buckets)]


def check_roots(seals, text, rows):
    """Verifies the roots' one line of JSON with the tenant's seal keyset."""
    stored = parse(text)
    require(stored["v"] == 1 and len(stored["buckets"]) == 256, "other roots")
    for bucket, (count, data) in zip(stored["buckets"], roots(stored["tenant"], stored["table"], rows)):
        require(bucket["rows"] == count, "a bucket has another number of rows")
        seals.verify(data, unb64(bucket["tag"]), "a bucket")


def ledger_digest(root, kind, tenant, ident):
    """Section 8: kind tenant, person, ref."""
    return mac(hkdf(root, lp("crmguard/ledger/digest/v1")), lp("crmguard/ledger/v1", kind, tenant, ident))


def _ledger_mac(root, entry):
    return mac(hkdf(root, lp("crmguard/ledger/mac/v1")), without(entry))


def read_ledger(keyset, data):
    """Verifies form, chain and macs; returns the entries and the head."""
    lines = data.split(b"\n")
    require(lines.pop() == b"", "a torn write")
    entries, previous = [], bytes(32)
    for number, line in enumerate(lines, 1):
        entry = parse(line)
        root = keyset.keys.get(int(entry["keyid"]))
        require(root is not None and str(int(entry["keyid"])) == entry["keyid"], "written with another root")
        equal(unb64(entry["mac"]), _ledger_mac(root, entry), "the mac of line %d" % number)
        require(entry["n"] == number and unb64(entry["prev"]) == previous and entry["v"] == 1, "a line out of the chain")
        require(entry["op"] in ("intent", "done", "partial", "hold", "void"), "an operation")
        entries.append(entry)
        previous = sha256(line)
    return entries, canonical({"hash": b64(previous), "n": len(entries)})


def ref_id(table, row):
    """The id of a digest of kind ref."""
    return lp(table, row)


def append_intent(keyset, data, at, tenant, person, plan, refs):
    """The ledger with one more intent about a person; refs are (table, row)."""
    root = keyset.keys[keyset.primary]
    lines = data.splitlines()
    at = max([at] + [json.loads(line)["at"] for line in lines[-1:]])  # none is older than the one before
    entry = {
        "at": at, "keyid": str(keyset.primary), "n": len(lines) + 1, "op": "intent", "plan": plan, "scope": "person", "v": 1,
        "person": b64(ledger_digest(root, "person", tenant, person)), "tenant": b64(ledger_digest(root, "tenant", tenant, tenant)),
        "refs": sorted(b64(ledger_digest(root, "ref", tenant, ref_id(*ref))) for ref in refs),
        "prev": b64(sha256(lines[-1]) if lines else bytes(32)),
    }
    entry["mac"] = b64(_ledger_mac(root, entry))
    return data + canonical(entry) + b"\n"


def suppression(root, tenant, channel, normaliser, value):
    """Section 11."""
    return mac(hkdf(root, lp("crmguard/suppression/v1", tenant, channel, normaliser)), lp(value))


def person_commitment(salt, tenant, person):
    """Section 10: the subject of a certificate."""
    return sha256(lp("crmguard/certificate/person/v1") + salt + lp(tenant) + lp(person))


def _pae(kind, payload):
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def key_id(public):
    """Hex SHA-256 of the SubjectPublicKeyInfo."""
    return sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hex()


def open_certificate(envelope, public):
    """Verifies an erasure certificate; returns statement and digest of the statement."""
    envelope = json.loads(envelope)
    public = Ed25519PublicKey.from_public_bytes(public)
    payload = unstd64(envelope["payload"])
    require(envelope["payloadType"] == PAYLOAD and len(envelope["signatures"]) == 1, "no in-toto statement")
    signature = envelope["signatures"][0]
    public.verify(unstd64(signature["sig"]), _pae(PAYLOAD, payload))
    require(signature["keyid"] == key_id(public), "the key id is not that of the key")
    statement = parse(payload)
    require(statement["_type"] == STATEMENT and statement["predicateType"] == ERASURE, "another statement")
    require(set(statement["predicate"]) <= {"classes", "not_covered", "unreadable_live_at", "final_at", "audit_event_id"}, "another predicate")
    return statement, sha256(payload)


def sign_certificate(private, number, salt, tenant, person, predicate):
    """An erasure certificate in its DSSE envelope."""
    payload = canonical({
        "_type": STATEMENT, "predicateType": ERASURE, "predicate": predicate,
        "subject": [{"name": "erasure/%d" % number, "digest": {"sha256": person_commitment(salt, tenant, person).hex()}}],
    })
    return json.dumps({
        "payload": std64(payload), "payloadType": PAYLOAD,
        "signatures": [{"keyid": key_id(private.public_key()), "sig": std64(private.sign(_pae(PAYLOAD, payload)))}],
    }).encode()
