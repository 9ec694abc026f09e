package runbook

import (
	"fmt"
	"strings"
)

// copied says what a rebuild copies, and how long that took or is to take.
func (r Report) copied(line func(string, ...any)) {
	if r.CopyRecords == 0 {
		return
	}
	took := ""
	if r.CopySeconds > 0 {
		took = away(r.CopySeconds)
	}
	line("Copied by rebuild: %d records, %d bytes%s", r.CopyRecords, r.CopyBytes, because(took))
	if len(r.CopyByTopic) == 0 {
		return
	}
	line("\n| topic | records | bytes | seconds, about |\n|---|---|---|---|")
	for _, l := range r.CopyByTopic {
		about := "-"
		if l.Seconds > 0 {
			about = away(l.Seconds)
		}
		line("| %s | %d | %d | %s |", cell(l.Topic), l.Records, l.Bytes, about)
	}
}

// wasAway says what became of the topics while a site was away, and what was
// done with them.
func (r Report) wasAway(line func(string, ...any)) {
	if p := r.AwayPlan; p != nil {
		line("\n## Topics while a site was away\n")
		for _, l := range []struct {
			name   string
			topics []string
		}{
			{"mirrored already", p.Follow},
			{"rejoin", p.Rejoin},
			{"mirror, no copy there", p.Create},
			{"delete and mirror anew", p.Rebuild},
			{"delete for good", p.Delete},
			{"leave out", p.Leave},
			{"undecided", p.Open},
		} {
			if len(l.topics) > 0 {
				line("- %s: %s", l.name, cell(strings.Join(l.topics, ", ")))
			}
		}
		for _, t := range sorted(r.AwayBy) {
			line("- %s was decided by %s", cell(t), cell(r.AwayBy[t]))
		}
	}
	if r.Readiness != nil {
		line("\n## Readiness\n\n%s", cell(r.Readiness.Summary()))
	}
}

func away(s float64) string { return fmt.Sprintf("%.1f s", s) }

// amended says which run an exact RPO is of, or was found out by.
func (r Report) amended() string {
	switch {
	case r.AmendedBy != "":
		return "found out by " + r.AmendedBy
	case r.Amends != "":
		return "of " + r.Amends
	}
	return ""
}
