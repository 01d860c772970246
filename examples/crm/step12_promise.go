package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// promise says what was shown, and how to check it without this program.
func promise(_ context.Context, c *crm) error {
	c.out.say("Found of the forgotten person: %d in %d files, %d snapshots", c.after.total(), c.after.files, c.after.snapshots)
	c.out.say("")
	for _, line := range [][3]string{
		{"seal", "copied database", fmt.Sprintf("%d of %s sealed values in the raw files", c.shown("seal", "found"), thousands(c.shown("seal", "values")))},
		{"find", "what nobody finds", fmt.Sprintf("%d of %d people found by e-mail", c.shown("find", "found"), c.shown("find", "asked"))},
		{"filter", "wrong eyes", fmt.Sprintf("%s checks = SQL filter, %d differences", thousands(c.shown("filter", "comparisons")), c.shown("filter", "differences"))},
		{"work", "no trace of who did it", fmt.Sprintf("%s entries of a Merkle log verified", thousands(c.shown("work", "entries")))},
		{"tamper", "tampering", fmt.Sprintf("%d attacks, %d found", c.shown("tamper", "attacks"), c.shown("tamper", "caught"))},
		{"rotation", "old keys", fmt.Sprintf("rotated during %s reads, %d failures", thousands(c.shown("rotation", "reads")), c.shown("rotation", "failures"))},
		{"disaster", "lost data", fmt.Sprintf("restored in %s, %s records equal", duration(time.Duration(c.shown("disaster", "recovery_ms"))*time.Millisecond), thousands(c.shown("disaster", "equal")))},
		{"search", "right to be forgotten", fmt.Sprintf("found %s times before, %d times now", thousands(c.shown("search", "found_before")), c.shown("search", "found_after"))},
	} {
		text := line[2]
		switch c.all[line[0]].Outcome {
		case couldNotShow:
			text = "not shown"
		case holdsInPart:
			text += " (in part)"
		case holds, failedToHold:
		}
		c.out.say("%-24s %s", line[1], text)
	}
	for _, st := range steps() {
		for _, m := range c.all[st.name].NotShown {
			c.out.say("not shown: %s: %s", m.What, m.Why)
		}
	}
	c.out.say("")
	if c.settings.dir == "" {
		c.out.say("Try it yourself: run again with -dir DIR, and read DIR/README.txt")
	} else {
		c.out.say("Try it yourself, in %s (README.txt has more):", c.settings.dir)
	}
	for _, command := range foreignCommands()[:4] {
		c.out.say("  %s", command)
	}
	c.out.say("Not covered: remapped disk blocks, file-system snapshots, swap, memory, replicas, server logs.")
	return os.WriteFile(c.path("README.txt"), []byte(leftover()), 0o600)
}

// foreignCommands open the artefacts with programs that know nothing of ours.
func foreignCommands() []string {
	return []string{
		"restic -r ./backup/a -p keys/repository-password check --read-data",
		"age -d -i keys/export-identity.txt -o export.zip export/*.zip.age",
		"sqlite3 live/crm.db 'SELECT hex(email) FROM contacts LIMIT 3'",
		"head -4 audit/log/checkpoint; cmp kept/checkpoint audit/log/checkpoint && echo equal",
	}
}

// leftover is README.txt of the folder.
func leftover() string {
	text := `What is here, and which foreign program opens it.

live/crm.db              SQLite; personal columns are sealed       sqlite3
live/attachments/        sealed streams, Tink AES-CTR-HMAC         any Tink
keys/                    key store and, FOR THIS DEMONSTRATION ONLY, the KEK, the
                         repository password and the export identity beside the data
keycopy/                 the latest copy of the key store          any text viewer
audit/log/               C2SP tlog-tiles log, signed checkpoint    tessera fsck, torchwood
audit/log.vkey           its verifier key; its name is the origin
kept/checkpoint          stands for another administrative domain
backup/a, backup/b       restic repositories, identical bytes      restic
export/                  one person's data, ZIP in age             age, unzip
ledger/                  erasure ledger, keyed digests only        any text viewer
rejected.csv             what the import refused, without values   any spreadsheet
certificate.dsse.json    erasure certificate, in-toto in DSSE      any DSSE verifier, openssl
certificate.pub.pem      its public key
report.json              figures of the run

`
	commands := "  " + strings.Join(foreignCommands(), "\n  ") + "\n"
	return text + commands + `  restic -r ./backup/b -p keys/repository-password restore latest --target restored
  unzip -l export.zip

To verify the certificate with openssl (DSSE pre-authentication encoding), paste:

python3 - <<'END'
import json, base64
e = json.load(open("certificate.dsse.json"))
p, t = base64.b64decode(e["payload"]), e["payloadType"].encode()
open("pae", "wb").write(b"DSSEv1 %d %s %d %s" % (len(t), t, len(p), p))
open("sig", "wb").write(base64.b64decode(e["signatures"][0]["sig"]))
END
openssl pkeyutl -verify -pubin -inkey certificate.pub.pem -rawin -in pae -sigfile sig

To check the audit log with tessera's fsck (eight workers: with one it waits for ever on a fault):

go run github.com/transparency-dev/tessera/cmd/fsck@v1.0.4 --storage_url=file://$PWD/audit/log/ --public_key=audit/log.vkey --ui=false -N 8
`
}
