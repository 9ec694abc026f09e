package runbook

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Waves of clients. Clients move themselves when the record of truth changes, so a
// wave is what the record lets go: the flip sends all groups to the new site and names
// those that wait; who waits stops where it was and starts when it is not named any
// more. Nobody goes back, and nobody works at two sites: a wave only ever starts later.

// ClientWaves are the plan's groups in the order in which they move. Those without a
// wave are of the first.
func ClientWaves(groups []Group) [][]Group {
	sorted := slices.Clone(groups)
	slices.SortStableFunc(sorted, func(a, b Group) int { return cmp.Compare(max(a.Wave, 1), max(b.Wave, 1)) })
	var out [][]Group
	for i, g := range sorted {
		if i == 0 || max(g.Wave, 1) != max(sorted[i-1].Wave, 1) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], g)
	}
	return out
}

// waiting names the groups behind the first wave.
func waiting(waves [][]Group) []string {
	var out []string
	for _, g := range slices.Concat(waves[min(1, len(waves)):]...) {
		out = append(out, g.Name)
	}
	return out
}

// Released is r with a wave's groups let go; same epoch.
func Released(r record.Record, wave []Group, by By) record.Record {
	free := WaysOf(wave)
	r.Waits = slices.DeleteFunc(slices.Clone(r.Waits), func(name string) bool { return free[name] != "" })
	return changed(r, by)
}

// HaltClients judges a wave of clients that others wait for: too many that were not
// seen at the new site need a person.
func HaltClients(m Moves, percent int) Verdict {
	v := Verdict{OK: true}
	var missing []string
	for _, m := range m.Rows {
		if !m.Moved {
			missing = append(missing, fmt.Sprintf("%s (%d members at the old site, %d at the new one)", m.Group, m.MembersOld, m.MembersNew))
		}
	}
	missing = append(missing, m.Left...)
	if all := len(m.Rows) + len(m.Left) + m.Moved; len(missing)*100 > percent*all {
		v.need("", "%d of %d groups of this wave have not moved, more than %d %%: %s; the groups of later waves stand still until then. Retry looks again, skip with a reason lets the next wave go",
			len(missing), all, percent, groupList(missing))
	}
	return v
}
