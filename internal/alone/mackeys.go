package alone

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/crmguard/crmguard/internal/frame"
)

// labelAudit begins the label of whatever a MAC key is derived for.
const labelAudit = "crmguard/audit/"

var errInfo = errors.New(`stand-alone keys: MAC keys are derived for package audit alone: info is LP parts, the first of them a label that begins with "` + labelAudit + `"`)

// MACKeys derives a key for MACs of package audit from the tenant's key of
// [PurposeLog], whose id, the one that its tags name, is the key's name:
//
//	key = HKDF-SHA256(key of log and tenant, info)
//
// It is in the form of a vault's, which may have several; here it is one. The
// bytes belong to the caller, who may wipe them.
func (s Secret) MACKeys(ctx context.Context, tenant string, info []byte) (keyIDs []uint32, keys [][]byte, err error) {
	if !frame.Labelled(info, labelAudit) {
		return nil, nil, errInfo
	}
	root, err := s.ofTenant(ctx, PurposeLog, tenant)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Key(sha256.New, root.key, nil, string(info), keySize)
	if err != nil {
		return nil, nil, fmt.Errorf("stand-alone keys: %w", err)
	}
	return []uint32{root.id}, [][]byte{key}, nil
}
