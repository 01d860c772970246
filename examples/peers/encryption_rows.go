package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/crmguard/crmguard/encryption"
)

var rowColumns = []string{"name", "email", "phone", "street", "city", "zip", "birthday", "iban"}

func columnsOf(names []string) (out []encryption.Column) {
	for _, name := range names {
		out = append(out, encryption.Column{Name: name})
	}
	return out
}

// A rowRival seals and opens a row of values.
type rowRival struct {
	name  string
	role  role
	seal  func(values [][]byte) error // keeps what it made
	open  func() error                // opens that, and keeps what came out
	value func(i int) []byte
	ready func() error
}

func (r rowRival) answer() (string, error) {
	values := make([][]byte, len(rowColumns))
	for i := range values {
		values[i] = fmt.Appendf(nil, "the value of %s, 32 bytes long...", rowColumns[i])[:32]
	}
	if err := errors.Join(r.ready(), r.seal(values), r.open()); err != nil {
		return "", err
	}
	var out []byte
	for i := range values {
		out = append(append(out, r.value(i)...), '|')
	}
	return string(out), nil
}

// rowContests: 8 fields of one row, at once and one by one.
func rowContests(ctx context.Context, _ *bench, vault *encryption.Vault) ([]contest, error) {
	table, err := vault.Table(encryption.Table{Name: "rows", Columns: columnsOf(rowColumns)})
	if err != nil {
		return nil, err
	}
	rivals, err := rowRivals(ctx, table)
	if err != nil {
		return nil, err
	}
	note := "8 values of 32 bytes, a ring of 10 keys. Tink is called once a field and builds the associated data into a buffer that it keeps; all others append to buffers that are used again."
	return rowPair("of 32 bytes", note, rivals, []string{"<= 0.85"}, []string{"<= 0.8"}), nil
}

