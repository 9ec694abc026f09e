package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
)

func noEnvironment(string) string { return "" }

func TestMistakesOfTheCommandLineExitWith2(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "worker.yml")
	if err := os.WriteFile(bad, []byte("listen: nowhere\nlog:\n  level: loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"unknown flag": {[]string{"-port", "1"}, 2, []string{"flag provided but not defined: -port"}},
		"an argument":  {[]string{"worker.yml"}, 2, []string{"the configuration is given by -config"}},
		"no such file": {[]string{"-config", bad + ".gone"}, 2, []string{"no such file"}},
		"bad config":   {[]string{"-config", bad}, 2, []string{"listen: 'nowhere'", "plans_dir: required", "log.level: 'loud'"}},
		"help":         {[]string{"-h"}, 0, []string{"-address-file"}},
		"version":      {[]string{"-version"}, 0, nil},
	} {
		var out, errs bytes.Buffer
		if code := service(noEnvironment).Start(t.Context(), tc.args, &out, &errs); code != tc.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, tc.code, errs.String())
		}
		for _, says := range tc.says {
			if !strings.Contains(errs.String(), says) {
				t.Errorf("%s: got %s, want …%s…", name, errs.String(), says)
			}
		}
		if name == "version" && strings.TrimSpace(out.String()) == "" {
			t.Error("no version printed")
		}
	}
}

func TestAnUnreachableTemporalExitsWith1AndSaysSo(t *testing.T) {
	ports, err := local.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	env := map[string]string{
		"DRAWBRIDGE_WORKER_PLANS_DIR": t.TempDir(), "DRAWBRIDGE_WORKER_LISTEN": "127.0.0.1:0",
		"DRAWBRIDGE_WORKER_TEMPORAL_ADDRESS": "127.0.0.1:" + strconv.Itoa(ports[0]),
	}
	var out, errs bytes.Buffer
	if code := service(func(k string) string { return env[k] }).Start(ctx, nil, &out, &errs); code != 1 || !strings.Contains(errs.String(), "temporal at 127.0.0.1:") {
		t.Errorf("exit code %d, %s", code, errs.String())
	}
}

func TestTheWorkerTellsItsAddressAndStopsWhenToldTo(t *testing.T) {
	var keys []temporal.SearchAttributeKey
	for _, a := range workflows.SearchAttributes {
		if a.Int {
			keys = append(keys, temporal.NewSearchAttributeKeyInt64(a.Name))
		} else {
			keys = append(keys, temporal.NewSearchAttributeKeyKeyword(a.Name))
		}
	}
	s := local.TemporalForTest(t, local.TemporalConfig{SearchAttributes: keys})
	env := map[string]string{"DRAWBRIDGE_WORKER_PLANS_DIR": t.TempDir(), "DRAWBRIDGE_WORKER_TEMPORAL_ADDRESS": s.HostPort()}
	file := filepath.Join(t.TempDir(), "address")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() {
		ended <- service(func(k string) string { return env[k] }).Start(ctx, []string{"-listen", "127.0.0.1:0", "-address-file", file}, &out, &errs)
	}()
	wait, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := local.WaitFor(wait, "the address file", func(context.Context) error {
		b, err := os.ReadFile(file)
		if err == nil && !strings.HasPrefix(string(b), "127.0.0.1:") {
			t.Errorf("address %q", b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit code %d: %s", code, errs.String())
		}
	case <-wait.Done():
		t.Fatal("it does not stop")
	}
}
