"""Leaves, commitments, openings, queue tags and the published log (formats.md 6; C2SP; RFC 6962)."""

import datetime
import os
import struct
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .base import TEXT, b64, canonical, equal, hkdf, lp, mac, parse, require, sha256, std64, u32, u64, unb64, unstd64
from .fields import open_sealed, personseal_ad

OLD, NEW, OTHER = 0, 1, 2
STANDIN = 11
KINDS = {"event", "erase", "prune", "key", "recover", "merge", "capture", "gap"}
OPTIONAL = {"changes", "for", "object", "persons", "policy", "prior", "reason", "request"}
REQUIRED = {"action", "actor", "at", "id", "kind", "outcome", "tenant", "v"}
BEAT = {"at", "heads", "id", "kind", "size", "v"}
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime(STAMP)


def check_leaf(data):
    """The members of section 6, and nothing that is not canonical."""
    leaf = parse(data)
    require(leaf["v"] == 1 and len(data) <= 65535, "another version, or too large")
    names = set(leaf)
    if leaf["kind"] == "beat":
        require(names == BEAT, "members of a beat")
    else:
        own = {"capture": {"cap"}, "gap": {"gap"}}.get(leaf["kind"], set())
        require(leaf["kind"] in KINDS and REQUIRED | own <= names <= REQUIRED | OPTIONAL | own, "members of a leaf")
        check_kind(leaf)
        require(leaf["outcome"] in ("ok", "denied", "failed", "partial"), "outcome")
    require(datetime.datetime.strptime(leaf["at"], STAMP).strftime(STAMP) == leaf["at"], "time")
    require(str(uuid.UUID(leaf["id"])) == leaf["id"], "event id")
    persons = leaf.get("persons", [])
    require(persons == sorted(set(persons)) and len(persons) <= 500, "persons")
    for surrogate in persons + [c["who"] for c in leaf.get("changes", []) if "who" in c]:
        require(surrogate.startswith("s:") and len(unb64(surrogate[2:])) == 16, "surrogate")
    paths = [change["path"] for change in leaf.get("changes", [])]
    require(paths == sorted(paths), "changes are not sorted by path")
    require(all(change.get("odd") in (None, "old", "new", "both") for change in leaf.get("changes", [])), "odd")
    return leaf


def check_kind(leaf):
    """What only leaves of one kind say."""
    if leaf["kind"] == "merge":
        kind, into = leaf["object"]
        require(kind == "person" and len(leaf["persons"]) >= 2 and into in leaf["persons"], "merge")
    if leaf["kind"] == "capture":
        seen = leaf["cap"]
        columns = seen.get("cols", [])
        require({"op", "table"} <= set(seen) <= {"claimed", "cols", "op", "table"} and seen["table"] and seen["op"] in ("i", "u", "d", "t"), "capture")
        require(columns == sorted(set(columns)) and all(columns), "columns of a capture")
    if leaf["kind"] == "gap":
        lost = leaf["gap"]
        require(set(lost) == {"count", "from", "to", "why"} and lost["count"] >= 1 and lost["why"] in ("failed", "suppressed"), "gap")
        times = [datetime.datetime.strptime(lost[end], STAMP) for end in ("from", "to")]
        require(times == sorted(times), "times of a gap")


def commitment(seed, event, path, side, kind, value):
    """Returns salt and commitment of one side of a field."""
    salt = mac(seed, lp("crmguard/audit/salt/v1") + lp(path) + bytes([side]))
    return salt, sha256(lp("crmguard/audit/commit/v1") + salt + lp(event) + lp(path) + bytes([side, kind]) + lp(value))


def body_key(content, event):
    """What an opening of one event is sealed under, out of the content key of its owner."""
    return mac(content, lp("crmguard/opening/key/v2", event))


def open_body(content, event, owner, body):
    return AESGCM(body_key(content, event)).decrypt(body[:12], body[12:], lp("crmguard/opening/v2", event, owner))


def seal_body(content, event, owner, plain):
    nonce = os.urandom(12)
    return nonce + AESGCM(body_key(content, event)).encrypt(nonce, plain, lp("crmguard/opening/v2", event, owner))


