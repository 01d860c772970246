package integrity

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

const (
	maxPattern     = 1000   // bytes of an expression
	maxProgram     = 2000   // instructions it may compile to
	maxPatternText = 10_000 // bytes of a text that is matched
)

// compilePattern makes an expression that matches whole texts only. The
// pattern is parsed on its own first, and anchored in the form in which the
// parser writes it: a pattern that closes a group it did not open, or leaves a
// quotation open, would otherwise slip out of the anchors. The cost of a match
// is bounded by the product of the limits above.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("pattern is longer than %d bytes", maxPattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	if len(program.Inst) > maxProgram {
		return nil, fmt.Errorf("pattern compiles to %d instructions, allowed are %d: use smaller repeats", len(program.Inst), maxProgram)
	}
	re, err := regexp.Compile(`\A(?:` + parsed.String() + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	return re, nil
}
