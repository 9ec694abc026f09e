package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// clicked is a button of a run's message.
func (b *Bot) clicked(ctx context.Context, d slack.InteractionCallback) {
	for _, a := range d.ActionCallback.BlockActions {
		var p press
		err := json.Unmarshal([]byte(a.Value), &p)
		if err != nil {
			err = no("I do not know this button; it is of another version of mine. `/dr status` shows what I can do.")
		}
		if err == nil {
			err = b.ours(ctx, teamOf(d))
		}
		if err == nil {
			var by operator.Signer
			if _, by, err = b.as(d.User.ID, p.Pair); err == nil {
				err = b.ask(ctx, d.TriggerID, by, p)
			}
		}
		if err != nil {
			b.excuse(ctx, d.ResponseURL, "button "+p.Decision, d.User.ID, err)
		}
	}
}

// teamOf is the user's own workspace.
func teamOf(d slack.InteractionCallback) string {
	if d.User.TeamID != "" {
		return d.User.TeamID
	}
	return d.Team.ID
}

// ask shows the dialog in which an answer gets its reason. An answer that came too late, or is not this person's to give, is told
// here already, where it is known; the run judges it in any case.
func (b *Bot) ask(ctx context.Context, trigger string, by operator.Signer, a press) error {
	p, err := b.plans.load(a.Pair)
	if err != nil {
		return err
	}
	look, cancel := context.WithTimeout(ctx, b.askWithin)
	defer cancel()
	st, err := b.op.Status(look, a.Pair)
	switch {
	case err != nil:
		return err
	case !st.Open():
		return no("Too late: no operation is open on pair %s.", a.Pair)
	case st.Detail == nil:
		return no("No worker tells what the run waits for: %s. Try again, or use drctl.", clip(st.Problem, 300))
	case a.OpID != "" && a.OpID != st.Detail.OpID:
		return no("Too late: that was %s, and %s is open now.", a.OpID, st.Detail.OpID)
	}
	if err := fits(*st.Detail, &a, by.Name); err != nil {
		return err
	}
	v, err := answerView(p, *st.Detail, a)
	if err != nil {
		return err
	}
	_, err = b.slack.open(ctx, trigger, v)
	return err
}

// fits ties an answer to the run and the question that are open.
func fits(st workflows.Status, a *press, by string) error {
	question := ""
	if st.Waiting != nil {
		question = st.Waiting.Question
	}
	said := runbook.Signed{}
	for _, s := range st.Approvals {
		if s.By == by && s.Decision == a.Decision && s.Team == a.Team {
			said = s
		}
	}
	bound := slices.Contains([]string{runbook.Approve, runbook.Deny, runbook.Decide, runbook.Retry, runbook.Skip}, a.Decision)
	switch {
	case said.By != "" && (a.Decision == runbook.Acknowledge || bound && said.Question != "" && said.Question == orText(a.Question, question)):
		return no("You have %s this already, at %s. It counts once.", past(a.Decision), clock(said.At))
	case bound && a.Question != "" && a.Question != question:
		return no("Too late: the run does not ask %q any more.", a.Question)
	case !may(st, a.Decision):
		return no("The run takes no %s now (phase %s).", a.Decision, st.Phase)
	}
	a.OpID = st.OpID
	if bound || a.Decision == runbook.Resume {
		a.Question = question
	} else {
		a.Question = ""
	}
	return nil
}

func orText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// needsReason are the answers that the run refuses without one.
var needsReason = []string{runbook.Deny, runbook.Skip, runbook.Abort, runbook.IntoFailover, runbook.Pause}

const mostTopics = 10 // that are decided one by one here

