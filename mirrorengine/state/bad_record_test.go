package state

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A record that is torn, or of a newer release, ends a running Store and keeps
// another from opening, with the record's name and place.
func TestARecordThatCannotBeReadStopsTheEngineByName(t *testing.T) {
	for name, bad := range map[string]struct{ value, says string }{
		"torn":       {`{"v":1,"data":{"name":"ea`, "is torn"},
		"no JSON":    {"\x00\x01\x02", "is torn"},
		"of another": {`[1,2]`, "is torn"},
		"newer":      {`{"v":2,"data":{}}`, "run the newer release"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			running := replica(t, c, "running")
			write(t, running, 1, "link/before", "kept")
			cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "_state", Partition: 2, Key: []byte("link/x"), Value: []byte(bad.value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-running.Failed():
				if text := err.Error(); !strings.Contains(text, `"link/x"`) || !strings.Contains(text, "shard 2") || !strings.Contains(text, bad.says) {
					t.Errorf("it says: %v", err)
				}
			case <-time.After(2 * time.Minute):
				t.Fatal("the replica goes on")
			}
			running.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			if s, err := Open(ctx, options(c, "late")); err == nil {
				s.Close()
				t.Fatal("another replica began with it")
			}
		})
	}
}

// A kind of key that this build does not know is left as it is: a release beside it
// may keep something there.
func TestAnUnknownKeyIsLeftAlone(t *testing.T) {
	c := newCluster(t)
	s := replica(t, c, "one")
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "_state", Partition: 3, Key: []byte("weather/today"), Value: []byte(`{"v":1,"data":{"sun":true}}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read", func() error {
		var v struct{ Sun bool }
		if ok, err := s.Get("weather/today", &v); err != nil || !ok || !v.Sun {
			return context.DeadlineExceeded
		}
		return nil
	})
	write(t, s, 3, "link/y", "still written")
	select {
	case err := <-s.Failed():
		t.Error(err)
	default:
	}
}
