package runbook_test

import (
	"strings"
	"testing"
	"time"

	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestACredentialIsJudgedByWhatItTells(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	in := func(d time.Duration) runbook.Credential {
		return runbook.Credential{What: "password of kafka at west", Expires: now.Add(d)}
	}
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		c       runbook.Credential
		says    string
		blocker bool
	}{
		"tells nothing":      {runbook.Credential{What: "x"}, "", false},
		"far away":           {in(15 * day), "", false},
		"soon":               {in(36 * time.Hour), "ends 2026-11-24 12:00:00.000Z, in 1.5 days", false},
		"now":                {in(0), "ended 2026-11-23", true},
		"long ago":           {in(-day), "ended 2026-11-22", true},
		"vault is away":      {runbook.Credential{What: "x", Aged: "sealed"}, "read it before: sealed", false},
		"vault away, ending": {runbook.Credential{What: "x", Aged: "sealed", Expires: now.Add(day)}, "in 1.0 days", false},
		"gone":               {runbook.Credential{What: "x", Problem: "no such file"}, "cannot be read: no such file", true},
	} {
		what, cure, blocker := tc.c.Judge(now)
		if (what == "") != (tc.says == "") || !strings.Contains(what, tc.says) || blocker != tc.blocker || (what != "") != (cure != "") {
			t.Errorf("%s: %q, %q, %t", name, what, cure, blocker)
		}
	}
}
