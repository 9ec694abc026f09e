package runbook

import (
	"strings"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// FencingOperation is the operation that a fence register belongs to: entries
// on groups are registered under a name of their own, so that they can be
// lifted on their own.
func FencingOperation(register string) string { return strings.TrimSuffix(register, ".groups") }

// FencedSite is what is known of a site whose fence is to be lifted.
type FencedSite struct {
	Pair string
	Site string
	// Active: the record of truth sends clients there.
	Active bool
	// Link mirrors from the site to the other one; Stopped are its mirrors that
	// ended. Problem says why they could not be seen.
	Link    string
	Stopped []string
	Problem string
	// Undecided are topics with lagged records that wait for a decision;
	// LedgerProblem says why the ledger could not be read.
	Undecided     []string
	LedgerProblem string
	// Debts of the pair's record.
	Debts []record.FenceDebt
	// Guarded: mirrors run there, whose guards keep clients out without the fence.
	Guarded bool
}

// Unfence judges whether clients may write at a site again. A fence stands
// between two histories: lifted at the wrong site it lets both grow.
func Unfence(f FencedSite) Verdict {
	v := Verdict{OK: true}
	if f.Problem != "" {
		v.need(OverrideWriters, "whether link %s still mirrors %s is not known: %s", f.Link, f.Site, f.Problem)
	}
	if f.Active {
		if len(f.Stopped) > 0 {
			v.need(OverrideWriters, "%d mirrors of link %s are STOPPED, first %s: the lost run was past its point of no return, and what is written at %s from now on reaches nobody; drctl failover %s --override break-lock --reason \"…\" goes on from there",
				len(f.Stopped), f.Link, f.Stopped[0], f.Site, f.Pair)
		}
		if v.OK {
			v.note("%s is the active site", f.Site)
		}
		return v
	}
	for _, d := range f.Debts {
		if d.Site == f.Site {
			v.need(OverrideWriters, "%s is not active and a %s is owed to it since %s: drctl recover %s --debts-only pays it", f.Site, d.Kind, stamp(d.Since), f.Pair)
		}
	}
	if f.LedgerProblem != "" {
		v.need(OverrideWriters, "%s is not active and whether it holds undecided records is not known: %s", f.Site, f.LedgerProblem)
	}
	if len(f.Undecided) > 0 {
		v.need(OverrideWriters, "%s is not active and holds undecided records of %s: drctl recover %s decides them", f.Site, strings.Join(f.Undecided, ", "), f.Pair)
	}
	if v.OK && !f.Guarded {
		v.need(OverrideWriters, "%s is not active: its fence keeps clients from writing what nobody would have; drctl restore %s or drctl failback %[2]s takes it over", f.Site, f.Pair)
	}
	if v.OK {
		v.note("%s is not active, its mirrors' guards keep clients out, nothing is owed to it and nothing there is undecided", f.Site)
	}
	return v
}
