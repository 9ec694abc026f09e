package deps

// module is the product's import path; rules name its packages without it.
const module = "github.com/drawbridge-dr/drawbridge"

// Outside libraries, as rules name them. A name covers what lies below it.
const (
	temporalSDK = "go.temporal.io/sdk"
	temporalAPI = "go.temporal.io/api" // the SDK's own types: enums, service errors
	kafka       = "github.com/twmb/franz-go"
	consul      = "github.com/hashicorp/consul/api"
	vault       = "github.com/hashicorp/vault/api"
	renameio    = "github.com/google/renameio/v2"
	slack       = "github.com/slack-go/slack"
	pagerduty   = "github.com/PagerDuty/go-pagerduty"
	mail        = "github.com/wneessen/go-mail"
	prometheus  = "github.com/prometheus/client_golang"
	yaml        = "github.com/goccy/go-yaml"
	cobra       = "github.com/spf13/cobra"
	compress    = "github.com/klauspost/compress"
	lz4         = "github.com/pierrec/lz4/v4"
	errgroup    = "golang.org/x/sync"
	kubernetes  = "k8s.io"
)

// rule says what one room may import. What it does not list is forbidden.
type rule struct {
	room   string   // package, or "x/..." for all below x that have no rule of their own
	own    []string // packages of ours that it may reach, directly or through others ("x/...": all below x too)
	direct []string // outside libraries that it may import itself; with `own` this bounds what it reaches
	never  []ban    // what it may not reach by any way, the standard library included
	absent string   // the room is built later, then: why; the test fails when it has appeared all the same
}

// ban forbids a package and, outside the standard library, what lies below it.
type ban struct{ pkg, reason string }

var (
	// A pure room takes facts and gives verdicts.
	noSockets = ban{"net", "a pure room has no sockets: facts come in as values"}
	noProcess = ban{"os/exec", "a pure room starts nothing"}
	pure      = []ban{noSockets, noProcess}

	noTemporal = ban{"go.temporal.io", "the data plane must run, and be understood, without Temporal"}
	noConsul   = ban{consul, "who is active is decided by runbooks and read by clients, not by the data plane"}
	noSlack    = ban{slack, "people are told by the worker and the bot"}
	noPager    = ban{pagerduty, "people are told by the worker"}
	noMail     = ban{mail, "people are told by the worker"}
	noKafka    = ban{kafka, "it would touch records or brokers behind the worker's and the engine's back"}
	dataPlane  = []ban{noTemporal, noConsul, noSlack, noPager, noMail, noKube}
	noKube     = ban{kubernetes, "workloads are moved by the worker"}

	leaves = []string{"mirrorengine/api", "mirrorengine/status", "mirrorengine/offsetmap"}
)

