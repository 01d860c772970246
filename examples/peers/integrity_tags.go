package main

import "reflect"

// nameTag names a field as the other contestants do.
func nameTag(f reflect.StructField) string { return f.Tag.Get("name") }

// rulesOf reads the rules of a struct for validation as a map, so that both
// ways follow one text.
func rulesOf(v any) map[string]any {
	rules := map[string]any{}
	for f := range reflect.TypeOf(v).Fields() {
		rules[f.Tag.Get("name")] = f.Tag.Get("validate")
	}
	return rules
}
