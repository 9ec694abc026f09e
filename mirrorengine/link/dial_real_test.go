//go:build real

package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
	"github.com/drawbridge-dr/drawbridge/mirrorengine/status"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Kafka's own servers: its unsecured validator for bearer tokens, which lets
// sessions end with their tokens, and a listener that demands client certificates.
func TestLinksLogInToApacheKafkaByBearerTokenAndByCertificate(t *testing.T) {
	t.Parallel()
	ca := newTestCA(t)
	brokerCert, brokerKey := ca.issue(t, "localhost")
	clientCert, clientKey := ca.issue(t, "engine")
	k := local.KafkaForTest(t, local.KafkaConfig{
		Kind: local.Apache, Name: "source", SuperUser: local.User{Name: "admin", Password: "admin"},
		TLS: local.TLSFiles{KeyStore: secretFile(t, brokerKey+brokerCert), TrustStore: secretFile(t, ca.pem)},
		Properties: map[string]string{
			"listener.name.client.sasl.enabled.mechanisms":               "PLAIN,SCRAM-SHA-256,OAUTHBEARER",
			"listener.name.client.oauthbearer.sasl.jaas.config":          "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";",
			"listener.name.client.oauthbearer.connections.max.reauth.ms": "3000",
		},
	})
	cl := newClient(t, k.Bootstrap(), as("admin"))
	src := secured{&site{client: cl, adm: kadm.NewClient(cl)}, newCluster(cl)}
	for _, who := range []string{"User:reader", "User:CN=engine"} {
		src.grant(t, "ALLOW READ TOPIC LITERAL * "+who+" *", "ALLOW DESCRIBE_CONFIGS TOPIC LITERAL * "+who+" *")
	}
	server := newTokenServer(t)
	server.set(func() { server.lifetime = 15 * time.Second })
	byToken := server.login(secretFile(t, "hunter2"))
	byToken[keyBootstrap] = strings.Join(k.Bootstrap(), ",")
	byCertificate := map[string]string{
		keyBootstrap: strings.Join(k.TLSBootstrap(), ","), keyProtocol: protocolSSL, keyTrustCerts: ca.pem, keyClientCerts: clientCert, keyClientKey: "${file:" + secretFile(t, clientKey) + "}",
	}
	for name, values := range map[string]map[string]string{"token": byToken, "certificate": byCertificate} {
		t.Run(name, func(t *testing.T) {
			m, stop := newEngine(t, newSite(t, "destination"))
			defer stop()
			wrong, cure := maps.Clone(values), "check clientId, clientSecret and scope"
			if name == "token" {
				wrong[keyJAAS] = strings.Replace(wrong[keyJAAS], "engine", "other", 1)
			} else {
				delete(wrong, keyClientCerts)
				delete(wrong, keyClientKey)
				cure = "ssl.keystore.certificate.chain"
			}
			create := func(values map[string]string) error {
				var req api.CreateLink
				for key, value := range values {
					req.Configs = append(req.Configs, api.NameValue{Name: key, Value: &value})
				}
				return m.CreateLink(t.Context(), "l", req, false, true)
			}
			if err := create(wrong); err == nil || !strings.Contains(err.Error(), api.LinkErrorAuthentication) || !strings.Contains(err.Error(), cure) {
				t.Errorf("without the right proof: %v", err)
			}
			if err := create(values); err != nil {
				t.Fatal(err)
			}
			topic := "by-" + name
			src.topic(t, topic, 1, nil)
			newTestMirror(t, m, topic)
			src.produce(t, topic, 0, 0, 10)
			awaitLagZero(t, m, src.site, topic)
			if name == "token" {
				before := server.requests()
				eventually(t, "logins with a new token", func() error {
					if server.requests() < before+2 {
						return fmt.Errorf("%d requests for tokens, %d before", server.requests(), before)
					}
					return nil
				})
			}
			src.produce(t, topic, 0, 10, 10)
			awaitLagZero(t, m, src.site, topic)
			alter(t, m, api.VerbPromote, topic)
			awaitStatus(t, m, topic, status.Stopped)
		})
	}
}

// testCA issues certificates for 127.0.0.1, as PEM text.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca := &testCA{key: key}
	ca.cert, ca.pem = ca.sign(t, template, template, &key.PublicKey)
	return ca
}

func (ca *testCA) sign(t *testing.T, template, parent *x509.Certificate, key any) (*x509.Certificate, string) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (ca *testCA) issue(t *testing.T, name string) (cert, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, cert = ca.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, ca.cert, &key.PublicKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
