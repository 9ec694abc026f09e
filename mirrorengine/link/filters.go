package link

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Filters decide which groups or topics a link's task concerns. The zero value
// matches nothing.
type Filters struct{ rules []filterRule }

type filterRule struct {
	name    string
	prefix  bool // name is a prefix
	all     bool
	exclude bool
}

func (r filterRule) match(name string) bool {
	switch {
	case r.all:
		return true
	case r.prefix:
		return strings.HasPrefix(name, r.name)
	default:
		return r.name == name
	}
}

// Match tells whether name is included and not excluded: an EXCLUDE wins over
// every INCLUDE.
func (f Filters) Match(name string) bool {
	included := false
	for _, r := range f.rules {
		if !r.match(name) {
			continue
		}
		if r.exclude {
			return false
		}
		included = true
	}
	return included
}

// Named tells whether a LITERAL filter includes that very name.
func (f Filters) Named(name string) bool {
	return f.Match(name) && slices.ContainsFunc(f.rules, func(r filterRule) bool { return !r.exclude && !r.all && !r.prefix && r.name == name })
}

// Empty tells whether there is no rule at all.
func (f Filters) Empty() bool { return len(f.rules) == 0 }

// filterJSON is one filter of the contract.
type filterJSON struct {
	Name        string `json:"name"`
	PatternType string `json:"patternType"`
	FilterType  string `json:"filterType"`
}

// ParseGroupFilters reads {"groupFilters":[{"name","patternType","filterType"}]};
// empty text is no filter. patternType is LITERAL or PREFIXED (PREFIX is taken
// too), filterType INCLUDE or EXCLUDE; the LITERAL "*" is all.
func ParseGroupFilters(text string) (Filters, error) {
	var body struct {
		Filters []filterJSON `json:"groupFilters"`
	}
	if err := parseFilterJSON(text, &body); err != nil {
		return Filters{}, err
	}
	return newFilters("groupFilters", text, body.Filters)
}

// ParseTopicFilters reads {"topicFilters":[…]}, as ParseGroupFilters.
func ParseTopicFilters(text string) (Filters, error) {
	var body struct {
		Filters []filterJSON `json:"topicFilters"`
	}
	if err := parseFilterJSON(text, &body); err != nil {
		return Filters{}, err
	}
	return newFilters("topicFilters", text, body.Filters)
}

// parseFilterJSON refuses unknown fields: a filter that is not understood would
// match something else than meant (topicTypes of bidirectional links, say).
func parseFilterJSON(text string, into any) error {
	if text == "" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("not the JSON of filters: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("not the JSON of filters: text behind it")
	}
	return nil
}

func newFilters(list, text string, filters []filterJSON) (Filters, error) {
	if text == "" {
		return Filters{}, nil
	}
	var (
		out      Filters
		errs     []error
		includes int
	)
	for i, f := range filters {
		fault := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", list, i, fmt.Errorf(format, args...)))
		}
		rule := filterRule{name: f.Name}
		if f.Name == "" {
			fault("name is required; * with LITERAL is all")
		}
		switch f.PatternType {
		case "LITERAL":
			rule.all = f.Name == "*"
		case "PREFIXED", "PREFIX":
			rule.prefix = true
			if f.Name == "*" {
				fault("name * with %s means names that begin with a star; write LITERAL for all", f.PatternType)
			}
		default:
			fault("patternType '%s' is neither LITERAL nor PREFIXED", f.PatternType)
		}
		switch f.FilterType {
		case "INCLUDE":
			includes++
		case "EXCLUDE":
			rule.exclude = true
		default:
			fault("filterType '%s' is neither INCLUDE nor EXCLUDE", f.FilterType)
		}
		out.rules = append(out.rules, rule)
	}
	if includes == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: nothing is included; add a filter with filterType INCLUDE", list))
	}
	return out, errors.Join(errs...)
}
