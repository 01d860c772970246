"""Adds to an installation what a Go test must open, with keys out of its key copy.

Everything is written as formats.md says and not as any Go code does it;
what was written is listed in written.json beside the index.
"""

import json
import os
import time
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import fields, log, records, restic
from .base import ABSENT, BYTES, NULL, TEXT, b64, canonical, sha256, unb64
from .reading import Reading

EMAIL, NOTE, NICK = " Grüße@B.Example ", "written by another program", b"Py" * 40
ORIGIN = "python.example/audit/0"


class Writing(Reading):
    """One pass; every method writes one chapter and returns what to look for."""

    def key(self, owner):
        """The owner's key of the active generation, which seals."""
        generation = self.keys.active(self.tenant)
        return self.keys.person_key(self.tenant, owner, generation), generation

    def store(self, name, data):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(data)
        return name

    def seal(self, table, column, level, owner, row, value, key=None):
        key, generation = key or self.key(owner)
        return fields.seal(key, generation, fields.field_ad(level, self.tenant, table, column, owner, row), value)

    def field(self, table, column, level, owner, plain, bucket=None):
        value = plain.encode() if bucket is None else fields.pad(plain.encode(), bucket)
        sealed = self.seal(table, column, level, owner, "k1", value)
        return {
            "table": table, "column": column, "owner": owner, "row": "k1", "plain": plain,
            "sealed": b64(sealed), "text": fields.text_form(sealed),
        }

    def sealed_fields(self):
        """1 and 2."""
        person, record = self.index["second"], self.index["record"]
        out = [self.field("cards", "memo", 3, person, "a memo"), self.field("cards", "text", 2, person, "in text form")]
        out += [self.field("cards", "phone", 0x12, person, "7" * size, 16) for size in (0, 15, 16)]
        out += [self.field("cards", "story", 0x12, person, "s" * size, 0) for size in (0, 1, 9, 100, 5000)]
        out += [self.field("settings", "signature", 1, "t:", "the tenant's own"), self.field("meetings", "body", 2, record, "with two persons")]
        return {"fields": out}

    def person_sealed(self):
        """2."""
        out = []
        for owner in (self.index["second"], "t:"):
            key, generation = self.key(owner)
            sealed = fields.seal(key, generation, fields.personseal_ad("undo", self.tenant, owner, b"\0ad"), b"an undo")
            out.append({"owner": "" if owner == "t:" else owner, "ad": b64(b"\0ad"), "sealed": b64(sealed), "plain": "an undo"})
        return {"blobs": out}

    def stream(self):
        """4: one byte short of two segments' room, and three segments."""
        out, person = [], self.index["second"]
        key, generation = self.key(person)
        room = 2 * (fields.SEGMENT - fields.STREAM_TAG) - fields.HEADER
        for number, size in enumerate((0, room - 12 - 7, room - 12 - 6, 150_000)):
            content = os.urandom(size)
            ad = fields.stream_ad(self.tenant, "files", "content", person, "f9")
            name = self.store("python/stream-%d" % number, fields.seal_stream(key, generation, ad, "foreign", content))
            out.append({"file": name, "owner": person, "row": "f9", "name": "foreign", "size": size, "sha256": sha256(content).hex()})
        return {"streams": out}

    def tags(self):
        """General: Tink tags by keysets of tenant and installation."""
        places = [(self.tenant, "seal"), (self.tenant, "log"), ("", "manifest")]
        tags = [b64(self.keys.keysets[place].tag(b"foreign")) for place in places]
        return {"tags": [{"tenant": tenant, "purpose": purpose, "data": b64(b"foreign"), "tag": tag} for (tenant, purpose), tag in zip(places, tags)]}

    def suppression(self):
        """11: an entry of a list that Go must find."""
        keyset = self.keyset("suppression")
        digest = records.suppression(keyset.keys[keyset.primary], self.tenant, "e-mail", "email/1", "bob@b.example")
        return {"suppression": {"value": "bob@b.example", "root": keyset.primary, "digest": b64(digest)}}

    def contact(self):
        """5, 6 and 7: a row, its index values, its seal, its event and the opening, in one transaction."""
        person, event = self.index["first"], uuid.UUID(bytes=os.urandom(16), version=4)
        email = self.seal("contacts", "email", 2, person, "r9", EMAIL.encode())
        note = self.seal("contacts", "note", 0x13, person, "r9", fields.pad(NOTE.encode(), 64))
        values = [("email", BYTES, email), ("note", TEXT, fields.text_form(note).encode()), ("city", TEXT, b"Z\xc3\xbcrich")]
        seal = self.keyset("seal").tag(records.seal_input(self.tenant, "contacts", "r9", 3, "contact/1", event.bytes, values))
        database = self.database()
        with database:
            database.execute("INSERT INTO contacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (
                "r9", person, "Zürich", email, fields.text_form(note),
                self.index_value("email_index", "email/2", 32), self.index_value("email_wide", "exact/1", 256),
                3, str(event), "contact/1", seal, time.time_ns() // 1000))
            self.event(database, person, event)
        database.close()
        return {"contact": {"row": "r9", "person": person, "email": EMAIL, "note": NOTE, "event": str(event)}}

    def index_value(self, name, rule, bits):
        place = (self.tenant, "contacts", name, 1)
        return fields.index_value(self.keys.index_root(*place), *place, rule, bits, fields.normalise(rule, EMAIL))

    def event(self, database, person, event):
        """6: the row that waits, with the leaf, its commitments and the opening."""
        surrogate, head = database.execute("SELECT surrogate, head FROM crmguard_audit_surrogates WHERE person = ?", [person]).fetchone()
        (origin,) = database.execute("SELECT origin FROM crmguard_audit_state").fetchone()
        name, who = origin.rsplit("/", 1)[0], "s:" + b64(surrogate)
        content = log.open_head(self.keys, "audit", self.tenant, person, name, surrogate, head)
        seed = os.urandom(32)
        values = [
            ("email", log.OLD, ABSENT, b""), ("email", log.NEW, TEXT, EMAIL.encode()),
            ("nick", log.OLD, NULL, b""), ("nick", log.NEW, TEXT, NICK), ("nick", log.OTHER, TEXT, b"nick"),
        ]
        hidden = {(path, side): b64(log.commitment(seed, event.bytes, path, side, kind, value)[1]) for path, side, kind, value in values}
        changes = [{"path": path, "old": hidden[field, log.OLD], "new": hidden[field, log.NEW], "who": who}
                   for path, field in (("c:" + hidden["nick", log.OTHER], "nick"), ("email", "email"))]
        leaf = self.leaf(str(event), changes=changes, object=["contact", who], persons=[who])
        body = log.seal_body(content, event.bytes, surrogate, log.write_body(seed, values))
        sealed, keys = log.write_frames([(surrogate, body)]), self.keyset("log")
        tag = log.mac_tag(keys, "queue-key/v2", name, log.queue_input(name, self.tenant, sealed, leaf))
        retry = os.urandom(32)  # nobody sends this event again
        database.execute("INSERT INTO crmguard_audit_events (id, log, retry, body) VALUES (?, 1, ?, ?)", (event.bytes, retry, log.write_row(tag, leaf, sealed)))

    def leaf(self, event, **more):
        return canonical({
            "action": "contact.create", "actor": "u-9", "at": log.now(), "id": event, "kind": "event",
            "outcome": "ok", "tenant": self.tenant, "v": 1, **more,
        })

    def audit_log(self):
        """6: a published log of our own, with a proof."""
        private = Ed25519PrivateKey.generate()
        entries = [self.leaf(str(uuid.uuid4()), prior=str(uuid.uuid4())) for _ in range(11)]
        checkpoint = log.write_log(self.path("python/log"), ORIGIN, private, entries)
        proofs = [{"leaf": b64(entries[i]), "proof": b64(log.proof(entries, i, checkpoint))} for i in (0, 7, 10)]
        return {"log": {"folder": "python/log", "key": log.verifier_key(ORIGIN, private), "size": len(entries), "proofs": proofs}}

    def key_copy(self):
        """3 and 9: a key copy that knows one more person, and a field under that person's key."""
        person, key = str(uuid.UUID(bytes=os.urandom(16), version=4)), os.urandom(32)
        name = self.store("python/keys.jsonl", self.keys.with_person(self.tenant, person, key))
        tomb = self.store("python/tombstone.jsonl", self.keys.with_person(self.tenant, person, key, "tombstone"))
        holes = self.store("python/holes.jsonl", self.keys.with_person(self.tenant, person, key, holes=2))
        sealed = self.seal("contacts", "email", 2, person, "r8", EMAIL.encode(), (key, self.keys.active(self.tenant)))
        return {"copy": {"file": name, "tombstone": tomb, "holes": holes, "person": person, "sealed": b64(sealed), "plain": EMAIL}}

    def ledger(self):
        """8: one more intent, which names a row that has no creation time."""
        keyset, data = self.keys.keysets["", "ledger"], self.file(self.index["ledger"]["file"])
        data = records.append_intent(keyset, data, log.now(), self.tenant, self.index["second"], str(uuid.uuid4()), [("contacts", "r2")])
        return {"ledger": {"file": self.store("python/ledger/ledger.jsonl", data), "head": records.read_ledger(keyset, data)[1].decode()}}

    def certificate(self):
        """10."""
        private, salt, now = Ed25519PrivateKey.generate(), os.urandom(32), log.now()
        predicate = {
            "audit_event_id": str(uuid.uuid4()), "final_at": now, "unreadable_live_at": now, "not_covered": ["paper"],
            "classes": [{"store": "crm", "table": "contacts", "count": 2, "class": "kept", "until": now, "because": "DE-HGB-257"}],
        }
        envelope = records.sign_certificate(private, 7, salt, self.tenant, self.index["second"], predicate)
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        name = self.store("python/certificate.dsse.json", envelope)
        return {"certificate": {"file": name, "public": b64(public), "salt": b64(salt), "person": self.index["second"]}}

    def snapshots(self):
        """9: a snapshot, one with a forged manifest, and one whose files are not those of its manifest."""
        want, keyset = self.index["repository"], self.keys.keysets["", "manifest"]
        repository = restic.Repository(self.path(want["folder"]), want["password"])
        files = {"empty": b"", "notes/a.txt": b"from Python\n"}
        manifest = restic.new_manifest(keyset, "python", log.now(), {"papers": files})
        mac = unb64(json.loads(manifest)["mac"])
        forged = manifest.replace(b64(mac).encode(), b64(mac[:-1] + bytes([mac[-1] ^ 1])).encode())
        kinds = [("good", manifest, b"from Python\n"), ("forged", forged, b"from Python\n"), ("changed", manifest, b"from pythoN\n")]
        out = {}
        for number, (name, document, text) in enumerate(kinds):
            snapshot = restic.Snapshot(repository, "2027-01-0%dT00:00:00.123456Z" % (number + 1))
            papers = {"empty": b"", "notes": {"a.txt": text}}
            out[name] = snapshot.commit({".crmguard": {"manifest.json": document}, "papers": papers}, "python")
        return {"snapshots": out}


def run(path):
    writing = Writing(path)
    written = {}
    for chapter in (
        writing.sealed_fields, writing.person_sealed, writing.stream, writing.tags, writing.suppression, writing.contact,
        writing.audit_log, writing.key_copy, writing.ledger, writing.certificate, writing.snapshots,
    ):
        written.update(chapter())
    with open(writing.path("written.json"), "w", encoding="utf-8") as file:
        json.dump(written, file)
