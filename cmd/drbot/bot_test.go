package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/test/fakeslack"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestAFailoverIsAskedForApprovedAndDeniedInSlack(t *testing.T) {
	s := newStage(t)
	s.startBot(nil)

	// Who is in no plan is told so, and nothing else.
	s.command(mallory, "failover orders")
	s.told(mallory, "I do not know you", mallory)
	s.command(ann, "promote orders")
	s.told(ann, "no command \"promote\"", "/dr status")
	s.command(ann, "status")
	s.told(ann, "Nothing ever ran on pair orders")
	s.command(ann, "failover ../../etc/passwd")
	s.told(ann, "cannot read a plan")
	s.command(ann, "approve orders")
	s.told(ann, "no operation is open")

	// The dialog has a dry run's facts. It cannot be sent without a reason.
	s.slack.Twice(true)
	s.command(ann, "failover orders")
	v := s.dialog(ann, "3 records at risk", "orders", "ann", "unplanned failover", "Last exercised")
	if _, err := s.slack.Submit(t.Context(), v, nil); err == nil {
		t.Error("a dialog was sent without a reason")
	}
	if errs := s.submit(v, map[string][]string{"reason": {"  "}}); errs["reason"] == "" {
		t.Errorf("a blank reason was taken: %v", errs)
	}
	s.submit(v, map[string][]string{"reason": {"east <burns> & nobody answers"}})
	s.submit(v, map[string][]string{"reason": {"east <burns> & nobody answers"}})
	s.dialog(ann, "Started failover of pair orders")
	s.submit(v, map[string][]string{"reason": {"east <burns> & nobody answers"}}) // Slack sends it again, late
	s.dialog(ann, "Started failover of pair orders")
	asks := s.root("failover of orders: approval", "Waits for approval, 0 of 2 given", "<@"+bob+">", "<@"+eve+">", runbook.OverrideFence, "attest outage")
	if strings.Contains(fakeslack.Text(asks.Blocks), "May approve: <@"+ann) {
		t.Error("the requester is named as an approver")
	}
	last, err := s.op.Last(t.Context(), "orders")
	s.must(err)
	if last.Requester != "ann" {
		t.Errorf("asked for by %q", last.Requester)
	}

	// Buttons: of a guest, of the requester, with an override not ticked, twice, too late.
	s.click(mallory, asks, runbook.Approve)
	s.told(mallory, "I do not know you")
	s.click(ann, asks, runbook.Approve)
	s.submit(s.dialog(ann, "approve", runbook.OverrideFence), map[string][]string{"reason": {"mine"}, "overrides": {runbook.OverrideFence}})
	s.dialog(ann, "ann asked for this run and may not approve it")
	s.click(bob, asks, runbook.Approve)
	v = s.dialog(bob, "approve", "3 records at risk")
	if _, err := s.slack.Submit(t.Context(), v, map[string][]string{"reason": {"seen"}}); err == nil {
		t.Error("a dialog was sent with an override not ticked")
	}
	s.submit(v, map[string][]string{"reason": {"seen"}, "overrides": {runbook.OverrideFence}})
	s.submit(v, map[string][]string{"reason": {"seen"}, "overrides": {runbook.OverrideFence}})
	s.dialog(bob, "Taken: approved, 1 of 2")
	s.root("1 of 2 given", "approved by *bob* here")
	s.click(bob, asks, runbook.Approve)
	s.told(bob, "You have approved this already")
	s.click(eve, asks, runbook.Acknowledge)
	s.submit(s.dialog(eve, "acknowledge"), nil)
	s.dialog(eve, "eve looks after it")
	s.click(eve, asks, runbook.Acknowledge)
	s.told(eve, "acknowledged this already")
	s.command(eve, "deny")
	v = s.dialog(eve, "deny")
	s.submit(v, map[string][]string{"reason": {"the brokers answer me"}})
	end := s.root("failover of orders: no change", "denied by eve: the brokers answer me")
	if err := s.slack.Click(t.Context(), bob, end, "answer-approve"); err == nil {
		t.Error("an ended run has buttons")
	}
	s.until("the run is over", func() error { // it shows its outcome a moment before
		if n := count(s.replies(), "Ended: no change"); n != 1 {
			return fmt.Errorf("its end is there %d times", n)
		}
		return nil
	})
	s.click(bob, asks, runbook.Approve)
	s.told(bob, "Too late: no operation is open")

	s.until("the thread says all once", func() error {
		replies := s.replies()
		for _, part := range []string{"waits for approval", "approved by *bob*", "acknowledged by *eve*", "denied by *eve*", "Ended: no change"} {
			if n := count(replies, part); n != 1 {
				return fmt.Errorf("%q is there %d times in %q", part, n, replies)
			}
		}
		return nil
	})
	run, err := s.op.Result(t.Context(), last.Run)
	s.must(err)
	if got := runbook.Who(run.Report.Approvals, runbook.Approve); !slices.Equal(got, []string{"bob"}) || run.Report.Approvals[0].Via != "drbot" || run.Report.Reason != "east <burns> & nobody answers" {
		t.Errorf("the report has %+v, reason %q", run.Report.Approvals, run.Report.Reason)
	}
	s.command(ann, "reports orders")
	s.told(ann, "failover", "no change", "ann")
	s.command(ann, "status orders")
	s.told(ann, "failover of orders: no change")
}

