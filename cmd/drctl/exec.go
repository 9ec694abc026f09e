package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/cmd/drctl/internal/supervise"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// watchFlags say which record is followed, and where it is.
type watchFlags struct {
	pair, consul, stateDir string
	siteConsuls            map[string]string
}

func (x *watchFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&x.pair, "pair", "", "the pair's name")
	f.StringVar(&x.consul, "consul", "", "host:port of the Consul agent here")
	f.StringToStringVar(&x.siteConsuls, "site-consul", nil, "SITE=host:port of a site's Consul, for those who can reach both; may be repeated")
	f.StringVar(&x.stateDir, "state-dir", "", "folder of this process where the last record is kept")
}

// execFlags are those of drctl exec.
type execFlags struct {
	watchFlags
	group, instance    string
	credentials        map[string]string
	vaultToken         string
	killTimeout, splay time.Duration
	restart            bool
	pass               []string
}

const execLong = `exec runs a command so that it follows the pair's record of truth in Consul.

The child gets DRAWBRIDGE_BOOTSTRAP (host:port list joined by commas), DRAWBRIDGE_SITE, DRAWBRIDGE_EPOCH,
DRAWBRIDGE_SECURITY_REF, DRAWBRIDGE_PAIR and DRAWBRIDGE_GROUP, and what the site's --credentials file says. Arguments may
hold {{.Bootstrap}}, {{.Site}}, {{.Epoch}}, {{.SecurityRef}}, {{.Pair}} and {{.Group}}.

When the record says frozen, or sends the group to another site (or to other servers of the same one), the child's process
group gets SIGTERM, after --kill-timeout SIGKILL; the stop is acknowledged in Consul under drawbridge/<pair>/acks/; and the
child is started again for the new site when the phase is open, or moving, which stops nobody, and its group's wave (wave in
the plan) has had its turn.

Without any Consul the last record in --state-dir is used, with a warning; an epoch lower than the last one seen is never
believed, nor a record that is torn or of another pair. HUP, INT, QUIT, TERM, USR1, USR2 and WINCH are passed on. A child
that ends by itself ends exec with its exit code, unless --restart. One that cannot be started at the new site, where it ran
at the old one, is tried again, after 1 s doubling to 30 s.
The child runs in a process group of its own, so it cannot read from a terminal. It must stay in the foreground: what it
leaves behind when it ends is stopped too (on Linux also what made itself a daemon) before the stop is acknowledged.

A --credentials file holds KEY=VALUE lines; ${file:/path}, ${file:/path:key}, ${env:NAME} and, with --vault-token-file,
${vault:mount/path#key} in a value are put in at each start, so that rotated secrets are taken. What is wrong is said by its
key, never with a value.

The child inherits the environment without what drctl itself logs in with: CONSUL_HTTP_TOKEN(_FILE), CONSUL_HTTP_AUTH,
CONSUL_CLIENT_CERT and _KEY, TEMPORAL_API_KEY and Temporal's client certificate and key, and all of DRCTL_. An application that
needs one of them gets it by --pass-env, or better one of its own by --credentials.

Consul's token and TLS settings come from CONSUL_HTTP_TOKEN(_FILE), CONSUL_CACERT and so on; it needs to read
drawbridge/<pair>/active and to write drawbridge/<pair>/acks/.`

