package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// fakeReplica answers for itself.
type fakeReplica struct{ puts []api.ShardPut }

func (f *fakeReplica) PutShard(_ context.Context, shard int32, put api.ShardPut) (api.ShardRead, error) {
	f.puts = append(f.puts, put)
	return api.ShardRead{Offset: int64(shard)}, nil
}

func (f *fakeReplica) Share() ([]int32, bool) { return []int32{1, 3}, false }

func (f *fakeReplica) ReplicaPartitions(context.Context) (api.ReplicaPartitions, error) {
	return api.ReplicaPartitions{Address: "here", Partitions: []api.ReplicaPartition{{Link: "l", Partition: 3}}}, nil
}

const replicaToken = "0123456789abcdef"

// replicaServer is a replica that takes the one at *leader for the leader; empty:
// itself; "none": nobody.
func replicaServer(t *testing.T, links Links, leader *atomic.Value) (*httptest.Server, *fakeReplica) {
	t.Helper()
	own := &fakeReplica{}
	s := httptest.NewServer(New(Options{
		Links: links, Access: Access{Tokens: []Token{{Name: "admin", Role: RoleAdmin, Secret: replicaToken}}}, Replica: own, Logger: slog.New(slog.DiscardHandler), LeaderWait: 500 * time.Millisecond,
		Leader: func() (string, bool) {
			switch at := leader.Load().(string); at {
			case "":
				return "", true
			case "none":
				return "", false
			default:
				return at, false
			}
		},
	}))
	t.Cleanup(s.Close)
	return s, own
}

func leaderIs(address string) *atomic.Value {
	var v atomic.Value
	v.Store(address)
	return &v
}

func client(s *httptest.Server) *api.Client { return &api.Client{BaseURL: s.URL, Token: replicaToken} }

func TestAnyReplicaAnswersByWayOfTheLeader(t *testing.T) {
	leads, follows := &fakeLinks{}, &fakeLinks{}
	leader, _ := replicaServer(t, leads, leaderIs(""))
	follower, _ := replicaServer(t, follows, leaderIs(strings.TrimPrefix(leader.URL, "http://")))
	as := client(follower).As(api.Operation{OperationID: "op", Epoch: 7})
	if err := as.CreateLink(t.Context(), "l", api.CreateLink{SourceClusterID: "src"}, false, true); err != nil {
		t.Fatal(err)
	}
	want := []string{"CreateLink l source=src configs=0 validateOnly=false validateLink=true as op/7"}
	if diff := cmp.Diff(want, leads.take()); diff != "" {
		t.Errorf("the leader got (-want +got)\n%s", diff)
	}
	if got := follows.take(); len(got) != 0 {
		t.Errorf("the follower did %v itself", got)
	}
	leads.err = api.LinkExists()
	if err := as.CreateLink(t.Context(), "l", api.CreateLink{SourceClusterID: "src"}, false, true); !errors.Is(err, api.LinkExists()) {
		t.Errorf("the leader's refusal came as %v", err)
	}
	// Links in answers lead where the caller was.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, follower.URL+"/kafka/v3/clusters", nil)
	req.Header.Set("Authorization", "Bearer "+replicaToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); !strings.Contains(string(body), follower.URL+"/kafka/v3/clusters/") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, err := (&api.Client{BaseURL: follower.URL}).Links(t.Context()); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("without a token: %v", err)
	}
}

func TestWithoutALeaderACallIsToBeAskedAgain(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	here := leaderIs("none")
	s, _ := replicaServer(t, &fakeLinks{}, here)
	loop := leaderIs("")
	a, _ := replicaServer(t, &fakeLinks{}, loop)
	loop.Store(strings.TrimPrefix(a.URL, "http://")) // it takes itself for another one: the lead moves
	for name, asked := range map[string]struct{ url, leader string }{
		"nobody leads":              {s.URL, "none"},
		"the leader is dead":        {s.URL, strings.TrimPrefix(gone.URL, "http://")},
		"passed on once, not twice": {a.URL, ""},
	} {
		if asked.leader != "" {
			here.Store(asked.leader)
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, asked.url+"/drawbridge/v1/engine", nil)
		req.Header.Set("Authorization", "Bearer "+replicaToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "sk again") {
			t.Errorf("%s: %d %s, headers %v", name, res.StatusCode, body, res.Header)
		}
	}
}

