"""Verifies a DSSE envelope with Python's cryptography and writes PAE and signature for openssl.

usage: dsse.py ENVELOPE PUBLIC_KEY_PEM SALT_HEX TENANT PERSON PAE_OUT SIG_OUT
"""
import base64, hashlib, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key

envelope_file, key_file, salt, tenant, person, pae_file, sig_file = sys.argv[1:]
envelope = json.load(open(envelope_file))
kind, body = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
load_pem_public_key(open(key_file, "rb").read()).verify(signature, pae)

statement = json.loads(body)
assert json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == body, "not canonical"
assert statement["_type"] == "https://in-toto.io/Statement/v1"
assert statement["predicateType"] == "https://github.com/crmguard/crmguard/erasure/v1"
[subject], predicate = statement["subject"], statement["predicate"]
assert subject["name"].startswith("erasure/") and int(subject["name"][8:]) > 0

lp = lambda text: len(text.encode()).to_bytes(4, "big") + text.encode()
commitment = lp("crmguard/certificate/person/v1") + bytes.fromhex(salt) + lp(tenant) + lp(person)
assert subject["digest"]["sha256"] == hashlib.sha256(commitment).hexdigest(), "another person"

assert {"classes", "not_covered", "unreadable_live_at", "final_at"} <= set(predicate)
assert predicate["unreadable_live_at"] <= predicate["final_at"]
for line in predicate["classes"]:
    assert {"class", "count", "store", "table"} <= set(line) and line["count"] > 0, line
    assert line["class"] in ("deleted", "shredded", "redacted", "pseudonymised", "kept"), line
    assert ("because" in line) == (line["class"] == "kept"), line
    assert "until" not in line or line["class"] == "kept", line
open(pae_file, "wb").write(pae)
open(sig_file, "wb").write(signature)
