package workflows

import (
	"fmt"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// World is the fake world for tests that stand outside of the package.
type World struct {
	w    *world
	held chan struct{}
	once *sync.Once
}

// NewWorld is a pair before its set-up.
func NewWorld() World { return worldOf(newWorld()) }

// Calm is a pair that may be moved.
func Calm() World { return worldOf(calm()) }

// Decided is a pair that was failed over and whose lagged data is dealt with; one
// copy at the returned site did not move, one topic is new.
func Decided() World {
	w := decided()
	w.same = map[string]bool{"b": true}
	w.altered = map[string]func(*runbook.AwayTopic){"new": func(a *runbook.AwayTopic) { a.Active = 1 }}
	return worldOf(w)
}

// Lost is a pair in its steady state whose home is gone.
func Lost() World { return worldOf(lost()) }

// FailedOver is a pair whose home came back with lagged records that nobody has decided.
func FailedOver() World { return worldOf(failedOver()) }

// Indebted is a pair that failed over and owes its lost home a fence and a record; home is back, and nobody has noticed.
func Indebted() World {
	w := indebted()
	w.back()
	w.plan.Debts.EverySeconds = 1
	return worldOf(w)
}

// Turning is a pair that a full drill may move there and back.
func Turning() World {
	w := calm()
	w.topics[away] = w.topics[home]
	w.plan.Limits.AntiFlapSeconds = 3600
	return worldOf(w)
}

// Spoilt: what a drill reads at the standby is not what it wrote.
func (w World) Spoilt() World {
	w.w.drill.spoilt = true
	return w
}

// Held: a person holds the pair.
func (w World) Held() World {
	w.w.put(away, "zoe")
	return w
}

// DrillOf is ann's request for a drill.
func DrillOf(kind string) DrillInput { return drillOf(kind) }

func worldOf(w *world) World { return World{w, make(chan struct{}), new(sync.Once)} }

// Hold lets the first call of a step wait for Release.
func (w World) Hold(step string) World {
	var first sync.Once
	w.w.hook = func(method string, _ Call) {
		if method == step {
			first.Do(func() { <-w.held })
		}
	}
	return w
}

// Release ends Hold.
func (w World) Release() { w.once.Do(func() { close(w.held) }) }

// Freeze is the plan's bound.
func (w World) Freeze(seconds int64) World {
	w.w.plan.Limits.FreezeSeconds = seconds
	return w
}

// Deaf: fences bind nobody.
func (w World) Deaf() World {
	w.w.deaf = true
	return w
}

// Stuck: a promote does not end topic, until the operation was revoked if
// revoked cures it.
func (w World) Stuck(topic string, revoked bool) World {
	w.w.stuck = map[string]bool{topic: true}
	w.w.hook = func(method string, _ Call) {
		if method == "RevokeOperation" && revoked {
			w.w.mu.Lock()
			defer w.w.mu.Unlock()
			w.w.stuck = nil
		}
	}
	return w
}

// Large is a pair in its steady state, its home lost, with that many topics of
// that many partitions, in waves from 200 on.
func Large(topics, partitions int) World {
	w := lost()
	w.wide, w.plan.Limits.WaveTopics = partitions, 200
	w.plan.Topics, w.mirrors["there"] = nil, map[string]string{}
	for i := range topics {
		t := fmt.Sprintf("a-topic-of-a-name-of-usual-length-%04d", i)
		w.plan.Topics, w.mirrors["there"][t] = append(w.plan.Topics, t), "ACTIVE"
	}
	return worldOf(w)
}

// Active is the site that clients are sent to, by the newest copy.
func (w World) Active() string {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	newest := w.w.consul[home]
	if r := w.w.consul[away]; r.Epoch > newest.Epoch {
		newest = r
	}
	return newest.Active[0]
}

// Steps is what to register as activities.
func (w World) Steps() Steps { return w.w }

// Lose takes a site away.
func (w World) Lose(site string) { w.set(site, true) }

// Return brings a site back, with records behind the stop offsets.
func (w World) Return(site string, lagged int64) {
	w.set(site, false)
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	w.w.topics[away] = w.w.topics[home]
	w.w.ledger = []runbook.LedgerLine{{Topic: "a", Records: lagged, Decision: runbook.LedgerUndecided}}
}

// Abandon leaves what a failover leaves that was terminated behind its fence.
func (w World) Abandon() {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	abandon(w.w)
}

// Abandoned is Abandon of a new world.
func (w World) Abandoned() World {
	w.Abandon()
	return w
}

// AskUnfence is ann's request to take what Abandon left.
func AskUnfence() UnfenceInput { return unfencing(runbook.OverrideLock) }

// AskUnfenceOf is ann's request to take what an operation left at its home.
func AskUnfenceOf(operation string) UnfenceInput {
	return unfencingAt([]string{operation}, []string{home}, runbook.OverrideLock)
}

// InKubernetes gives the pair's group workloads.
func (w World) InKubernetes(places ...runbook.Workloads) World {
	w.w.inKubernetes(places...)
	return w
}

func (w World) set(site string, down bool) {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	for _, part := range []string{"kafka", "consul", "engine"} {
		w.w.down[site+" "+part] = down
	}
}

// Left says what a run has left behind, "" for nothing.
func (w World) Left() string {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	for site, r := range w.w.consul {
		if r == nil || w.w.down[site+" consul"] {
			continue
		}
		if r.Lock != nil || r.Phase != "open" || len(r.FenceDebt) > 0 {
			return fmt.Sprintf("record at %s: %+v", site, r)
		}
	}
	n := len(w.w.locks)
	for _, m := range []map[string]map[string]bool{w.w.fences, w.w.groups} {
		for _, ops := range m {
			n += len(ops)
		}
	}
	if n > 0 {
		return fmt.Sprintf("locks %v, fences %v, groups %v", w.w.locks, w.w.fences, w.w.groups)
	}
	return ""
}

// RequestBy is a signed start.
func RequestBy(who, op string) Start {
	s := request(op)
	s.Request.By, s.Request.Signature = who, "by "+who
	return s
}

// Deciding is a start that ann has signed with decisions.
func Deciding(op string, choices map[string]string) Start { return deciding(op, choices) }

// SignedBy is a command that fits a status.
func SignedBy(st Status, who, decision string) runbook.Command {
	c := signed(st, who, decision)
	c.Expires = time.Now().Add(time.Hour)
	return c
}

// Agree approves, as bob, whatever is asked.
func Agree(st Status) []runbook.Command { return agree(st) }

// Crowded is a pair whose home is lost, with that many teams of a channel, a pager each, of that many groups each, and as many
// groups again that are no team's and move by hand. No client moves.
func Crowded(teams, groups int) World {
	h := herdOf(teams, groups)
	for i := range teams * groups {
		h.plan.Groups = append(h.plan.Groups, runbook.Group{Name: fmt.Sprintf("some-group-of-nobody-%05d", i), Move: runbook.MovePage})
	}
	for _, g := range h.plan.Groups[:runbook.ClientRows] {
		h.moves = append(h.moves, runbook.ClientMove{Group: g.Name, MembersOld: 1})
	}
	return worldOf(h.world)
}
