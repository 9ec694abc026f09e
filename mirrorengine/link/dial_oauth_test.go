package link

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

// tokenServer gives unsigned tokens, as Kafka's unsecured validator takes them, to
// the client engine with the secret that it has.
type tokenServer struct {
	*httptest.Server
	mu       sync.Mutex // guards what follows
	secret   string
	lifetime time.Duration
	asked    int
	scope    string
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	s := &tokenServer{secret: "hunter2", lifetime: time.Hour}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked++
		user, password, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodPost || r.FormValue("grant_type") != "client_credentials" || user != "engine" || password != s.secret {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"not %s"}`, password)
			return
		}
		s.scope = r.FormValue("scope")
		now := time.Now()
		part := func(v any) string {
			b, _ := json.Marshal(v)
			return base64.RawURLEncoding.EncodeToString(b)
		}
		token := part(map[string]any{"alg": "none"}) + "." + part(map[string]any{"sub": "reader", "iat": now.Unix(), "exp": now.Add(s.lifetime).Unix(), "n": s.asked}) + "."
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(s.lifetime.Seconds())})
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *tokenServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *tokenServer) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// login are a link's configs; the client's secret stands in a file.
func (s *tokenServer) login(file string) map[string]string {
	return map[string]string{
		keyProtocol: protocolSASLPlaintext, keyMechanism: mechanismOAuth, keyTokenURL: s.URL + "/token",
		keyJAAS:                             fmt.Sprintf(`org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='engine' clientSecret='${file:%s}' scope='kafka read' extension_logicalCluster='lkc-1';`, file),
		"sasl.login.callback.handler.class": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
	}
}

func TestABearerTokenIsKeptUntilItExpiresOrItsSecretChanges(t *testing.T) {
	s := newTokenServer(t)
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("hunter2")
	values := maps.Clone(s.login(file))
	values[keyBootstrap] = "east:9092"
	cfg, err := Parse(values)
	if err != nil {
		t.Fatal(err)
	}
	if inline := InlineSecrets(values); len(inline) > 0 {
		t.Errorf("a reference counts as a secret: %q", inline)
	}
	source := &tokens{cfg: cfg, resolve: secret.Resolve}
	var last oauth.Auth
	login := func(requests int) {
		t.Helper()
		got, err := source.auth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.requests() != requests {
			t.Errorf("%d requests for tokens, want %d", s.requests(), requests)
		}
		last = got
	}
	login(1)
	first := last.Token
	login(1)
	if last.Token != first || last.Extensions["logicalCluster"] != "lkc-1" || len(last.Extensions) != 1 || s.scope != "kafka read" {
		t.Errorf("%+v, scope %q", last, s.scope)
	}
	s.set(func() { s.secret, s.lifetime = "hunter3", time.Second }) // a second is as good as over
	write("hunter3")
	login(2)
	login(3)
	write("hunter4")
	_, err = source.auth(t.Context())
	if err == nil || !strings.Contains(err.Error(), "401 Unauthorized, invalid_client; check clientId, clientSecret and scope") || strings.Contains(err.Error(), "hunter") {
		t.Errorf("a wrong secret: %v", err)
	}
	s.Close()
	if _, err = source.auth(t.Context()); err == nil || !strings.Contains(err.Error(), keyTokenURL) {
		t.Errorf("no token endpoint: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = source.auth(ctx); err == nil {
		t.Error("a caller that has gone is waited for")
	}
}
