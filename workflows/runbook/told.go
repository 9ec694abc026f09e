package runbook

import (
	"fmt"
	"slices"
	"time"
)

// Bot may sign on behalf of people with a slack_id; see plan.Bot.
type Bot struct {
	Name      string `json:"name"`
	PublicKey string `json:"public_key"`
	Channel   string `json:"channel"`
}

// Told is a page of a run. Slack and PagerDuty are "sent", "not configured", or the problem.
type Told struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Title     string    `json:"title"`
	Slack     string    `json:"slack"`
	PagerDuty string    `json:"pagerduty"`
	Mention   []string  `json:"mention,omitempty"` // Slack ids
}

// Text says it for people.
func (t Told) Text() string {
	return fmt.Sprintf("paged at %s: %s (PagerDuty: %s, Slack: %s)", stamp(t.At), t.Title, orText(t.PagerDuty, "no answer"), orText(t.Slack, "no answer"))
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
