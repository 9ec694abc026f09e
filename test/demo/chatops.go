package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/demo/check"
	"github.com/drawbridge-dr/drawbridge/test/fakepager"
	"github.com/drawbridge-dr/drawbridge/test/fakeslack"
	"github.com/drawbridge-dr/drawbridge/test/harness"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// chat is the fake Slack and the fake pager of the story in Slack. A nil one is none.
type chat struct {
	slack *fakeslack.Slack
	pager *fakepager.Pager
	key   string // file of the bot's
	run   string // the failover's operation id
	team  *byHand
}

// People in Slack: the second approver is eve.
const (
	drChannel = "C0DR"
	third     = "eve"
)

var slackIDs = map[string]string{harness.Requester: "U0ANN", harness.Approver: "U0BOB", third: "U0EVE", teamLead: "U0DANA"}

// inSlack changes the pair to one that is commanded from Slack: a bot, people with Slack ids, two approvals, a pager, and a team
// of clients that is told in both.
func (s *story) inSlack(cfg *harness.Config) error {
	if s.opts.Story != chatStory {
		return nil
	}
	c := &chat{key: filepath.Join(cfg.Dir, "keys", "drbot.json")}
	s.chat = c
	var err error
	if c.slack, err = fakeslack.Start(); err != nil {
		return err
	}
	if c.pager, err = fakepager.Start(); err != nil {
		return err
	}
	bot, err := harness.NewKey(c.key, "drbot")
	if err != nil {
		return err
	}
	eve, err := harness.NewKey(filepath.Join(cfg.Dir, "keys", third+".json"), third)
	if err != nil {
		return err
	}
	dana, err := harness.NewKey(filepath.Join(cfg.Dir, "keys", teamLead+".json"), teamLead)
	if err != nil {
		return err
	}
	pager, token := filepath.Join(cfg.Dir, "keys", "pager.key"), filepath.Join(cfg.Dir, "keys", "slack.token")
	if err := errors.Join(writeSecret(pager, "demo0routing0key0of032characters"), writeSecret(token, fakeslack.BotToken)); err != nil {
		return err
	}
	cfg.SlackURL, cfg.PagerDutyURL = c.slack.API(), c.pager.URL()
	withTeam(cfg)
	cfg.Plan = func(p *plan.Plan) {
		p.People = append(p.People, plan.Person{Name: third, Roles: []string{"approver"}, PublicKey: eve}, plan.Person{Name: teamLead, Roles: []string{"reporting"}, PublicKey: dana})
		for i := range p.People {
			p.People[i].SlackID = slackIDs[p.People[i].Name]
		}
		p.Bot = &plan.Bot{PublicKey: bot, Channel: drChannel}
		p.Approvals["failover"] = plan.Rule{Count: 2, Roles: []string{"approver"}}
		p.Notify.Slack = &plan.Slack{Token: "${file:" + token + "}", Channel: opsChannel}
		p.Notify.PagerDuty = &plan.PagerDuty{RoutingKey: "${file:" + pager + "}"}
		planTeam(p, *p.Notify.PagerDuty)
	}
	return nil
}

func (s *story) startChat(ctx context.Context) error {
	if s.chat == nil {
		return nil
	}
	s.chat.team = newByHand(s.sys)
	return s.sys.StartBot(ctx, s.chat.key, s.chat.slack)
}

func (c *chat) stop() error {
	if c == nil {
		return nil
	}
	var errs []error
	if c.team != nil {
		errs = append(errs, c.team.stop())
	}
	if c.slack != nil {
		errs = append(errs, c.slack.Stop())
	}
	if c.pager != nil {
		errs = append(errs, c.pager.Stop())
	}
	return errors.Join(errs...)
}

func writeSecret(file, secret string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(secret), 0o600)
}

// theFailover is by drctl, or in Slack.
func (s *story) theFailover() act {
	if s.opts.Story != chatStory {
		return act{"drctl failover, approved by a second person", s.failOver}
	}
	return act{"/dr failover in Slack: a dialog, two approvers, pages, a live thread, a team", s.failOverInSlack}
}

func (s *story) failOverInSlack(ctx context.Context) (string, error) {
	ctx, cancel := within(ctx, 10*time.Minute)
	defer cancel()
	moved, stop := context.WithCancel(ctx)
	defer stop()
	meanwhile := []func(context.Context) error{s.onceAway, s.moveByHand}
	went := make(chan error, len(meanwhile))
	for _, do := range meanwhile {
		go func() { went <- do(moved) }()
	}
	err := inOrder(ctx, s.askInSlack, s.acknowledgeInSlack, s.approveInSlack, s.endInSlack)
	if err != nil {
		stop() // else they may be behind, and come
	}
	for range meanwhile {
		if werr := <-went; err == nil {
			err = werr
		}
	}
	r := s.failover.Report
	return fmt.Sprintf("approved by %s, acknowledged by %s; RTO %.1f s; %s is active at epoch %d", joined(runbook.Who(r.Approvals, runbook.Approve)), joined(acknowledged(r.Approvals)),
		float64(r.RTOMillis)/1000, joined(r.Active), r.EpochAfter), err
}

