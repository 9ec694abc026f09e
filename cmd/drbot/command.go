package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const help = "`/dr status|readiness|reports [pair]` look; `/dr failover|switchover|failback|recover|drill [pair]` show a dialog with what would happen, and start; " +
	"`/dr approve|deny|acknowledge|abort [pair]` answer the open run, as its buttons do."

// starts are the verbs with a dialog of their own; dry tells which have a dry run.
var starts = map[string]struct{ dry bool }{
	runbook.OpFailover: {true}, runbook.OpSwitchover: {true}, runbook.OpFailback: {true}, runbook.OpRecover: {}, runbook.OpDrill: {},
}

// answers by command; the rest have buttons.
var answers = []string{runbook.Approve, runbook.Deny, runbook.Acknowledge, runbook.Abort}

// command is /dr.
func (b *Bot) command(ctx context.Context, c slack.SlashCommand) {
	err := b.obey(ctx, c)
	if err != nil {
		b.excuse(ctx, c.ResponseURL, "/dr "+c.Text, c.UserID, err)
	}
}

func (b *Bot) obey(ctx context.Context, c slack.SlashCommand) error {
	if err := b.ours(ctx, c.TeamID); err != nil {
		return err
	}
	words := strings.Fields(c.Text)
	verb, pair := "help", ""
	if len(words) > 0 {
		verb = strings.ToLower(words[0])
	}
	if len(words) > 1 {
		pair = words[1]
	}
	_, starting := starts[verb]
	switch {
	case verb == "help":
		return b.slack.reply(ctx, c.ResponseURL, message{text: help})
	case len(words) > 2:
		return no("I read %q as one word too many. %s", clip(strings.Join(words[2:], " "), 40), help)
	case !starting && !slices.Contains(answers, verb) && !slices.Contains([]string{"status", "readiness", "reports"}, verb):
		return no("I have no command %q. %s", clip(verb, 40), help)
	}
	p, by, err := b.as(c.UserID, pair)
	if err != nil {
		return err
	}
	switch verb {
	case "status":
		return b.tellStatus(ctx, c.ResponseURL, p)
	case "readiness":
		r, err := b.op.Readiness(ctx, p.Pair, p.hash, by.Name)
		if err != nil {
			return err
		}
		return b.slack.reply(ctx, c.ResponseURL, readinessView(r))
	case "reports":
		lines, err := b.op.Reports(ctx, p.Pair, 10)
		if err != nil {
			return err
		}
		return b.slack.reply(ctx, c.ResponseURL, reportsView(p.Pair, lines))
	}
	if starting {
		return b.propose(ctx, c.TriggerID, p, by, verb)
	}
	return b.ask(ctx, c.TriggerID, by, press{Pair: p.Pair, Decision: verb})
}

// ours refuses people of other workspaces, as a shared channel has them.
func (b *Bot) ours(ctx context.Context, team string) error {
	home, err := b.slack.home(ctx)
	if err != nil {
		return err
	}
	if team != home {
		return no("Sorry, you are of another workspace than I am: people of the plans are in mine.")
	}
	return nil
}

// excuse tells the person why not; what is no refusal is logged too.
func (b *Bot) excuse(ctx context.Context, url, what, user string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
	defer cancel()
	text := err.Error()
	var r refusal
	var refused *operator.RefusedError
	if !errors.As(err, &r) && !errors.As(err, &refused) {
		b.log.Warn("what somebody asked for in Slack was not done", "asked", clip(what, 100), "slack_user", user, "error", err)
	}
	if err := b.slack.reply(ctx, url, message{text: safe(text, maxFallback)}); err != nil {
		b.log.Warn("a reply did not reach Slack", "slack_user", user, "error", err)
	}
}

func (b *Bot) tellStatus(ctx context.Context, url string, p *planned) error {
	st, err := b.op.Status(ctx, p.Pair)
	if err != nil {
		return err
	}
	switch {
	case st.Run == nil:
		return b.slack.reply(ctx, url, message{text: "Nothing ever ran on pair " + p.Pair + ", as far as Temporal remembers. `/dr readiness` looks at it."})
	case st.Detail == nil:
		return b.slack.reply(ctx, url, message{text: safe(fmt.Sprintf("%s of pair %s by %s is %s since %s; no worker told more: %s", st.Run.Operation, p.Pair, st.Run.Requester, st.Run.State, clock(st.Run.Started), st.Problem), maxFallback)})
	}
	m := runView(p, *st.Detail, "")
	for n := len(m.blocks); n > 0 && m.blocks[n-1].BlockType() == slack.MBTAction; n-- {
		m.blocks = m.blocks[:n-1] // the thread has the buttons
	}
	return b.slack.reply(ctx, url, m)
}

// meta is what a dialog remembers, given back with what was filled in.
type meta struct {
	Pair      string   `json:"p"`
	Operation string   `json:"op,omitempty"`
	PlanHash  string   `json:"h,omitempty"`
	Epoch     int64    `json:"e,omitempty"`
	Press     *press   `json:"a,omitempty"`
	Overrides []string `json:"ov,omitempty"`
	Topics    []string `json:"t,omitempty"`
	Step      string   `json:"s,omitempty"`
}

