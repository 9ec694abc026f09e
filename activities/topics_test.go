package activities

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestTopicsOfBothSitesAreCompared(t *testing.T) {
	p := newPair(t)
	for site, topics := range map[string]map[string]int32{"east": {"orders": 3, "payments": 1}, "west": {"orders": 2}} {
		p.admin(t, site, func(ctx context.Context, adm *kadm.Client) error {
			for topic, n := range topics {
				if _, err := adm.CreateTopic(ctx, n, 1, nil, topic); err != nil {
					return err
				}
			}
			return nil
		})
	}
	in := workflows.CompareTopicsInput{Call: as("switchover-1", 2, "compare topics"), Source: p.east, Destination: p.west, Topics: []string{"payments", "orders", "gone"}}
	want := []runbook.TopicShape{{Topic: "payments", Source: 1}, {Topic: "orders", Source: 3, Destination: 2}, {Topic: "gone"}}
	for range 2 {
		got, err := p.CompareTopics(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got.Shapes); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	}
	p.clusters["west"].Kill() //nolint:errcheck // it is to be gone
	if got, err := p.CompareTopics(t.Context(), in); err == nil {
		t.Errorf("a silent cluster has the topics %+v", got)
	}
}

func TestLinkThatIsNotMadeYetHasAnEmptyLedgerWhereThatIsAsked(t *testing.T) {
	p := newPair(t)
	in := workflows.LedgerInput{Call: as("switchover-1", 2, "ledger decided"), Site: p.east, Link: p.west2e, IfLink: true}
	if got, err := p.ComputeLedger(t.Context(), in); err != nil || len(got.Lines) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	in.IfLink = false
	if got, err := p.ComputeLedger(t.Context(), in); workflows.ErrorType(err) != workflows.ErrRefused {
		t.Errorf("%+v, %v: else a link that is not there is a mistake", got, err)
	}
}
