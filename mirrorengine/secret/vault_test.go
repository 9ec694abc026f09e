package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeVault is a Vault over HTTP as far as this package uses one, and strict: what
// it does not know is a 404, what has no token a 403, as Vault's own.
type fakeVault struct {
	*httptest.Server
	mu      sync.Mutex // guards what follows
	tokens  map[string]time.Time
	logins  int
	reads   int
	lease   int
	sealed  bool
	stuck   chan struct{} // not nil: requests wait for its end
	hangs   time.Duration // how long a sealed one takes to say so
	asked   int           // while sealed
	denied  bool
	secrets map[string]map[string]any // "mount/path" → the answer's data
	now     time.Time
}

func newFakeVault(t *testing.T) *fakeVault {
	f := &fakeVault{tokens: map[string]time.Time{}, secrets: map[string]map[string]any{}, now: time.Unix(1700000000, 0), lease: 100}
	f.put("kv/kafka/east", map[string]any{"password": "hunter2", "port": 9093}, nil, "")
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeVault) put(path string, data, custom map[string]any, deletion string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets[path] = map[string]any{"data": data, "metadata": map[string]any{
		"version": 1, "created_time": "2026-01-01T00:00:00Z", "deletion_time": deletion, "destroyed": false, "custom_metadata": custom,
	}}
}

func (f *fakeVault) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeVault) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	stuck := f.stuck
	f.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	answer := func(code int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body) // a reader that went away
	}
	fail := func(code int, errs ...string) { answer(code, map[string]any{"errors": errs}) }
	if f.sealed {
		f.asked++
		f.now = f.now.Add(f.hangs)
		fail(http.StatusServiceUnavailable, "Vault is sealed")
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	var body map[string]string
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			fail(http.StatusBadRequest, err.Error())
			return
		}
	}
	switch {
	case path == "auth/approle/login" && r.Method == http.MethodPut:
		f.logIn(answer, fail, body["role_id"] == "dr" && body["secret_id"] == "s3cret" && len(body) == 2, "invalid role or secret ID")
	case path == "auth/k8s-west/login" && r.Method == http.MethodPut:
		f.logIn(answer, fail, body["role"] == "drawbridge" && body["jwt"] == "e30.x.y" && len(body) == 2, "permission denied")
	case r.Method == http.MethodGet:
		f.read(answer, fail, path, r.Header.Get("X-Vault-Token"))
	default:
		fail(http.StatusMethodNotAllowed, "unsupported operation")
	}
}

