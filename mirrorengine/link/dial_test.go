package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/secret"
)

func TestLoginLinesAreReadAsKafkaReadsThem(t *testing.T) {
	for text, want := range map[string]jaas{
		plainLogin: {"PlainLoginModule", map[string]string{"username": "k", "password": "hunter2"}},
		`sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username='k' password='hunter2';`:                    {"PlainLoginModule", map[string]string{"username": "k", "password": "hunter2"}},
		"  org.apache.kafka.common.security.scram.ScramLoginModule required\n username=\"k\"\n password=\"a\\\"b;c\\\\d e\" tokenauth=true ;\n": {"ScramLoginModule", map[string]string{"username": "k", "password": `a"b;c\d e`, "tokenauth": "true"}},
		`x.ScramLoginModule required username=k password="${file:/etc/s:p}";`:                                                                   {"ScramLoginModule", map[string]string{"username": "k", "password": "${file:/etc/s:p}"}},
		`x.PlainLoginModule required username = "k" password = "it's";`:                                                                         {"PlainLoginModule", map[string]string{"username": "k", "password": "it's"}},
	} {
		got, err := parseJAAS(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(jaas{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
}

func TestABadLoginLineIsRefusedWithoutBeingQuoted(t *testing.T) {
	for text, says := range map[string]string{
		"":        "login module",
		"hunter2": "login module",
		`x.OAuthBearerLoginModule required clientSecret="hunter2";`:                          "option clientId is missing",
		`x.OAuthBearerLoginModule required username="a" password="hunter2";`:                 "option clientId is missing",
		`x.PlainLoginModule username="k" password="hunter2";`:                                "'required'",
		`x.PlainLoginModule required username="k" password="hunter2"`:                        "semicolon",
		`x.PlainLoginModule required username="k" password="hunter2;`:                        "quote is not closed",
		`x.PlainLoginModule required username="k";`:                                          "option password is missing",
		`x.PlainLoginModule required password="hunter2";`:                                    "option username is missing",
		`x.PlainLoginModule required username="k" password="hunter2" password="hunter2";`:    "stands twice",
		`x.PlainLoginModule required username="k" password="a" hunter2;`:                     `name="value"`,
		`x.PlainLoginModule required username="k" password="a"; y.Other required hunter2=1;`: "behind the semicolon",
		`x.PlainLoginModule required username="k" password="${vault:hunter2}";`:              "is not complete",
		`x.PlainLoginModule required username="k" password=`:                                 "no value",
	} {
		_, err := parseJAAS(text)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want …%s…", text, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: quoted in %v", text, err)
		}
	}
}

func FuzzLoginLines(f *testing.F) {
	f.Add(plainLogin)
	f.Fuzz(func(t *testing.T, text string) {
		j, err := parseJAAS(text)
		if err == nil && (j.options[j.wants()[0]] == "" || j.options[j.wants()[1]] == "") {
			t.Errorf("%q was taken without credentials", text)
		}
	})
}

// source starts an in-process Kafka that knows one user by each mechanism.
func source(t *testing.T, opts ...kfake.Opt) (address string) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID("cluster-east")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// linked parses the values of a link to address and makes its client options.
func linked(t *testing.T, address string, values map[string]string) []kgo.Opt {
	t.Helper()
	all := map[string]string{"bootstrap.servers": address}
	for k, v := range values {
		all[k] = v
	}
	cfg, err := Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	opts, err := ClientOptions(cfg, secret.Resolve)
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

func login(mechanism, module, user, password string) map[string]string {
	return map[string]string{
		"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism,
		"sasl.jaas.config": fmt.Sprintf("x.%s required username=%q password=%q;", module, user, password),
	}
}

func TestProbeLogsInByEveryMechanism(t *testing.T) {
	for mechanism, module := range map[string]string{
		"PLAIN": modulePlain, "SCRAM-SHA-256": moduleSCRAM, "SCRAM-SHA-512": moduleSCRAM,
	} {
		t.Run(mechanism, func(t *testing.T) {
			address := source(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "engine", "s3cret"))
			t.Setenv("DRAWBRIDGE_TEST_PASSWORD", "s3cret")
			id, code, err := Probe(t.Context(), linked(t, address, login(mechanism, module, "engine", "${env:DRAWBRIDGE_TEST_PASSWORD}")))
			if err != nil || id != "cluster-east" || code != api.LinkErrorNone {
				t.Fatalf("got %s, %s, %v", id, code, err)
			}
			for name, values := range map[string]map[string]string{
				"wrong password": login(mechanism, module, "engine", "wr0ng"),
				"wrong user":     login(mechanism, module, "nobody", "s3cret"),
			} {
				id, code, err := Probe(t.Context(), linked(t, address, values))
				if err == nil || id != "" || code != api.LinkErrorAuthentication || !strings.Contains(err.Error(), "sasl.jaas.config") {
					t.Errorf("%s: got %q, %s, %v", name, id, code, err)
				}
				if err != nil && (strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "s3cret")) {
					t.Errorf("%s: the password is in %v", name, err)
				}
			}
		})
	}
}

func TestProbeTellsApartWhyASourceCannotBeUsed(t *testing.T) {
	t.Parallel()
	closed := nobody
	saslSource := source(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "engine", "s3cret"))
	for name, tc := range map[string]struct {
		address string
		values  map[string]string
		code    string
		says    string
	}{
		"no such host":        {"no-such-host.invalid:9092", nil, api.LinkErrorUnresolvable, "check the host names"},
		"nobody listens":      {closed, nil, api.LinkErrorTCP, "check address and port"},
		"silent":              {silent(t), nil, api.LinkErrorTimeout, "does not answer"},
		"hangs up":            {hangsUp(t), nil, api.LinkErrorAuthentication, "check security.protocol"},
		"not TLS":             {speaksHTTP(t), map[string]string{"security.protocol": "SSL"}, api.LinkErrorTCP, "does not speak TLS"},
		"mechanism not there": {saslSource, login("SCRAM-SHA-512", moduleSCRAM, "engine", "s3cret"), api.LinkErrorAuthentication, "check sasl"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if tc.code == api.LinkErrorTimeout {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
			}
			_, code, err := Probe(ctx, linked(t, tc.address, tc.values))
			if err == nil || !strings.Contains(err.Error(), tc.says) || tc.code != "" && code != tc.code {
				t.Errorf("got %s, %v; want %s …%s…", code, err, tc.code, tc.says)
			}
		})
	}
}

