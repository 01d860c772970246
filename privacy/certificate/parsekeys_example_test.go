package certificate_test

import (
	"fmt"

	"github.com/crmguard/crmguard/privacy/certificate"
)

// The keys that ever signed stand in one file, the newest in front.
func ExampleParseKeys() {
	keys, err := certificate.ParseKeys([]byte(`in use since 2026
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAO2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=
-----END PUBLIC KEY-----
until 2026
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb82SIAbQPb1w=
-----END PUBLIC KEY-----
`))
	fmt.Println(len(keys), err)
	// Output: 2 <nil>
}
