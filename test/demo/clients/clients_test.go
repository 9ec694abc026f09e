package clients

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func cluster(t *testing.T) Place {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "dr-topic"), kfake.EnableSASL(), kfake.Superuser("PLAIN", "app", "secret"),
		kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return Place{Site: "east", Bootstrap: c.ListenAddrs(), Username: "app", Password: "secret"}
}

// start runs a client until the returned function is called.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("client: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func wait(t *testing.T, what string, cond func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return cond() }); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func acked(t *testing.T, path string) []string {
	t.Helper()
	lines, err := ReadJournal[check.Attempt](path)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, a := range lines {
		if a.Outcome == check.Acked {
			out = append(out, fmt.Sprintf("%s#%d@%d", a.Record, a.Attempt, a.Offset))
		}
	}
	return out
}

func TestProducerThatWasKilledSendsAgainWhatItDoesNotKnowUnderANewAttempt(t *testing.T) {
	dir := t.TempDir()
	cfg := ProducerConfig{
		Place: cluster(t), Topic: "dr-topic", Input: filepath.Join(dir, "input"), Journal: filepath.Join(dir, "journal"),
		Log: slog.New(slog.DiscardHandler),
	}
	write(t, cfg.Input, "1\n2\n3\n")
	// A life that was killed: 1 was acknowledged, of 2 nothing is known, half a line is left.
	write(t, cfg.Journal, `{"outcome":"sent","record":1,"attempt":1,"seq":0}
{"outcome":"acked","record":1,"attempt":1,"seq":0}
{"outcome":"sent","record":2,"attempt":1,"seq":1}
{"outcome":"se`)
	stop := start(t, func(ctx context.Context) error { return Produce(ctx, cfg) })
	want := []string{"1#1@0", "2#2@0", "3#1@1"}
	wait(t, "records 2 and 3", func() error {
		if got := acked(t, cfg.Journal); !slices.Equal(got, want) {
			return fmt.Errorf("acknowledged %v", got)
		}
		return nil
	})
	write(t, cfg.Input, "4")
	stop()
	write(t, cfg.Input, "2\n")
	stop = start(t, func(ctx context.Context) error { return Produce(ctx, cfg) })
	wait(t, "record 42, whose line was written in two parts", func() error {
		if got := acked(t, cfg.Journal); !slices.Equal(got, append(want, "42#1@2")) {
			return fmt.Errorf("acknowledged %v", got)
		}
		return nil
	})
	stop()
	lines, err := ReadJournal[check.Attempt](cfg.Journal)
	if err != nil {
		t.Fatal(err)
	}
	var unknown []string
	seqs := map[int64]string{}
	for _, a := range lines {
		id := fmt.Sprintf("%s#%d", a.Record, a.Attempt)
		if a.Outcome == check.Unknown {
			unknown = append(unknown, id)
		}
		if other, ok := seqs[a.Seq]; ok && other != id {
			t.Errorf("%s and %s have the same sequence number %d", id, other, a.Seq)
		}
		seqs[a.Seq] = id
	}
	if d := cmp.Diff([]string{"2#1"}, unknown); d != "" {
		t.Errorf("unknown outcomes (-want +got):\n%s", d)
	}
}

func TestConsumerRestsAtItsLimitAndGoesOnWhereItsGroupStands(t *testing.T) {
	dir := t.TempDir()
	place := cluster(t)
	in := ProducerConfig{Place: place, Topic: "dr-topic", Input: filepath.Join(dir, "input"), Journal: filepath.Join(dir, "sent"), Log: slog.New(slog.DiscardHandler)}
	write(t, in.Input, "1\n2\n3\n4\n5\n6\n7\n8\n")
	start(t, func(ctx context.Context) error { return Produce(ctx, in) })
	cfg := ConsumerConfig{
		Place: place, Topic: "dr-topic", Group: "cli-consumer", Journal: filepath.Join(dir, "read"), Limits: filepath.Join(dir, "limits"),
		Log: slog.New(slog.DiscardHandler),
	}
	write(t, cfg.Limits, `{"east": 5, "west": 0}`)
	reads := func() (out []string) {
		lines, err := ReadJournal[check.Read](cfg.Journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range lines {
			out = append(out, fmt.Sprintf("%s#%d@%d", r.Record, r.Attempt, r.Offset))
		}
		return out
	}
	want := []string{"1#1@0", "2#1@1", "3#1@2", "4#1@3", "5#1@4"}
	stop := start(t, func(ctx context.Context) error { return Consume(ctx, cfg) })
	wait(t, "five records", func() error {
		if got := reads(); len(got) < 5 {
			return fmt.Errorf("read %v", got)
		}
		return nil
	})
	stop() // a member at its limit ends in order as well
	if d := cmp.Diff(want, reads()); d != "" {
		t.Fatalf("read (-want +got):\n%s", d)
	}
	if err := os.Remove(cfg.Limits); err != nil {
		t.Fatal(err)
	}
	stop = start(t, func(ctx context.Context) error { return Consume(ctx, cfg) })
	wait(t, "the rest", func() error {
		if got := reads(); len(got) < 8 {
			return fmt.Errorf("read %v", got)
		}
		return nil
	})
	stop()
	if d := cmp.Diff(append(want, "6#1@5", "7#1@6", "8#1@7"), reads()); d != "" {
		t.Fatalf("read (-want +got):\n%s", d)
	}
}

func TestPlaceNamesEverythingThatDrctlExecDidNotGive(t *testing.T) {
	_, err := PlaceFrom(func(string) string { return "" })
	if err == nil {
		t.Fatal("accepted an empty environment")
	}
	for _, name := range []string{"DRAWBRIDGE_SITE", "DRAWBRIDGE_BOOTSTRAP", "KAFKA_USERNAME", "KAFKA_PASSWORD"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}
