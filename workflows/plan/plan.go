package plan

// Plan is a pair's plan. After Normalise every default is written out, lists
// are sorted and *_file shorthands have become references, so that its JSON
// says all that the hash covers.
type Plan struct {
	// Pair is the name of the pair; the file is called <pair>.yaml.
	Pair string `json:"pair"`
	// Mode is active-passive, the default.
	Mode string `json:"mode"`
	// Home is the site that is active in normal life.
	Home string `json:"home"`
	// Sites are two, in any order.
	Sites []Site `json:"sites"`
	// Links in both directions; default <source>-to-<destination>.
	Links []Link `json:"links"`
	// Topics to mirror: names, or RE2 patterns over the whole name, which
	// start with ^.
	Topics []string `json:"topics"`
	// Groups are the consumer groups that move with the pair.
	Groups []Group `json:"groups"`
	// Teams are told when their groups move; groups of no team are told of by notify.
	Teams []Team `json:"teams,omitempty"`

	// Probes are vantage points beside the worker and the engines; Pipelines are
	// groups whose outputs are mirrored too.
	Probes    []Probe    `json:"probes,omitempty"`
	Pipelines []Pipeline `json:"pipelines,omitempty"`
	// Owners say who decides about lagged records of which topics.
	Owners []Owner `json:"owners,omitempty"`

	Objectives Objectives      `json:"objectives"`
	Limits     Limits          `json:"limits"`
	People     []Person        `json:"people"`
	Approvals  map[string]Rule `json:"approvals"`
	Notify     Notify          `json:"notify"`
	// Bot may sign on behalf of people who have a slack_id; leave it out and nobody
	// commands from a chat.
	Bot       *Bot     `json:"bot,omitempty"`
	Readiness Watch    `json:"readiness"`
	Debts     Duty     `json:"debts"`
	Freezes   []Freeze `json:"freezes,omitempty"`
	Drills    []Drill  `json:"drills,omitempty"`
	// BreakGlass says who may act without the approvals; leave it out and nobody may.
	BreakGlass *BreakGlass `json:"break_glass,omitempty"`
	// Reports is the worker's folder for reports, default "reports".
	Reports string `json:"reports"`
}

// Site is a cluster with its engine and Consul.
type Site struct {
	// Name of the site, as in east: links, runs and people call it so.
	Name   string `json:"name"`
	Kafka  Kafka  `json:"kafka"`
	Engine Engine `json:"engine"`
	Consul Consul `json:"consul"`
	// Canary is the principal of the wrong-CRC probe; leave it out only where
	// the cluster has no authorizer (a fence is then never proven).
	Canary *Security `json:"canary,omitempty"`
	// SecurityRef tells clients of the record where their credentials are;
	// default the site's name.
	SecurityRef string `json:"security_ref"`
}

// Kafka is how the worker reaches the cluster.
type Kafka struct {
	// Bootstrap servers as host:port. Clients find them in the record of truth too.
	Bootstrap []string `json:"bootstrap"`
	// Security is the worker's own login.
	Security Security `json:"security"`
	// EngineBootstrap is what the other site's engine dials; default Bootstrap.
	EngineBootstrap []string `json:"engine_bootstrap"`
}

// Security is how a principal logs in. Password is a reference; password_file
// is short for ${file:<path>}.
type Security struct {
	// Protocol is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; a canary's default is that of
	// kafka.security, with Mechanism and CAFile.
	Protocol string `json:"protocol"`
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, with SASL_* only.
	Mechanism string `json:"mechanism,omitempty"`
	Username  string `json:"username,omitempty"` // with SASL_*
	Password  string `json:"password,omitempty"` // ${file:/path}, ${env:NAME} or ${vault:mount/path#key}
	// PasswordFile is the file that holds the password, in place of password.
	PasswordFile string `json:"password_file,omitempty"`
	CAFile       string `json:"ca_file,omitempty"` // PEM, with SSL and SASL_SSL; default the system's authorities
}

