package record

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Keys of one pair in a site's Consul.
type Keys struct {
	// Active holds the Record.
	Active string
	// Bootstrap and Security are plain values for single-key clients, written
	// in the same transaction; whoever needs both reads the Record.
	Bootstrap string
	Security  string
}

// KeysOf returns the keys of a pair.
func KeysOf(pair string) Keys {
	p := "drawbridge/" + pair + "/"
	return Keys{Active: p + "active", Bootstrap: p + "bootstrap", Security: p + "security"}
}

// PlainBootstrap is the value of Keys.Bootstrap: the active site's servers,
// joined by commas.
func (r Record) PlainBootstrap() string {
	if len(r.Active) == 0 {
		return ""
	}
	return strings.Join(r.Bootstrap[r.Active[0]], ",")
}

// PlainSecurity is the value of Keys.Security.
func (r Record) PlainSecurity() string {
	if len(r.Active) == 0 {
		return ""
	}
	return r.SecurityRef[r.Active[0]]
}

// Place is where a consumer group or producer works.
type Place struct {
	Site        string
	Bootstrap   []string
	SecurityRef string
}

// SiteFor tells where group works: its own entry, else the first active site.
// A producer asks with the empty group.
func (r Record) SiteFor(group string) (Place, error) {
	site := ""
	if g, ok := r.Groups[group]; ok && group != "" {
		site = g.Site
	}
	if site == "" && len(r.Active) > 0 {
		site = r.Active[0]
	}
	servers := r.Bootstrap[site]
	if len(servers) == 0 {
		return Place{}, fmt.Errorf("%w: pair %s epoch %d has no servers for group %q (site %q)", ErrInvalid, r.Pair, r.Epoch, group, site)
	}
	return Place{Site: site, Bootstrap: slices.Clone(servers), SecurityRef: r.SecurityRef[site]}, nil
}

// MayStart tells whether what belongs to group and does not run may be started under
// r: the pair is not frozen, and the group's wave has had its turn. What runs at its
// place already is stopped by a freeze only.
func (r Record) MayStart(group string) bool {
	return r.Phase != Frozen && !slices.Contains(r.Waits, group)
}

// RaisesEpoch tells whether the change from old to next needs a new epoch:
// only active, standby, mode, bootstrap and groups do. Lock, phase and debts
// are written at the same epoch. It is deterministic (see Normalised).
//
//workflowcheck:ignore
func RaisesEpoch(old, next Record) bool {
	return old.Mode != next.Mode ||
		!slices.Equal(old.Active, next.Active) ||
		!slices.Equal(old.Standby, next.Standby) ||
		!maps.EqualFunc(old.Bootstrap, next.Bootstrap, slices.Equal[[]string]) ||
		!maps.Equal(old.Groups, next.Groups)
}

// Relation is how one copy of a record stands to another.
type Relation int

// Relations of a to b. The zero value is none of them.
const (
	// Same: nothing differs that matters.
	Same Relation = iota + 1
	// Newer: a has the higher epoch.
	Newer
	// Older: a has the lower epoch.
	Older
	// SplitBrain: the same epoch was made twice with different content. Nothing
	// may be written; a person decides.
	SplitBrain
	// StaleCopy: the same epoch by the same operation, but lock, phase, debts or
	// the groups that wait differ. The active site's copy rules (during a failover the surviving
	// site's).
	StaleCopy
)

func (r Relation) String() string {
	switch r {
	case Same:
		return "same"
	case Newer:
		return "newer"
	case Older:
		return "older"
	case SplitBrain:
		return "split brain"
	case StaleCopy:
		return "stale copy"
	}
	return fmt.Sprintf("relation %d", int(r))
}

// Compare says how a stands to b: a is Newer, Older, … than b. It is
// deterministic (see Normalised).
//
//workflowcheck:ignore
func Compare(a, b Record) Relation {
	switch {
	case a.Pair != b.Pair:
		return SplitBrain
	case a.Epoch > b.Epoch:
		return Newer
	case a.Epoch < b.Epoch:
		return Older
	case a.OpID != b.OpID || RaisesEpoch(a, b):
		return SplitBrain
	}
	a, b = a.Normalised(), b.Normalised()
	if a.Phase != b.Phase || !reflect.DeepEqual(a.Lock, b.Lock) || !slices.Equal(a.FenceDebt, b.FenceDebt) || !slices.Equal(a.Waits, b.Waits) {
		return StaleCopy
	}
	return Same
}

// Debts returns the open debts of a kind ("" for all), in the order they arose.
func (r Record) Debts(kind string) []FenceDebt {
	var out []FenceDebt
	for _, d := range r.FenceDebt {
		if kind == "" || d.Kind == kind {
			out = append(out, d)
		}
	}
	return out
}
