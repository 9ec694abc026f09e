package client

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Config of a Watcher.
type Config struct {
	// Pair is the pair's name in its plan.
	Pair string
	// Consuls are the agents to watch, at least one. Consul datacenters share no KV, so a client that can reach both
	// sites' agents names both and is moved whichever of them is left.
	Consuls []Consul
	// StateDir is a folder of this process alone; the last record believed is kept there. It is made if missing.
	// A watcher that starts without it would have to believe whatever Consul it meets first.
	StateDir string
	// Wait is how long one blocking query may stay unanswered by a Consul where nothing changes. Default 30 s. It is also
	// how long an agent that has stopped answering goes unnoticed, plus a sixteenth and five seconds.
	Wait time.Duration
	// Grace is how long Watch waits for a first answer of the Consuls before it gives out the copy on disk. It ends
	// early when each has refused. Default 3 s.
	Grace time.Duration
	// MaxBackOff bounds the pause after a failed query; pauses double from 100 ms and are jittered. Default 10 s.
	MaxBackOff time.Duration
	// OnProblem, if set, is told of every record that was not believed and every Consul that stopped answering, once
	// until it changes. It is called from the watcher's goroutines, one call at a time, and must not block.
	OnProblem func(error)
	// Log gets the same. Default: slog.Default().
	Log *slog.Logger
}

// Consul is one agent to watch. TLS, namespace and, without a TokenFile, the token come from Consul's own environment
// variables (CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_CACERT, …).
type Consul struct {
	// Address is host:port or a URL.
	Address string
	// Site is the site that the agent belongs to, as in the plan. The active site's agent rules when two copies of the
	// same epoch differ in their phase or lock. May be empty if only one agent is watched.
	Site string
	// TokenFile is a file with the agent's token; empty: what CONSUL_HTTP_TOKEN or CONSUL_HTTP_TOKEN_FILE say.
	TokenFile string
}

func (c Consul) String() string {
	if c.Site == "" {
		return c.Address
	}
	return c.Site + " (" + c.Address + ")"
}

// Validate reports all faults at once.
func (c Config) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Pair == "" || strings.ContainsAny(c.Pair, "/ ") {
		bad("Pair %q is empty or holds a slash or blank: give the name in the plan", c.Pair)
	}
	if c.StateDir == "" {
		bad("StateDir is empty: give a folder of this process, the last epoch is kept there")
	}
	if len(c.Consuls) == 0 {
		bad("Consuls is empty: give the address of at least one site's Consul agent")
	}
	sites := map[string]bool{}
	for i, s := range c.Consuls {
		if s.Address == "" {
			bad("Consuls[%d].Address is empty: give host:port or a URL", i)
		}
		if s.Site != "" && sites[s.Site] {
			bad("Consuls[%d].Site %q is named twice: one agent per site", i, s.Site)
		}
		sites[s.Site] = true
	}
	for name, d := range map[string]time.Duration{"Wait": c.Wait, "Grace": c.Grace, "MaxBackOff": c.MaxBackOff} {
		if d < 0 {
			bad("%s is %s: give a positive duration, or 0 for the default", name, d)
		}
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	or := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	or(&c.Wait, 30*time.Second)
	or(&c.Grace, 3*time.Second)
	or(&c.MaxBackOff, 10*time.Second)
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("pair", c.Pair)
	return c
}
