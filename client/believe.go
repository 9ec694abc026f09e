package client

import (
	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Origin tells where a record in use came from.
type Origin int

// Origins; the zero value is none.
const (
	FromConsul Origin = iota + 1
	// FromDisk: no Consul has answered yet in this run. The record may be old; its site is where this process was last.
	FromDisk
)

func (o Origin) String() string {
	switch o {
	case FromConsul:
		return "consul"
	case FromDisk:
		return "disk"
	}
	return "nowhere"
}

// belief is the pure part of the watcher: which of the records seen is in use. It knows no Consul and no clock.
type belief struct {
	sites   []string // site of each source, "" if not named
	current *record.Record
	// What each source last showed; connected is whether its last query was answered.
	seen      []*record.Record
	connected []bool
}

func newBelief(consuls []Consul) *belief {
	b := &belief{seen: make([]*record.Record, len(consuls)), connected: make([]bool, len(consuls))}
	for _, c := range consuls {
		b.sites = append(b.sites, c.Site)
	}
	return b
}

// kept starts from the copy on disk.
func (b *belief) kept(r record.Record) { b.current = &r }

// lost notes that a source stopped answering. It changes nothing in what is believed: a phase "frozen" of a site that has
// died since is not lifted by the stale "open" of another.
func (b *belief) lost(source int) { b.connected[source] = false }

// show takes a record that a source shows now. use is whether it is the new record in use; problem says why it is not
// believed, nil for one that is merely overruled.
func (b *belief) show(source int, name string, r record.Record) (use bool, problem error) {
	weighed := b.seen[source] != nil && b.seen[source].SHA256 == r.SHA256
	b.connected[source], b.seen[source] = true, &r
	if b.current == nil {
		b.current = &r
		return true, nil
	}
	switch record.Compare(r, *b.current) {
	case record.Newer:
		b.current = &r
		return true, nil
	case record.Older:
		return false, &LowerEpochError{Source: name, Seen: r.Epoch, Kept: b.current.Epoch}
	case record.SplitBrain:
		return false, splitBrain(name, r, *b.current)
	case record.Same, record.StaleCopy:
	}
	// The same epoch by the same operation. What this source showed before was weighed before: a stale copy does not gain
	// by its source's coming back, only by being written again.
	if weighed || r.SHA256 == b.current.SHA256 || b.overruled(source, r) {
		return false, nil
	}
	b.current = &r
	return true, nil
}

// overruled: another source that answers shows this epoch too and has more say in its phase and lock.
func (b *belief) overruled(source int, r record.Record) bool {
	for other := range b.seen {
		if other == source || !b.connected[other] || b.seen[other] == nil || !b.before(other, source) {
			continue
		}
		if rel := record.Compare(*b.seen[other], r); rel == record.Same || rel == record.StaleCopy {
			return true
		}
	}
	return false
}

// before orders sources: the active site's agent first, then as configured.
func (b *belief) before(x, y int) bool {
	active := func(n int) bool { return b.sites[n] != "" && b.sites[n] == b.current.Active[0] }
	if active(x) != active(y) {
		return active(x)
	}
	return x < y
}
