package activities

import (
	"testing"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestHoldsAreReadFromBothConsulsWithTheRecordAndAlone(t *testing.T) {
	a := newActivities(t, Options{})
	east, c := consulSite(t, "east")
	west, gone := consulSite(t, "west")
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		t.Helper()
		if _, err := client.KV().Put(&consul.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	read := func() (held []runbook.Held, silent []string) {
		t.Helper()
		sites := []runbook.Site{east, west}
		alone, err := a.ReadHold(t.Context(), workflows.ReadHoldInput{Call: call("hold"), Sites: sites})
		if err != nil {
			t.Fatal(err)
		}
		with, err := a.ReadRecord(t.Context(), workflows.ReadRecordInput{Call: call("read"), Sites: sites})
		if err != nil {
			t.Fatal(err)
		}
		held, silent = runbook.ReadHold(alone.Holds)
		if again, also := runbook.ReadHold(with.Holds); len(again) != len(held) || len(also) != len(silent) {
			t.Errorf("with the record %v, silent %v; alone %v, silent %v", again, also, held, silent)
		}
		return held, silent
	}
	if held, silent := read(); len(held) != 0 || len(silent) != 0 {
		t.Fatalf("nothing holds: %v, silent %v", held, silent)
	}
	put(runbook.HoldKey("orders"), `{"held":true,"seq":3,"by":"zoe","reason":"audit","since":"2026-11-22T03:00:00Z"}`)
	put(runbook.HoldKey(""), `not JSON`)
	if err := gone.Kill(); err != nil {
		t.Fatal(err)
	}
	held, silent := read()
	if len(held) != 2 || held[0].By != "zoe" || held[0].Scope != runbook.HoldPair || held[1].Scope != runbook.HoldAll {
		t.Errorf("held %+v", held)
	}
	if len(silent) != 1 || silent[0] != "west" {
		t.Errorf("silent %v", silent)
	}
}
