package accesscontrol_test

// What the actions of the hostile corpus ask, in Cedar: `in` as contains,
// startsWith as like, a comparison of a choice as a choice of comparisons, null
// as an attribute that is absent.

// hostileSaid are conditions that a filter has.
var hostileSaid = map[string]string{
	"vf-le": `3 <= resource.aNumber`, "vf-ge": `2 >= resource.aNumber`, "vf-ne": `"one" != resource.aString`, "vf-lt": `1 < resource.aNumber`,
	"in-single": `["one"].contains(resource.aString)`, "in-empty": `principal.none.contains(resource.aString)`,
	"like-percent": `resource.aString like "100%*"`, "like-underscore": `resource.aString like "*a_b*"`, "like-backslash": `resource.aString like "*\\"`, "like-bracket": `resource.aString like "[SEC]*"`,
	"cs-eq": `resource.aString == "one"`, "cs-contains": `resource.aString like "*one*"`, "cs-startswith": `resource.aString like "one*"`, "cs-endswith": `resource.aString like "*one"`,
	"unicode-eq": `resource.aString == "héllo🚀"`, "empty-string-eq": `resource.aString == ""`, "neg-number": `resource.aNumber < -1`,
	"nary-and":        `resource.aBool && resource.aNumber >= 0 && resource.aString != "one"`,
	"double-negation": `!(!(resource.aBool))`, "triple-negation": `!(!(!(resource.aBool)))`,
	"optional-ne":    `resource has aOptionalString && resource.aOptionalString != "x"`,
	"field-to-field": `resource has aOptionalString && resource.aString == resource.aOptionalString`,

	"ternary-cmp":            `if resource.aBool then resource.aNumber > 1 else 0 > 1`,
	"ternary-expr-cond":      `if resource.aString like "100*" then resource.aNumber >= 0 else -1 >= 0`,
	"ternary-nested":         `if resource.aBool then (if resource.aString == "" then 0 >= 2 else resource.aNumber >= 2) else -1 >= 2`,
	"ternary-negated":        `!(if resource.aBool then resource.aNumber > 1 else 0 > 1)`,
	"ternary-bare":           `if resource.aBool then resource.aString == "one" else resource.aNumber < 0`,
	"ternary-value-first":    `if resource.aBool then 0 < resource.aNumber else 0 < -1`,
	"ternary-null-cond":      `resource has aOptionalString && (if resource.aOptionalString != "x" then resource.aNumber > 1 else 0 > 1)`,
	"p-not-ternary-null":     `resource has aOptionalString && !(if resource.aOptionalString != "x" then resource.aNumber > 1 else 0 > 1)`,
	"p-ternary-of-ternaries": `if resource.aBool then (if resource.aString == "" then 0 > 1 else resource.aNumber > 1) else (if resource.aNumber < 0 then -1 > 1 else 5 > 1)`,
	"p-ternary-vs-ternary":   `if resource.aBool then (if resource.aString == "" then resource.aNumber > 1 else resource.aNumber > 2) else (if resource.aString == "" then 0 > 1 else 0 > 2)`,

	"p-in-null-single":    `resource has aOptionalString && ["x"].contains(resource.aOptionalString)`,
	"p-in-null-multi":     `resource has aOptionalString && ["x", "one_two"].contains(resource.aOptionalString)`,
	"p-startswith-concat": `resource.aString like "100%*"`, "p-has": `resource has aOptionalString`,

	"hier-ancestor-ff":   `resource has scope && ["dept", "dept.eng"].contains(resource.scope)`,
	"hier-ancestor-cf":   `resource has scope && resource.scope like "dept.eng.*"`,
	"hier-descendent-ff": `resource has scope && resource.scope like "dept.eng.*"`,
	"hier-descendent-cf": `resource has scope && ["dept", "dept.eng"].contains(resource.scope)`,
	"hier-overlaps-ff":   `resource has scope && (["dept", "dept.eng"].contains(resource.scope) || resource.scope like "dept.eng.*")`,
	"hier-overlaps-cf":   `resource has scope && (resource.scope like "dept.eng.*" || ["dept", "dept.eng"].contains(resource.scope))`,
	"hier-meta-like":     `resource has scope && resource.scope like "50%:a_b:*"`,
	"hier-meta-in":       `resource has scope && ["50%", "50%.a_b"].contains(resource.scope)`,
	"hier-overlaps-meta": `resource has scope && (["50%", "50%:a_b"].contains(resource.scope) || resource.scope like "50%:a_b:*")`,
	"hier-bracket":       `resource has scope && resource.scope like "[env]:prod:*"`,
	"id-eq-const":        `resource == Hostile::"f1"`,

	"null-eq": `!(resource has owner)`, "null-ne": `resource has owner`, "vf-null-ne": `resource has owner`, "null-not-eq": `!(!(resource has owner))`,
	"null-value-ne-const":      `if resource has owner then resource.owner != "x" else true`,
	"null-value-not-eq-const":  `!(resource has owner && resource.owner == "x")`,
	"null-value-not-in-const":  `!(resource has owner && ["x", "one_two"].contains(resource.owner))`,
	"null-value-f2f":           `(resource has owner && resource has coOwner && resource.owner == resource.coOwner) || (!(resource has owner) && !(resource has coOwner))`,
	"null-value-f2f-mixed":     `resource has scope && (if resource has owner then resource.owner != resource.scope else true)`,
	"null-value-pv-not-exists": `!(resource has owner && principal.manyTeams.contains(resource.owner))`,
	"in-null-elem-mixed":       `if resource has owner then ["x", "one_two"].contains(resource.owner) else true`,
	"in-null-elem-neg":         `!(if resource has owner then ["x", "one_two"].contains(resource.owner) else true)`,
	"in-null-elem-only":        `!(resource has owner)`, "in-null-elem-only-neg": `!(!(resource has owner))`,

	"pv-exists":          `resource has aOptionalString && principal.manyTeams.contains(resource.aOptionalString)`,
	"pv-all":             `resource has aOptionalString && !(principal.manyTeams.contains(resource.aOptionalString))`,
	"pv-exists-unrolled": `resource has aOptionalString && principal.fewTeams.contains(resource.aOptionalString)`,
	"pv-all-unrolled":    `resource has aOptionalString && !(principal.fewTeams.contains(resource.aOptionalString))`,
	"not-lt":             `!(resource.aNumber < 2)`, "not-gt": `!(resource.aNumber > 1)`, "gt-bare": `resource.aNumber > 1`, "le-bare": `resource.aNumber <= 2`,
	"root-bare-bool": `resource.aBool`, "root-or": `resource.aBool || resource.aNumber < 0`, "not-and": `!(resource.aBool && resource.aString != "one")`,
}

