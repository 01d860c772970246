"""A restic repository, version 2, and the manifest in its snapshots (formats.md 9)."""

import hashlib
import json
import os
import sqlite3
import struct
import tempfile

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from . import zstd
from .base import BYTES, FLOAT, INTEGER, NULL, TEXT, b64, canonical, lp, parse, require, sha256, typed_fields, u64, unb64, unstd64, without

OVERHEAD, DIRECTORY = 32, 1 << 31  # IV and tag; Go's fs.ModeDir


class Box:
    """AES-256-CTR with Poly1305-AES: IV (16) ‖ ciphertext ‖ tag (16)."""

    def __init__(self, encrypt, k, r):
        self.encrypt, self.k, self.r = encrypt, k, r

    def _poly(self, nonce, body):
        poly = Poly1305(self.r + Cipher(algorithms.AES(self.k), modes.ECB()).encryptor().update(nonce))
        poly.update(body)
        return poly

    def _ctr(self, nonce, data):
        return Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).encryptor().update(data)

    def seal(self, plain):
        nonce = os.urandom(16)
        body = self._ctr(nonce, plain)
        return nonce + body + self._poly(nonce, body).finalize()

    def open(self, sealed):
        require(len(sealed) >= OVERHEAD, "too short to be sealed")
        nonce, body = sealed[:16], sealed[16:-16]
        self._poly(nonce, body).verify(sealed[-16:])
        return self._ctr(nonce, body)


def open_key_file(data, password):
    """keys/…: in clear but for the master key, which the password opens."""
    file = json.loads(data)
    return file, open_master(file, password, unstd64(file["data"]))


def open_master(file, password, sealed):
    """scrypt of the password, 64 bytes of salt."""
    salt = unstd64(file["salt"])
    require(file["kdf"] == "scrypt" and len(salt) == 64, "a key file of another shape")
    raw = hashlib.scrypt(password.encode(), salt=salt, n=file["N"], r=file["r"], p=file["p"], maxmem=1 << 30, dklen=64)
    master = json.loads(Box(raw[:32], raw[32:48], raw[48:]).open(sealed))
    return Box(unstd64(master["encrypt"]), unstd64(master["mac"]["k"]), unstd64(master["mac"]["r"]))


def irreducible(p):
    """Ben-Or's test of a polynomial over GF(2), a bit a term."""
    def mod(a):
        while a.bit_length() >= p.bit_length():
            a ^= p << a.bit_length() - p.bit_length()
        return a

    def square(a):
        return mod(int("0".join(bin(a)[2:]), 2))

    def gcd(a, b):
        while b:
            while a.bit_length() >= b.bit_length():
                a ^= b << a.bit_length() - b.bit_length()
            a, b = b, a
        return a

    power = 2
    for _ in range((p.bit_length() - 1) // 2):
        power = square(power)
        if gcd(p, power ^ 2) != 1:
            return False
    return True


class Repository:
    """A repository in a local folder."""

    def __init__(self, folder, password):
        self.folder = folder
        names = os.listdir(os.path.join(folder, "keys"))
        require(len(names) == 1, "one key file is wanted")
        self.key_file, self.box = open_key_file(self.stored("keys", names[0]), password)
        self.config = json.loads(self.box.open(self.read("config")))
        require(self.config["version"] == 2, "another version")
        self.blobs = {}
        for name in os.listdir(os.path.join(folder, "index")):
            self._load_index(self.document("index", name))

    def read(self, *path):
        with open(os.path.join(self.folder, *path), "rb") as file:
            return file.read()

    def stored(self, *path):
        """A file that is named by its SHA-256."""
        data = self.read(*path)
        require(sha256(data).hex() == path[-1], "a file that its name does not fit")
        return data

    def document(self, *path):
        return decode_document(self.box, self.stored(*path))

    def _load_index(self, index):
        for pack in index["packs"]:
            for blob in pack["blobs"]:
                self.blobs[blob["type"], blob["id"]] = pack["id"], blob["offset"], blob["length"], blob.get("uncompressed_length", 0)

    def blob(self, kind, name):
        pack, offset, length, plain_length = self.blobs[kind, name]
        return open_blob(self.box, self.read("data", pack[:2], pack)[offset:offset + length], plain_length, name)

    def packs(self):
        for folder, _, names in os.walk(os.path.join(self.folder, "data")):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.folder).split(os.sep)

    def files(self, tree, prefix=""):
        """Path -> content of everything below a tree."""
        out = {}
        for node in json.loads(self.blob("tree", tree))["nodes"]:
            require("\\" not in node["name"] and "/" not in node["name"], "a name that this reader does not know")
            path = prefix + node["name"]
            if node["type"] == "dir":
                out.update(self.files(node["subtree"], path + "/"))
            else:
                content = b"".join(self.blob("data", name) for name in node["content"])
                require(len(content) == node.get("size", 0), "a file of another size")
                out[path] = content
        return out

    def snapshot(self, name):
        snapshot = self.document("snapshots", name)
        return snapshot, self.files(snapshot["tree"])

    def write(self, folder, data):
        """Stores a file under its SHA-256 and returns that."""
        name = sha256(data).hex()
        place = os.path.join(self.folder, folder, name[:2] if folder == "data" else "")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, name), "wb") as file:
            file.write(data)
        return name


