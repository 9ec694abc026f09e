package link

import (
	"errors"
	"testing"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func TestExportedRecordsStandInATopicOfTheirOwnOnce(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 3)
	src.keyed(t, "orders", 1, "k=x")
	computed(t, m)
	for range 2 {
		got, err := m.ExportLedger(t.Context(), "l", decision)
		if err != nil {
			t.Fatal(err)
		}
		if got.Topic != "drawbridge.ledger.l.orders" || got.Records != 4 || len(got.Entries) != 2 || got.Entries[0].Decision != api.LedgerExported {
			t.Errorf("%+v", got)
		}
	}
	recs := dst.committed(t, "drawbridge.ledger.l.orders", 0)
	if values(recs) != "v10 v11 v12" || header(recs[2], api.RecordHeaderOffset) != "12" {
		t.Errorf("got %s", values(recs))
	}
	if got := values(dst.committed(t, "drawbridge.ledger.l.orders", 1)); got != "x" {
		t.Errorf("partition 1: %s", got)
	}
	if got := behind(t, m, dst, 0); len(got) != 0 {
		t.Errorf("the topic itself got %s", values(got))
	}
	if _, err := m.AppendLedger(t.Context(), "l", decision); !errors.Is(err, api.ErrConflict) {
		t.Errorf("append of exported records: %v", err)
	}
	configs, err := dst.adm.DescribeTopicConfigs(t.Context(), "drawbridge.ledger.l.orders")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" && c.MaybeValue() != "-1" {
			t.Errorf("retention.ms %s", c.MaybeValue())
		}
	}
}

func TestExportArchivesWhatWasAppendedAndTheDecisionStays(t *testing.T) {
	t.Parallel()
	src, dst, m := failedOver(t, 10, nil)
	src.produce(t, "orders", 0, 10, 3)
	computed(t, m)
	appended(t, m)
	got, err := m.ExportLedger(t.Context(), "l", api.DecideLedger{DecidedBy: "bob", Topics: []string{"orders"}})
	if err != nil || got.Records != 3 || got.Entries[0].Decision != api.LedgerAppended || got.Entries[0].DecidedBy != "ann" {
		t.Errorf("%+v %v", got, err)
	}
	if got := values(dst.committed(t, "drawbridge.ledger.l.orders", 0)); got != "v10 v11 v12" {
		t.Errorf("got %s", got)
	}
}
