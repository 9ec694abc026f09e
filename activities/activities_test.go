package activities

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/rest"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
	"github.com/drawbridge-dr/drawbridge/test/local"
	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

func TestExportedMethodsAreExactlyTheSteps(t *testing.T) {
	names := func(typ reflect.Type) []string {
		var out []string
		for i := range typ.NumMethod() {
			out = append(out, typ.Method(i).Name)
		}
		return out
	}
	have, want := names(reflect.TypeFor[*Activities]()), names(reflect.TypeFor[workflows.Steps]())
	if !slices.Equal(have, want) {
		t.Errorf("exported methods %v\nsteps %v", have, want)
	}
}

func newActivities(t *testing.T, o Options) *Activities {
	t.Helper()
	a, closeAll := New(o)
	t.Cleanup(closeAll)
	return a
}

func call(step string) workflows.Call {
	return workflows.Call{Pair: "orders", OperationID: "failover-1", Operation: "failover", Epoch: 8, Step: step}
}

// nobodyThere is an address that nobody listens at, and that nobody else is given.
func nobodyThere(t *testing.T) string {
	t.Helper()
	ports, err := local.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0])
}

// typed checks the type of an application error and whether it may be retried.
func typed(t *testing.T, err error, wantType string, wantRetry bool) {
	t.Helper()
	if got := workflows.ErrorType(err); got != wantType {
		t.Fatalf("error %v has type %q, want %q", err, got, wantType)
	}
	if retryable(err) != wantRetry {
		t.Fatalf("error %v: retryable %t, want %t", err, !wantRetry, wantRetry)
	}
}

func secretFileFor(t *testing.T, secret string) string {
	t.Helper()
	return secretFileIn(t, t.TempDir(), secret)
}

func secretFileIn(t *testing.T, dir, secret string) string {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(secret))))
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "${file:" + path + "}"
}

// Users of test clusters.
var (
	admin  = local.User{Name: "admin", Password: "admin-secret"}
	ops    = local.User{Name: "ops", Password: "ops-secret"}
	canary = local.User{Name: "canary", Password: "canary-secret"}
	app    = local.User{Name: "app", Password: "app-secret"}
	reader = local.User{Name: "reader", Password: "reader-secret"}
)

func login(t *testing.T, u local.User) runbook.Security {
	t.Helper()
	return loginIn(t, t.TempDir(), u)
}

func loginIn(t *testing.T, dir string, u local.User) runbook.Security {
	t.Helper()
	return runbook.Security{Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", Username: u.Name, Password: secretFileIn(t, dir, u.Password)}
}

// unimplemented is Links by another name: embedded as Links it would hide the
// method Links.
type unimplemented rest.Links

// fakeEngine keeps locks, tokens and fence registers as the engine does, behind
// the real REST server. What it lacks panics.
type fakeEngine struct {
	unimplemented
	cluster string
	facts   api.Engine

	mu      sync.Mutex // guards what follows
	lock    api.Lock
	fences  map[string]api.Fence
	handed  []string
	mirrors map[string]string // topic → status
	calls   []string
}

// startEngine serves e and gives the site's engine.
func startEngine(t *testing.T, e *fakeEngine) runbook.Engine {
	t.Helper()
	return serveEngine(t, e, e)
}

// serveEngine is startEngine for a fake that knows more than e.
func serveEngine(t *testing.T, e *fakeEngine, links rest.Links) runbook.Engine {
	t.Helper()
	e.fences, e.mirrors = map[string]api.Fence{}, map[string]string{}
	admin := rest.Access{Tokens: []rest.Token{{Name: "worker", Role: rest.RoleAdmin, Secret: "a-token-of-sixteen"}}}
	srv := httptest.NewTLSServer(rest.New(rest.Options{Links: links, Access: admin, Version: "test", Ready: func() error { return nil }, Logger: discard}))
	t.Cleanup(srv.Close)
	path, ca := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a-token-of-sixteen\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return runbook.Engine{URL: srv.URL, TokenFile: path, CAFile: ca}
}

func (e *fakeEngine) note(ctx context.Context, what string) {
	if op, ok := api.OperationFrom(ctx); ok {
		what += " as " + op.OperationID
	}
	e.calls = append(e.calls, what)
}

func (e *fakeEngine) ClusterID() string { return e.cluster }

func (e *fakeEngine) Engine(context.Context) (api.Engine, error) {
	f := e.facts
	f.ClusterID = e.cluster
	return f, nil
}

func (e *fakeEngine) Lock(context.Context, string) (api.Lock, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lock, nil
}

func (e *fakeEngine) PutLock(_ context.Context, _ string, l api.Lock) (api.Lock, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.lock.OperationID == l.OperationID:
		return e.lock, nil
	case e.lock.OperationID != "":
		return e.lock, api.Conflict("pair is locked by operation %s", e.lock.OperationID)
	case l.Epoch < e.lock.HighestEpoch:
		return e.lock, api.Conflict("pair has seen epoch %d", e.lock.HighestEpoch)
	}
	l.HighestEpoch, l.Since = max(l.Epoch, e.lock.HighestEpoch), time.Now()
	e.lock = l
	return l, nil
}

