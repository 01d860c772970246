package cedarx

import (
	"encoding/json"

	"github.com/cedar-policy/cedar-go/types"
)

// parts is a pattern as the texts between its wildcards, of which it has one
// less: "a*b" is "a" and "b", "*" is twice "". None says that the pattern has a
// form which this version does not know.
func parts(p types.Pattern) []string {
	written, err := p.MarshalJSON() // the only way to see it
	var components []any
	if err != nil || json.Unmarshal(written, &components) != nil {
		return nil
	}
	out := []string{""}
	for _, component := range components {
		literal, isLiteral := component.(map[string]any)
		text, isText := literal["Literal"].(string)
		switch {
		case component == "Wildcard":
			out = append(out, "")
		case isLiteral && isText:
			out[len(out)-1] += text
		default:
			return nil
		}
	}
	return out
}
