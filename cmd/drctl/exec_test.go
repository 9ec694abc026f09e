package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

func rec(epoch int64, active string, phase record.Phase) record.Record {
	standby := map[string]string{"east": "west", "west": "east"}[active]
	return record.Record{
		Pair: "orders", Mode: record.ActivePassive, Phase: phase, Epoch: epoch, PrevEpoch: epoch - 1,
		Active: []string{active}, Standby: []string{standby},
		Bootstrap: map[string][]string{"east": {"e1:1", "e2:1"}, "west": {"w1:2"}},
		OpID:      "op-" + active, ChangedAt: time.Unix(1700000000, 0), ChangedBy: "test",
	}
}

func put(t *testing.T, c *local.Consul, r record.Record) {
	t.Helper()
	raw, err := record.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	putRaw(t, c, raw)
}

func putRaw(t *testing.T, c *local.Consul, raw []byte) {
	t.Helper()
	cl, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	opts := (&api.WriteOptions{}).WithContext(t.Context())
	if _, err := cl.KV().Put(&api.KVPair{Key: record.KeysOf("orders").Active, Value: raw}, opts); err != nil {
		t.Fatal(err)
	}
}

// execution is one `drctl exec` of group billing as a process of its own, over a real Consul.
type execution struct {
	t       *testing.T
	proc    *local.Process
	childIn string // where the child writes its words
}

// logging logs where it is started, HUP, and that it was told to stop.
const logging = `trap 'echo stopped >>$LOG; exit 0' TERM; trap 'echo HUP >>$LOG' HUP; echo up:$DRAWBRIDGE_SITE:$DRAWBRIDGE_BOOTSTRAP:$DRAWBRIDGE_EPOCH:$0 >>$LOG; while :; do sleep 0.02; done`

func execute(t *testing.T, consul *local.Consul, stateDir, script string, flags ...string) *execution {
	t.Helper()
	dir := t.TempDir()
	x := &execution{t: t, childIn: filepath.Join(dir, "child")}
	args := slices.Concat([]string{"exec", "-v", "--pair", "orders", "--group", "billing", "--instance", "i1", "--consul", consul.Address(), "--state-dir", stateDir},
		flags, []string{"--", "sh", "-c", script, "{{.Site}}"})
	path, err := exec.LookPath("drctl") // TestMain has put it there
	if err != nil {
		t.Fatal(err)
	}
	x.proc, err = local.Start(local.Spec{
		Name: "drctl exec", Path: path, Args: args, LogFile: filepath.Join(dir, "drctl.log"),
		Env: []string{"LOG=" + x.childIn, "CONSUL_HTTP_ADDR="},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.proc.Stop(2 * time.Minute); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of drctl exec:\n%s", x.proc.Log(40))
		}
	})
	return x
}

func (x *execution) until(what string, cond func() error) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, what, func(context.Context) error { return cond() }); err != nil {
		x.t.Fatal(err)
	}
}

func (x *execution) words() []string {
	raw, err := os.ReadFile(x.childIn)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		x.t.Fatal(err)
	}
	return strings.Fields(string(raw))
}

