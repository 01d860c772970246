package audit

import (
	"context"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/crmguard/crmguard/audit/auditlog"
)

// oddKeys give other keys than they should.
type oddKeys struct {
	Keys
	ids   []uint32
	sizes []int
	seal  func(plain []byte) []byte
}

func (k *oddKeys) MACKeys(ctx context.Context, tenant string, info []byte) (ids []uint32, keys [][]byte, err error) {
	if k.ids == nil && k.sizes == nil {
		return k.Keys.MACKeys(ctx, tenant, info)
	}
	for _, size := range k.sizes {
		keys = append(keys, make([]byte, size))
	}
	return k.ids, keys, nil
}

func (k *oddKeys) Seal(ctx context.Context, tenant, person string, plaintext, ad []byte) ([]byte, error) {
	if k.seal != nil {
		return k.seal(plaintext), nil
	}
	return k.Keys.Seal(ctx, tenant, person, plaintext, ad)
}

// Keys that cannot be right are refused before anything is tagged or sealed under
// them.
func TestKeysThatCannotBeRight(t *testing.T) {
	s := newSQLiteTill(t)
	given := s.config.Keys
	for name, k := range map[string]*oddKeys{
		"none":               {ids: []uint32{}, sizes: []int{}},
		"fewer keys":         {ids: []uint32{1, 2}, sizes: []int{32}},
		"fewer ids":          {ids: []uint32{1}, sizes: []int{32, 32}},
		"a short one":        {ids: []uint32{1}, sizes: []int{31}},
		"a long one":         {ids: []uint32{1}, sizes: []int{33}},
		"a sealer like none": {seal: func(plain []byte) []byte { return plain }},
	} {
		k.Keys = given
		s.config.Keys = k
		require.ErrorIs(t, s.prepare(t.Context(), "main", []string{"p1"}), ErrInvalid, name)
		require.Zero(t, s.count(`SELECT COUNT(*) FROM crmguard_audit_surrogates`), name)
	}
}

// A head is that of its surrogate and of its person, whatever the keys let pass.
func TestAHeadIsOfItsRow(t *testing.T) {
	s := newSQLiteTill(t)
	head := auditlog.Head{Person: "p1", Surrogate: [16]byte{1}, Content: [32]byte{2}}
	plain, err := auditlog.AppendHead(nil, &head)
	require.NoError(t, err)
	s.config.Keys = openedKeys{s.config.Keys, plain}
	_, err = s.openHead(t.Context(), "main", "p1", [16]byte{1}, []byte("sealed"))
	require.NoError(t, err)
	_, err = s.openHead(t.Context(), "main", "p1", [16]byte{2}, []byte("sealed"))
	require.ErrorIs(t, err, auditlog.ErrTampered)
	_, err = s.openHead(t.Context(), "main", "p2", [16]byte{1}, []byte("sealed"))
	require.ErrorIs(t, err, auditlog.ErrTampered)
}

// openedKeys open everything to one plaintext.
type openedKeys struct {
	Keys
	plain []byte
}

func (k openedKeys) Open(context.Context, string, string, []byte, []byte) ([]byte, error) {
	return append([]byte(nil), k.plain...), nil
}

// Of keys with one id each is tried; a tag has one version.
func TestATagUnderAnyKeyOfItsID(t *testing.T) {
	keys := []macKey{{7, sha256.Sum256([]byte("a"))}, {7, sha256.Sum256([]byte("b"))}, {8, sha256.Sum256([]byte("c"))}}
	for i := range keys {
		tag := keys[i].tag(nil, []byte("head"), []byte("rest"))
		require.Equal(t, tagRight, checkTag(keys, tag, []byte("head"), []byte("rest")), i)
		require.Equal(t, tagWrong, checkTag(keys, tag, []byte("head"), []byte("other")), i)
		tag[0]++
		require.Equal(t, tagWrong, checkTag(keys, tag, []byte("head"), []byte("rest")), "a version that nobody writes")
		tag[0]--
		require.Equal(t, tagWrong, checkTag(keys, tag[:len(tag)-1], []byte("head"), []byte("rest")))
	}
	tag := keys[2].tag(nil, []byte("head"), nil)
	require.Equal(t, tagUnknown, checkTag(keys[:2], tag, []byte("head"), nil))
}
