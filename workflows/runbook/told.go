package runbook

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bot may sign on behalf of people with a slack_id; see plan.Bot.
type Bot struct {
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
	Channel   string `json:"channel"`
}

// NotConfigured is what is said of a channel that the plan does not give.
const NotConfigured = "not configured"

// Told is a page, of a run or of a team. Of each channel it says "sent",
// NotConfigured, or the problem.
type Told struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Title     string    `json:"title"`
	Slack     string    `json:"slack"`
	PagerDuty string    `json:"pagerduty"`
	Webhook   string    `json:"webhook,omitempty"`
	Email     string    `json:"email,omitempty"`
	Mention   []string  `json:"mention,omitempty"` // Slack ids
}

// Text says it for people.
func (t Told) Text() string {
	return fmt.Sprintf("paged at %s: %s (%s)", stamp(t.At), t.Title, t.channels(true))
}

// channels says what came of each that is configured; chief: of PagerDuty and Slack
// in any case.
func (t Told) channels(chief bool) string {
	var out []string
	for i, c := range [][2]string{{"PagerDuty", orText(t.PagerDuty, "no answer")}, {"Slack", orText(t.Slack, "no answer")}, {"webhook", t.Webhook}, {"mail", t.Email}} {
		if chief && i < 2 || c[1] != "" && c[1] != NotConfigured {
			out = append(out, c[0]+": "+c[1])
		}
	}
	return orText(strings.Join(out, ", "), "by no channel")
}

// Who are those of the signed commands who said decision, in order and each once.
func Who(said []Signed, decision string) []string {
	out := []string{}
	for _, s := range said {
		if s.Decision == decision && !slices.Contains(out, s.By) {
			out = append(out, s.By)
		}
	}
	return out
}
