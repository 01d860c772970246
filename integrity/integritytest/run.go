package integritytest

import (
	"bytes"
	"context"
	"testing"

	"github.com/crmguard/crmguard/integrity"
)

// Run judges a tagger. open returns a fresh one that knows the tenants "t1"
// and "t2".
func Run(t *testing.T, open func(t *testing.T) integrity.Tagger) {
	t.Helper()
	t.Run("a tag verifies", func(t *testing.T) { verifies(t, open(t)) })
	t.Run("anything else does not", func(t *testing.T) { refuses(t, open(t)) })
	t.Run("same data, same tag", func(t *testing.T) { repeats(t, open(t)) })
	t.Run("no tenant, no tag", func(t *testing.T) { wantsTenant(t, open(t)) })
}

func verifies(t *testing.T, tagger integrity.Tagger) {
	t.Helper()
	for _, data := range [][]byte{nil, {}, []byte("row"), bytes.Repeat([]byte("x"), 1<<20)} {
		tag := mustTag(t, tagger, data)
		if err := tagger.Verify(context.Background(), "t1", data, tag); err != nil {
			t.Errorf("a tag over %d bytes does not verify (%v); every seal would look tampered", len(data), err)
		}
	}
}

func refuses(t *testing.T, tagger integrity.Tagger) {
	t.Helper()
	ctx, data := context.Background(), []byte("row")
	tag := mustTag(t, tagger, data)
	if tagger.Verify(ctx, "t1", []byte("rov"), tag) == nil {
		t.Error("a tag verifies over other data; a changed row would not be found")
	}
	if tagger.Verify(ctx, "t2", data, tag) == nil {
		t.Error("a tag of one tenant verifies for another; rows could be swapped between tenants")
	}
	for i := range tag {
		forged := bytes.Clone(tag)
		forged[i] ^= 1
		if tagger.Verify(ctx, "t1", data, forged) == nil {
			t.Errorf("a tag with byte %d changed verifies", i)
		}
	}
	for _, forged := range [][]byte{nil, {}, tag[:len(tag)-1], append(bytes.Clone(tag), 0)} {
		if tagger.Verify(ctx, "t1", data, forged) == nil {
			t.Errorf("a tag of %d bytes verifies, it was made of %d", len(forged), len(tag))
		}
	}
}

func repeats(t *testing.T, tagger integrity.Tagger) {
	t.Helper()
	data := []byte("row")
	if !bytes.Equal(mustTag(t, tagger, data), mustTag(t, tagger, data)) {
		t.Error("two tags over the same data differ; roots of an unchanged table would differ too")
	}
}

func wantsTenant(t *testing.T, tagger integrity.Tagger) {
	t.Helper()
	if _, err := tagger.Tag(context.Background(), "", []byte("row")); err == nil {
		t.Error("the empty tenant got a tag; it is an error everywhere, never \"all\"")
	}
}

func mustTag(t *testing.T, tagger integrity.Tagger, data []byte) []byte {
	t.Helper()
	tag, err := tagger.Tag(context.Background(), "t1", data)
	if err != nil {
		t.Fatalf("Tag: %v", err)
	}
	return tag
}