// Engine is the mirroring engine beside the site.
type Engine struct {
	URL       string `json:"url"`                  // of its REST API
	TokenFile string `json:"token_file,omitempty"` // a token of the role admin; none where the engine asks nobody
	// CAFile has the authorities of the engine's certificate, CertFile and KeyFile
	// are shown to it; default the system's, and none.
	CAFile   string `json:"ca_file,omitempty"`
	CertFile string `json:"cert_file,omitempty"`
	KeyFile  string `json:"key_file,omitempty"`
	// LinkSecurity is what this engine logs in with at the other site (its
	// references are resolved by the engine); default that site's
	// kafka.security.
	LinkSecurity Security `json:"link_security"`
}

// Consul is the site's own Consul: host:port or URL.
type Consul struct {
	Address   string `json:"address"`              // host:port, or a URL
	TokenFile string `json:"token_file,omitempty"` // its rights are in deploy/consul
}

// Link is a cluster link; configs are Cluster Linking configs such as
// consumer.offset.sync.ms.
type Link struct {
	Name        string            `json:"name"`
	Source      string            `json:"source"`      // a site's name
	Destination string            `json:"destination"` // the other site's
	Configs     map[string]string `json:"configs,omitempty"`
}

// Group is a consumer group and how it moves: watch, page, rebootstrap or kubernetes.
type Group struct {
	Name string `json:"name"`
	// Move is watch (it runs under drctl exec), page (people are told to move it),
	// rebootstrap (its clients find a DNS name that you move) or kubernetes (the worker
	// stops and starts its workloads).
	Move string `json:"move"`
	// Wave in which the group moves, 1 (the default) to 100: those of the first go with the
	// flip, each later wave when the one before was seen at the new site, or a person lets
	// it. Groups that watch or page only; see limits.halt_percent.
	Wave int64 `json:"wave,omitempty"`
	// Kubernetes has the workloads of the group's clients, with kubernetes only: an entry
	// for each namespace, or site.
	Kubernetes []Workloads `json:"kubernetes,omitempty"`
}

// Probe is a third point of view of a site: a URL that answers in the text format
// of a Prometheus blackbox exporter, probe_success 1 or 0. The exporter stands
// somewhere else and dials a broker of the site from there.
type Probe struct {
	Name string `json:"name"`
	Site string `json:"site"` // that it looks at
	URL  string `json:"url"`
}

// Pipeline is a group that reads inputs and writes what comes of them to outputs.
// An unplanned failover places it no later than its last mirrored output:
// MarginSeconds (default 300) is by how much an output may be younger than the
// input it came of, with the time that records wait before they are processed.
type Pipeline struct {
	Group         string   `json:"group"`
	Inputs        []string `json:"inputs"`
	Outputs       []string `json:"outputs"`
	MarginSeconds int64    `json:"margin_seconds"`
}

// Owner of topics (names, or patterns as in topics): people by name, or teams by
// the role that their people have. By default whoever has one of the roles of
// approvals.recover decides.
type Owner struct {
	Topics []string `json:"topics"`
	By     []string `json:"by"`
}

// Objectives of the pair; LagRecords (default 1000) is the lag per partition
// under which a mirror counts as caught up.
type Objectives struct {
	RTOSeconds int64 `json:"rto_seconds"` // needed, 1 to 604800 (a week): what a failover may take; reports hold it against that
	RPOSeconds int64 `json:"rpo_seconds"` // needed, 1 to 604800 (a week): how far a mirror may lag in time before readiness minds
	LagRecords int64 `json:"lag_records"`
}

// Limits of a run; see the defaults in normalise.go.
type Limits struct {
	FreezeSeconds       int64 `json:"freeze_seconds"`       // a planned move in which clients stand still for longer is undone
	WaveTopics          int64 `json:"wave_topics"`          // mirrors that a failover ends first; the next waves grow fourfold, up to 1,000
	HaltPercent         int64 `json:"halt_percent"`         // more failures than this in a wave, of mirrors or of groups, wait for a person
	ClientsSeconds      int64 `json:"clients_seconds"`      // wait for clients at the new site, then report who is missing
	CatchUpSeconds      int64 `json:"catch_up_seconds"`     // wait for mirrors to get under lag_records
	TransactionsSeconds int64 `json:"transactions_seconds"` // wait for open transactions before a planned move ends them
	// AntiFlapSeconds: so soon after a move another one of the same kind needs the
	// override flapping. 0 for off, absent for the default.
	AntiFlapSeconds *int64 `json:"anti_flap_seconds"`
}

