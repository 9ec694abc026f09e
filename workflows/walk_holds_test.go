package workflows

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// What must hold of single tales, beside what holds for all. The world is locked for those that are asked at the end.

// untouched: what belongs to the pair is as before, unless somebody else came in between.
func (w *watcher) untouched(before *world) {
	if w.intruded != "" {
		return
	}
	for what, pair := range map[string][2]any{
		"the record of truth": {records(w.w.consul), records(before.consul)}, "the engines' locks": {w.w.locks, before.locks},
		"the fences": {w.w.fences, before.fences}, "the groups' fences": {w.w.groups, before.groups}, "the guards": {w.w.guards, before.guards},
		"the mirrors": {without(w.w.mirrors, w.remains()), before.mirrors}, "the topics": {w.w.topics, before.topics}, "the tokens": {without(w.w.tokens, w.remains()), before.tokens},
		"retention": {w.w.held, before.held},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			w.err("%s is another than before: %v, was %v", what, pair[0], pair[1])
		}
	}
}

// remains is the link of a canary drill that could not be removed and was told of, "" for none.
func (w *watcher) remains() string {
	if slices.ContainsFunc(w.w.report.Findings, func(f string) bool { return strings.Contains(f, "the next drill removes them") }) {
		return runbook.DrillLink("orders", runbook.Link{}).Name
	}
	return ""
}

func without[V any](of map[string]V, key string) map[string]V {
	of = maps.Clone(of)
	delete(of, key)
	return of
}

func records(of map[string]*record.Record) map[string]record.Record {
	out := map[string]record.Record{}
	for site, r := range of {
		out[site] = *r
	}
	return out
}

// drillsOwn: a canary drill changes nothing but its own link, topic and group.
func (w *watcher) drillsOwn(here place, in any) {
	if slices.Contains(looks, here.method) || slices.Contains([]string{"WriteDrill", "ReadDrill"}, here.method) {
		return
	}
	own := runbook.DrillLink("orders", runbook.Link{}).Name
	v := reflect.Indirect(reflect.ValueOf(in))
	if link := v.FieldByName("Link"); link.IsValid() {
		if name := link.Interface().(runbook.Link).Name; name != own { //nolint:forcetypeassert // a panic is as good
			w.err("%s (%s) on link %s of the pair", here.method, here.step, name)
		}
	} else if topic := v.FieldByName("Topic"); !topic.IsValid() || topic.String() != runbook.DrillTopic("orders") {
		w.err("%s (%s) has no place in a canary drill", here.method, here.step)
	}
	if topics := v.FieldByName("Topics"); topics.IsValid() && !reflect.DeepEqual(topics.Interface(), []string{runbook.DrillTopic("orders")}) {
		w.err("%s (%s) takes the topics %v", here.method, here.step, topics)
	}
}

// drilled: a canary drill leaves nothing behind, or says so; and nothing of the pair is another.
func (w *watcher) drilled(before *world) {
	acted := slices.Contains(w.w.calls, "ClearDrill") // else what an earlier one left is still there
	if left := slices.Sorted(maps.Keys(w.w.drill.left)); acted && len(left) > 0 && !slices.ContainsFunc(w.w.report.Findings, func(f string) bool { return strings.Contains(f, "the next drill removes them") }) {
		w.err("it left %v and says nothing: %q", left, w.w.report.Findings)
	}
	w.untouched(before)
}

// toldTruly: what a full drill says of the pair is so, and one that went well leaves neither fence nor lock.
func (w *watcher) toldTruly(before *world) {
	r := w.w.report
	if w.intruded != "" || r.Operation != runbook.OpDrill {
		return
	}
	now := w.w.consul[home]
	if r.Outcome == runbook.NoChange && (now.Epoch != before.consul[home].Epoch || !slices.Equal(now.Active, before.consul[home].Active)) {
		w.err("the drill ended as %q (%s), and the pair is at %v, epoch %d", r.Outcome, r.Error, now.Active, now.Epoch)
	}
	if !slices.Equal(r.Active, now.Active) || r.EpochAfter != now.Epoch {
		w.err("the drill's report says %v at epoch %d, the record %v at epoch %d", r.Active, r.EpochAfter, now.Active, now.Epoch)
	}
	if w.failed != nil && !slices.Equal(now.Active, []string{home}) && !strings.Contains(w.failed.Error(), "drctl switchover orders --to "+home) {
		w.err("the pair is at %v, and nobody is told how it comes home: %v", now.Active, w.failed)
	}
	if w.failed == nil && len(w.w.fences[home])+len(w.w.fences[away])+len(w.w.groups[home])+len(w.w.groups[away]) > 0 {
		w.err("it went well and left the fences %v and %v", w.w.fences, w.w.groups)
	}
}

