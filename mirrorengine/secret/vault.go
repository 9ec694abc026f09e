package secret

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	vault "github.com/hashicorp/vault/api"
)

// ErrUnavailable is a Vault that does not answer, is sealed, or has no leader:
// another try may help.
var ErrUnavailable = errors.New("vault does not serve")

// VaultConfig is how a process reads ${vault:…} from a HashiCorp Vault, KV version
// 2. What it leaves out is read from VAULT_ADDR, VAULT_CACERT and so on, as every
// tool of Vault does; never a token. Exactly one way to log in is wanted.
type VaultConfig struct {
	// Address as https://vault.example:8200. Default VAULT_ADDR.
	Address string `yaml:"address"`
	// Namespace of Vault Enterprise. Default none.
	Namespace string `yaml:"namespace"`
	// CAFile has the authorities of Vault's certificate. Default the system's.
	CAFile string `yaml:"ca_file"`
	// TokenFile holds a token that somebody else renews, as Vault's agent does; it is
	// read at each use.
	TokenFile string `yaml:"token_file"`
	// AppRole and Kubernetes log in, and again before a login expires.
	AppRole    AppRole         `yaml:"app_role"`
	Kubernetes KubernetesLogin `yaml:"kubernetes"`
}

// AppRole is a login by role id and secret id.
type AppRole struct {
	RoleID       string `yaml:"role_id"`
	SecretIDFile string `yaml:"secret_id_file"`
	Mount        string `yaml:"mount"` // default approle
}

// KubernetesLogin is a login by the pod's service account.
type KubernetesLogin struct {
	Role    string `yaml:"role"`
	JWTFile string `yaml:"jwt_file"` // default where Kubernetes puts it
	Mount   string `yaml:"mount"`    // default kubernetes
}

// serviceAccount is where Kubernetes puts a pod's token.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// Check tells each fault by its key.
func (c VaultConfig) Check(fault func(key, format string, args ...any)) {
	if c == (VaultConfig{}) {
		return
	}
	ways := 0
	for _, given := range []bool{c.TokenFile != "", c.AppRole != AppRole{}, c.Kubernetes != KubernetesLogin{}} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		fault("vault", "has %d ways to log in; give one of token_file, app_role and kubernetes", ways)
	}
	if c.AppRole != (AppRole{}) && (c.AppRole.RoleID == "" || c.AppRole.SecretIDFile == "") {
		fault("vault.app_role", "wants role_id and secret_id_file")
	}
	if c.Kubernetes != (KubernetesLogin{}) && c.Kubernetes.Role == "" {
		fault("vault.kubernetes.role", "required")
	}
	if a := c.Address; a != "" && !strings.HasPrefix(a, "https://") && !strings.HasPrefix(a, "http://") {
		fault("vault.address", "'%s' is no http or https address", a)
	}
}

// Vault reads secrets, each when it is used. What it has read it keeps in memory:
// for a moment in place of asking again, and for as long as Vault does not serve,
// because a failover must not end at a Vault that went down with the site. Who is
// refused is refused, whatever was read before.
type Vault struct {
	cfg    VaultConfig
	client *vault.Client
	now    func() time.Time

	mu        sync.Mutex // guards what follows, and is held while Vault is asked
	loggedIn  bool
	loginEnds time.Time // zero: never
	held      map[string]held
	failed    error // of the last call, until it may be tried again
	failedAt  time.Time
}

// held is one secret as it was read.
type held struct {
	data    map[string]any
	expires time.Time
	at      time.Time
}

// Times of a Vault.
const (
	vaultTimeout = 5 * time.Second
	vaultFresh   = 30 * time.Second // how old a secret may be while Vault serves
	vaultPause   = 5 * time.Second  // after a failed call, so that many uses do not wait one by one
	vaultGlance  = 2 * time.Second  // how long one waits who has the secret from before, and every vaultFresh at most
)

