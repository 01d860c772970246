"""Opens an installation from nothing but its key copy and the KEK.

The index, which a Go test has written, says what is where and what each
value must turn out to be; it holds no key but the KEK, the password of the
repository and public keys. Each reader must also refuse its input with a bit
turned, anywhere.
"""

import json
import os
import sqlite3
import uuid

from . import fields, log, records, restic
from .base import Refused, b64, bit_flips, equal, hkdf, parse, require, sha256, unb64, unstd64
from .keys import Installation, personkey_ad

def refuses(what, read, data, places=24):
    """The reader takes the data and refuses them with one bit turned."""
    result = read(data)
    for flipped in bit_flips(data, places):
        must_refuse(what + ": a turned bit goes unnoticed", lambda flipped=flipped: read(flipped))
    return result


def must_refuse(what, read):
    try:
        read()
    except Exception:  # noqa: BLE001 - whatever it says, it did not take them
        return
    raise Refused(what)


class Reading:
    """One pass over an installation; every method proves one chapter."""

    def __init__(self, path):
        self.folder = os.path.dirname(os.path.abspath(path))
        with open(path, encoding="utf-8") as file:
            self.index = json.load(file)
        self.tenant, self.kek = self.index["tenant"], bytes.fromhex(self.index["kek"])
        self.keys = refuses("key copy", lambda copy: Installation(copy, self.kek), self.file(self.index["copy"]))

    def path(self, name):
        return os.path.join(self.folder, *name.split("/"))

    def file(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def database(self):
        return sqlite3.connect(self.path(self.index["database"]))

    def keyset(self, purpose):
        return self.keys.keysets[self.tenant, purpose]

    def key_copy(self):
        """General, 0, 3 and 9: what the copy says beside the keys themselves."""
        require(self.keys.header["store"] and self.keys.header["epoch"] == 1, "the header")
        require(1_000 <= self.keys.header["lease"] <= 3_600_000_000, "the lease in the header")
        states = {row["owner"]: row["state"] for row in self.keys.of("owner")}
        require(states[self.index["first"]] == "live" and states[self.index["erased"]] == "tombstone", "states of owners")
        require([row["owner"] for row in self.keys.of("alias")] == [self.index["first"]], "aliases")
        require(len(self.keys.of("generation")) == 2, "a generation is missing")
        add = self.keys.with_person
        require(len(Installation(add(self.tenant, "p", bytes(32)), self.kek).of("key")) == len(self.keys.of("key")) + 1, "a key copy of our own")
        must_refuse("a key under a tombstone opens", lambda: Installation(add(self.tenant, "p", bytes(32), "tombstone"), self.kek))
        holes = Installation(add(self.tenant, "p", bytes(32), holes=2), self.kek)
        own = {"store": holes.header["store"], "sequence": holes.header["sequence"], "mark": holes.marks[holes.header["sequence"]]}
        require(not holes.covers(own), "a key copy with holes covers")
        return "key copy"

    def person_keys(self):
        """3: the associated data tells tenant, owner and generation apart."""
        row = self.keys.of("key")[0]
        wrap, key = self.keyset("wrap"), (row["tenant"], row["owner"], row["generation"])
        for other in ((key[0] + "x", *key[1:]), (key[0], key[1] + "x", key[2]), (*key[:2], key[2] + 1)):
            must_refuse("a person key opens in another place", lambda other=other: wrap.open(unb64(row["wrapped"]), personkey_ad(*other)))
        refuses("person key", lambda wrapped: wrap.open(wrapped, personkey_ad(*key)), unb64(row["wrapped"]), 65)
        return "person keys"

    def sealed_fields(self):
        """1 and 2: every level, padding, both forms, a record of several persons."""
        seen = set()
        for field in self.index["fields"]:
            sealed = fields.parse_text(field["text"]) if "text" in field else unb64(field["sealed"])
            require(self.open_field(field, sealed) == field["plain"].encode(), "a field")
            refuses("sealed field", lambda data, field=field: self.open_field(field, data), sealed)
            seen.add((field["level"], field["owner"][:2] if field["owner"][1:2] == ":" else "person", "text" in field))
        for want in [(1, "t:", False), (2, "person", False), (3, "person", True), (2, "r:", False)]:
            require(want in seen or (want[0] | fields.PADDED, *want[1:]) in seen, "a kind of field is missing: %r" % (want,))
        return "sealed fields"

    def open_field(self, field, sealed):
        ad = fields.field_ad(field["level"], self.tenant, field["table"], field["column"], field["owner"], field["row"])
        plain = fields.open_sealed(self.keys, self.tenant, field["owner"], ad, sealed)
        if not field["level"] & fields.PADDED:
            return plain
        value = fields.unpad(plain)
        require(fields.pad(value, field["bucket"]) == plain, "padding of another length")
        return value

    def person_sealed(self):
        """2: bytes for other packages."""
        for blob in self.index["blobs"]:
            ad = fields.personseal_ad(blob["purpose"], self.tenant, blob["owner"], unb64(blob["ad"]))

            def check(data, blob=blob, ad=ad):
                return fields.open_sealed(self.keys, self.tenant, blob["owner"], ad, data)

            require(refuses("person-sealed bytes", check, unb64(blob["sealed"])) == blob["plain"].encode(), "person-sealed bytes")
        return "person-sealed bytes"

    def streams(self):
        """4: several segments, and none of them cut off, swapped or doubled."""
        stream = self.index["stream"]
        ad = fields.stream_ad(self.tenant, stream["table"], stream["column"], stream["owner"], stream["row"])
        sealed = self.file(stream["file"])
        name, content = refuses("stream", lambda data: fields.open_stream(self.keys, self.tenant, stream["owner"], ad, data), sealed, 16)
        require(name == stream["name"] and sha256(content).hex() == stream["sha256"] and len(sealed) > 2 * fields.SEGMENT, "the stream")
        first, second = 5 + fields.SEGMENT, 5 + 2 * fields.SEGMENT
        for cut in (sealed[:second], sealed[:first] + sealed[second:], sealed + sealed[first:second]):
            must_refuse("a stream opens with other segments", lambda cut=cut: fields.open_stream(self.keys, self.tenant, stream["owner"], ad, cut))
        return "stream"

    def lookup_indexes(self):
        """5: narrow and wide values; the root is the one that the version's row names."""
        for index in self.index["indexes"]:
            place = (self.tenant, index["table"], index["index"], index["version"])
            want = int(index["value"]) if index["bits"] <= 63 else unb64(index["value"])

            def check(normal, index=index, place=place, want=want):
                got = fields.index_value(self.keys.index_root(*place), *place, index["normaliser"], index["bits"], normal)
                require(got == want, "a blind index")

            refuses("blind index", check, fields.normalise(index["normaliser"], index["input"]).encode())
        return "blind indexes"

    def row_seals(self):
        """7: rows as they stand in the database, read with SQLite alone."""
        rows = []
        for key, version, schema, event, seal, values in self.stored_rows():
            def check(values, tag, place=(key, version, schema, event)):
                data = records.seal_input(self.tenant, "contacts", *place, values)
                self.keyset("seal").verify(data, tag, "a row seal")

            (name, kind, value), *rest = values
            refuses("row seal", lambda tag, check=check, values=values: check(values, tag), seal)
            refuses("sealed row", lambda value, check=check, field=(name, kind), rest=rest, seal=seal: check([(*field, value), *rest], seal), value)
            rows.append((key, version, seal))
        require(len(rows) >= 2, "no rows")
        refuses("roots", lambda text: records.check_roots(self.keyset("seal"), text, rows), self.index["roots"].encode())
        return "row seals and roots"

    def stored_rows(self):
        """The sealed rows of contacts: key, version, schema, event, seal, typed fields."""
        database = self.database()
        for key, city, email, note, version, event, schema, seal in database.execute(
                "SELECT id, city, email, note, version, event, schema_id, seal FROM contacts ORDER BY id").fetchall():
            values = [("email", 5, email), ("city", 1 if city is None else 2, (city or "").encode()), ("note", 2, note.encode())]
            yield key, version, schema, uuid.UUID(event).bytes if event else b"", seal, values
        database.close()

    def tags(self):
        """General: tags for other packages, by the tenant's and the installation's keysets."""
        for tag in self.index["tags"]:
            keyset = self.keys.keysets[tag["tenant"], tag["purpose"]]
            refuses("tag", lambda data, keyset=keyset, tag=tag: keyset.verify(unb64(tag["data"]), data, "a tag"), unb64(tag["tag"]), 37)
        for key in self.index["mac keys"]:
            equal(unb64(key["key"]), hkdf(self.keyset("log").keys[key["id"]], unb64(key["info"])), "a MAC key of audit")
        return "tags"

    def suppression(self):
        """11: the digest is stored with the id of its root."""
        want = self.index["suppression"]
        root = self.keyset("suppression").keys[want["root"]]

        def check(value):
            equal(unb64(want["digest"]), records.suppression(root, self.tenant, want["channel"], want["normaliser"], value), "a digest")

        refuses("suppression", check, want["value"].encode())
        return "suppression"

    def audit_queue(self):
        """6: every event that waits carries its tags, what stays of a sequenced one has no body, and the state row carries its own."""
        keys, database = self.keyset("log"), self.database()
        columns = "origin, root, tag, size, published, beat, beat_size, found, mirrored, people, drained, pruned, swept"
        origin, root, tag, *numbers = database.execute("SELECT %s FROM crmguard_audit_state" % columns).fetchone()
        (left,) = database.execute("SELECT COUNT(*) FROM crmguard_audit_events WHERE idx IS NOT NULL AND body IS NOT NULL").fetchone()
        database.close()
        name = origin.rsplit("/", 1)[0]

        def check(row):
            tag, leaf, sealed = log.read_row(row)
            log.check_mac_tag(keys, "queue-key/v2", name, log.queue_input(name, self.tenant, sealed, leaf), tag, "a queue tag")

        for queued in self.index["queued"]:
            refuses("queue tag", check, unb64(queued["body"]))
        require(len(self.index["queued"]) >= 3 and left == 0, "%d events, %d sequenced ones with their bodies" % (len(self.index["queued"]), left))
        given = self.index["given"]
        (retry,) = [unb64(queued["retry"]) for queued in self.index["queued"] if queued["id"] == given["id"]]
        tag_of = log.mac_tag(keys, "retry-key/v2", name, log.retry_input(self.tenant, given))
        equal(retry, tag_of[5:], "a retry tag")
        refuses("state", lambda root: keys.verify(log.state_input(origin, root, *numbers), tag, "the state's tag"), root)
        for at in range(len(numbers)):
            moved = [number + (i == at) for i, number in enumerate(numbers)]
            must_refuse("state: a number", lambda moved=moved: keys.verify(log.state_input(origin, root, *moved), tag, "the state's tag"))
        return "audit queue"

    def audit_log(self):
        """6: the published folder, and a proof for one entry."""
        audit = self.index["audit"]
        folder, vkey = self.path(audit["folder"]), audit["key"]
        entries = log.read_log(folder, vkey)
        size, root = refuses("checkpoint", lambda note: log.open_checkpoint(note, vkey), log.read_file(folder, "checkpoint"), 60)
        hashes = log.read_file(folder, log.tile_path("0", size))
        bundle = log.read_file(folder, log.tile_path("entries", size))
        refuses("entry bundle", lambda data: log.check_entries(data, hashes, size, root), bundle)
        refuses("hash tile", lambda data: log.check_entries(bundle, data, size, root), hashes)
        leaves = [log.check_leaf(entry) for entry in entries]
        require({"event", "beat", "erase"} <= {leaf["kind"] for leaf in leaves}, "a kind of leaf is missing")
        at = [leaf["id"] for leaf in leaves].index(audit["proved"])
        refuses("proof", lambda data: log.check_proof(data, entries[at], vkey), self.file(audit["proof"]), 60)
        refuses("proof", lambda entry: log.check_proof(self.file(audit["proof"]), entry, vkey), entries[at])
        self.leaves = {leaf["id"]: leaf for leaf in leaves}
        return "audit log"

    def audit_openings(self):
        """6: openings out of the database, against the commitments of the published leaves."""
        database, opened, contents = self.database(), {}, {}
        (origin,) = database.execute("SELECT origin FROM crmguard_audit_state").fetchone()
        name = origin.rsplit("/", 1)[0]
        for surrogate, person, head, state, into, tag in database.execute("SELECT surrogate, person, head, state, into_surrogate, tag FROM crmguard_audit_surrogates").fetchall():
            row = log.surrogate_input(self.tenant, surrogate, state, into or b"", person or "")
            log.check_mac_tag(self.keyset("log"), "surrogate-key/v2", name, row, tag, "the tag of a surrogate")
            if head is not None:
                content = refuses("head", lambda head, person=person, surrogate=surrogate: log.open_head(self.keys, "audit", self.tenant, person, name, surrogate, head), head)
                contents[surrogate] = (person, content)
        rows = database.execute("SELECT e.id, o.owner, o.sealed FROM crmguard_audit_openings AS o JOIN crmguard_audit_entries AS e ON e.idx = o.idx").fetchall()
        database.close()
        for event, owner, sealed in rows:
            leaf, (person, content) = self.leaves[str(uuid.UUID(bytes=event))], contents[owner]

            def check(data, leaf=leaf, content=content, owner=owner):
                seed, fields = log.read_body(log.open_body(content, uuid.UUID(leaf["id"]).bytes, owner, data))
                values = {(path, side): (kind, value) for path, side, kind, value in fields}
                return log.check_changes(leaf, "s:" + b64(owner) if any(owner) else None, seed, values)

            opened[leaf["id"], person or "t:"] = refuses("opening", check, sealed)
        for change in self.index["audit"]["changes"]:
            got = opened[change["event"], change["owner"]][change["path"]]
            require([[kind, b64(value)] for kind, value in got] == [change["old"], change["new"]], "values of an event")
        return "audit openings"

    def ledger(self):
        """8: chain, macs, and digests that name the erased person to whoever holds the root."""
        want, keyset = self.index["ledger"], self.keys.keysets["", "ledger"]
        entries, head = refuses("ledger", lambda data: records.read_ledger(keyset, data), self.file(want["file"]), 60)
        require(head.decode() == want["head"] and [entry["op"] for entry in entries] == ["intent", "done"], "the ledger")
        for entry in entries:
            root = keyset.keys[int(entry["keyid"])]
            require(unb64(entry["person"]) == records.ledger_digest(root, "person", self.tenant, want["person"]), "the person's digest")
            require(unb64(entry["tenant"]) == records.ledger_digest(root, "tenant", self.tenant, self.tenant), "the tenant's digest")
        root = keyset.keys[int(entries[0]["keyid"])]
        alias = records.ledger_digest(root, "person", self.tenant, want["alias"])
        ref = records.ledger_digest(root, "ref", self.tenant, records.ref_id("contacts", want["row"]))
        require(entries[0]["aliases"] == [b64(alias)] and b64(ref) in entries[0]["refs"], "aliases or refs")
        return "ledger"

    def certificate(self):
        """10."""
        want = self.index["certificate"]
        public, salt = unb64(want["public"]), unb64(want["salt"])
        statement, digest = refuses("certificate", lambda data: records.open_certificate(data, public), self.file(want["file"]), 60)
        subject = statement["subject"][0]
        require(subject["digest"]["sha256"] == records.person_commitment(salt, self.tenant, want["person"]).hex(), "the subject")
        require(subject["name"] == "erasure/1" and statement["predicate"]["audit_event_id"] in self.leaves, "name or event")
        done = json.loads(self.file(self.index["ledger"]["file"]).splitlines()[-1])
        require(unb64(done["cert"]) == digest, "the ledger names another certificate")
        return "certificate"

    def repository(self):
        """9: key file, config, index, snapshot, packs; nothing is left unread."""
        want = self.index["repository"]
        repository = restic.Repository(self.path(want["folder"]), want["password"])
        require(repository.config["id"] == want["id"] and restic.irreducible(int(repository.config["chunker_polynomial"], 16)), "config")
        require(repository.key_file["username"] == repository.key_file["hostname"] == "crmguard", "host and user names")
        refuses("config", lambda data: json.loads(repository.box.open(data)), repository.read("config"))
        refuses("key file", lambda data: restic.open_master(repository.key_file, want["password"], data), unstd64(repository.key_file["data"]))
        for name in repository.packs():
            refuses("pack", lambda data: restic.open_pack(repository.box, data), repository.stored(*name))
        for folder in ("index", "snapshots"):
            for name in os.listdir(os.path.join(repository.folder, folder)):
                refuses(folder, lambda data: restic.decode_document(repository.box, data), repository.stored(folder, name))
        self.snapshot, self.files = repository.snapshot(want["snapshot"])
        require({"crmguard", "job:nightly"} <= set(self.snapshot["tags"]), "tags of the snapshot")
        return "repository"

    def manifest(self):
        """9: mac, positions, and the digest of every source and table."""
        want, keyset, data = self.index["repository"], self.keys.keysets["", "manifest"], self.files[".crmguard/manifest.json"]
        require(sha256(data).hex() == want["manifest"], "another manifest")
        manifest = refuses("manifest", lambda data: restic.open_manifest(keyset, data), data, 60)
        proved = restic.check_sources(keyset, manifest, self.files)
        require({"db", "db/contacts", "files", "db/crmguard_audit_events"} <= proved, "a source is missing")
        for path in ("db/crm.db", "files/offer.bin"):
            changed = dict(self.files, **{path: next(bit_flips(self.files[path], 1))})
            must_refuse("a changed source goes unnoticed", lambda changed=changed: restic.check_sources(keyset, manifest, changed))
        position = parse(manifest["key_position"].encode())
        require(self.keys.covers(position), "the key copy does not cover the key position")
        for changed in (dict(position, mark=b64(bytes(16))), dict(position, sequence=position["sequence"] - 1), dict(position, store="another")):
            require(not self.keys.covers(changed), "a position of another history is covered")
        require(manifest["ledger_head"] == self.index["ledger"]["head"], "the ledger head")
        size, _ = log.open_checkpoint(manifest["audit_checkpoint"].encode(), self.index["audit"]["key"])
        require(0 < size <= len(self.leaves), "the checkpoint")
        counts = {g["generation"]: g["count"] for g in manifest["generations"]}
        require(counts == {int(g): n for g, n in want["generations"].items()}, "counts of generations")
        return "manifest"


def run(path):
    reading = Reading(path)
    for chapter in (
        reading.key_copy, reading.person_keys, reading.sealed_fields, reading.person_sealed, reading.streams, reading.lookup_indexes,
        reading.row_seals, reading.tags, reading.suppression, reading.audit_queue, reading.audit_log, reading.audit_openings,
        reading.ledger, reading.certificate, reading.repository, reading.manifest,
    ):
        print("agrees: " + chapter())