// says shows what somebody does in Slack.
func (s *story) says(who, format string, args ...any) {
	s.table.printf("      > %s: %s\n", who, fmt.Sprintf(format, args...))
}

func (s *story) askInSlack(ctx context.Context) error {
	who := harness.Requester
	s.says(who, "/dr failover %s", s.sys.Pair())
	v, err := s.asked(ctx, who, "Start", "records at risk", func() error {
		return s.chat.slack.Command(ctx, slackIDs[who], drChannel, "failover "+s.sys.Pair())
	})
	if err != nil {
		return err
	}
	for line := range strings.Lines(fakeslack.Text(v.Blocks)) {
		if strings.Contains(line, "at risk") {
			s.table.printf("      | %s\n", strings.Trim(strings.TrimSpace(line), "`"))
		}
	}
	if errs, err := s.chat.slack.Submit(ctx, v, map[string][]string{"reason": {"the primary is gone"}}); err != nil || len(errs) > 0 {
		return fmt.Errorf("the dialog was not taken: %v, %w", errs, err)
	}
	_, err = s.dialog(ctx, who, "", "Started failover")
	return err
}

// dialog waits for one that a person has open, with a button and a text.
func (s *story) dialog(ctx context.Context, who, submit, text string) (fakeslack.View, error) {
	return s.asked(ctx, who, submit, text, func() error { return nil })
}

// asked is the dialog that comes of what a person does, who does it again when told that it was too slow.
func (s *story) asked(ctx context.Context, who, submit, text string, do func() error) (fakeslack.View, error) {
	told := len(s.chat.slack.Told(slackIDs[who]))
	if err := do(); err != nil {
		return fakeslack.View{}, err
	}
	var v *fakeslack.View
	err := s.chat.slack.Await(ctx, fmt.Sprintf("%s's dialog with %q", who, text), func() error {
		if all := s.chat.slack.Told(slackIDs[who]); len(all) > told && tooSlow(all[len(all)-1].Text) {
			told = len(all)
			if err := do(); err != nil {
				return err
			}
		}
		v = s.chat.slack.View(slackIDs[who])
		if v == nil || v.Submit != submit || !strings.Contains(fakeslack.Text(v.Blocks), text) {
			return fmt.Errorf("it is %+v; told %+v", v, s.chat.slack.Told(slackIDs[who]))
		}
		return nil
	})
	if err != nil {
		return fakeslack.View{}, err
	}
	return *v, nil
}

// tooSlow reports whether the bot tells that nothing is wrong but the time that something took.
func tooSlow(told string) bool {
	return strings.Contains(told, "No worker tells") || strings.Contains(told, "Please do it again") || strings.Contains(told, "deadline exceeded")
}

// root is the first message of the failover's thread; the set-up and what comes later have their own.
func (s *story) root() (fakeslack.Message, error) {
	for _, m := range s.chat.slack.Messages(drChannel) {
		if m.Thread == "" && strings.HasPrefix(m.Text, "failover of") {
			return m, nil
		}
	}
	return fakeslack.Message{}, errors.New("there is no thread of a failover")
}

func (s *story) acknowledgeInSlack(ctx context.Context) error {
	err := s.chat.slack.Await(ctx, "the page, and the thread with its question", func() error {
		root, err := s.root()
		if err == nil && !strings.Contains(fakeslack.Text(root.Blocks), "Waits for approval") {
			err = errors.New(fakeslack.Text(root.Blocks))
		}
		if err == nil && len(s.chat.pager.Incidents()) == 0 {
			err = errors.New("nobody was paged")
		}
		return err
	})
	if err != nil {
		return err
	}
	s.table.printf("      | PagerDuty: %s\n", s.chat.pager.Incidents()[0].Summary)
	s.says(third, "[I look after it]")
	return s.press(ctx, third, runbook.Acknowledge, "", nil)
}

// press clicks a button of the thread's first message, fills in the dialog and waits for the run's answer. team: that speaks, ""
// for none.
func (s *story) press(ctx context.Context, who, decision, team string, fill func(fakeslack.View) map[string][]string) error {
	root, err := s.root()
	if err != nil {
		return err
	}
	action := "answer-" + decision
	if team != "" {
		action += "-" + team
	}
	v, err := s.asked(ctx, who, strings.ToUpper(decision[:1])+decision[1:], decision, func() error {
		return s.chat.slack.Click(ctx, slackIDs[who], root, action)
	})
	if err != nil {
		return err
	}
	var filled map[string][]string
	if fill != nil {
		filled = fill(v)
	}
	if errs, err := s.chat.slack.Submit(ctx, v, filled); err != nil || len(errs) > 0 {
		return fmt.Errorf("%s: %v, %w", decision, errs, err)
	}
	_, err = s.dialog(ctx, who, "", "Taken: ")
	return err
}

