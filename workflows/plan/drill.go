package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// drillKinds as in package runbook.
var drillKinds = []string{"tabletop", "canary", "full"}

func (c *checker) drills(list []Drill) {
	seen := map[string]bool{}
	for _, d := range list {
		key := "drills[" + d.Kind + "]"
		if !slices.Contains(drillKinds, d.Kind) {
			c.bad(key+".kind", d.Kind, "use %s", strings.Join(drillKinds, ", "))
		} else if seen[d.Kind] {
			c.bad(key, d.Kind, "one entry for each kind: remove the second")
		}
		seen[d.Kind] = true
		if (d.Cron == "") == (d.EverySeconds == 0) {
			c.bad(key, fmt.Sprintf("cron %q, every_seconds %d", d.Cron, d.EverySeconds), "give cron or every_seconds")
		}
		if d.Cron != "" && len(strings.Fields(d.Cron)) != 5 {
			c.bad(key+".cron", d.Cron, "write five fields: minute, hour, day of month, month, day of week")
		}
		if d.EverySeconds != 0 && (d.EverySeconds < 60 || d.EverySeconds > 366*24*3600) {
			c.bad(key+".every_seconds", d.EverySeconds, "write a whole number from 60 to %d", 366*24*3600)
		}
		if d.JitterSeconds < 0 || d.JitterSeconds > 24*3600 {
			c.bad(key+".jitter_seconds", d.JitterSeconds, "write a whole number from 0 to %d", 24*3600)
		}
		if _, err := time.LoadLocation(d.Zone); err != nil {
			c.bad(key+".zone", d.Zone, "name a time zone as in Europe/Berlin: %v", err)
		}
	}
}