// rowPair lets rivals seal a row and open it; what is demanded is so of the second
// one.
func rowPair(what, note string, rivals []rowRival, seal, open []string) []contest {
	values := make([][]byte, len(rowColumns))
	for i := range values {
		values[i] = fieldValue
	}
	var sealing, opening []contestant
	for _, r := range rivals {
		sealing = append(sealing, contestant{Name: r.name, Role: r.role, Answer: r.answer, Setup: func(int) error { return r.ready() }, Run: func(n int) error {
			for range n {
				if err := r.seal(values); err != nil {
					return err
				}
			}
			return nil
		}})
		opening = append(opening, contestant{Name: r.name, Role: r.role, Answer: r.answer, Setup: func(int) error { return errors.Join(r.ready(), r.seal(values)) }, Run: func(n int) error {
			for range n {
				if err := r.open(); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	opening[0].Name = "RowReader.AppendOpenRow"
	sealing[1].Must, opening[1].Must = seal, open
	none := []string{"<= 0 allocs"}
	return []contest{
		{Package: "encryption", What: "seal a row of 8 fields " + what, Note: note, Contestants: sealing, Limits: none},
		{Package: "encryption", What: "open a row of 8 fields " + what, Note: note, Contestants: opening, Limits: none},
	}
}

func rowRivals(ctx context.Context, table *encryption.SealedTable) ([]rowRival, error) {
	reader, peers, raw, err := openers(ctx, table)
	if err != nil {
		return nil, err
	}
	var (
		writer          *encryption.Writer
		buffer, opened  []byte
		fields          = make([]encryption.Field, len(rowColumns))
		floorAD         []byte
		bottom, emptied = make([][]byte, len(rowColumns)), make([][]byte, len(rowColumns))
	)
	for i, column := range rowColumns {
		fields[i].Column = column
	}
	return []rowRival{
		{
			"Writer.AppendSealRow", ours,
			func(values [][]byte) (err error) {
				for i, v := range values {
					fields[i].Value = v
				}
				buffer, err = writer.AppendSealRow(buffer[:0], fields)
				return err
			},
			func() (err error) {
				opened, err = reader.Row(person, "").AppendOpenRow(ctx, opened[:0], fields)
				return err
			},
			func(i int) []byte { return fields[i].Value },
			func() (err error) {
				writer, err = table.Writer(ctx, tenant, person)
				return err
			},
		},
		tinkRow("Tink aead.New, 10 keys, 8 calls", peers),
		{
			"cipher.NewGCMWithRandomNonce, buffers reused, 8 calls", floor,
			func(values [][]byte) error {
				for i, v := range values {
					floorAD = appendColumnAD(floorAD[:0], "rows", rowColumns[i])
					bottom[i] = raw.Seal(bottom[i][:0], nil, v, floorAD)
				}
				return nil
			},
			func() (err error) {
				for i, s := range bottom {
					floorAD = appendColumnAD(floorAD[:0], "rows", rowColumns[i])
					if emptied[i], err = raw.Open(emptied[i][:0], nil, s, floorAD); err != nil {
						return err
					}
				}
				return nil
			},
			func(i int) []byte { return emptied[i] },
			nothing,
		},
	}, nil
}

// tinkRow calls an AEAD of Tink once for each field.
func tinkRow(name string, one tink.AEAD) rowRival {
	var ad []byte
	sealed, opened := make([][]byte, len(rowColumns)), make([][]byte, len(rowColumns))
	return rowRival{
		name, peer,
		func(values [][]byte) (err error) {
			for i, v := range values {
				ad = appendColumnAD(ad[:0], "rows", rowColumns[i])
				if sealed[i], err = one.Encrypt(v, ad); err != nil {
					return err
				}
			}
			return nil
		},
		func() (err error) {
			for i, s := range sealed {
				ad = appendColumnAD(ad[:0], "rows", rowColumns[i])
				if opened[i], err = one.Decrypt(s, ad); err != nil {
					return err
				}
			}
			return nil
		},
		func(i int) []byte { return opened[i] },
		nothing,
	}
}

// envelope is a KMS that is no call away: the KEK of Tink's envelope in memory.
func envelope() (tink.AEAD, error) {
	kek, err := newKEK()
	if err != nil {
		return nil, err
	}
	return aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), kek.aead), nil
}

// personKeyContests: what it costs that each person has a key of their own.
func personKeyContests(ctx context.Context, _ *bench, vault *encryption.Vault) ([]contest, error) {
	table, err := vault.Table(encryption.Table{Name: "contacts", Columns: columnsOf([]string{"email"})})
	if err != nil {
		return nil, err
	}
	fields, err := fieldRivals(ctx, table)
	if err != nil {
		return nil, err
	}
	remote, err := envelope()
	if err != nil {
		return nil, err
	}
	var ad []byte
	rivals := []fieldRival{fields[0], {
		"Tink KMS envelope, KEK in memory", peer,
		func(v []byte) ([]byte, error) {
			ad = appendAD(ad[:0])
			return remote.Encrypt(v, ad)
		},
		func(s []byte) ([]byte, error) {
			ad = appendAD(ad[:0])
			return remote.Decrypt(s, ad)
		},
		nothing,
	}}
	sealing, opening := fieldPair(rivals, "RowReader.AppendOpen", []string{">= 15"}, []string{">= 15"})
	note := "A value of 32 bytes under a key that is one person's. Ours has it in memory, compared with the key store within the lease. The envelope makes a key for each value and wraps it, or unwraps it, with a KEK that is in memory, too: a KMS would cost a call over the network."
	return []contest{
		{Package: "encryption", What: "seal a field under a warm person key", Note: note, Contestants: sealing},
		{Package: "encryption", What: "open a field under a warm person key", Note: note, Contestants: opening},
	}, nil
}

// personRowContests: the same for a row at once.
func personRowContests(ctx context.Context, _ *bench, vault *encryption.Vault) ([]contest, error) {
	table, err := vault.Table(encryption.Table{Name: "rows", Columns: columnsOf(rowColumns)})
	if err != nil {
		return nil, err
	}
	rivals, err := rowRivals(ctx, table)
	if err != nil {
		return nil, err
	}
	remote, err := envelope()
	if err != nil {
		return nil, err
	}
	rivals = []rowRival{rivals[0], tinkRow("Tink KMS envelope, KEK in memory, 8 calls", remote)}
	note := "8 values of 32 bytes under a key that is one person's, at once; the envelope makes a key for each value, as above."
	return rowPair("under a warm person key", note, rivals, []string{">= 15"}, []string{">= 15"}), nil
}

// writerContests: what a request pays before it seals anything.
func writerContests(ctx context.Context, _ *bench, vault *encryption.Vault) ([]contest, error) {
	table, err := vault.Table(encryption.Table{Name: "taken", Columns: []encryption.Column{{Name: "email", Find: encryption.Email}}})
	if err != nil {
		return nil, err
	}
	remote, err := newKEK()
	if err != nil {
		return nil, err
	}
	wrapped, err := remote.aead.Encrypt(randomBytes(32), []byte(person))
	if err != nil {
		return nil, err
	}
	answer := func(run func(n int) error) func() (string, error) {
		return func() (string, error) { return "a key in hand", run(1) }
	}
	take := func(n int) error {
		for range n {
			if _, err := table.Writer(ctx, tenant, person); err != nil {
				return err
			}
		}
		return nil
	}
	unwrap := func(n int) error {
		for range n {
			if _, err := remote.aead.Decrypt(wrapped, []byte(person)); err != nil {
				return err
			}
		}
		return nil
	}
	return []contest{{
		Package: "encryption", What: "take a Writer whose keys are warm",
		Note: "It says whose key of which version seals, until when, and how many values; a column has an index. The floor unwraps a key of 32 bytes with a Tink key in memory, and builds no cipher.",
		Contestants: []contestant{
			{Name: "SealedTable.Writer", Role: ours, Answer: answer(take), Run: take},
			{Name: "Tink aead.Decrypt of a wrapped key", Role: floor, Answer: answer(unwrap), Run: unwrap},
		},
		Limits: []string{"<= 300 ns", "<= 3 allocs"},
	}}, nil
}