func TestACallWaitsForALeadThatMoves(t *testing.T) {
	var here atomic.Bool
	s := httptest.NewServer(New(Options{
		Links: &fakeLinks{}, Access: Access{Tokens: []Token{{Name: "admin", Role: RoleAdmin, Secret: replicaToken}}}, Logger: slog.New(slog.DiscardHandler),
		LeaderWait: time.Minute, Leader: func() (string, bool) { return "", here.Load() },
	}))
	t.Cleanup(s.Close)
	time.AfterFunc(100*time.Millisecond, func() { here.Store(true) })
	if _, err := client(s).Clusters(t.Context()); err != nil {
		t.Error(err)
	}
}

// An answer that was lost on the way is no refusal: the change may have happened.
func TestALeaderThatDiesOverACallLeavesItsOutcomeOpen(t *testing.T) {
	leader := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer leader.Close()
	s, _ := replicaServer(t, &fakeLinks{}, leaderIs(strings.TrimPrefix(leader.URL, "http://")))
	_, err := client(s).Links(t.Context())
	var refused *api.Error
	if err == nil || errors.As(err, &refused) {
		t.Errorf("got %v, want a lost answer", err)
	}
}

// A leader that stands still holds a call only until another one leads.
func TestACallToAFrozenLeaderEndsWhenAnotherOneLeads(t *testing.T) {
	asked := make(chan struct{}, 8)
	frozen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer frozen.Close()
	next, _ := replicaServer(t, &fakeLinks{}, leaderIs(""))
	at := leaderIs(strings.TrimPrefix(frozen.URL, "http://"))
	s, _ := replicaServer(t, &fakeLinks{}, at)
	go func() {
		<-asked
		at.Store(strings.TrimPrefix(next.URL, "http://"))
	}()
	if _, err := client(s).Clusters(t.Context()); err == nil {
		t.Log("the call was sent again by the client's transport")
	}
	if _, err := client(s).Clusters(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAReplicaAnswersForItself(t *testing.T) {
	s, own := replicaServer(t, &fakeLinks{}, leaderIs("none"))
	c := client(s)
	if err := c.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	res, err := http.Get(s.URL + api.PathReady)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if want := `{"leading":false,"shards":[1,3],"status":"ready"}`; strings.TrimSpace(string(body)) != want {
		t.Errorf("ready says %s, want %s", body, want)
	}
	put := api.ShardPut{Term: 5, Entries: []api.ShardEntry{{Key: "k", Value: []byte(`{"n":1}`)}, {Key: "gone"}}}
	if at, err := c.PutShard(t.Context(), 3, put); err != nil || at.Offset != 3 {
		t.Errorf("got %v, %v", at, err)
	}
	if diff := cmp.Diff([]api.ShardPut{put}, own.puts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got, err := c.ReplicaPartitions(t.Context()); err != nil || len(got.Partitions) != 1 || got.Partitions[0].Partition != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := (&api.Client{BaseURL: s.URL}).PutShard(t.Context(), 3, put); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("without a token: %v", err)
	}
}

// A call in a failover goes to both sites' engines. The one whose cluster is lost
// must not keep it waiting for a lead that nobody will take.
func TestNobodyWaitsForALeadWhileTheClusterIsAway(t *testing.T) {
	s := httptest.NewServer(New(Options{
		Links: &fakeLinks{}, Logger: slog.New(slog.DiscardHandler), LeaderWait: time.Minute,
		Leader: func() (string, bool) { return "", false },
		Away:   func(context.Context) error { return errors.New("connection refused") },
	}))
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, err := client(s).Lock(ctx, "orders")
	if err == nil || !strings.Contains(err.Error(), "its own cluster cannot be reached") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("it says %v", err)
	}
}

// A change begun while the state takes no writes would be waited for without an end
// that anybody knows; looks go on.
func TestAChangeIsRefusedWhileTheStateTakesNone(t *testing.T) {
	var stuck atomic.Bool
	links := &fakeLinks{}
	s := httptest.NewServer(New(Options{
		Links: links, Logger: slog.New(slog.DiscardHandler),
		Stuck: func() error {
			if stuck.Load() {
				return errors.New("topic _drawbridge_state, partition 3, takes no writes since noon")
			}
			return nil
		},
	}))
	t.Cleanup(s.Close)
	c := client(s)
	if _, err := c.PutLock(t.Context(), "orders", api.Lock{OperationID: "op-1", Operation: "failover"}); err != nil {
		t.Fatal(err)
	}
	stuck.Store(true)
	_, err := c.PutLock(t.Context(), "orders", api.Lock{OperationID: "op-1", Operation: "failover"})
	if !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), "partition 3, takes no writes since noon; nothing was done") {
		t.Errorf("a change: %v", err)
	}
	if _, err := c.Lock(t.Context(), "orders"); err != nil {
		t.Errorf("a look: %v", err)
	}
	stuck.Store(false)
	if _, err := c.PutLock(t.Context(), "orders", api.Lock{OperationID: "op-1", Operation: "failover"}); err != nil {
		t.Errorf("a change when the state takes some again: %v", err)
	}
}

