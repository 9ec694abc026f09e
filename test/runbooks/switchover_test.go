package runbooks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestTwoSwitchoversThereAndBackLoseAndRepeatNothing(t *testing.T) {
	t.Parallel()
	calls, webhook := webhookFor(t)
	p := newPair(t, shared, "planned", func(pl *plan.Plan) {
		pl.Teams = []plan.Team{{Name: "web", Groups: []string{pl.Groups[0].Name}, People: []string{"approver"}, Webhook: webhook}}
	})
	p.outcome(runbook.Done, "setup")
	tr := &traveller{pair: p}
	tr.write(p.Home, "1", "2", "3")
	tr.reads(p.Home, 2)
	p.mirrored(p.Home, p.Standby)
	at, other := p.Standby, p.Home
	for n := range 4 {
		got := p.outcome(runbook.Done, "switchover", "--to", at.Name)
		p.epoch(got.Epoch, int64(2+n), got.Active, at)
		if proof := got.Report.Proof; proof == nil || proof.Partitions != partitions+1 || !proof.OffsetsExact || *got.Report.RPOExact != 0 {
			t.Errorf("move %d: proof %+v", n+1, proof)
		}
		// Nobody of the group is up while clients are awaited: its team is told, and told again.
		if l := got.Report.Teams; len(l) != 1 || len(l[0].Told) != 2 || l[0].Told[0].Webhook != "sent" || l[0].Told[1].Webhook != "sent" || l[0].EscalatedAt.IsZero() || l[0].Moved == nil || *l[0].Moved != 0 {
			t.Errorf("move %d: teams %+v", n+1, l)
		}
		if n := calls(); n != 2 {
			t.Errorf("its webhook took %d signed calls, want 2", n)
		}
		if p.tryProduce(other, "refused") == nil {
			t.Errorf("move %d: the new standby takes records", n+1)
		}
		tr.reads(at, 1)
		tr.write(at, fmt.Sprintf("after move %d", n+1))
		p.mirrored(at, other)
		p.stands(at, tr.all...)
		p.stands(other, tr.all...)
		at, other = other, at
	}
	p.left()
	o, err := p.begin(p.within(time.Minute), "switchover", "--to", p.Home.Name)
	p.must(err)
	if _, err := o.finish(p.within(time.Minute)); err == nil || !strings.Contains(err.Error(), "active at east already") {
		t.Errorf("a second move to the active site: %v", err)
	}
}

// webhookFor takes signed calls and counts those since it was last asked.
func webhookFor(t *testing.T) (calls func() int64, to *plan.Webhook) {
	t.Helper()
	const secret = "a webhook's secret"
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%s.%s", r.Header.Get("Drawbridge-Timestamp"), body)
		if err != nil || r.Header.Get("Drawbridge-Signature") != "v1="+hex.EncodeToString(mac.Sum(nil)) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		n.Add(1)
	}))
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() int64 { return n.Swap(0) }, &plan.Webhook{URL: srv.URL, Secret: "${file:" + file + "}"}
}

func TestASwitchoverAbortedInItsFreezeChangesNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, shared, "plannedabort", nil, harness.FaultsTag)
	p.steady()
	east, west := p.calm(p.Home), p.calm(p.Standby)
	o, err := p.begin(p.within(3*time.Minute), "switchover")
	p.must(err)
	o.freezes(p.Home)
	if got := o.abort(); got.Outcome != runbook.NoChange || got.Epoch != 1 {
		t.Errorf("outcome %q, epoch %d", got.Outcome, got.Epoch)
	}
	p.same(east, p.calm(p.Home))
	p.same(west, p.calm(p.Standby))
	p.produce(p.Home, "4")
	p.mirrored(p.Home, p.Standby)
	p.stands(p.Standby, "1", "2", "3", "4")
	p.outcome(runbook.Done, "switchover")
	p.stands(p.Home, "1", "2", "3", "4")
}

// The source dies in the freeze, behind a fence that was proven: the run goes on
// as a failover, and the way home is the failover's.
func TestASwitchoverWhoseSourceDiesBecomesAFailover(t *testing.T) {
	t.Parallel()
	p := newPair(t, ownServers(t, local.KFake), "plannedlost", nil, harness.FaultsTag)
	p.steady()
	o, err := p.begin(p.within(5*time.Minute), "switchover")
	p.must(err)
	o.stopAt("AwaitDrained drain", "drain")
	p.must(p.Home.Kafka.Kill())
	p.must(local.WaitFor(p.within(time.Minute), "the engine to miss its source", func(ctx context.Context) error {
		got, err := p.Standby.Engine.Client().Progress(ctx, p.link)
		if err == nil && got.SourceReachable {
			err = errors.New("it still reaches it")
		}
		return err
	}))
	o.goOn() // there is nothing to drain from
	_, err = p.Drctl.Run(p.within(time.Minute), "into-failover", p.Pair(), "--reason", "east went dark in the freeze")
	p.must(err)
	st := o.await("the failover's approval", time.Minute, func(st *workflows.Status) error {
		if st.Turned == nil || st.Waiting == nil || st.Waiting.For != workflows.WaitApproval {
			return errors.New("phase " + st.Phase)
		}
		return nil
	})
	if st.Operation != runbook.OpFailover || len(st.Waiting.Overrides) != 0 {
		t.Errorf("%s asks for the overrides %v: the fence was proven before", st.Operation, st.Waiting.Overrides)
	}
	got, err := o.finish(p.within(3 * time.Minute))
	p.must(err)
	if got.Outcome != runbook.Done || got.Report.Turned == nil || got.Epoch != 2 || got.Active[0] != p.Standby.Name {
		t.Errorf("outcome %q at epoch %d, active %v: %s", got.Outcome, got.Epoch, got.Active, got.Report.Error)
	}
	p.stands(p.Standby, "1", "2", "3")
	p.produce(p.Standby, "4")
	p.must(p.Home.Kafka.Restart(p.within(2 * time.Minute)))
	if p.tryProduce(p.Home, "refused") == nil {
		t.Error("the lost site came back and takes records: its fence is gone")
	}
	p.outcome(runbook.Done, "recover", "--append", "*")
	p.outcome(runbook.Done, "failback")
	p.stands(p.Home, "1", "2", "3", "4")
	p.left()
}