// answerView is the dialog of an answer.
func answerView(p *planned, st workflows.Status, a press) (slack.ModalViewRequest, error) {
	m := meta{Pair: st.Pair, PlanHash: st.PlanHash, Press: &a}
	blocks := []slack.Block{section(fmt.Sprintf("*%s* %s of pair %s, epoch %d", escape(runbook.Signed{Decision: a.Decision, Team: a.Team}.Decided()), escape(st.Operation), escape(st.Pair), st.Epoch))}
	if w := st.Waiting; w != nil && a.Question != "" {
		blocks = append(blocks, section(asked(p, st, *w)))
		m.Step = w.Step
		switch a.Decision {
		case runbook.Approve:
			blocks = append(blocks, facts(p, asFacts(st))...)
			m.Overrides = w.Overrides
			if len(w.Overrides) > 0 {
				blocks = append(blocks, overridesInput(w.Overrides))
			}
		case runbook.Decide:
			m.Topics = w.Topics
			blocks = append(blocks, decideInputs(st.Operation, w.Topics)...)
			if len(w.Topics) > mostTopics {
				m.Topics = nil
			}
		}
	}
	reason := slices.Contains(needsReason, a.Decision) || len(m.Overrides) > 0
	v := dialog(a.Decision, append(blocks, reasonInput(!reason))...)
	v.CallbackID, v.Submit = "answer", plain(clip(strings.ToUpper(a.Decision[:1])+a.Decision[1:], 24))
	return v, m.put(&v)
}

// overridesInput has each override ticked by itself: it says what is taken upon oneself.
func overridesInput(overrides []string) slack.Block {
	var all []*slack.OptionBlockObject
	for _, o := range overrides {
		all = append(all, slack.NewOptionBlockObject(clip(o, 150), plain(clip(o, 75)), plain(clip(orText(runbook.OverrideMeaning(o), "as the question says"), 75))))
	}
	return slack.NewInputBlock("overrides", plain("You take upon yourself, each"), nil, slack.NewCheckboxGroupsBlockElement("overrides", all...))
}

func decideInputs(operation string, topics []string) []slack.Block {
	options := []string{"append=append to the topic", "export=keep in an archive topic", "discard=give up for good"}
	if operation != runbook.OpRecover {
		options = []string{"mirror=mirror again, as the active site has it", "leave=leave as it is on both sites", "delete=delete"}
	}
	if len(topics) > mostTopics {
		return []slack.Block{choice("all", fmt.Sprintf("All %d topics (drctl decides on single ones)", len(topics)), options...)}
	}
	var out []slack.Block
	for i, t := range topics {
		out = append(out, choice("topic-"+strconv.Itoa(i), t, options...))
	}
	return out
}

// filled is what a dialog was given, by block id.
type filled map[string]slack.BlockAction

func filledIn(v slack.View) filled {
	out := filled{}
	if v.State != nil {
		for block, actions := range v.State.Values {
			for _, a := range actions {
				out[block] = a
			}
		}
	}
	return out
}

func (f filled) text(id string) string { return strings.TrimSpace(f[id].Value) }
func (f filled) one(id string) string  { return f[id].SelectedOption.Value }
func (f filled) many(id string) (out []string) {
	for _, o := range f[id].SelectedOptions {
		out = append(out, o.Value)
	}
	return out
}

// submitted takes a dialog: what is missing is said at once, beside its input; the rest is done, and then told in the dialog.
func (b *Bot) submitted(d slack.InteractionCallback) any {
	var m meta
	in := filledIn(d.View)
	if err := json.Unmarshal([]byte(d.View.PrivateMetadata), &m); err != nil || d.View.CallbackID != "start" && m.Press == nil {
		return slack.NewUpdateViewSubmissionResponse(ptr(dialog("drbot", section("I do not know this dialog; it is of another version of mine."))))
	}
	if missing := incomplete(m, in); len(missing) > 0 {
		return slack.NewErrorsViewSubmissionResponse(missing)
	}
	title := m.Operation
	if m.Press != nil {
		title = m.Press.Decision
	}
	// One dialog is one act, however often it is sent: the second answer is the first's.
	said := "Sent, waiting for what the run says."
	o, first := b.sent.take(d.View.ID, b.now())
	if first {
		b.async(2*replyWithin, func(ctx context.Context) { b.carryOut(ctx, d, m, in, title, o) })
	} else {
		select {
		case <-o.over:
			said = o.text
		default: // this answer may come behind the first one's end
			b.async(2*replyWithin, func(ctx context.Context) { b.tellAgain(ctx, d.View.ID, title, o) })
		}
	}
	return slack.NewUpdateViewSubmissionResponse(ptr(outcomeView(title, said)))
}

