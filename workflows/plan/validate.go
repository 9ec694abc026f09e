package plan

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	plainName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)
	topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)
	reference = regexp.MustCompile(`^\$\{((file|env):[^{}\s]+|vault:[^{}\s/#]+/[^{}\s#]+#[^{}\s#]+)\}$`)
)

type checker struct{ found []Fault }

func (c *checker) bad(key string, v any, cure string, args ...any) {
	c.found = append(c.found, Fault{key, show(key, v), fmt.Sprintf(cure, args...)})
}

func (p Plan) faults() []Fault {
	c := &checker{}
	if !plainName.MatchString(p.Pair) {
		c.bad("pair", p.Pair, "name the pair with letters, digits, dot, dash or underscore")
	}
	switch p.Mode {
	case "active-passive":
	case "active-active":
		c.bad("mode", p.Mode, "active-active pairs are not supported yet: use active-passive")
	default:
		c.bad("mode", p.Mode, "use active-passive")
	}
	c.sites(p)
	c.links(p)
	c.topics(p.Topics)
	c.groups(p.Groups, p.Sites)
	c.teams(p)
	c.probes(p)
	c.pipelines(p)
	c.numbers(p)
	c.freezes(p.Freezes)
	c.duty(p.Debts)
	c.drills(p.Drills)
	c.people(p)
	c.owners(p)
	c.approvals(p)
	c.breakGlass(p)
	c.notify(p.Notify)
	c.bot(p)
	return c.found
}

func (c *checker) sites(p Plan) {
	if len(p.Sites) != 2 {
		c.bad("sites", len(p.Sites), "a pair has exactly two sites")
	}
	seen := map[string]bool{}
	servers := map[string]string{}
	for i, s := range p.Sites {
		key := fmt.Sprintf("sites[%d]", i)
		if s.Name != "" {
			key = "sites[" + s.Name + "]"
		}
		if !plainName.MatchString(s.Name) {
			c.bad(key+".name", s.Name, "name the site with letters, digits, dot, dash or underscore")
		}
		if seen[s.Name] {
			c.bad(key+".name", s.Name, "two sites have this name: give each its own")
		}
		seen[s.Name] = true
		c.hosts(key+".kafka.bootstrap", s.Kafka.Bootstrap)
		if !slices.Equal(s.Kafka.EngineBootstrap, s.Kafka.Bootstrap) {
			c.hosts(key+".kafka.engine_bootstrap", s.Kafka.EngineBootstrap)
		}
		for _, h := range s.Kafka.Bootstrap {
			if other, ok := servers[h]; ok && other != s.Name {
				c.bad(key+".kafka.bootstrap", h, "site %s has the same server: a pair needs two clusters", other)
			}
			servers[h] = s.Name
		}
		c.security(key+".kafka.security", s.Kafka.Security)
		if len(p.Sites) == 2 && s.Engine.LinkSecurity != p.Sites[1-i].Kafka.Security {
			c.security(key+".engine.link_security", s.Engine.LinkSecurity)
		}
		if u, err := url.Parse(s.Engine.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			c.bad(key+".engine.url", s.Engine.URL, "give the engine's address, as in https://engine.%s.example:8090", s.Name)
		}
		if e := s.Engine; (e.CertFile == "") != (e.KeyFile == "") {
			c.bad(key+".engine.cert_file", e.CertFile, "goes together with key_file: give both or none")
		}
		if e := s.Engine; e.CAFile+e.CertFile != "" && strings.HasPrefix(e.URL, "http://") {
			c.bad(key+".engine.url", e.URL, "certificates go with https://: correct it, or take ca_file, cert_file and key_file out")
		}
		if !address(s.Consul.Address) {
			c.bad(key+".consul.address", s.Consul.Address, "give the site's own Consul as host:port or URL")
		}
		if s.Canary != nil {
			c.security(key+".canary", *s.Canary)
			if s.Canary.Username == "" {
				c.bad(key+".canary.username", "", "name the canary's own principal")
			}
			if s.Canary.Username != "" && (s.Canary.Username == s.Kafka.Security.Username || s.Canary.Username == s.Engine.LinkSecurity.Username) {
				c.bad(key+".canary.username", s.Canary.Username, "the canary needs a principal of its own that is no super user: a fence that does not bind it proves nothing")
			}
		}
	}
	if !seen[p.Home] || p.Home == "" {
		c.bad("home", p.Home, "name the site that is active in normal life: one of %s", strings.Join(slices.Sorted(maps.Keys(seen)), ", "))
	}
}

