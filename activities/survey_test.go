package activities

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// What became of topics is found out from both clusters and both engines: every
// kind once, over real engines.
func TestWhatChangedWhileASiteWasAwayIsFoundOut(t *testing.T) {
	p := newPair(t)
	ctx := t.Context()
	create := func(site string, partitions int32, topics ...string) {
		t.Helper()
		p.admin(t, site, func(ctx context.Context, adm *kadm.Client) error {
			got, err := adm.CreateTopics(ctx, partitions, 1, nil, topics...)
			if err == nil {
				err = got.Error()
			}
			return err
		})
	}
	remove := func(site string, topics ...string) {
		t.Helper()
		p.admin(t, site, func(ctx context.Context, adm *kadm.Client) error {
			got, err := adm.DeleteTopics(ctx, topics...)
			if err == nil {
				err = got.Error()
			}
			return err
		})
	}
	mirrored := []string{"p.aborted", "p.committed", "p.deleted", "p.diverged", "p.expired", "p.grown", "p.missing", "p.remade", "p.same"}
	create("east", 1, mirrored...)
	for _, topic := range mirrored {
		p.produce(t, "east", topic, 3)
	}
	p.link(t, "setup", p.east2w, p.east, p.west)
	p.begin(t, "setup", 7, p.west, p.east2w)
	made, err := p.EnsureMirrors(ctx, workflows.EnsureMirrorsInput{Call: as("setup", 7, "mirrors"), Link: p.east2w, Source: p.east, Destination: p.west, Topics: mirrored})
	allOK(t, "mirrors", made, err, len(mirrored))
	p.caughtUp(t, p.west, p.east2w, mirrored)

	p.begin(t, "loss", 8, p.west, p.east2w)
	in := workflows.MirrorsInput{Call: as("loss", 8, "failover"), Site: p.west, Link: p.east2w, Topics: mirrored}
	got, err := p.FailoverMirrors(ctx, in)
	allOK(t, "failover", got, err, len(mirrored))
	got, err = p.AwaitStopped(ctx, workflows.AwaitStoppedInput{Call: in.Call, Site: p.west, Link: p.east2w, Topics: mirrored, Within: 30 * time.Second})
	allOK(t, "stopped", got, err, len(mirrored))

	p.produce(t, "east", "p.diverged", 2)
	// What a coordinator aborts that is back, or has committed behind the stop offset.
	p.transaction(t, "east", "p.aborted", kgo.TryAbort)
	p.transaction(t, "east", "p.committed", kgo.TryCommit)
	// Records were written behind it and have expired: the marker that is left proves nothing.
	p.transaction(t, "east", "p.expired", kgo.TryCommit)
	p.admin(t, "east", func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.DeleteRecords(ctx, kadm.Offsets{"p.expired": {0: {Topic: "p.expired", At: 5}}})
		return err
	})
	ends := must[workflows.CompareLogEndsResult](t)(p.CompareLogEnds(ctx, workflows.CompareLogEndsInput{
		Call: as("loss", 8, "ends"), Site: p.east, Keeper: p.west, Link: p.east2w, Topics: []string{"p.aborted", "p.committed", "p.diverged", "p.expired", "p.same"},
	}))
	if d := cmp.Diff([]string{"p.committed/0 ends at 6, mirrored up to 3", "p.diverged/0 ends at 5, mirrored up to 3", "p.expired/0 ends at 6, mirrored up to 3"}, slices.Sorted(slices.Values(ends.Differ))); d != "" || ends.Equal {
		t.Errorf("log ends (-want +got)\n%s", d)
	}
	p.produce(t, "west", "p.same", 4) // what the active site goes on to write changes nothing
	create("east", 1, "p.only", "p.apart")
	create("west", 2, "p.created", "p.apart")
	p.admin(t, "west", func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.UpdatePartitions(ctx, 3, "p.grown")
		return err
	})
	remove("west", "p.deleted", "p.remade")
	remove("east", "p.missing")
	create("west", 1, "p.remade")

	survey := workflows.SurveyTopicsInput{Call: as("failback", 9, "compare"), Active: p.west, Standby: p.east, Link: p.west2e, Ended: p.east2w, Filters: []string{"^p\\..*"}}
	kinds := func() map[string]string {
		t.Helper()
		out := map[string]string{}
		for _, a := range must[workflows.SurveyTopicsResult](t)(p.SurveyTopics(ctx, survey)).Topics {
			out[a.Topic] = a.Kind()
		}
		return out
	}
	want := map[string]string{
		"p.aborted": runbook.AwaySame, "p.committed": runbook.AwayDiverged, "p.expired": runbook.AwayDiverged,
		"p.deleted": runbook.AwayDeleted, "p.diverged": runbook.AwayDiverged, "p.grown": runbook.AwayGrown, "p.missing": runbook.AwayMissing,
		"p.remade": runbook.AwayRemade, "p.same": runbook.AwaySame, "p.only": runbook.AwayOnlyCopy, "p.apart": runbook.AwayApart, "p.created": runbook.AwayCreated,
	}
	if d := cmp.Diff(want, kinds()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}

	// Once rejoined the copy follows, and the ledger of the rest can be computed
	// though one of its topics is gone.
	p.link(t, "failback", p.west2e, p.west, p.east)
	p.begin(t, "failback", 9, p.east, p.west2e)
	rejoined, err := p.Rejoin(ctx, workflows.RejoinInput{Call: as("failback", 9, "rejoin"), Site: p.east, Link: p.west2e, Other: p.west, Opposite: p.east2w, Topics: []string{"p.aborted", "p.same"}})
	allOK(t, "rejoin", rejoined, err, 2)
	p.caughtUp(t, p.east, p.west2e, []string{"p.aborted", "p.same"})
	want["p.aborted"], want["p.same"] = runbook.AwayFollows, runbook.AwayFollows
	if d := cmp.Diff(want, kinds()); d != "" {
		t.Errorf("after the rejoin (-want +got)\n%s", d)
	}
	p.begin(t, "failback", 9, p.west, p.east2w)
	ledger := must[workflows.LedgerResult](t)(p.ComputeLedger(ctx, workflows.LedgerInput{Call: as("failback", 9, "ledger"), Site: p.west, Link: p.east2w}))
	if _, total := runbook.RPO(ledger.Lines); total < 2 {
		t.Errorf("ledger %+v", ledger.Lines)
	}

	// A copy that people did not agree to delete stays.
	doomed := workflows.DeleteTopicsInput{Call: as("failback", 9, "delete"), Site: p.east, Other: p.west, Link: p.west2e, Topics: []string{"p.deleted"}}
	if _, err := p.DeleteTopics(ctx, doomed); workflows.ErrorType(err) != workflows.ErrRefused {
		t.Errorf("deleted without agreement: %v", err)
	}
	doomed.Agreed = doomed.Topics
	if gone := must[workflows.DeleteTopicsResult](t)(p.DeleteTopics(ctx, doomed)); len(gone.Deleted) != 1 {
		t.Errorf("%+v", gone)
	}
	size := must[workflows.MeasureCopyResult](t)(p.MeasureCopy(ctx, workflows.MeasureCopyInput{Call: as("failback", 9, "size"), Source: p.west, Topics: []string{"p.created", "p.same"}}))
	if size.Topics != 2 || len(size.Lines) != 2 || size.Lines[1].Records < 7 || size.BytesPerSecond != 0 {
		t.Errorf("size %+v", size)
	}
}

// transaction writes two records of one transaction and ends it.
func (p *pair) transaction(t *testing.T, site, topic string, end kgo.TransactionEndTry) {
	t.Helper()
	client, err := kgo.NewClient(append(p.clusters[site].Options(admin), kgo.TransactionalID("checkout"))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("open")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}