func (x *execution) untilWords(want ...string) {
	x.t.Helper()
	x.until(fmt.Sprintf("the child's words %q", want), func() error {
		if got := x.words(); !slices.Equal(got, want) {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

// untilLogged waits for words in drctl's own log.
func (x *execution) untilLogged(want string) {
	x.t.Helper()
	x.until("drctl to log "+want, func() error {
		if !strings.Contains(x.proc.Log(1000), want) {
			return errors.New("not logged")
		}
		return nil
	})
}

func (x *execution) ends(code int) {
	x.t.Helper()
	select {
	case <-x.proc.Done():
	case <-time.After(2 * time.Minute):
		x.t.Fatal("still running")
	}
	got := 0
	var exit *exec.ExitError
	if errors.As(x.proc.Err(), &exit) {
		got = exit.ExitCode()
	}
	if got != code {
		x.t.Errorf("ended with %d, want %d", got, code)
	}
}

func (x *execution) untilAck(consul *local.Consul, state client.AckState, epoch int64, phase record.Phase) {
	x.t.Helper()
	cl, err := consul.Client()
	if err != nil {
		x.t.Fatal(err)
	}
	x.until(fmt.Sprintf("ack %s of epoch %d %s", state, epoch, phase), func() error {
		kv, _, err := cl.KV().Get(client.AckKey("orders", "billing", "i1"), nil)
		if err != nil || kv == nil {
			return fmt.Errorf("none: %w", err)
		}
		var a client.Ack
		if err := json.Unmarshal(kv.Value, &a); err != nil {
			return err
		}
		if a.State != state || a.Epoch != epoch || a.Phase != phase {
			return fmt.Errorf("found %+v", a)
		}
		return nil
	})
}

func TestExecFollowsFreezeFlipAndRefusesAnEpochThatGoesBack(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	put(t, consul, rec(1, "east", record.Open))
	x := execute(t, consul, t.TempDir(), logging)
	want := []string{"up:east:e1:1,e2:1:1:east"}
	x.untilWords(want...)
	x.untilAck(consul, client.Running, 1, record.Open)

	put(t, consul, rec(1, "east", record.Frozen))
	want = append(want, "stopped")
	x.untilWords(want...)
	x.untilAck(consul, client.Stopped, 1, record.Frozen)

	put(t, consul, rec(2, "west", record.Open))
	want = append(want, "up:west:w1:2:2:west")
	x.untilWords(want...)
	x.untilAck(consul, client.Running, 2, record.Open)

	put(t, consul, rec(1, "east", record.Open))
	x.untilLogged("record of epoch 1 ignored")
	put(t, consul, rec(2, "west", record.Open))
	if err := syscall.Kill(x.proc.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	want = append(want, "HUP")
	x.untilWords(want...)

	if err := syscall.Kill(x.proc.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.ends(0)
	x.untilWords(append(want, "stopped")...)
	cl, err := consul.Client()
	if err != nil {
		t.Fatal(err)
	}
	if kv, _, err := cl.KV().Get(client.AckKey("orders", "billing", "i1"), nil); err != nil || kv != nil {
		t.Errorf("the acknowledgement of an ended instance is left: %v %v", kv, err)
	}
}

func TestExecStartsFromItsDiskCopyWhileConsulIsAway(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	put(t, consul, rec(4, "west", record.Open))
	state := t.TempDir()
	x := execute(t, consul, state, `echo once >>$LOG; exit 42`)
	x.ends(42)
	if err := consul.Kill(); err != nil {
		t.Fatal(err)
	}
	x = execute(t, consul, state, logging)
	x.untilWords("up:west:w1:2:4:west")
	x.untilLogged("no Consul answers: going on with the last record kept on disk")
	// Consul comes back with what it held before the failover.
	if err := consul.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, consul, rec(3, "east", record.Open))
	x.untilLogged("record of epoch 3 ignored")
	put(t, consul, rec(5, "east", record.Open))
	x.untilWords("up:west:w1:2:4:west", "stopped", "up:east:e1:1,e2:1:5:east")
}

func TestExecWithoutConsulAndWithoutDiskCopyStartsNothing(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	if err := consul.Kill(); err != nil {
		t.Fatal(err)
	}
	x := execute(t, consul, t.TempDir(), logging)
	x.untilLogged("does not answer")
	if err := syscall.Kill(x.proc.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.ends(143)
	if got := x.words(); len(got) != 0 {
		t.Errorf("a child was started: %q", got)
	}
}

// What the record's key holds may be torn by hand, restored from a backup or written by a script for another pair: what runs
// goes on as it is.
func TestExecLeavesItsChildAloneForRecordsThatAreTornOlderOrOfAnotherPair(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	put(t, consul, rec(4, "east", record.Open))
	state := t.TempDir()
	x := execute(t, consul, state, logging)
	want := []string{"up:east:e1:1,e2:1:4:east"}
	x.untilWords(want...)

	good, err := record.Marshal(rec(9, "west", record.Frozen))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, value, logged string }{
		{"torn", string(good[:len(good)/2]), "unexpected end of JSON input"},
		{"empty", "", "unexpected end of JSON input"},
		{"changed by hand", strings.Replace(string(good), "w1:2", "w1:3", 1), "does not match its sha256"},
		{"another schema", strings.Replace(string(good), `"schema":1`, `"schema":2`, 1), "another schema"},
	} {
		putRaw(t, consul, []byte(c.value))
		x.untilLogged(c.logged)
	}
	other := rec(9, "west", record.Frozen)
	other.Pair = "payments"
	put(t, consul, other)
	x.untilLogged(`it is the record of pair \"payments\"`)
	put(t, consul, rec(3, "west", record.Frozen))
	x.untilLogged("record of epoch 3 ignored")
	split := rec(4, "west", record.Open)
	put(t, consul, split)
	x.untilLogged("split brain at epoch 4")
	if got := x.words(); !slices.Equal(got, want) {
		t.Fatalf("the child was touched: %q", got)
	}
	// The next good one counts.
	put(t, consul, rec(5, "west", record.Open))
	x.untilWords(append(want, "stopped", "up:west:w1:2:5:west")...)

	// And a torn copy on disk starts nothing while no Consul answers: it is not known where the group belongs.
	if err := errors.Join(syscall.Kill(x.proc.Pid(), syscall.SIGTERM), consul.Kill()); err != nil {
		t.Fatal(err)
	}
	x.ends(0)
	if err := os.WriteFile(filepath.Join(state, "orders.record.json"), good[:40], 0o600); err != nil {
		t.Fatal(err)
	}
	x = execute(t, consul, state, logging)
	x.untilLogged("kept record")
	x.untilLogged("does not answer")
	if err := syscall.Kill(x.proc.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.ends(143)
	if got := x.words(); len(got) != 0 {
		t.Errorf("a child was started: %q", got)
	}
}

func TestExecKillsAChildThatIgnoresSIGTERM(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	put(t, consul, rec(1, "east", record.Open))
	x := execute(t, consul, t.TempDir(), `trap '' TERM; echo up:$DRAWBRIDGE_SITE >>$LOG; while :; do sleep 0.02; done`, "--kill-timeout", "300ms")
	x.untilWords("up:east")
	put(t, consul, rec(2, "west", record.Open))
	x.untilWords("up:east", "up:west")
	x.untilLogged("killing its process group")
}

func TestExecKilledTakesItsChildWithIt(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	put(t, consul, rec(1, "east", record.Open))
	x := execute(t, consul, t.TempDir(), `echo $$ >>$LOG; while :; do sleep 0.02; done`)
	x.until("child", func() error {
		if len(x.words()) == 0 {
			return errors.New("not up")
		}
		return nil
	})
	var pid int
	if _, err := fmt.Sscan(x.words()[0], &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(x.proc.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	x.until("the child's end", func() error {
		if err := syscall.Kill(pid, 0); err == nil {
			if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(raw), ") Z ") {
				return nil
			}
			return errors.New("it runs without anybody who would stop it")
		}
		return nil
	})
}

func TestExecReadsReferencesFromFilesAndVault(t *testing.T) {
	vault := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/kv/data/kafka/east" || r.Header.Get("X-Vault-Token") != "s.token" {
			http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, `{"data":{"data":{"password":"hunter2"},"metadata":{"version":1,"created_time":"2026-01-01T00:00:00Z","deletion_time":"","destroyed":false}}}`)
	}))
	t.Cleanup(vault.Close)
	t.Setenv("VAULT_ADDR", vault.URL)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("s.token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	resolve, err := execFlags{vaultToken: token}.resolver()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := resolve("user:${vault:kv/kafka/east#password}@${file:" + token + "}"); err != nil || got != "user:hunter2@s.token" {
		t.Errorf("resolved to %q, %v", got, err)
	}
	if resolve, err = (execFlags{}).resolver(); err != nil {
		t.Fatal(err)
	}
	if got, err := resolve("${vault:kv/kafka/east#password}"); err == nil {
		t.Errorf("without a token Vault told %q", got)
	}
}
