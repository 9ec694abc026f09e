package link

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// A guard that was a fence before is proven by what the canary heard before the
// fence: the engine itself has seen nothing but refusals.
func TestAGuardMadeOfAFenceIsProvenByTheLookBeforeTheFence(t *testing.T) {
	t.Parallel()
	src, dst := newSite(t, "source"), newGuardedSite(t)
	src.topic(t, "orders", 1, nil)
	m, _ := guardedEngine(t, dst, "admin", true)
	newTestLink(t, m, src, nil)
	fenced := denial(everybody, "orders", opWrite)
	if err := m.createACLs(t.Context(), []api.ACLEntry{fenced}); err != nil {
		t.Fatal(err)
	}
	newTestMirror(t, m, "orders")
	awaitGuard(t, m, "orders", api.GuardSet)
	fence := api.Fence{Pair: "pair", OperationID: "op", Entries: []api.FenceEntry{{ACLEntry: fenced, ClusterID: "guarded"}}, LetThrough: true}
	if _, err := m.PutFence(t.Context(), "pair", fence); err != nil {
		t.Fatal(err)
	}
	if err := m.HandOverFence(t.Context(), "pair", "op", "l"); err != nil {
		t.Fatal(err)
	}
	awaitGuard(t, m, "orders", api.GuardProven)
}

// What the canary heard counts for the entries that were looked at, whoever puts
// them down again, and for no later ones.
func TestALookBeforeAFenceCountsForItsEntriesOnly(t *testing.T) {
	t.Parallel()
	m, _ := newEngine(t, newSite(t, "west"))
	entry := func(topic string) api.FenceEntry { return api.FenceEntry{ACLEntry: denial(everybody, topic, opWrite)} }
	for _, put := range []struct {
		entries []api.FenceEntry
		looked  bool
		want    bool
	}{
		{[]api.FenceEntry{entry("a")}, true, true},
		{[]api.FenceEntry{entry("a")}, false, true}, // a second try, which hears refusals
		{[]api.FenceEntry{entry("b")}, true, true},
		{[]api.FenceEntry{entry("c")}, false, false},
		{[]api.FenceEntry{entry("c")}, true, false},
	} {
		got, err := m.PutFence(t.Context(), "pair", api.Fence{Pair: "pair", OperationID: "op", Entries: put.entries, LetThrough: put.looked})
		if err != nil || got.LetThrough != put.want {
			t.Errorf("%+v: let through %t, %v", put, got.LetThrough, err)
		}
	}
}
