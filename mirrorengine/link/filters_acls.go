package link

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// ACLFilters choose the ACL entries that a link syncs. The zero value chooses
// none. They have no EXCLUDE: an entry is chosen by any one of them.
type ACLFilters struct{ rules []aclRule }

// aclRule is one filter; an empty string is "any".
type aclRule struct {
	resource, name, pattern                string
	principal, host, operation, permission string
}

const patternMatch = "MATCH"

// Match tells whether an entry is chosen. It reads resource filters as Kafka does
// (org.apache.kafka.common.resource.ResourcePatternFilter): a name is the pattern's
// own name, and with MATCH a resource's name, which wildcard and prefixed patterns
// cover too.
func (f ACLFilters) Match(e api.ACLEntry) bool {
	for _, r := range f.rules {
		if r.matchResource(e) && is(r.principal, e.Principal) && is(r.host, e.Host) && is(r.operation, e.Operation) && is(r.permission, e.Permission) {
			return true
		}
	}
	return false
}

func is(want, got string) bool { return want == "" || want == got }

func (r aclRule) matchResource(e api.ACLEntry) bool {
	switch {
	case !is(r.resource, e.ResourceType):
		return false
	case r.pattern == patternMatch:
		return r.name == "" || covers(e, r.name)
	}
	return is(r.pattern, e.PatternType) && is(r.name, e.ResourceName)
}

// Empty tells whether there is no rule at all.
func (f ACLFilters) Empty() bool { return len(f.rules) == 0 }

// ParseACLFilters reads the contract's
//
//	{"aclFilters":[{"resourceFilter":{"resourceType","patternType","name"?},
//	                "accessFilter":{"operation","permissionType","principal"?,"host"?}}]}
//
// with Kafka's words in any case, "any" for all. Empty text is no filter.
func ParseACLFilters(text string) (ACLFilters, error) {
	var body struct {
		Filters []struct {
			Resource struct {
				Type    string  `json:"resourceType"`
				Pattern string  `json:"patternType"`
				Name    *string `json:"name"`
			} `json:"resourceFilter"`
			Access struct {
				Operation  string  `json:"operation"`
				Permission string  `json:"permissionType"`
				Principal  *string `json:"principal"`
				Host       *string `json:"host"`
			} `json:"accessFilter"`
		} `json:"aclFilters"`
	}
	if text == "" {
		return ACLFilters{}, nil
	}
	if err := parseFilterJSON(text, &body); err != nil {
		return ACLFilters{}, err
	}
	var out ACLFilters
	var errs []error
	for i, f := range body.Filters {
		word := func(field, value string, parse func(string) (string, error)) string {
			if strings.EqualFold(value, "any") {
				return ""
			}
			w, err := parse(value)
			if err != nil {
				errs = append(errs, fmt.Errorf("aclFilters[%d].%s: '%s' is none of Kafka's words; any is all", i, field, value))
			}
			return w
		}
		text := func(field string, value *string) string {
			if value != nil && *value == "" {
				errs = append(errs, fmt.Errorf("aclFilters[%d].%s: is empty; leave it out for all", i, field))
			}
			if value == nil {
				return ""
			}
			return *value
		}
		rule := aclRule{
			resource:   word("resourceFilter.resourceType", f.Resource.Type, words(kmsg.ParseACLResourceType)),
			pattern:    word("resourceFilter.patternType", f.Resource.Pattern, words(kmsg.ParseACLResourcePatternType)),
			name:       text("resourceFilter.name", f.Resource.Name),
			operation:  word("accessFilter.operation", f.Access.Operation, words(kmsg.ParseACLOperation)),
			permission: word("accessFilter.permissionType", f.Access.Permission, words(kmsg.ParseACLPermissionType)),
			principal:  text("accessFilter.principal", f.Access.Principal),
			host:       text("accessFilter.host", f.Access.Host),
		}
		if p := rule.principal; p != "" && !strings.Contains(p, ":") {
			errs = append(errs, fmt.Errorf("aclFilters[%d].accessFilter.principal: '%s' is no principal; write it as ACLs have it, User:billing", i, p))
		}
		out.rules = append(out.rules, rule)
	}
	if len(body.Filters) == 0 {
		errs = append(errs, errors.New("aclFilters: chooses nothing; "+allACLs+" is all"))
	}
	return out, errors.Join(errs...)
}

// allACLs is the filter of all entries, for those who look for an example.
const allACLs = `{"aclFilters":[{"resourceFilter":{"resourceType":"any","patternType":"any"},"accessFilter":{"operation":"any","permissionType":"any"}}]}`

// words spells a word of Kafka's as ACL entries have it.
func words[T fmt.Stringer](parse func(string) (T, error)) func(string) (string, error) {
	return func(s string) (string, error) {
		v, err := parse(s)
		return v.String(), err
	}
}