func count(all []string, part string) int {
	n := 0
	for _, text := range all {
		if strings.Contains(text, part) {
			n++
		}
	}
	return n
}

func TestSlackDownOrBusyHoldsNothingUpAndTheThreadCatchesUp(t *testing.T) {
	s := newStage(t)
	_, stop := s.startBot(nil)
	s.slack.Limit("chat.postMessage", 1)
	s.slack.Limit("chat.update", 1)
	run := s.begin()
	s.root("0 of 2 given")
	s.slack.Down(true)
	hash, err := s.plan.Hash()
	s.must(err)
	// People go on by other means.
	if _, err := s.op.Answer(t.Context(), "orders", operator.Answer{Decision: runbook.Deny, Reason: "not now", PlanHash: hash}, s.keys["bob"]); err != nil {
		t.Fatal(err)
	}
	got, err := s.op.Result(t.Context(), run)
	if err != nil || got.Outcome != runbook.NoChange {
		t.Fatalf("%+v, %v", got, err)
	}
	if edits := s.root().Edits; edits != s.root("0 of 2 given").Edits {
		t.Error("a Slack that is down was edited")
	}
	// The bot is started anew meanwhile: the thread is the same.
	stop()
	s.slack.Down(false)
	s.startBot(nil)
	s.root("failover of orders: no change", "denied by bob: not now")
	s.until("the end is told once", func() error {
		if n := count(s.replies(), "Ended: no change"); n != 1 {
			return fmt.Errorf("%d times in %q", n, s.replies())
		}
		return nil
	})
}

