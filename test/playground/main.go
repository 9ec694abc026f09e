// Command playground starts what Drawbridge needs and does not bring along: two Kafka clusters (embedded ones, with SASL and
// ACLs), a Consul beside each, and a Temporal, on loopback, until Ctrl-C. Nothing of Drawbridge itself runs: docs/tutorial.md
// starts that by hand on the addresses that this writes down. `make playground` runs it.
//
// kill -9 of the process in east.pid loses the site, kill -USR1 of the playground brings back what is down.
//
// It is also the tutorial's application: playground produce TOPIC, playground consume TOPIC GROUP (clients.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

const usage = `usage: playground                        two clusters, two Consuls, Temporal, until Ctrl-C
       playground produce TOPIC          writes a record every 100 ms, under drctl exec
       playground consume TOPIC GROUP    prints what it reads, under drctl exec`

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) // a terminal that is closed
	defer stop()
	var err error
	switch {
	case len(args) == 0:
		dir := getenv("PLAYGROUND")
		if dir == "" {
			dir = filepath.Join("out", "playground")
		}
		err = play(ctx, dir, stdout)
	case len(args) == 2 && args[0] == "produce":
		err = produce(ctx, getenv, args[1], stdout)
	case len(args) == 3 && args[0] == "consume":
		err = consume(ctx, getenv, args[1], args[2], stdout)
	default:
		fmt.Fprintln(stderr, usage)
		return 2
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "playground:", err)
		return 1
	}
	return 0
}

// The tutorial's pair.
const (
	pair  = "shop"
	topic = "orders"
	group = "billing"
)

// Logins of both clusters. They guard nothing: everything listens on loopback and ends with the playground.
var (
	super  = local.User{Name: "drawbridge", Password: "drawbridge-secret"}
	canary = local.User{Name: "drawbridge-canary", Password: "canary-secret"}
	app    = local.User{Name: "shop-app", Password: "app-secret"}
)

// site is one side of the pair.
type site struct {
	name   string
	kafka  *local.Kafka
	consul *local.Consul
}

// play starts everything, writes the addresses down and waits.
func play(ctx context.Context, dir string, out io.Writer) (err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		return fmt.Errorf("folder %s is left of an earlier playground: remove it, with whatever the tutorial put there, or set PLAYGROUND to another one", dir)
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGUSR1)
	defer signal.Stop(again)
	sites := []*site{{name: "east"}, {name: "west"}}
	var temporal *local.Temporal
	defer func() { err = errors.Join(err, stop(sites, temporal)) }()
	fmt.Fprintln(out, "starting two clusters, two Consuls and Temporal: the first time this builds them, which takes minutes")
	if temporal, err = start(ctx, dir, sites); err != nil {
		return err
	}
	if err := prepare(ctx, sites); err != nil {
		return err
	}
	if err := writeDown(dir, sites, temporal); err != nil {
		return err
	}
	fmt.Fprintf(out, "ready until Ctrl-C. Addresses: %s\nTemporal's UI: %s\n", filepath.Join(dir, "env"), temporal.UIURL())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			for _, s := range sites {
				if s.kafka.Running() {
					continue
				}
				if err := s.kafka.Restart(ctx); err != nil {
					return err
				}
				if err := writePid(dir, s); err != nil {
					return err
				}
				fmt.Fprintf(out, "%s is back\n", s.name)
			}
		}
	}
}

func start(ctx context.Context, dir string, sites []*site) (temporal *local.Temporal, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute) // a first use builds
	defer cancel()
	var all errgroup.Group // without its context: what began must be there to be stopped
	for _, s := range sites {
		all.Go(func() (err error) {
			s.kafka, err = local.StartKafka(ctx, local.KafkaConfig{
				Kind: local.KFake, Name: s.name, Dir: filepath.Join(dir, s.name, "kafka"), SuperUser: super, Users: []local.User{canary, app},
			})
			return err
		})
		all.Go(func() (err error) {
			folder := filepath.Join(dir, s.name, "consul")
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
			s.consul, err = local.StartConsul(ctx, local.ConsulConfig{Name: s.name, Dir: folder, Persistent: true})
			return err
		})
	}
	all.Go(func() (err error) {
		folder := filepath.Join(dir, "temporal")
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		temporal, err = local.StartTemporal(ctx, local.TemporalConfig{Dir: folder, UI: true, SearchAttributes: workflows.SearchAttributeKeys()})
		return err
	})
	return temporal, all.Wait()
}

