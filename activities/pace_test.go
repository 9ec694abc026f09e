package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/test/fakeslack"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Sixty teams of a channel are told at the same time as four others of another, in a Slack that takes one message a second for
// each: nobody is left out, and what belongs together is one thread.
func TestAChannelGetsAMessageASecond(t *testing.T) {
	fake := fakeslack.ForTest(t)
	fake.EachSecond()
	a := newActivities(t, Options{SlackAPI: fake.API()})
	a.notifies = 5 * time.Minute // whatever else the machine does
	slack := func(channel string) runbook.Notify {
		return runbook.Notify{Slack: &runbook.Slack{Token: secretFileFor(t, fakeslack.BotToken), Channel: channel}}
	}
	tell := func(in workflows.NotifyInput) {
		in.Call, in.Kind, in.Page = call("notify"), workflows.NotifyMove, true
		if got, err := a.Notify(t.Context(), in); err != nil || got.Slack != sent {
			t.Errorf("%s: %q, %v", in.Title, got.Slack, err)
		}
	}
	var lines []runbook.CrowdLine
	for i := range 60 {
		team := runbook.Team{Name: fmt.Sprintf("team-%02d", i), Groups: []string{fmt.Sprintf("group-of-team-%02d", i)}, Slack: &runbook.TeamSlack{Mention: []string{fmt.Sprintf("S%08d", i)}}}
		lines = append(lines, runbook.CrowdLineOf(i, team, runbook.Ways{team.Groups[0]: runbook.MovePage}))
	}
	crowds, left := runbook.Crowds("orders", lines)
	if len(crowds) < 2 || len(left) > 0 {
		t.Fatalf("%d messages, %v are left", len(crowds), left)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // as a run does: one behind the other
		for i, c := range crowds {
			tell(workflows.NotifyInput{Notify: slack("C0CROWD"), Title: fmt.Sprintf("crowd %d", i), Text: c.Text, Mention: c.Mention, Thread: "teams in C0CROWD"})
		}
	})
	for i := range 4 {
		wg.Go(func() {
			tell(workflows.NotifyInput{Notify: slack("C0FEW"), Title: fmt.Sprintf("few %d", i), Team: fmt.Sprintf("few-%d", i)})
		})
	}
	wg.Wait()
	t.Logf("Slack turned %d messages away, which came again", fake.Refused("chat.postMessage"))
	said := fake.Messages("C0CROWD")
	text := ""
	for i, m := range said {
		if text += m.Text; (i == 0) != (m.Thread == "") || i > 0 && m.Thread != said[0].TS {
			t.Errorf("message %d is in thread %q", i, m.Thread)
		}
	}
	for i := range 60 {
		if strings.Count(text, fmt.Sprintf("team-%02d: by hand group-of-team-%02d", i, i)) != 1 || strings.Count(text, fmt.Sprintf("<!subteam^S%08d>", i)) != 1 {
			t.Errorf("team %d is not told once", i)
		}
	}
	if few := fake.Messages("C0FEW"); len(few) != 4 || slices.ContainsFunc(few, func(m fakeslack.Message) bool { return m.Thread != "" }) {
		t.Errorf("%+v", few)
	}
}

func TestMessagesOfAChannelAreApart(t *testing.T) {
	p := pace{every: 100 * time.Millisecond}
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := p.turn(t.Context(), "C0"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took < 3*p.every {
		t.Errorf("four messages in %s, one each %s", took, p.every)
	}
}

// Somebody else writes there too, and the time of a message is over: it is said, and nothing waits longer.
func TestAMessageThatHasNoTurnInItsTimeSaysSo(t *testing.T) {
	p := pace{every: time.Hour}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.turn(ctx, "C0"); err != nil {
		t.Fatal(err)
	}
	if err := p.turn(ctx, "C0"); err == nil || !strings.Contains(err.Error(), "a message every 1h0m0s in channel C0") {
		t.Errorf("%v", err)
	}
	if err := p.turn(ctx, "C1"); err != nil {
		t.Errorf("another channel: %v", err)
	}
	p.rest("C1", 2*time.Hour)
	if err := p.turn(ctx, "C1"); err == nil {
		t.Error("a pause that Slack has asked for is not kept")
	}
}
