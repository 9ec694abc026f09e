package workflows

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// herd is a world whose clients are many; those of still do not move.
type herd struct {
	*world
	still map[string]bool
	slack string // what comes of a message into a crowded channel, "" as of any
}

func (h *herd) Notify(ctx context.Context, in NotifyInput) (NotifyResult, error) {
	out, err := h.world.Notify(ctx, in)
	if in.Thread != "" && h.slack != "" {
		out.Slack = h.slack
	}
	return out, err
}

func (h *herd) AwaitClientsMoved(_ context.Context, in AwaitClientsMovedInput) (AwaitClientsMovedResult, error) {
	var all []runbook.ClientMove
	for _, g := range in.Groups {
		m := runbook.ClientMove{Group: g, MembersNew: 1, Moved: true}
		if h.still[g] {
			m = runbook.ClientMove{Group: g, MembersOld: 2}
		}
		all = append(all, m)
	}
	m := runbook.CondenseMoves(all, runbook.ClientRows)
	return AwaitClientsMovedResult{Complete: len(h.still) == 0, Groups: m.Rows, Moved: m.Moved, Left: m.Left}, h.enter("AwaitClientsMoved", in.Call)
}

// herdOf is a lost site, and that many teams of that many groups each, a third by hand. All of them share a channel.
func herdOf(teams, groups int) *herd {
	h := &herd{world: lost(), still: map[string]bool{}}
	h.plan.Groups, h.plan.Limits.ClientsSeconds = nil, 300
	h.plan.Notify = runbook.Notify{Slack: &runbook.Slack{Token: "${env:SLACK}", Channel: "#dr"}}
	for i := range teams {
		t := runbook.Team{
			Name: fmt.Sprintf("client-team-%03d", i), EscalateSeconds: 150, PagerDuty: &runbook.PagerDuty{RoutingKey: "${env:PAGER}"},
			Slack: &runbook.TeamSlack{Channel: "#clients", Mention: []string{fmt.Sprintf("S%08d", i)}},
		}
		for j := range groups {
			name := fmt.Sprintf("%s.some-group-%02d", t.Name, j)
			h.plan.Groups = append(h.plan.Groups, runbook.Group{Name: name, Move: []string{runbook.MovePage, runbook.MoveWatch, runbook.MoveRebootstrap}[j%3]})
			t.Groups = append(t.Groups, name)
		}
		h.plan.Teams = append(h.plan.Teams, t)
	}
	return h
}

func (h *herd) stand(t *testing.T) *stage {
	s := newStageOf(t, h.world, h)
	s.env.SetTestTimeout(10 * time.Minute)
	s.react = agree
	return s
}

// inSlack are the messages into a channel, by kind.
func (h *herd) inSlack(channel string) map[string][]NotifyInput {
	out := map[string][]NotifyInput{}
	for _, n := range h.notes {
		if n.Notify.Slack != nil && n.Notify.Slack.Channel == channel {
			out[n.Kind] = append(out[n.Kind], n)
		}
	}
	return out
}

// Slack takes a message a second for each channel: sixty teams of one are told in a few messages, one after the other, in
// one thread, and by their own pagers each.
func TestManyTeamsOfOneChannelAreToldTogether(t *testing.T) {
	h := herdOf(60, 3)
	for i := range 20 { // a third of them does not move
		h.still[h.plan.Teams[i].Groups[0]] = true
	}
	s := h.stand(t)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	said := h.inSlack("#clients")
	for kind, teams := range map[string]int{NotifyMove: 60, NotifyMoved: 40, NotifyEscalated: 20} {
		named, mentioned := 0, 0
		if n := len(said[kind]); n == 0 || n > 5 {
			t.Errorf("%s: %d messages", kind, n)
		}
		for _, m := range said[kind] {
			if n := utf8.RuneCountInString(m.Title + m.Text); n+22*len(m.Mention) > mostSaid || m.Thread != "teams in #clients" || m.Notify.PagerDuty != nil {
				t.Errorf("%s: %d characters, thread %q, %+v", kind, n, m.Thread, m.Notify)
			}
			mentioned += len(m.Mention)
			for _, team := range h.plan.Teams {
				named += strings.Count(m.Text, team.Name+": ")
			}
		}
		if want := map[bool]int{true: teams}[kind != NotifyMoved]; named != teams || mentioned != want {
			t.Errorf("%s: %d teams are named, %d mentioned, of %d", kind, named, mentioned, teams)
		}
	}
	if text := said[NotifyMove][0].Text; !strings.Contains(text, "client-team-000: by hand client-team-000.some-group-00; by the moved DNS name ") || !strings.Contains(text, "drctl acknowledge orders --team TEAM") {
		t.Errorf("%s", text)
	}
	pages := map[string]int{}
	for _, n := range h.notes {
		if n.Notify.PagerDuty != nil && n.Kind == NotifyMove {
			pages[n.Team]++
		}
	}
	for i, l := range s.res.Report.Teams {
		want := map[bool]int{true: 2, false: 1}[i < 20]
		if pages[l.Team] != 1 || len(l.Told) != want || slices.ContainsFunc(l.Told, func(o runbook.Told) bool { return o.Slack != "sent" }) {
			t.Errorf("team %s: %d pages, told %+v", l.Team, pages[l.Team], l.Told)
		}
	}
}

