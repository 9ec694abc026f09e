package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// story is a small run that went well: records 1 to 10 at home, of which the
// group read 5; lag-1 to lag-3 acknowledged and never mirrored, x sent and its
// outcome unknown; 11 to 15 and x again on the standby; 16 to 18 back at home.
func story() Evidence {
	var t Topic
	t.Name, t.Stops = "dr-topic", map[int32]int64{0: 10}
	seq := int64(0)
	send := func(site string, record Name, attempt int, offset int64) {
		seq++
		a := Attempt{Outcome: Sent, Topic: t.Name, Record: record, Attempt: attempt, Seq: seq, Site: site}
		t.Log = append(t.Log, a)
		a.Outcome, a.Offset = Acked, offset
		if offset < 0 {
			a.Outcome = Unknown
		}
		t.Log = append(t.Log, a)
	}
	store := func(in *[]Stored, record Name, attempt int, recovered bool) {
		*in = append(*in, Stored{Offset: int64(len(*in)), Record: record, Attempt: attempt, Recovered: recovered})
	}
	read := func(site string, record Name, attempt int, recovered bool) {
		t.Reads = append(t.Reads, Read{Topic: t.Name, Record: record, Attempt: attempt, Site: site, Recovered: recovered})
	}
	number := func(i int) Name { return Name(fmt.Sprint(i)) }
	for i := 1; i <= 10; i++ {
		send("east", number(i), 1, int64(i-1))
		store(&t.Primary, number(i), 1, false)
		store(&t.Standby, number(i), 1, false)
		if i <= 5 {
			read("east", number(i), 1, false)
		}
	}
	for i := 1; i <= 3; i++ {
		lag := Name(fmt.Sprintf("lag-%d", i))
		send("east", lag, 1, int64(9+i))
		store(&t.Primary, lag, 1, false)
	}
	send("east", "x", 1, -1)
	for i := 11; i <= 15; i++ {
		send("west", number(i), 1, int64(i-1))
		store(&t.Standby, number(i), 1, false)
	}
	for i := 6; i <= 15; i++ {
		read("west", number(i), 1, false)
	}
	for i := 1; i <= 3; i++ {
		lag := Name(fmt.Sprintf("lag-%d", i))
		store(&t.Standby, lag, 1, true)
		read("west", lag, 1, true)
	}
	for i := 16; i <= 18; i++ {
		send("east", number(i), 1, int64(i+2))
		store(&t.Standby, number(i), 1, false)
		read("east", number(i), 1, false)
	}
	send("east", "x", 2, 21)
	store(&t.Standby, "x", 2, false)
	read("east", "x", 2, false)
	t.Home = slices.Clone(t.Standby)
	t.LaggedFound, t.RPOExact, t.RPOEstimate = 3, 3, 1
	return Evidence{
		Kafka: "kfake", HomeSite: "east", StandbySite: "west", Tutorial: "dr-topic", Want: Tutorial(), Topics: []Topic{t},
		Active: "east", Epoch: 3, Fence: Fence{Failover: "unreachable", Returned: Proven, Home: Proven}, RTO: time.Second, FailbackDone: true,
	}
}