func (f *fakeVault) logIn(answer func(int, any), fail func(int, ...string), ok bool, why string) {
	if !ok {
		fail(http.StatusBadRequest, why)
		return
	}
	f.logins++
	token := "login-" + string(rune('a'+f.logins))
	f.tokens[token] = f.now.Add(time.Duration(f.lease) * time.Second)
	answer(http.StatusOK, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": f.lease, "renewable": false}})
}

func (f *fakeVault) read(answer func(int, any), fail func(int, ...string), path, token string) {
	f.reads++
	ends, known := f.tokens[token]
	if !known || f.denied || !f.now.Before(ends) {
		fail(http.StatusForbidden, "permission denied")
		return
	}
	mount, rest, v2 := strings.Cut(path, "/data/")
	data, ok := f.secrets[mount+"/"+rest]
	switch {
	case !v2 || !ok:
		fail(http.StatusNotFound)
	case data["data"] == nil:
		answer(http.StatusNotFound, map[string]any{"data": data})
	default:
		answer(http.StatusOK, map[string]any{"data": data, "lease_duration": 0})
	}
}

// reader of the fake's, with its clock.
func (f *fakeVault) reader(t *testing.T, cfg VaultConfig) Reader {
	t.Helper()
	cfg.Address = f.URL
	cfg.Check(func(key, format string, args ...any) { t.Fatalf("%s: "+format, append([]any{key}, args...)...) })
	v, err := NewVault(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v.now = func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.now
	}
	return Reader{Vault: v}
}

func (f *fakeVault) pass(d time.Duration) { f.set(func() { f.now = f.now.Add(d) }) }

func (f *fakeVault) approle(t *testing.T) Reader {
	return f.reader(t, VaultConfig{AppRole: AppRole{RoleID: "dr", SecretIDFile: write(t, "secret-id", "s3cret\n")}})
}

const eastPassword = "${vault:kv/kafka/east#password}"

func resolves(t *testing.T, r Reader, ref, want string) {
	t.Helper()
	if got, err := r.Resolve(ref); err != nil || got != want {
		t.Errorf("%s: got %q, %v, want %q", ref, got, err, want)
	}
}

// refused checks that nothing comes, why, and that the reason gives nothing away.
func refused(t *testing.T, r Reader, ref, says string) {
	t.Helper()
	got, err := r.Resolve(ref)
	if err == nil || got != "" || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %q, %v, want …%s…", ref, got, err, says)
	}
	for _, hidden := range []string{"hunter2", "s3cret", "e30.x.y", "login-"} {
		if err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
}

func TestASecretIsReadFromVaultByEachLogin(t *testing.T) {
	f := newFakeVault(t)
	token := write(t, "token", "agent-token\n")
	f.set(func() { f.tokens["agent-token"] = f.now.Add(time.Hour) })
	for name, r := range map[string]Reader{
		"token file": f.reader(t, VaultConfig{TokenFile: token}),
		"approle":    f.approle(t),
		"kubernetes": f.reader(t, VaultConfig{Kubernetes: KubernetesLogin{Role: "drawbridge", JWTFile: write(t, "jwt", "e30.x.y"), Mount: "k8s-west"}}),
	} {
		t.Run(name, func(t *testing.T) {
			resolves(t, r, eastPassword, "hunter2")
			resolves(t, r, "user=a password="+eastPassword, "user=a password=hunter2")
			refused(t, r, "${vault:kv/kafka/east#user}", "has no text for key user")
			refused(t, r, "${vault:kv/kafka/east#port}", "has no text for key port")
			refused(t, r, "${vault:kv/kafka/nowhere#password}", "whether the mount is KV version 2")
			refused(t, r, "${vault:v1/kafka/east#password}", "whether the mount is KV version 2")
		})
	}
	bad := f.reader(t, VaultConfig{AppRole: AppRole{RoleID: "dr", SecretIDFile: write(t, "wrong", "hunter2")}})
	refused(t, bad, eastPassword, "log in at auth/approle/login: vault answers 400 (invalid role or secret ID)")
	refused(t, f.reader(t, VaultConfig{TokenFile: write(t, "t", "other")}), eastPassword, "policies must allow read")
	refused(t, Reader{}, eastPassword, "no vault in its configuration")
}

func TestAMountWithSlashesEndsWithTwo(t *testing.T) {
	f := newFakeVault(t)
	f.put("team/kv/kafka", map[string]any{"password": "other"}, nil, "")
	resolves(t, f.approle(t), "${vault:team/kv//kafka#password}", "other")
}

func TestALoginIsMadeAnewBeforeItExpiresAndWhenItWasRevoked(t *testing.T) {
	f := newFakeVault(t)
	r := f.approle(t)
	resolves(t, r, eastPassword, "hunter2")
	f.pass(31 * time.Second)
	resolves(t, r, eastPassword, "hunter2")
	if f.logins != 1 || f.reads != 2 {
		t.Errorf("%d logins, %d reads", f.logins, f.reads)
	}
	f.pass(60 * time.Second) // 91 of 100 s
	resolves(t, r, eastPassword, "hunter2")
	if f.logins != 2 {
		t.Errorf("%d logins, want one before the lease of the first ended", f.logins)
	}
	f.set(func() { f.tokens = map[string]time.Time{} })
	f.pass(31 * time.Second)
	resolves(t, r, eastPassword, "hunter2")
	if f.logins != 3 {
		t.Errorf("%d logins, want one more after the revocation", f.logins)
	}
}

func TestARotatedSecretIsReadWithinHalfAMinute(t *testing.T) {
	f := newFakeVault(t)
	r := f.approle(t)
	for range 5 {
		resolves(t, r, eastPassword, "hunter2")
	}
	if f.reads != 1 {
		t.Errorf("%d reads in the same moment", f.reads)
	}
	f.put("kv/kafka/east", map[string]any{"password": "rotated"}, nil, "")
	f.pass(31 * time.Second)
	resolves(t, r, eastPassword, "rotated")
}

// A failover must not end at a Vault that went down with the site; a refusal counts.
func TestASealedVaultLeavesWhatWasReadAndARefusalDoesNot(t *testing.T) {
	f := newFakeVault(t)
	r := f.approle(t)
	resolves(t, r, eastPassword, "hunter2")
	f.set(func() { f.sealed = true })
	f.pass(time.Hour)
	resolves(t, r, eastPassword, "hunter2")
	seen, err := r.Look(eastPassword)
	if err != nil || seen.Aged == nil || !strings.Contains(seen.Aged.Error(), "sealed") {
		t.Errorf("%+v, %v", seen, err)
	}
	_, err = r.Resolve("${vault:kv/kafka/west#password}")
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("what was never read: %v", err)
	}
	f.set(func() { f.sealed = false })
	f.pass(31 * time.Second)
	f.put("kv/kafka/east", map[string]any{"password": "rotated"}, nil, "")
	resolves(t, r, eastPassword, "rotated")
	f.set(func() { f.denied = true })
	f.pass(31 * time.Second)
	refused(t, r, eastPassword, "vault answers 403")
	f.Close()
	f.pass(31 * time.Second)
	if _, err := r.Resolve(eastPassword); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a value that was refused since is used again, or: %v", err)
	}
}