// hostileTimes are those that take a column of times, which SQLite has not.
var hostileTimes = map[string]string{
	"p-timestamp":  `resource.createdBy < datetime("2025-01-01T00:00:00Z")`,
	"ts-window":    `resource has createdAt && resource.createdAt < context.now.offset(duration("-24h"))`,
	"ts-vf":        `resource has createdAt && context.now.offset(duration("-24h")) > resource.createdAt`,
	"ts-eq":        `resource has createdAt && resource.createdAt == datetime("2024-06-01T00:00:00Z")`,
	"ts-eq-offset": `resource has createdAt && resource.createdAt == datetime("2024-06-01T02:00:00+0200")`,
	"ts-ne":        `resource has createdAt && resource.createdAt != datetime("2024-06-01T00:00:00Z")`,
}

// hostileRefused are those that Cedar says, and no filter: Load refuses them.
var hostileRefused = map[string]string{
	"arith-add": `resource.aNumber + 1 > 2`, "arith-vf": `2 < resource.aNumber + 1`, "arith-sub": `resource.aNumber - 3 <= 0`,
	"arith-mult-neg": `resource.aNumber * -2 < 3`, "arith-both": `resource.aNumber + 1 > resource.aNumber * 2`,
	"p-struct": `resource has obj && resource.obj.inner == "one"`,
}

