package link

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
)

func TestPartitionThatWasNeverMirroredAppearsFromItsStart(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	if _, err := src.adm.UpdatePartitions(t.Context(), 3, "orders"); err != nil {
		t.Fatal(err)
	}
	src.client.ForceMetadataRefresh()
	eventually(t, "the source has grown", func() error {
		return src.client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Partition: 2, Value: []byte("new")}).FirstErr()
	})
	if e := computed(t, m)[2]; e.From != 0 || e.Records < 1 || e.Decision != api.LedgerUndecided {
		t.Errorf("%+v", e)
	}
	if _, err := m.AppendLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrBadRequest) || !strings.Contains(err.Error(), "add partitions") {
		t.Errorf("got %v", err)
	}
	if _, err := dst.adm.UpdatePartitions(t.Context(), 3, "orders"); err != nil {
		t.Fatal(err)
	}
	if e := appended(t, m)[2]; e.Appended != e.Records {
		t.Errorf("%+v", e)
	}
}

func TestWhatRetentionTookBehindTheStopIsUnrecoverable(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 5)
	cut := kadm.Offsets{}
	cut.Add(kadm.Offset{Topic: "orders", At: 12})
	if _, err := src.adm.DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	if e := computed(t, m)[0]; e.Unrecoverable != 2 || e.Records != 3 {
		t.Errorf("%+v", e)
	}
	appended(t, m)
	if got := values(behind(t, m, dst, 0)); got != "v12 v13 v14" {
		t.Errorf("got %s", got)
	}
}

func TestLedgerOfATopicThatTheNewPrimaryDeletedIsStillDecided(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 5)
	if _, err := dst.adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	if e := computed(t, m)[0]; e.Records != 5 || e.Superseded != 0 || e.Compacted || e.Decision != api.LedgerUndecided {
		t.Errorf("%+v", e)
	}
	if _, err := m.AppendLedger(t.Context(), "l", decision); err == nil {
		t.Error("records were appended to a topic that does not exist")
	}
	if got, err := m.ExportLedger(t.Context(), "l", decision); err != nil || got.Records != 5 {
		t.Errorf("exported %+v, %v", got, err)
	}
}

func TestLedgerOfASourceTopicThatIsGoneIsUnrecoverable(t *testing.T) {
	t.Parallel()
	src, _, m := failedOver(t, 10, nil)
	if _, err := src.adm.DeleteTopic(t.Context(), "orders"); err != nil {
		t.Fatal(err)
	}
	src.topic(t, "orders", 2, nil)
	if e := computed(t, m)[0]; e.Decision != api.LedgerNothing || !strings.Contains(e.Reason, "made anew") {
		t.Errorf("%+v", e)
	}
}

func TestGapThatRetentionTookWhileMirroringCountsOnce(t *testing.T) {
	t.Parallel()
	src, _, m, _ := orders{partitions: 2, records: 10}.mirror(t)
	l, mt := linkOf(t, m), mirrorOf(t, m, "orders")
	p := mt.parts()[1]
	for range 2 {
		if err := l.recordGap(t.Context(), p, 3, 7); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.recordGap(t.Context(), p, 5, 9); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Ledger(t.Context(), "l"); err != nil || len(got.Entries) != 1 || got.Entries[0].Unrecoverable != 6 {
		t.Errorf("while the mirror runs: %+v, %v", got, err)
	}
	alter(t, m, api.VerbFailover, "orders")
	awaitStatus(t, m, "orders", status.Stopped)
	src.produce(t, "orders", 0, 10, 1)
	if e := computed(t, m)[1]; e.Unrecoverable != 6 || e.Records != 0 || e.Decision != api.LedgerNothing {
		t.Errorf("%+v", e)
	}
}
