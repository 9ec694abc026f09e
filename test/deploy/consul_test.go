//go:build real

package deploy

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/activities"
	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// management is a made-up token of agents that live as long as a test.
const management = "7f4f6f9e-0c4c-4c1a-9f5b-1d2c3b4a5968"

// holder is somebody with a token of one of the policies.
type holder struct {
	kv    *consul.KV
	token string // the file with it
}

// holders gives each policy of deploy/consul to somebody, in an agent where nobody else may do anything.
func holders(t *testing.T) (*local.Consul, map[string]holder) {
	t.Helper()
	agent := local.ConsulForTest(t, local.ConsulConfig{Name: "east", Management: management})
	files, err := filepath.Glob(file("consul", "*.hcl"))
	if err != nil || len(files) != 5 {
		t.Fatalf("policies %v, %v", files, err)
	}
	all := map[string]holder{}
	for _, f := range files {
		rules, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(f)
		token, err := agent.Token(t.Context(), "drawbridge-"+name[:len(name)-len(".hcl")], string(rules))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		c, err := consul.NewClient(&consul.Config{Address: agent.Address(), Scheme: "http", Token: token})
		if err != nil {
			t.Fatal(err)
		}
		h := holder{kv: c.KV(), token: filepath.Join(t.TempDir(), "token")}
		if err := os.WriteFile(h.token, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		all[name] = h
	}
	return agent, all
}

// forbidden tells whether Consul refused a call for want of rights.
func forbidden(err error) bool {
	var status consul.StatusError
	return errors.As(err, &status) && status.Code == http.StatusForbidden
}

func TestEachHolderOfAPolicyDoesItsWorkInConsulAndNothingElse(t *testing.T) {
	t.Parallel()
	agent, all := holders(t)
	ctx := t.Context()

	// The worker's own activities, with the worker's token.
	acts, end := activities.New(activities.Options{ReportsDir: t.TempDir(), Logger: discard})
	t.Cleanup(end)
	site := runbook.Site{Name: "east", Consul: runbook.Consul{Address: agent.Address(), TokenFile: all["worker.hcl"].token}}
	call := workflows.Call{Pair: "orders", OperationID: "setup-1", Step: "write"}
	first := record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: record.Open, Epoch: 1, Active: []string{"east"}, Standby: []string{"west"},
		Bootstrap:   map[string][]string{"east": {"east:9092"}, "west": {"west:9092"}},
		SecurityRef: map[string]string{"east": "east", "west": "west"},
		OpID:        "setup-1", ChangedAt: time.Now().UTC(), ChangedBy: "ann",
	}.Normalised()
	write := workflows.WriteRecordInput{Call: call, Kind: workflows.WriteFlip, Site: site, Record: first}
	if got, err := acts.WriteRecord(ctx, write); err != nil || !got.Changed {
		t.Fatalf("the worker writes the record: %+v, %v", got, err)
	}
	second := first
	second.Epoch, second.PrevEpoch, second.OpID, second.Active, second.Standby = 2, 1, "failover-1", []string{"west"}, []string{"east"}
	write.Record, write.Base = second.Normalised(), first.SHA256
	if got, err := acts.WriteRecord(ctx, write); err != nil || !got.Changed {
		t.Fatalf("the worker writes over the record: %+v, %v", got, err)
	}
	read, err := acts.ReadRecord(ctx, workflows.ReadRecordInput{Call: call, Sites: []runbook.Site{site}})
	if err != nil || read.Copies[0].Record == nil || read.Copies[0].Record.Epoch != 2 {
		t.Errorf("the worker reads the record: %+v, %v", read.Copies, err)
	}

	holds, err := acts.ReadHold(ctx, workflows.ReadHoldInput{Call: call, Sites: []runbook.Site{site}})
	if err != nil || len(holds.Holds) != 2 {
		t.Errorf("the worker looks for holds: %+v, %v", holds, err)
	}
	for _, h := range holds.Holds {
		if !h.Reachable || h.Problem != "" {
			t.Errorf("the worker cannot read the hold of %v: %s", h.Scope, h.Problem)
		}
	}

	// A client's own library, with a client's token.
	w, err := client.New(client.Config{Pair: "orders", StateDir: t.TempDir(), Consuls: []client.Consul{{Address: agent.Address(), TokenFile: all["client.hcl"].token}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Acknowledge(ctx, client.Ack{Group: "billing", Instance: "billing-1", Epoch: 2, Phase: record.Open, State: client.Running, Site: "west"}); err != nil {
		t.Errorf("a client says that it has moved: %v", err)
	}
	if err := w.Withdraw(ctx, "billing", "billing-1"); err != nil {
		t.Errorf("a client takes back what it said: %v", err)
	}
	if err := w.Acknowledge(ctx, client.Ack{Group: "reporting", Instance: "x", Epoch: 2, Phase: record.Open, State: client.Running}); !forbidden(err) {
		t.Errorf("a client of billing speaks for reporting: %v", err)
	}
	for name, h := range all {
		got, err := client.Read(ctx, client.Consul{Address: agent.Address(), TokenFile: h.token}, "orders")
		if err != nil || got.Epoch != 2 {
			t.Errorf("%s: the holder reads the record: %+v, %v", name, got, err)
		}
	}

	// Who may write what; each pair of key and holder is asked of Consul itself.
	keys := record.KeysOf("orders")
	may := map[string][]string{
		"worker.hcl": {keys.Active, keys.Bootstrap, keys.Security, "drawbridge/orders/retention/east"},
		"client.hcl": {client.AckKey("orders", "billing", "billing-1")},
		"reader.hcl": {},
		"holder.hcl": {runbook.HoldKey("orders")},
	}
	for name, h := range all {
		granted := map[string]bool{}
		for _, key := range may[name] {
			granted[key] = true
		}
		for _, key := range []string{
			keys.Active, keys.Bootstrap, keys.Security, client.AckKey("orders", "billing", "billing-1"), client.AckKey("orders", "web", "web-1"),
			"drawbridge/orders/retention/east", "drawbridge/orders/else", runbook.HoldKey("orders"), runbook.HoldKey(""), record.KeysOf("trades").Active, "somewhere/else",
		} {
			_, err := h.kv.Put(&consul.KVPair{Key: key, Value: []byte("x")}, nil)
			if granted[key] && err != nil || !granted[key] && !forbidden(err) {
				t.Errorf("%s: write to %s: granted %t, Consul says %v", name, key, granted[key], err)
			}
		}
		if kv, _, err := h.kv.Get(record.KeysOf("trades").Active, nil); !forbidden(err) {
			t.Errorf("%s: another pair's record is read: %v, %v", name, kv, err)
		}
	}
}