def decode_document(box, sealed):
    """An index or snapshot: JSON as it is, or 0x02 and a Zstandard frame."""
    plain = box.open(sealed)
    return json.loads(zstd.decompress(plain[1:]) if plain[0] == 2 else plain)


def open_blob(box, sealed, plain_length, name):
    plain = box.open(sealed)
    if plain_length:
        plain = zstd.decompress(plain)
        require(len(plain) == plain_length, "a blob of another size")
    require(sha256(plain).hex() == name, "a blob that its id does not fit")
    return plain


def open_pack(box, pack):
    """Every blob of a pack by its own header: kind, id, content."""
    size = int.from_bytes(pack[-4:], "little")
    header, at, offset, out = box.open(pack[-4 - size:-4]), 0, 0, []
    while at < len(header):
        kind, packed = ("data", "tree")[header[at] & 1], header[at] >> 1
        length = int.from_bytes(header[at + 1:at + 5], "little")
        plain = int.from_bytes(header[at + 5:at + 9], "little") if packed else 0
        at += 9 if packed else 5
        name, at = header[at:at + 32].hex(), at + 32
        out.append((kind, name, open_blob(box, pack[offset:offset + length], plain, name)))
        offset += length
    require(offset == len(pack) - 4 - size, "bytes that belong to no blob")
    return out


# The manifest.
def manifest_input(manifest):
    return lp("crmguard/manifest/v1") + without(manifest)


def rows_input(digest):
    return lp("crmguard/manifest/rows/v1") + digest


def files_digest(files):
    """SHA-256 of LP(path) ‖ size (8) ‖ content, by path."""
    out = hashlib.sha256()
    for path in sorted(files, key=str.encode):
        out.update(lp(path) + u64(len(files[path])) + files[path])
    return out.digest()


def open_manifest(keyset, data):
    manifest = parse(data)
    require(manifest["v"] == 1, "another version")
    keyset.verify(manifest_input(manifest), unb64(manifest["mac"]), "the mac of the manifest")
    return manifest


