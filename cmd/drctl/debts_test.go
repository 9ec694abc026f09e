package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Temporal and every worker may be gone: the record still says what is owed.
func TestDebtsAreShownFromTheRecordWithoutTemporal(t *testing.T) {
	h := newHolder(t)
	r := record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: record.Open, Epoch: 2, PrevEpoch: 1, Active: []string{"west"}, Standby: []string{"east"},
		Bootstrap: map[string][]string{"east": {"e:1"}, "west": {"w:1"}}, OpID: "failover-1", ChangedAt: time.Now(), ChangedBy: "ann",
		FenceDebt: []record.FenceDebt{{Kind: record.DebtFence, Site: "east", OpID: "failover-1", Since: time.Now().Add(-time.Hour), Reason: "no answer"}},
		Moves:     []record.Move{{OpID: "failover-1", Operation: runbook.OpFailover, Active: "west", At: time.Now()}},
	}
	body, err := record.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*local.Consul{h.east, h.west} {
		cl, err := c.Client()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.KV().Put(&api.KVPair{Key: record.KeysOf("orders").Active, Value: body}, nil); err != nil {
			t.Fatal(err)
		}
	}
	out := h.drctl(codeUnreachable, "debts", "orders", "--plan", h.plan, "--temporal", "127.0.0.1:9")
	for _, text := range []string{"fence", "east", "1h0m", "no answer", "drctl recover orders --debts-only", runbook.DebtLagged, "not counted"} {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
	h.drctl(codeUnreachable, "debts", "orders", "--temporal", "127.0.0.1:9") // and without a plan nothing
}

// Right after a failover the workflow is there and has not looked: that is not "nothing is owed".
func TestNothingIsOwedIsNotSaidBeforeAnybodyLooked(t *testing.T) {
	var out bytes.Buffer
	d := pairDebts{Seen: true}
	d.Waits = "the first look, which is under way"
	debtsTable(&out, d, time.Now())
	if !d.begins() || strings.Contains(out.String(), "nothing is owed") || !strings.Contains(out.String(), d.Waits) {
		t.Errorf("begins %t\n%s", d.begins(), &out)
	}
	d.Looked, d.Waits = time.Now(), ""
	out.Reset()
	debtsTable(&out, d, time.Now())
	if d.begins() || !strings.Contains(out.String(), "nothing is owed") {
		t.Errorf("after a look without debts: begins %t\n%s", d.begins(), &out)
	}
}
