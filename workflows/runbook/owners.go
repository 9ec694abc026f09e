package runbook

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// OwnersOf are the people and teams that the plan names for a topic; none means
// that whoever may approve a recovery decides.
func (p Plan) OwnersOf(topic string) []string {
	var out []string
	for _, o := range p.Owners {
		if slices.ContainsFunc(o.Topics, func(f string) bool { return matches(f, topic) }) {
			out = append(out, Missing(o.By, out)...)
		}
	}
	return out
}

// matches tells whether a filter of the plan means a topic.
func matches(filter, topic string) bool {
	if !strings.HasPrefix(filter, "^") {
		return filter == topic
	}
	re, err := regexp.Compile("^(?:" + strings.TrimPrefix(filter, "^") + ")$")
	return err == nil && re.MatchString(topic)
}

// Owns: the person is named, or has a role that is.
func Owns(owners []string, who Person) bool {
	return slices.Contains(owners, who.Name) || slices.ContainsFunc(who.Roles, func(r string) bool { return slices.Contains(owners, r) })
}

// OwnChoices judges whether a person may decide what is chosen about lagged
// records, and writes EveryTopic out. A topic is decided by its owners, or by
// whoever has a role that the plan gives recoveries, who must then name it: for
// all of the undecided topics one stands only for those that one owns, and for
// those that nobody does.
func OwnChoices(p Plan, who Person, undecided []string, chosen map[string]string) (map[string]string, error) {
	rule := p.Approvals[OpRecover]
	out := map[string]string{}
	var faults []string
	for _, t := range sorted(chosen) {
		owners := p.OwnersOf(t)
		explicit := len(rule.Roles) > 0 && HasRole(rule, who.Roles)
		switch {
		case t == EveryTopic:
		case len(owners) == 0 && !HasRole(rule, who.Roles):
			faults = append(faults, fmt.Sprintf("%s has none of the roles that may decide about %s: %s", who.Name, t, strings.Join(rule.Roles, ", ")))
		case len(owners) > 0 && !Owns(owners, who) && !explicit:
			faults = append(faults, fmt.Sprintf("%s is not among the owners of %s: %s", who.Name, t, strings.Join(owners, ", ")))
		default:
			out[t] = chosen[t]
		}
	}
	every, ok := chosen[EveryTopic]
	taken := 0
	for _, t := range undecided {
		owners := p.OwnersOf(t)
		if _, named := chosen[t]; !ok || named {
			continue
		}
		if Owns(owners, who) || len(owners) == 0 && HasRole(rule, who.Roles) {
			out[t] = every
			taken++
		}
	}
	if ok && taken == 0 && len(out) == 0 && len(undecided) > 0 {
		faults = append(faults, fmt.Sprintf("%s owns none of the undecided topics: %q stands for one's own only", who.Name, EveryTopic))
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("decisions: %s", strings.Join(faults, "; "))
	}
	return out, nil
}