func address(a string) bool {
	if u, err := url.Parse(a); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return true
	}
	return hostPort(a)
}

func hostPort(a string) bool {
	host, port, err := net.SplitHostPort(a)
	n, perr := strconv.Atoi(port)
	return err == nil && perr == nil && host != "" && n > 0 && n < 65536
}

func (c *checker) hosts(key string, list []string) {
	if len(list) == 0 {
		c.bad(key, "", "list at least one broker as host:port")
	}
	for i, h := range list {
		if !hostPort(h) {
			c.bad(fmt.Sprintf("%s[%d]", key, i), h, "write host:port")
		}
	}
}

func (c *checker) security(key string, s Security) {
	sasl := false
	switch s.Protocol {
	case "PLAINTEXT", "SSL":
	case "SASL_PLAINTEXT", "SASL_SSL":
		sasl = true
	default:
		c.bad(key+".protocol", s.Protocol, "use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
	}
	if sasl {
		if !slices.Contains([]string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}, s.Mechanism) {
			c.bad(key+".mechanism", s.Mechanism, "use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		if s.Username == "" {
			c.bad(key+".username", s.Username, "name the principal")
		}
		if s.Password == "" {
			c.bad(key+".password", s.Password, "give password_file, or a reference: ${file:…}, ${env:…} or ${vault:mount/path#key}")
		}
	}
	if s.PasswordFile != "" {
		c.bad(key+".password_file", s.PasswordFile, "give password or password_file, not both")
	}
	c.secret(key+".password", s.Password)
}

// secret refuses a value that is no reference: plans are read by many and hashed
// into every run.
func (c *checker) secret(key, v string) {
	if v != "" && !reference.MatchString(v) {
		c.bad(key, v, "a plan holds no secrets: write a reference, ${file:…}, ${env:…} or ${vault:mount/path#key}")
	}
}

func (c *checker) links(p Plan) {
	names := map[string]bool{}
	ways := map[[2]string]bool{}
	for _, l := range p.Links {
		key := "links[" + l.Name + "]"
		if !plainName.MatchString(l.Name) {
			c.bad(key+".name", l.Name, "name the link with letters, digits, dot, dash or underscore")
		}
		if names[l.Name] {
			c.bad(key+".name", l.Name, "two links have this name: give each its own")
		}
		names[l.Name] = true
		known := func(site string) bool {
			return slices.ContainsFunc(p.Sites, func(s Site) bool { return s.Name == site })
		}
		if !known(l.Source) || !known(l.Destination) || l.Source == l.Destination {
			c.bad(key, l.Source+" to "+l.Destination, "source and destination are the pair's two sites")
		} else if ways[[2]string{l.Source, l.Destination}] {
			c.bad(key, l.Source+" to "+l.Destination, "one link per direction: remove the second")
		}
		ways[[2]string{l.Source, l.Destination}] = true
		for _, k := range slices.Sorted(maps.Keys(l.Configs)) {
			if strings.HasPrefix(k, "sasl.") || strings.HasPrefix(k, "ssl.") || k == "bootstrap.servers" || k == "security.protocol" {
				c.bad(key+".configs."+k, "(not shown)", "the sites say how to connect: remove it here, set sites[].kafka or engine.link_security")
			}
		}
	}
}

func (c *checker) topics(list []string) {
	if len(list) == 0 {
		c.bad("topics", "", "list the topics to mirror, by name or as ^pattern")
	}
	seen := map[string]bool{}
	for _, t := range list {
		key := "topics" // lists are sorted by now: an index would mislead
		switch {
		case seen[t]:
			c.bad(key, t, "named twice: remove one")
		case strings.HasPrefix(t, "^"):
			if _, err := regexp.Compile(t); err != nil {
				c.bad(key, t, "not an RE2 pattern: %v", err)
			}
		case !topicName.MatchString(t):
			c.bad(key, t, "no topic can have this name; a pattern starts with ^")
		case strings.HasPrefix(t, "__") || strings.HasPrefix(t, "drawbridge.") || strings.HasPrefix(t, "_drawbridge"):
			c.bad(key, t, "internal topics are not mirrored: remove it")
		}
		seen[t] = true
	}
}

func (c *checker) groups(list []Group, sites []Site) {
	seen := map[string]bool{}
	for _, g := range list {
		key := "groups[" + g.Name + "]"
		if g.Name == "" || seen[g.Name] {
			c.bad(key+".name", g.Name, "name each group once")
		}
		seen[g.Name] = true
		switch g.Move {
		case "watch", "page", "rebootstrap":
		case moveKubernetes:
		default:
			c.bad(key+".move", g.Move, "use watch, page, rebootstrap or kubernetes")
		}
		if g.Wave < 0 || g.Wave > 100 {
			c.bad(key+".wave", g.Wave, "write a whole number from 1 to 100, or leave it out for the first wave")
		}
		if g.Wave > 1 && g.Move != "watch" && g.Move != "page" {
			c.bad(key+".wave", g.Wave, "only a group that moves by watch or page can be told to wait: leave it out")
		}
		c.workloads(key, g, sites)
	}
}

func (c *checker) numbers(p Plan) {
	between := func(key string, v, low, high int64) {
		if v < low || v > high {
			c.bad(key, v, "write a whole number from %d to %d", low, high)
		}
	}
	const week = 7 * 24 * 3600
	between("objectives.rto_seconds", p.Objectives.RTOSeconds, 1, week)
	between("objectives.rpo_seconds", p.Objectives.RPOSeconds, 1, week)
	between("objectives.lag_records", p.Objectives.LagRecords, 1, 1<<40)
	between("limits.freeze_seconds", p.Limits.FreezeSeconds, 5, 3600)
	between("limits.wave_topics", p.Limits.WaveTopics, 1, 2000) // their results are one event of a history
	between("limits.halt_percent", p.Limits.HaltPercent, 1, 100)
	between("limits.clients_seconds", p.Limits.ClientsSeconds, 1, 24*3600)
	between("limits.catch_up_seconds", p.Limits.CatchUpSeconds, 1, 30*week)
	between("limits.transactions_seconds", p.Limits.TransactionsSeconds, 1, p.Limits.FreezeSeconds)
	if s := p.Limits.AntiFlapSeconds; s != nil {
		between("limits.anti_flap_seconds", *s, 0, week)
	}
	if v := p.Readiness.EverySeconds; v != -1 && (v < 60 || v > 24*3600) {
		c.bad("readiness.every_seconds", v, "write a whole number from 60 to %d, or -1 for only when asked", 24*3600)
	}
}

func (c *checker) duty(d Duty) {
	if v := d.EverySeconds; v != -1 && (v < 10 || v > 24*3600) {
		c.bad("debts.every_seconds", v, "write a whole number from 10 to %d, or -1 for only when asked", 24*3600)
	}
}

func (c *checker) people(p Plan) {
	seen := map[string]bool{}
	for _, who := range p.People {
		key := "people[" + who.Name + "]"
		if who.Name == "" || seen[who.Name] || who.Name == "unsigned" || who.Name == "debt" {
			c.bad(key+".name", who.Name, "name each person once; unsigned and debt are taken")
		}
		seen[who.Name] = true
		if _, err := ParsePublic(who.PublicKey); err != nil {
			c.bad(key+".public_key", who.PublicKey, "%v: make one with drctl key", err)
		}
	}
}

func (c *checker) owners(p Plan) {
	for i, o := range p.Owners {
		key := fmt.Sprintf("owners[%d]", i)
		if len(o.Topics) == 0 {
			c.bad(key+".topics", "", "list the topics that they own, by name or as ^pattern")
		}
		if len(o.By) == 0 {
			c.bad(key+".by", "", "name people, or a role that people have")
		}
		for _, t := range o.Topics {
			_, err := regexp.Compile(t)
			switch {
			case strings.HasPrefix(t, "^") && err != nil:
				c.bad(key+".topics", t, "not an RE2 pattern: %v", err)
			case !strings.HasPrefix(t, "^") && !topicName.MatchString(t):
				c.bad(key+".topics", t, "no topic can have this name; a pattern starts with ^")
			}
		}
		for _, by := range o.By {
			if !slices.ContainsFunc(p.People, func(w Person) bool { return w.Name == by || slices.Contains(w.Roles, by) }) {
				c.bad(key+".by", by, "neither one of the plan's people nor a role of theirs: nobody could decide")
			}
		}
	}
}

func (c *checker) approvals(p Plan) {
	for _, op := range slices.Sorted(maps.Keys(p.Approvals)) {
		a := p.Approvals[op]
		key := "approvals." + op
		if !slices.ContainsFunc(operations, func(o struct {
			name  string
			count int64
		},
		) bool {
			return o.name == op
		}) {
			c.bad(key, op, "no such operation: use setup, failover, switchover, recover, restore, failback, unfence or drill")
			continue
		}
		if a.Count < 0 || a.Count > 10 {
			c.bad(key+".count", a.Count, "write a whole number from 0 to 10")
		}
		if a.DeadlineSeconds < 1 {
			c.bad(key+".deadline_seconds", a.DeadlineSeconds, "write the seconds that approvers have")
		}
		if a.EscalateSeconds != -1 && (a.EscalateSeconds < 0 || a.EscalateSeconds >= max(a.DeadlineSeconds, 1)) {
			c.bad(key+".escalate_seconds", a.EscalateSeconds, "write seconds below deadline_seconds (%d), or -1 for never", a.DeadlineSeconds)
		}
		for _, to := range a.EscalateTo {
			if !slices.ContainsFunc(p.People, func(who Person) bool { return who.Name == to || slices.Contains(who.Roles, to) }) {
				c.bad(key+".escalate_to", to, "nobody of the plan has this name or role: correct it, or add a person")
			}
		}
		able := int64(0)
		for _, who := range p.People {
			if len(a.Roles) == 0 || slices.ContainsFunc(a.Roles, func(r string) bool { return slices.Contains(who.Roles, r) }) {
				able++
			}
		}
		if able < a.Count {
			c.bad(key+".count", a.Count, "only %d of the plan's people may approve this: add people or roles, or lower the count", able)
		}
	}
}

func (c *checker) breakGlass(p Plan) {
	g := p.BreakGlass
	if g == nil {
		return
	}
	if g.Approvals < 0 || g.Approvals > 1 {
		c.bad("break_glass.approvals", g.Approvals, "write 0 or 1: how many approvals remain when the glass is broken")
	}
	if len(g.Roles) == 0 {
		c.bad("break_glass.roles", "", "name the roles that may break the glass, or leave break_glass out and nobody may")
	}
	for _, r := range g.Roles {
		if !slices.ContainsFunc(p.People, func(who Person) bool { return slices.Contains(who.Roles, r) }) {
			c.bad("break_glass.roles", r, "nobody of the plan has this role: correct it, or add a person")
		}
	}
	for _, op := range g.Operations {
		if _, ok := p.Approvals[op]; !ok {
			c.bad("break_glass.operations", op, "no such operation: use failover, or others that approvals are given for")
		}
	}
}

func (c *checker) notify(n Notify) {
	if n.Slack != nil {
		if (n.Slack.Webhook == "") == (n.Slack.Token == "") {
			c.bad("notify.slack", "", "give a webhook, or a token and a channel")
		}
		if n.Slack.Token != "" && n.Slack.Channel == "" {
			c.bad("notify.slack.channel", "", "name the channel that the token posts to")
		}
		c.secret("notify.slack.webhook", n.Slack.Webhook)
		c.secret("notify.slack.token", n.Slack.Token)
	}
	c.pagerDuty("notify.pagerduty", n.PagerDuty)
	c.webhook("notify.webhook", n.Webhook)
	c.smtp(n.SMTP)
}