// put is m as a view carries it.
func (m meta) put(v *slack.ModalViewRequest) error {
	raw, err := json.Marshal(m)
	if err == nil && len(raw) > maxMeta {
		err = errors.New("the dialog would have to remember more than Slack allows: use drctl for this")
	}
	v.PrivateMetadata = string(raw)
	return err
}

// propose shows at once that it looks, and then what a run would do.
func (b *Bot) propose(ctx context.Context, trigger string, p *planned, by operator.Signer, operation string) error {
	m := meta{Pair: p.Pair, Operation: operation, PlanHash: p.hash}
	if !starts[operation].dry {
		v, err := startView(m)
		if err != nil {
			return err
		}
		_, err = b.slack.open(ctx, trigger, v)
		return err
	}
	view, err := b.slack.open(ctx, trigger, dialog(operation, section(safe(fmt.Sprintf("Looking at pair %s: a dry run changes nothing.", p.Pair), 300))))
	if err != nil {
		return err
	}
	look, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	v, err := b.look(look, p, by, m)
	if err != nil {
		v = dialog(operation, section(safe(err.Error(), maxSection)))
	}
	if err := b.slack.reopen(ctx, view, v); viewGone(err) {
		return no("You have closed the dialog before the dry run was over. `/dr %s %s` looks again.", operation, p.Pair)
	} else if err != nil {
		return err
	}
	return nil
}

// look makes the dry run and the dialog that comes of it. A dry run that came to no end stops nobody: the run itself looks again,
// and asks for approvals with what it finds.
func (b *Bot) look(ctx context.Context, p *planned, by operator.Signer, m meta) (slack.ModalViewRequest, error) {
	run, err := b.op.Start(ctx, operator.Request{Operation: m.Operation, Pair: p.Pair, PlanHash: p.hash, By: &by, DryRun: true})
	if err != nil {
		return slack.ModalViewRequest{}, err
	}
	got, err := b.op.Result(ctx, run)
	if err != nil {
		return startView(m, section("*The dry run came to no end*: "+safe(err.Error(), 2000)))
	}
	m.Epoch = got.Report.EpochBefore
	return startView(m, facts(p, got.Report)...)
}

// startView is the dialog that starts an operation.
func startView(m meta, above ...slack.Block) (slack.ModalViewRequest, error) {
	what := map[string]string{
		runbook.OpFailover:   "Starts the *unplanned failover* of pair %s. Records that the standby has not got are left at the old site. Others approve it.",
		runbook.OpSwitchover: "Moves pair %s to its standby site, *planned and without loss*; clients stand still for a bounded time.",
		runbook.OpFailback:   "Brings pair %s home: the returned site is rebuilt and the clients move back.",
		runbook.OpRecover:    "Pays what is owed to the returned site of pair %s and recovers what was not mirrored.",
		runbook.OpDrill:      "Drills pair %s.",
	}[m.Operation]
	v := dialog(m.Operation, append(above, section(fmt.Sprintf(what, escape(m.Pair))))...)
	switch m.Operation {
	case runbook.OpDrill:
		v.Blocks.BlockSet = append(v.Blocks.BlockSet, choice("kind", "Kind of drill", "tabletop=tabletop: looks, changes nothing", "canary=canary: a topic of its own fails over", "full=full: a switchover there and back"))
	case runbook.OpRecover:
		v.Blocks.BlockSet = append(v.Blocks.BlockSet, choice("lagged", "Records that were not mirrored", "ask=decide when they are counted", "append=append all to their topics", "export=keep all in an archive topic", "debts=only pay what is owed, decide nothing"))
	}
	v.Blocks.BlockSet = append(v.Blocks.BlockSet, reasonInput(false))
	v.CallbackID, v.Submit = "start", plain("Start")
	return v, m.put(&v)
}

// begun starts what a dialog asked for, and says what came of it. token makes a dialog that is sent twice one start.
func (b *Bot) begun(ctx context.Context, user, token string, m meta, in filled) (string, error) {
	p, by, err := b.as(user, m.Pair)
	if err != nil {
		return "", err
	}
	r := operator.Request{Operation: m.Operation, Pair: m.Pair, PlanHash: m.PlanHash, Epoch: m.Epoch, Reason: in.text("reason"), By: &by, Token: "slack " + token}
	switch in.one("lagged") {
	case "append", "export":
		r.Decisions = map[string]string{"*": in.one("lagged")}
	case "debts":
		r.DebtsOnly = true
	}
	var run operator.Run
	if m.Operation == runbook.OpDrill {
		run, err = b.op.Drill(ctx, r, in.one("kind"))
	} else {
		run, err = b.op.Start(ctx, r)
	}
	if err != nil {
		return "", err
	}
	b.log.Info("started from Slack", "pair", m.Pair, "runbook", m.Operation, "run_id", run.RunID, "by", by.Name)
	if run.ID == workflows.ID(p.Pair) {
		b.watcher(p.Pair).expect(run)
	}
	if m.Operation == runbook.OpDrill {
		return fmt.Sprintf("Started the drill of pair %s (run %s). What it does to the pair has a thread in the pair's channel; `/dr reports` tells how it went.", m.Pair, run.RunID), nil
	}
	return fmt.Sprintf("Started %s of pair %s (run %s). Its thread is in the pair's channel.", m.Operation, m.Pair, run.RunID), nil
}