// Watch is how often the pair's readiness is looked at: every_seconds is 1200 by
// default, at least 60; -1 for never by itself.
type Watch struct {
	EverySeconds int64 `json:"every_seconds"`
}

// Duty is how often what is owed to a site is looked at, and paid when it can be:
// every_seconds is 60 by default, at least 10; -1 for only when somebody asks.
type Duty struct {
	EverySeconds int64 `json:"every_seconds"`
}

// Freeze is a window in which planned operations are refused: fixed, with from and to
// in RFC 3339, or weekly, with days, from and to as hh:mm, and a zone (UTC by default).
// A weekly window whose to is not behind its from ends on the next day.
type Freeze struct {
	Name string   `json:"name"` // whoever is refused reads it
	From string   `json:"from"`
	To   string   `json:"to"`
	Days []string `json:"days,omitempty"` // mon, tue, wed, thu, fri, sat, sun
	Zone string   `json:"zone,omitempty"` // as in Europe/Berlin
}

// Drill is when a kind of drill is played by itself: tabletop, canary or full, one
// entry each. Either cron (five fields, in zone) or every_seconds (at least 60);
// jitter_seconds spreads the start.
type Drill struct {
	Kind          string `json:"kind"` // tabletop, canary or full
	Cron          string `json:"cron,omitempty"`
	EverySeconds  int64  `json:"every_seconds,omitempty"`
	Zone          string `json:"zone,omitempty"` // as in Europe/Berlin; default UTC
	JitterSeconds int64  `json:"jitter_seconds,omitempty"`
}

// Person may start, approve and command operations; PublicKey is base64
// (drctl key).
type Person struct {
	Name      string   `json:"name"`  // as in drctl key new --name
	Roles     []string `json:"roles"` // names of your own, used by approvals, break_glass and owners
	PublicKey string   `json:"public_key"`
	SlackID   string   `json:"slack_id,omitempty"` // whom escalations mention
}

// Rule is the approval rule for one operation (setup, failover, switchover, recover,
// restore, failback, unfence, drill).
type Rule struct {
	Count           int64    `json:"count"`                   // approvals by different people
	Roles           []string `json:"roles,omitempty"`         // one of which an approver needs; default anybody of the plan
	SelfApproval    bool     `json:"self_approval,omitempty"` // the requester may approve too
	DeadlineSeconds int64    `json:"deadline_seconds"`        // then the run ends without a change
	// EscalateSeconds without enough answers and EscalateTo, roles or people, are
	// told and paged too: default half the deadline and everybody; -1 for never.
	// With EscalatedMayApprove they may approve then, whatever their roles.
	EscalateSeconds     int64    `json:"escalate_seconds,omitempty"`
	EscalateTo          []string `json:"escalate_to,omitempty"`
	EscalatedMayApprove bool     `json:"escalated_may_approve,omitempty"`
}

// BreakGlass: people with one of Roles may carry out Operations (default failover)
// with Approvals (0, the default, or 1) in place of the rule's.
type BreakGlass struct {
	Roles      []string `json:"roles"`
	Approvals  int64    `json:"approvals"` // that remain
	Operations []string `json:"operations"`
}

// Notify: an absent part is not configured, and nothing is sent there.
type Notify struct {
	Slack     *Slack     `json:"slack,omitempty"`
	PagerDuty *PagerDuty `json:"pagerduty,omitempty"`
	Webhook   *Webhook   `json:"webhook,omitempty"`
	SMTP      *SMTP      `json:"smtp,omitempty"`
}

// Slack takes a webhook, or a token and a channel; both secrets by reference.
type Slack struct {
	Webhook string `json:"webhook,omitempty"`
	Token   string `json:"token,omitempty"`
	Channel string `json:"channel,omitempty"`
}

// PagerDuty Events v2, routing keys by reference. EscalationRoutingKey is of the
// service whose people are paged too when something is escalated or the glass is
// broken. Events v2 takes events and tells nothing: who acknowledges an incident in
// PagerDuty alone quiets it there, and for the run nobody has.
type PagerDuty struct {
	RoutingKey           string `json:"routing_key"`
	EscalationRoutingKey string `json:"escalation_routing_key,omitempty"`
}
