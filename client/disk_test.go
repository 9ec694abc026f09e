package client

import (
	"testing"

	"github.com/drawbridge-dr/drawbridge/client/record"
)

// Two instances on one machine may be given the same folder by mistake.
func TestTheCopyOnDiskNeverGoesBack(t *testing.T) {
	d, err := openDisk(t.TempDir(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	keep := func(epoch int64, active string, phases ...record.Phase) {
		t.Helper()
		var change []func(*record.Record)
		for _, p := range phases {
			change = append(change, phase(p))
		}
		r := rec(t, epoch, active, change...)
		raw, err := record.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.save(raw, r); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(epoch int64, p record.Phase) {
		t.Helper()
		r, err := d.load("orders")
		if err != nil || r == nil || r.Epoch != epoch || r.Phase != p {
			t.Fatalf("kept %+v, %v; want epoch %d %s", r, err, epoch, p)
		}
	}
	keep(5, "west")
	kept(5, record.Open)
	keep(4, "east")
	kept(5, record.Open)
	keep(5, "west", record.Frozen)
	kept(5, record.Frozen)
	keep(6, "east")
	kept(6, record.Open)
}
