package wire

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func broker(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, string) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(4, "t")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, c.ListenAddrs()[0]
}

func dialOptions() Options {
	o := testOptions()
	o.Dial = (&net.Dialer{}).DialContext
	o.Software, o.SoftwareVersion = "wire", "test"
	return o
}

func dial(t *testing.T, addr string, o Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func metadata(t *testing.T, c *Conn) error {
	t.Helper()
	req, res := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrMetadataResponse()
	req.Topics = []kmsg.MetadataRequestTopic{}
	var err error
	if req.Version, err = c.Version(req.Key(), 1, 9); err != nil {
		return err
	}
	if err := c.exchange(t.Context(), req, res); err != nil {
		return err
	}
	if len(res.Brokers) == 0 {
		return fmt.Errorf("no brokers in %+v", res)
	}
	return nil
}

func TestAConnectionLogsIn(t *testing.T) {
	_, addr := broker(t, kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "ann", "secret"), kfake.Superuser("SCRAM-SHA-256", "bob", "hush"), kfake.Superuser("SCRAM-SHA-512", "cid", "quiet"))
	for name, m := range map[string][]sasl.Mechanism{
		"PLAIN":         {plain.Auth{User: "ann", Pass: "secret"}.AsMechanism()},
		"SCRAM-SHA-256": {scram.Auth{User: "bob", Pass: "hush"}.AsSha256Mechanism()},
		"SCRAM-SHA-512": {scram.Auth{User: "cid", Pass: "quiet"}.AsSha512Mechanism()},
		"the second":    {unknown{}, plain.Auth{User: "ann", Pass: "secret"}.AsMechanism()},
	} {
		o := dialOptions()
		o.SASL = m
		if err := metadata(t, dial(t, addr, o)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for says, m := range map[string]sasl.Mechanism{
		"closed it":                  plain.Auth{User: "ann", Pass: "wrong"}.AsMechanism(),
		"UNSUPPORTED_SASL_MECHANISM": unknown{},
	} {
		o := dialOptions()
		o.SASL = []sasl.Mechanism{m}
		_, err := Dial(t.Context(), addr, o)
		if err == nil || !strings.Contains(err.Error(), "login by "+m.Name()) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), addr) {
			t.Errorf("want %s: got %v", says, err)
		}
		if err != nil && strings.Contains(err.Error(), "wrong") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}

type unknown struct{}

func (unknown) Name() string { return "SMOKE-SIGNALS" }
func (unknown) Authenticate(context.Context, string) (sasl.Session, []byte, error) {
	panic("the broker does not have it")
}

func TestAConnectionSpeaksTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	_, addr := broker(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}))
	o := dialOptions()
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	o.Dial = (&tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}}).DialContext
	c := dial(t, addr, o)
	if err := metadata(t, c); err != nil {
		t.Fatal(err)
	}
	o.Dial = (&net.Dialer{}).DialContext
	if _, err := Dial(t.Context(), addr, o); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("plain text to a TLS port: %v", err)
	}
	// A closed connection does not wait for TLS's good-bye, which crypto/tls gives 5 s.
	began := time.Now()
	c.Close()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("closed within %s", took)
	}
}

func TestABrokerWithoutTheVersionsIsSaid(t *testing.T) {
	_, addr := broker(t, kfake.MaxVersions(kversion.V2_3_0()))
	c := dial(t, addr, dialOptions())
	if err := metadata(t, c); err != nil {
		t.Error(err)
	}
	v, err := c.Version(keyFetch, fetchLow, fetchHigh)
	if err != nil || v != 11 {
		t.Errorf("Fetch v%d, %v", v, err)
	}
	if _, err = c.Version(keyFetch, 12, fetchHigh); err == nil || !strings.Contains(err.Error(), "Fetch in versions 4 to 11, versions 12 to 17 are wanted") {
		t.Errorf("got %v", err)
	}
}

func TestALineDialsAnewWhatIsLostHasMovedOrRunsOut(t *testing.T) {
	_, one := broker(t)
	_, two := broker(t)
	l := NewLine(t.Context(), dialOptions())
	defer l.Close()
	last := func(addr string, want *Conn) *Conn {
		t.Helper()
		c, err := l.Conn(addr)
		if err != nil {
			t.Fatal(err)
		}
		if (c == want) != (want != nil) || c.Addr() != addr || metadata(t, c) != nil {
			t.Fatalf("not the connection that it should be: to %s", c.Addr())
		}
		return c
	}
	c := last(one, nil)
	last(one, c)
	c.lose(ErrClosed)
	c2 := last(one, nil)
	c2.expires = time.Now().Add(time.Hour)
	last(one, c2)
	c2.expires = time.Now()
	// What is under way is answered before another connection is made.
	out := make(chan Answer, 1)
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	c2.Send(Request{Key: req.Key(), Version: 9, Flexible: true, Parts: net.Buffers{req.AppendTo(nil)}}, func(a Answer) { out <- a })
	last(one, nil)
	select {
	case a := <-out:
		if a.Err != nil {
			t.Error(a.Err)
		}
		a.Release()
	default:
		t.Error("a new connection while the old one had requests under way")
	}
	last(two, nil)
}

func TestARefusedLoginSaysWhy(t *testing.T) {
	c, addr := broker(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "secret"))
	c.ControlKey((*kmsg.SASLAuthenticateRequest)(nil).Key(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		res.ErrorCode, res.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("credentials were revoked")
		return res, nil, true
	})
	o := dialOptions()
	o.SASL = []sasl.Mechanism{plain.Auth{User: "ann", Pass: "secret"}.AsMechanism()}
	_, err := Dial(t.Context(), addr, o)
	if !errors.Is(err, kerr.SaslAuthenticationFailed) || !strings.Contains(err.Error(), "credentials were revoked") {
		t.Errorf("got %v", err)
	}
}

// KIP-368: the broker tells how long a login holds.
func TestALoginsLifetimeIsKept(t *testing.T) {
	c, addr := broker(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ann", "secret"))
	c.ControlKey((*kmsg.SASLAuthenticateRequest)(nil).Key(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		res.SessionLifetimeMillis = 100_000
		return res, nil, true
	})
	o := dialOptions()
	o.SASL = []sasl.Mechanism{plain.Auth{User: "ann", Pass: "secret"}.AsMechanism()}
	before := time.Now()
	conn := dial(t, addr, o)
	if conn.expires.Before(before.Add(80*time.Second)) || conn.expires.After(time.Now().Add(80*time.Second)) {
		t.Errorf("expires in %s", time.Until(conn.expires))
	}
}
