package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
)

const (
	tenant      = "main"
	person      = "019a8f3e-6d2b-7c51-9f4e-2b7d1c0a9e55"
	keyVersions = 10 // keys that a ring holds after some years
)

var fieldValue = []byte("zoe.mueller@crm-department.exam.")

func encryptionContests(ctx context.Context, p *bench) ([]contest, error) {
	vault, err := newVault(ctx, p)
	if err != nil {
		return nil, err
	}
	table, err := vault.Table(encryption.Table{Name: "contacts", Columns: []encryption.Column{
		{Name: "email", Index: []encryption.Index{{Column: "email_idx", As: encryption.Email, Bits: 32}}},
	}})
	if err != nil {
		return nil, err
	}
	for range keyVersions - 1 {
		if _, err := table.Writer(ctx, tenant, person); err != nil {
			return nil, err
		}
		if _, err := vault.NewKeyVersion(ctx, tenant); err != nil {
			return nil, err
		}
	}
	fields, err := fieldRivals(ctx, table)
	if err != nil {
		return nil, err
	}
	indexes, err := indexRivals(ctx, table)
	if err != nil {
		return nil, err
	}
	note := "A value of 32 bytes, a ring of 10 keys. Building the associated data of formats.md section 1 is included everywhere; Tink and the floor build it into a buffer that they keep, which is the fair way. "
	sealing, opening := fieldPair(fields, "Reader.AppendOpen", []string{"<= 0.95"}, []string{"<= 1"})
	indexes[1].Must = []string{"<= 0.3"}
	none := []string{"<= 0 allocs"}
	contests := []contest{
		{Package: "encryption", What: "seal a field of 32 bytes", Note: note + "Ours and the floor append to a buffer that is used again. A Writer is taken for each block, off the clock, as for a request.", Contestants: sealing, Limits: none},
		{Package: "encryption", What: "open a field of 32 bytes", Note: note + "The keys are in memory already; a Reader is made once a page of rows, as a Writer is once a request.", Contestants: opening, Limits: none},
		{Package: "encryption", What: "lookup value of an e-mail address", Note: "Ours normalises (trim, NFC, lower case) and derives 32 bits under the key of tenant, table and index. Tink's PRF set and the floor get an address that is normalised by strings.TrimSpace and strings.ToLower.", Contestants: indexes, Limits: none},
	}
	for _, more := range []func(context.Context, *bench, *encryption.Vault) ([]contest, error){rowContests, personKeyContests, personRowContests, writerContests} {
		some, err := more(ctx, p, vault)
		if err != nil {
			return nil, err
		}
		contests = append(contests, some...)
	}
	return contests, nil
}

// A fieldRival seals and opens one field of one person.
type fieldRival struct {
	name string // "" is the call
	role role
	seal func(value []byte) ([]byte, error) // valid until the next call
	open func(sealed []byte) ([]byte, error)
	// ready takes new what a request takes: a Writer seals some thousand values.
	ready func() error
}

func nothing() error { return nil }

// contestantsOf lets every rival do the work; call is what ours is called by.
func contestantsOf(rivals []fieldRival, call string, work func(r fieldRival, n int) error) []contestant {
	var out []contestant
	for _, r := range rivals {
		out = append(out, contestant{
			Name: cmp.Or(r.name, call), Role: r.role, Answer: r.answer,
			Run: func(n int) error { return work(r, n) },
		})
	}
	return out
}

// fieldPair lets rivals seal a field and open it; open is what ours is called by, and
// what is demanded is so of the second one.
func fieldPair(rivals []fieldRival, open string, mustSeal, mustOpen []string) (sealing, opening []contestant) {
	sealing = contestantsOf(rivals, "Writer.AppendSeal", func(f fieldRival, n int) error {
		for range n {
			if _, err := f.seal(fieldValue); err != nil {
				return err
			}
		}
		return nil
	})
	var sealed []byte // by whoever opens it next
	opening = contestantsOf(rivals, open, func(f fieldRival, n int) error {
		for range n {
			if _, err := f.open(sealed); err != nil {
				return err
			}
		}
		return nil
	})
	for i, f := range rivals {
		sealing[i].Setup = func(int) error { return f.ready() }
		opening[i].Setup = func(int) error {
			s, err := f.seal(fieldValue)
			sealed = bytes.Clone(s)
			return errors.Join(err, f.ready())
		}
	}
	sealing[1].Must, opening[1].Must = mustSeal, mustOpen
	return sealing, opening
}

// answer seals, opens, and sees that a changed byte is refused.
func (r fieldRival) answer() (string, error) {
	sealed, err := r.seal(fieldValue)
	if err != nil {
		return "", err
	}
	sealed = bytes.Clone(sealed)
	if bytes.Contains(sealed, fieldValue) {
		return "", errors.New("the sealed field shows its value")
	}
	value, err := r.open(sealed)
	if err != nil {
		return "", err
	}
	text := string(value)
	sealed[len(sealed)/2] ^= 1
	if _, err := r.open(sealed); err == nil {
		return "", errors.New("a changed field opened")
	}
	return text, nil
}