// What hangs is waited for once by one use, not by each in turn.
func TestManyUsesDoNotWaitOneByOneForAVaultThatHangs(t *testing.T) {
	f := newFakeVault(t)
	r := f.approle(t)
	resolves(t, r, eastPassword, "hunter2")
	f.pass(time.Hour)
	f.set(func() { f.sealed, f.hangs = true, vaultTimeout })
	resolves(t, r, eastPassword, "hunter2")
	first := f.asked
	for range 5 {
		resolves(t, r, eastPassword, "hunter2")
		refusedFor(t, r, "${vault:kv/kafka/west#password}", ErrUnavailable)
	}
	if first == 0 || f.asked != first {
		t.Errorf("asked %d times for the first use, %d more for the next ones", first, f.asked-first)
	}
}

// A Vault that went down with its site answers nothing at all. Who has the secret waits for a moment, and not again at once.
func TestWhoHasTheSecretDoesNotWaitForAVaultThatIsGone(t *testing.T) {
	f := newFakeVault(t)
	r := f.approle(t)
	resolves(t, r, eastPassword, "hunter2")
	stuck := make(chan struct{})
	f.set(func() { f.stuck = stuck })
	f.pass(time.Hour)
	began := time.Now()
	resolves(t, r, eastPassword, "hunter2")
	for range 5 {
		f.pass(vaultPause)
		resolves(t, r, eastPassword, "hunter2")
	}
	if took := time.Since(began); took < vaultGlance || took >= vaultTimeout {
		t.Errorf("six uses in half a minute took %s", took)
	}
	close(stuck)
	f.set(func() { f.stuck = nil })
	f.put("kv/kafka/east", map[string]any{"password": "rotated"}, nil, "")
	f.pass(vaultFresh)
	resolves(t, r, eastPassword, "rotated")
}

func refusedFor(t *testing.T, r Reader, ref string, want error) {
	t.Helper()
	if _, err := r.Resolve(ref); !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", ref, err, want)
	}
}

