package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// Who decides in Slack is told, too, that it is not known what some groups read again.
func TestFactsNameGroupsThatWereNeverSeen(t *testing.T) {
	for want, f := range map[string]runbook.Forecast{
		"Groups read again at least 1 and at most 2.": {Again: 1, AtMost: 2},
		"What groups read again is not known":         {Unseen: []string{"billing"}},
	} {
		raw, err := json.Marshal(facts(&planned{}, runbook.Report{Forecast: &f}))
		if err != nil || !strings.Contains(string(raw), want) {
			t.Errorf("nobody is told %q: %s, %v", want, raw, err)
		}
	}
}
