package runbook

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hold is the kill switch: somebody has said that no operation shall run, on one
// pair or on all. It stands in each site's Consul beside the record of truth, so
// that it can be put and lifted while Temporal and every worker are gone. It never
// says so silently: whoever it stops reads who, since when and why, and how to go on.
type Hold struct {
	// Held is false in what a release leaves: a Consul that missed the release would
	// else bring the hold back when it returns.
	Held bool `json:"held"`
	// Seq rises with every put and release; the highest one rules.
	Seq    int64     `json:"seq"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	// Signature is By's, as plan.SignHold makes it.
	Signature string `json:"signature,omitempty"`
}

// Scopes of a hold.
const (
	HoldPair = "pair"
	HoldAll  = "all"
)

// HoldKey is the Consul key of a pair's hold, or of the one on all pairs ("").
func HoldKey(pair string) string {
	if pair == "" {
		return "drawbridge/hold"
	}
	return "drawbridge/" + pair + "/hold"
}

// HoldCopy is what one site's Consul says of one scope.
type HoldCopy struct {
	Site      string `json:"site"`
	Scope     string `json:"scope"`
	Reachable bool   `json:"reachable"`
	Hold      *Hold  `json:"hold,omitempty"` // nil: no key, or one that is not readable
	Problem   string `json:"problem,omitempty"`
	// Unproven is why it is not known that one of the plan's people signed it.
	Unproven string `json:"unproven,omitempty"`
}

// Held is a hold that holds, with where it is.
type Held struct {
	Hold
	Scope string `json:"scope"`
	// Sites whose Consul says so.
	Sites []string `json:"sites"`
	// Unproven is why nobody knows that By put it.
	Unproven string `json:"unproven,omitempty"`
}

// ReadHold judges the copies: of those of a scope that answer, the highest Seq
// rules, and of two with the same the one that holds. What a Consul holds that
// nobody can read counts as a hold, unless another one says what it is: a person
// meant something by it. So does a hold that nobody of the plan has signed: to stop is
// harmless. A release that nobody has signed lifts nothing that stands elsewhere. Silent are the sites that did not answer.
func ReadHold(copies []HoldCopy) (held []Held, silent []string) {
	for _, scope := range []string{HoldPair, HoldAll} {
		var best *Hold
		var sites []string
		unproven := ""
		for _, c := range copies {
			if c.Scope != scope {
				continue
			}
			if !c.Reachable {
				if !slices.Contains(silent, c.Site) {
					silent = append(silent, c.Site)
				}
				continue
			}
			h := c.Hold
			if h == nil && c.Problem != "" {
				h = &Hold{Held: true, By: "somebody", Reason: "what stands there is not readable: " + c.Problem}
			}
			switch {
			case h == nil, !h.Held && c.Unproven != "":
			case best == nil || before(*best, *h):
				best, sites, unproven = h, []string{c.Site}, c.Unproven
			case h.Seq == best.Seq && h.Held == best.Held:
				sites = append(sites, c.Site)
			}
		}
		if best != nil && best.Held {
			held = append(held, Held{Hold: *best, Scope: scope, Sites: sites, Unproven: unproven})
		}
	}
	return held, silent
}

// before tells whether b rules over a.
func before(a, b Hold) bool {
	if a.Seq != b.Seq {
		return b.Seq > a.Seq
	}
	return b.Held && !a.Held
}

// Same tells whether two are one decision of one person.
func (h Held) Same(o Held) bool {
	return h.Scope == o.Scope && h.Seq == o.Seq && h.By == o.By && h.Since.Equal(o.Since)
}

// Text says who holds what since when, why, and who lifts it how.
func (h Held) Text(pair string) string {
	what, lift := "pair "+pair+" is", "drctl release "+pair
	if h.Scope == HoldAll {
		what, lift = "every pair is", "drctl release --all"
	}
	since := "at a time that it does not say"
	if !h.Since.IsZero() {
		since = "since " + stamp(h.Since)
	}
	by := orText(h.By, "somebody")
	if h.Unproven != "" {
		by = fmt.Sprintf("somebody who goes by the name of %s (%s)", by, h.Unproven)
	}
	return fmt.Sprintf("%s held by %s %s: %s (consul of %s; %s lifts it)", what, by, since, orText(h.Reason, "no reason is given"), strings.Join(h.Sites, ", "), lift)
}

// NextHold is what to write so that it rules over all copies of its scope.
func NextHold(copies []HoldCopy, scope string, hold bool, by, reason string, now time.Time) Hold {
	next := Hold{Held: hold, Seq: 1, By: by, Reason: reason, Since: now.UTC().Truncate(time.Second)}
	for _, c := range copies {
		if c.Scope == scope && c.Hold != nil {
			next.Seq = max(next.Seq, c.Hold.Seq+1)
		}
	}
	return next
}

// held says of a hold that it would stop a failover too. A calm pair without one is
// worth no line.
func (j *readyJudge) held() {
	held, _ := ReadHold(j.f.Holds)
	for _, h := range held {
		lift := "drctl release " + j.f.Plan.Pair
		if h.Scope == HoldAll {
			lift = "drctl release --all"
		}
		j.say(PartHold, CheckBad, lift+", or start with the override "+OverrideHold, "%s", h.Text(j.f.Plan.Pair))
	}
	for _, c := range j.f.Holds {
		if c.Hold != nil && !c.Hold.Held && c.Unproven != "" {
			j.say(PartHold, CheckWarning, "look who writes there, and release it once more by drctl", "the release in the consul of %s counts for nothing: %s", c.Site, c.Unproven)
		}
	}
	for _, scope := range []string{HoldPair, HoldAll} {
		stale := ""
		for _, c := range j.f.Holds {
			if c.Scope == scope && c.Hold != nil && c.Hold.Held && !holds(held, scope) {
				stale = c.Site
			}
		}
		if stale != "" {
			j.say(PartHold, CheckWarning, "release it once more", "the consul of %s missed the release of a hold: alone it would still hold the pair", stale)
		}
	}
}

func holds(held []Held, scope string) bool {
	return slices.ContainsFunc(held, func(h Held) bool { return h.Scope == scope })
}
