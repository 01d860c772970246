"""Leaves, commitments, openings, queue tags and the published log (formats.md 6; C2SP; RFC 6962)."""

import datetime
import os
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .base import TEXT, b64, canonical, equal, lp, mac, parse, require, sha256, std64, u64, unb64, unstd64
from .fields import open_sealed, personseal_ad, seal

OLD, NEW, OTHER = 0, 1, 2
STANDIN = 11
OPTIONAL = {"cap", "changes", "for", "gap", "object", "persons", "policy", "prior", "reason", "request"}
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
        require(REQUIRED <= names <= REQUIRED | OPTIONAL, "members of a leaf")
        require(leaf["outcome"] in ("ok", "denied", "failed", "partial"), "outcome")
        require(("cap" in leaf) == (leaf["kind"] == "capture") and ("gap" in leaf) == (leaf["kind"] == "gap"), "members of another kind")
    if "cap" in leaf:
        captured, columns = leaf["cap"], leaf["cap"].get("cols", [])
        require(captured["table"] != "" and captured["op"] in ("i", "u", "d", "t"), "table or op of a captured row")
        require("" not in columns and columns == sorted(set(columns), key=lambda name: name.encode()), "columns of a captured row")
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


def commitment(seed, event, path, side, kind, value):
    """Returns salt and commitment of one side of a field."""
    salt = mac(seed, lp("crmguard/audit/salt/v1") + lp(path) + bytes([side]))
    return salt, sha256(lp("crmguard/audit/commit/v1") + salt + lp(event) + lp(path) + bytes([side, kind]) + lp(value))


def opening_ad(event):
    return lp("crmguard/opening/v1", event)


def seal_opening(keys, purpose, tenant, owner, event, seed, fields):
    """Canonical JSON, spaces to a multiple of 256, sealed for the owner."""
    fields = [[path, side, kind, b64(value)] for path, side, kind, value in sorted(fields)]
    plain = canonical({"fields": fields, "seed": b64(seed), "v": 1})
    plain = plain.ljust(-(-len(plain) // 256) * 256)
    generation = keys.active(tenant)
    ad = personseal_ad(purpose, tenant, owner, opening_ad(event))
    return seal(keys.person_key(tenant, owner, generation), generation, ad, plain)


def open_opening(keys, purpose, tenant, owner, event, sealed):
    """Returns the seed and (path, side) -> (type, value)."""
    plain = open_sealed(keys, tenant, owner, personseal_ad(purpose, tenant, owner, opening_ad(event)), sealed)
    require(len(plain) % 256 == 0, "padding of an opening")
    opening = parse(plain.rstrip(b" "))
    require(set(opening) == {"fields", "seed", "v"} and opening["v"] == 1, "another opening")
    order = [(path, side) for path, side, _, _ in opening["fields"]]
    require(order == sorted(set(order)), "fields are not sorted")
    return unb64(opening["seed"]), {(path, side): (kind, unb64(value)) for path, side, kind, value in opening["fields"]}


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


def queue_input(tenant, leaf):
    return lp("crmguard/audit/queue/v1", tenant) + leaf


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