def table_digest(database, table, stripped):
    """SHA-256 of LP(key) ‖ fields of each row as in section 7, by key; returns it with the count."""
    columns = sorted(row[1] for row in database.execute("SELECT * FROM pragma_table_info(?)", [table]))
    keys = [row[0] for row in database.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", [table])]
    fields = [column for column in columns if column not in stripped]
    cursor, rows = database.execute('SELECT %s FROM "%s"' % ("*" if keys else "rowid, *", table)), []
    names = [column[0] for column in cursor.description]
    for row in (dict(zip(names, row)) for row in cursor):
        key = b"/".join(_key_text(row[name], len(keys) > 1) for name in keys or ["rowid"])
        rows.append((key, lp(key) + typed_fields([(name, *_typed(row[name])) for name in fields])))
    return sha256(b"".join(data for _, data in sorted(rows))), len(rows)


def _key_text(value, compound):
    text = value.hex() if isinstance(value, bytes) else "" if value is None else str(value)
    return (text.replace("%", "%25").replace("/", "%2F") if compound else text).encode()


def _typed(value):
    """General: typed values, by SQLite's storage class."""
    if value is None:
        return NULL, b""
    if isinstance(value, bytes):
        return BYTES, value
    if isinstance(value, str):
        return TEXT, value.encode()
    if isinstance(value, int):
        return INTEGER, value.to_bytes(8, "big", signed=True)
    return FLOAT, struct.pack(">d", value)


def check_sources(keyset, manifest, files):
    """The keyed digest of each source, and of each table in a database."""
    proved = set()
    for source in manifest["sources"]:
        name, _, table = source["name"].partition("/")
        if source["kind"] != "table":
            inside = {path[len(name) + 1:]: data for path, data in files.items() if path.startswith(name + "/")}
            digest, count = files_digest(inside), len(inside)
        else:
            digest, count = _restored_table(files, name, table, source.get("stripped", []))
        require(count == source["rows"], "another number of rows or files")
        keyset.verify(rows_input(digest), unb64(source["digest"]), "the digest of " + source["name"])
        proved.add(source["name"])
    return proved


def _restored_table(files, name, table, stripped):
    """Opens the database that a source holds, on disk, and digests one table."""
    content = next(data for path, data in files.items() if path.startswith(name + "/"))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "restored.db")
        with open(path, "wb") as file:
            file.write(content)
        database = sqlite3.connect(path)
        try:
            for column in stripped:
                count = database.execute('SELECT COUNT("%s") FROM "%s"' % (column, table)).fetchone()
                require(count == (0,), "a stripped column holds something")
            return table_digest(database, table, stripped)
        finally:
            database.close()


# Writing: one pack of blobs as they are, one index, one snapshot.
class Snapshot:
    """Collects what one new snapshot needs."""

    def __init__(self, repository, at):
        self.repository, self.at, self.blobs = repository, at, []

    def blob(self, kind, plain):
        name = sha256(plain).hex()
        self.blobs.append((kind, name, self.repository.box.seal(plain)))
        return name

    def node(self, name, **more):
        return {"name": name, "mtime": self.at, "atime": self.at, "ctime": self.at, "uid": 0, "gid": 0, **more}

    def folder(self, files):
        """Stores name -> content or folder, and returns the id of the listing."""
        nodes = []
        for name in sorted(files):
            if isinstance(files[name], dict):
                nodes.append(self.node(name, type="dir", mode=DIRECTORY | 0o700, content=None, subtree=self.folder(files[name])))
            else:
                content = [self.blob("data", files[name])] if files[name] else []
                nodes.append(self.node(name, type="file", mode=0o600, size=len(files[name]), content=content))
        return self.blob("tree", canonical({"nodes": nodes}) + b"\n")

    def commit(self, files, job):
        """Pack before index before snapshot; returns the names of the three."""
        tree, header, entries, offset = self.folder(files), b"", [], 0
        for kind, name, sealed in self.blobs:
            header += bytes([kind == "tree"]) + len(sealed).to_bytes(4, "little") + bytes.fromhex(name)
            entries.append({"id": name, "type": kind, "offset": offset, "length": len(sealed)})
            offset += len(sealed)
        header = self.repository.box.seal(header)
        pack = b"".join(sealed for _, _, sealed in self.blobs) + header + len(header).to_bytes(4, "little")
        pack = self.repository.write("data", pack)
        index = self._document("index", {"packs": [{"id": pack, "blobs": entries}]})
        return pack, index, self._document("snapshots", {
            "time": self.at, "tree": tree, "paths": ["/" + name for name in sorted(files)],
            "hostname": "crmguard", "username": "crmguard", "tags": ["crmguard", "job:" + job],
        })

    def _document(self, folder, value):
        return self.repository.write(folder, self.repository.box.seal(canonical(value)))


def new_manifest(keyset, job, started, sources):
    """sources: name -> {path: content}."""
    manifest = {
        "v": 1, "job": job, "started": started, "generations": [],
        "chunker": {"name": "fastcdc-v1.0.0", "min": 524288, "normal": 1048576, "max": 8388608},
        "sources": [{"name": name, "kind": "folder", "rows": len(files), "digest": b64(keyset.tag(rows_input(files_digest(files))))}
                    for name, files in sources.items()],
    }
    manifest["mac"] = b64(keyset.tag(manifest_input(manifest)))
    return canonical(manifest)
