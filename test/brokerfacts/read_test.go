package brokerfacts

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Fact: a read_committed fetch returns raw batches up to the last stable offset, aborted ones and markers included, and lists the
// aborted transactions by producer id and first offset (Fetch v4+, AbortedTransactions). The engine's committed view is cut from that.
func TestReadCommittedFetchListsAbortedTransactions(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	ctx := within(t, 2*time.Minute)
	cl := connect(t, one, super, kgo.TransactionalID(t.Name()), kgo.DefaultProduceTopic(to.name))
	write := func(value string, how kgo.TransactionEndTry) {
		t.Helper()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := cl.EndTransaction(ctx, how); err != nil {
			t.Fatal(err)
		}
	}
	write("committed", kgo.TryCommit) // 0, marker 1
	write("aborted", kgo.TryAbort)    // 2, marker 3
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, kgo.StringRecord("open")).FirstErr(); err != nil { // 4
		t.Fatal(err)
	}

	p := fetch(t, to, 0, readCommitted)
	if len(p.AbortedTransactions) != 1 || p.AbortedTransactions[0].FirstOffset != 2 {
		t.Errorf("aborted transactions %+v, want one from offset 2", p.AbortedTransactions)
	}
	var offsets []int64
	var control []bool
	for _, batch := range split(t, p.RecordBatches) {
		b := header(t, batch)
		offsets, control = append(offsets, b.FirstOffset), append(control, b.Attributes&bitControl != 0)
		if b.FirstOffset == 2 && b.ProducerID != p.AbortedTransactions[0].ProducerID {
			t.Errorf("producer id %d of the aborted batch is not the listed one", b.ProducerID)
		}
	}
	if diff := cmp.Diff([]int64{0, 1, 2, 3}, offsets); diff != "" {
		t.Errorf("batches (-want +got): %s", diff)
	}
	if !slices.Equal(control, []bool{false, true, false, true}) {
		t.Errorf("control batches: %v", control)
	}
	if p.LastStableOffset != 4 || p.HighWatermark != 5 {
		t.Errorf("last stable offset %d, high watermark %d, want 4 and 5", p.LastStableOffset, p.HighWatermark)
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// Fact: a committed offset of a group without members expires offsets.retention.minutes after its last
// commit, and committing the same value again keeps it (OffsetExpirationConditionImpl). The engine writes unchanged values again, or a
// quiet group's position is gone from the standby when it is needed.
func TestOffsetsOfAQuietGroupExpireUnlessCommittedAgain(t *testing.T) {
	t.Parallel()
	to := newTopic(t, one)
	adm := kadm.NewClient(connect(t, one, super))
	ctx := within(t, 4*time.Minute)
	commit := func(group string) error {
		offsets := make(kadm.Offsets)
		offsets.AddOffset(to.name, 0, 7, -1)
		return adm.CommitAllOffsets(ctx, group, offsets)
	}
	there := func(group string) bool {
		t.Helper()
		offsets, err := adm.FetchOffsets(ctx, group)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := offsets.Lookup(to.name, 0)
		return ok && at.At == 7
	}
	quiet, kept := t.Name()+".quiet", t.Name()+".kept"
	for _, group := range []string{quiet, kept} {
		if err := local.WaitFor(ctx, "the first commit of "+group, func(context.Context) error { return commit(group) }); err != nil {
			t.Fatal(err)
		}
		if !there(group) {
			t.Fatalf("the commit of %s does not show", group)
		}
	}
	began := time.Now()
	err := local.WaitFor(ctx, "the quiet group's offset to expire", func(context.Context) error {
		if err := commit(kept); err != nil {
			return err
		}
		if there(quiet) {
			return errors.New("it is still there")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("expired after %s", time.Since(began).Round(time.Second))
	if !there(kept) {
		t.Error("the offset that was committed again is gone too")
	}
}