// A few teams of a channel have a message and a thread each, as before.
func TestAFewTeamsOfAChannelAreToldOneByOne(t *testing.T) {
	h := herdOf(4, 1)
	s := h.stand(t)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	said := h.inSlack("#clients")
	if len(said[NotifyMove]) != 4 || len(said[NotifyMoved]) != 4 || said[NotifyMove][0].Thread != "" || said[NotifyMove][0].Team == "" {
		t.Errorf("%+v", said)
	}
}

// Groups of no team have a message each while a channel takes them all in a notification's time, and else one of all.
func TestGroupsThatMoveByHandAreNotMoreMessagesThanAChannelTakes(t *testing.T) {
	for n, want := range map[int]int{4: 4, 5: 1, 20: 1} {
		h := herdOf(1, 3*n)
		h.plan.Teams = nil
		s := h.stand(t)
		s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
		s.outcome(runbook.Partly)
		said := h.inSlack("#dr")[NotifyMove]
		named := 0
		for _, m := range said {
			for _, g := range h.plan.Groups {
				if strings.Contains(m.Text, g.Name) {
					named++
				}
			}
		}
		if len(said) != want || named != n {
			t.Errorf("%d groups: %d messages that name %d of them", n, len(said), named)
		}
	}
}

// PagerDuty takes a page of the same title for the one that somebody has acknowledged already.
func TestAWaveOfManyGroupsThatMoveByHandIsAPageOfItsOwn(t *testing.T) {
	h := herdOf(1, 30)
	h.plan.Teams = nil
	for i := range h.plan.Groups {
		h.plan.Groups[i].Wave = 1 + i/15
	}
	s := h.stand(t)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	said := h.inSlack("#dr")[NotifyMove]
	if len(said) != 2 || said[0].Title == said[1].Title {
		t.Errorf("%+v", said)
	}
}

// Where a message was not taken those behind it are not tried: a Slack that hangs costs one wait. Each team's row says so.
func TestACrowdedChannelThatIsDeadCostsOneWait(t *testing.T) {
	h := herdOf(60, 3)
	h.slack = "it did not answer"
	s := h.stand(t)
	s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
	s.outcome(runbook.Partly)
	if n := len(h.inSlack("#clients")[NotifyMove]); n != 1 {
		t.Errorf("a Slack that does not answer was told %d times", n)
	}
	not := 0
	for _, l := range s.res.Report.Teams {
		switch said := l.Told[0].Slack; said {
		case "not tried: the message before it was not taken: it did not answer":
			not++
		case "it did not answer":
		default:
			t.Errorf("team %s: %q", l.Team, said)
		}
	}
	if not == 0 || not == 60 {
		t.Errorf("of %d teams nobody tried", not)
	}
}

// meter is a data converter that counts.
type meter struct {
	converter.DataConverter
	mu   sync.Mutex     // guards most
	most map[string]int // of a payload, by the Go type of its value
}

func (m *meter) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	out, err := m.DataConverter.ToPayloads(values...)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, p := range out.GetPayloads() {
		kind := fmt.Sprintf("%T", values[i])
		m.most[kind] = max(m.most[kind], proto.Size(p))
	}
	return out, err
}