func (a *app) execCommand() *cobra.Command {
	var x execFlags
	cmd := &cobra.Command{
		Use:   "exec --pair PAIR --group GROUP --consul ADDRESS --state-dir FOLDER -- COMMAND [ARG...]",
		Short: "run an application so that it follows the pair: stopped when frozen, started at the active site",
		Long:  execLong,
		Args: func(cmd *cobra.Command, args []string) error {
			switch dash := cmd.ArgsLenAtDash(); {
			case dash > 0 || (dash < 0 && len(args) > 0):
				return usagef("unexpected %q: put the command behind --", args[0])
			case len(args) == 0:
				return usagef("no command: put it behind --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.exec(cmd.Context(), x, args) },
	}
	x.add(cmd)
	f := cmd.Flags()
	f.StringVar(&x.group, "group", "", "the consumer group (or the producer's name) that the child is, as in the plan")
	f.StringVar(&x.instance, "instance", "", "name of this instance in its group's acknowledgements (default: host name and process id)")
	f.StringToStringVar(&x.credentials, "credentials", nil, "SITE=FILE with KEY=VALUE lines that are given to the child at that site; may be repeated")
	f.StringVar(&x.vaultToken, "vault-token-file", "", "file with a token of Vault that its agent renews, for ${vault:…} in credentials; VAULT_ADDR says where Vault is")
	f.StringSliceVar(&x.pass, "pass-env", nil, "NAME of a variable with a credential of drctl's own (CONSUL_HTTP_TOKEN, …) that the child shall have too; may be repeated")
	f.DurationVar(&x.killTimeout, "kill-timeout", 30*time.Second, "between SIGTERM and SIGKILL; more than producers need to flush")
	f.DurationVar(&x.splay, "splay", 0, "bound of a random pause before a start that the record causes")
	f.BoolVar(&x.restart, "restart", false, "start a child that ended by itself again, after 1 s doubling to 30 s")
	return cmd
}

func (x watchFlags) config(a *app) client.Config {
	cfg := client.Config{Pair: x.pair, StateDir: x.stateDir, Log: a.logger()}
	if x.consul != "" {
		cfg.Consuls = append(cfg.Consuls, client.Consul{Address: x.consul})
	}
	for site, address := range x.siteConsuls {
		cfg.Consuls = append(cfg.Consuls, client.Consul{Address: address, Site: site})
	}
	return cfg
}

// resolver puts secrets in the place of references.
func (x execFlags) resolver() (func(string) (string, error), error) {
	vault, err := secret.NewVault(secret.VaultConfig{TokenFile: x.vaultToken}) // none without a token
	return secret.Reader{Vault: vault}.Resolve, err
}

func (a *app) exec(signalled context.Context, x execFlags, command []string) error {
	if x.instance == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("host name for --instance: %w", err)
		}
		x.instance = strings.ReplaceAll(host, "/", "-") + "-" + strconv.Itoa(os.Getpid())
	}
	stdin, _ := a.stdin.(*os.File)
	stdout, _ := a.stdout.(*os.File)
	stderr, _ := a.stderr.(*os.File)
	cfg := supervise.Config{
		Pair: x.pair, Group: x.group, Instance: x.instance, Command: command, Credentials: x.credentials,
		KillTimeout: x.killTimeout, Splay: x.splay, Restart: x.restart, Pass: x.pass,
		Stdin: stdin, Stdout: stdout, Stderr: stderr, Log: a.logger(),
	}
	watch := x.config(a)
	if err := errors.Join(watch.Validate(), cfg.Validate()); err != nil {
		return usageError{err}
	}
	resolve, err := x.resolver()
	if err != nil {
		return err
	}
	cfg.Resolve = resolve
	w, err := client.New(watch)
	if err != nil {
		return err
	}
	cfg.Ack = w.Acknowledge

	// Signals are the child's; none of them ends us before it.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	defer signal.Stop(signals)
	if signalled.Err() != nil { // one came before we listened
		return exitError{code: 128 + int(syscall.SIGTERM)}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	updates := w.Watch(ctx)
	code, err := supervise.Run(ctx, cfg, updates, signals)
	cancel()
	for range updates { // closed when nothing of the watcher runs any more
	}
	bye, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	if withdrawErr := w.Withdraw(bye, x.group, x.instance); withdrawErr != nil {
		cfg.Log.Warn("acknowledgement left behind", "err", withdrawErr)
	}
	if err != nil && code == 0 {
		code = codeFailed
	}
	if code != 0 || err != nil {
		return exitError{code, err}
	}
	return nil
}
