package client_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

const pair = "orders"

func rec(epoch int64, active string, change ...func(*record.Record)) record.Record {
	standby := map[string]string{"east": "west", "west": "east"}[active]
	r := record.Record{
		Pair: pair, Mode: record.ActivePassive, Phase: record.Open, Epoch: epoch, PrevEpoch: epoch - 1,
		Active: []string{active}, Standby: []string{standby},
		Bootstrap: map[string][]string{"east": {"127.0.0.1:1001"}, "west": {"127.0.0.1:2001"}},
		OpID:      "op-" + active, ChangedAt: time.Unix(1700000000, 0), ChangedBy: "test",
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// put stores r as the runbooks do, whatever stood there.
func put(t *testing.T, c *local.Consul, r record.Record) {
	t.Helper()
	raw, err := record.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	putRaw(t, c, raw)
}

func putRaw(t *testing.T, c *local.Consul, raw []byte) {
	t.Helper()
	cl, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	opts := (&api.WriteOptions{}).WithContext(t.Context())
	if _, err := cl.KV().Put(&api.KVPair{Key: record.KeysOf(pair).Active, Value: raw}, opts); err != nil {
		t.Fatal(err)
	}
}

// following is a watcher that runs for the length of a test.
type following struct {
	t       *testing.T
	watcher *client.Watcher
	updates <-chan client.Update
	mu      sync.Mutex // guards the field below
	told    []error
}

func follow(t *testing.T, stateDir string, consuls ...client.Consul) *following {
	t.Helper()
	return followWithin(t, 2*time.Second, 20*time.Second, stateDir, consuls...)
}

func followWithin(t *testing.T, wait, grace time.Duration, stateDir string, consuls ...client.Consul) *following {
	t.Helper()
	f := &following{t: t}
	w, err := client.New(client.Config{
		Pair: pair, Consuls: consuls, StateDir: stateDir, Wait: wait, Grace: grace, MaxBackOff: 200 * time.Millisecond,
		OnProblem: func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.told = append(f.told, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	f.watcher, f.updates = w, w.Watch(ctx)
	t.Cleanup(func() {
		cancel()
		for range f.updates { // closed when nothing runs any more
		}
	})
	return f
}

// until waits for an update of that epoch and phase and returns it.
func (f *following) until(epoch int64, phase record.Phase) client.Update {
	f.t.Helper()
	late := time.After(2 * time.Minute)
	for {
		select {
		case u, ok := <-f.updates:
			if !ok {
				f.t.Fatal("the watcher ended")
			}
			if u.Record.Epoch == epoch && u.Record.Phase == phase {
				return u
			}
			f.t.Logf("passed over epoch %d phase %s from %s", u.Record.Epoch, u.Record.Phase, u.Source)
		case <-late:
			f.t.Fatalf("no record of epoch %d phase %s in two minutes; problems told: %v", epoch, phase, f.problems())
		}
	}
}

func (f *following) problems() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

// untilTold waits for a problem that target matches, as errors.As does.
func untilTold[E error](f *following) E {
	f.t.Helper()
	var found E
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	err := local.WaitFor(ctx, "a problem to be told", func(context.Context) error {
		for _, p := range f.problems() {
			if errors.As(p, &found) {
				return nil
			}
		}
		return errors.New("not told")
	})
	if err != nil {
		f.t.Fatalf("%v; told: %v", err, f.problems())
	}
	return found
}

func (f *following) untilToldIs(target error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute)
	defer cancel()
	err := local.WaitFor(ctx, "problem "+target.Error(), func(context.Context) error {
		if slices.ContainsFunc(f.problems(), func(p error) bool { return errors.Is(p, target) }) {
			return nil
		}
		return errors.New("not told")
	})
	if err != nil {
		f.t.Fatalf("%v; told: %v", err, f.problems())
	}
}

// quiet asserts that no update is waiting now.
func (f *following) quiet() {
	f.t.Helper()
	select {
	case u := <-f.updates:
		f.t.Fatalf("unexpected update: epoch %d phase %s from %s", u.Record.Epoch, u.Record.Phase, u.Source)
	default:
	}
}

func agent(c *local.Consul, site string) client.Consul {
	return client.Consul{Address: c.Address(), Site: site}
}

func TestWatcherFollowsTheRecordAndRefusesWhatIsOldSplitOrDamaged(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	dir := t.TempDir()
	f := follow(t, dir, agent(consul, ""))
	f.untilToldIs(client.ErrNoRecord)

	put(t, consul, rec(3, "east"))
	u := f.until(3, record.Open)
	if u.Origin != client.FromConsul || u.Record.Active[0] != "east" {
		t.Errorf("got %+v", u)
	}
	put(t, consul, rec(3, "east", func(r *record.Record) { r.Phase = record.Frozen }))
	f.until(3, record.Frozen)
	put(t, consul, rec(4, "west"))
	f.until(4, record.Open)

	put(t, consul, rec(3, "east"))
	if lower := untilTold[*client.LowerEpochError](f); lower.Seen != 3 || lower.Kept != 4 {
		t.Errorf("told %v", lower)
	}
	put(t, consul, rec(4, "east"))
	if split := untilTold[*client.SplitBrainError](f); split.SeenOpID != "op-east" || split.KeptOpID != "op-west" {
		t.Errorf("told %v", split)
	}
	raw, err := record.Marshal(rec(9, "east"))
	if err != nil {
		t.Fatal(err)
	}
	putRaw(t, consul, bytes.Replace(raw, []byte("127.0.0.1:1001"), []byte("127.0.0.1:6666"), 1))
	f.untilToldIs(record.ErrDigest)
	put(t, consul, rec(9, "east", func(r *record.Record) { r.Pair = "payments" }))
	f.untilToldIs(record.ErrInvalid)
	f.quiet()

	put(t, consul, rec(5, "east"))
	f.until(5, record.Open)
}

func TestWatcherStartsFromDiskWithoutConsulAndNeverGoesBack(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	dir := t.TempDir()
	put(t, consul, rec(6, "west"))

	t.Run("first run keeps the record", func(t *testing.T) {
		follow(t, dir, agent(consul, "")).until(6, record.Open)
	})
	if err := consul.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Run("second run has no consul", func(t *testing.T) {
		f := follow(t, dir, agent(consul, ""))
		if u := f.until(6, record.Open); u.Origin != client.FromDisk || !strings.HasPrefix(u.Source, dir) {
			t.Errorf("got it from %s %s, want the copy on disk", u.Origin, u.Source)
		}
		_ = untilTold[*client.ConsulError](f)

		// The agent comes back empty (it runs in memory), as after a lost disk: its index has gone down.
		if err := consul.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.untilToldIs(client.ErrNoRecord)
		put(t, consul, rec(5, "east"))
		_ = untilTold[*client.LowerEpochError](f)
		f.quiet()
		put(t, consul, rec(7, "east"))
		f.until(7, record.Open)
	})
}

func TestWatcherDoesNotGiveOutTheDiskCopyBeforeConsulHadItsSay(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	dir := t.TempDir()
	put(t, consul, rec(1, "east"))
	t.Run("first run", func(t *testing.T) { follow(t, dir, agent(consul, "")).until(1, record.Open) })
	put(t, consul, rec(2, "west"))
	f := follow(t, dir, agent(consul, ""))
	if u := <-f.updates; u.Record.Epoch != 2 {
		t.Errorf("the first record given out has epoch %d from %s: a client would have started at the site that was left", u.Record.Epoch, u.Origin)
	}
}

func TestWatcherWaitsForEveryConsulBeforeItGivesOutTheDiskCopy(t *testing.T) {
	east := local.ConsulForTest(t, local.ConsulConfig{Name: "east"})
	west := local.ConsulForTest(t, local.ConsulConfig{Name: "west"})
	dir := t.TempDir()
	put(t, east, rec(1, "east"))
	t.Run("first run", func(t *testing.T) { follow(t, dir, agent(east, "east")).until(1, record.Open) })
	put(t, west, rec(2, "west"))
	// The lost site refuses at once, the one that knows of the failover is slow.
	if err := errors.Join(east.Kill(), west.Pause()); err != nil {
		t.Fatal(err)
	}
	f := followWithin(t, time.Minute, 5*time.Minute, dir, agent(east, "east"), agent(west, "west"))
	_ = untilTold[*client.ConsulError](f)
	select {
	case u := <-f.updates:
		t.Errorf("epoch %d was given out from %s though west had not answered", u.Record.Epoch, u.Origin)
	case <-time.After(300 * time.Millisecond):
	}
	if err := west.Resume(); err != nil {
		t.Fatal(err)
	}
	if u := <-f.updates; u.Record.Epoch != 2 {
		t.Errorf("the first record given out has epoch %d from %s", u.Record.Epoch, u.Origin)
	}
}

func TestWatcherReportsADamagedDiskCopyAndAsksConsul(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	dir := t.TempDir()
	put(t, consul, rec(1, "east"))
	t.Run("first run", func(t *testing.T) { follow(t, dir, agent(consul, "")).until(1, record.Open) })
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files in the state folder: %v, %v; want one and no left-over", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.Replace(raw, []byte(`"epoch":1`), []byte(`"epoch":8`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	f := follow(t, dir, agent(consul, ""))
	if u := f.until(1, record.Open); u.Origin != client.FromConsul {
		t.Errorf("came from %s", u.Origin)
	}
	f.untilToldIs(record.ErrDigest)
}

func TestWatcherIsMovedByWhicheverConsulIsLeft(t *testing.T) {
	east := local.ConsulForTest(t, local.ConsulConfig{Name: "east"})
	west := local.ConsulForTest(t, local.ConsulConfig{Name: "west"})
	put(t, east, rec(1, "east"))
	put(t, west, rec(1, "east"))
	f := follow(t, t.TempDir(), agent(east, "east"), agent(west, "west"))
	f.until(1, record.Open)
	if err := east.Pause(); err != nil { // hangs, as behind a cut link
		t.Fatal(err)
	}
	put(t, west, rec(2, "west"))
	if u := f.until(2, record.Open); !strings.Contains(u.Source, west.Address()) {
		t.Errorf("came from %s", u.Source)
	}
	if err := east.Resume(); err != nil {
		t.Fatal(err)
	}
	put(t, east, rec(1, "east", func(r *record.Record) { r.Phase = record.Moving }))
	_ = untilTold[*client.LowerEpochError](f)
	f.quiet()
}

func TestAcknowledgementIsWrittenToAConsulThatIsLeftAndCanBeWithdrawn(t *testing.T) {
	east := local.ConsulForTest(t, local.ConsulConfig{Name: "east"})
	west := local.ConsulForTest(t, local.ConsulConfig{Name: "west"})
	w, err := client.New(client.Config{Pair: pair, StateDir: t.TempDir(), Consuls: []client.Consul{agent(east, "east"), agent(west, "west")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := east.Kill(); err != nil {
		t.Fatal(err)
	}
	ack := client.Ack{Group: "billing", Instance: "host-1", Epoch: 4, Phase: record.Frozen, State: client.Stopped}
	if err := w.Acknowledge(t.Context(), ack); err != nil {
		t.Fatalf("one consul is left, but: %v", err)
	}
	cl, err := west.Client()
	if err != nil {
		t.Fatal(err)
	}
	kv, _, err := cl.KV().Get(client.AckKey(pair, "billing", "host-1"), nil)
	if err != nil || kv == nil {
		t.Fatalf("acknowledgement not found: %v, %v", kv, err)
	}
	for _, want := range []string{`"epoch":4`, `"phase":"frozen"`, `"instance":"host-1"`, `"group":"billing"`, `"state":"stopped"`} {
		if !strings.Contains(string(kv.Value), want) {
			t.Errorf("acknowledgement %s lacks %s", kv.Value, want)
		}
	}
	if err := w.Withdraw(t.Context(), "billing", "host-1"); err != nil {
		t.Fatal(err)
	}
	if kv, _, err := cl.KV().Get(client.AckKey(pair, "billing", "host-1"), nil); err != nil || kv != nil {
		t.Errorf("after withdrawing: %v, %v", kv, err)
	}
	if err := west.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := w.Acknowledge(t.Context(), ack); err == nil {
		t.Error("nobody took the acknowledgement and no error was returned")
	}
}

func TestReadTellsWhatOneConsulHolds(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	if _, err := client.Read(t.Context(), agent(consul, "east"), pair); !errors.Is(err, client.ErrNoRecord) {
		t.Errorf("empty consul: %v", err)
	}
	put(t, consul, rec(3, "west"))
	if r, err := client.Read(t.Context(), agent(consul, "east"), pair); err != nil || r.Epoch != 3 {
		t.Errorf("epoch %d, %v", r.Epoch, err)
	}
	putRaw(t, consul, []byte("{}"))
	if _, err := client.Read(t.Context(), agent(consul, "east"), pair); !errors.Is(err, record.ErrSchema) {
		t.Errorf("damaged: %v", err)
	}
	if err := consul.Kill(); err != nil {
		t.Fatal(err)
	}
	var away *client.ConsulError
	if _, err := client.Read(t.Context(), agent(consul, "east"), pair); !errors.As(err, &away) {
		t.Errorf("dead consul: %v", err)
	}
}

func TestConfigReportsAllFaultsAtOnce(t *testing.T) {
	_, err := client.New(client.Config{Pair: "a/b", Wait: -1, Consuls: []client.Consul{{Site: "x"}, {Address: "h:1", Site: "x"}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Pair", "StateDir", "Consuls[0].Address", "named twice", "Wait"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in: %v", want, err)
		}
	}
}
