package plan

import (
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Team of people whose clients move with the pair. When clients are to move each team
// is told once in a run, by channels of its own, with its groups and what to do; one of
// its people acknowledges for it. Give each at least one channel.
type Team struct {
	Name string `json:"name"`
	// Groups of the plan that are the team's; a group belongs to one team at most.
	Groups []string `json:"groups"`
	// People, by name or by a role that they have, acknowledge for the team; default
	// anybody of the plan.
	People []string `json:"people,omitempty"`
	// EscalateSeconds after which a team that has not acknowledged is told again, and its
	// escalation service with it: default half of limits.clients_seconds, so that somebody can
	// still acknowledge before the run ends; -1 for never.
	EscalateSeconds int64      `json:"escalate_seconds"`
	Slack           *TeamSlack `json:"slack,omitempty"`
	// PagerDuty of the team; without an escalation key of its own, escalations go to that of
	// notify.pagerduty.
	PagerDuty *PagerDuty `json:"pagerduty,omitempty"`
	Webhook   *Webhook   `json:"webhook,omitempty"`
	Email     []string   `json:"email,omitempty"` // addresses, by notify.smtp
}

// TeamSlack is written to with notify.slack's token or webhook; a webhook writes to its
// own channel.
type TeamSlack struct {
	Channel string   `json:"channel,omitempty"` // default notify.slack's
	Mention []string `json:"mention,omitempty"` // member ids (U…, W…) and user groups (S…)
}

// Webhook gets each notification as JSON by POST, signed with Secret: docs/clients.md says
// how to check it.
type Webhook struct {
	URL    string `json:"url"`    // https://… or http://…, or a reference, where it holds a secret
	Secret string `json:"secret"` // reference; of 16 characters or more
}

// SMTP is the server that takes mail.
type SMTP struct {
	Server string `json:"server"` // host:port
	// TLS is starttls, the default (a server without it gets no mail), tls (from the first
	// byte on) or none.
	TLS    string `json:"tls"`
	CAFile string `json:"ca_file,omitempty"` // PEM; default the system's authorities
	// Username and password go together, and never with tls none.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"` // reference
	// PasswordFile is the file that holds the password, in place of password.
	PasswordFile string   `json:"password_file,omitempty"`
	From         string   `json:"from"`
	To           []string `json:"to,omitempty"` // of the pair's own notifications; none: only teams get mail
}

func (p Plan) normaliseTeams() []Team {
	out := slices.Clone(p.Teams)
	for i, t := range out {
		t.Groups = sortedCopy(t.Groups)
		if len(t.People) > 0 {
			t.People = sortedCopy(t.People)
		}
		if t.EscalateSeconds == 0 {
			t.EscalateSeconds = max(p.Limits.ClientsSeconds/2, 1)
		}
		out[i] = t
	}
	slices.SortStableFunc(out, func(a, b Team) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (s *SMTP) normalise() *SMTP {
	if s == nil {
		return nil
	}
	out := *s
	if out.TLS == "" {
		out.TLS = "starttls"
	}
	if out.PasswordFile != "" && out.Password == "" {
		out.Password, out.PasswordFile = "${file:"+out.PasswordFile+"}", ""
	}
	return &out
}

func (c *checker) teams(p Plan) {
	names, owner := map[string]bool{}, map[string]string{}
	for _, t := range p.Teams {
		key := "teams[" + t.Name + "]"
		if !plainName.MatchString(t.Name) || len(t.Name) > 100 || names[t.Name] {
			c.bad(key+".name", t.Name, "name each team once, with letters, digits, dot, dash or underscore, 100 at most")
		}
		names[t.Name] = true
		if len(t.Groups) == 0 {
			c.bad(key+".groups", "", "list the team's groups: it is told when they move")
		}
		for _, g := range t.Groups {
			if !slices.ContainsFunc(p.Groups, func(o Group) bool { return o.Name == g }) {
				c.bad(key+".groups", g, "no group of groups: correct the name, or add the group there")
			}
			if other, ok := owner[g]; ok {
				c.bad(key+".groups", g, "team %s has it already: a group belongs to one team", other)
			}
			owner[g] = t.Name
		}
		for _, by := range t.People {
			if !slices.ContainsFunc(p.People, func(w Person) bool { return w.Name == by || slices.Contains(w.Roles, by) }) {
				c.bad(key+".people", by, "neither one of the plan's people nor a role of theirs: nobody could acknowledge")
			}
		}
		if v := t.EscalateSeconds; v != -1 && (v < 1 || v > max(p.Limits.ClientsSeconds, 1)) {
			c.bad(key+".escalate_seconds", v, "write a whole number from 1 to limits.clients_seconds (%d): the run waits no longer for clients; or -1 for never", p.Limits.ClientsSeconds)
		}
		c.channels(key, t, p.Notify)
	}
}

var slackMention = regexp.MustCompile(`^[UWS][A-Z0-9]{1,20}$`)

func (c *checker) channels(key string, t Team, n Notify) {
	if t.Slack == nil && t.PagerDuty == nil && t.Webhook == nil && len(t.Email) == 0 {
		c.bad(key, t.Name, "nobody could tell it anything: give it slack, pagerduty, webhook or email")
	}
	if s := t.Slack; s != nil {
		switch {
		case n.Slack == nil:
			c.bad(key+".slack", "", "it is written to with notify.slack's token: give that")
		case n.Slack.Webhook != "" && s.Channel != "":
			c.bad(key+".slack.channel", s.Channel, "notify.slack's webhook writes to its own channel only: give notify.slack a token, or leave the channel out")
		}
		for _, id := range s.Mention {
			if !slackMention.MatchString(id) {
				c.bad(key+".slack.mention", id, "write a member's id (U…, W…) or a user group's (S…), not a name")
			}
		}
	}
	c.pagerDuty(key+".pagerduty", t.PagerDuty)
	c.webhook(key+".webhook", t.Webhook)
	if len(t.Email) > 0 && n.SMTP == nil {
		c.bad(key+".email", t.Email[0], "mail needs a server: give notify.smtp")
	}
	c.addresses(key+".email", t.Email)
}

func (c *checker) pagerDuty(key string, p *PagerDuty) {
	if p == nil {
		return
	}
	if p.RoutingKey == "" {
		c.bad(key+".routing_key", "", "give the integration's routing key as a reference")
	}
	c.secret(key+".routing_key", p.RoutingKey)
	c.secret(key+".escalation_routing_key", p.EscalationRoutingKey)
}

func (c *checker) webhook(key string, w *Webhook) {
	if w == nil {
		return
	}
	if !reference.MatchString(w.URL) {
		switch u, err := url.Parse(w.URL); {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			c.bad(key+".url", w.URL, "give an address, as in https://hooks.example/drawbridge, or a reference to one")
		case u.User != nil:
			c.bad(key+".url", w.URL, "a URL of the plan holds no password: everybody reads it; write a reference to the whole URL")
		}
	}
	if w.Secret == "" {
		c.bad(key+".secret", "", "give the secret that signs, as a reference: without it anybody could call the webhook")
	}
	c.secret(key+".secret", w.Secret)
}

func (c *checker) smtp(s *SMTP) {
	if s == nil {
		return
	}
	host, port, err := net.SplitHostPort(s.Server)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || host == "" || n < 1 || n > 65535 {
		c.bad("notify.smtp.server", s.Server, "write host:port, as in smtp.example:587")
	}
	if !slices.Contains([]string{"starttls", "tls", "none"}, s.TLS) {
		c.bad("notify.smtp.tls", s.TLS, "use starttls, tls (from the first byte on) or none")
	}
	if s.TLS == "none" && s.Username+s.Password != "" {
		c.bad("notify.smtp.tls", s.TLS, "a password would go over the line for all to read: use starttls or tls")
	}
	if (s.Username == "") != (s.Password == "") {
		c.bad("notify.smtp.username", s.Username, "goes together with password: give both or none")
	}
	c.secret("notify.smtp.password", s.Password)
	c.addresses("notify.smtp.from", []string{s.From})
	c.addresses("notify.smtp.to", s.To)
}

func (c *checker) addresses(key string, list []string) {
	for _, a := range list {
		if got, err := mail.ParseAddress(a); err != nil || got.Address != a {
			c.bad(key, a, "write a mail address, as in oncall@example.org")
		}
	}
}
