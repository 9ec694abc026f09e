//go:build real

package deploy

import (
	"regexp"
	"slices"
	"strings"
)

// named is what PromQL expressions speak of.
type named struct {
	metrics, labels []string
}

var (
	comment    = regexp.MustCompile(`#[^\n]*`)
	quotedText = regexp.MustCompile(`"[^"]*"|'[^']*'`)
	matchers   = regexp.MustCompile(`\{([^}]*)\}`)
	ranges     = regexp.MustCompile(`\[[^\]]*\]`)
	grouping   = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	word       = regexp.MustCompile(`[A-Za-z_:][A-Za-z0-9_:]*\s*\(?`)
	labelWord  = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
	keywords   = []string{"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}
)

// names finds them. It rests on promtool having parsed the same expressions: what is no keyword, no function, no label
// and no text is a metric.
func names(expr string) named {
	var out named
	expr = quotedText.ReplaceAllString(comment.ReplaceAllString(expr, ""), `""`)
	for _, pattern := range []*regexp.Regexp{matchers, grouping} {
		for _, m := range pattern.FindAllStringSubmatch(expr, -1) {
			out.labels = append(out.labels, labelWord.FindAllString(m[1], -1)...)
		}
		expr = pattern.ReplaceAllString(expr, " ")
	}
	expr = ranges.ReplaceAllString(expr, " ")
	for _, w := range word.FindAllString(expr, -1) {
		if name := strings.TrimSpace(w); !strings.HasSuffix(name, "(") && !slices.Contains(keywords, name) {
			out.metrics = append(out.metrics, name)
		}
	}
	return out
}