// A run may end, and another begin, while nobody looks; a message may be deleted by hand. Each run's end is told all the same,
// and none that nobody saw.
func TestEachRunsEndIsToldThoughNobodyLookedWhenItCame(t *testing.T) {
	s := newStage(t)
	hash, err := s.plan.Hash()
	s.must(err)
	deny := func() {
		t.Helper()
		if _, err := s.op.Answer(t.Context(), "orders", operator.Answer{Decision: runbook.Deny, Reason: "not now", PlanHash: hash}, s.keys["bob"]); err != nil {
			t.Fatal(err)
		}
	}
	b, stop := s.startBot(nil)
	first := s.begin()
	root := s.root("0 of 2 given")
	stop()
	deny()
	if _, err := s.op.Result(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	if end, _, err := (&watcher{bot: b, pair: "orders"}).ended(hurried, first, workflows.Status{}, errors.New("no worker")); err == nil {
		t.Errorf("of an end that could not be asked for it is said: %s", end)
	}
	second := s.begin()
	s.startBot(nil)
	s.until("both runs are told of", func() error {
		all := fmt.Sprintf("%+v", s.slack.Messages(channel))
		return has(all, []string{"failover of orders: no change", "Ended: no change", second.RunID, "0 of 2 given"})
	})

	// Who closes a dialog is told what came of it.
	var asks fakeslack.Message
	for _, m := range s.slack.Messages(channel) {
		if m.Thread == "" && m.TS != root.TS {
			asks = m
		}
	}
	s.click(ann, asks, runbook.Approve)
	v := s.dialog(ann, "approve", runbook.OverrideFence)
	s.slack.Limit("views.update", 1) // time enough to close it
	s.submit(v, map[string][]string{"reason": {"mine"}, "overrides": {runbook.OverrideFence}})
	s.slack.Close(v)
	s.told(ann, "*approve* of pair orders", "ann asked for this run and may not approve it")

	s.slack.Delete(asks)
	deny()
	s.until("the end is told in a thread whose first message is gone", func() error {
		if n := count(s.replies(), "Ended: no change"); n != 2 {
			return fmt.Errorf("%d times in %q", n, s.replies())
		}
		return nil
	})
}

func TestAResponseURLIsNotInAnError(t *testing.T) {
	s := &speaker{pauses: map[string]time.Time{}}
	err := s.reply(t.Context(), "http://127.0.0.1:9/commands/T0/secret", message{text: "hello"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestSignedRequestsAreTakenOnceAndInTime(t *testing.T) {
	s := newStage(t)
	b, _ := s.startBot(func(c *Config) { c.Mode, c.Slack.AppTokenFile = modeHTTP, "" })
	url := "http://" + b.Addr().String()
	s.slack.SendTo(url)
	s.command(ann, "status orders")
	s.told(ann, "Nothing ever ran")
	s.command(ann, "recover orders")
	if errs := s.submit(s.dialog(ann, "Records that were not mirrored"), map[string][]string{"reason": {" "}, "lagged": {"ask"}}); errs["reason"] == "" {
		t.Errorf("a blank reason was taken: %v", errs)
	}

	payload := map[string]any{"team_id": fakeslack.Team, "user_id": ann, "text": "status", "command": "/dr", "response_url": s.slack.API(), "trigger_id": "1"}
	send := func(at time.Time, change func(*http.Request)) int {
		t.Helper()
		r, err := s.slack.Request(t.Context(), url, "slash_commands", payload, at)
		s.must(err)
		if change != nil {
			change(r)
		}
		res, err := http.DefaultClient.Do(r)
		s.must(err)
		s.must(res.Body.Close())
		return res.StatusCode
	}
	stale := time.Now().Add(-6 * time.Minute)
	for what, got := range map[string]int{
		"stale":         send(stale, nil),
		"of the future": send(time.Now().Add(6*time.Minute), nil),
		"unsigned":      send(time.Now(), func(r *http.Request) { r.Header.Del("X-Slack-Signature") }),
		"forged":        send(time.Now(), func(r *http.Request) { r.Header.Set("X-Slack-Signature", "v0="+strings.Repeat("0", 64)) }),
		"stale, with the time of now": send(stale, func(r *http.Request) {
			r.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(time.Now().Unix()))
		}),
	} {
		if got != http.StatusUnauthorized {
			t.Errorf("%s: %d", what, got)
		}
	}
	payload["response_url"], payload["text"] = "http://127.0.0.1:9/", "help"
	at := time.Now().Add(-time.Minute)
	if first, second := send(at, nil), send(at, nil); first != http.StatusOK || second != http.StatusUnauthorized {
		t.Errorf("sent %d, and replayed %d", first, second)
	}
	if st, err := s.op.Last(t.Context(), "orders"); err != nil || st != nil {
		t.Errorf("something was started: %+v, %v", st, err)
	}
	res, err := http.Get(url + "/readyz")
	s.must(err)
	s.must(res.Body.Close())
	if res.StatusCode != http.StatusOK {
		t.Errorf("readyz: %s", res.Status)
	}
}

func TestConfigurationsAreReadAndTheirFaultsNamedAllAtOnce(t *testing.T) {
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	c, err := Load("../../deploy/systemd/drbot.yml", getenv)
	if err == nil {
		err = c.Validate()
	}
	if err != nil || c.Mode != modeSocket || !strings.HasPrefix(c.StateFile, "/var/lib/drawbridge/") {
		t.Errorf("the unit's: %+v, %v", c, err)
	}
	env["DRAWBRIDGE_BOT_MODE"], env["DRAWBRIDGE_BOT_LISTEN"], env["DRAWBRIDGE_BOT_SLACK_URL"], env["DRAWBRIDGE_BOT_LOG_LEVEL"] = "carrier pigeon", "nowhere", "slack.com", "loud"
	c, err = Load("", getenv)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Validate()
	for _, want := range []string{"mode: 'carrier pigeon'", "listen: 'nowhere'", "slack.url: 'slack.com'", "log.level: 'loud'", "plans_dir:", "key_file:", "slack.bot_token_file:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q: %v", want, err)
		}
	}
	c.Mode = modeHTTP
	if err := c.Validate(); !strings.Contains(err.Error(), "slack.signing_secret_file") {
		t.Errorf("mode http without a secret: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yml")
	if err := os.WriteFile(bad, []byte("slck: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(bad, getenv); err == nil || !strings.Contains(err.Error(), "slck") {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestPeopleOfAnotherWorkspaceAreStrangers(t *testing.T) {
	fake := fakeslack.ForTest(t)
	b := &Bot{slack: &speaker{api: slack.New(fakeslack.BotToken, slack.OptionAPIURL(fake.API())), pauses: map[string]time.Time{}}}
	if err := b.ours(t.Context(), fakeslack.Team); err != nil {
		t.Error(err)
	}
	if err := b.ours(t.Context(), "T0OTHER"); err == nil || !strings.Contains(err.Error(), "another workspace") {
		t.Errorf("%v", err)
	}
}

func TestADialogSaysWhatIsMissingBesideItsInput(t *testing.T) {
	tick := func(names ...string) filled {
		var all []slack.OptionBlockObject
		for _, n := range names {
			all = append(all, slack.OptionBlockObject{Value: n})
		}
		return filled{"reason": {Value: "because"}, "overrides": {SelectedOptions: all}}
	}
	approve := meta{Press: &press{Decision: runbook.Approve}, Overrides: []string{runbook.OverrideFence, runbook.OverrideAlive}}
	for _, c := range []struct {
		m       meta
		in      filled
		missing []string
	}{
		{approve, tick(runbook.OverrideFence, runbook.OverrideAlive), nil},
		{approve, tick(runbook.OverrideFence), []string{"overrides"}},
		{approve, filled{}, []string{"overrides", "reason"}},
		{meta{Press: &press{Decision: runbook.Approve}}, filled{}, nil},
		{meta{Press: &press{Decision: runbook.Abort}}, filled{}, []string{"reason"}},
		{meta{Operation: runbook.OpFailover}, filled{"reason": {Value: "\n"}}, []string{"reason"}},
	} {
		if got := slices.Sorted(maps.Keys(incomplete(c.m, c.in))); !slices.Equal(got, c.missing) {
			t.Errorf("%+v with %v: missing %v, want %v", c.m, c.in, got, c.missing)
		}
	}
}
