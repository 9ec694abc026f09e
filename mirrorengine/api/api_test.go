package api

import (
	"context"
	"errors"
	"fmt"
	"go/build"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestErrorsMatchByWhatTheTargetSets(t *testing.T) {
	err := fmt.Errorf("describe link east-west: %w", LinkNotFound())
	for target, want := range map[*Error]bool{
		ErrNotFound:             true,
		LinkNotFound():          true,
		NotFound("Other text."): false,
		ErrConflict:             false,
		ErrBadRequest:           false,
		{ErrorCode: 404}:        true,
		{ErrorCode: 40401}:      false,
	} {
		if errors.Is(err, target) != want {
			t.Errorf("%+v: got %t", *target, !want)
		}
	}
	var e *Error
	if !errors.As(err, &e) || e.Status != 404 || e.Message != "The cluster link doesn't exist." {
		t.Errorf("got %+v", e)
	}
}

func TestConstructorsCarryTheContractsCodes(t *testing.T) {
	for _, tc := range []struct {
		err          *Error
		status, code int
		message      string
	}{
		{ClusterNotFound("c"), 404, 404, "Cluster c cannot be found."},
		{LinkNotFound(), 404, 404, "The cluster link doesn't exist."},
		{MirrorNotFound("l", "t"), 404, 404, "Topic 't' is not a mirror topic of cluster link 'l'."},
		{ConfigNotFound("l", "c"), 404, 404, "Cluster link 'l' has no config 'c'."},
		{InvalidLinkName(), 400, 40002, "Invalid Cluster Link Name."},
		{InvalidConfigName(), 400, 40002, "Invalid Config Name."},
		{LinkExists(), 400, 40002, "A cluster link already exists with the provided link name"},
		{BadRequest("%d faults", 2), 400, 40002, "2 faults"},
		{Malformed("bad"), 400, 400, "bad"},
		{Unauthorized(), 401, 40101, "Authentication failed"},
		{Forbidden("no"), 403, 40301, "no"},
		{Timeout("late"), 408, 408, "late"},
		{Conflict("held"), 409, 409, "held"},
		{Internal("bug"), 500, 500, "bug"},
		{Unavailable("down"), 503, 50302, "down"},
	} {
		if tc.err.Status != tc.status || tc.err.ErrorCode != tc.code || tc.err.Message != tc.message {
			t.Errorf("got %+v, want %d %d %s", *tc.err, tc.status, tc.code, tc.message)
		}
	}
}

func TestAResultsErrorTellsTopicAndReason(t *testing.T) {
	var r AlterMirrorResult
	if err := r.Err(); err != nil {
		t.Errorf("success gives %v", err)
	}
	zero := 0
	if err := (AlterMirrorResult{ErrorCode: &zero}).Err(); err != nil {
		t.Errorf("code 0 gives %v", err)
	}
	r.MirrorTopicName = "dr-topic"
	r.Refuse(fmt.Errorf("promote: %w", Conflict("operation op-9 holds the link")))
	if err := r.Err(); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "dr-topic") || !strings.Contains(err.Error(), "op-9") {
		t.Errorf("got %v", r.Err())
	}
	r.Refuse(errors.New("plain"))
	if *r.ErrorCode != 400 || *r.ErrorMessage != "plain" {
		t.Errorf("got %d %s", *r.ErrorCode, *r.ErrorMessage)
	}
	code, message := 40002, "refused"
	if err := (AlterMirrorResult{ErrorCode: &code, ErrorMessage: &message}).Err(); !errors.Is(err, ErrBadRequest) {
		t.Errorf("got %v", err)
	}
}

func TestACallWithoutAnOperationHasNone(t *testing.T) {
	if op, ok := OperationFrom(t.Context()); ok {
		t.Errorf("got %v", op)
	}
	want := Operation{OperationID: "op", Epoch: 3}
	if op, ok := OperationFrom(WithOperation(t.Context(), want)); !ok || op != want {
		t.Errorf("got %v, %t", op, ok)
	}
}

