//go:build real

package deploy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/drawbridge-dr/drawbridge/activities"
	"github.com/drawbridge-dr/drawbridge/mirrorengine"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/link"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/worker"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// exposed are the metrics and labels that there really are.
type exposed struct {
	metrics, labels map[string]bool
}

var discard = slog.New(slog.DiscardHandler)

// targets are the labels that a scrape adds, and alert those of Prometheus's own series of alerts.
var (
	targets = []string{"job", "instance", "site"}
	alert   = []string{"alertname", "alertstate", "severity"}
)

func TestEveryMetricAndLabelThatIsNamedExists(t *testing.T) {
	t.Parallel()
	have := exposed{map[string]bool{"up": true, "ALERTS": true}, map[string]bool{}}
	for _, l := range slices.Concat(targets, alert) {
		have.labels[l] = true
	}
	have.describeEngine(t)
	have.scrapeEngine(t)
	have.scrapeWorker(t)
	have.keepReadiness(t)
	for _, r := range rules(t) {
		if r.Record != "" {
			have.metrics[r.Record] = true
		}
	}
	look := func(where, expr string) int {
		n := names(expr)
		for _, m := range n.metrics {
			if !have.metrics[m] {
				t.Errorf("%s names the metric %s, which nothing exposes: %s", where, m, expr)
			}
		}
		for _, l := range n.labels {
			if !have.labels[l] {
				t.Errorf("%s names the label %s, which nothing has: %s", where, l, expr)
			}
		}
		return len(n.metrics)
	}
	looked := 0
	for _, r := range rules(t) {
		looked += look("rule "+r.Record+r.Alert, r.Expr)
		for _, text := range r.Annotations {
			for _, m := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
				if !have.labels[m[1]] {
					t.Errorf("alert %s shows the label %s, which nothing has", r.Alert, m[1])
				}
			}
		}
	}
	_, exprs := dashboard(t)
	for _, expr := range exprs {
		looked += look("the dashboard", strings.NewReplacer("$site", "x", "$link", "x").Replace(expr))
	}
	// The other way round: what the engine tells of mirroring is worth a look.
	shown := strings.Join(exprs, "\n")
	for m := range have.metrics {
		if strings.HasPrefix(m, "drawbridge_") && !strings.HasSuffix(m, "_build_info") && !strings.Contains(shown, strings.TrimPrefix(m, "drawbridge_")) &&
			!slices.ContainsFunc(rules(t), func(r rule) bool { return slices.Contains(names(r.Expr).metrics, m) }) {
			t.Errorf("neither a rule nor the dashboard looks at %s", m)
		}
	}
	if looked < 20 {
		t.Errorf("only %d metrics are named: the test does not find them any more", looked)
	}
}

// describeEngine asks the engine's collectors for all that they can tell, also what is absent until something goes wrong.
func (e exposed) describeEngine(t *testing.T) {
	cluster := kfake.MustCluster(kfake.NumBrokers(1))
	t.Cleanup(cluster.Close)
	registry := prometheus.NewRegistry()
	m, err := link.New(t.Context(), link.Options{
		Local: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}, Name: "west", StateTopic: "_drawbridge_state", Shards: 4, ReplicationFactor: 1,
		Logger: discard, Registry: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		registry.Describe(descs)
	}()
	shape := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)
	for d := range descs {
		found := shape.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("client_golang describes a metric otherwise than it did: %s", d)
		}
		e.metrics[found[1]] = true
		for _, l := range labelWord.FindAllString(found[2], -1) {
			e.labels[l] = true
		}
	}
}

// scrapeEngine reads what a running engine shows beside it: of the process, and the build.
func (e exposed) scrapeEngine(t *testing.T) {
	cluster := kfake.MustCluster(kfake.NumBrokers(1))
	t.Cleanup(cluster.Close)
	cfg := mirrorengine.Default()
	cfg.Name, cfg.Listen, cfg.Kafka.Bootstrap = "west", "127.0.0.1:0", cluster.ListenAddrs()
	engine, err := mirrorengine.New(t.Context(), cfg, "v0-test", discard)
	if err != nil {
		t.Fatal(err)
	}
	run(t, engine, engine.Addr().String())
	e.scrape(t, engine.Addr().String(), "drawbridge_engine_build_info")
}

