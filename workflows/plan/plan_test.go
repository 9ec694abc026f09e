package plan_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/workflows/plan"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func example(t *testing.T) plan.Plan {
	t.Helper()
	p, err := plan.Parse([]byte(plan.Example()))
	if err != nil {
		t.Fatalf("the example must validate: %v", err)
	}
	return p
}

func TestExampleValidatesAndNormalisesOnce(t *testing.T) {
	p := example(t)
	if d := cmp.Diff(p, p.Normalise()); d != "" {
		t.Fatalf("normalising twice changes the plan:\n%s", d)
	}
	if p.Sites[0].Kafka.Security.Password != "${file:/etc/drawbridge/east.password}" {
		t.Fatalf("password_file became %q", p.Sites[0].Kafka.Security.Password)
	}
	if len(p.Links) != 2 || p.Links[1].Name != "west-to-east" {
		t.Fatalf("the second direction's link was not added: %+v", p.Links)
	}
	if p.Sites[0].Engine.LinkSecurity != p.Sites[1].Kafka.Security {
		t.Fatal("the engine's login at the other site does not default to that site's")
	}
}

func TestHashIgnoresOrderAndCommentsButNoMeaning(t *testing.T) {
	base := example(t)
	hash := func(text string) string {
		p, err := plan.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		h, err := p.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	want, err := base.Hash()
	if err != nil || len(want) != 64 {
		t.Fatalf("hash %q, %v", want, err)
	}
	reordered := strings.Replace(plan.Example(), "topics: [orders, payments, ^audit-.*]", "# a comment\ntopics: [^audit-.*, payments, orders]", 1)
	if reordered == plan.Example() {
		t.Fatal("the test's edit did not apply")
	}
	if got := hash(reordered); got != want {
		t.Error("the order of topics changed the hash")
	}
	if got := hash(strings.Replace(plan.Example(), "freeze_seconds: 120", "freeze_seconds: 121", 1)); got == want {
		t.Error("another freeze has the same hash")
	}
}

// The seam of two packages that may not import each other: a run decodes what
// plan encodes, with nothing lost and nothing unknown.
func TestPlanAndCommandHaveTheRunsJSON(t *testing.T) {
	roundTrip := func(from, to any) {
		t.Helper()
		b, err := json.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(to); err != nil {
			t.Fatal(err)
		}
		back, err := json.Marshal(to)
		if err != nil {
			t.Fatal(err)
		}
		if string(back) != string(b) {
			t.Fatalf("lost on the way:\n%s\n%s", b, back)
		}
	}
	roundTrip(example(t), &runbook.Plan{})
	roundTrip(plan.Approval{
		OpID: "o", Pair: "p", Operation: "failover", Epoch: 3, PlanHash: "h", Decision: "approve", By: "ann",
		Question: "1 a",
		Reason:   "r", Overrides: []string{"unproven-fence"}, Step: "s", Choices: map[string]string{"t": "append"}, Team: "payments",
		Expires: time.Unix(5, 0).UTC(), Signature: "x",
	}, &runbook.Command{})
}

func TestPlanWithManyMistakesReportsAllAtOnce(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad plans: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(b)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(w))
				}
			}
			_, err = plan.Parse(b)
			if err == nil {
				t.Fatal("accepted")
			}
			var got []string
			for _, e := range unjoin(err) {
				var fault plan.Fault
				if !errors.As(e, &fault) {
					t.Fatalf("not a fault: %v", e)
				}
				if fault.Key == "" || fault.Value == "" || fault.Cure == "" {
					t.Errorf("fault without key, value or cure: %#v", fault)
				}
				got = append(got, fault.Key)
			}
			slices.Sort(got)
			slices.Sort(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("faults differ (-want +got):\n%s\n%v", d, err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatal("a secret is in the error")
			}
		})
	}
}

func unjoin(err error) []error {
	var j interface{ Unwrap() []error }
	if errors.As(err, &j) {
		return j.Unwrap()
	}
	return []error{err}
}

func TestLoadRefusesAFileUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "payments.yaml"), []byte(plan.Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "orders.yaml"), []byte(plan.Example()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Load(dir, "orders"); err != nil {
		t.Fatal(err)
	}
	for _, pair := range []string{"payments", "missing", "../orders", "", ".."} {
		if _, err := plan.Load(dir, pair); err == nil {
			t.Errorf("pair %q was loaded", pair)
		}
	}
}

