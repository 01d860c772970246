package audittest_test

import (
	"testing"

	"github.com/crmguard/crmguard/audit"
	"github.com/crmguard/crmguard/audit/audittest"
)

func TestSinkIsASink(t *testing.T) {
	audittest.Run(t, func(*testing.T) audit.Sink { return &audittest.Sink{} })
}
