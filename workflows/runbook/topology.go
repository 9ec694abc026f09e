package runbook

import (
	"fmt"
	"slices"
	"time"
)

// Plan is the normalised plan of a pair, as LoadPlan hands it to a run. It is
// part of the run: a later change of the file does not touch it. Secrets are
// references (${file:…}, ${env:…}, ${vault:…}) or file paths, never values. Its
// JSON is the one of plan.Plan, field by field.
type Plan struct {
	Pair string `json:"pair"`
	Mode string `json:"mode"`
	// Home is the site that is active in normal life; the other one is Away.
	Home  string `json:"home"`
	Sites []Site `json:"sites"`
	Links []Link `json:"links"`
	// Topics are names or RE2 patterns over the whole name (those that start
	// with ^) of what is mirrored.
	Topics []string `json:"topics"`
	Groups []Group  `json:"groups"`
	Teams  []Team   `json:"teams,omitempty"`

	Probes     []Probe             `json:"probes,omitempty"`
	Pipelines  []Pipeline          `json:"pipelines,omitempty"`
	Owners     []Owner             `json:"owners,omitempty"`
	Objectives Objectives          `json:"objectives"`
	Limits     Limits              `json:"limits"`
	People     []Person            `json:"people"`
	Approvals  map[string]Approval `json:"approvals"` // by operation
	Notify     Notify              `json:"notify"`
	Bot        *Bot                `json:"bot,omitempty"`
	Readiness  Watch               `json:"readiness"`
	// Debts: how often what is owed is looked at.
	Debts Watch `json:"debts"`
	// Freezes are windows without planned changes; see Frozen.
	Freezes []Freeze `json:"freezes,omitempty"`
	// Drills are played by themselves; one entry a kind.
	Drills []DrillPlan `json:"drills,omitempty"`
	// BreakGlass is nil where nobody may.
	BreakGlass *BreakGlassRule `json:"break_glass,omitempty"`
	// Reports is the folder where the worker keeps reports.
	Reports string `json:"reports"`
}

// Site is one Kafka cluster with what stands beside it.
type Site struct {
	Name   string `json:"name"`
	Kafka  Kafka  `json:"kafka"`
	Engine Engine `json:"engine"`
	Consul Consul `json:"consul"`
	// Canary is the principal of the wrong-CRC probe: ALLOW WRITE on the
	// plan's topics, no super user, never used for records. Nil where the
	// cluster has no authorizer.
	Canary *Security `json:"canary,omitempty"`
	// SecurityRef is what the record of truth tells clients of this site.
	SecurityRef string `json:"security_ref"`
}

// Kafka is how the worker reaches a cluster.
type Kafka struct {
	Bootstrap []string `json:"bootstrap"`
	Security  Security `json:"security"`
	// EngineBootstrap is what the other site's engine dials for its link; it
	// differs from Bootstrap only where engines come through another listener.
	EngineBootstrap []string `json:"engine_bootstrap"`
}

// Security is how a principal logs in. Password is a reference.
type Security struct {
	Protocol  string `json:"protocol"`            // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
	Mechanism string `json:"mechanism,omitempty"` // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	Username  string `json:"username,omitempty"`
	Password  string `json:"password,omitempty"`
	CAFile    string `json:"ca_file,omitempty"`
}

// Engine is the mirroring engine beside a site.
type Engine struct {
	URL       string `json:"url"`
	TokenFile string `json:"token_file,omitempty"`
	// CAFile has the authorities of the engine's certificate, CertFile and KeyFile
	// are shown to it; default the system's, and none.
	CAFile   string `json:"ca_file,omitempty"`
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`
	// LinkSecurity is what this engine uses to read the other site; resolved
	// by the engine, not by the worker.
	LinkSecurity Security `json:"link_security"`
}

// Consul is the site's own Consul.
type Consul struct {
	Address   string `json:"address"`
	TokenFile string `json:"token_file,omitempty"`
}

// Link is a cluster link in one direction; it lives in the destination's engine.
type Link struct {
	Name        string `json:"name"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	// Configs are link configs beside those that the engine needs to dial.
	Configs map[string]string `json:"configs,omitempty"`
}

// Ways to move a consumer group.
const (
	MoveWatch       = "watch"
	MovePage        = "page"
	MoveRebootstrap = "rebootstrap"
	MoveKubernetes  = "kubernetes"
)

// Group is a consumer group of the plan and how its members move.
type Group struct {
	Name string `json:"name"`
	Move string `json:"move"`
	Wave int    `json:"wave,omitempty"` // 0 as 1: the first
	// Kubernetes has the workloads of a group that moves by it.
	Kubernetes []Workloads `json:"kubernetes,omitempty"`
}

// Probe is a vantage point beside worker and engines; see plan.Probe.
type Probe struct {
	Name string `json:"name"`
	Site string `json:"site"`
	URL  string `json:"url"`
}

// ProbesOf are those that look at a site.
func (p Plan) ProbesOf(site string) []Probe {
	var out []Probe
	for _, o := range p.Probes {
		if o.Site == site {
			out = append(out, o)
		}
	}
	return out
}

// Pipeline is a group that reads inputs and writes outputs, all of them mirrored;
// see plan.Pipeline.
type Pipeline struct {
	Group         string   `json:"group"`
	Inputs        []string `json:"inputs"`
	Outputs       []string `json:"outputs"`
	MarginSeconds int64    `json:"margin_seconds"`
}

