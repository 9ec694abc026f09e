package main

import (
	"github.com/spf13/cobra"
)

// Groups of commands in the help, in its order.
const (
	groupRunbooks = "runbooks"
	groupAnswers  = "answers"
	groupLooks    = "looks"
	groupEngine   = "engine"
	groupClients  = "clients"
	groupPlans    = "plans"
)

var groups = []*cobra.Group{
	{ID: groupLooks, Title: "Look:"},
	{ID: groupRunbooks, Title: "Start a runbook:"},
	{ID: groupAnswers, Title: "Answer the open run:"},
	{ID: groupEngine, Title: "Engines and their fences:"},
	{ID: groupClients, Title: "Clients:"},
	{ID: groupPlans, Title: "Plans and keys:"},
}

// groupOf places commands in the help; one that is not named stands under "Additional Commands".
var groupOf = map[string]string{
	"status": groupLooks, "watch": groupLooks, "readiness": groupLooks, "reports": groupLooks, "debts": groupLooks,
	"setup": groupRunbooks, "failover": groupRunbooks, "switchover": groupRunbooks, "recover": groupRunbooks, "failback": groupRunbooks,
	"restore": groupRunbooks, "drill": groupRunbooks, "hold": groupRunbooks, "release": groupRunbooks,
	"approve": groupAnswers, "deny": groupAnswers, "decide": groupAnswers, "retry": groupAnswers, "skip": groupAnswers, "abort": groupAnswers,
	"pause": groupAnswers, "resume": groupAnswers, "into-failover": groupAnswers, "break-glass": groupAnswers, "acknowledge": groupAnswers,
	"link": groupEngine, "mirror": groupEngine, "unfence": groupEngine,
	"exec": groupClients, "announce": groupClients,
	"plan": groupPlans, "key": groupPlans,
}

// topics are help texts that belong to no command: drctl help exit-codes.
var topics = []*cobra.Command{
	{Use: "exit-codes", Short: "what the exit code says, for scripts", Long: exitHelp},
	{Use: "environment", Short: "variables and profiles that stand for flags", Long: environmentHelp},
	{Use: "output", Short: "tables, JSON and YAML; colours", Long: outputHelp},
}

const environmentHelp = `A flag wins over its variable, a variable over a profile.

Plan and key:
  DRCTL_PLAN               the pair's plan, instead of --plan
  DRCTL_KEY                your key file, instead of --key

Engine of "drctl link" and "drctl mirror":
  DRCTL_ENGINE             its URL, instead of --engine
  DRCTL_ENGINE_TOKEN_FILE  file with its token, instead of --token-file
  DRCTL_ENGINE_CA_FILE, DRCTL_ENGINE_CERT_FILE, DRCTL_ENGINE_KEY_FILE

Temporal, as every Temporal tool reads it:
  TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_CLIENT_CERT_PATH, …
  TEMPORAL_PROFILE         a profile of temporal.toml, instead of --temporal-profile
  TEMPORAL_CONFIG_FILE     that file, where it is not temporalio/temporal.toml in your configuration folder

A profile for each place where you operate:
  [profile.east]
  address   = "temporal.east.example:7233"
  namespace = "drawbridge"
  [profile.east.tls]
  client_cert_path = "/home/ann/east.crt"
  client_key_path  = "/home/ann/east.key"

Consul, as its own tools read it: CONSUL_HTTP_TOKEN(_FILE), CONSUL_CACERT, CONSUL_NAMESPACE, … ("drctl exec", "hold",
"status --plan" and every signed start, which reads the record's epoch; addresses come from the plan or from flags).

Engines of "drctl status" and "unfence": --engine-token SITE=FILE, which has no variable.

NO_COLOR                   set to anything: nothing is coloured`

const outputHelp = `-o table, the default, is for people. On a terminal cells are wrapped so that the table fits, and states are coloured.
In a pipe a row is one line, as long as it gets, and nothing is coloured: grep and awk see what you see.

-o json and -o yaml are for programs and have the same keys; a list without entries is [], an absent value is left out.
What a run does meanwhile, warnings and questions go to stderr in any case, so stdout is the answer alone.
Fields are only ever added. "drctl watch" prints one document for each change: a line in JSON, after --- in YAML.`

// helped gives commands their group, examples and completions, and adds the topics.
func (a *app) helped(root *cobra.Command) *cobra.Command {
	root.AddGroup(groups...)
	for _, topic := range topics {
		t := *topic // a command is changed by its parent
		root.AddCommand(&t)
	}
	walk(root, func(cmd *cobra.Command) {
		if cmd.Parent() == root {
			cmd.GroupID = groupOf[cmd.Name()]
		}
		if cmd.Example == "" {
			cmd.Example = examples[cmd.CommandPath()]
		}
		a.complete(cmd)
	})
	return root
}

// walk visits a command and all below it.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}
