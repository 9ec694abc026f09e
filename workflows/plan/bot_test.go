package plan_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
)

func TestABotSpeaksForPeopleWithASlackIdAndNeverBreaksTheGlass(t *testing.T) {
	own, ownKey, err := plan.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := plan.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	people := []plan.Person{{Name: "ann", PublicKey: own, SlackID: "U1"}, {Name: "bob", PublicKey: own}}
	bot := &plan.Bot{Name: "drbot", PublicKey: public, Channel: "C1"}
	for _, c := range []struct {
		name   string
		key    string
		bot    *plan.Bot
		change func(*plan.Approval)
		says   string // "" for good
	}{
		{"on behalf of ann", private, bot, func(*plan.Approval) {}, ""},
		{"with ann's own key", ownKey, bot, func(a *plan.Approval) { a.Via = "" }, ""},
		{"with the bot's key as ann's own", private, bot, func(a *plan.Approval) { a.Via = "" }, "not ann's signature"},
		{"with ann's key as the bot's", ownKey, bot, func(*plan.Approval) {}, "not drbot's signature"},
		{"for bob, who has no slack_id", private, bot, func(a *plan.Approval) { a.By = "bob" }, "no slack_id"},
		{"for a stranger", private, bot, func(a *plan.Approval) { a.By = "mallory" }, "nobody called"},
		{"in the bot's own name", private, bot, func(a *plan.Approval) { a.By = "drbot" }, "nobody called"},
		{"by another bot", private, bot, func(a *plan.Approval) { a.Via = "other" }, "no bot called"},
		{"where the plan has none", private, nil, func(*plan.Approval) {}, "no bot called"},
		{"to break the glass", private, bot, func(a *plan.Approval) { a.Decision = "break-glass" }, "own key"},
	} {
		a := plan.Approval{Pair: "orders", Decision: "approve", By: "ann", Via: "drbot", Expires: time.Now().Add(time.Minute)}
		c.change(&a)
		key, err := plan.ParsePrivate(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if a, err = plan.Sign(key, a); err != nil {
			t.Fatal(err)
		}
		_, err = plan.Verify(people, c.bot, a)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.says != "" && (!errors.Is(err, plan.ErrSignature) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want one that says %q", c.name, err, c.says)
		}
		// Who it is on behalf of is part of what is signed.
		if a.Via != "" && c.says == "" {
			a.By = "bob"
			people[1].SlackID = "U2"
			if _, err := plan.Verify(people, c.bot, a); err == nil {
				t.Error("a signature for ann counts for bob")
			}
			people[1].SlackID = ""
		}
	}
}

func TestAPlansBotIsChecked(t *testing.T) {
	text := plan.Example()
	for from, c := range map[string]struct{ to, says string }{
		"slack_id: U0000001":                           {"slack_id: ann", "people[ann].slack_id"},
		"  channel: C0123456789":                       {"  channel: dr", "bot.channel"},
		"  name: drbot":                                {"  name: ann", "bot.name"},
		"    channel: \"#kafka-dr\"":                   {"    channel: C0123456789", "notify.slack.channel"},
		"    slack_id: U0000001\n":                     {"", "bot: \"drbot\""},
		"jp/pyd5SbY8zE5GJmQV8xv0l4pUSdKd4wdxK6Y0yDCs=": {"PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=", "key of bob too"},
	} {
		if !strings.Contains(text, from) {
			t.Errorf("the example has no %q", from)
		}
		if _, err := plan.Parse([]byte(strings.Replace(text, from, c.to, 1))); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q as %q: %v, want a fault of %s", from, c.to, err, c.says)
		}
	}
	twice := strings.Replace(text, "roles: [approver]\n    public_key", "roles: [approver]\n    slack_id: U0000001\n    public_key", 1)
	if _, err := plan.Parse([]byte(twice)); err == nil || !strings.Contains(err.Error(), "one Slack user is one person") {
		t.Errorf("one Slack user as two people: %v", err)
	}
}