func TestProbeTakesTheServerThatAnswersAmongDeadOnes(t *testing.T) {
	t.Parallel()
	address := nobody + ",no-such-host.invalid:9092," + source(t)
	id, _, err := Probe(t.Context(), linked(t, address, nil))
	if err != nil || id != "cluster-east" {
		t.Fatalf("got %s, %v", id, err)
	}
}

func TestProbeRefusesASourceWhoseAdvertisedAddressLeadsNowhere(t *testing.T) {
	t.Parallel()
	// The bootstrap address is a proxy's; what the broker names itself is gone
	// as soon as it is dialled.
	address := source(t)
	opts := linked(t, "proxy.example:9092", nil)
	var dialer net.Dialer
	opts = append(opts, kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		if host == "proxy.example:9092" {
			return dialer.DialContext(ctx, network, address)
		}
		return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("unreachable")}
	}))
	_, code, err := Probe(t.Context(), opts)
	if err == nil || code != api.LinkErrorTCP || !strings.Contains(err.Error(), "advertises ("+address+")") {
		t.Fatalf("got %s, %v", code, err)
	}
}

func TestProbeTrustsTheLinksOwnAuthorityOnly(t *testing.T) {
	t.Parallel()
	certPEM, config := selfSigned(t, "127.0.0.1")
	otherPEM, _ := selfSigned(t, "127.0.0.1")
	address := source(t, kfake.TLS(config))
	file := secretFile(t, string(certPEM))
	for name, tc := range map[string]struct {
		values map[string]string
		code   string
	}{
		"inline":        {map[string]string{"ssl.truststore.certificates": string(certPEM)}, api.LinkErrorNone},
		"by reference":  {map[string]string{"ssl.truststore.certificates": "${file:" + file + "}"}, api.LinkErrorNone},
		"file":          {map[string]string{"ssl.truststore.location": file}, api.LinkErrorNone},
		"other":         {map[string]string{"ssl.truststore.certificates": string(otherPEM)}, api.LinkErrorAuthentication},
		"other, any":    {map[string]string{"ssl.truststore.certificates": string(otherPEM), "ssl.endpoint.identification.algorithm": ""}, api.LinkErrorAuthentication},
		"system's":      {nil, api.LinkErrorAuthentication},
		"not encrypted": {map[string]string{"security.protocol": "PLAINTEXT"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[string]string{"security.protocol": "SSL"}
			for k, v := range tc.values {
				values[k] = v
			}
			_, code, err := Probe(t.Context(), linked(t, address, values))
			if tc.code != "" && code != tc.code || (err == nil) != (tc.code == api.LinkErrorNone) {
				t.Errorf("got %s, %v", code, err)
			}
		})
	}
}