// restored: a restore moves nobody.
func (w *watcher) restored(before *world) {
	for site, r := range w.w.consul {
		if was := before.consul[site]; w.intruded == "" && (r.Epoch != was.Epoch || !slices.Equal(r.Active, was.Active)) {
			w.err("the record at %s says %v at epoch %d, it said %v at epoch %d", site, r.Active, r.Epoch, was.Active, was.Epoch)
		}
	}
	if w.intruded == "" && w.failed == nil && w.outcome == runbook.Done && !w.w.guards[home] {
		w.err("the new standby has no guards")
	}
}

// actsByChild: Debt itself looks and tells.
func (w *watcher) actsByChild(here place, _ any) {
	if strings.HasPrefix(here.run, DebtID("orders")) && !slices.Contains(looks, here.method) {
		w.err("Debt itself called %s (%s)", here.method, here.step)
	}
}

// paid: Debt ends when nothing is owed and not before, and leaves others' fences alone.
func (w *watcher) paid(*world) {
	if !w.w.fences[away][stranger] || !w.w.groups[home][stranger] {
		w.err("it lifted the fence of %s", stranger)
	}
	if w.intruded != "" {
		return
	}
	if again := new(workflow.ContinueAsNewError); errors.As(w.failed, &again) {
		w.err("it goes on for ever: %v", w.w.report.Error)
	}
	if w.failed != nil {
		return
	}
	for site, r := range w.w.consul {
		if len(r.FenceDebt) > 0 || !slices.Equal(r.Active, []string{away}) {
			w.err("it ended, and the record at %s says active %v, debts %v", site, r.Active, r.FenceDebt)
		}
	}
	if len(w.w.fences[home]) == 0 {
		w.err("it ended, and the returned site has no fence")
	}
}

// stopsFirst: a planned move ends no mirror while workloads run at the site that it leaves.
func (w *watcher) stopsFirst(here place, _ any) {
	w.w.mu.Lock()
	defer w.w.mu.Unlock()
	if here.method != "PromoteMirrors" && (here.method != "FenceSite" || w.w.consul[home].Phase != record.Frozen) {
		return // or it was turned into a failover, which stops them behind its flip
	}
	for key, n := range w.w.pods.at(w.w.plan, home) {
		if n > 0 {
			w.err("%s (%s) while %s has %d replicas", here.method, here.step, key, n)
		}
	}
}

// inTheirPlaces: workloads run where the record says, and nowhere else, unless people were told or said so.
func (w *watcher) inTheirPlaces(before *world) {
	r := w.w.report
	says := func(text string) bool {
		return slices.ContainsFunc(r.Findings, func(f string) bool { return strings.Contains(f, text) })
	}
	skipped := slices.ContainsFunc(r.Steps, func(l runbook.StepLine) bool { return l.State == runbook.StateSkipped })
	if r.Operation == "" || w.intruded != "" || skipped || says("there is no way back") {
		return // without a report nobody has been told of anything
	}
	if w.tale.op == runbook.OpUnfence && (w.failed != nil || r.Outcome == runbook.NoChange) {
		if now := w.w.pods.text(); now != before.pods.text() {
			w.err("a refused run left %s, it was %s", now, before.pods.text())
		}
		return
	}
	active := w.w.consul[home].Active[0]
	if b := w.w.consul[away]; b.Epoch > w.w.consul[home].Epoch {
		active = b.Active[0]
	}
	here := w.w.pods.at(w.w.plan, active)
	for key, n := range here {
		if n == 0 && !says("deployment/") && !says("to 0 in Kubernetes") && !says("left workloads of group") {
			w.err("it ended as %q, %v, %s is active and %s stands at 0: %q", r.Outcome, w.failed, active, key, r.Findings)
		}
	}
	for _, site := range []string{home, away} {
		for key, n := range w.w.pods.at(w.w.plan, site) {
			if _, ok := here[key]; !ok && n > 0 && !says("are not known to be stopped") {
				w.err("it ended as %q, %s is active and %s has %d replicas", r.Outcome, active, key, n)
			}
		}
	}
}