func stop(sites []*site, temporal *local.Temporal) error {
	var errs []error
	if temporal != nil {
		errs = append(errs, temporal.Stop())
	}
	for _, s := range sites {
		if s.consul != nil {
			errs = append(errs, s.consul.Stop())
		}
		if s.kafka != nil && s.kafka.Running() {
			errs = append(errs, s.kafka.Stop())
		}
	}
	return errors.Join(errs...)
}

// prepare makes the topic at east and gives the application and the canary their rights at both sites: whoever owns a
// cluster does that, Drawbridge does not.
func prepare(ctx context.Context, sites []*site) error {
	for _, s := range sites {
		client, err := kgo.NewClient(s.kafka.Options(super)...)
		if err != nil {
			return err
		}
		admin := kadm.NewClient(client)
		if s.name == "east" {
			_, err = admin.CreateTopic(ctx, 3, -1, nil, topic)
		}
		for _, b := range []*kadm.ACLBuilder{
			allow(app).Topics(topic).Operations(kadm.OpRead, kadm.OpWrite, kadm.OpDescribe),
			allow(app).Groups(group).Operations(kadm.OpRead),
			allow(canary).Topics(topic, runbook.CanaryTopic(pair), runbook.DrillTopic(pair)).Operations(kadm.OpWrite, kadm.OpDescribe),
		} {
			results, aerr := admin.CreateACLs(ctx, b)
			err = errors.Join(err, aerr)
			for _, r := range results {
				err = errors.Join(err, r.Err)
			}
		}
		admin.Close()
		if err != nil {
			return fmt.Errorf("topic and rights at %s: %w", s.name, err)
		}
	}
	return nil
}

func allow(u local.User) *kadm.ACLBuilder {
	return kadm.NewACLs().Allow("User:" + u.Name).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral)
}

// writeDown writes passwords, process ids and, last, the file of addresses, which is there when all else is.
func writeDown(dir string, sites []*site, temporal *local.Temporal) error {
	ports, err := local.FreePorts(3)
	if err != nil {
		return err
	}
	lines := []string{"# Addresses of the playground; read it with: source " + filepath.Join(dir, "env")}
	export := func(name, value string) { lines = append(lines, "export "+name+"="+value) }
	for i, s := range sites {
		upper := strings.ToUpper(s.name)
		export(upper+"_KAFKA", strings.Join(s.kafka.Bootstrap(), ","))
		export(upper+"_CONSUL", s.consul.Address())
		export(upper+"_ENGINE", "127.0.0.1:"+strconv.Itoa(ports[i])) // free, for an engine that is not there yet
		if err := writePid(dir, s); err != nil {
			return err
		}
	}
	export("WORKER", "127.0.0.1:"+strconv.Itoa(ports[2]))
	export("TEMPORAL_ADDRESS", temporal.HostPort())
	export("TEMPORAL_NAMESPACE", temporal.Namespace())
	for name, text := range map[string]string{
		"drawbridge.password": super.Password, "canary.password": canary.Password,
		"app.env": "KAFKA_USERNAME=" + app.Name + "\nKAFKA_PASSWORD=" + app.Password + "\n",
		"pid":     strconv.Itoa(os.Getpid()) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return renameio.WriteFile(filepath.Join(dir, "env"), []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

func writePid(dir string, s *site) error {
	return os.WriteFile(filepath.Join(dir, s.name+".pid"), []byte(strconv.Itoa(s.kafka.Pids()[0])+"\n"), 0o644)
}
