package rest

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// Role is what a caller may do; each has what the ones before it have.
type Role int

// Roles of callers.
const (
	// RoleRead looks: every GET but the debug pages.
	RoleRead Role = iota + 1
	// RoleOperate changes mirrors: promote, failover, offsets, the ledger, operation
	// tokens, locks, fence registers.
	RoleOperate
	// RoleAdmin makes, alters and deletes links, whose configs reach secrets and
	// brokers, and sees the debug pages and profiles.
	RoleAdmin
)

var roleNames = map[Role]string{RoleRead: "read", RoleOperate: "operate", RoleAdmin: "admin"}

// String is the role as configurations have it.
func (r Role) String() string { return roleNames[r] }

// ParseRole reads a role's name.
func ParseRole(name string) (Role, bool) {
	for r, n := range roleNames {
		if n == name {
			return r, true
		}
	}
	return 0, false
}

// Access says who may call. The zero value asks nobody and makes everybody an
// admin: for loopback only (see Listen).
type Access struct {
	Tokens []Token
	// Certificates give roles to client certificates, which Listen's TLS
	// configuration has verified.
	Certificates []Certificate
}

// Token is a secret that gives a role, shown as a bearer token or as the password
// of HTTP Basic. Name stands in the log.
type Token struct {
	Name   string
	Role   Role
	Secret string
}

// Certificate gives a role to certificates that bear Name as the subject's common
// name, or as an alternative name (DNS, URI, e-mail).
type Certificate struct {
	Name string
	Role Role
}

// Open tells whether nobody is asked.
func (a Access) Open() bool { return len(a.Tokens)+len(a.Certificates) == 0 }

// caller is who calls; the name is for the log.
type caller struct {
	name string
	role Role
	// certified: known by a certificate, and by no token that has that role too.
	certified bool
}

type callerKey struct{}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// caller finds out who calls: by certificate, else by token. All tokens are
// compared, and digests of them, so that neither which one nor how much of it was
// right shows in the time that a refusal takes.
func (a Access) caller(r *http.Request) (caller, bool) {
	if a.Open() {
		return caller{name: "loopback", role: RoleAdmin}, true
	}
	var who caller
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		for _, c := range a.Certificates {
			if bears(r.TLS.VerifiedChains[0][0], c.Name) && c.Role > who.role {
				who = caller{"certificate " + c.Name, c.Role, true}
			}
		}
	}
	got := sha256.Sum256([]byte(shown(r)))
	for _, t := range a.Tokens {
		want := sha256.Sum256([]byte(t.Secret))
		if subtle.ConstantTimeCompare(got[:], want[:]) == 1 && t.Role >= who.role {
			who = caller{name: "token " + t.Name, role: t.Role}
		}
	}
	// Whoever is an admin may take less upon them.
	if name, ok := r.Header[http.CanonicalHeaderKey(api.HeaderOnBehalf)]; ok && who.role == RoleAdmin && !who.certified {
		role, behind, _ := strings.Cut(name[0], " ")
		is, known := ParseRole(role)
		return caller{name: behind + " by way of " + who.name, role: is}, known
	}
	return who, who.role > 0
}

func bears(cert *x509.Certificate, name string) bool {
	return cert.Subject.CommonName == name || slices.Contains(cert.DNSNames, name) || slices.Contains(cert.EmailAddresses, name) ||
		slices.ContainsFunc(cert.URIs, func(u *url.URL) bool { return u.String() == name })
}

// shown is the token of a request. Basic is there for the contract's own tools,
// which send an API key and its secret; the name is not looked at.
func shown(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// authenticated lets pass whose role is known. The probes are open: kubelet has
// no token, and they tell nothing but a state.
func (s *Server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := s.opts.Access.caller(r)
		if !ok && r.URL.Path != api.PathHealth && r.URL.Path != api.PathReady {
			s.opts.Logger.InfoContext(r.Context(), "api call without a valid token or certificate", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr)
			w.Header().Set("WWW-Authenticate", `Bearer realm="drawbridge"`)
			writeError(w, api.Unauthorized())
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}

// needs is the role that a pattern of the router wants.
func needs(pattern string) Role {
	method, path, _ := strings.Cut(pattern, " ")
	_, link, ofLink := strings.Cut(path, "/links")
	switch {
	case path == api.PathHealth, path == api.PathReady:
		return 0
	case strings.HasPrefix(path, api.PathDebug), strings.HasPrefix(path, api.PathReplica+"/"):
		return RoleAdmin
	case method == http.MethodGet:
		return RoleRead
	case ofLink && !strings.HasPrefix(path, api.PrefixDrawbridge) && !strings.Contains(link, "/mirrors"):
		return RoleAdmin // links themselves and their configs
	}
	return RoleOperate
}

// permit refuses a caller whose role is too low.
func permit(r *http.Request, want Role) error {
	if who := callerOf(r.Context()); who.role < want {
		return api.Forbidden("This call wants the role %s; %s has %s.", want, who.name, who.role)
	}
	return nil
}

// only is permit for what is no handler of ours.
func only(want Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := permit(r, want); err != nil {
			writeError(w, toAPI(err))
			return
		}
		next.ServeHTTP(w, r)
	})
}