// Objectives of the pair.
type Objectives struct {
	RTOSeconds int64 `json:"rto_seconds"`
	RPOSeconds int64 `json:"rpo_seconds"`
	// LagRecords is the lag per partition under which a mirror counts as
	// caught up before a planned move.
	LagRecords int64 `json:"lag_records"`
}

// Limits of a run.
type Limits struct {
	// FreezeSeconds bounds the freeze of a planned move: on expiry before the
	// pivot everything is undone.
	FreezeSeconds int64 `json:"freeze_seconds"`
	// WaveTopics is how many mirrors the first wave of a failover ends; see Waves for those behind it.
	WaveTopics int `json:"wave_topics"`
	// HaltPercent of a wave's mirrors may fail before the run waits for a person.
	HaltPercent int `json:"halt_percent"`
	// ClientsSeconds bounds the wait for clients to appear on the new site.
	ClientsSeconds int64 `json:"clients_seconds"`
	// CatchUpSeconds bounds the wait for mirrors to catch up.
	CatchUpSeconds int64 `json:"catch_up_seconds"`
	// TransactionsSeconds is how long open transactions at the source are
	// waited for before they are ended.
	TransactionsSeconds int64 `json:"transactions_seconds"`
	// AntiFlapSeconds is how long after a move one more of the same kind needs
	// somebody who says that it is meant; 0: it never does.
	AntiFlapSeconds int64 `json:"anti_flap_seconds"`
}

// Watch is how often readiness is looked at.
type Watch struct {
	EverySeconds int64 `json:"every_seconds"` // negative: never by itself
}

// Owner decides about lagged records of Topics (names, or ^patterns over the whole
// name): By are people, or roles that people have.
type Owner struct {
	Topics []string `json:"topics"`
	By     []string `json:"by"`
}

// Person may start, approve or command operations.
type Person struct {
	Name      string   `json:"name"`
	Roles     []string `json:"roles"`
	PublicKey string   `json:"public_key"` // base64 of 32 bytes, Ed25519
	SlackID   string   `json:"slack_id,omitempty"`
}

// Approval is the rule for one operation.
type Approval struct {
	Count int `json:"count"`
	// Roles: an approver holds at least one of them; empty means anybody.
	Roles []string `json:"roles,omitempty"`
	// SelfApproval lets the requester approve.
	SelfApproval bool `json:"self_approval,omitempty"`
	// DeadlineSeconds from the request to the last approval that counts.
	DeadlineSeconds int64 `json:"deadline_seconds"`
	// EscalateSeconds after which EscalateTo (roles or people; empty: everybody)
	// are told and paged too: 0 is half the deadline, negative never.
	EscalateSeconds int64    `json:"escalate_seconds,omitempty"`
	EscalateTo      []string `json:"escalate_to,omitempty"`
	// EscalatedMayApprove: from then on they may approve, whatever their roles.
	EscalatedMayApprove bool `json:"escalated_may_approve,omitempty"`
}

// BreakGlassRule is who may act without the plan's approvals, for which
// operations, and how many approvals remain then (0 or 1).
type BreakGlassRule struct {
	Roles      []string `json:"roles"`
	Approvals  int      `json:"approvals"`
	Operations []string `json:"operations"`
}

// Notify says where notifications go; an absent part is not configured.
type Notify struct {
	Slack     *Slack     `json:"slack,omitempty"`
	PagerDuty *PagerDuty `json:"pagerduty,omitempty"`
	Webhook   *Webhook   `json:"webhook,omitempty"`
	SMTP      *SMTP      `json:"smtp,omitempty"`
}

// Slack by token and channel, or by an incoming webhook.
type Slack struct {
	Webhook string `json:"webhook,omitempty"` // reference
	Token   string `json:"token,omitempty"`   // reference
	Channel string `json:"channel,omitempty"`
}

// PagerDuty Events v2.
type PagerDuty struct {
	RoutingKey string `json:"routing_key"` // reference
	// EscalationRoutingKey is of those who are paged by an escalation; a reference.
	EscalationRoutingKey string `json:"escalation_routing_key,omitempty"`
}

// CanaryTopic is the pair's own mirrored topic, the only one that a runbook
// produces to.
func CanaryTopic(pair string) string { return "drawbridge.canary." + pair }

// Site finds a site by name.
func (p Plan) Site(name string) (Site, error) {
	for _, s := range p.Sites {
		if s.Name == name {
			return s, nil
		}
	}
	return Site{}, fmt.Errorf("plan of pair %s has no site %q", p.Pair, name)
}

// Other is the site of a two-site pair that is not name.
func (p Plan) Other(name string) (Site, error) {
	if _, err := p.Site(name); err != nil {
		return Site{}, err
	}
	for _, s := range p.Sites {
		if s.Name != name {
			return s, nil
		}
	}
	return Site{}, fmt.Errorf("plan of pair %s has no second site", p.Pair)
}

// Link finds the link that copies from source to destination.
func (p Plan) Link(source, destination string) (Link, error) {
	for _, l := range p.Links {
		if l.Source == source && l.Destination == destination {
			return l, nil
		}
	}
	return Link{}, fmt.Errorf("plan of pair %s has no link from %s to %s", p.Pair, source, destination)
}

// GroupNames lists the plan's groups.
func (p Plan) GroupNames() []string {
	out := make([]string, 0, len(p.Groups))
	for _, g := range p.Groups {
		out = append(out, g.Name)
	}
	slices.Sort(out)
	return out
}

// Seconds turns a plan's seconds into a duration.
func Seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
