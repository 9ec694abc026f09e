package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/drawbridge-dr/drawbridge/cmd/internal/operator"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// holder is a person with a plan of two sites, whose Consuls are real.
type holder struct {
	t          *testing.T
	plan, key  string
	east, west *local.Consul
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	dir := t.TempDir()
	h := &holder{
		t: t, plan: filepath.Join(dir, "orders.yaml"), key: filepath.Join(dir, "key.json"),
		east: local.ConsulForTest(t, local.ConsulConfig{Name: "east"}), west: local.ConsulForTest(t, local.ConsulConfig{Name: "west"}),
	}
	zoe, err := operator.NewKeyFile(h.key, "zoe")
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
pair: orders
home: east
sites:
  - {name: east, kafka: {bootstrap: ["127.0.0.1:1"]}, engine: {url: "http://127.0.0.1:2"}, consul: {address: %q}}
  - {name: west, kafka: {bootstrap: ["127.0.0.1:3"]}, engine: {url: "http://127.0.0.1:4"}, consul: {address: %q}}
topics: [a]
objectives: {rto_seconds: 900, rpo_seconds: 30}
people: [{name: zoe, roles: [approver], public_key: %q}]
`, h.east.Address(), h.west.Address(), zoe.Public())
	if err := os.WriteFile(h.plan, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// drctl runs a command line and wants its exit code.
func (h *holder) drctl(code int, args ...string) string {
	h.t.Helper()
	var out bytes.Buffer
	if got := run(args, strings.NewReader(""), &out, &out); got != code {
		h.t.Fatalf("drctl %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out.String())
	}
	return out.String()
}

func (h *holder) hold(code int, verb string, args ...string) string {
	h.t.Helper()
	return h.drctl(code, append([]string{verb, "--plan", h.plan, "--key", h.key}, args...)...)
}

// stands are the holds that status shows; no Temporal answers.
func (h *holder) stands() []runbook.Held {
	h.t.Helper()
	var st struct {
		Holds []runbook.Held `json:"holds"`
	}
	out := h.drctl(codeUnreachable, "status", "orders", "--plan", h.plan, "--temporal", "127.0.0.1:9", "-o", "json")
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&st); err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return st.Holds
}

func TestAHoldIsPutAndReleasedWithoutTemporal(t *testing.T) {
	h := newHolder(t)
	h.hold(codeRefused, "release", "orders", "--reason", "x") // there is none
	h.hold(codeOK, "hold", "orders", "--reason", "audit week")
	h.hold(codeOK, "hold", "--all", "--reason", "storm")
	held := h.stands()
	if len(held) != 2 || held[0].By != "zoe" || held[0].Reason != "audit week" || held[1].Scope != runbook.HoldAll || len(held[1].Sites) != 2 {
		t.Fatalf("%+v", held)
	}
	for _, hold := range held {
		if hold.Unproven != "" || hold.Signature == "" {
			t.Errorf("who put it is not proven: %+v", hold)
		}
	}
	if out := h.drctl(codeUnreachable, "status", "orders", "--plan", h.plan, "--temporal", "127.0.0.1:9"); !strings.Contains(out, "HELD: pair orders is held by zoe since") {
		t.Errorf("status does not show the hold:\n%s", out)
	}
	out := h.hold(codeOK, "release", "--all", "--reason", "over")
	if !strings.Contains(out, "put by zoe") || !strings.Contains(out, "storm") {
		t.Errorf("the release does not say what it lifted:\n%s", out)
	}
	if held := h.stands(); len(held) != 1 || held[0].Scope != runbook.HoldPair {
		t.Errorf("%+v", held)
	}
}

func TestAReleaseThatOneConsulMissedStandsWhenItIsBack(t *testing.T) {
	h := newHolder(t)
	h.hold(codeOK, "hold", "orders", "--reason", "audit week")
	if err := h.west.Kill(); err != nil {
		t.Fatal(err)
	}
	out := h.hold(codeOK, "release", "orders", "--reason", "over")
	if !strings.Contains(out, "consul of west did not take it") || !strings.Contains(out, "repeat the release") {
		t.Errorf("it does not say what is left to do:\n%s", out)
	}
	if err := h.west.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if held := h.stands(); len(held) > 0 {
		t.Errorf("the copy that missed the release holds again: %+v", held)
	}
	for _, c := range []*local.Consul{h.east, h.west} {
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	h.hold(codeUnreachable, "hold", "orders", "--reason", "audit week")
}

func TestOnlyPeopleOfThePlanHoldAndSayWhy(t *testing.T) {
	h := newHolder(t)
	h.hold(codeUsage, "hold", "orders")
	h.hold(codeUsage, "hold", "--reason", "x")
	h.hold(codeUsage, "hold", "orders", "--all", "--reason", "x")
	other := filepath.Join(t.TempDir(), "key.json")
	if _, err := operator.NewKeyFile(other, "zoe"); err != nil { // the name, another key
		t.Fatal(err)
	}
	h.key = other
	if out := h.hold(codeRefused, "hold", "orders", "--reason", "x"); !strings.Contains(out, "does not list zoe with this key") {
		t.Errorf("%s", out)
	}
	if held := h.stands(); len(held) > 0 {
		t.Errorf("%+v", held)
	}
}