func TestAStoryThatWentWellIsOK(t *testing.T) {
	r := Judge(story())
	if !r.OK {
		t.Fatalf("faults: %v", r.Faults)
	}
	got := r.Topics["dr-topic"]
	if got.Acked != 22 || got.InPrimary != 13 || got.InHome != 22 || got.LaggedInPrimary != 3 || got.LaggedRecovered != 3 {
		t.Fatalf("counted %+v", got)
	}
	if !slices.Equal(got.Unknown, []string{"x#1"}) {
		t.Fatalf("unknown attempts %v", got.Unknown)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"ok":true`, `"resumed_at":6`, `"consumed_after_failover":[6,7,8,9,10,11,12,13,14,15]`, `"consumed_after_recovery":["lag-1","lag-2","lag-3"]`,
		`"redelivered":{"failover":0,"recovery":0,"home":0}`, `"failback_ok":true`,
	} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("no %s in %s", part, raw)
		}
	}
}

func TestAnUnknownOutcomeThatStandsInTheLogAfterAllIsNoDuplicate(t *testing.T) {
	e := story()
	topic := &e.Topics[0]
	x := Stored{Offset: 13, Record: "x", Attempt: 1}
	topic.Primary = append(topic.Primary, x)
	x.Recovered, x.Offset = true, 100
	topic.Standby, topic.Home = append(topic.Standby, x), append(topic.Home, x)
	topic.LaggedFound, topic.RPOExact, e.Want.Lagged = 4, 4, 4
	if r := Judge(e); !r.OK {
		t.Fatalf("faults: %v", r.Faults)
	}
}

func TestEveryFaultTurnsOKFalse(t *testing.T) {
	swap := func(s []Stored, i, j int) {
		s[i].Record, s[j].Record = s[j].Record, s[i].Record
		s[i].Attempt, s[j].Attempt = s[j].Attempt, s[i].Attempt
	}
	both := func(topic *Topic, change func([]Stored) []Stored) {
		topic.Standby, topic.Home = change(topic.Standby), change(topic.Home)
	}
	for _, tc := range []struct {
		name  string
		spoil func(*Evidence, *Topic)
		want  string // in a fault
	}{
		{"a mirrored record was dropped", func(_ *Evidence, x *Topic) {
			both(x, func(s []Stored) []Stored { return slices.Delete(s, 7, 8) })
		}, "1 acknowledged records are not in both clusters"},
		{"a record is missing in the standby only", func(_ *Evidence, x *Topic) { x.Standby = slices.Delete(x.Standby, 7, 8) }, "not in both clusters"},
		{"a record stands twice", func(_ *Evidence, x *Topic) {
			both(x, func(s []Stored) []Stored {
				return append(s, Stored{Offset: 100, Record: s[3].Record, Attempt: 1})
			})
		}, "stand twice"},
		{"records changed places", func(_ *Evidence, x *Topic) {
			both(x, func(s []Stored) []Stored { swap(s, 6, 7); return s })
		}, "stand behind later ones"},
		{"a record that nobody sent", func(_ *Evidence, x *Topic) {
			both(x, func(s []Stored) []Stored { return append(s, Stored{Offset: 100, Record: "?", Attempt: 1}) })
		}, "never sent"},
		{"home is no copy of the standby", func(_ *Evidence, x *Topic) { swap(x.Home, 6, 7) }, "differ at the end"},
		{"a lagged record was not recovered", func(_ *Evidence, x *Topic) {
			both(x, func(s []Stored) []Stored {
				return slices.DeleteFunc(s, func(r Stored) bool { return r.Record == "lag-2" })
			})
		}, "lagged_recovered is 2"},
		{"the recovery appended too much", func(_ *Evidence, x *Topic) {
			both(x, func(s []Stored) []Stored {
				return append(s, Stored{Offset: 100, Record: "9", Attempt: 1, Recovered: true})
			})
		}, "do not stand behind the stop offsets"},
		{"the recovery found another number", func(_ *Evidence, x *Topic) { x.LaggedFound = 2 }, "lagged_found is 2"},
		{"the exact RPO is another number", func(_ *Evidence, x *Topic) { x.RPOExact = 4 }, "rpo_records_exact is 4"},
		{"nothing lagged", func(_ *Evidence, x *Topic) { x.Stops[0] = 1000 }, "nothing lagged"},
		{"a stop offset is missing", func(_ *Evidence, x *Topic) { delete(x.Stops, 0) }, "no stop offset"},
		{"the group went on too early", func(_ *Evidence, x *Topic) {
			x.Reads = slices.Insert(x.Reads, 5, Read{Record: "5", Attempt: 1, Site: "west"})
			x.FailoverForecast = 5
		}, `went on at "5"`},
		{"the group went on too late", func(_ *Evidence, x *Topic) { x.Reads = slices.Delete(x.Reads, 5, 6) }, "never reached the group"},
		{"more was delivered again than was forecast", func(_ *Evidence, x *Topic) {
			x.Reads = slices.Insert(x.Reads, 9, Read{Record: "7", Attempt: 1, Site: "west"})
		}, "the dry run said at most 0"},
		{"appended records were delivered again unannounced", func(_ *Evidence, x *Topic) {
			x.Reads = slices.Insert(x.Reads, 5, Read{Record: "lag-1", Attempt: 1, Site: "east"})
		}, "the recovery said at most 0"},
		{"something was delivered again at home", func(_ *Evidence, x *Topic) {
			x.Reads = append(x.Reads, Read{Record: "15", Attempt: 1, Site: "east"})
		}, "again at home"},
		{"the group got a record twice in peace", func(_ *Evidence, x *Topic) {
			x.Reads = slices.Insert(x.Reads, 5, Read{Record: "5", Attempt: 1, Site: "east"})
		}, "before anything happened"},
		{"a record was never sent again", func(_ *Evidence, x *Topic) {
			x.Log = slices.DeleteFunc(x.Log, func(a Attempt) bool { return a.Record == "x" && a.Attempt == 2 })
		}, "never acknowledged"},
		{"the group stays away from home", func(_ *Evidence, x *Topic) {
			x.Reads = slices.DeleteFunc(x.Reads, func(r Read) bool {
				return r.Site == "east" && (r.Record == "x" || strings.HasPrefix(string(r.Record), "1") && r.Record != "1")
			})
		}, "read nothing at home"},
		{"the fence on the returned primary is not proven", func(e *Evidence, _ *Topic) { e.Fence.Returned = "clients-only" }, "fence on the returned"},
		{"the fence at the move home is not proven", func(e *Evidence, _ *Topic) { e.Fence.Home = "" }, "fence on the standby"},
		{"nobody came home", func(e *Evidence, _ *Topic) { e.Active = "west" }, "not home"},
		{"the failback was not done", func(e *Evidence, _ *Topic) { e.FailbackDone = false }, "did not end as done"},
		{"a step failed", func(e *Evidence, _ *Topic) { e.Faults = []string{"step recover: no"} }, "step recover"},
		{"the tutorial's topic is missing", func(e *Evidence, _ *Topic) { e.Tutorial = "other" }, "not looked at"},
		{"no RTO", func(e *Evidence, _ *Topic) { e.RTO = 0 }, "RTO"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := story()
			tc.spoil(&e, &e.Topics[0])
			r := Judge(e)
			if r.OK {
				t.Fatal("ok is true")
			}
			if !strings.Contains(strings.Join(r.Faults, "\n"), tc.want) {
				t.Fatalf("no fault says %q: %v", tc.want, r.Faults)
			}
			if raw, _ := json.Marshal(r); !strings.Contains(string(raw), `"ok":false`) {
				t.Fatalf("the report does not say so: %s", raw)
			}
		})
	}
}

func TestNoEvidenceIsNotOK(t *testing.T) {
	if r := Judge(Evidence{}); r.OK {
		t.Fatal("ok without a topic")
	}
}

// planned is a small run of planned moves: 1 to 4 at home, 5 to 8 on the
// standby, 9 to 12 at home again, read where they were written.
func planned() Evidence {
	t := Topic{Name: "dr-topic"}
	for i := 1; i <= 12; i++ {
		site := "east"
		if i > 4 && i <= 8 {
			site = "west"
		}
		name := Name(fmt.Sprint(i))
		t.Log = append(t.Log,
			Attempt{Outcome: Sent, Record: name, Attempt: 1, Seq: int64(i), Site: site},
			Attempt{Outcome: Acked, Record: name, Attempt: 1, Seq: int64(i), Site: site, Offset: int64(i - 1)})
		t.Reads = append(t.Reads, Read{Record: name, Attempt: 1, Site: site, Offset: int64(i - 1)})
		stored := Stored{Offset: int64(i - 1), Record: name, Attempt: 1}
		if i <= 8 {
			t.Primary = append(t.Primary, stored)
		}
		t.Standby, t.Home = append(t.Standby, stored), append(t.Home, stored)
	}
	return Evidence{
		Kafka: "kfake", HomeSite: "east", StandbySite: "west", Tutorial: "dr-topic", Want: Tutorial(), Planned: true, Topics: []Topic{t},
		Active: "east", Epoch: 3, Fence: Fence{Failover: Proven, Home: Proven}, RTO: time.Second, FailbackDone: true,
	}
}

func TestAPlannedMoveMayLoseAndRepeatNothing(t *testing.T) {
	if r := Judge(planned()); !r.OK || r.ResumedAt != "5" || r.Lost+r.Duplicates+r.Redelivered != 0 {
		t.Fatalf("%+v", r)
	}
	for name, tc := range map[string]struct {
		spoil func(*Evidence, *Topic)
		want  string
	}{
		"read again on the standby": {func(_ *Evidence, x *Topic) {
			x.Reads = slices.Insert(x.Reads, 4, Read{Record: "4", Attempt: 1, Site: "west"})
		}, "delivered again after the failover"},
		"read again at home":     {func(_ *Evidence, x *Topic) { x.Reads = append(x.Reads, Read{Record: "8", Attempt: 1, Site: "east"}) }, "delivered again at home"},
		"lost in both":           {func(_ *Evidence, x *Topic) { x.Standby, x.Home = x.Standby[:11], x.Home[:11] }, "not in both clusters"},
		"never read":             {func(_ *Evidence, x *Topic) { x.Reads = slices.Delete(x.Reads, 5, 6) }, "never reached the group"},
		"fence away not proven":  {func(e *Evidence, _ *Topic) { e.Fence.Failover = "clients-only" }, "at the move away"},
		"something lagged":       {func(_ *Evidence, x *Topic) { x.LaggedFound = 1 }, "reports 1 lagged"},
		"not at home in the end": {func(e *Evidence, _ *Topic) { e.Active = "west" }, "not home"},
	} {
		e := planned()
		tc.spoil(&e, &e.Topics[0])
		r := Judge(e)
		if r.OK || !strings.Contains(strings.Join(r.Faults, "\n"), tc.want) {
			t.Errorf("%s: ok %t, faults %v", name, r.OK, r.Faults)
		}
	}
}