func TestASecretTellsWhenItExpiresAndThatItWasDeleted(t *testing.T) {
	f := newFakeVault(t)
	r := f.approle(t)
	f.put("kv/a", map[string]any{"p": "x"}, map[string]any{"expires_at": "2026-12-01"}, "")
	f.put("kv/b", map[string]any{"p": "x"}, map[string]any{"expires_at": "2026-12-01T00:00:00Z"}, "2026-11-30T00:00:00Z")
	f.put("kv/c", map[string]any{"p": "x"}, map[string]any{"expires_at": "some day"}, "")
	f.put("kv/d", nil, nil, "2026-01-02T00:00:00Z")
	for ref, want := range map[string]string{
		"${vault:kv/a#p}": "2026-12-01", "${vault:kv/b#p}": "2026-11-30", "${vault:kv/a#p}${vault:kv/b#p}": "2026-11-30", "${vault:kv/c#p}": "0001-01-01", eastPassword: "0001-01-01",
	} {
		if got, err := r.Look(ref); err != nil || got.Expires.Format(time.DateOnly) != want || got.Aged != nil {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	refused(t, r, "${vault:kv/d#p}", "newest version was deleted")
}

func TestLinksReachOnlyTheirPathsOfVault(t *testing.T) {
	f := newFakeVault(t)
	f.put("kv/kafkaesque", map[string]any{"password": "other"}, nil, "")
	s := Scope{Vault: f.approle(t).Vault, Paths: []string{"kv/kafka/"}}
	if got, err := s.Resolve(eastPassword); err != nil || got != "hunter2" {
		t.Errorf("%q, %v", got, err)
	}
	for _, ref := range []string{"${vault:kv/kafkaesque#password}", "${vault:kv/kafka/../x#password}", "${vault:other/kafka/east#password}"} {
		if got, err := s.Resolve(ref); err == nil || got != "" {
			t.Errorf("%s: %q", ref, got)
		}
	}
	if _, err := (Scope{Vault: s.Vault}).Resolve(eastPassword); err == nil {
		t.Error("a scope without paths reached Vault")
	}
}

func TestAVaultWantsOneWayToLogIn(t *testing.T) {
	one := AppRole{RoleID: "dr", SecretIDFile: "/s"}
	for name, tc := range map[string]struct {
		cfg  VaultConfig
		says string
	}{
		"none":           {VaultConfig{Address: "https://v:8200"}, "vault: has 0 ways to log in"},
		"two":            {VaultConfig{TokenFile: "/t", AppRole: one}, "vault: has 2 ways to log in"},
		"half a role":    {VaultConfig{AppRole: AppRole{RoleID: "dr"}}, "vault.app_role: wants role_id and secret_id_file"},
		"no kubernetes":  {VaultConfig{Kubernetes: KubernetesLogin{JWTFile: "/j"}}, "vault.kubernetes.role: required"},
		"no address":     {VaultConfig{Address: "vault:8200", TokenFile: "/t"}, "vault.address: 'vault:8200' is no http"},
		"whole":          {VaultConfig{Address: "https://v:8200", AppRole: one}, ""},
		"nothing at all": {VaultConfig{}, ""},
	} {
		var got []string
		tc.cfg.Check(func(key, format string, args ...any) { got = append(got, key+": "+fmt.Sprintf(format, args...)) })
		text := strings.Join(got, "; ")
		if (text == "") != (tc.says == "") || !strings.Contains(text, tc.says) {
			t.Errorf("%s: %q, want %q", name, text, tc.says)
		}
	}
	t.Setenv("VAULT_TOKEN", "from-the-environment")
	v, err := NewVault(VaultConfig{Address: "http://127.0.0.1:1", TokenFile: "/t"})
	if err != nil || v.client.Token() != "" {
		t.Errorf("a token of the environment is taken: %v", err)
	}
}
