package runbook

import (
	"slices"
	"time"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// By is who changes the record.
type By struct {
	OpID      string
	Operation string
	Person    string
	Now       time.Time
}

// Fresh is a pair's first record: home is active.
func Fresh(p Plan, highest int64, by By) record.Record {
	r := record.Record{Pair: p.Pair, Mode: record.Mode(p.Mode), Epoch: highest + 1, PrevEpoch: highest}
	return describe(r, p, p.Home, by).Normalised()
}

// Flip makes the record that sends clients to active: epoch 1 + the highest
// seen anywhere, phase open, placements of groups dropped (a group of an
// active-passive pair is where the pair is). Groups of later waves wait.
func Flip(old record.Record, p Plan, highest int64, active string, by By) record.Record {
	r := old
	r.Epoch = max(highest, old.Epoch) + 1
	r.PrevEpoch = old.Epoch
	r.Moves = moved(old.Moves, active, by)
	r.Waits = waiting(ClientWaves(p.Groups))
	return describe(r, p, active, by).Normalised()
}

// Renew makes the record that SetUp wants after a plan change: what the plan
// says now, with the active site of old. The epoch is raised only if something
// that raises it differs.
func Renew(old record.Record, p Plan, highest int64, by By) record.Record {
	r := old
	r.Mode = record.Mode(p.Mode)
	next := describe(r, p, old.Active[0], by)
	next.Phase, next.Lock = old.Phase, old.Lock
	if record.RaisesEpoch(old, next) {
		next.Epoch, next.PrevEpoch = max(highest, old.Epoch)+1, old.Epoch
		return next.Normalised()
	}
	// The same epoch keeps its maker, or the copies would look like a split
	// brain.
	next.OpID = old.OpID
	return next.Normalised()
}

func describe(r record.Record, p Plan, active string, by By) record.Record {
	r.Active, r.Standby = []string{active}, []string{}
	r.Bootstrap, r.SecurityRef = map[string][]string{}, map[string]string{}
	r.Groups = map[string]record.Group{}
	for _, s := range p.Sites {
		if s.Name != active {
			r.Standby = append(r.Standby, s.Name)
		}
		r.Bootstrap[s.Name] = slices.Clone(s.Kafka.Bootstrap)
		r.SecurityRef[s.Name] = s.SecurityRef
	}
	r.Phase = record.Open
	r.OpID, r.ChangedAt, r.ChangedBy = by.OpID, by.Now, by.Person
	return r
}

// Locked is r held by an operation, in a phase; same epoch.
func Locked(r record.Record, phase record.Phase, by By) record.Record {
	since := by.Now
	if r.Lock != nil && r.Lock.OpID == by.OpID {
		since = r.Lock.Since
	}
	r.Lock = &record.Lock{OpID: by.OpID, Operation: by.Operation, Since: since}
	r.Phase = phase
	return changed(r, by)
}

// Unlocked is r in phase open without a lock, and no group waits any more; same
// epoch. Without a run nobody would give those that wait their turn.
func Unlocked(r record.Record, by By) record.Record {
	r.Lock, r.Phase, r.Waits = nil, record.Open, nil
	return changed(r, by)
}

// WithDebt adds a debt; the same kind owed to the same site is one debt, whose
// older entry stays. Same epoch.
func WithDebt(r record.Record, d record.FenceDebt, by By) record.Record {
	if slices.ContainsFunc(r.FenceDebt, func(o record.FenceDebt) bool { return o.Kind == d.Kind && o.Site == d.Site }) {
		return r
	}
	r.FenceDebt = append(slices.Clone(r.FenceDebt), d)
	return changed(r, by)
}

// WithoutDebt closes a debt; same epoch.
func WithoutDebt(r record.Record, d record.FenceDebt, by By) record.Record {
	r.FenceDebt = slices.DeleteFunc(slices.Clone(r.FenceDebt), func(o record.FenceDebt) bool { return o.Kind == d.Kind && o.Site == d.Site })
	return changed(r, by)
}

// changed stamps who wrote; op_id stays, it names who made the epoch.
func changed(r record.Record, by By) record.Record {
	r.ChangedAt, r.ChangedBy = by.Now, by.Person
	return r.Normalised()
}
