package runbook

import (
	"strings"
	"testing"
	"time"
)

func TestForecastOfAPlannedMoveCountsWhatItKnows(t *testing.T) {
	p := Plan{Limits: Limits{FreezeSeconds: 120, TransactionsSeconds: 30}, Groups: []Group{{Name: "billing"}, {Name: "audit"}}}
	l := Link{Name: "there", Source: "east", Destination: "west"}
	r := Risk{Partitions: []PartitionRisk{
		{Topic: "orders", LagRecords: 5, LagSeconds: 0.4},
		{Topic: "orders", Partition: 1, LagRecords: 7, LagSeconds: 1.25},
		{Topic: "foreign", LagRecords: 900, LagSeconds: 70}, // not of the plan
		{Topic: "orders", Partition: 2, LagRecords: -1},     // not heard of yet
	}}
	f := ForeseeMove(p, l, []string{"orders"}, r, nil, 2*time.Second)
	if f.LagRecords != 12 || f.LeastSeconds != 3.3 || f.FreezeSeconds != 120 || strings.Join(f.Groups, " ") != "audit billing" {
		t.Errorf("%+v", f)
	}
	open := []OpenTransaction{{Topic: "orders", Partition: 1, TransactionalID: "checkout"}}
	if f = ForeseeMove(p, l, []string{"orders"}, r, open, 2*time.Second); f.LeastSeconds != 33.3 || !strings.HasSuffix(f.Text(), "; transaction checkout on orders/1 is ended if it stays open") {
		t.Errorf("%s", f.Text())
	}
	steps := SwitchoverSteps(p, l, Link{Name: "back", Source: "west", Destination: "east"}, f)
	pivot := ""
	for _, s := range steps {
		if s.Pivot {
			pivot += s.Name
		}
	}
	if pivot != "promote" || steps[0].Name != "approve" || steps[len(steps)-1].Name != "report" {
		t.Errorf("%s", Render(steps))
	}
}

func TestPlannedMoveNotesWhatIsWorthALook(t *testing.T) {
	f := MoveFacts{
		Pair: "orders", Link: Link{Name: "there", Source: "east", Destination: "west"}, Topics: []string{"orders"},
		Risk: Risk{SourceReachable: true, Partitions: []PartitionRisk{
			{Topic: "orders", Status: StatusActive, Guard: "set"}, {Topic: "foreign", Status: "PAUSED", Guard: guardProven},
		}},
		Shapes: []TopicShape{{Topic: "orders", Source: 3, Destination: 3}},
	}
	v := Planned(f)
	if !v.OK || len(v.Reasons) != 2 || !strings.Contains(v.Text(), "foreign of link there is not of the plan") || !strings.Contains(v.Text(), "first orders (set)") {
		t.Errorf("%+v", v)
	}
	f.Shapes[0].Leaderless = 1
	if v := Planned(f); v.OK || len(v.Overrides) > 0 || !strings.Contains(v.Text(), "without a leader") {
		t.Errorf("%+v", v)
	}
}
