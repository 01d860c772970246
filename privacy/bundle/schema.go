package bundle

import (
	"encoding/json"
	"io"
	"slices"
)

// schemaTo writes the JSON Schema (2020-12) of the rows of a sheet: the columns
// that there are, with the types that their values have in this bundle.
func (s *sheet) schemaTo(w io.Writer, about Table) error {
	type property struct {
		Description string   `json:"description,omitempty"`
		Type        []string `json:"type"`
	}
	properties, required := map[string]property{}, []string{}
	for _, c := range s.columns {
		kinds := slices.Sorted(slices.Values(c.kinds))
		i := slices.IndexFunc(about.Columns, func(d Column) bool { return d.Name == c.name })
		properties[c.name] = property{about.Columns[i].Category, kinds}
		if c.values == len(s.rows) {
			required = append(required, c.name)
		}
	}
	if len(s.left) > 0 {
		properties[withheldMember] = property{"columns that were left out of this row, and why", []string{"object"}}
	}
	slices.Sort(required)
	data, err := json.Marshal(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": s.schema, "type": "object",
		"properties": properties, "required": required, "additionalProperties": false,
	})
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}
