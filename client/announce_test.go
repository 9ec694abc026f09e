package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client"
	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/test/local"
)

const management = "6fc9e4a4-8b1f-4c0e-9f3a-0d6d5a1f0001"

// name is a DNS name of a Consul, as a client's resolver sees it.
type name struct {
	t      *testing.T
	consul *local.Consul
	label  string
}

// resolved is what DNS says: "127.0.0.1:1001 …", in order.
func (n name) resolved(ctx context.Context) ([]string, error) {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.consul.DNSAddress())
	}}
	_, servers, err := r.LookupSRV(ctx, "", "", n.label+".service.consul")
	var missing *net.DNSError
	if errors.As(err, &missing) && missing.IsNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range servers {
		hosts, err := r.LookupHost(ctx, s.Target)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			out = append(out, fmt.Sprintf("%s:%d", h, s.Port))
		}
	}
	slices.Sort(out)
	return out, nil
}

func (n name) until(want ...string) {
	n.t.Helper()
	slices.Sort(want)
	ctx, cancel := context.WithTimeout(n.t.Context(), 60*time.Second)
	defer cancel()
	err := local.WaitFor(ctx, fmt.Sprintf("DNS to say %q", want), func(ctx context.Context) error {
		got, err := n.resolved(ctx)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it says %q", got)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// announcing runs an announcer with a token of deploy/consul/announcer.hcl; the returned function ends it.
func announcing(t *testing.T, c *local.Consul, token string, s client.Service) (end func(), log *local.Output) {
	t.Helper()
	log = &local.Output{}
	w, err := client.New(client.Config{
		Pair: pair, Consuls: []client.Consul{{Address: c.Address(), TokenFile: token}}, StateDir: t.TempDir(),
		Wait: 2 * time.Second, MaxBackOff: 200 * time.Millisecond, Log: logTo(log),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Announce(ctx, s) }()
	stopped := false
	end = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return end, log
}

func TestADNSNameFollowsTheRecordAndEndsWithItsAnnouncer(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{Management: management, DNS: true})
	rules, err := os.ReadFile("../deploy/consul/announcer.hcl")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := consul.Token(t.Context(), "announcer", string(rules))
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	// Whoever resolves names does so without a token.
	cl, err := consul.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := cl.ACL().PolicyCreate(&api.ACLPolicy{Name: "dns", Rules: "service_prefix \"\" { policy = \"read\" }\nnode_prefix \"\" { policy = \"read\" }"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cl.ACL().TokenUpdate(&api.ACLToken{AccessorID: "00000000-0000-0000-0000-000000000002", Policies: []*api.ACLTokenPolicyLink{{Name: "dns"}}}, nil); err != nil {
		t.Fatal(err)
	}

	east, west := []string{"127.0.0.1:1001", "127.0.0.2:1002"}, []string{"127.0.0.3:2001"}
	at := func(epoch int64, active string, change ...func(*record.Record)) record.Record {
		return rec(epoch, active, append([]func(*record.Record){func(r *record.Record) {
			r.Bootstrap = map[string][]string{"east": east, "west": west}
		}}, change...)...)
	}
	n := name{t, consul, "orders-kafka"}
	end, log := announcing(t, consul, token, client.Service{Name: "orders-kafka", TTL: 2 * time.Second})
	n.until()
	put(t, consul, at(1, "east"))
	n.until(east...)
	put(t, consul, at(1, "east", func(r *record.Record) { r.Phase = record.Frozen }))
	put(t, consul, at(2, "west"))
	n.until(west...)
	put(t, consul, at(1, "east")) // a Consul that was restored
	put(t, consul, at(3, "east"))
	n.until(east...)

	// Somebody removes it by hand, or the agent has lost it: it comes back.
	if err := cl.Agent().ServiceDeregister("orders-kafka-2"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := local.WaitFor(ctx, "the agent to have it again", func(context.Context) error {
		_, _, err := cl.Agent().Service("orders-kafka-2", nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	n.until(east...)

	// A second announcer changes nothing; the end of one does not end the name, the end of the last does.
	end2, _ := announcing(t, consul, token, client.Service{Name: "orders-kafka", TTL: 2 * time.Second})
	n.until(east...)
	end()
	n.until(east...)
	end2()
	n.until()
	if text := log.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("log:\n%s", text)
	}
}

func TestANameThatIsSomebodyElsesOrAheadIsLeftAlone(t *testing.T) {
	consul := local.ConsulForTest(t, local.ConsulConfig{})
	cl, err := consul.Client()
	if err != nil {
		t.Fatal(err)
	}
	put(t, consul, rec(1, "east"))
	for label, c := range map[string]struct {
		meta map[string]string
		told string
	}{
		"theirs-kafka": {nil, "was registered by somebody else"},
		"ahead-kafka":  {map[string]string{"drawbridge-pair": pair, "drawbridge-site": "west", "drawbridge-epoch": "2"}, "is at epoch 2 by another announcer"},
	} {
		if err := cl.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: label + "-1", Name: label, Address: "192.0.2.1", Port: 9092, Meta: c.meta}); err != nil {
			t.Fatal(err)
		}
		_, log := announcing(t, consul, "", client.Service{Name: label})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := local.WaitFor(ctx, "the refusal", func(context.Context) error {
			if !strings.Contains(log.String(), c.told) {
				return errors.New("not told")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		got, _, err := cl.Agent().Service(label+"-1", nil)
		if err != nil || got.Address != "192.0.2.1" {
			t.Errorf("%s was touched: %+v, %v", label, got, err)
		}
	}
}

func TestAServiceThatIsNoNameIsRefused(t *testing.T) {
	for text, s := range map[string]client.Service{
		"no DNS label":   {Name: "Orders_Kafka"},
		"at most 63":     {Name: strings.Repeat("a", 64)},
		"second or more": {Name: "orders", TTL: time.Millisecond},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func logTo(w *local.Output) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