// NewVault makes one of a checked configuration and asks nothing yet; the zero
// configuration is none, and nil.
func NewVault(c VaultConfig) (*Vault, error) {
	if c == (VaultConfig{}) {
		return nil, nil //nolint:nilnil // none is no error, and a nil Vault says so when it is asked
	}
	cfg := vault.DefaultConfig()
	if cfg.Error != nil {
		return nil, fmt.Errorf("vault: %w", cfg.Error)
	}
	if c.CAFile != "" {
		if err := cfg.ConfigureTLS(&vault.TLSConfig{CACert: c.CAFile}); err != nil {
			return nil, fmt.Errorf("vault.ca_file: %w", err)
		}
	}
	cfg.Address = cmp.Or(c.Address, cfg.Address)
	cfg.Timeout, cfg.MaxRetries = vaultTimeout, 1
	cfg.MinRetryWait, cfg.MaxRetryWait = 100*time.Millisecond, 500*time.Millisecond
	client, err := vault.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	client.ClearToken() // it would be VAULT_TOKEN's
	if c.Namespace != "" {
		client.SetNamespace(c.Namespace)
	}
	return &Vault{cfg: c, client: client, now: time.Now, held: map[string]held{}}, nil
}

// place is where a reference leads: a mount of KV version 2, a path in it, a key.
type place struct{ mount, path, key string }

// parsePlace reads mount/path#key. The mount is the first part, or what stands
// before a double slash: team/kv//kafka/east#password.
func parsePlace(rest string) (place, error) {
	at, key, _ := strings.Cut(rest, "#")
	mount, path, found := strings.Cut(at, "//")
	if !found {
		mount, path, _ = strings.Cut(at, "/")
	}
	bad := func(part string) bool { return part == "" || part == "." || part == ".." }
	if key == "" || slices.ContainsFunc(slices.Concat(strings.Split(mount, "/"), strings.Split(path, "/")), bad) {
		return place{}, errors.New("secret reference ${vault:…} is not complete; write ${vault:mount/path#key}, as in ${vault:kv/kafka/east#password}")
	}
	return place{mount, path, key}, nil
}

func (p place) String() string { return p.mount + "/" + p.path + "#" + p.key }

// value is what a reference leads to.
func (v *Vault) value(p place) (string, held, error) {
	if v == nil {
		return "", held{}, fmt.Errorf("secret ${vault:%s}: this process has no vault in its configuration; add vault.address and a way to log in", p)
	}
	h, err := v.secret(p)
	if err != nil && h.data == nil {
		return "", h, fmt.Errorf("secret ${vault:%s}: %w", p, err)
	}
	text, ok := h.data[p.key].(string)
	if !ok || text == "" {
		return "", h, fmt.Errorf("secret ${vault:%s}: has no text for key %s", p, p.key)
	}
	return text, h, err
}

// secret answers with what it has, and the error, where Vault does not serve.
func (v *Vault) secret(p place) (held, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at := p.mount + "//" + p.path
	have, now := v.held[at], v.now()
	within, pause := 3*vaultTimeout, vaultPause
	if have.data != nil { // a recovery time is not made of waits for what is known
		within, pause = vaultGlance, vaultFresh
	}
	switch {
	case have.data != nil && now.Sub(have.at) < vaultFresh:
		return have, nil
	case v.failed != nil && now.Sub(v.failedAt) < pause:
		return have, v.failed
	}
	v.failed = nil
	got, err := v.ask(p, within)
	switch {
	case err == nil:
		got.at = now
		v.held[at] = got
		return got, nil
	case errors.Is(err, ErrUnavailable):
		v.failed, v.failedAt = err, v.now() // not from before: a Vault that hangs takes longer than the pause
		return have, err
	}
	delete(v.held, at)
	return held{}, err
}

// ask reads with a login that counts; one that was revoked is made anew, once.
func (v *Vault) ask(p place, within time.Duration) (held, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for again := false; ; again = true {
		fresh, err := v.logIn(ctx, again)
		if err != nil {
			return held{}, err
		}
		got, err := v.client.KVv2(p.mount).Get(ctx, p.path)
		if status(err) == http.StatusForbidden && !fresh && !again {
			continue
		}
		return read(got, err)
	}
}

