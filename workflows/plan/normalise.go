package plan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Defaults of what a plan may leave out.
const (
	DefaultLagRecords    = 1000
	DefaultFreezeSeconds = 120
	DefaultWaveTopics    = 50
	DefaultHaltPercent   = 20
	DefaultClients       = 300
	DefaultCatchUp       = 6 * 3600
	DefaultTransactions  = 30
	DefaultDeadline      = 3600
	DefaultReports       = "reports"
	DefaultReadiness     = 1200
	DefaultAntiFlap      = 3600
	DefaultDebts         = 60
	DefaultMargin        = 300
	DefaultBot           = "drbot"
)

// Operations that an approval rule may be given for, with the number of
// approvals that they need by default.
var operations = []struct {
	name  string
	count int64
}{{"drill", 0}, {"failback", 1}, {"failover", 1}, {"recover", 0}, {"restore", 1}, {"setup", 0}, {"switchover", 1}, {"unfence", 1}}

// Normalise returns p with defaults written out and lists sorted. It is
// idempotent and changes no meaning.
func (p Plan) Normalise() Plan {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if p.Mode == "" {
		p.Mode = "active-passive"
	}
	p.Sites = slices.Clone(p.Sites)
	for i := range p.Sites {
		p.Sites[i] = p.Sites[i].normalise()
	}
	slices.SortStableFunc(p.Sites, func(a, b Site) int { return cmp.Compare(a.Name, b.Name) })
	if len(p.Sites) == 2 {
		for i := range p.Sites {
			if p.Sites[i].Engine.LinkSecurity == (Security{}) {
				p.Sites[i].Engine.LinkSecurity = p.Sites[1-i].Kafka.Security
			}
		}
		p.Links = p.withLinks()
	}
	p.Topics = sortedCopy(p.Topics)
	p.Groups = slices.Clone(p.Groups)
	if p.Groups == nil {
		p.Groups = []Group{}
	}
	for i := range p.Groups {
		if p.Groups[i].Move == "" {
			p.Groups[i].Move = "watch"
		}
		p.Groups[i].Kubernetes = normaliseWorkloads(p.Groups[i].Kubernetes)
	}
	slices.SortStableFunc(p.Groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	p.Probes = slices.Clone(p.Probes)
	slices.SortStableFunc(p.Probes, func(a, b Probe) int { return cmp.Compare(a.Name, b.Name) })
	p.Pipelines = slices.Clone(p.Pipelines)
	for i := range p.Pipelines {
		l := &p.Pipelines[i]
		l.Inputs, l.Outputs = sortedCopy(l.Inputs), sortedCopy(l.Outputs)
		def(&l.MarginSeconds, DefaultMargin)
	}
	slices.SortStableFunc(p.Pipelines, func(a, b Pipeline) int { return cmp.Compare(a.Group, b.Group) })
	p.Owners = slices.Clone(p.Owners)
	for i, o := range p.Owners {
		p.Owners[i] = Owner{Topics: sortedCopy(o.Topics), By: sortedCopy(o.By)}
	}
	p.People = slices.Clone(p.People)
	for i := range p.People {
		p.People[i].Roles = sortedCopy(p.People[i].Roles)
	}
	p.Drills = slices.Clone(p.Drills)
	slices.SortStableFunc(p.Drills, func(a, b Drill) int { return cmp.Compare(a.Kind, b.Kind) })
	slices.SortStableFunc(p.People, func(a, b Person) int { return cmp.Compare(a.Name, b.Name) })

	p.Freezes = freezes(p.Freezes)

	def(&p.Objectives.LagRecords, DefaultLagRecords)
	def(&p.Limits.FreezeSeconds, DefaultFreezeSeconds)
	def(&p.Limits.WaveTopics, DefaultWaveTopics)
	def(&p.Limits.HaltPercent, DefaultHaltPercent)
	def(&p.Limits.ClientsSeconds, DefaultClients)
	def(&p.Limits.CatchUpSeconds, DefaultCatchUp)
	def(&p.Limits.TransactionsSeconds, DefaultTransactions)
	if p.Limits.AntiFlapSeconds == nil {
		seconds := int64(DefaultAntiFlap)
		p.Limits.AntiFlapSeconds = &seconds
	}
	p.Teams, p.Notify.SMTP = p.normaliseTeams(), p.Notify.SMTP.normalise()
	def(&p.Debts.EverySeconds, DefaultDebts)
	def(&p.Readiness.EverySeconds, DefaultReadiness)

	rules := make(map[string]Rule, len(operations))
	for _, op := range operations {
		if _, ok := p.Approvals[op.name]; !ok {
			rules[op.name] = Rule{Count: op.count, DeadlineSeconds: DefaultDeadline, EscalateSeconds: DefaultDeadline / 2}
		}
	}
	for name, a := range p.Approvals {
		def(&a.DeadlineSeconds, DefaultDeadline)
		def(&a.EscalateSeconds, a.DeadlineSeconds/2)
		if len(a.Roles) > 0 {
			a.Roles = sortedCopy(a.Roles)
		}
		if len(a.EscalateTo) > 0 {
			a.EscalateTo = sortedCopy(a.EscalateTo)
		}
		rules[name] = a
	}
	p.Approvals = rules
	if p.Bot != nil {
		b := *p.Bot
		if b.Name == "" {
			b.Name = DefaultBot
		}
		p.Bot = &b
	}
	if p.BreakGlass != nil {
		g := *p.BreakGlass
		g.Roles, g.Operations = sortedCopy(g.Roles), sortedCopy(g.Operations)
		if len(g.Operations) == 0 {
			g.Operations = []string{"failover"}
		}
		p.BreakGlass = &g
	}
	if p.Reports == "" {
		p.Reports = DefaultReports
	}
	return p
}

func (s Site) normalise() Site {
	s.Kafka.Bootstrap = slices.Clone(s.Kafka.Bootstrap)
	if len(s.Kafka.EngineBootstrap) == 0 {
		s.Kafka.EngineBootstrap = slices.Clone(s.Kafka.Bootstrap)
	}
	s.Kafka.Security = s.Kafka.Security.normalise()
	if s.Engine.LinkSecurity != (Security{}) {
		s.Engine.LinkSecurity = s.Engine.LinkSecurity.normalise()
	}
	if s.Canary != nil {
		c := *s.Canary
		if c.Protocol == "" {
			c.Protocol, c.CAFile = s.Kafka.Security.Protocol, s.Kafka.Security.CAFile
		}
		if c.Mechanism == "" {
			c.Mechanism = s.Kafka.Security.Mechanism
		}
		c = c.normalise()
		s.Canary = &c
	}
	if s.SecurityRef == "" {
		s.SecurityRef = s.Name
	}
	return s
}

func (s Security) normalise() Security {
	if s.Protocol == "" {
		s.Protocol = "PLAINTEXT"
	}
	if s.PasswordFile != "" && s.Password == "" {
		s.Password, s.PasswordFile = "${file:"+s.PasswordFile+"}", ""
	}
	return s
}

// withLinks adds the default link for each direction that the plan names none
// for.
func (p Plan) withLinks() []Link {
	out := slices.Clone(p.Links)
	for i, s := range p.Sites {
		d := p.Sites[1-i]
		if !slices.ContainsFunc(out, func(l Link) bool { return l.Source == s.Name && l.Destination == d.Name }) {
			out = append(out, Link{Source: s.Name, Destination: d.Name})
		}
	}
	for i, l := range out {
		if l.Name == "" {
			out[i].Name = l.Source + "-to-" + l.Destination
		}
	}
	slices.SortStableFunc(out, func(a, b Link) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func sortedCopy(in []string) []string {
	out := append([]string{}, in...)
	slices.Sort(out)
	return out
}

// Canonical is the normalised plan as JSON with sorted keys, no white space and
// no HTML escapes.
func (p Plan) Canonical() ([]byte, error) { return canonical(p.Normalise()) }

// Hash is the hex SHA-256 of Canonical; every approval is bound to it.
func (p Plan) Hash() (string, error) {
	b, err := p.Canonical()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func canonical(v any, without ...string) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var doc map[string]any
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	for _, k := range without {
		delete(doc, k)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return bytes.TrimRight(buf.Bytes(), "\n"), nil
}
