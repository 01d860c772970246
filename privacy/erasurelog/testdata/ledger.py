"""Reads an erasure ledger with the standard library alone: chain, mac, digests.

usage: ledger.py FILE ROOT_HEX KEYID TENANT PERSON
"""
import base64, hashlib, hmac, json, struct, sys


def lp(x):
    x = x.encode() if isinstance(x, str) else x
    return struct.pack(">I", len(x)) + x


def hkdf(root, info):
    prk = hmac.new(b"\0" * 32, root, hashlib.sha256).digest()
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def b64(x):
    return base64.urlsafe_b64encode(x).rstrip(b"=").decode()


file, root, keyid, tenant, person = sys.argv[1], bytes.fromhex(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
mac_key = hkdf(root, lp("crmguard/ledger/mac/v1"))
digest_key = hkdf(root, lp("crmguard/ledger/digest/v1"))


def digest(kind, id):
    data = lp("crmguard/ledger/v1") + lp(kind) + lp(tenant) + lp(id)
    return b64(hmac.new(digest_key, data, hashlib.sha256).digest())


prev, intents, seen, held = b"\0" * 32, 0, {}, set()
with open(file, "rb") as f:
    for n, line in enumerate(f.read().split(b"\n")[:-1], 1):
        e = json.loads(line)
        canonical = lambda x: json.dumps(x, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert canonical(e) == line, "not canonical"
        mac = e.pop("mac")
        assert b64(hmac.new(mac_key, canonical(e), hashlib.sha256).digest()) == mac, "mac"
        assert e["n"] == n and e["v"] == 1 and e["keyid"] == keyid and e["prev"] == b64(prev), "chain"
        op, plan, before = e["op"], e["plan"], seen.get(e["plan"])
        scope = {"clock": "ledger", "unsuppress": "tenant"}.get(op, "person")
        assert e["scope"] == scope, "scope"
        assert scope == "ledger" or e["tenant"] == digest("tenant", tenant), "tenant"
        assert scope != "person" or e["person"] == digest("person", person), "person"
        assert before in {"partial": ["intent", "partial"], "done": ["intent", "partial"], "void": ["intent", "partial"], "lift": ["hold"]}.get(op, [None]), "order"
        assert op not in ("older", "newer") or e["refs"], "refs"
        assert op != "unsuppress" or e["known"], "known"
        if op in ("hold", "lift", "older", "newer", "void", "clock"):
            assert e["by"] == digest("principal", "user/1"), "by"
        if op in ("void", "clock"):
            assert e["approved"] == digest("principal", "user/2"), "approved"
        for top in e.get("tops", []):
            int(top["n"])
        seen[plan] = op
        intents += op == "intent"
        prev = hashlib.sha256(line).digest()
assert intents > 0, "no intent"
vector = hmac.new(hkdf(bytes(range(32)), lp("crmguard/ledger/digest/v1")), lp("crmguard/ledger/v1") + lp("person") + lp("t1") + lp("p1"), hashlib.sha256)
assert vector.hexdigest() == "619ffcbbd503b050676d1c8b4ebce9b8bbb798c8cfc3728f5ce6104f43677d46", "vector"