def write_body(seed, fields):
    """Seed, and fields by path and side; zeros to a multiple of 256."""
    plain = seed + struct.pack(">H", len(fields))
    for path, side, kind, value in sorted(fields):
        plain += lp(path) + bytes([side, kind]) + lp(value)
    return plain.ljust(-(-len(plain) // 256) * 256, b"\0")


def read_body(plain):
    """Returns the seed and the fields; write_body gives the same bytes again."""
    seed, (count,), rest, fields = plain[:32], struct.unpack(">H", plain[32:34]), plain[34:], []
    for _ in range(count):
        path, rest = unlp(rest)
        side, kind, (value, rest) = rest[0], rest[1], unlp(rest[2:])
        fields.append((path.decode(), side, kind, value))
    require(write_body(seed, fields) == plain and len({field[:2] for field in fields}) == count, "another spelling of an opening")
    return seed, fields


def write_head(content, surrogate, person):
    """What is sealed under the key of a person: the content key, and whom the surrogate stands for."""
    plain = b"\x01" + content + lp(surrogate) + lp(person)
    return plain.ljust(-(-len(plain) // 64) * 64, b"\0")


def head_ad(name, surrogate):
    return lp("crmguard/surrogate/v1", name, surrogate)


def open_head(keys, purpose, tenant, person, name, surrogate, sealed):
    """Returns the content key."""
    plain = open_sealed(keys, tenant, person or "t:", personseal_ad(purpose, tenant, person or "t:", head_ad(name, surrogate)), sealed)
    require(write_head(plain[1:33], surrogate, person) == plain, "another head")
    return plain[1:33]


def unlp(data):
    (size,) = struct.unpack(">I", data[:4])
    require(len(data) >= 4 + size, "a part that ends too early")
    return data[4 : 4 + size], data[4 + size :]


def read_frames(sealed):
    """The openings of an event by owner."""
    version, count = struct.unpack(">BH", sealed[:3])
    frames, rest = [], sealed[3:]
    for _ in range(count):
        owner, (body, rest) = rest[:16], unlp(rest[16:])
        frames.append((owner, body))
    owners = [owner for owner, _ in frames]
    require(version == 2 and rest == b"" and owners == sorted(set(owners)), "openings of an event")
    return frames


def write_frames(frames):
    out = b"\x02" + struct.pack(">H", len(frames))
    for owner, body in sorted(frames):
        out += owner + lp(body)
    return out


def write_row(tag, leaf, sealed):
    return b"\x01" + tag + lp(leaf) + sealed


def read_row(row):
    """Tag, leaf and openings of an event that waits."""
    leaf, sealed = unlp(row[38:])
    require(row[0] == 1, "another row")
    return row[1:38], leaf, sealed


def check_changes(leaf, who, seed, values):
    """Every commitment about one surrogate (None is nobody) against its opening; returns the changes in clear."""
    event, clear = uuid.UUID(leaf["id"]).bytes, {}
    for change in leaf["changes"]:
        if change.get("who") != who:
            continue
        path = change["path"]
        if path == "*":
            clear |= _unfold(change, event, seed, values)
            continue
        if path.startswith("c:"):
            path = _undeclared(event, seed, values, path[2:])
        for side, member in ((OLD, "old"), (NEW, "new")):
            equal(unb64(change[member]), commitment(seed, event, path, side, *values[path, side])[1], "a commitment")
        require(change.get("odd") == _odd(values[path, OLD], values[path, NEW]), "odd is said wrongly")
        clear[path] = [values[path, OLD], values[path, NEW]]
    return clear


def _odd(old, new):
    """Which of two typed values are stand-ins."""
    sides = old[0] == STANDIN, new[0] == STANDIN
    return {(False, False): None, (True, False): "old", (False, True): "new", (True, True): "both"}[sides]


def _unfold(change, event, seed, values):
    """All fields of an opening, as they would stand in a leaf, under one hash a side."""
    lines, clear = [], {}
    for path in {path for path, _ in values}:
        clear[path] = [values[path, OLD], values[path, NEW]]
        shown = path
        if (path, OTHER) in values:
            require(values[path, OTHER] == (TEXT, path.encode()), "an undeclared path under another name")
            shown = "c:" + b64(commitment(seed, event, path, OTHER, *values[path, OTHER])[1])
        lines.append((shown, [b64(commitment(seed, event, path, side, *values[path, side])[1]) for side in (OLD, NEW)]))
    for side, member in ((OLD, "old"), (NEW, "new")):
        data = b"".join(lp(shown, sides[side]) for shown, sides in sorted(lines))
        equal(unb64(change[member]), sha256(lp("crmguard/audit/fold/v1") + bytes([side]) + data), "a fold")
    odd = {_odd(*sides) for sides in clear.values()} - {None}
    require(change.get("odd") == (None if not odd else odd.pop() if len(odd) == 1 else "both"), "odd is said wrongly")
    return clear


def _undeclared(event, seed, values, wanted):
    """The path that side 2 commits to."""
    for (path, side), (kind, value) in values.items():
        if side == OTHER and (kind, value) == (TEXT, path.encode()) and b64(commitment(seed, event, path, OTHER, kind, value)[1]) == wanted:
            return path
    require(False, "an undeclared path without its opening")


def check_disclosure(data, vkey):
    """One value of one event, without the opening; returns the event id, the path, the side and the typed value."""
    said = parse(data)
    optional = {"fold", "name", "who"} & set(said)
    require(set(said) == {"leaf", "path", "proof", "salt", "side", "type", "v", "value"} | optional, "members of a disclosure")
    require(said["v"] == 1 and said["side"] in (OLD, NEW), "version or side of a disclosure")
    text = unb64(said["leaf"])
    leaf = check_leaf(text)
    check_proof(unb64(said["proof"]), text, vkey)
    event, path, value = uuid.UUID(leaf["id"]).bytes, said["path"], unb64(said["value"])

    def under(salt, side, kind, data):
        require(len(salt) == 32, "a salt of another size")
        return b64(sha256(lp("crmguard/audit/commit/v1") + salt + lp(event) + lp(path) + bytes([side, kind]) + lp(data)))

    wanted = under(unb64(said["salt"]), said["side"], said["type"], value)
    shown = "c:" + under(unb64(said["name"]), OTHER, TEXT, path.encode()) if "name" in said else path
    member = ("old", "new")[said["side"]]
    if "fold" in said:
        require([shown, wanted] in said["fold"], "the value is not in the fold")
        lines = b"".join(lp(part, commitment) for part, commitment in said["fold"])
        shown, wanted = "*", b64(sha256(lp("crmguard/audit/fold/v1") + bytes([said["side"]]) + lines))
    matching = [c for c in leaf["changes"] if c.get("who") == said.get("who") and c["path"] == shown and c[member] == wanted]
    require(len(matching) == 1, "the entry does not commit to the value")
    if "fold" not in said:
        require((matching[0].get("odd") in (member, "both")) == (said["type"] == STANDIN), "odd is said wrongly")
    return leaf["id"], path, said["side"], (said["type"], value)


def queue_input(name, tenant, sealed, leaf):
    return lp("crmguard/audit/queue/v2", name, tenant, sha256(sealed)) + leaf


def retry_input(tenant, given):
    """An event as it was given, without its time."""
    out = lp("crmguard/audit/retry/v2", tenant, uuid.UUID(given["id"]).bytes, given["action"], given["actor"], given["outcome"], *given["object"])
    out += bytes([given["person"]]) + lp(given["reason"], given["request"], given["policy"], given["for"], given["prior"])
    out += u32(len(given["persons"])) + lp(*given["persons"]) + u32(len(given["changes"]))
    for path, who, old, new in given["changes"]:
        out += lp(path, who)
        for kind, value in (old, new):
            out += bytes([kind]) + lp(unb64(value))
    return out


def surrogate_input(tenant, surrogate, state, into):
    return lp(tenant, surrogate) + bytes([state]) + lp(into)


def mac_tag(keyset, use, name, data):
    """Under a key of one use and one log: 0x01 ‖ id of the key that it comes from ‖ HMAC-SHA256."""
    key = hkdf(keyset.keys[keyset.primary], lp("crmguard/audit/" + use, name))
    return b"\x01" + u32(keyset.primary) + mac(key, data)


def check_mac_tag(keyset, use, name, data, tag, what):
    require(len(tag) == 37 and tag[0] == 1, what + " is no tag")
    number = int.from_bytes(tag[1:5], "big")
    require(number in keyset.keys, what + " is under an unknown key")
    equal(tag[5:], mac(hkdf(keyset.keys[number], lp("crmguard/audit/" + use, name)), data), what)


def state_input(origin, root, size, *numbers):
    """published, beat, beat size, found, mirrored, people, drained, pruned, swept"""
    require(len(numbers) == 9, "a state of other numbers")
    return lp("crmguard/audit/state/v2", origin) + u64(size) + root + b"".join(u64(n) for n in numbers)


def head_input(origin, root, size, at, note):
    return lp("crmguard/audit/head/v1", origin) + u64(size) + root + u64(at) + lp(note)


def find_key(column, tenant, value):
    return int.from_bytes(sha256(lp("crmguard/audit/find/v1", column, tenant, value))[:8], "big", signed=True)


# RFC 6962.
def leaf_hash(data):
    return sha256(b"\0" + data)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


def _split(size):
    """The largest power of two below size."""
    return 1 << (size - 1).bit_length() - 1


def tree_root(hashes):
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256(b"")
    k = _split(len(hashes))
    return node_hash(tree_root(hashes[:k]), tree_root(hashes[k:]))


def inclusion_path(hashes, index):
    if len(hashes) <= 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return inclusion_path(hashes[:k], index) + [tree_root(hashes[k:])]
    return inclusion_path(hashes[k:], index - k) + [tree_root(hashes[:k])]


def root_from_path(entry, index, size, path):
    """The root that an inclusion path leads to."""
    if size == 1:
        require(not path, "a path that is too long")
        return entry
    require(path, "a path that is too short")
    k = _split(size)
    if index < k:
        return node_hash(root_from_path(entry, index, k, path[:-1]), path[-1])
    return node_hash(path[-1], root_from_path(entry, index - k, size - k, path[:-1]))


# C2SP signed notes, checkpoints, tiles and proofs.
def key_hash(name, public):
    return sha256(name.encode() + b"\n\x01" + public)[:4]


def verifier_key(name, private):
    """The text form of a note's verifier key."""
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return "%s+%s+%s" % (name, key_hash(name, public).hex(), std64(b"\x01" + public))


def open_note(note, vkey):
    """Verifies the signature that vkey names and returns the text."""
    name, short, key = vkey.split("+", 2)
    public = unstd64(key)[1:]
    require(key_hash(name, public).hex() == short and unstd64(key)[0] == 1, "no Ed25519 key of a note")
    text, signatures = note.decode().rsplit("\n\n", 1)
    lines = signatures.split("\n")
    require(lines.pop() == "" and lines, "a signature is wanted")
    for line in lines:  # of several keys, while one takes the place of another
        mark, signer, signature = line.split(" ")
        raw = unstd64(signature)
        require(mark == "\u2014", "no signature line")
        if signer == name and raw[:4] == key_hash(name, public):
            Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode() + b"\n")
            return text + "\n"
    require(False, "signed by another key")


def sign_note(text, name, private):
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = key_hash(name, public) + private.sign(text.encode())
    return ("%s\n\u2014 %s %s\n" % (text, name, std64(signature))).encode()


def open_checkpoint(note, vkey):
    """Returns size and root."""
    origin, size, root, rest = open_note(note, vkey).split("\n", 3)
    require(origin == vkey.split("+")[0] and rest == "" and str(int(size)) == size, "another checkpoint")
    require(int(size) > 0 or unstd64(root) == sha256(b""), "no entries have one root")
    return int(size), unstd64(root)


def tile_path(kind, size):
    """The one tile of a log of fewer than 256 entries."""
    require(0 < size < 256, "only small logs are read here")
    return "tile/%s/000.p/%d" % (kind, size)


def read_file(folder, name):
    with open(os.path.join(folder, *name.split("/")), "rb") as file:
        return file.read()


def read_log(folder, vkey):
    """Returns the entries after proving them against tiles and signed root."""
    size, root = open_checkpoint(read_file(folder, "checkpoint"), vkey)
    return check_entries(read_file(folder, tile_path("entries", size)), read_file(folder, tile_path("0", size)), size, root)


def check_entries(bundle, hash_tile, size, root):
    entries = split_bundle(bundle)
    hashes = [leaf_hash(entry) for entry in entries]
    require(len(entries) == size and tree_root(hashes) == root, "entries do not give the root")
    require(hash_tile == b"".join(hashes), "the hash tile differs")
    return entries


def split_bundle(bundle):
    """An entry bundle: length (2) ‖ entry, again and again."""
    entries, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at:at + 2], "big")
        require(end <= len(bundle), "a bundle that is cut off")
        entries.append(bundle[at + 2:end])
        at = end
    return entries


def write_log(folder, name, private, entries):
    """Publishes a small log; returns the checkpoint."""
    hashes = [leaf_hash(entry) for entry in entries]
    files = {
        tile_path("entries", len(entries)): b"".join(len(e).to_bytes(2, "big") + e for e in entries),
        tile_path("0", len(entries)): b"".join(hashes),
        "checkpoint": sign_note("%s\n%d\n%s\n" % (name, len(entries), std64(tree_root(hashes))), name, private),
    }
    for path, data in files.items():
        path = os.path.join(folder, *path.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    return files["checkpoint"]


def proof(entries, index, checkpoint):
    """c2sp.org/tlog-proof@v1"""
    path = inclusion_path([leaf_hash(entry) for entry in entries], index)
    return ("c2sp.org/tlog-proof@v1\nindex %d\n%s\n" % (index, "".join(std64(h) + "\n" for h in path))).encode() + checkpoint


def check_proof(data, entry, vkey):
    head, checkpoint = data.split(b"\n\n", 1)
    title, index, *path = head.decode().split("\n")
    require(title == "c2sp.org/tlog-proof@v1" and index == "index %d" % int(index[6:]), "no proof")
    size, root = open_checkpoint(checkpoint, vkey)
    require(int(index[6:]) < size, "an index outside the tree")
    require(root_from_path(leaf_hash(entry), int(index[6:]), size, [unstd64(h) for h in path]) == root, "the proof leads to another root")


def mirror_file(label, number, parts):
    """A file of the mirror; parts are those of one opening, or of one row of a surrogate."""
    return ("crmguard/audit/%s/v1\n" % label).encode() + u64(number) + b"".join(parts)


def mirror_opening(index, owner, sealed):
    return u64(index) + lp(owner, sealed)


def mirror_person(tenant, surrogate, head):
    return lp(tenant, surrogate, head)
