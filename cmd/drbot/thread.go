package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

const (
	// looksEvery is how often a pair's run is asked for; a closed one only costs a look at Temporal.
	looksEvery = time.Second
	// looksAgain is the pause after a look that failed: a closed run costs its worker a replay each time.
	looksAgain = 5 * time.Second
	// editsEvery is the least time between two edits of a message: Slack takes about 50 a minute.
	editsEvery = 2 * time.Second
	// plansEvery is how often new plans are looked for.
	plansEvery = 10 * time.Second
	// speaksWithin bounds what is told after one look; the next look tells what is newest.
	speaksWithin = 90 * time.Second
)

// watcher follows the runs of one pair and keeps each one's thread. It owns those threads: nobody else writes there.
type watcher struct {
	bot  *Bot
	pair string

	mu       sync.Mutex // guards expected
	expected []operator.Run

	shown   []byte    // the message as Slack has it
	edited  time.Time // when
	problem string    // as last logged
}

// watchPairs keeps a watcher for each plan that has a bot.
func (b *Bot) watchPairs(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	running := map[string]bool{}
	problem := ""
	for {
		plans, problems := b.plans.served()
		if text := fmt.Sprint(problems); len(problems) > 0 && text != problem {
			b.log.Warn("plans that cannot be read are not served", "error", errors.Join(problems...))
			problem = text
		}
		for _, p := range plans {
			if !running[p.Pair] {
				running[p.Pair] = true
				w := b.watcher(p.Pair)
				all.Go(func() { w.run(ctx) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(plansEvery):
		}
	}
}

func (b *Bot) watcher(pair string) *watcher {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.watchers[pair]
	if w == nil {
		w = &watcher{bot: b, pair: pair}
		b.watchers[pair] = w
	}
	return w
}

// expect has a run told of even if it ends before anybody looks.
func (w *watcher) expect(run operator.Run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = append(w.expected, run)
}

func (w *watcher) run(ctx context.Context) {
	for {
		wait := looksEvery
		switch err := w.look(ctx); {
		case err == nil:
			w.problem = ""
		case ctx.Err() == nil && err.Error() != w.problem:
			w.problem = err.Error()
			w.bot.log.Warn("a pair's thread is behind; its runs go on", "pair", w.pair, "error", err)
			fallthrough
		default:
			wait = looksAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// look tells what is new: of runs that have ended since they were seen or started here, and of the last run. What cannot be
// told of one run holds up no other.
func (w *watcher) look(ctx context.Context) error {
	began := w.begun() // before Temporal is asked: whichever of them is not the last run then is over
	last, err := w.bot.op.Last(ctx, w.pair)
	if err != nil {
		return err
	}
	p, err := w.bot.plans.load(w.pair)
	if err != nil || p.Bot == nil {
		return err
	}
	var problems []error
	mine := false
	for _, run := range began {
		if last != nil && last.RunID == run.RunID {
			mine = true
			continue
		}
		problems = append(problems, w.tell(ctx, p, run, true))
	}
	if last != nil && (mine || last.State == operator.StateOpen) {
		problems = append(problems, w.tell(ctx, p, last.Run, last.State != operator.StateOpen))
	}
	w.forget()
	return errors.Join(problems...)
}

// begun are the runs of which a thread has to tell the end: those with a thread, and those that were started here.
func (w *watcher) begun() []operator.Run {
	out := w.bot.state.open(w.pair)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, run := range w.expected {
		if _, known := w.bot.state.get(run.RunID); !known {
			out = append(out, run)
		}
	}
	return out
}

// forget drops what has a thread by now.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = slices.DeleteFunc(w.expected, func(run operator.Run) bool {
		_, known := w.bot.state.get(run.RunID)
		return known
	})
}

// tell brings a run's thread up to now. The state is kept after each message, so that none is said twice.
func (w *watcher) tell(ctx context.Context, p *planned, run operator.Run, closed bool) error {
	t, known := w.bot.state.get(run.RunID)
	if t.Ended {
		return nil
	}
	st, err := w.bot.op.Ask(ctx, run)
	if err != nil && !closed {
		if errors.Is(err, operator.ErrNoRun) {
			return nil // it ends just now
		}
		return err
	}
	end := ""
	if closed {
		if end, st, err = w.ended(ctx, run, st, err); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, speaksWithin)
	defer cancel()
	m := runView(p, st, end)
	raw, err := json.Marshal(m.blocks)
	if err != nil {
		return err
	}
	if !known {
		t = thread{Pair: w.pair, Operation: st.Operation, Channel: p.Bot.Channel, Begun: w.bot.now(), Said: map[string]bool{}}
		if t.TS, err = w.bot.slack.post(ctx, t.Channel, "", m); err != nil {
			return err
		}
		w.shown, w.edited = raw, time.Now()
		if err := w.bot.state.put(run.RunID, t); err != nil {
			return err
		}
	}
	// Somebody may have deleted the message; the thread still rings at those who are asked.
	err = errors.Join(w.refresh(ctx, t, m, raw, closed), w.say(ctx, run, &t, notices(p, st, end)))
	if gone := vanished(err); closed && (err == nil || gone) {
		if gone {
			w.bot.log.Warn("the end of a run could not be told in its thread", "pair", w.pair, "run_id", run.RunID, "end", end, "error", err)
		}
		t.Ended = true
		return w.bot.state.put(run.RunID, t)
	}
	return err
}

// refresh edits the thread's first message, if it shows something else and was not edited just now.
func (w *watcher) refresh(ctx context.Context, t thread, m message, raw []byte, closed bool) error {
	if bytes.Equal(raw, w.shown) || !closed && time.Since(w.edited) < editsEvery {
		return nil
	}
	if err := w.bot.slack.edit(ctx, t.Channel, t.TS, m); err != nil {
		return err
	}
	w.shown, w.edited = raw, time.Now()
	return nil
}

// ended is what a closed run left. An error says that it is not known yet: nobody is told of an end that nobody saw.
func (w *watcher) ended(ctx context.Context, run operator.Run, st workflows.Status, asked error) (string, workflows.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	got, err := w.bot.op.Result(ctx, run)
	if asked != nil { // no worker tells; the report does
		r := got.Report
		st = workflows.Status{Pair: w.pair, Operation: orText(r.Operation, run.Operation), OpID: r.OpID, Requester: r.Requester, PlanHash: r.PlanHash, Epoch: r.EpochAfter, Steps: r.Steps, Approvals: r.Approvals, Findings: r.Findings}
	}
	st.Phase, st.Waiting = workflows.PhaseEnded, nil
	var failed *operator.EndedError
	switch {
	case errors.As(err, &failed):
		st.Outcome = "failed"
		return err.Error(), st, nil
	case errors.Is(err, operator.ErrNoRun):
		st.Pair, st.Outcome = w.pair, "not known"
		return "It has ended, and Temporal does not keep it any more: its report, if it made one, is in the worker's folder.", st, nil
	case err != nil:
		return "", st, err
	}
	st.Outcome = got.Outcome
	return endText(w.pair, got), st, nil
}

// endText is a run's last word in its thread.
func endText(pair string, got workflows.Result) string {
	outcome := got.Outcome
	switch {
	case outcome == runbook.Partly && got.Report.Error != "":
		outcome += ", before it was done"
	case outcome == runbook.Partly:
		outcome += ", with something left to do" // skipped, or owed
	}
	text := fmt.Sprintf("Ended: %s. Active: %s at epoch %d.", outcome, strings.Join(got.Active, ", "), got.Epoch)
	if r := got.Report; r.RTOMillis > 0 {
		text += fmt.Sprintf(" RTO %.1f s%s.", float64(r.RTOMillis)/1000, runbook.Against(r.RTOMillis, r.RTOSeconds))
	}
	switch r := got.Report; {
	case r.RPOExact != nil:
		text += fmt.Sprintf(" Records lost: %d.", *r.RPOExact)
	case r.RPOEstimate != nil:
		text += fmt.Sprintf(" Records at risk: about %d.", *r.RPOEstimate)
	}
	if e := got.Report.Why(); e != "" {
		text += " " + e
	}
	var owed []string
	for _, d := range got.Report.DebtsOpen {
		if line := d.Kind + " at " + d.Site; !slices.Contains(owed, line) {
			owed = append(owed, line)
		}
	}
	if len(owed) > 0 {
		text += fmt.Sprintf(" Owed: %s; `drctl debts %s` tells what pays it.", strings.Join(owed, ", "), pair)
	}
	return text
}

// notice is a reply in a thread: it rings at those whom it mentions.
type notice struct{ about, text string }

// notices are all that a run's thread has to have said by now.
func notices(p *planned, st workflows.Status, end string) []notice {
	var out []notice
	for i, a := range st.Approvals {
		out = append(out, notice{fmt.Sprintf("said %d", i), saidText(a)})
	}
	for _, e := range st.Escalations {
		out = append(out, notice{"escalated " + e.Question, fmt.Sprintf("%s %s: not enough answers, %d of %d. You are asked now.", p.mention(e.To), safe(e.Question, 100), e.Have, e.Need)})
	}
	if w := st.Waiting; w != nil {
		who := p.mention(p.able(nil, ""))
		if w.For == workflows.WaitApproval {
			who = p.mention(p.approvers(st, *w))
		}
		text := fmt.Sprintf("%s %s of %s waits for %s: %s\nThe buttons are at the top of this thread.", who, escape(st.Operation), escape(st.Pair), safe(w.For, 60), safe(w.Text, 1200))
		out = append(out, notice{"asks " + w.Question, text})
	}
	if end != "" {
		out = append(out, notice{"end", safe(end, 2000)})
	}
	return out
}

func (w *watcher) say(ctx context.Context, run operator.Run, t *thread, all []notice) error {
	for _, n := range all {
		if t.Said[n.about] {
			continue
		}
		if _, err := w.bot.slack.post(ctx, t.Channel, t.TS, message{text: n.text}); err != nil {
			return err
		}
		if t.Said = maps.Clone(t.Said); t.Said == nil {
			t.Said = map[string]bool{}
		}
		t.Said[n.about] = true
		if err := w.bot.state.put(run.RunID, *t); err != nil {
			return err
		}
	}
	return nil
}