func outcomeView(title, text string) slack.ModalViewRequest {
	return dialog(title, section(safe(text, maxSection)))
}

// tellAgain shows what became of a dialog that was sent twice.
func (b *Bot) tellAgain(ctx context.Context, view, title string, o *outcome) {
	select {
	case <-ctx.Done():
	case <-o.over:
		if err := b.slack.reopen(ctx, view, outcomeView(title, o.text)); err != nil {
			b.log.Debug("a dialog that was sent twice could not be told its end, as the first time", "error", err)
		}
	}
}

func (b *Bot) carryOut(ctx context.Context, d slack.InteractionCallback, m meta, in filled, title string, o *outcome) {
	err := b.ours(ctx, teamOf(d))
	var text string
	if err == nil && m.Press == nil {
		text, err = b.begun(ctx, d.User.ID, d.View.ID, m, in)
	} else if err == nil {
		text, err = b.answered(ctx, d.User.ID, d.View.ID, m, in)
	}
	if err != nil {
		text = err.Error()
		b.log.Warn("what somebody asked for in Slack was refused or failed", "pair", m.Pair, "asked", title, "slack_user", d.User.ID, "error", err)
	}
	o.text = text
	close(o.over)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
	defer cancel()
	err = b.slack.reopen(ctx, d.View.ID, outcomeView(title, text))
	if err != nil { // closed meanwhile, as a rule
		err = b.whisper(ctx, m.Pair, d.User.ID, "*"+escape(title)+"* of pair "+escape(m.Pair)+": "+safe(text, 2000))
	}
	if err != nil {
		b.log.Warn("what became of an answer could not be told in Slack", "pair", m.Pair, "asked", title, "slack_user", d.User.ID, "end", text, "error", err)
	}
}

// whisper tells one person in the pair's channel.
func (b *Bot) whisper(ctx context.Context, pair, user, text string) error {
	p, err := b.plans.load(pair)
	if err != nil {
		return err
	}
	if p.Bot == nil {
		return fmt.Errorf("the plan of pair %s names no channel any more", pair)
	}
	return b.slack.whisper(ctx, p.Bot.Channel, user, message{text: text})
}

func incomplete(m meta, in filled) map[string]string {
	missing := map[string]string{}
	if in.text("reason") == "" && (m.Press == nil || len(m.Overrides) > 0 || slices.Contains(needsReason, m.Press.Decision)) {
		missing["reason"] = "Say why: it is kept in the report."
	}
	if lacking := runbook.Missing(m.Overrides, in.many("overrides")); len(lacking) > 0 {
		missing["overrides"] = "Tick each, or do not approve: " + clip(strings.Join(lacking, ", "), 100)
	}
	return missing
}

// answered sends an answer to the run, signed on behalf of the user.
func (b *Bot) answered(ctx context.Context, user, token string, m meta, in filled) (string, error) {
	_, by, err := b.as(user, m.Pair)
	if err != nil {
		return "", err
	}
	a := operator.Answer{
		Decision: m.Press.Decision, Reason: in.text("reason"), OpID: m.Press.OpID, Question: m.Press.Question, PlanHash: m.PlanHash,
		Step: m.Step, Overrides: in.many("overrides"), Team: m.Press.Team, Token: "slack-" + token,
	}
	if a.Decision == runbook.Decide {
		a.Choices = map[string]string{}
		if all := in.one("all"); all != "" {
			a.Choices["*"] = all
		}
		for i, t := range m.Topics {
			a.Choices[t] = in.one("topic-" + strconv.Itoa(i))
		}
	}
	ack, err := b.op.Answer(ctx, m.Pair, a, by)
	if errors.Is(err, operator.ErrNoRun) {
		return "", no("Too late: the run has ended.")
	}
	if err != nil {
		return "", err
	}
	b.log.Info("answered from Slack", "pair", m.Pair, "decision", a.Decision, "by", by.Name, "operation_id", ack.OpID)
	return "Taken: " + ack.Text, nil
}

func ptr[T any](v T) *T { return &v }