func TestACertificateForAnotherHostPassesOnlyIfHostsAreNotChecked(t *testing.T) {
	t.Parallel()
	certPEM, config := selfSigned(t, "10.9.8.7")
	address := source(t, kfake.TLS(config))
	values := map[string]string{"security.protocol": "SSL", "ssl.truststore.certificates": string(certPEM)}
	if _, code, err := Probe(t.Context(), linked(t, address, values)); code != api.LinkErrorAuthentication {
		t.Errorf("got %s, %v", code, err)
	}
	values["ssl.endpoint.identification.algorithm"] = ""
	if _, _, err := Probe(t.Context(), linked(t, address, values)); err != nil {
		t.Error(err)
	}
}

func TestClientOptionsFindAMissingSecretAtOnce(t *testing.T) {
	values := login("PLAIN", modulePlain, "engine", "${file:/no/such/file:password}")
	values["bootstrap.servers"] = "east:9092"
	cfg, err := Parse(values)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ClientOptions(cfg, secret.Resolve); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "sasl.jaas.config: option password") {
		t.Errorf("got %v", err)
	}
	cfg, err = Parse(map[string]string{"bootstrap.servers": "east:9092", "security.protocol": "SSL", "ssl.truststore.certificates": "not PEM"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ClientOptions(cfg, secret.Resolve); err == nil || !strings.Contains(err.Error(), "ssl.truststore.certificates") {
		t.Errorf("got %v", err)
	}
}

func TestARotatedPasswordIsTakenUpAtTheNextLogin(t *testing.T) {
	t.Parallel()
	address := source(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "engine", "new"))
	file := filepath.Join(t.TempDir(), "jaas")
	put := func(password string) {
		line := fmt.Sprintf("x.PlainLoginModule required username=\"engine\" password=%q;", password)
		if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	opts := linked(t, address, map[string]string{
		"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": "${file:" + file + "}",
	})
	if _, code, err := Probe(t.Context(), opts); code != api.LinkErrorAuthentication {
		t.Fatalf("got %s, %v", code, err)
	}
	put("new")
	if _, _, err := Probe(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
}

// nobody is an address that nobody listens at. (One that was free a moment ago may be somebody's by now.)
const nobody = "127.0.0.1:1"

// silent accepts and never answers.
func silent(t *testing.T) string {
	t.Helper()
	return listen(t).Addr().String() // the kernel accepts into the backlog
}

// hangsUp closes each connection at once.
func hangsUp(t *testing.T) string { return greets(t, "") }

// speaksHTTP answers as a web server does when it is spoken to in TLS.
func speaksHTTP(t *testing.T) string { return greets(t, "HTTP/1.0 400 Bad Request\r\n\r\n") }

// greets says its word on each connection and closes it.
func greets(t *testing.T, word string) string {
	t.Helper()
	ln := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096)) // unread bytes would make the close a reset
			_, _ = conn.Write([]byte(word))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// selfSigned is a certificate for an address, and a server that shows it.
func selfSigned(t *testing.T, ip string) (certPEM []byte, server *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "drawbridge test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ip)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