func read(got *vault.KVSecret, err error) (held, error) {
	switch {
	case errors.Is(err, vault.ErrSecretNotFound):
		return held{}, errors.New("there is none; look at the path, and whether the mount is KV version 2")
	case err != nil:
		return held{}, told(err)
	case got.Data == nil:
		return held{}, errors.New("its newest version was deleted; undelete it, or write a new one")
	}
	h := held{data: got.Data}
	if m := got.VersionMetadata; m != nil {
		h.expires = m.DeletionTime // delete_version_after of the secret
	}
	// KV does not know when a password ends; who writes one may say so.
	if text, ok := got.CustomMetadata[expiresAt].(string); ok {
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, text); err == nil && (h.expires.IsZero() || t.Before(h.expires)) {
				h.expires = t
			}
		}
	}
	return h, nil
}

// expiresAt is the key of a secret's custom metadata that says when it ends, as RFC
// 3339 or as a date.
const expiresAt = "expires_at"

// logIn sees to a token, and tells whether it is a new one.
func (v *Vault) logIn(ctx context.Context, again bool) (fresh bool, err error) {
	c := v.cfg
	if c.TokenFile != "" {
		token, err := File(c.TokenFile)
		if err != nil {
			return false, fmt.Errorf("vault.token_file: %w", err)
		}
		fresh = token != v.client.Token()
		v.client.SetToken(token)
		return fresh || again, nil
	}
	if v.loggedIn && !again && (v.loginEnds.IsZero() || v.now().Before(v.loginEnds)) {
		return false, nil
	}
	path, body, err := c.login()
	if err != nil {
		return false, err
	}
	v.client.ClearToken()
	v.loggedIn = false
	got, err := v.client.Logical().WriteWithContext(ctx, path, body)
	switch {
	case err != nil:
		return false, fmt.Errorf("log in at %s: %w", path, told(err))
	case got == nil || got.Auth == nil || got.Auth.ClientToken == "":
		return false, fmt.Errorf("log in at %s: the answer has no token", path)
	}
	v.client.SetToken(got.Auth.ClientToken)
	v.loggedIn, v.loginEnds = true, time.Time{}
	if s := got.Auth.LeaseDuration; s > 0 { // a new one in good time
		v.loginEnds = v.now().Add(time.Duration(s) * time.Second * 9 / 10)
	}
	return true, nil
}

func (c VaultConfig) login() (path string, body map[string]any, err error) {
	if c.AppRole != (AppRole{}) {
		id, err := File(c.AppRole.SecretIDFile)
		if err != nil {
			return "", nil, fmt.Errorf("vault.app_role.secret_id_file: %w", err)
		}
		return "auth/" + cmp.Or(c.AppRole.Mount, "approle") + "/login", map[string]any{"role_id": c.AppRole.RoleID, "secret_id": id}, nil
	}
	jwt, err := File(cmp.Or(c.Kubernetes.JWTFile, serviceAccount))
	if err != nil {
		return "", nil, fmt.Errorf("vault.kubernetes.jwt_file: %w", err)
	}
	return "auth/" + cmp.Or(c.Kubernetes.Mount, "kubernetes") + "/login", map[string]any{"role": c.Kubernetes.Role, "jwt": jwt}, nil
}

// told is what Vault answered, in one line and without the request.
func told(err error) error {
	var answer *vault.ResponseError
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	text := fmt.Sprintf("vault answers %d (%s)", answer.StatusCode, strings.Join(answer.Errors, "; "))
	switch code := answer.StatusCode; {
	case code == http.StatusServiceUnavailable:
		return fmt.Errorf("%w, it is sealed or has no leader: %s", ErrUnavailable, text)
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError || code == 472 || code == 473:
		return fmt.Errorf("%w: %s", ErrUnavailable, text)
	case code == http.StatusForbidden:
		return fmt.Errorf("%s: the login's policies must allow read on the mount's data/ path", text)
	}
	return errors.New(text)
}

func status(err error) int {
	var answer *vault.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}
