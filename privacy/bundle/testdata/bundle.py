"""Reads a bundle with what Python has: the files against the manifest, rows
against their schema, CSV against NDJSON, and the page for anything that runs.

usage: bundle.py BUNDLE
"""
import csv, hashlib, html.parser, io, json, sys, unicodedata, zipfile

bundle = zipfile.ZipFile(sys.argv[1])
assert bundle.testzip() is None
names = bundle.namelist()
assert len(set(name.lower() for name in names)) == len(names)
manifest = json.loads(bundle.read("manifest.json"))
assert json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == bundle.read("manifest.json"), "not canonical"
assert sorted(names) == sorted([f["name"] for f in manifest["files"]] + ["manifest.json"])
for f in manifest["files"]:
    data = bundle.read(f["name"])
    assert len(data) == f["bytes"] and hashlib.sha256(data).hexdigest() == f["sha256"], f["name"]

KINDS = {"null": type(None), "boolean": bool, "string": str, "object": dict, "array": list}


def fits(value, kinds):
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number" in kinds or "integer" in kinds and value == int(value)
    return any(isinstance(value, KINDS[k]) for k in kinds if k in KINDS)


def shown(text):
    picture = lambda c: chr(0x2400 + ord(c)) if c < " " and c not in "\t\r\n" else "\u2421" if c == "\x7f" else c
    return "".join(map(picture, text))


csv.field_size_limit(1 << 30)
rows_seen = 0
for table in manifest["tables"]:
    files = {f["name"].rsplit(".", 1)[1]: f for f in manifest["files"] if f.get("table") == table["name"]}
    schema = json.loads(bundle.read(files["json"]["name"]))
    assert schema["title"] == table["schema"]
    rows = [json.loads(line, parse_float=str, parse_int=str) for line in bundle.read(files["ndjson"]["name"]).decode().split("\n")[:-1]]
    assert len(rows) == table["rows"] == files["ndjson"]["rows"] == files["csv"]["rows"]
    for line in bundle.read(files["ndjson"]["name"]).decode().split("\n")[:-1]:
        row = json.loads(line)
        assert set(schema["required"]) <= set(row) <= set(schema["properties"])
        for name, value in row.items():
            assert fits(value, schema["properties"][name]["type"]), (name, value)
        for withheld in row.get("_withheld", {}):
            assert withheld not in row
    head, *cells = csv.reader(io.StringIO(bundle.read(files["csv"]["name"]).decode("utf-8-sig"), newline=""), strict=True)
    columns = [c[1:] if c[:1] == "'" else c for c in head]
    assert len(cells) == len(rows)
    for row, line in zip(rows, cells):
        rows_seen += 1
        assert len(line) == len(columns)
        for name, cell in zip(columns, line):
            bare = cell
            while bare and unicodedata.category(bare[0]) in ("Zs", "Cf"):
                bare = bare[1:]
            if bare[:1] and bare[0] in "=@\t\r\n\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u207c\u207a\u207b\u2212":
                raise AssertionError("a formula: " + cell[:20])
            if bare[:1] in ("+", "-"):
                assert set(bare[1:]) <= set("0123456789 ().eE+-") and any(c.isdigit() for c in bare), cell[:20]
            value = row.get(name)
            if name in row.get("_withheld", {}):
                assert cell == "[withheld: %s]" % row["_withheld"][name]
            elif isinstance(value, str):
                assert cell.lstrip("'") == shown(value).lstrip("'"), (cell[:40], value[:40])
            elif value is None:
                assert cell == ""


class Page(html.parser.HTMLParser):
    allowed = set("html head meta title style body input label main h1 h2 p ul li table tr th td small span br a".split())
    policy = cells = 0

    def handle_starttag(self, tag, attributes):
        assert tag in self.allowed, tag
        for name, value in attributes:
            assert name in {"lang", "charset", "http-equiv", "content", "name", "type", "id", "for", "checked", "class", "dir", "href"}, name
            assert name != "href" or value.startswith("#"), value
        self.policy += ("http-equiv", "Content-Security-Policy") in attributes
        self.cells += tag == "td"


page = Page()
page.feed(bundle.read("index.html").decode())
assert page.policy == 1
print(rows_seen, page.cells)
