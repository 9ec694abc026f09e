package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/test/sightless"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// stage is a Temporal server, a worker with the real workflows, a fake engine and a plan with three people.
type stage struct {
	t        *testing.T
	dir      string
	planFile string
	keys     map[string]string // key file by person
	engine   *fakeEngine
	temporal *local.Temporal
	sdk      client.Client
	worker   worker.Worker
	people   *sightless.Steps
	steps    workflows.Steps // what a worker runs: people, unless a test wants another world
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, dir: t.TempDir(), keys: map[string]string{}}
	s.temporal = local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: workflows.SearchAttributeKeys()})
	engine, url := newFakeEngine(t)
	s.engine = engine
	s.writePlan(url)
	raw, err := os.ReadFile(s.planFile)
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if s.people, err = sightless.New(p); err != nil {
		t.Fatal(err)
	}
	s.steps = s.people
	s.sdk, err = client.Dial(client.Options{HostPort: s.temporal.HostPort(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.sdk.Close)
	s.startWorker()
	t.Cleanup(func() { s.stopWorker() })
	return s
}

func (s *stage) startWorker() { s.startWorkerWith(workflows.Register) }

func (s *stage) startWorkerWith(register func(workflows.Registry)) {
	s.t.Helper()
	w := worker.New(s.sdk, workflows.TaskQueue, worker.Options{DisableRegistrationAliasing: true})
	register(w)
	w.RegisterActivityWithOptions(s.steps, activity.RegisterOptions{})
	if err := w.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.worker = w
}

func (s *stage) stopWorker() {
	if s.worker != nil {
		s.worker.Stop()
		s.worker = nil
	}
}

// writePlan makes the example plan this stage's: keys, engines, no Consul that answers, no notifications.
func (s *stage) writePlan(engine string) {
	s.t.Helper()
	text := plan.Example()
	for _, name := range []string{"ann", "bob", "eve"} {
		file := filepath.Join(s.dir, name+".json")
		signer, err := operator.NewKeyFile(file, name)
		if err != nil {
			s.t.Fatal(err)
		}
		s.keys[name] = file
		key := regexp.MustCompile(`(?s)(name: ` + name + `\n.*?public_key: )\S+`)
		if !key.MatchString(text) {
			s.t.Fatalf("the example plan has no person %s with a key", name)
		}
		text = key.ReplaceAllString(text, "${1}"+signer.Public())
	}
	text = regexp.MustCompile(`url: https://engine\.\S+`).ReplaceAllString(text, "url: "+engine)
	text = regexp.MustCompile(`address: consul\.\S+`).ReplaceAllString(text, "address: 127.0.0.1:9")
	text = regexp.MustCompile(`(?s)\nfreezes:.*?\ndrills:`).ReplaceAllString(text, "\ndrills:") // the tests run on weekends too
	text = regexp.MustCompile(`(?s)\nteams:.*?\nprobes:`).ReplaceAllString(text, "\nteams: [{name: payments, groups: [billing], webhook: {url: \"http://127.0.0.1:9\", secret: \"${env:NONE}\"}}]\nprobes:")
	text = regexp.MustCompile(`(?s)\nnotify:.*?\nreports:`).ReplaceAllString(text, "\nreports:")
	s.planFile = filepath.Join(s.dir, "orders.yaml")
	if err := os.WriteFile(s.planFile, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// said is what one call of drctl printed and how it ended.
type said struct {
	code        int
	out, errOut string
}

func (s *stage) drctl(args ...string) said {
	s.t.Helper()
	for again := 20; ; again-- {
		got := s.drctlSeen(&local.Output{}, args...)
		// Nothing was changed yet: somebody asks again, as people do where a machine is slow.
		asks := args[0] == "status" || strings.Contains(got.errOut, "what it waits for")
		if again == 0 || s.worker == nil || !asks || !strings.Contains(got.out+got.errOut, "the worker does not answer") {
			return got
		}
	}
}

// drctlSeen is drctl whose stderr can be read while it runs.
func (s *stage) drctlSeen(errOut *local.Output, args ...string) said {
	s.t.Helper()
	var out bytes.Buffer
	code := run(append(args, "--temporal", s.temporal.HostPort()), strings.NewReader(""), &out, errOut)
	return said{code, out.String(), errOut.String()}
}

func (s *stage) as(who string) []string { return []string{"--key", s.keys[who], "--plan", s.planFile} }

// want fails unless the call ended with code and printed, to stdout or stderr, all of texts.
func (s *stage) want(got said, code int, texts ...string) {
	s.t.Helper()
	if got.code != code {
		s.t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", got.code, code, got.out, got.errOut)
	}
	for _, text := range texts {
		if !strings.Contains(got.out+got.errOut, text) {
			s.t.Errorf("%q is not in\nstdout: %s\nstderr: %s", text, got.out, got.errOut)
		}
	}
}

// untilWaits waits until the open run asks for something.
func (s *stage) untilWaits(what string) {
	s.t.Helper()
	s.untilStatus("waiting for " + what)
}

func (s *stage) untilStatus(texts ...string) {
	s.t.Helper()
	s.until("the status says "+strings.Join(texts, ", "), func() error {
		got := s.drctl("status", "orders")
		for _, text := range texts {
			if !strings.Contains(got.out, text) {
				return fmt.Errorf("%q is not in %s%s", text, got.out, got.errOut)
			}
		}
		return nil
	})
}

func (s *stage) until(what string, cond func() error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return cond() }); err != nil {
		s.t.Fatal(err)
	}
}

func TestRunsAreStartedAnsweredFollowedAndRefused(t *testing.T) {
	s := newStage(t)
	s.want(s.drctl("status", "orders"), 0, "no operation is known in the Temporal namespace "+s.temporal.Namespace())
	s.want(s.drctl(append([]string{"approve", "orders"}, s.as("bob")...)...), 3, "no operation is open")

	// A dry run is followed to its end and leaves the pair free.
	dry := s.drctl(append([]string{"failover", "orders", "--dry-run", "--epoch", "3"}, s.as("ann")...)...)
	s.want(dry, 0, "dry run of failover", "attest outage", "done", "3 records at risk", "WOULD DO", "no undo from here on")
	s.want(s.drctl("status", "orders"), 0, "no operation is known")

	// What is refused before it begins: another plan, another epoch, a stranger's signature.
	other := filepath.Join(s.dir, "other.yaml")
	raw, err := os.ReadFile(s.planFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, bytes.Replace(raw, []byte("rto_seconds: 900"), []byte("rto_seconds: 901"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	s.want(s.drctl("failover", "orders", "--yes=orders", "--epoch", "3", "--key", s.keys["ann"], "--plan", other), 3, "the plan's hash is "+s.people.Hash, "bring your copy")
	s.want(s.drctl(append([]string{"failover", "orders", "--yes=orders", "--epoch", "2"}, s.as("ann")...)...), 3, "epoch 2")
	s.want(s.drctl(append([]string{"failover", "orders", "--yes=orders"}, s.as("ann")...)...), 5, "no site's Consul told the record's epoch", "--epoch")
	stranger := filepath.Join(s.dir, "stranger.json")
	if _, err := operator.NewKeyFile(stranger, "ann"); err != nil {
		t.Fatal(err)
	}
	s.want(s.drctl("failover", "orders", "--yes=orders", "--epoch", "3", "--key", stranger, "--plan", s.planFile), 3, "is not ann's signature")

	// The real one waits for approval; a second is told who holds the pair.
	var followed said
	var progress local.Output
	var wg sync.WaitGroup
	wg.Go(func() {
		followed = s.drctlSeen(&progress, append([]string{"failover", "orders", "--yes=orders", "--epoch", "3", "--reason", "east burns"}, s.as("ann")...)...)
	})
	s.untilWaits("approval")
	s.until("whoever follows sees it", func() error {
		if !strings.Contains(progress.String(), "answer with: approve, deny") {
			return errors.New(progress.String())
		}
		return nil
	})
	s.want(s.drctl("failback", "orders", "--yes=orders", "--unsigned"), 4, "pair orders is busy: failover by ann holds it since", "run ")
	st := s.drctl("status", "orders", "-o", "json")
	var status struct {
		Run    operator.RunInfo
		Detail workflows.Status
	}
	if err := json.Unmarshal([]byte(st.out), &status); err != nil {
		t.Fatalf("%v in %s", err, st.out)
	}
	if status.Run.Requester != "ann" || status.Run.PlanHash != s.people.Hash || status.Run.Operation != runbook.OpFailover ||
		status.Run.Summary != "failover of pair orders, asked by ann: east burns" || status.Detail.Epoch != 3 {
		t.Errorf("status: %+v", status.Run)
	}

	// Answers that do not count say why.
	s.want(s.drctl(append([]string{"approve", "orders", "--reason", "seen", "--override", runbook.OverrideFence}, s.as("ann")...)...), 3, "refused")
	s.want(s.drctl(append([]string{"approve", "orders"}, s.as("bob")...)...), 3, runbook.OverrideFence)
	s.want(s.drctl(append([]string{"approve", "orders", "--override", runbook.OverrideFence}, s.as("bob")...)...), 3, "needs a reason")
	s.want(s.drctl(append([]string{"break-glass", "orders", "--yes=orders", "--reason", "nobody answers"}, s.as("bob")...)...), 3, "none of the roles that may break the glass")
	s.want(s.drctl(append([]string{"approve", "orders", "--op", "failover-0"}, s.as("bob")...)...), 3, "you named operation failover-0")
	s.want(s.drctl("approve", "orders", "--key", s.keys["bob"], "--plan", other), 3, "your plan has hash")
	s.want(s.drctl("approve", "orders", "--reason", "seen", "--override", runbook.OverrideFence, "--key", stranger), 3, "refused")
	s.want(s.drctl(append([]string{"approve", "orders", "--expires", "1ns", "--reason", "seen", "--override", runbook.OverrideFence}, s.as("bob")...)...), 3, "expired")
	s.want(s.drctl(append([]string{"retry", "orders"}, s.as("bob")...)...), 3, "does not wait for", "shows which commands")
	s.want(s.drctl(append([]string{"deny", "orders"}, s.as("bob")...)...), 3, "needs a reason")
	s.want(s.drctl(append([]string{"into-failover", "orders"}, s.as("bob")...)...), 3, "needs a reason")
	s.want(s.drctl(append([]string{"into-failover", "orders", "--reason", "again"}, s.as("bob")...)...), 3, "a failover cannot be turned into a failover")
	s.want(s.drctl("switchover", "orders", "--yes=orders", "--unsigned", "--to", "west"), 4, "pair orders is busy: failover by ann")
	s.want(s.drctl(append([]string{"acknowledge", "orders", "--team", "payments"}, s.as("bob")...)...), 3, "team payments was not told of anything in this run yet")
	s.want(s.drctl(append([]string{"acknowledge", "orders", "--team", "nobodys"}, s.as("bob")...)...), 3, `the plan has no team "nobodys"`)

	// Denied: no change, for the one who follows too.
	s.want(s.drctl(append([]string{"deny", "orders", "--reason", "it is back"}, s.as("bob")...)...), 0, "deny taken")
	wg.Wait()
	s.want(followed, 6, "waiting for approval", "answer with: approve, deny", "denied by bob: it is back", "outcome", "no change", "reports/report.md")
	s.untilStatus("completed", "deny by bob", "no change")

	// What has ended is listed, and each report can be read.
	var reports []operator.ReportLine
	s.until("both runs are listed", func() error {
		got := s.drctl("reports", "orders", "-o", "json")
		reports = nil
		if err := json.Unmarshal([]byte(got.out), &reports); err != nil {
			return fmt.Errorf("%w: %s", err, got.errOut)
		}
		if len(reports) < 5 { // the dry run, three refused ones, the denied one
			return fmt.Errorf("%d runs: %+v", len(reports), reports)
		}
		return nil
	})
	if r := reports[0]; r.Operation != runbook.OpFailover || r.DryRun || r.Outcome != runbook.NoChange || r.Requester != "ann" || r.RPOEstimate == nil || !strings.Contains(r.Error, "it is back") {
		t.Errorf("the newest: %+v", r)
	}
	if r := reports[4]; !r.DryRun || r.Outcome != runbook.Dry {
		t.Errorf("the oldest: %+v", r)
	}
	s.want(s.drctl("reports", "orders"), 0, "dry run of failover", "no change", "about 3", reports[0].RunID)
	s.want(s.drctl("reports", "orders", reports[0].RunID), 0, "# failover of pair orders: no change", "east burns")
	s.want(s.drctl("reports", "orders", "failover-"+reports[0].RunID), 0, "# failover of pair orders: no change")
	s.want(s.drctl("reports", "orders", reports[4].RunID), 0, "## What would be done")
	s.want(s.drctl("reports", "orders", "01a2048c-0000-0000-0000-000000000000"), 3, "no operation is open")
	s.want(s.drctl("reports", "bills"), 0, "Temporal keeps no ended run")

	// Detached, then aborted by a person before the pivot.
	s.want(s.drctl(append([]string{"failover", "orders", "--yes=orders", "--detach", "--epoch", "3"}, s.as("ann")...)...), 0, "workflow:", "dr/orders")
	s.untilWaits("approval")
	s.want(s.drctl(append([]string{"abort", "orders", "--reason", "a drill"}, s.as("ann")...)...), 0, "aborted")
	s.untilStatus("no change")
}

func TestStatusAndAnswersSayThatNoWorkerAnswers(t *testing.T) {
	s := newStage(t)
	s.want(s.drctl("failover", "orders", "--yes=orders", "--unsigned", "--detach"), 0)
	s.untilWaits("approval")
	s.stopWorker()
	st := s.drctl("status", "orders")
	s.want(st, 0, "open", "approval", "the worker does not answer") // the phase comes from a search attribute
	s.want(s.drctl(append([]string{"approve", "orders"}, s.as("bob")...)...), 5, "the worker does not answer")
	s.startWorker()
	s.want(s.drctl(append([]string{"deny", "orders", "--reason", "x"}, s.as("bob")...)...), 0)
}
