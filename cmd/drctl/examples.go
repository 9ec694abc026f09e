package main

// examples of commands that bring none of their own. A test reads each line as drctl would.
var examples = map[string]string{
	"drctl": `  drctl status orders
  drctl readiness orders
  drctl failover orders --dry-run`,
	"drctl plan example":  `  drctl plan example > plans/orders.yaml`,
	"drctl plan validate": `  drctl plan validate plans/orders.yaml`,
	"drctl plan hash":     `  drctl plan hash plans/orders.yaml`,
	"drctl key new":       `  drctl key new --name ann`,
	"drctl key show": `  drctl key show
  drctl key show --key ~/keys/ann.json -o json`,
	"drctl setup": `  drctl setup orders
  drctl setup orders --plan plans/orders.yaml --reason "two topics more"`,
	"drctl failover": `  drctl failover orders --dry-run                 # what would be lost, what read twice, which steps would follow
  drctl failover orders --reason "east is dark"   # asks you to type the pair's name, then others for approvals
  drctl approve orders --override unproven-fence --reason "its racks have no power"   # somebody else
  drctl failover orders --yes=orders --detach -o json   # from a script; drctl watch orders follows it`,
	"drctl recover": `  drctl recover orders                            # asks topic by topic: drctl decide
  drctl recover orders --append '*' --discard scratch
  drctl recover orders --debts-only               # only pay what is owed to the returned site: fence, record, retention`,
	"drctl approve": `  drctl approve orders
  drctl approve orders --override unproven-fence --reason "its racks have no power"`,
	"drctl deny": `  drctl deny orders --reason "east answers again"`,
	"drctl decide": `  drctl decide orders --append '*' --export payments   # lagged data, in a recovery
  drctl decide orders --mirror new-topic --leave scratch --delete old   # topics that changed, in a restore or failback`,
	"drctl retry":  `  drctl retry orders --reason "west has disk again"`,
	"drctl skip":   `  drctl skip orders --step "move clients" --reason "moved by hand"`,
	"drctl abort":  `  drctl abort orders --reason "east answers again"`,
	"drctl resume": `  drctl resume orders`,
	"drctl status": `  drctl status orders
  drctl status orders --plan plans/orders.yaml    # with the record's copies, holds and fences
  drctl status orders --follow
  drctl status orders -o json`,
	"drctl hold": `  drctl hold orders --reason "audit until noon"
  drctl hold --all --reason "network change"`,
	"drctl release": `  drctl release orders --reason "the audit is over"`,
	"drctl unfence": `  drctl unfence orders --list
  drctl unfence orders --override break-lock --reason "its Temporal is gone"`,
	"drctl link list":     `  drctl link list --engine https://engine.west.example:8090 --token-file west.token`,
	"drctl link create":   `  drctl link create east-to-west --source-cluster-id lkc-east --config-file link.properties --validate-only`,
	"drctl link describe": `  drctl link describe east-to-west -o json`,
	"drctl link delete": `  drctl link delete east-to-west
  drctl link delete east-to-west --force --yes=east-to-west`,
	"drctl link configs": `  drctl link configs east-to-west
  drctl link configs east-to-west consumer.offset.sync.ms`,
	"drctl link alter":      `  drctl link alter east-to-west --set consumer.offset.sync.ms=2000 --reset security.protocol`,
	"drctl link drift":      `  drctl link drift east-to-west`,
	"drctl link acls":       `  drctl link acls east-to-west -o yaml`,
	"drctl mirror list":     `  drctl mirror list east-to-west --status active`,
	"drctl mirror create":   `  drctl mirror create east-to-west invoices --config min.insync.replicas=2`,
	"drctl mirror describe": `  drctl mirror describe east-to-west invoices`,
	"drctl mirror promote": `  drctl mirror promote east-to-west invoices --validate-only
  drctl mirror promote east-to-west --pattern 'audit-.*' --yes=east-to-west`,
	"drctl mirror failover": `  drctl mirror failover east-to-west invoices`,
	"drctl mirror pause":    `  drctl mirror pause east-to-west --pattern '.*'`,
	"drctl mirror resume":   `  drctl mirror resume east-to-west invoices`,
	"drctl exec": `  drctl exec --pair orders --group billing --consul 127.0.0.1:8500 --state-dir /var/lib/billing -- ./billing
  drctl exec --pair orders --group billing --site-consul east=consul.east.example:8500 --site-consul west=consul.west.example:8500 \
    --credentials east=/etc/billing/east.env --credentials west=/etc/billing/west.env --splay 10s --state-dir /var/lib/billing \
    -- ./billing --brokers {{.Bootstrap}}`,
	"drctl announce": `  drctl announce --pair orders --service orders-kafka --consul 127.0.0.1:8500 --state-dir /var/lib/drawbridge-announce`,
	"drctl watch": `  drctl watch orders
  drctl watch orders -o json | jq -r .detail.phase`,
	"drctl completion": `  source <(drctl completion bash)                 # into ~/.bashrc
  drctl completion zsh > "${fpath[1]}/_drctl"
  drctl completion fish > ~/.config/fish/completions/drctl.fish`,
}