// approveInSlack has both approvers answer whatever the failover asks, until it has ended.
func (s *story) approveInSlack(ctx context.Context) error {
	given := map[string]bool{}
	for {
		var st harness.Status
		err := s.chat.slack.Await(ctx, "a question, or the end", func() (err error) {
			if st, err = s.sys.Status(ctx); err != nil {
				return err
			}
			switch d := st.Detail; {
			case d == nil || d.Operation != runbook.OpFailover:
				return fmt.Errorf("status %+v, %s", st.Run, st.Problem)
			case st.Run.State != "open":
				return nil
			case d.Waiting == nil || given[d.Waiting.Question]:
				return fmt.Errorf("phase %s", d.Phase)
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.chat.run = st.Detail.OpID
		if st.Run.State != "open" {
			return nil
		}
		w := *st.Detail.Waiting
		if w.For != workflows.WaitApproval {
			return fmt.Errorf("the failover waits for %s: %s", w.For, w.Text)
		}
		// The thread may be a moment behind.
		err = s.chat.slack.Await(ctx, "the thread to ask it", func() error {
			root, err := s.root()
			if err == nil && !strings.Contains(fakeslack.Text(root.Blocks), fmt.Sprintf("%d of %d given", w.Have, w.Need)) {
				err = errors.New(root.Text)
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, who := range []string{harness.Approver, third} {
			s.says(who, "[Approve] %s", w.Question)
			if err := s.press(ctx, who, runbook.Approve, "", approval(w)); err != nil {
				return err
			}
		}
		given[w.Question] = true
	}
}

func approval(w workflows.Waiting) func(fakeslack.View) map[string][]string {
	return func(fakeslack.View) map[string][]string {
		filled := map[string][]string{"reason": {"read and agreed"}}
		if len(w.Overrides) > 0 {
			filled["overrides"] = w.Overrides
		}
		return filled
	}
}

// endInSlack waits for the thread's last word and takes the report as anybody would find it.
func (s *story) endInSlack(ctx context.Context) error {
	err := s.chat.slack.Await(ctx, "the thread to end, and the page", func() error {
		if c := s.chat.evidence(nil); !c.Ended || len(c.Pages) == 0 || c.Pages[len(c.Pages)-1] != fakepager.Resolved {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	root, rerr := s.root()
	for line := range strings.Lines(fakeslack.Text(root.Blocks)) {
		s.table.printf("      # %s\n", strings.TrimSpace(line))
	}
	if err := errors.Join(err, rerr); err != nil {
		return err
	}
	var r runbook.Report
	if err := s.sys.Drctl.JSON(ctx, &r, "reports", s.sys.Pair(), s.chat.run); err != nil {
		return err
	}
	s.failover = workflows.Result{OpID: r.OpID, Outcome: r.Outcome, Epoch: r.EpochAfter, Active: r.Active, Report: r}
	if r.Outcome != runbook.Done && r.Outcome != runbook.Partly {
		return fmt.Errorf("outcome %s: %s", r.Outcome, r.Error)
	}
	for _, l := range r.Teams {
		row := l.Row()
		s.table.printf("      | report: team %s: told %s; acknowledged %s; moved %s\n", row[0], row[2], row[3], row[4])
	}
	return nil
}

// evidence is what the failover left in Slack, at the pager, and of teams in its report.
func (c *chat) evidence(teams []runbook.TeamLine) *check.Chat {
	if c == nil {
		return nil
	}
	out := &check.Chat{Asked: []string{harness.Approver, third}, Pages: []string{}, Refused: append(append([]string{}, c.slack.Wrong()...), c.pager.Wrong()...)}
	ts := ""
	for _, m := range c.slack.Messages(drChannel) {
		switch {
		case m.Thread == "" && strings.HasPrefix(m.Text, "failover of"):
			out.Threads++
			ts, out.Edits = m.TS, m.Edits
		case ts != "" && m.Thread == ts:
			out.Replies++
			out.Ended = out.Ended || strings.HasPrefix(m.Text, "Ended: ")
		}
	}
	for _, i := range c.pager.Incidents() {
		if strings.HasSuffix(i.Key, "/"+c.run) {
			out.Pages = i.States
		}
	}
	for _, l := range teams {
		out.Teams = append(out.Teams, c.teamEvidence(l))
	}
	return out
}