// openers are what rivals open with: our Reader, a ring of Tink, and the bare cipher.
func openers(ctx context.Context, table *encryption.SealedTable) (*encryption.Reader, tink.AEAD, cipher.AEAD, error) {
	reader, err := table.Reader(ctx, tenant, person)
	if err != nil {
		return nil, nil, nil, err
	}
	handle, err := ring(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, nil, nil, err
	}
	keys, err := aead.New(handle)
	if err != nil {
		return nil, nil, nil, err
	}
	raw, err := rawGCM()
	return reader, keys, raw, err
}

func fieldRivals(ctx context.Context, table *encryption.SealedTable) ([]fieldRival, error) {
	var writer *encryption.Writer
	take := func() (err error) {
		writer, err = table.Writer(ctx, tenant, person)
		return err
	}
	if err := take(); err != nil {
		return nil, err
	}
	reader, peers, raw, err := openers(ctx, table)
	if err != nil {
		return nil, err
	}
	var out, opened, ad, tinkAD []byte
	return []fieldRival{
		{
			"", ours,
			func(v []byte) (_ []byte, err error) {
				out, err = writer.AppendSeal(out[:0], "email", v)
				return out, err
			},
			func(s []byte) (_ []byte, err error) {
				opened, err = reader.Row(person, "").AppendOpen(ctx, opened[:0], "email", s)
				return opened, err
			},
			take,
		},
		{
			"Tink aead.New, 10 keys", peer,
			func(v []byte) ([]byte, error) {
				tinkAD = appendAD(tinkAD[:0])
				return peers.Encrypt(v, tinkAD)
			},
			func(s []byte) ([]byte, error) {
				tinkAD = appendAD(tinkAD[:0])
				return peers.Decrypt(s, tinkAD)
			},
			nothing,
		},
		{
			"cipher.NewGCMWithRandomNonce, buffers reused", floor,
			func(v []byte) ([]byte, error) {
				ad = appendAD(ad[:0])
				out = raw.Seal(out[:0], nil, v, ad)
				return out, nil
			},
			func(s []byte) (_ []byte, err error) {
				ad = appendAD(ad[:0])
				opened, err = raw.Open(opened[:0], nil, s, ad)
				return opened, err
			},
			nothing,
		},
	}, nil
}

// ring makes a Tink keyset of several keys, the last one primary.
func ring(template *tinkpb.KeyTemplate) (*keyset.Handle, error) {
	manager := keyset.NewManager()
	for range keyVersions {
		id, err := manager.Add(template)
		if err != nil {
			return nil, err
		}
		if err := manager.SetPrimary(id); err != nil {
			return nil, err
		}
	}
	return manager.Handle()
}

func rawGCM() (cipher.AEAD, error) {
	block, err := aes.NewCipher(randomBytes(32))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// appendAD is the associated data of a sealed field, formats.md section 1.
func appendAD(dst []byte) []byte { return appendColumnAD(dst, "contacts", "email") }

func appendColumnAD(dst []byte, table, column string) []byte {
	dst = appendLP(dst, "crmguard/field/v1")
	dst = append(dst, 2)
	dst = appendLP(dst, tenant)
	dst = appendLP(dst, table)
	dst = appendLP(dst, column)
	dst = appendLP(dst, person)
	return appendLP(dst, "")
}

func appendLP(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

const (
	address      = "Zoe.Mueller@CRM.example "
	sameAddress  = "zoe.mueller@crm.example"
	otherAddress = "zoe.muller@crm.example"
)

func indexRivals(ctx context.Context, table *encryption.SealedTable) ([]contestant, error) {
	writer, err := table.Writer(ctx, tenant, person)
	if err != nil {
		return nil, err
	}
	handle, err := ring(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, err
	}
	set, err := prf.NewPRFSet(handle)
	if err != nil {
		return nil, err
	}
	mac, sum := hmac.New(sha256.New, randomBytes(32)), []byte(nil)
	plain := func(s string) []byte { return []byte(strings.ToLower(strings.TrimSpace(s))) }
	return []contestant{
		indexRival("Writer.Int64", ours, func(s string) (int64, error) {
			v := writer.Int64("email_idx", s)
			n, ok := v.Int64()
			if !ok {
				return 0, fmt.Errorf("no lookup value: %w", v.Err())
			}
			return n, nil
		}),
		indexRival("Tink prf.Set, 10 keys", peer, func(s string) (int64, error) {
			out, err := set.ComputePrimaryPRF(plain(s), 8)
			if err != nil {
				return 0, err
			}
			return leftmost32(out), nil
		}),
		indexRival("crypto/hmac, kept and reset", floor, func(s string) (int64, error) {
			mac.Reset()
			mac.Write(plain(s))
			sum = mac.Sum(sum[:0])
			return leftmost32(sum), nil
		}),
	}, nil
}

func leftmost32(b []byte) int64 { return int64(binary.BigEndian.Uint64(b) >> 32) }

func indexRival(name string, kind role, value func(string) (int64, error)) contestant {
	return contestant{
		Name: name, Role: kind,
		Answer: func() (string, error) {
			var values [3]int64
			for i, s := range []string{address, sameAddress, otherAddress} {
				v, err := value(s)
				if err != nil {
					return "", err
				}
				if v < 0 || v >= 1<<32 {
					return "", errors.New("not 32 bits")
				}
				values[i] = v
			}
			return fmt.Sprintf("the same address: %v, another: %v", values[0] == values[1], values[0] == values[2]), nil
		},
		Run: func(n int) error {
			for range n {
				if _, err := value(address); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
