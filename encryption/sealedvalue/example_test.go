package sealedvalue_test

import (
	"fmt"

	"github.com/crmguard/crmguard/encryption/sealedvalue"
)

func ExampleKeyVersion() {
	fmt.Println(sealedvalue.KeyVersion([]byte("cg1.00000007.AQ")))
	fmt.Println(sealedvalue.KeyVersion([]byte("clear")))
	// Output:
	// 7 <nil>
	// 0 encryption: value does not open: not a sealed value
}
