"""Verifies a DSSE envelope with Python's cryptography and writes PAE and signature for openssl.

usage: dsse.py ENVELOPE PUBLIC_KEY_PEM PAE_OUT SIG_OUT
"""
import base64, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_public_key

envelope = json.load(open(sys.argv[1]))
kind, body = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
load_pem_public_key(open(sys.argv[2], "rb").read()).verify(signature, pae)
statement = json.loads(body)
assert statement["_type"] == "https://in-toto.io/Statement/v1"
assert statement["predicateType"] == "https://github.com/crmguard/crmguard/erasure/v1"
assert len(statement["subject"][0]["digest"]["sha256"]) == 64
assert {"classes", "not_covered", "unreadable_live_at", "final_at", "audit_event_id"} <= set(statement["predicate"])
assert json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == body, "not canonical"
open(sys.argv[3], "wb").write(pae)
open(sys.argv[4], "wb").write(signature)
