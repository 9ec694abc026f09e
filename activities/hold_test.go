package activities

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestHoldsAreReadFromBothConsulsWithTheRecordAndAlone(t *testing.T) {
	public, private, err := plan.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := plan.ParsePrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	a := newActivities(t, Options{PlansDir: plans(t, strings.Replace(plan.Example(), "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=", public, 1))})
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
	signed := func(pair string, held bool, seq int64) string {
		t.Helper()
		h := runbook.Hold{Held: held, Seq: seq, By: "bob", Reason: "audit", Since: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
		var err error
		h.Signature, err = plan.SignHold(key, plan.HoldOrder{Key: runbook.HoldKey(pair), Held: h.Held, Seq: h.Seq, By: h.By, Reason: h.Reason, Since: h.Since})
		b, merr := json.Marshal(h)
		if err = errors.Join(err, merr); err != nil {
			t.Fatal(err)
		}
		return string(b)
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
	if !strings.Contains(held[0].Unproven, `lists nobody called "zoe"`) {
		t.Errorf("a hold that nobody of the plan signed: %+v", held[0])
	}
	for _, c := range []struct {
		name, value string
		proven      bool
	}{
		{"as it was signed", signed("orders", true, 4), true},
		{"signed for another pair", signed("payments", true, 4), false},
		{"another number", strings.Replace(signed("orders", true, 4), `"seq":4`, `"seq":9`, 1), false},
		{"a release made of a hold", strings.Replace(signed("orders", true, 4), `"held":true`, `"held":false`, 1), false},
		{"a release", signed("orders", false, 5), true},
	} {
		put(runbook.HoldKey("orders"), c.value)
		got, err := a.ReadHold(t.Context(), workflows.ReadHoldInput{Call: call("hold"), Sites: []runbook.Site{east}})
		if err != nil || got.Holds[0].Hold == nil || (got.Holds[0].Unproven == "") != c.proven {
			t.Errorf("%s: %+v, %v", c.name, got.Holds[0], err)
		}
	}
}
