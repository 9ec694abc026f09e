package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/fakeslack"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// The team of the story in Slack reads the clicks too, with a consumer that nothing moves but its people.
const (
	teamName    = "reporting"
	teamLead    = "dana"
	teamGroup   = "clicks-report"
	teamChannel = "C0REPORT"
	opsChannel  = "C0OPS"
)

// withTeam gives the pair the team's group and principal.
func withTeam(cfg *harness.Config) {
	cfg.Groups = append(cfg.Groups, plan.Group{Name: teamGroup, Move: "page"})
	cfg.Principals = append(cfg.Principals, harness.Principal{Name: teamGroup, Read: []string{clicksTopic}, Groups: []string{teamGroup}})
}

func planTeam(p *plan.Plan, pager plan.PagerDuty) {
	p.Limits.ClientsSeconds = 600 // nobody waits that long: the team moves as soon as it has acknowledged
	p.Teams = append(p.Teams, plan.Team{
		Name: teamName, Groups: []string{teamGroup}, People: []string{teamLead}, PagerDuty: &pager,
		Slack: &plan.TeamSlack{Channel: teamChannel, Mention: []string{slackIDs[teamLead]}},
	})
}

// byHand is the team's consumer: a process of its own, without drctl exec.
type byHand struct {
	sys  *harness.System
	dir  string
	proc *local.Process
}

func newByHand(sys *harness.System) *byHand {
	return &byHand{sys: sys, dir: filepath.Join(sys.Dir(), "clients", teamGroup)}
}

func (h *byHand) start(site *harness.Site) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return err
	}
	login := h.sys.Login(teamGroup)
	h.proc, err = local.Start(local.Spec{
		Name: teamGroup, Path: self, LogFile: filepath.Join(h.dir, "consumer.log"),
		Args: []string{"client", "consume", "-topic", clicksTopic, "-group", teamGroup, "-journal", filepath.Join(h.dir, "consumer.jsonl"), "-limits", filepath.Join(h.dir, "limits.json")},
		Env: []string{
			"DRAWBRIDGE_SITE=" + site.Name, "DRAWBRIDGE_BOOTSTRAP=" + strings.Join(site.Kafka.Bootstrap(), ","),
			"KAFKA_USERNAME=" + login.Name, "KAFKA_PASSWORD=" + login.Password,
		},
	})
	return err
}

func (h *byHand) stop() error {
	if h.proc == nil {
		return nil
	}
	proc := h.proc
	h.proc = nil
	return proc.Stop(2 * time.Minute)
}

func (c *chat) startByHand(site *harness.Site) error {
	if c == nil {
		return nil
	}
	return c.team.start(site)
}

// moveByHand is the team at the failover: it is told, says that it looks after it, and moves its consumer.
func (s *story) moveByHand(ctx context.Context) error {
	var said, page string
	err := s.chat.slack.Await(ctx, "the team to be told, and its button", func() error {
		page = s.chat.teamPage()
		for _, m := range s.chat.slack.Messages(teamChannel) {
			if strings.Contains(m.Text, "to be moved by you: "+teamGroup) {
				said, _, _ = strings.Cut(m.Text, "\n")
			}
		}
		if said == "" || page == "" {
			return fmt.Errorf("said in Slack %q, paged %q", said, page)
		}
		root, err := s.root()
		if err == nil && !strings.Contains(fakeslack.Text(root.Blocks), "team "+teamName+": told ") {
			err = errors.New("the thread does not tell of it")
		}
		return err
	})
	if err != nil {
		return err
	}
	s.table.printf("      | Slack, %s: %s\n      | PagerDuty, team %s: %s\n", teamChannel, said, teamName, page)
	s.says(teamLead, "[Team %s: we look after it]", teamName)
	if err := s.press(ctx, teamLead, runbook.Acknowledge, teamName, nil); err != nil {
		return err
	}
	home, standby := s.sys.Home, s.sys.Standby
	s.says(teamLead, "stops %s at %s and starts it at %s", teamGroup, home.Name, standby.Name)
	return errors.Join(s.chat.team.stop(), s.chat.team.start(standby))
}

// teamPage is the first line of the team's incident, "" for none.
func (c *chat) teamPage() string {
	for _, i := range c.pager.Incidents() {
		if strings.HasSuffix(i.Key, "/team "+teamName) {
			line, _, _ := strings.Cut(i.Summary, "\n")
			return line
		}
	}
	return ""
}

// comeHomeByHand stops the team's consumer before the planned move home, and starts it there when the record of truth says so.
// What it returns ends that.
func (s *story) comeHomeByHand(ctx context.Context) (came func() error) {
	if s.chat == nil {
		return func() error { return nil }
	}
	s.says(teamLead, "stops %s until %s is active", teamGroup, s.sys.Home.Name)
	if err := s.chat.team.stop(); err != nil {
		return func() error { return err }
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		err := s.activeAt(ctx, s.sys.Home)
		if err == nil {
			s.says(teamLead, "starts %s at %s", teamGroup, s.sys.Home.Name)
			err = s.chat.team.start(s.sys.Home)
		}
		ended <- err
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

// teamEvidence is what the failover left of a team in its report, in its channel and at the pager.
func (c *chat) teamEvidence(l runbook.TeamLine) check.Team {
	out := check.Team{Team: l.Team, AcknowledgedBy: l.AcknowledgedBy, Groups: len(l.Groups), Pages: []string{}}
	if len(l.Told) > 0 {
		out.Slack, out.PagerDuty = l.Told[0].Slack, l.Told[0].PagerDuty
	}
	if l.Moved != nil {
		out.Moved = *l.Moved
	}
	for _, m := range c.slack.Messages(teamChannel) {
		if strings.Contains(m.Text, c.run) {
			out.Messages++
		}
	}
	for _, i := range c.pager.Incidents() {
		if strings.HasSuffix(i.Key, c.run+"/team "+l.Team) {
			out.Pages = i.States
		}
	}
	return out
}

// acknowledged are those who looked after a run, and after a team's clients in it.
func acknowledged(said []runbook.Signed) []string {
	out := []string{}
	for _, a := range said {
		who := a.By
		if a.Team != "" {
			who += " for team " + a.Team
		}
		if a.Decision == runbook.Acknowledge && !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	return out
}
