package activities

import (
	"encoding/json"
	"math"
	"testing"
)

// A baseline goes with every heartbeat: that of ten thousand groups stays below what Temporal warns of.
func TestTheBaselineOfTenThousandGroupsFitsIntoAHeartbeat(t *testing.T) {
	b := baseline{Groups: make([]uint32, 10_000), Topics: make([]uint32, 10_000)}
	for i := range b.Groups {
		b.Groups[i], b.Topics[i] = math.MaxUint32, math.MaxUint32
	}
	raw, err := json.Marshal(b)
	if err != nil || len(raw) > 256<<10 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestASumTellsAnyOffsetFromAnotherAndNothingOfWhatIsUnknown(t *testing.T) {
	seen := map[uint32]int{}
	for i, offsets := range []map[string]map[int32]int64{
		nil, {"a": {0: 1}}, {"a": {0: 2}}, {"a": {1: 1}}, {"b": {0: 1}}, {"a": {0: 1, 1: 1}}, {"a": {0: 1}, "b": {0: 1}},
	} {
		s := sum(offsets)
		if was, twice := seen[s]; twice || s == unknown || s != sum(offsets) {
			t.Errorf("%v has the sum of number %d", offsets, was)
		}
		seen[s] = i
	}
	if changed(unknown, 7) || changed(7, unknown) || changed(7, 7) || !changed(7, 8) {
		t.Error("what is not known has changed, or a change is none")
	}
	base := baseline{Groups: []uint32{unknown, 7}, Topics: []uint32{unknown}}
	base.learn(baseline{Groups: []uint32{5, 6}, Topics: []uint32{4}})
	if base.Groups[0] != 5 || base.Groups[1] != 7 || base.Topics[0] != 4 {
		t.Errorf("%+v", base)
	}
}
