package activities

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

var discard = slog.New(slog.DiscardHandler)

func consulSite(t *testing.T, name string) (runbook.Site, *local.Consul) {
	t.Helper()
	c := local.ConsulForTest(t, local.ConsulConfig{Name: name})
	return runbook.Site{Name: name, Consul: runbook.Consul{Address: c.Address()}}, c
}

func aRecord(epoch int64, op, active string) record.Record {
	standby := map[string]string{"east": "west", "west": "east"}[active]
	return record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: record.Open, Epoch: epoch, PrevEpoch: epoch - 1,
		Active: []string{active}, Standby: []string{standby},
		Bootstrap:   map[string][]string{"east": {"east:9092"}, "west": {"west:9092", "west-2:9092"}},
		SecurityRef: map[string]string{"east": "east-ref", "west": "west-ref"},
		OpID:        op, ChangedAt: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC), ChangedBy: "ann",
	}.Normalised()
}

func write(site runbook.Site, r record.Record, base string) workflows.WriteRecordInput {
	return workflows.WriteRecordInput{Call: call("write"), Kind: workflows.WriteFlip, Site: site, Record: r, Base: base}
}

func TestTheRecordIsWrittenByCompareAndSetWithItsPlainKeys(t *testing.T) {
	a := newActivities(t, Options{})
	east, c := consulSite(t, "east")
	first := aRecord(7, "setup-1", "east")
	got, err := a.WriteRecord(t.Context(), write(east, first, ""))
	if err != nil || !got.Changed || got.SHA256 != first.SHA256 || got.ModifyIndex == 0 {
		t.Fatalf("create: %+v, %v", got, err)
	}
	if got, err = a.WriteRecord(t.Context(), write(east, first, "")); err != nil || got.Changed {
		t.Fatalf("the same write again: %+v, %v", got, err)
	}
	second := aRecord(8, "failover-1", "west")
	_, err = a.WriteRecord(t.Context(), write(east, second, ""))
	typed(t, err, workflows.ErrEpochConflict, false)
	_, err = a.WriteRecord(t.Context(), write(east, second, "0000"))
	typed(t, err, workflows.ErrEpochConflict, false)
	if !strings.Contains(err.Error(), "setup-1") {
		t.Errorf("the conflict does not say what stands there: %v", err)
	}
	if got, err = a.WriteRecord(t.Context(), write(east, second, first.SHA256)); err != nil || !got.Changed {
		t.Fatalf("flip: %+v, %v", got, err)
	}
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	keys := record.KeysOf("orders")
	for key, want := range map[string]string{keys.Bootstrap: "west:9092,west-2:9092", keys.Security: "west-ref"} {
		kv, _, err := client.KV().Get(key, nil)
		if err != nil || kv == nil || string(kv.Value) != want {
			t.Errorf("key %s holds %v, want %q (%v)", key, kv, want, err)
		}
	}
	// A plain key that somebody broke is mended by the same write.
	if _, err := client.KV().Put(&consul.KVPair{Key: keys.Bootstrap, Value: []byte("nowhere:1")}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err = a.WriteRecord(t.Context(), write(east, second, first.SHA256)); err != nil || !got.Changed {
		t.Fatalf("mend: %+v, %v", got, err)
	}
	read, err := a.ReadRecord(t.Context(), workflows.ReadRecordInput{Call: call("read"), Sites: []runbook.Site{east}})
	if err != nil || read.Copies[0].Record == nil || read.Copies[0].Record.SHA256 != second.SHA256 {
		t.Fatalf("read back %+v, %v", read.Copies, err)
	}
	if read.Engines[0].Reachable || read.Engines[0].Problem == "" {
		t.Errorf("an engine without an address answered: %+v", read.Engines[0])
	}
}

func TestACopyFollowsButNeverOverANewerRecordOrASplitBrain(t *testing.T) {
	a := newActivities(t, Options{})
	west, c := consulSite(t, "west")
	follow := func(r record.Record) error {
		in := write(west, r, "whatever")
		in.Kind, in.Follow = workflows.WriteCopy, true
		_, err := a.WriteRecord(t.Context(), in)
		return err
	}
	if err := follow(aRecord(8, "failover-1", "west")); err != nil {
		t.Fatalf("first copy: %v", err)
	}
	locked := runbook.Locked(aRecord(8, "failover-1", "west"), record.Moving, runbook.By{OpID: "failback-1", Operation: "failback", Now: time.Now()})
	if err := follow(locked); err != nil {
		t.Fatalf("another lock at the same epoch is a stale copy: %v", err)
	}
	typed(t, follow(aRecord(7, "setup-1", "east")), workflows.ErrEpochConflict, false)
	err := follow(aRecord(8, "failover-2", "west"))
	typed(t, err, workflows.ErrEpochConflict, false)
	if !strings.Contains(err.Error(), "split brain") {
		t.Errorf("a split brain is not named: %v", err)
	}
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.KV().Put(&consul.KVPair{Key: record.KeysOf("orders").Active, Value: []byte(`{"schema":1,"pair":"orders"}`)}, nil); err != nil {
		t.Fatal(err)
	}
	read, err := a.ReadRecord(t.Context(), workflows.ReadRecordInput{Call: call("read"), Sites: []runbook.Site{west}})
	if err != nil || !read.Copies[0].Damaged || read.Copies[0].Record != nil || !read.Copies[0].Reachable {
		t.Fatalf("a damaged record reads as %+v, %v", read.Copies[0], err)
	}
	_, err = a.WriteRecord(t.Context(), write(west, locked, ""))
	typed(t, err, workflows.ErrEpochConflict, false)
	if err := follow(locked); err != nil {
		t.Errorf("a damaged copy was not replaced: %v", err)
	}
}

func TestAConsulThatIsAwayIsNamedAndWorthAnotherTry(t *testing.T) {
	a := newActivities(t, Options{})
	east, c := consulSite(t, "east")
	west, _ := consulSite(t, "west")
	r := aRecord(7, "setup-1", "east")
	if _, err := a.WriteRecord(t.Context(), write(west, r, "")); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := a.WriteRecord(t.Context(), write(east, r, ""))
	typed(t, err, workflows.ErrUnreachable, true)
	read, err := a.ReadRecord(t.Context(), workflows.ReadRecordInput{Call: call("read"), Sites: []runbook.Site{east, west}})
	if err != nil {
		t.Fatal(err)
	}
	if got := read.Copies[0]; got.Reachable || got.Problem == "" {
		t.Errorf("the dead Consul answered: %+v", got)
	}
	if got := read.Copies[1]; !got.Reachable || got.Record == nil || got.Record.Epoch != 7 {
		t.Errorf("the living Consul: %+v", got)
	}
}

// lossy forwards to a Consul and loses answers of transactions.
func lossy(t *testing.T, site runbook.Site, lose *atomic.Int32, deliver bool) runbook.Site {
	t.Helper()
	target, err := url.Parse("http://" + site.Consul.Address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/txn" || lose.Add(-1) < 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		if deliver {
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		conn.Close()
	}))
	t.Cleanup(srv.Close)
	site.Consul.Address = srv.URL
	return site
}

