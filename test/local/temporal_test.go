package local

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	sdkclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

var (
	phaseKey = temporal.NewSearchAttributeKeyKeyword("DrawbridgePhase")
	epochKey = temporal.NewSearchAttributeKeyInt64("DrawbridgeEpoch")
)

// awaitWord marks its phase, waits for a word and returns it.
func awaitWord(ctx workflow.Context) (string, error) {
	if err := workflow.UpsertTypedSearchAttributes(ctx, phaseKey.ValueSet("waiting")); err != nil {
		return "", err
	}
	var word string
	workflow.GetSignalChannel(ctx, "word").Receive(ctx, &word)
	return word, nil
}

// startWorker runs a worker with awaitWord until the test ends.
func startWorker(t *testing.T, c sdkclient.Client) {
	t.Helper()
	w := worker.New(c, "words", worker.Options{})
	w.RegisterWorkflowWithOptions(awaitWord, workflow.RegisterOptions{Name: "AwaitWord"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func dial(t *testing.T, s *Temporal) sdkclient.Client {
	t.Helper()
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// waitFor is WaitFor with a deadline for tests.
func waitFor(t *testing.T, what string, cond func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := WaitFor(ctx, what, cond); err != nil {
		t.Fatal(err)
	}
}

func TestTemporalKeepsARunningWorkflowOverAKillAndARestart(t *testing.T) {
	s := TemporalForTest(t, TemporalConfig{SearchAttributes: []temporal.SearchAttributeKey{phaseKey}})
	c := dial(t, s)
	startWorker(t, c)
	run, err := c.ExecuteWorkflow(t.Context(), sdkclient.StartWorkflowOptions{ID: "dr/orders", TaskQueue: "words"}, "AwaitWord")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the workflow to wait for its word", func(ctx context.Context) error {
		d, err := c.DescribeWorkflow(ctx, "dr/orders", "")
		if err != nil {
			return err
		}
		if phase, _ := d.TypedSearchAttributes.GetKeyword(phaseKey); phase != "waiting" {
			return errors.New("phase is " + phase)
		}
		return nil
	})

	before := s.HostPort()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.HostPort() != before {
		t.Errorf("the server moved from %s to %s", before, s.HostPort())
	}
	// The same client and worker go on.
	waitFor(t, "the restarted server to take a signal", func(ctx context.Context) error {
		return c.SignalWorkflow(ctx, "dr/orders", run.GetRunID(), "word", "drawbridge")
	})
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var word string
	if err := run.Get(ctx, &word); err != nil {
		t.Fatal(err)
	}
	if word != "drawbridge" {
		t.Errorf("the workflow returned %q", word)
	}
}

func TestTemporalRegistersSearchAttributesThatAnOlderDatabaseLacks(t *testing.T) {
	dir := t.TempDir()
	first := TemporalForTest(t, TemporalConfig{Dir: dir, Namespace: "dr", SearchAttributes: []temporal.SearchAttributeKey{phaseKey}})
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	s := TemporalForTest(t, TemporalConfig{
		Dir: dir, Namespace: "dr", SearchAttributes: []temporal.SearchAttributeKey{phaseKey, epochKey},
	})
	c := dial(t, s)
	_, err := c.ExecuteWorkflow(t.Context(), sdkclient.StartWorkflowOptions{
		ID: "dr/orders", TaskQueue: "words",
		TypedSearchAttributes: temporal.NewSearchAttributes(phaseKey.ValueSet("open"), epochKey.ValueSet(7)),
	}, "AwaitWord")
	if err != nil {
		t.Fatalf("start with both attributes: %v", err)
	}
	d, err := c.DescribeWorkflow(t.Context(), "dr/orders", "")
	if err != nil {
		t.Fatal(err)
	}
	if epoch, _ := d.TypedSearchAttributes.GetInt64(epochKey); epoch != 7 {
		t.Errorf("epoch is %d, want 7", epoch)
	}
	// An attribute that nobody registered is refused, so the test above can fail.
	_, err = c.ExecuteWorkflow(t.Context(), sdkclient.StartWorkflowOptions{
		ID: "dr/other", TaskQueue: "words",
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyBool("Nobody").ValueSet(true)),
	}, "AwaitWord")
	var invalid *serviceerror.InvalidArgument
	if !errors.As(err, &invalid) {
		t.Errorf("start with an unregistered attribute: want InvalidArgument, got %v", err)
	}
}

func TestTemporalServesItsUIAndNamesItsVersion(t *testing.T) {
	s := TemporalForTest(t, TemporalConfig{UI: true})
	waitFor(t, "the web ui", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.UIURL(), nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New("answers " + resp.Status)
		}
		return nil
	})
	version, err := s.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(version) == 0 || version[0] != '1' {
		t.Errorf("version is %q", version)
	}
}

func TestTemporalThatCannotStartIsReportedWithTheEndOfItsLog(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "temporal.db"), 0o755); err != nil { // a folder where its database should be
		t.Fatal(err)
	}
	s, err := StartTemporal(t.Context(), TemporalConfig{Dir: dir})
	if err == nil {
		t.Fatalf("it started on %s", s.HostPort())
	}
	if !strings.Contains(err.Error(), "has ended") || !strings.Contains(err.Error(), "unable to open database file") {
		t.Errorf("the error does not give the server's own reason: %v", err)
	}
}
