package runbook

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// DebtLagged is what only people pay: lagged records that a failover left, without
// whose decision the exact RPO is not known. It stands in the loss ledger, not in
// the record of truth.
const DebtLagged = "lagged data"

// DebtRetention is retention that a run held at a site and did not put back. It stands
// beside the record of truth, with the old values.
const DebtRetention = "retention"

// Owed is one open debt, for people.
type Owed struct {
	Kind   string    `json:"kind"` // record.DebtFence, record.DebtRecord, DebtLagged, DebtRetention
	Site   string    `json:"site"`
	OpID   string    `json:"op_id"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
	// Pays says what pays it, Waits what that waits for; "" when it can be paid now.
	Pays  string `json:"pays"`
	Waits string `json:"waits_for,omitempty"`
	// People: nothing but people's decisions pays it.
	People bool `json:"people,omitempty"`
}

// DebtFacts are what a pair's debts are judged by.
type DebtFacts struct {
	Pair  string
	Truth Truth
	Holds []HoldCopy
	// Answers has the sites whose Kafka answers.
	Answers []string
	// Ledger of the link that a failover ended; nil when it was not read.
	Ledger []LedgerLine
	// Retention is what runs have held and not put back.
	Retention []HeldRetention
}

// DebtVerdict is what is owed, and whether paying may begin.
type DebtVerdict struct {
	Owed []Owed `json:"owed"`
	// Pay: something can be paid now, by a run that pays debts only.
	Pay bool `json:"pay"`
	// Over: nothing is owed, as far as can be known.
	Over bool `json:"over"`
	// Waits says what is waited for.
	Waits string `json:"waits_for,omitempty"`
}

// LaggedSite is the site that the pair's last move failed over from, whose records
// behind the stop offsets may lag; ok is false if the last move was a planned one.
func LaggedSite(r record.Record) (site string, ok bool) {
	if len(r.Moves) == 0 || len(r.Standby) == 0 {
		return "", false
	}
	return r.Standby[0], r.Moves[len(r.Moves)-1].Operation == OpFailover
}

// LedgerReadable tells whether the lagged records of a site may be counted: it
// answers, and nobody writes behind what is counted.
func LedgerReadable(f DebtFacts, site string) bool {
	r := f.Truth.Record
	return slices.Contains(f.Answers, site) && !f.Truth.Held() &&
		!slices.ContainsFunc(r.FenceDebt, func(d record.FenceDebt) bool { return d.Kind == record.DebtFence && d.Site == site })
}

// JudgeDebts says what is owed, what pays it, and whether a run that pays may start
// now: never beside another operation, and not while somebody holds the pair.
func JudgeDebts(f DebtFacts) DebtVerdict {
	var v DebtVerdict
	if f.Truth.Record == nil {
		v.Waits = "no Consul shows the record of truth: " + strings.Join(f.Truth.Silent, ", ") + " do not answer"
		return v
	}
	v.Owed = owed(f)
	ready := slices.ContainsFunc(v.Owed, func(o Owed) bool { return !o.People && o.Waits == "" })
	v.Over = len(v.Owed) == 0
	held, _ := ReadHold(f.Holds)
	l := f.Truth.Lock
	switch {
	case v.Over:
	case f.Truth.Split != "":
		v.Waits = f.Truth.Split + ": a person compares both Consuls"
	case ready && len(held) > 0:
		v.Waits = held[0].Text(f.Pair)
	case ready && f.Truth.Held():
		v.Waits = fmt.Sprintf("pair %s is held by %s %s since %s (%s)", f.Pair, l.Operation, l.OpID, stamp(l.Since), f.Truth.LockAt)
	case ready:
		v.Pay = true
	default:
		v.Waits = v.Owed[0].Waits
	}
	return v
}

func owed(f DebtFacts) []Owed {
	r := *f.Truth.Record
	recorded := map[string]bool{}
	var out []Owed
	for _, d := range r.FenceDebt {
		o := Owed{Kind: d.Kind, Site: d.Site, OpID: d.OpID, Since: d.Since, Reason: d.Reason}
		o.Pays = "by itself when " + d.Site + " is back; now: drctl recover " + f.Pair + " --debts-only"
		switch {
		case d.Kind == record.DebtFence && !slices.Contains(f.Answers, d.Site):
			o.Waits = "the Kafka of " + d.Site + " does not answer"
		case d.Kind == record.DebtRecord:
			recorded[d.Site] = true
			if slices.Contains(f.Truth.Silent, "consul "+d.Site) {
				o.Waits = "the Consul of " + d.Site + " does not answer"
			}
		}
		out = append(out, o)
	}
	for _, site := range f.Truth.Behind {
		// A copy that a run wrote last of all, and nobody could note any more. While
		// an operation runs its copies are its own affair.
		if !recorded[site] && !f.Truth.Held() {
			out = append(out, Owed{
				Kind: record.DebtRecord, Site: site, OpID: r.OpID, Since: r.ChangedAt, Reason: "its copy of the record is behind",
				Pays: "by itself; now: drctl recover " + f.Pair + " --debts-only",
			})
		}
	}
	if site, lagged := LaggedSite(r); lagged {
		out = append(out, laggedData(f, site)...)
	}
	for _, h := range f.Retention {
		out = append(out, heldRetention(f, h))
	}
	return out
}

// heldRetention may be put back when nobody decides any more about what it keeps, and
// the run that held it is over.
func heldRetention(f DebtFacts, h HeldRetention) Owed {
	r := f.Truth.Record
	o := Owed{
		Kind: DebtRetention, Site: h.Site, OpID: h.OpID, Since: h.Since,
		Reason: fmt.Sprintf("%d topics there keep everything until their old retention is put back", h.Topics),
		Pays:   "by itself when " + h.Site + " answers; now: drctl recover " + f.Pair + " --debts-only",
	}
	_, lagged := LaggedSite(*r)
	switch {
	case f.Truth.Lock != nil && f.Truth.Lock.OpID == h.OpID:
		o.Waits = fmt.Sprintf("%s, which holds it and the pair; if that run is gone for good: drctl recover %s --debts-only --override %s --reason \"…\"", h.OpID, f.Pair, OverrideLock)
	case !slices.Contains(f.Answers, h.Site) && !slices.Contains(r.Active, h.Site):
		o.Waits = "the Kafka of " + h.Site + " does not answer"
	case lagged && (f.Ledger == nil || len(Undecided(f.Ledger)) > 0):
		o.Waits = "the lagged records that it keeps: drctl recover " + f.Pair + " takes it over and decides about them"
	}
	return o
}

func laggedData(f DebtFacts, site string) []Owed {
	r := f.Truth.Record
	last := r.Moves[len(r.Moves)-1]
	o := Owed{Kind: DebtLagged, Site: site, OpID: last.OpID, Since: last.At, Pays: "drctl recover " + f.Pair, People: true}
	open := Undecided(f.Ledger)
	switch {
	case f.Ledger == nil && !slices.Contains(f.Answers, site):
		o.Waits = "the Kafka of " + site + " does not answer"
		o.Reason = "what the failover left behind is not counted"
	case f.Ledger == nil:
		o.Reason = "what the failover left behind is not counted"
		o.Waits = "its fence, and no other operation"
	case len(open) == 0:
		return nil
	default:
		o.Reason = fmt.Sprintf("lagged records of %s are undecided, so the exact RPO is not known", strings.Join(open, ", "))
		o.Waits = "somebody's decision"
	}
	return []Owed{o}
}

// Unpaid are the debts that waited for nothing and stand in the record still, behind a
// run that was to pay them.
func Unpaid(owed []Owed, open []record.FenceDebt) []Owed {
	return slices.DeleteFunc(slices.Clone(owed), func(o Owed) bool {
		return o.People || o.Waits != "" || !slices.ContainsFunc(open, func(d record.FenceDebt) bool {
			return d.Kind == o.Kind && d.Site == o.Site && d.OpID == o.OpID
		})
	})
}

// DebtTable is what the Temporal UI and drctl show.
func DebtTable(owed []Owed, now time.Time) [][]string {
	out := [][]string{{"KIND", "OWED TO", "AGE", "BY", "WHY", "WHAT PAYS IT", "WAITS FOR"}}
	for _, o := range owed {
		out = append(out, []string{o.Kind, o.Site, now.Sub(o.Since).Round(time.Second).String(), o.OpID, o.Reason, o.Pays, o.Waits})
	}
	return out
}
