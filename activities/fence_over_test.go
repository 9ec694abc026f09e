package activities

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// What nobody has ever seen the canary let through to proves nothing, whoever fences it twice.
func TestAFenceOverAFenceThatProvedNothingIsNotProven(t *testing.T) {
	f := newFenced(t, local.KFake, 1, ops, false)
	f.fence(t, "op-1", "orders")
	f.registrar.mu.Lock()
	for id, fence := range f.registrar.fences {
		fence.LetThrough = false
		f.registrar.fences[id] = fence
	}
	f.registrar.mu.Unlock()
	made := f.fence(t, "op-2", "orders")
	if line := runbook.Fence(f.prove(t, "op-2", made.CanaryBefore, "orders")); made.CanaryBefore || line.Proven() {
		t.Errorf("%+v gives %s", made, line.Level)
	}
	if both := f.fence(t, "op-3", "orders", "clicks"); both.CanaryBefore {
		t.Error("a topic that was let through answers for one that was not")
	}
}