func TestAWriteWhoseAnswerWasLostIsReadBack(t *testing.T) {
	a := newActivities(t, Options{})
	east, _ := consulSite(t, "east")
	var lose atomic.Int32
	lose.Store(1)
	behind := lossy(t, east, &lose, true)
	first := aRecord(7, "setup-1", "east")
	got, err := a.WriteRecord(t.Context(), write(behind, first, ""))
	if err != nil || !got.Changed {
		t.Fatalf("a write that arrived without its answer: %+v, %v", got, err)
	}
	if lose.Load() != 0 {
		t.Fatal("no answer was lost: the test tests nothing")
	}
	lose.Store(1)
	dropped := lossy(t, east, &lose, false)
	second := aRecord(8, "failover-1", "west")
	_, err = a.WriteRecord(t.Context(), write(dropped, second, first.SHA256))
	typed(t, err, workflows.ErrUnreachable, true)
	if got, err = a.WriteRecord(t.Context(), write(dropped, second, first.SHA256)); err != nil || !got.Changed {
		t.Fatalf("the next attempt: %+v, %v", got, err)
	}
}

func TestTheEngineLockIsTakenOnceAndBrokenOnlyByName(t *testing.T) {
	a := newActivities(t, Options{})
	e := &fakeEngine{cluster: "c"}
	site := runbook.Site{Name: "west", Engine: startEngine(t, e)}
	lock := func(op, breaks string, epoch int64) (workflows.EngineLockResult, error) {
		c := call("lock")
		c.OperationID, c.Epoch = op, epoch
		return a.EngineLock(t.Context(), workflows.EngineLockInput{Call: c, Site: site, Break: breaks})
	}
	for range 2 {
		if got, err := lock("one", "", 8); err != nil || !got.Held || got.HighestEpoch != 8 {
			t.Fatalf("first: %+v, %v", got, err)
		}
	}
	_, err := lock("two", "", 8)
	typed(t, err, workflows.ErrPairBusy, false)
	if !strings.Contains(err.Error(), "one") {
		t.Errorf("the holder is not named: %v", err)
	}
	_, err = lock("two", "three", 8)
	typed(t, err, workflows.ErrPairBusy, false)
	if got, err := lock("two", "one", 8); err != nil || !got.Held {
		t.Fatalf("break: %+v, %v", got, err)
	}
	unlock := func(op string) workflows.EngineLockResult {
		c := call("unlock")
		c.OperationID = op
		got, err := a.EngineUnlock(t.Context(), workflows.EngineLockInput{Call: c, Site: site})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := unlock("one"); got.Held || got.Lock == nil || got.Lock.OpID != "two" {
		t.Errorf("another's lock was not left alone: %+v", got)
	}
	if got := unlock("two"); got.Lock != nil || got.HighestEpoch != 8 {
		t.Errorf("unlock: %+v", got)
	}
	_, err = lock("late", "", 7)
	typed(t, err, workflows.ErrEpochConflict, false)
}
