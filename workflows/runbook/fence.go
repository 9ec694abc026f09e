package runbook

import "strings"

// Fence levels, as reports name them.
const (
	LevelProven      = "proven"
	LevelClientsOnly = "clients-only"
	LevelUnreachable = "unreachable"
	LevelOverridden  = "overridden"
)

// Fence judges the evidence of a fence. Only proven needs no override: the
// canary was let through before and refused by every broker afterwards, no log
// moved, and no super user writes.
func Fence(e FenceEvidence) FenceLine {
	line := FenceLine{Site: e.Site, Evidence: e}
	if !e.Reachable {
		line.Level, line.Reason = LevelUnreachable, orText(e.Problem, "the cluster did not answer")
		return line
	}
	var why []string
	if !e.CanaryBefore {
		why = append(why, "the canary was not let through before the fence, so that its refusal proves nothing")
	}
	if !e.CanaryRefused {
		why = append(why, "not every broker refuses the canary")
	}
	if !e.LogsStill {
		why = append(why, "a log end moved or stands above its high watermark")
	}
	if len(e.SuperUsers) > 0 {
		why = append(why, "super users may still write: "+strings.Join(e.SuperUsers, ", "))
	}
	if e.Problem != "" {
		why = append(why, e.Problem)
	}
	line.Reason = strings.Join(why, "; ")
	switch {
	case len(why) == 0:
		line.Level = LevelProven
	case e.Entries > 0:
		line.Level = LevelClientsOnly
	default:
		line.Level = LevelOverridden
	}
	return line
}

// Proven tells whether a fence needs no override.
func (f FenceLine) Proven() bool { return f.Level == LevelProven }

func orText(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