func TestTheClientAsksForTheClusterOnce(t *testing.T) {
	var asked, told atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(HeaderOperation) == "op" && r.Header.Get(HeaderEpoch) == "0" {
			told.Add(1)
		}
		if r.URL.Path == ClustersPath() {
			asked.Add(1)
			fmt.Fprint(w, `{"data":[{"cluster_id":"west"}]}`)
			return
		}
		if r.URL.Path != "/kafka/v3/clusters/west/links" {
			t.Errorf("path %s", r.URL.Path)
		}
		fmt.Fprint(w, `{"data":[]}`)
	}))
	t.Cleanup(server.Close)
	c := &Client{BaseURL: server.URL + "/"}
	op := c.As(Operation{OperationID: "op"})
	for _, client := range []*Client{c, op, op.As(Operation{OperationID: "other"}), c.As(Operation{})} {
		if _, err := client.Links(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() != 1 || told.Load() != 1 {
		t.Errorf("asked for the cluster %d times, told the operation %d times", asked.Load(), told.Load())
	}
}

func TestAnAnswerThatIsNotTheEnginesIsStillAnError(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		body   string
		engine bool // an *Error is wanted
		says   string
	}{
		"a proxy's page":     {502, "<html>bad gateway</html>", true, "Bad Gateway <html>"},
		"an empty answer":    {503, "", true, "Service Unavailable"},
		"another JSON":       {404, `{"detail":"x"}`, true, `Not Found {"detail":"x"}`},
		"the engine's":       {409, `{"error_code":409,"message":"held by op-9"}`, true, "held by op-9"},
		"not the contract's": {200, `[]`, false, "not what the contract says"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			fmt.Fprint(w, tc.body)
		}))
		t.Cleanup(server.Close)
		_, err := (&Client{BaseURL: server.URL}).Engine(t.Context())
		var e *Error
		if err == nil || errors.As(err, &e) != tc.engine || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v", name, err)
		}
		if e != nil && (e.Status != tc.status || e.ErrorCode != tc.status) {
			t.Errorf("%s: got %+v", name, *e)
		}
	}
}

func TestAnEngineThatIsNotReachedIsNoRefusal(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := (&Client{BaseURL: server.URL}).Engine(t.Context())
	var e *Error
	if err == nil || errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&Client{BaseURL: server.URL}).Engine(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestNamesAreEscapedInPaths(t *testing.T) {
	for got, want := range map[string]string{
		MirrorPath("c", "a/b", "t p"):           "/kafka/v3/clusters/c/links/a%2Fb/mirrors/t%20p",
		AlterMirrorsPath("c", "l", VerbPromote): "/kafka/v3/clusters/c/links/l/mirrors:promote",
		MirrorsPath("c", AllLinks):              "/kafka/v3/clusters/c/links/-/mirrors",
		FencePath("p", "failover/1"):            "/drawbridge/v1/pairs/p/fences/failover%2F1",
		DriftPath("l"):                          "/drawbridge/v1/links/l/drift",
		SegmentsPath("l", "t"):                  "/drawbridge/v1/links/l/mirrors/t/segments",
		LedgerVerbPath("l", "append"):           "/drawbridge/v1/links/l/ledger:append",
		AlterLinkConfigsPath("c", "l"):          "/kafka/v3/clusters/c/links/l/configs:alter",
		HandOverFencePath("p", "op"):            "/drawbridge/v1/pairs/p/fences/op/handover",
		LinkConfigPath("c", "l", "acl.sync.ms"): "/kafka/v3/clusters/c/links/l/configs/acl.sync.ms",
		RevokeOperationPath("l"):                "/drawbridge/v1/links/l/operation:revoke",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTheWireImportsTheStandardLibraryOnly(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pkg.Imports {
		if strings.Contains(strings.Split(path, "/")[0], ".") {
			t.Errorf("imports %s", path)
		}
	}
}