// scrapeWorker lets a worker fail in what the rules speak of, and reads what it shows.
func (e exposed) scrapeWorker(t *testing.T) {
	var attributes []temporal.SearchAttributeKey
	for _, a := range workflows.SearchAttributes {
		if a.Int {
			attributes = append(attributes, temporal.NewSearchAttributeKeyInt64(a.Name))
		} else {
			attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(a.Name))
		}
	}
	server := local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: attributes})
	cfg := worker.Default()
	cfg.Listen, cfg.PlansDir, cfg.ReportsDir = "127.0.0.1:0", t.TempDir(), t.TempDir()
	cfg.Temporal.Address, cfg.Temporal.Namespace = server.HostPort(), server.Namespace()
	w, err := worker.New(t.Context(), cfg, runbook.Build{Version: "v0-test"}, discard)
	if err != nil {
		t.Fatal(err)
	}
	run(t, w, w.Addr().String())
	c, err := server.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := func(id, name string, in any) client.WorkflowRun {
		r, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue}, name, in)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	start("of-another-version", "NoSuchWorkflow", nil) // its workflow task fails, for ever
	if err := start(workflows.ID("nobody"), workflows.NameSetUp, workflows.SetUpInput{Start: workflows.Start{Pair: "nobody"}}).Get(t.Context(), nil); err == nil {
		t.Error("a pair without a plan is set up")
	}
	e.scrape(t, w.Addr().String(), "temporal_workflow_task_execution_failed_total", "temporal_activity_execution_failed_total", "temporal_workflow_failed_total")
}

// keepReadiness has the worker's activity keep a look at a pair, and notes what it tells: a whole look takes minutes where
// no site answers.
func (e exposed) keepReadiness(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	suite.SetMetricsHandler(told{e})
	env := suite.NewTestActivityEnvironment()
	acts, end := activities.New(activities.Options{ReportsDir: t.TempDir(), Logger: discard})
	t.Cleanup(end)
	env.RegisterActivity(acts)
	_, err := env.ExecuteActivity(acts.SaveReadiness, workflows.SaveReadinessInput{Call: workflows.Call{Pair: "orders"}, Readiness: runbook.Readiness{Pair: "orders"}})
	if err != nil {
		t.Error(err)
	}
}

// told notes metrics and labels as the worker's own handler shows them.
type told struct{ exposed }

func (h told) WithTags(tags map[string]string) client.MetricsHandler {
	for l := range tags {
		h.labels[l] = true
	}
	return h
}

func (h told) Counter(name string) client.MetricsCounter {
	h.metrics[name+"_total"] = true
	return client.MetricsNopHandler.Counter(name)
}

func (h told) Gauge(name string) client.MetricsGauge {
	h.metrics[name] = true
	return client.MetricsNopHandler.Gauge(name)
}

func (h told) Timer(name string) client.MetricsTimer { return client.MetricsNopHandler.Timer(name) }

// server is an engine or a worker.
type server interface {
	Run(ctx context.Context) error
	Close()
}

// run runs it until the test ends, and returns when it is ready.
func run(t *testing.T, s server, address string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := local.WaitFor(within, "http://"+address+"/readyz says yes", func(ctx context.Context) error {
		_, err := page(ctx, "http://"+address+"/readyz")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// scrape takes names and labels over when all that is wanted is there: some are counted a moment after a run has ended.
func (e exposed) scrape(t *testing.T, address string, wanted ...string) {
	t.Helper()
	within, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := local.WaitFor(within, "the metrics of http://"+address, func(ctx context.Context) error {
		text, err := page(ctx, "http://"+address+"/metrics")
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(strings.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			line := lines.Text()
			if strings.HasPrefix(line, "#") {
				continue
			}
			name, rest, _ := strings.Cut(line, "{")
			if name == line {
				name, _, _ = strings.Cut(line, " ")
				rest = ""
			}
			e.metrics[name] = true
			for _, m := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(rest, -1) {
				e.labels[m[1]] = true
			}
		}
		for _, name := range wanted {
			if !e.metrics[name] {
				return fmt.Errorf("%s is not there", name)
			}
		}
		return lines.Err()
	})
	if err != nil {
		t.Error(err)
	}
}

func page(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(string(body))
	}
	return string(body), err
}