func (e *fakeEngine) DeleteLock(_ context.Context, _, op string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock.OperationID != "" && e.lock.OperationID != op {
		return api.Conflict("pair is locked by operation %s", e.lock.OperationID)
	}
	e.lock = api.Lock{HighestEpoch: e.lock.HighestEpoch}
	return nil
}

func (e *fakeEngine) Fences(context.Context, string) ([]api.Fence, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []api.Fence
	for _, f := range e.fences {
		out = append(out, f)
	}
	return out, nil
}

func (e *fakeEngine) PutFence(_ context.Context, _ string, f api.Fence) (api.Fence, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.fences[f.OperationID]
	merged := old.Entries
	for _, x := range f.Entries {
		if !slices.ContainsFunc(merged, func(o api.FenceEntry) bool { return o.ACLEntry == x.ACLEntry && o.ClusterID == x.ClusterID }) {
			merged = append(merged, x)
		}
	}
	if len(old.Entries) > 0 {
		f.LetThrough = old.LetThrough && (f.LetThrough || len(merged) == len(old.Entries))
	}
	f.Entries = merged
	e.fences[f.OperationID] = f
	return f, nil
}

func (e *fakeEngine) DeleteFence(_ context.Context, _, op string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.fences, op)
	return nil
}

func (e *fakeEngine) HandOverFence(ctx context.Context, _, op, link string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.note(ctx, "HandOver "+op+" "+link)
	f, ok := e.fences[op]
	if !ok {
		return api.NotFound("no fence of %s", op)
	}
	for _, x := range f.Entries {
		if x.ResourceType != onTopic {
			return api.BadRequest("%s cannot become a guard", x.ResourceName)
		}
		e.handed = append(e.handed, x.ResourceName)
	}
	f.HandedOver = true
	e.fences[op] = f
	return nil
}

func TestErrorsAreJudgedInOnePlace(t *testing.T) {
	for name, tc := range map[string]struct {
		err   error
		kind  string
		again bool
	}{
		"stale operation":   {api.Conflict("held"), workflows.ErrStaleOperation, false},
		"bad request":       {api.BadRequest("no"), workflows.ErrRefused, false},
		"not found":         {api.LinkNotFound(), workflows.ErrRefused, false},
		"engine not ready":  {api.Unavailable("wait"), workflows.ErrUnreachable, true},
		"engine fault":      {api.Internal("oops"), workflows.ErrUnreachable, true},
		"missing secret":    {badSecret("no file"), workflows.ErrRefused, false},
		"vault is sealed":   {unread(fmt.Errorf("x: %w", secret.ErrUnavailable)), workflows.ErrUnreachable, true},
		"connection":        {context.DeadlineExceeded, workflows.ErrUnreachable, true},
		"an earlier answer": {temporal.NewNonRetryableApplicationError("x", workflows.ErrPairBusy, nil), workflows.ErrPairBusy, false},
	} {
		t.Run(name, func(t *testing.T) { typed(t, settle(tc.err), tc.kind, tc.again) })
	}
}

func TestSecretsAreReadWhenUsedAndNeverShown(t *testing.T) {
	a, closeAll := New(Options{})
	defer closeAll()
	ref := secretFileFor(t, "first")
	if got, err := a.resolve(ref); err != nil || got != "first" {
		t.Fatalf("got %q, %v", got, err)
	}
	path := ref[len("${file:") : len(ref)-1]
	if err := os.WriteFile(path, []byte("user=u\npassword = second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := a.resolve("${file:" + path + ":password}"); err != nil || got != "second" {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, bad := range []string{"plain-secret", "${vault:a#b}", "${file:" + path + ".gone}", "${env:DRAWBRIDGE_NOT_SET}", "${oops:x}"} {
		if got, err := a.resolve(bad); err == nil || got != "" {
			t.Errorf("%s resolved to %q", bad, got)
		} else if bad == "plain-secret" && err.Error() != "a secret of the plan is no reference: write ${file:/path}, ${env:NAME} or ${vault:mount/path#key}" {
			t.Errorf("error %v", err)
		}
	}
}

func (e *fakeEngine) Mirrors(context.Context, string, string) ([]api.Mirror, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []api.Mirror
	for topic, status := range e.mirrors {
		out = append(out, api.Mirror{MirrorTopicName: topic, SourceTopicName: topic, MirrorStatus: status, MirrorTopicError: api.MirrorErrorNone})
	}
	return out, nil
}
