package activities

import (
	"fmt"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// A run holds retention and is gone. What it wrote down is found beside the record of truth, and is enough to put everything
// back as it was, but for what somebody has changed since.
func TestWhatALostRunHeldIsPutBackByWhatItWroteDown(t *testing.T) {
	a, east, _, adm := oneCluster(t, local.KFake)
	west, c := consulSite(t, "west")
	if _, err := adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"retention.ms": kadm.StringPtr("60000")}, "payments"); err != nil {
		t.Fatal(err)
	}
	values := func() map[string]string {
		got, err := adm.DescribeTopicConfigs(t.Context(), "orders", "payments")
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, rc := range got {
			for _, v := range rc.Configs {
				if v.Key == "retention.ms" || v.Key == "retention.bytes" || v.Key == "cleanup.policy" {
					out[rc.Name+" "+v.Key] = v.MaybeValue()
				}
			}
		}
		return out
	}
	before := values()
	lost := call("hold retention")
	lost.OperationID = "recover-7"
	topics := []string{"orders", "payments"}
	in := workflows.HoldRetentionInput{Call: lost, Site: east, Topics: topics, RegisterAt: west}
	look := in
	look.LookOnly = true
	first, err := a.HoldRetention(t.Context(), look)
	if err != nil || len(first.Held) != 3 {
		t.Fatalf("look: %+v, %v", first, err)
	}
	noted := func() int {
		got, err := a.ReadRecord(t.Context(), workflows.ReadRecordInput{Call: call("read"), Sites: []runbook.Site{west}})
		if err != nil || len(got.Copies) != 1 {
			t.Fatal(err)
		}
		n := 0
		for _, h := range got.Copies[0].Retention {
			if h.Site != "east" || h.OpID != "recover-7" || h.Since.IsZero() {
				t.Errorf("noted %+v", h)
			}
			n += h.Topics
		}
		return n
	}
	if n := noted(); n != 0 {
		t.Errorf("a look wrote down %d topics", n)
	}
	for range 2 { // the second finds its own values
		if held, err := a.HoldRetention(t.Context(), in); err != nil || cmp.Diff(first.Held, held.Held) != "" {
			t.Fatalf("hold: %+v, %v", held, err)
		}
	}
	if values()["orders cleanup.policy"] != "delete" || values()["payments retention.ms"] != "-1" || noted() != 2 {
		t.Errorf("held: %v, %d noted", values(), noted())
	}
	// Another run finds what is held, though the configs do not tell any more.
	if again, err := a.HoldRetention(t.Context(), look); err != nil || cmp.Diff(first.Held, again.Held) != "" {
		t.Errorf("the next run's look: %+v, %v", again, err)
	}
	if _, err := adm.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("5000")}}, "payments"); err != nil {
		t.Fatal(err)
	}
	before["payments retention.ms"] = "5000" // somebody's own
	back := workflows.PutBackRetentionInput{Call: call("pay"), Site: east, RegisterAt: west}
	if got, err := a.PutBackRetention(t.Context(), back); err != nil || len(got.Held) != 3 {
		t.Fatalf("put back: %+v, %v", got, err)
	}
	if d := cmp.Diff(before, values()); d != "" || noted() != 0 {
		t.Errorf("put back (-before +after), %d noted\n%s", noted(), d)
	}
	if got, err := a.PutBackRetention(t.Context(), back); err != nil || len(got.Held) != 0 {
		t.Errorf("nothing is left: %+v, %v", got, err)
	}

	// A note that nobody can read is neither believed nor lost sight of.
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.KV().Put(&consul.KVPair{Key: "drawbridge/orders/retention/east", Value: []byte("{")}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = a.HoldRetention(t.Context(), in)
	typed(t, err, workflows.ErrRefused, false)
	if !strings.Contains(err.Error(), "by hand") || values()["orders cleanup.policy"] != "compact" {
		t.Errorf("%v; %v", err, values())
	}
	if got, err := a.ReadRecord(t.Context(), workflows.ReadRecordInput{Call: call("read"), Sites: []runbook.Site{west}}); err != nil || len(got.Copies[0].Retention) != 1 {
		t.Errorf("%+v, %v", got.Copies, err)
	}
}

// Consul takes half a MiB in one value: what is held of thousands of topics stands in more than one.
func TestAHoldOfThousandsOfTopicsIsWrittenDownAndFoundAgain(t *testing.T) {
	a := newActivities(t, Options{})
	west, _ := consulSite(t, "west")
	lost := call("hold retention")
	lost.OperationID = "recover-7"
	in := workflows.HoldRetentionInput{Call: lost, Site: runbook.Site{Name: "east"}, RegisterAt: west}
	var found []workflows.HeldConfig
	for i := range 4000 {
		topic := fmt.Sprintf("%0200d", i)
		found = append(found, workflows.HeldConfig{Topic: topic, Name: "retention.ms", Old: kadm.StringPtr("604800000")}, workflows.HeldConfig{Topic: topic, Name: "cleanup.policy", Old: kadm.StringPtr("compact")})
	}
	lines := func() []runbook.HeldRetention {
		t.Helper()
		got, err := a.read(t.Context(), "orders", west)
		if err != nil {
			t.Fatal(err)
		}
		return got.retention
	}
	for range 2 { // a step that is tried again
		if got, err := a.noteHeld(t.Context(), in, found); err != nil || cmp.Diff(found, got) != "" {
			t.Fatalf("%d values, %v", len(got), err)
		}
	}
	if l := lines(); len(l) != 1 || l[0].Site != "east" || l[0].OpID != "recover-7" || l[0].Topics != 4000 || l[0].Since.IsZero() {
		t.Errorf("found %+v", l)
	}
	// The next run takes it over, and another site's hold is its own.
	in.Call.OperationID = "recover-8"
	grown := append([]workflows.HeldConfig{{Topic: "a-new-one", Name: "retention.ms"}}, found[:2]...)
	got, err := a.noteHeld(t.Context(), in, grown)
	if err != nil || len(got) != 8001 || got[8000] != grown[0] {
		t.Fatalf("%d values, %v", len(got), err)
	}
	other := in
	other.Site.Name = "east-2"
	if _, err := a.noteHeld(t.Context(), other, grown); err != nil {
		t.Fatal(err)
	}
	if l := lines(); len(l) != 2 || l[0].OpID != "recover-8" || l[0].Topics != 4001 || l[1].Site != "east-2" || l[1].Topics != 2 {
		t.Errorf("found %+v", l)
	}
	back := workflows.PutBackRetentionInput{Call: in.Call, Site: in.Site, RegisterAt: west, Held: got[:5000]}
	for i, left := range []int{1501, 0} {
		if err := a.strikeHeld(t.Context(), back); err != nil {
			t.Fatal(err)
		}
		if l := lines(); len(l) != min(left, 1)+1 || left > 0 && l[0].Topics != left {
			t.Errorf("put back %d times: %+v", i+1, l)
		}
		back.Held = got[5000:]
	}
}
