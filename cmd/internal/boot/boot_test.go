package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestExitCodeTellsAWrongCommandFromAFailedOne(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"done", t.Context(), nil, ExitOK},
		{"asked for help", t.Context(), fmt.Errorf("flags: %w", flag.ErrHelp), ExitOK},
		{"failed", t.Context(), errors.New("engine gone"), ExitFailed},
		{"wrong configuration", t.Context(), fmt.Errorf("start: %w", Usage(errors.New("key x"))), ExitUsage},
		{"stopped by a signal, in order", cancelled, nil, ExitOK},
		{"stopped by a signal, unfinished", cancelled, fmt.Errorf("wait: %w", context.Canceled), ExitInterrupted},
		{"failed while a signal came", cancelled, errors.New("engine gone"), ExitFailed},
		{"cancelled from inside", t.Context(), context.Canceled, ExitFailed},
	} {
		if got := ExitCode(tc.ctx, tc.err); got != tc.want {
			t.Errorf("%s: exit code %d, want %d", tc.name, got, tc.want)
		}
	}
	if Usage(nil) != nil {
		t.Error("no fault became one")
	}
}

func TestMainCancelsItsContextOnSIGTERM(t *testing.T) {
	code := Main("test", func(ctx context.Context) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.Context().Done():
			return errors.New("the signal did not arrive")
		}
	})
	if code != ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestLogFlagsChooseLevelAndFormat(t *testing.T) {
	var f LogFlags
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.Register(fs)
	if err := fs.Parse([]string{"-log-level", "warn", "-log-format", "json"}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := f.Logger(&out)
	log.Info("quiet")
	log.Warn("loud", "link", "east-west")
	var line struct{ Level, Msg, Link, Version string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if line.Msg != "loud" || line.Link != "east-west" || line.Version == "" {
		t.Errorf("logged %+v", line)
	}
	if err := fs.Parse([]string{"-log-format", "xml"}); err == nil {
		t.Error("format xml was accepted")
	}

	out.Reset()
	var zero LogFlags
	zero.Logger(&out).Log(t.Context(), slog.LevelDebug, "quiet")
	zero.Logger(&out).Info("loud")
	if got := out.String(); !strings.Contains(got, "level=INFO msg=loud") || strings.Contains(got, "quiet") {
		t.Errorf("the zero value logged %q", got)
	}
}

func TestBuildInfoNamesReleaseAndCommit(t *testing.T) {
	got := Info{Version: "v1.2.3", Revision: "4f2a9c1d03be5566", Modified: true, Go: "go1.26.8"}.String()
	if want := "v1.2.3 (4f2a9c1d03be, modified) go1.26.8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Info{Version: "(devel)", Go: "go1.26.8"}).String(); got != "(devel) go1.26.8" {
		t.Errorf("without version control: %q", got)
	}
	if b := Build(); b.Version == "" || b.Go == "" {
		t.Errorf("this build says %+v", b)
	}
}
