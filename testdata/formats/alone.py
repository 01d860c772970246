"""Stand-alone keys (formats.md 13)."""

import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .base import Refused, bit_flips, equal, hkdf, lp, mac, require, u32

TAGS = [("t1", "seal"), ("t1", "log"), ("", "manifest")]
INFOS = [lp("crmguard/audit/queue-key/v2", "crm.example/audit"), lp("crmguard/audit/retry-key/v2", "crm.example/audit")]


def secret_of(text):
    """The text of a file: one line of 64 lower-case hex digits."""
    line = text[:-1] if text.endswith("\n") else text
    require(len(line) == 64 and not set(line) - set("0123456789abcdef"), "no 64 lower-case hex digits")
    secret = bytes.fromhex(line)
    require(len(set(secret)) > 1, "one byte repeated")
    return secret


class Key:
    """The key of a purpose and, where there is one, of a tenant."""

    def __init__(self, secret, purpose, tenant=""):
        place = (purpose, tenant) if tenant else (purpose,)
        self.key = hkdf(secret, lp("crmguard/alone/v1", *place))
        self.id = max(1, int.from_bytes(hkdf(secret, lp("crmguard/alone/id/v1", *place))[:4], "big"))
        self.prefix = b"\x01" + u32(self.id)

    def tag(self, data):
        return self.prefix + mac(self.key, data)

    def seal(self, data, ad, nonce):
        return self.prefix + nonce + AESGCM(self.key).encrypt(nonce, data, ad)

    def open(self, sealed, ad):
        require(sealed[:5] == self.prefix, "sealed under another key")
        return AESGCM(self.key).decrypt(sealed[5:17], sealed[17:], ad)

    def mac_key(self, info):
        """A MAC key of audit: the purpose is log."""
        return hkdf(self.key, info)

    def digest(self, label, data):
        return mac(hkdf(self.key, lp(label)), data)


def opening_ad(tenant, person, ad):
    """Section 2, person-sealed bytes."""
    return lp("crmguard/personseal/v1", "audit", tenant, person or "t:", ad)


def sample(secret, nonce):
    """What a Go test must take."""
    tags = [{"Tenant": t, "Purpose": p, "Data": b"tagged".hex(), "Tag": Key(secret, p, t).tag(b"tagged").hex()} for t, p in TAGS]
    openings = []
    for person in ("p1", ""):
        sealed = Key(secret, "audit", "t1").seal(b"an opening", opening_ad("t1", person, b"ad"), nonce())
        openings.append({"Tenant": "t1", "Person": person, "AD": b"ad".hex(), "Plain": b"an opening".hex(), "Sealed": sealed.hex()})
    root, label = Key(secret, "ledger"), "crmguard/ledger/digest/v1"
    digests = [{"Label": label, "Data": b"p1".hex(), "Root": root.id, "Digest": root.digest(label, b"p1").hex()}]
    log = Key(secret, "log", "t1")
    keys = [{"Tenant": "t1", "Info": info.hex(), "ID": log.id, "Key": log.mac_key(info).hex()} for info in INFOS]
    return {"Secret": secret.hex(), "Tags": tags, "Openings": openings, "Digests": digests, "MACKeys": keys}


def refuses(what, take, data):
    for turned in bit_flips(data):
        try:
            take(turned)
        except (Refused, InvalidTag):
            continue
        raise SystemExit("takes %s with a bit turned" % what)


def check(made, secret):
    """Takes what Go has made, and nothing else."""
    for tag in made["Tags"]:
        key = Key(secret, tag["Purpose"], tag["Tenant"])
        take = lambda data, key=key, tag=tag: equal(data, key.tag(bytes.fromhex(tag["Data"])), "a tag")  # noqa: E731
        take(bytes.fromhex(tag["Tag"]))
        refuses("a tag", take, bytes.fromhex(tag["Tag"]))
    for opening in made["Openings"]:
        key, ad = Key(secret, "audit", opening["Tenant"]), opening_ad(opening["Tenant"], opening["Person"], bytes.fromhex(opening["AD"]))
        sealed = bytes.fromhex(opening["Sealed"])
        require(key.open(sealed, ad).hex() == opening["Plain"], "an opening holds something else")
        refuses("an opening", lambda data, key=key, ad=ad: key.open(data, ad), sealed)
    for digest in made["Digests"]:
        root = Key(secret, "ledger")
        require((root.id, root.digest(digest["Label"], bytes.fromhex(digest["Data"])).hex()) == (digest["Root"], digest["Digest"]), "another digest")
    for made_key in made["MACKeys"]:
        log = Key(secret, "log", made_key["Tenant"])
        require((log.id, log.mac_key(bytes.fromhex(made_key["Info"])).hex()) == (made_key["ID"], made_key["Key"]), "another MAC key")
    require([len(made[kind]) for kind in ("Tags", "Openings", "Digests", "MACKeys")] == [3, 2, 1, 2], "something is missing")


def run(folder):
    """Reads the secret and made.json of a Go test, writes written.json for it."""
    with open(os.path.join(folder, "crm.secret"), newline="") as file:
        secret = secret_of(file.read())
    with open(os.path.join(folder, "made.json")) as file:
        check(json.load(file), secret)
    with open(os.path.join(folder, "written.json"), "w") as file:
        json.dump(sample(secret, lambda: os.urandom(12)), file)
    print("agrees: stand-alone keys")