// fits: Temporal takes 2 MiB in one piece and warns from 512 KiB on; the plan itself, and the report with all that it tells, may
// be between the two.
func (m *meter) fits(t *testing.T) {
	t.Helper()
	const warns, refuses = 512 << 10, 2 << 20
	for kind, n := range m.most {
		whole := slices.Contains([]string{"workflows.LoadPlanResult", "workflows.Result", "workflows.SaveReportInput", "workflows.Status"}, kind)
		if n > refuses*7/10 || n > warns && !whole {
			t.Errorf("%s: %d bytes", kind, n)
		}
		if n > 100<<10 {
			t.Logf("%s: %d bytes", kind, n)
		}
	}
}

func TestFiveHundredTeamsAndTenThousandGroupsFit(t *testing.T) {
	for _, c := range []struct {
		name         string
		still, pages bool
		long         bool
	}{{"all move", false, false, false}, {"none moves", true, false, false}, {"none moves, and each has a pager", true, true, true}} {
		if c.long && os.Getenv("DRAWBRIDGE_LONG") == "" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			h, still := herdOf(500, 20), c.still
			for i := range h.plan.Teams {
				if !c.pages {
					h.plan.Teams[i].PagerDuty = nil // a thousand notifications are a minute with the race detector
				}
			}
			for i := range 1000 {
				h.plan.People = append(h.plan.People, runbook.Person{Name: fmt.Sprintf("person-%04d", i), PublicKey: strings.Repeat("k", 44)})
			}
			for i, g := range h.plan.Groups {
				if i%20 < 2 { // of no team
					h.plan.Teams[i/20].Groups = h.plan.Teams[i/20].Groups[1:]
				}
				h.still[g.Name] = still
			}
			s := h.stand(t)
			m := &meter{DataConverter: converter.GetDefaultDataConverter(), most: map[string]int{}}
			s.env.SetDataConverter(m)
			began := time.Now()
			s.run(Failover, FailoverInput{Start: request(runbook.OpFailover)})
			s.outcome(runbook.Partly)
			t.Logf("%s, %d notifications", time.Since(began).Round(time.Millisecond), len(h.notes))
			m.fits(t)
			if n := len(s.res.Report.Findings); n > 100 {
				t.Errorf("%d findings", n)
			}
			if n := len(h.inSlack("#dr")[NotifyMove]); n != 1 {
				t.Errorf("%d messages about groups that move by hand and are no team's", n)
			}
			left := 0
			for _, l := range s.res.Report.Teams {
				left += len(l.Groups) - *l.Moved
			}
			if want := map[bool]int{true: 9000}[still]; left != want {
				t.Errorf("%d groups of teams have not moved, want %d", left, want)
			}
			if r := s.res.Report; len(r.ClientsLeft)+len(r.Clients)+r.ClientsMoved != 10_000 {
				t.Errorf("%d rows, %d left, %d moved", len(r.Clients), len(r.ClientsLeft), r.ClientsMoved)
			}
		})
	}
}

// What looks at the pair as a whole passes on no more, and a planned move neither.
func TestOtherOperationsOnManyTeamsAndGroupsFit(t *testing.T) {
	for name, play := range map[string]func(*stage){
		"switchover": func(s *stage) { s.run(Switchover, planned()) },
		"set up":     func(s *stage) { s.run(SetUp, SetUpInput{Start: request(runbook.OpSetUp)}) },
		"readiness": func(s *stage) {
			s.id(ReadyID("orders") + "-2026-11-22T10:00:00Z")
			s.env.ExecuteWorkflow(Readiness, ReadinessInput{Pair: "orders"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := herdOf(500, 20)
			groups, teams, notify := h.plan.Groups, h.plan.Teams, h.plan.Notify
			h.world = calm()
			h.plan.Groups, h.plan.Teams, h.plan.Notify = groups, teams, notify
			for i := range h.plan.Teams {
				h.plan.Teams[i].PagerDuty = nil
			}
			s := h.stand(t)
			m := &meter{DataConverter: converter.GetDefaultDataConverter(), most: map[string]int{}}
			s.env.SetDataConverter(m)
			play(s)
			if err := s.env.GetWorkflowError(); err != nil {
				t.Fatal(err)
			}
			m.fits(t)
		})
	}
}