func TestAnEscalationNamesPeopleOfThePlanAndComesBeforeTheDeadline(t *testing.T) {
	p := example(t)
	if r := p.Approvals["failback"]; r.EscalateSeconds != r.DeadlineSeconds/2 {
		t.Errorf("by default half the deadline of %d s, not %d s", r.DeadlineSeconds, r.EscalateSeconds)
	}
	for _, c := range []struct {
		seconds int64
		to      string
		fault   string
	}{
		{300, "operator", ""},
		{300, "eve", ""},
		{-1, "operator", ""},
		{300, "ceo", "approvals.failover.escalate_to"},
		{1800, "operator", "approvals.failover.escalate_seconds"},
		{-2, "operator", "approvals.failover.escalate_seconds"},
	} {
		r := p.Approvals["failover"]
		r.EscalateSeconds, r.EscalateTo = c.seconds, []string{c.to}
		p.Approvals["failover"] = r
		err := p.Normalise().Validate()
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%d s to %s: %v", c.seconds, c.to, err)
		}
	}
}

func TestBreakGlassIsForRolesThatSomebodyHasAndLeavesOneApprovalAtMost(t *testing.T) {
	for fault, g := range map[string]*plan.BreakGlass{
		"":                       {Roles: []string{"operator"}, Approvals: 1},
		"break_glass.roles":      {},
		"break_glass.roles: \"x": {Roles: []string{"x"}},
		"break_glass.approvals":  {Roles: []string{"operator"}, Approvals: 2},
		"break_glass.operations": {Roles: []string{"operator"}, Operations: []string{"dance"}},
	} {
		p := example(t)
		p.BreakGlass = g
		p = p.Normalise()
		if err := p.Validate(); (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: %v", fault, err)
		}
		if len(g.Operations) == 0 && !slices.Equal(p.BreakGlass.Operations, []string{"failover"}) {
			t.Errorf("for %v", p.BreakGlass.Operations)
		}
	}
}

func TestSignatureBindsEveryFieldAndThePerson(t *testing.T) {
	pub, priv, err := plan.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	otherPub, _, err := plan.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := plan.ParsePrivate(priv)
	if err != nil {
		t.Fatal(err)
	}
	people := []plan.Person{{Name: "ann", PublicKey: pub}, {Name: "bob", PublicKey: otherPub}}
	good, err := plan.Sign(key, plan.Approval{
		OpID: "failover-1", Pair: "orders", Operation: "failover", Epoch: 4, PlanHash: "abc", Decision: "approve",
		By: "ann", Reason: "dead", Overrides: []string{"unproven-fence"}, Step: "flip", Choices: map[string]string{"a": "append"},
		Question: "1 approve", Expires: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if who, err := plan.Verify(people, nil, good); err != nil || who.Name != "ann" {
		t.Fatalf("%v %v", who, err)
	}
	// Over the wire and back it still counts.
	b, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	var again plan.Approval
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Verify(people, nil, again); err != nil {
		t.Fatal(err)
	}
	forgeries := map[string]func(*plan.Approval){
		"op_id":     func(a *plan.Approval) { a.OpID = "failover-2" },
		"pair":      func(a *plan.Approval) { a.Pair = "payments" },
		"operation": func(a *plan.Approval) { a.Operation = "failback" },
		"epoch":     func(a *plan.Approval) { a.Epoch++ },
		"plan_hash": func(a *plan.Approval) { a.PlanHash = "abd" },
		"decision":  func(a *plan.Approval) { a.Decision = "abort" },
		"by":        func(a *plan.Approval) { a.By = "bob" },
		"nobody":    func(a *plan.Approval) { a.By = "mallory" },
		"reason":    func(a *plan.Approval) { a.Reason = "alive" },
		"overrides": func(a *plan.Approval) { a.Overrides = append(a.Overrides, "primary-alive") },
		"question":  func(a *plan.Approval) { a.Question = "2 approve" },
		"step":      func(a *plan.Approval) { a.Step = "x" },
		"choices":   func(a *plan.Approval) { a.Choices = map[string]string{"a": "discard"} },
		"team":      func(a *plan.Approval) { a.Team = "web" },
		"expires":   func(a *plan.Approval) { a.Expires = a.Expires.Add(time.Hour) },
		"missing":   func(a *plan.Approval) { a.Signature = "" },
		"malformed": func(a *plan.Approval) { a.Signature = "%%" },
	}
	for name, forge := range forgeries {
		a := good
		a.Overrides = slices.Clone(good.Overrides)
		forge(&a)
		if _, err := plan.Verify(people, nil, a); !errors.Is(err, plan.ErrSignature) {
			t.Errorf("%s: forged and accepted (%v)", name, err)
		}
	}
	if len(key) != ed25519.PrivateKeySize {
		t.Fatal("key size")
	}
	if _, err := plan.ParsePrivate("hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(plan.Example()))
	f.Add([]byte("pair: [1]\nsites: {a: 1}\n"))
	f.Add([]byte("topics: 3\npeople: [x, {name: 4}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := plan.Parse(b)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("parsed but does not validate: %v", err)
		}
	})
}
