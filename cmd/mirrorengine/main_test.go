package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

func noEnvironment(string) string { return "" }

func TestMistakesOfTheCommandLineExitWith2(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "engine.yml")
	if err := os.WriteFile(bad, []byte("name: West\nlisten: nowhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		says []string
	}{
		"unknown flag":  {[]string{"-port", "1"}, 2, []string{"flag provided but not defined: -port"}},
		"an argument":   {[]string{"engine.yml"}, 2, []string{"the configuration is given by -config"}},
		"no such file":  {[]string{"-config", bad + ".gone"}, 2, []string{"no such file"}},
		"bad config":    {[]string{"-config", bad}, 2, []string{"name: 'West'", "listen: 'nowhere'", "kafka.bootstrap: required"}},
		"help":          {[]string{"-h"}, 0, []string{"-address-file"}},
		"bad -listen":   {[]string{"-listen", "0.0.0.0:0"}, 2, []string{"tokens: required because listen (0.0.0.0:0)"}},
		"its own words": {[]string{"-version"}, 0, nil},
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
		if name == "its own words" && strings.TrimSpace(out.String()) == "" {
			t.Error("no version printed")
		}
	}
}

func TestAnUnreachableClusterExitsWith1AndSaysSo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	env := map[string]string{
		"DRAWBRIDGE_NAME": "west", "DRAWBRIDGE_KAFKA_BOOTSTRAP": "no-such-host.invalid:9092",
		"DRAWBRIDGE_LISTEN": "127.0.0.1:0", "DRAWBRIDGE_LOG_FORMAT": "json",
	}
	code := service(func(name string) string { return env[name] }).Start(ctx, nil, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "start the engine of west") {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	for line := range strings.Lines(errs.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// output collects what the engine writes while it runs.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func TestTheEngineTellsItsAddressServesAndStops(t *testing.T) {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ClusterID("cluster-west"),
		kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "engine", `p"w\d`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token := "0123456789abcdef0123456789abcdef"
	config := write("engine.yml", strings.Join([]string{
		"name: west",
		"token_file: " + write("token", token+"\n"),
		"kafka:",
		"  bootstrap: [" + kafka.ListenAddrs()[0] + "]",
		"  security_protocol: SASL_PLAINTEXT",
		"  sasl_mechanism: SCRAM-SHA-256",
		"  username: engine",
		"  password: ${file:" + write("password", `p"w\d`) + "}",
		"state: {shards: 2}",
	}, "\n"))
	addressFile := filepath.Join(dir, "address")

	ctx, cancel := context.WithCancel(t.Context())
	var log output
	done := make(chan int, 1)
	go func() {
		done <- service(noEnvironment).Start(ctx, []string{"-config", config, "-listen", "127.0.0.1:0", "-address-file", addressFile}, &log, &log)
	}()
	stopped := false
	defer func() {
		cancel()
		if !stopped {
			<-done
		}
	}()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var address []byte
	for address == nil {
		select {
		case code := <-done:
			stopped = true
			t.Fatalf("stopped with %d: %s", code, log.String())
		case <-deadline:
			t.Fatalf("no address: %s", log.String())
		case <-tick.C:
			if b, err := os.ReadFile(addressFile); err == nil {
				address = b
			}
		}
	}
	c := &api.Client{BaseURL: "http://" + string(address), Token: token}
	engine, err := c.Engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if engine.ClusterID != "cluster-west" || engine.Version == "" {
		t.Errorf("got %+v", engine)
	}
	if id, err := c.ClusterID(t.Context()); err != nil || id != "cluster-west" {
		t.Errorf("got %s, %v", id, err)
	}
	if links, err := c.Links(t.Context()); err != nil || len(links) != 0 {
		t.Errorf("got %v, %v", links, err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	code := <-done
	stopped = true
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(log.String(), "address="+string(address)) || !strings.Contains(log.String(), "msg=stopped") {
		t.Errorf("log: %s", log.String())
	}
	if strings.Contains(log.String(), token) || strings.Contains(log.String(), `p"w`) {
		t.Errorf("a secret is in the log: %s", log.String())
	}
}
