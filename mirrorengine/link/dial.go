package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// ClientOptions are a client of the link's source. resolve puts secrets in the
// place of references (secret.Resolve, after unsealing); it is called here
// once, so that a missing file shows now, and again for each login, so that a
// rotated secret is taken up without a restart.
func ClientOptions(cfg Config, resolve func(string) (string, error)) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(cfg.Bootstrap...),
		kgo.DialTimeout(cfg.Client.DialTimeout),
		// The client takes no age outside these; discovery (auto-create) does.
		kgo.MetadataMaxAge(min(max(cfg.Client.MetadataMaxAge, 5*time.Second), time.Hour)),
		kgo.ConnIdleTimeout(cfg.Client.MaxIdle),
		kgo.RequestTimeoutOverhead(cfg.Client.RequestTimeout),
		kgo.RetryBackoffFn(backoff(cfg.Client.RetryBackoff)),
	}
	if cfg.Encrypted() {
		t, err := tlsConfig(cfg.TLS, resolve)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if cfg.SASL() {
		m, err := mechanism(cfg, resolve)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// backoff doubles from base to at most 50 times base.
func backoff(base time.Duration) func(int) time.Duration {
	return func(try int) time.Duration {
		return min(base<<min(max(try-1, 0), 6), 50*base)
	}
}

// loginLine reads the login line as it is now, and what resolves its options.
func loginLine(cfg Config, resolve func(string) (string, error)) (jaas, func(string) (string, error), error) {
	line := cfg.JAAS.Reveal()
	if wholeReference(line) {
		var err error
		if line, err = resolve(line); err != nil {
			return jaas{}, nil, fmt.Errorf("%s: %w", keyJAAS, err)
		}
		// What the reference names is the line itself: no references in there.
		resolve = func(s string) (string, error) { return s, nil }
	}
	j, err := parseJAAS(line)
	if err == nil {
		err = j.matches(cfg.Mechanism)
	}
	if err != nil {
		return j, nil, fmt.Errorf("%s: %w", keyJAAS, err)
	}
	return j, resolve, nil
}

// credentials are the user and password of PLAIN and SCRAM.
func credentials(cfg Config, resolve func(string) (string, error)) (user, password string, err error) {
	j, resolve, err := loginLine(cfg, resolve)
	if err != nil {
		return "", "", err
	}
	if user, err = resolve(j.options["username"]); err != nil {
		return "", "", fmt.Errorf("%s: option username: %w", keyJAAS, err)
	}
	if password, err = resolve(j.options["password"]); err != nil {
		return "", "", fmt.Errorf("%s: option password: %w", keyJAAS, err)
	}
	return user, password, nil
}

func mechanism(cfg Config, resolve func(string) (string, error)) (sasl.Mechanism, error) {
	if cfg.Mechanism == mechanismOAuth {
		t := &tokens{cfg: cfg, resolve: resolve}
		if _, _, err := t.request(); err != nil {
			return nil, err
		}
		return loginMechanism{oauth.Oauth(t.auth)}, nil
	}
	if _, _, err := credentials(cfg, resolve); err != nil {
		return nil, err
	}
	login := func(context.Context) (scram.Auth, error) {
		user, password, err := credentials(cfg, resolve)
		return scram.Auth{User: user, Pass: password}, err
	}
	switch cfg.Mechanism {
	case "PLAIN":
		return loginMechanism{plain.Plain(func(context.Context) (plain.Auth, error) {
			user, password, err := credentials(cfg, resolve)
			return plain.Auth{User: user, Pass: password}, err
		})}, nil
	case "SCRAM-SHA-256":
		return loginMechanism{scram.Sha256(login)}, nil
	case "SCRAM-SHA-512":
		return loginMechanism{scram.Sha512(login)}, nil
	default:
		return nil, fmt.Errorf("%s: %w", keyMechanism, checkMechanism(cfg.Mechanism))
	}
}

// loginError is a failure of the login itself: the franz-go mechanisms tell
// theirs (a wrong server proof, say) in untyped errors.
type loginError struct{ err error }

func (e *loginError) Error() string { return "login: " + e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

type loginMechanism struct{ sasl.Mechanism }

func (m loginMechanism) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	session, first, err := m.Mechanism.Authenticate(ctx, host)
	if err != nil {
		return nil, nil, &loginError{err}
	}
	return loginSession{session}, first, nil
}

type loginSession struct{ sasl.Session }

func (s loginSession) Challenge(answer []byte) (bool, []byte, error) {
	done, next, err := s.Session.Challenge(answer)
	if err != nil {
		err = &loginError{err}
	}
	return done, next, err
}

// tlsConfig trusts the system's authorities unless the link names its own.
func tlsConfig(t TLS, resolve func(string) (string, error)) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.TrustCertificates != "" || t.TrustFile != "" {
		key := keyTrustCerts
		pem, err := resolve(t.TrustCertificates)
		if t.TrustFile != "" {
			key = keyTrustFile
			var b []byte
			b, err = os.ReadFile(t.TrustFile)
			pem = string(b)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(pem)) {
			return nil, fmt.Errorf("%s: no certificate in PEM found", key)
		}
	}
	if t.ClientCertificates != "" || t.ClientFile != "" {
		cert, err := clientCertificate(t, resolve)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
	}
	if t.AnyHost {
		c.InsecureSkipVerify = true //nolint:gosec // the chain is verified below, only the host name is not, as Kafka has it
		c.VerifyConnection = trustedForAnyHost(c.RootCAs)
	}
	return c, nil
}

func clientCertificate(t TLS, resolve func(string) (string, error)) (tls.Certificate, error) {
	if t.ClientFile != "" {
		cert, err := tls.LoadX509KeyPair(t.ClientFile, t.ClientFile)
		if err != nil {
			return cert, fmt.Errorf("%s: %w", keyClientFile, err)
		}
		return cert, nil
	}
	chain, err := resolve(t.ClientCertificates)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", keyClientCerts, err)
	}
	key, err := resolve(t.ClientKey.Reveal())
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", keyClientKey, err)
	}
	cert, err := tls.X509KeyPair([]byte(chain), []byte(key))
	if err != nil {
		return cert, fmt.Errorf("%s with %s: %w", keyClientCerts, keyClientKey, err)
	}
	return cert, nil
}

// trustedForAnyHost verifies the server's chain without its name.
func trustedForAnyHost(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the source shows no certificate")
		}
		intermediates := x509.NewCertPool()
		for _, cert := range s.PeerCertificates[1:] {
			intermediates.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates})
		if err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
}
