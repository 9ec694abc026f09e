package runbook

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Refusal of a command: Code is one of the Refuse constants, which are also the
// application error types of the Updates.
type Refusal struct {
	Code string
	Text string
}

func (r *Refusal) Error() string { return r.Text }

// Codes of a Refusal.
const (
	RefuseStale      = "CommandStale"
	RefuseLate       = "CommandLate"
	RefuseNotAllowed = "NotAllowed"
)

// Bound is what a command must fit: the run it is for, and the question that it
// answers, "" if it answers none.
type Bound struct {
	OpID      string
	Pair      string
	Operation string
	Epoch     int64
	PlanHash  string
	Question  string
}

// Fits checks that c is for this run and still in time. Deadline is the end of
// the wait, zero when there is none. Signature and roles are judged elsewhere.
func Fits(c Command, b Bound, now, deadline time.Time) *Refusal {
	stale := func(what string, got, want any) *Refusal {
		return &Refusal{RefuseStale, fmt.Sprintf("this %s is for %s %v, the run has %v: look at the status and sign again", c.Decision, what, got, want)}
	}
	switch {
	case c.Pair != b.Pair:
		return stale("pair", c.Pair, b.Pair)
	case c.Operation != b.Operation:
		return stale("operation", c.Operation, b.Operation)
	case c.OpID != b.OpID:
		return stale("run", c.OpID, b.OpID)
	case c.Epoch != b.Epoch:
		return stale("epoch", c.Epoch, b.Epoch)
	case c.PlanHash != b.PlanHash:
		return stale("plan", c.PlanHash, b.PlanHash)
	case b.Question != "" && c.Question == "":
		return &Refusal{RefuseStale, fmt.Sprintf("this %s names no question, the run asks %q: look at the status and sign again", c.Decision, b.Question)}
	case b.Question != "" && c.Question != b.Question:
		return stale("question", strconv.Quote(c.Question), strconv.Quote(b.Question))
	case c.Expires.IsZero():
		return &Refusal{RefuseLate, fmt.Sprintf("this %s has no expiry: sign it again with one", c.Decision)}
	case !now.Before(c.Expires):
		return &Refusal{RefuseLate, fmt.Sprintf("this %s expired at %s, it is %s", c.Decision, stamp(c.Expires), stamp(now))}
	case !deadline.IsZero() && now.After(deadline):
		return &Refusal{RefuseLate, fmt.Sprintf("the deadline passed at %s, it is %s", stamp(deadline), stamp(now))}
	}
	return nil
}

// Needed is how many approvals a run needs. An unsigned requester costs one
// more; overrides are never taken without an approval.
func Needed(rule Approval, requester string, overrides []string) int {
	n := rule.Count
	if requester == Unsigned {
		n++
	}
	if n == 0 && len(overrides) > 0 {
		n = 1
	}
	return n
}

// MayApprove judges whether a verified person's approval counts.
func MayApprove(c Command, roles []string, rule Approval, requester string, overrides []string, given []Signed) *Refusal {
	no := func(format string, args ...any) *Refusal {
		return &Refusal{RefuseNotAllowed, fmt.Sprintf(format, args...)}
	}
	switch {
	case c.By == Unsigned || c.By == "":
		return no("an unsigned approval does not count: sign it with drctl approve")
	case c.By == requester && !rule.SelfApproval:
		return no("%s asked for this run and may not approve it: somebody else must", c.By)
	case !HasRole(rule, roles):
		return no("%s has none of the roles that may approve: %s", c.By, strings.Join(rule.Roles, ", "))
	case slices.ContainsFunc(given, func(s Signed) bool { return s.By == c.By && s.Decision == Approve && covers(s, overrides) }):
		return no("%s has approved already: each approval is another person's", c.By)
	}
	if missing := Missing(overrides, c.Overrides); len(missing) > 0 {
		return no("this approval must name the overrides %s one by one (--override): they say what is taken upon oneself", strings.Join(missing, ", "))
	}
	if len(c.Overrides) > 0 && c.Reason == "" {
		return no("an approval that overrides %s needs a reason (--reason): it goes into the report", strings.Join(c.Overrides, ", "))
	}
	return nil
}

// MayBreakGlass judges whether a verified person may break the glass for an
// operation, and does it as it must be done. Need are the overrides that are
// asked for.
func MayBreakGlass(c Command, roles []string, operation string, rule *BreakGlassRule, need []string) *Refusal {
	no := func(format string, args ...any) *Refusal {
		return &Refusal{RefuseNotAllowed, fmt.Sprintf(format, args...)}
	}
	switch {
	case rule == nil || !slices.Contains(rule.Operations, operation):
		return no("the plan has no break_glass for a %s: it needs its approvals", operation)
	case !slices.ContainsFunc(rule.Roles, func(r string) bool { return slices.Contains(roles, r) }):
		return no("%s has none of the roles that may break the glass: %s", c.By, strings.Join(rule.Roles, ", "))
	case c.Reason == "":
		return no("breaking the glass needs a reason: everybody is told it, and it goes into the report")
	}
	for _, o := range c.Overrides {
		if OverrideMeaning(o) == "" {
			return no("%q is no override: they are %s; split brain, the epoch and the fence registers cannot be overridden at all", o, overrides())
		}
	}
	if missing := Missing(need, c.Overrides); len(missing) > 0 {
		return no("breaking the glass must name the overrides %s one by one (--override): they say what is taken upon oneself", strings.Join(missing, ", "))
	}
	return nil
}

// HasRole: a rule without roles takes anybody of the plan.
func HasRole(rule Approval, roles []string) bool {
	return len(rule.Roles) == 0 || slices.ContainsFunc(rule.Roles, func(r string) bool { return slices.Contains(roles, r) })
}

// EscalateAfter is when a question that nobody has answered enough is escalated, 0
// for never.
func EscalateAfter(rule Approval) time.Duration {
	switch after := rule.EscalateSeconds; {
	case after < 0, after >= rule.DeadlineSeconds:
		return 0
	case after == 0:
		return Seconds(rule.DeadlineSeconds) / 2
	default:
		return Seconds(after)
	}
}

// EscalatedTo is whom a rule escalates to: everybody, where it names nobody.
func EscalatedTo(rule Approval, people []Person) []Person {
	var out []Person
	for _, who := range people {
		if len(rule.EscalateTo) == 0 || slices.ContainsFunc(rule.EscalateTo, func(to string) bool { return to == who.Name || slices.Contains(who.Roles, to) }) {
			out = append(out, who)
		}
	}
	return out
}

// RolesFor are the roles that a person has for a question: by an escalation that
// lets them approve, those that approvers need.
func RolesFor(rule Approval, who Person, escalated bool) []string {
	if escalated && rule.EscalatedMayApprove && len(EscalatedTo(rule, []Person{who})) > 0 {
		return slices.Concat(who.Roles, rule.Roles)
	}
	return who.Roles
}

// Count is how many of the given approvals name all overrides.
func Count(given []Signed, overrides []string) int {
	n := 0
	for _, s := range given {
		if s.Decision == Approve && covers(s, overrides) {
			n++
		}
	}
	return n
}

func covers(s Signed, overrides []string) bool { return len(Missing(overrides, s.Overrides)) == 0 }