// certified is a server that takes every caller for the holder of a certificate.
func certified(t *testing.T, name string, opts Options) *httptest.Server {
	t.Helper()
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: name}}
	h := New(opts)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestAReplicaVouchesForACertificateAndForNoMoreThanItsRole(t *testing.T) {
	links := &fakeLinks{}
	leader, _ := replicaServer(t, links, leaderIs(""))
	opts := Options{
		Links: &fakeLinks{}, Logger: slog.New(slog.DiscardHandler), Leader: func() (string, bool) { return strings.TrimPrefix(leader.URL, "http://"), false },
		Access: Access{Certificates: []Certificate{{Name: "ops.example", Role: RoleOperate}}}, PeerToken: replicaToken,
	}
	follower := certified(t, "ops.example", opts)
	caller := &api.Client{BaseURL: follower.URL}
	if _, err := caller.PutLock(t.Context(), "orders", api.Lock{OperationID: "op", Operation: "failover", Epoch: 1}); err != nil {
		t.Errorf("what its role may do: %v", err)
	}
	err := caller.CreateLink(t.Context(), "l", api.CreateLink{SourceClusterID: "src"}, false, true)
	if err == nil || !strings.Contains(err.Error(), "certificate ops.example by way of token admin has operate") {
		t.Errorf("what only an admin may do: %v", err)
	}
	opts.PeerToken = ""
	if _, err := (&api.Client{BaseURL: certified(t, "ops.example", opts).URL}).Links(t.Context()); err == nil || !strings.Contains(err.Error(), "token_file") {
		t.Errorf("without a token of the replicas: %v", err)
	}
	if _, err := (&api.Client{BaseURL: certified(t, "stranger", opts).URL}).Links(t.Context()); !errors.Is(err, api.ErrUnauthorized) {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
}

// The name of another caller counts beside an admin's token only.
func TestNobodyGainsByNamingAnotherCaller(t *testing.T) {
	s := httptest.NewServer(New(Options{
		Links: &fakeLinks{}, Logger: slog.New(slog.DiscardHandler),
		Access: Access{Tokens: []Token{{Name: "dashboard", Role: RoleRead, Secret: replicaToken}}},
	}))
	t.Cleanup(s.Close)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/drawbridge/v1/pairs/orders/lock", strings.NewReader(`{"operation_id":"op","operation":"failover","epoch":1}`))
	req.Header.Set("Authorization", "Bearer "+replicaToken)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(api.HeaderOnBehalf, "admin eve")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", res.StatusCode)
	}
}
