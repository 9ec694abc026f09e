package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/exact"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

var admin = local.User{Name: "admin", Password: "admin-secret"}

func TestAWriterKnowsWhatReadersOfItsTopicSee(t *testing.T) {
	k := local.KafkaForTest(t, local.KafkaConfig{Kind: local.KFake, Name: "east", SuperUser: admin})
	cl, err := kgo.NewClient(k.DirectOptions(admin)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 3, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	from, err := NewProducers(k, admin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(from.Close)
	w, err := New(from, Config{Topic: "orders", Partitions: 3, Seed: 7, Keys: 50, ByKey: true, Tombstones: true, Batch: 40})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- w.Run(t.Context(), 5000, stop) }()
	err = local.WaitFor(t.Context(), "records", func(context.Context) error {
		if w.Committed() < 500 {
			return fmt.Errorf("%d yet", w.Committed())
		}
		return nil
	})
	close(stop)
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
	before := w.Committed()
	if err := w.Write(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	if got := w.Committed() - before; got < 1000 {
		t.Errorf("Write committed %d, want 1000", got)
	}
	if w.Count() <= w.Committed() {
		t.Error("nothing was aborted")
	}
	total := 0
	for p := range int32(3) {
		log, err := exact.Read(t.Context(), k, admin, kgo.ReadCommitted(), "orders", p)
		if err != nil {
			t.Fatal(err)
		}
		total += len(log.Records)
		if err := w.Check(p, log, false); err != nil {
			t.Error(err)
		}
		if v := exact.Compare(exact.Log{Records: w.Written(p).Records}, log); !v.Exact() {
			t.Error(v)
		}
		less := log
		less.Records = slices.Clone(log.Records[1:])
		if w.Check(p, less, false) == nil || w.Check(p, less, true) != nil {
			t.Error("a lost record is not missed, or is where compaction may have taken it")
		}
		more := log
		more.Records = append(slices.Clone(log.Records), exact.Record{Offset: log.End})
		if w.Check(p, more, false) == nil {
			t.Error("a record that nobody wrote is not seen")
		}
	}
	if total != w.Committed() {
		t.Errorf("readers see %d records, the writer committed %d", total, w.Committed())
	}
}