var rules = []rule{
	// The record of truth, and the applications that watch it.
	{room: "client/record", never: pure},
	{
		room: "client", own: []string{"client/record"}, direct: []string{consul},
		never: []ban{
			{"go.temporal.io", "applications link this package; it must stay small"},
			{kafka, "applications bring a Kafka client of their own"},
			{vault, "credentials are the application's own"},
			noSlack, noPager, noMail,
		},
	},
	{room: "client/example", own: []string{"client", "client/record"}, direct: []string{kafka}},

	// Judgement and story.
	{room: "workflows/runbook", own: []string{"client/record"}, never: pure},
	{room: "workflows/plan", own: []string{"client/record"}, direct: []string{yaml, kubernetes + "/apimachinery" /* the rules of labels and names */}, never: []ban{
		{"net/http", "reading a plan asks nobody; secrets in it are references"}, noProcess,
	}},
	{
		room: "workflows", own: []string{"workflows/runbook", "client/record"}, direct: []string{temporalSDK, temporalAPI},
		never: []ban{
			{kafka, "a workflow is replayed: brokers are reached by activities only"},
			{consul, "a workflow is replayed: the record is read and written by activities only"},
			{vault, "a secret in a workflow would stand in its history"},
			{yaml, "workflow code gets the normalised plan from an activity; reading one is not deterministic"},
			noSlack, noPager, noMail, noKube,
			{prometheus, "metrics are the worker's"},
		},
	},

	// Hands.
	{
		room: "activities/kube", own: []string{"workflows/runbook", "client/record"}, direct: []string{kubernetes},
		never: []ban{noTemporal, noKafka, noConsul, noSlack, noPager, noMail},
	},
	{
		room: "activities", own: []string{"activities/kube", "workflows", "workflows/runbook", "workflows/plan", "client/record", "mirrorengine/api", "mirrorengine/secret" /* one reader of references for both processes */},
		direct: []string{temporalSDK, temporalAPI, kafka, consul, slack, pagerduty, mail, renameio, errgroup},
		never:  []ban{{cobra, "flags are read in cmd"}},
	},
	{
		room: "worker", own: []string{"workflows/...", "activities/...", "client/record", "mirrorengine/api", "mirrorengine/secret"},
		direct: []string{temporalSDK, temporalAPI, kafka, consul, slack, pagerduty, mail, prometheus, yaml, errgroup},
		never:  []ban{{cobra, "flags are read in cmd"}},
	},

	// The engine, leaves first: root → rest → link → leaves; api is what all others speak.
	{room: "mirrorengine/api", never: []ban{noProcess}},
	{room: "mirrorengine/status", own: []string{"mirrorengine/api"}, never: []ban{noProcess}},
	{room: "mirrorengine/offsetmap", own: []string{"mirrorengine/api"}, never: []ban{noProcess}},
	{room: "mirrorengine/batch", direct: []string{compress, lz4}, never: pure},
	{room: "mirrorengine/secret", direct: []string{vault}, never: append([]ban{noKafka}, dataPlane...)},
	{room: "mirrorengine/state", own: leaves, direct: []string{kafka, errgroup}, never: dataPlane},
	{
		room: "mirrorengine/cluster", own: []string{"mirrorengine/api"}, direct: []string{kafka},
		never: append([]ban{noProcess}, dataPlane...),
	},
	{
		room: "mirrorengine/wire", direct: []string{kafka},
		never: append([]ban{
			{kafka + "/pkg/kgo", "it is what the data requests do without; its owner hands over how to dial and log in"},
			{kafka + "/pkg/kadm", "metadata, groups and admin are asked elsewhere"},
		}, dataPlane...),
	},
	{
		room: "mirrorengine/link", own: append([]string{
			"mirrorengine/state", "mirrorengine/batch", "mirrorengine/secret", "mirrorengine/wire",
		}, leaves...),
		direct: []string{kafka, prometheus, errgroup, "github.com/google/uuid" /* link ids are UUIDs in the contract */, "golang.org/x/oauth2" /* tokens of SASL OAUTHBEARER */},
		never:  dataPlane,
	},
	{
		room: "mirrorengine/rest", own: append([]string{
			"mirrorengine/link", "mirrorengine/state", "mirrorengine/batch", "mirrorengine/secret", "mirrorengine/wire",
		}, leaves...),
		direct: []string{kafka, prometheus, errgroup}, never: dataPlane,
	},
	{
		room: "mirrorengine", own: []string{"mirrorengine/..."}, direct: []string{kafka, prometheus, yaml, errgroup},
		never: append([]ban{{cobra, "flags are read in cmd"}}, dataPlane...),
	},

	// Programs: each its one process package.
	{room: "cmd/internal/boot", direct: []string{renameio}, never: []ban{{"net/http", "what a process serves is its own package's affair"}}},
	{
		room: "cmd/internal/operator", own: []string{"workflows", "workflows/runbook", "workflows/plan", "client/record"},
		direct: []string{temporalSDK, temporalAPI},
		never:  []ban{noKafka, noSlack, noPager, noMail},
	},
	{
		room: "cmd/mirrorengine/...", own: []string{"mirrorengine/...", "cmd/mirrorengine/...", "cmd/internal/boot"},
		direct: []string{cobra}, never: dataPlane,
	},
	{
		room: "cmd/worker/...", own: []string{
			"worker/...", "workflows/...", "activities/...", "client/record", "mirrorengine/api", "mirrorengine/secret", "cmd/worker/...", "cmd/internal/boot",
		},
		direct: []string{cobra},
	},
	{
		room: "cmd/drctl/...", own: []string{
			"cmd/drctl/...", "cmd/internal/...", "client/...", "workflows/...", "mirrorengine/api",
			"mirrorengine/secret", // references in the credentials of `drctl exec`
		},
		direct: []string{cobra, temporalSDK, temporalAPI, consul, yaml, errgroup, "golang.org/x/sys" /* the size of the terminal */},
		never:  []ban{noKafka, noSlack, noPager, noMail},
	},
	{
		room: "cmd/drbot", own: []string{"cmd/internal/...", "workflows", "workflows/runbook", "workflows/plan", "client/record"},
		direct: []string{slack, renameio, yaml},
		never: []ban{
			noKafka, noPager, noMail,
			{consul, "the bot commands runs; what they go by is the runs' affair"},
			{module + "/mirrorengine", "no short cut from the bot to an engine"},
		},
	},
}
