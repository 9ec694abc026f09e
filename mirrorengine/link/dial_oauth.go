package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// mechanismOAuth logs in by a bearer token, which the client credentials flow
// (RFC 6749, 4.4) gets from sasl.oauthbearer.token.endpoint.url. The login line has
// clientId, clientSecret, scope and extension_… as Kafka's own clients read them.
const mechanismOAuth = "OAUTHBEARER"

// extensionOption begins the options that go to the broker as SASL extensions.
const extensionOption = "extension_"

// tokens gets bearer tokens and keeps the last one until it expires: a link has
// many connections, and brokers ask for a new login now and then.
type tokens struct {
	cfg     Config
	resolve func(string) (string, error)

	mu   sync.Mutex // guards what follows; held while a token is fetched, so that only one is
	from clientcredentials.Config
	last *oauth2.Token
}

func (t *tokens) auth(ctx context.Context) (oauth.Auth, error) {
	now, extensions, err := t.request()
	if err != nil {
		return oauth.Auth{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	same := t.from.ClientID == now.ClientID && t.from.ClientSecret == now.ClientSecret && t.from.TokenURL == now.TokenURL
	if !same || !t.last.Valid() {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		token, err := now.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{}))
		if err != nil {
			return oauth.Auth{}, tokenError(now.TokenURL, err)
		}
		t.from, t.last = now, token
	}
	return oauth.Auth{Token: t.last.AccessToken, Extensions: extensions}, nil
}

// request is the flow's request with the secrets as they are now.
func (t *tokens) request() (clientcredentials.Config, map[string]string, error) {
	out := clientcredentials.Config{TokenURL: t.cfg.TokenEndpoint}
	j, resolve, err := loginLine(t.cfg, t.resolve)
	if err != nil {
		return out, nil, err
	}
	extensions := map[string]string{}
	for name, value := range j.options {
		v, err := resolve(value)
		if err != nil {
			return out, nil, fmt.Errorf("%s: option %s: %w", keyJAAS, name, err)
		}
		switch {
		case name == "clientId":
			out.ClientID = v
		case name == "clientSecret":
			out.ClientSecret = v
		case name == "scope":
			out.Scopes = strings.Fields(v)
		case strings.HasPrefix(name, extensionOption):
			extensions[strings.TrimPrefix(name, extensionOption)] = v
		}
	}
	return out, extensions, nil
}

// tokenError tells what the token endpoint said, without its answer's text, which
// may hold anything.
func tokenError(endpoint string, err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		said := refused.ErrorCode
		if said == "" {
			said = "no OAuth error code"
		}
		return fmt.Errorf("token endpoint %s gave no token: %s, %s; check clientId, clientSecret and scope: of a link in %s, of the engine's own login in the section kafka of its configuration", endpoint, refused.Response.Status, said, keyJAAS)
	}
	return fmt.Errorf("token endpoint %s gave no token: %w; check the address: of a link in %s, of the engine's own login in the section kafka of its configuration", endpoint, err, keyTokenURL)
}

// CheckTokenURL wants https, since the client's secret goes there.
func CheckTokenURL(v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("'%s' is no address; write https://host/path", v)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("'%s' would get the client's secret in the clear; use https://", u.Redacted())
	}
	return nil
}

// checkLoginHandler takes the handlers of Kafka's own clients that do what this
// engine does without one.
func checkLoginHandler(v string) error {
	if strings.HasPrefix(v, "org.apache.kafka.common.security.oauthbearer.") && strings.HasSuffix(v, ".OAuthBearerLoginCallbackHandler") {
		return nil
	}
	return errors.New("names a Java class that this engine cannot load; leave it out")
}
