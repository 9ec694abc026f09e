package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/test/fakeslack"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/test/sightless"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// People of Slack, as the stage's plan has them; mallory is in no plan.
const (
	ann, bob, eve, mallory = "U0ANN", "U0BOB", "U0EVE", "U0MALLORY"
	channel                = "C0DR"
)

// stage is a real Temporal with the real workflows over sightless steps, a fake Slack and a plan that names a bot and two approvals.
type stage struct {
	*testing.T
	slack  *fakeslack.Slack
	server *local.Temporal
	op     *operator.Operator
	dir    string
	plan   plan.Plan
	bot    operator.Signer
	keys   map[string]operator.Signer
	acts   map[string]act // of each user the last
}

// act is what a user does in Slack; told is how often its user had been told something before.
type act struct {
	do   func()
	told int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageOf(t, "", func(blind *sightless.Steps) any { return blind })
}

// newStageOf is newStage with teams in its plan, and with what seeing makes of the steps.
func newStageOf(t *testing.T, teams string, seeing func(*sightless.Steps) any) *stage {
	t.Helper()
	s := &stage{T: t, slack: fakeslack.ForTest(t), dir: t.TempDir(), keys: map[string]operator.Signer{}, acts: map[string]act{}}
	s.server = local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: workflows.SearchAttributeKeys()})
	s.writePlan(teams)
	steps, err := sightless.New(s.plan)
	s.must(err)
	sdk, err := client.Dial(client.Options{HostPort: s.server.HostPort(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	s.must(err)
	t.Cleanup(sdk.Close)
	s.op = operator.New(sdk)
	w := worker.New(sdk, workflows.TaskQueue, worker.Options{DisableRegistrationAliasing: true})
	workflows.Register(w)
	w.RegisterActivityWithOptions(seeing(steps), activity.RegisterOptions{})
	s.must(w.Start())
	t.Cleanup(w.Stop)
	return s
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// writePlan makes the example plan this stage's, with other teams: the channels of its own are gone below.
func (s *stage) writePlan(teams string) {
	s.Helper()
	text := plan.Example()
	for name, id := range map[string]string{"ann": ann, "bob": bob, "eve": eve} {
		signer, err := operator.NewKeyFile(filepath.Join(s.dir, name+".json"), name)
		s.must(err)
		s.keys[name] = signer
		person := regexp.MustCompile(`(?s)(name: ` + name + `\n    roles: [^\n]*\n)    public_key: [^\n]*\n(    slack_id: [^\n]*\n)?`)
		if !person.MatchString(text) {
			s.Fatalf("the example plan has no person %s", name)
		}
		text = person.ReplaceAllString(text, "${1}    public_key: "+signer.Public()+"\n    slack_id: "+id+"\n")
	}
	text = regexp.MustCompile(`(?s)\nteams:.*?\nprobes:`).ReplaceAllLiteralString(text, "\n"+teams+"\nprobes:")
	var err error
	s.bot, err = operator.NewKeyFile(filepath.Join(s.dir, "drbot.json"), "drbot")
	s.must(err)
	text = regexp.MustCompile(`(?s)\nnotify:.*?\nreports:`).ReplaceAllString(text, "\nbot: {name: drbot, public_key: "+s.bot.Public()+", channel: "+channel+"}\nreports:")
	text = strings.Replace(text, "    count: 1\n    roles: [approver]\n    deadline_seconds: 1800\n", "    count: 2\n    roles: [approver]\n    deadline_seconds: 1800\n", 1)
	s.must(os.MkdirAll(filepath.Join(s.dir, "plans"), 0o755))
	s.must(os.WriteFile(filepath.Join(s.dir, "plans", "orders.yaml"), []byte(text), 0o600))
	s.plan, err = plan.Load(filepath.Join(s.dir, "plans"), "orders")
	s.must(err)
}

func (s *stage) file(name, text string) string {
	path := filepath.Join(s.dir, name)
	s.must(os.WriteFile(path, []byte(text), 0o600))
	return path
}

// startBot runs the bot until the test, or the returned function, ends it.
func (s *stage) startBot(change func(*Config)) (b *Bot, stop func()) {
	s.Helper()
	cfg := Default()
	cfg.Listen, cfg.PlansDir, cfg.KeyFile, cfg.StateFile = "127.0.0.1:0", filepath.Join(s.dir, "plans"), filepath.Join(s.dir, "drbot.json"), filepath.Join(s.dir, "state.json")
	cfg.Slack = Slack{BotTokenFile: s.file("bot.token", fakeslack.BotToken), AppTokenFile: s.file("app.token", fakeslack.AppToken+"\n"), SigningSecretFile: s.file("secret", fakeslack.Secret), URL: s.slack.API()}
	cfg.Temporal.Address = s.server.HostPort()
	if change != nil {
		change(&cfg)
	}
	s.must(cfg.Validate())
	var out local.Output
	b, err := New(s.Context(), cfg, slog.New(slog.NewTextHandler(&out, nil)))
	s.must(err)
	b.askWithin, b.slack.openWithin = s.slack.Patience/2, s.slack.Patience/2 // a busy machine may take it
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.Errorf("the bot ended with %v", err)
		}
		b.Close()
		for _, secret := range []string{fakeslack.BotToken, fakeslack.AppToken, fakeslack.Secret} {
			if strings.Contains(out.String(), secret) {
				s.Errorf("a secret is in the bot's log:\n%s", out.String())
			}
		}
		if s.Failed() {
			s.Log(out.String())
		}
	})
	s.Cleanup(stop)
	if cfg.Mode == modeSocket {
		s.until("the bot listens", func() error {
			if !s.slack.Connected() || !b.ready.Load() {
				return errors.New("no socket")
			}
			return nil
		})
	}
	return b, stop
}