// hostileBehind are those that look behind a record: a parent that it refers to,
// and the tags in rows of another table, of which a name may be NULL and is no
// element then. What holds of every tag is said by what none of them is.
var hostileBehind = map[string]string{
	"rel-eq-hop": `resource has parent && resource.parent.aString == "One"`, "rel-eq-num-hop": `resource has parent && resource.parent.aNumber == 2`,
	"rel-lt-hop": `resource has parent && resource.parent.aNumber < 2`, "rel-le-hop": `resource has parent && resource.parent.aNumber <= 2`,
	"rel-gt-hop": `resource has parent && resource.parent.aNumber > 2`, "rel-ge-hop": `resource has parent && resource.parent.aNumber >= 2`,
	"rel-range-hop": `resource has parent && resource.parent.aNumber > 2 && resource.parent.aNumber < 12`,
	"rel-bool-hop":  `resource has parent && resource.parent.aBool`, "rel-not-bool-hop": `resource has parent && !(resource.parent.aBool)`,
	"rel-contains-hop": `resource has parent && resource.parent.aString like "*done*"`, "rel-ne-null-hop": `resource has parent && resource.parent has aOptionalString`,
	"rel-bool-hop2":       `resource has parent && resource.parent has inner && resource.parent.inner.aBool == true`,
	"rel-startswith-hop2": `resource has parent && resource.parent has inner && resource.parent.inner.aString like "100*"`,
	"rel-hop-and-root":    `resource.aBool == true && resource has parent && resource.parent.aString like "*re*"`,

	"exists-on-empty": `resource.tagNames.contains("public")`, "not-exists": `!(resource.tagNames.contains("private"))`, "p-not-exists-empty": `!(resource.tagNames.contains("public"))`,
	"lambda-in-principal": `principal.allowedTags.containsAny(resource.tagNames)`, "lambda-field-to-field": `resource.tagNames.contains(resource.aString)`,
	"not-empty": `!(resource.tagIds.isEmpty())`, "vf-size": `!(resource.tagIds.isEmpty())`,
	"p-ternary-in-exists": `if resource.aBool then resource.tagNames.contains("public") else false`, "p-ternary-under-all": `if resource.aBool then !(resource.tagNames.contains("private")) else true`,
	"n-all-mixed-null": `!(resource.tagNames.contains("x"))`, "n-not-all-absorb": `!(!(resource.tagNames.contains("public")))`,
	"p-hasintersection-map": `resource.tagNames.containsAny(["public", "héllo🚀", "100%_x"])`, "vf-hasint": `resource.tagNames.containsAny(["public", "other"])`,
	"or-eq-exists": `resource.aBool || resource.tagNames.contains("public")`, "or-eq-in": `resource.aBool || resource.tagNames.contains("public")`,
	"in-var-var": `resource has owner && resource.tagNames.contains(resource.owner)`, "in-var-var-neg": `!(resource has owner && resource.tagNames.contains(resource.owner))`,
}

// hostileUnsaid are those that Cedar has no words for, or of which a record
// here has not the part, by that: a set behind a set, or what every element is, a
// number of elements, the length of a text, numbers with a fraction, a division,
// a text put together, a pattern out of an attribute, a regular expression, a
// cast, a place in a list, an element that is null, the id as a text, or what is
// no condition.
var hostileUnsaid = map[string][]string{
	"relation": {
		"all-on-empty", "outer-attr-depth2",
		"p-arith-in-lambda", "p-lambda-inner-f2f", "p-deep-nest",
		"n-not-all-null", "w1-exists-chain", "w1-size-chain", "w1-in-chain", "w1-all-chain", "w1-not-exists-chain", "w1-size-zero-chain",
		"w1-not-in-chain", "w1-not-hasint-chain", "w1-not-size-chain", "w1-ternary-chain-cond",
		"rel-hop2-or-exists",
		"macro-depth3-exists", "macro-depth3-not-exists", "macro-depth3-all",
	},
	"count":    {"exists-one-multi", "size-threshold", "size-filter-count", "p-size-nested", "n-not-exists-one-null", "w1-size-nonneg-chain", "w1-size-frac-chain", "w1-size-frac-le-chain", "cr-size-frac-ge", "w2-outer-relation"},
	"length":   {"string-size", "size-huge-gt", "size-huge-lt"},
	"fraction": {"double-threshold", "arith-add-eq-frac", "arith-add-ne-frac", "arith-add-eq-frac-exact", "p-double-frac"},
	"division": {
		"arith-div", "arith-div-frac", "arith-mod", "cr-div-zero", "cr-div-zero-ne", "cr-div-zero-eq-neg", "cr-div-neg-zero", "cr-div-other-column", "cr-div-then-add", "cr-div-then-add-ne",
		"nan-ord-ternary", "nan-ord-ternary-vf", "nan-ord-le", "nan-ord-inf",
	},
	"concat":    {"concat-f2f"},
	"pattern":   {"f2f-contains", "f2f-startswith", "f2f-endswith", "p-lambda-f2f-like", "cr-contains", "cr-startswith", "cr-endswith", "cr-startswith-concat", "not-contains", "not-startswith"},
	"regexp":    {"p-matches"},
	"cast":      {"cast-int-string", "cast-double-string", "cast-int-double", "cast-string-double", "cast-string-bool"},
	"place":     {"p-index", "index-scalar-list", "map-eq-list"},
	"null":      {"null-eq-missing", "in-null-elem-rel", "in-null-elem-rel-neg", "in-null-elem-hasint"},
	"id":        {"id-f2f", "id-f2f-ne", "id-concat", "id-concat-vf", "hier-list-id"},
	"condition": {"filter-as-condition", "map-as-condition", "filter-as-conjunct"},
}
