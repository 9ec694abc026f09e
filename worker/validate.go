package worker

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)

// Validate returns all faults, each with its key and cure.
func (c Config) Validate() error {
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if !hostPort(c.Listen, 0) {
		fault("listen", "'%s' is no host:port; use 127.0.0.1:8095, or port 0 for any", c.Listen)
	}
	if c.PlansDir == "" {
		fault("plans_dir", "required; the folder with the plans, <pair>.yaml")
	}
	if c.ReportsDir == "" {
		fault("reports_dir", "empty; name a folder that the worker may write to")
	}
	if a := c.Temporal.Address; a != "" && !hostPort(a, 1) {
		fault("temporal.address", "'%s' is no host:port; use temporal.example:7233, or leave it out and set TEMPORAL_ADDRESS", a)
	}
	if n := c.Temporal.Namespace; n != "" && !plainName.MatchString(n) {
		fault("temporal.namespace", "'%s' is no namespace; it has letters, digits, dots and dashes", n)
	}
	if !plainName.MatchString(c.Temporal.TaskQueue) {
		fault("temporal.task_queue", "'%s' is no task queue's name; the default is drawbridge", c.Temporal.TaskQueue)
	}
	for key, v := range map[string]string{"notify.slack_url": c.Notify.SlackURL, "notify.pagerduty_url": c.Notify.PagerDutyURL} {
		u, err := url.Parse(v)
		if v != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			fault(key, "'%s' is no http or https address; leave it out for the public one", v)
		}
	}
	c.Vault.Check(fault)
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, c.Log.Level) {
		fault("log.level", "'%s' is none of %s", c.Log.Level, strings.Join(levels, ", "))
	}
	if formats := []string{"text", "json"}; !slices.Contains(formats, c.Log.Format) {
		fault("log.format", "'%s' is none of %s", c.Log.Format, strings.Join(formats, ", "))
	}
	return errors.Join(faults...)
}

func hostPort(s string, lowest uint64) bool {
	_, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && n >= lowest
}