func (s *stage) until(what string, cond func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 60*time.Second)
	defer cancel()
	s.must(s.slack.Await(ctx, what, cond))
}

func (s *stage) command(user, text string) {
	s.Helper()
	s.act(user, func() { s.must(s.slack.Command(s.Context(), user, channel, text)) })
}

func (s *stage) act(user string, do func()) {
	s.Helper()
	s.acts[user] = act{do, len(s.slack.Told(user))}
	do()
}

// patient is a user who does the last thing again when told that no worker answered, as people do where a machine is slow.
func (s *stage) patient(user string) {
	s.Helper()
	a, all := s.acts[user], s.slack.Told(user)
	if len(all) > a.told && regexp.MustCompile("(?i)no worker t").MatchString(all[len(all)-1].Text) {
		s.act(user, a.do)
	}
}

// dialog waits until a user has one open whose text has all of texts.
func (s *stage) dialog(user string, texts ...string) fakeslack.View {
	s.Helper()
	var v *fakeslack.View
	s.until(fmt.Sprintf("%s has a dialog with %q", user, texts), func() error {
		s.patient(user)
		if v = s.slack.View(user); v == nil {
			return fmt.Errorf("no dialog; told %+v", s.slack.Told(user))
		}
		return has(fakeslack.Text(v.Blocks), texts)
	})
	return *v
}

// told waits until the last that only a user sees has all of texts.
func (s *stage) told(user string, texts ...string) {
	s.Helper()
	s.until(fmt.Sprintf("%s is told %q", user, texts), func() error {
		s.patient(user)
		all := s.slack.Told(user)
		if len(all) == 0 {
			return errors.New("nothing")
		}
		last := all[len(all)-1]
		return has(last.Text+"\n"+fakeslack.Text(last.Blocks), texts)
	})
}

// root is the first message of the only thread, when it has all of texts.
func (s *stage) root(texts ...string) fakeslack.Message {
	s.Helper()
	var m fakeslack.Message
	s.until(fmt.Sprintf("the thread's first message has %q", texts), func() error {
		roots := []fakeslack.Message{}
		for _, m := range s.slack.Messages(channel) {
			if m.Thread == "" {
				roots = append(roots, m)
			}
		}
		if len(roots) != 1 {
			return fmt.Errorf("%d threads", len(roots))
		}
		m = roots[0]
		return has(m.Text+"\n"+fakeslack.Text(m.Blocks), texts)
	})
	return m
}

// replies of the thread, one by one.
func (s *stage) replies() []string {
	var out []string
	for _, m := range s.slack.Messages(channel) {
		if m.Thread != "" {
			out = append(out, m.Text)
		}
	}
	return out
}

func (s *stage) submit(v fakeslack.View, filled map[string][]string) map[string]string {
	s.Helper()
	errs, err := s.slack.Submit(s.Context(), v, filled)
	s.must(err)
	return errs
}

// click waits for what comes of it: a dialog, or a word to that user.
func (s *stage) click(user string, m fakeslack.Message, decision string) {
	s.Helper()
	open := ""
	if v := s.slack.View(user); v != nil {
		open = v.ID
	}
	s.act(user, func() { s.must(s.slack.Click(s.Context(), user, m, "answer-"+decision)) })
	s.until("the click of "+user+" is answered", func() error {
		s.patient(user)
		v := s.slack.View(user)
		if len(s.slack.Told(user)) > s.acts[user].told || v != nil && v.ID != open {
			return nil
		}
		return errors.New("neither told nor asked anything")
	})
}

// begin has ann start a failover by drctl's means, so that only the thread is the bot's.
func (s *stage) begin() operator.Run {
	s.Helper()
	by := s.keys["ann"]
	hash, err := s.plan.Hash()
	s.must(err)
	run, err := s.op.Start(s.Context(), operator.Request{Operation: runbook.OpFailover, Pair: "orders", PlanHash: hash, Epoch: 3, By: &by, Reason: "east burns"})
	s.must(err)
	return run
}

func has(text string, parts []string) error {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return fmt.Errorf("%q is not in:\n%s", p, text)
		}
	}
	return nil
}
