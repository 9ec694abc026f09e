package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// access is what the engine knows of its own standing with the local cluster's
// authorizer. It is found out by what brokers do, since they hide their
// super.users (an authorizer's own configs count as sensitive in
// DescribeConfigs).
type access struct {
	probing sync.Mutex // held while brokers are asked; taken before mu

	mu    sync.Mutex // guards what follows
	known bool
	at    time.Time
	facts accessFacts
	// securityOn: the brokers answered with ACL entries, or refused to; false
	// after SECURITY_DISABLED.
	securityOn bool
}

// accessFacts are the findings of one probe.
type accessFacts struct {
	authorizer    bool
	superUser     bool
	allowEveryone bool
	// canary: there is one, a DENY binds it, and it may be believed.
	canary bool
	// why is the reason why no guard can be set, empty if guards can.
	why string
}

// accessAgain is how long a finding that makes guards, or their proof,
// impossible is believed.
const accessAgain = time.Minute

// accessWait bounds how long a new entry may take to a broker (KRaft hands
// ACLs out with its metadata log).
const accessWait = 10 * time.Second

const noAuthorizer = "the cluster has no authorizer: foreign writes are only detected"

// securityOn asks a broker whether it has an authorizer at all.
func (m *Manager) securityOn(ctx context.Context, broker int32) (bool, error) {
	_, err := m.topicACLs(ctx, broker)
	switch {
	case errors.Is(err, kerr.SecurityDisabled):
		return false, nil
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return true, nil
	}
	return true, err
}

// standing answers with the cached facts, or probes. An error leaves them open;
// then no guard is set and the next call probes again.
func (m *Manager) standing(ctx context.Context) (accessFacts, error) {
	m.access.probing.Lock()
	defer m.access.probing.Unlock()
	was, at, known := m.lastAccess()
	whole := was.why == "" && (was.canary || m.canary == nil)
	if known && (whole || time.Since(at) < accessAgain) {
		return was, nil
	}
	facts, err := m.probeAccess(ctx)
	if err != nil {
		return facts, fmt.Errorf("find out what the cluster's authorizer lets this engine do: %w", err)
	}
	if !known || was != facts {
		m.log.Info("authorizer probed", "authorizer", facts.authorizer, "super_user", facts.superUser,
			"allow_everyone_if_no_acl_found", facts.allowEveryone, "canary", facts.canary, "no_guard_because", facts.why)
	}
	m.access.mu.Lock()
	defer m.access.mu.Unlock()
	m.access.known, m.access.at, m.access.facts = true, time.Now(), facts
	m.access.securityOn = facts.why != noAuthorizer
	return facts, nil
}

// lastAccess is what was found out last, without asking.
func (m *Manager) lastAccess() (facts accessFacts, at time.Time, known bool) {
	m.access.mu.Lock()
	defer m.access.mu.Unlock()
	return m.access.facts, m.access.at, m.access.known
}

// probeAccess asks one broker about a name that is no topic, before and after
// DENY DESCRIBE for User:* on it: who is still not refused then is bound by no
// entry, a super user. It touches no topic, and an entry that a crash left there
// refuses nobody anything; the next probe removes it.
func (m *Manager) probeAccess(ctx context.Context) (accessFacts, error) {
	var f accessFacts
	brokers, err := m.brokerIDs(ctx)
	if err != nil {
		return f, err
	}
	broker, name := brokers[0], m.opts.StateTopic+"_probe_acl"
	acls, err := m.topicACLs(ctx, broker)
	switch {
	case errors.Is(err, kerr.SecurityDisabled):
		f.why = noAuthorizer
		return f, nil
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		f.authorizer = true
		f.why = "the engine's principal may not list ACL entries: allow it DESCRIBE and ALTER on the cluster"
		return f, nil
	case err != nil:
		return f, err
	}
	f.authorizer = true
	probe := denial(everybody, name, opDescribe)
	// spoken: an entry covers the name, so that asking says nothing of the default.
	// An entry that covers all topics leaves the default nothing to speak of.
	spoken := false
	for _, e := range acls {
		if e == probe {
			if _, err := m.deleteACLs(ctx, []api.ACLEntry{probe}); err != nil {
				return f, err
			}
			spoken = true
		}
		spoken = spoken || concerns(e, name)
	}
	before, err := m.mayDescribe(ctx, broker, name)
	if err != nil {
		return f, err
	}
	err = m.createACLs(ctx, []api.ACLEntry{probe})
	if errors.Is(err, kerr.ClusterAuthorizationFailed) {
		f.why = "the engine's principal may not alter ACL entries: allow it ALTER on the cluster"
		f.allowEveryone = !spoken && before.engine
		return f, nil
	}
	if err != nil {
		return f, err
	}
	after, err := m.underProbe(ctx, broker, probe)
	if _, derr := m.deleteACLs(context.WithoutCancel(ctx), []api.ACLEntry{probe}); derr != nil {
		m.log.Warn("the entry that probed the authorizer could not be removed; it concerns no topic, and the next start removes it", "entry", describeACL(probe), "error", derr)
	}
	if err != nil {
		return f, err
	}
	f.superUser = after.engine
	f.canary = after.canaryAsked && !after.canary
	switch value, told := m.brokerConfig(ctx, broker, "allow.everyone.if.no.acl.found"); {
	case told:
		f.allowEveryone, _ = strconv.ParseBool(value)
	case spoken:
	case f.canary:
		f.allowEveryone = before.canary
	case !f.superUser:
		f.allowEveryone = before.engine
	default:
		// A super user sees no difference; Kafka's own default is false.
	}
	switch {
	case f.superUser && !m.authenticated():
		// Whoever comes through this listener is the same to the broker as we are.
		f.authorizer, f.superUser = false, false
		f.why = "a DENY for everybody does not bind this engine, and it logs in without credentials: entries cannot tell it from other clients"
	case !f.superUser && m.opts.Principal == "":
		f.why = "the engine is no super user and does not know its own principal: set it in the engine's configuration"
	}
	if after.canary {
		m.log.Warn("a DENY does not bind the canary's principal, so that it proves nothing: it must be no super user, and the cluster must enforce ACLs")
	}
	return f, nil
}

// seen is who was not refused.
type seen struct{ engine, canary, canaryAsked bool }

func (m *Manager) mayDescribe(ctx context.Context, broker int32, name string) (seen, error) {
	var s seen
	var err error
	if s.engine, err = allowedToDescribe(ctx, m.local, broker, name); err != nil {
		return s, err
	}
	if m.canary == nil {
		return s, nil
	}
	s.canary, err = allowedToDescribe(ctx, m.canary, broker, name)
	if err != nil {
		m.log.Warn("the canary cannot be asked, no guard is proven without it", "broker", broker, "error", err)
		return s, nil
	}
	s.canaryAsked = true
	return s, nil
}

// underProbe waits until the broker lists the entry, then asks again.
func (m *Manager) underProbe(ctx context.Context, broker int32, probe api.ACLEntry) (seen, error) {
	ctx, cancel := context.WithTimeout(ctx, accessWait)
	defer cancel()
	for {
		acls, err := m.topicACLs(ctx, broker)
		for _, e := range acls {
			if e == probe {
				return m.mayDescribe(ctx, broker, probe.ResourceName)
			}
		}
		select {
		case <-ctx.Done():
			return seen{}, errors.Join(fmt.Errorf("broker %d has not taken over %s within %s", broker, describeACL(probe), accessWait), err)
		case <-time.After(retryMin):
		}
	}
}

// allowedToDescribe asks for the metadata of a name that is no topic: who may
// describe it learns that there is none, others are refused.
func allowedToDescribe(ctx context.Context, c *cluster, broker int32, name string) (bool, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, t)
	res, err := request[*kmsg.MetadataResponse](ctx, c, broker, req)
	if err != nil {
		return false, err
	}
	if len(res.Topics) != 1 {
		return false, fmt.Errorf("broker %d answers for %d topics, asked for 1", broker, len(res.Topics))
	}
	switch err := kerr.ErrorForCode(res.Topics[0].ErrorCode); {
	case err == nil, errors.Is(err, kerr.UnknownTopicOrPartition):
		return true, nil
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return false, nil
	default:
		return false, fmt.Errorf("metadata of %s: %w", name, err)
	}
}

// brokerConfig reads a broker's config; false where it is hidden or the
// engine's principal may not see it.
func (m *Manager) brokerConfig(ctx context.Context, broker int32, name string) (string, bool) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(broker)), []string{name}
	req.Resources = append(req.Resources, r)
	res, err := request[*kmsg.DescribeConfigsResponse](ctx, m.local, broker, req)
	if err != nil {
		return "", false
	}
	for _, r := range res.Resources {
		for _, c := range r.Configs {
			if c.Name == name && c.Value != nil && !c.IsSensitive {
				return strings.TrimSpace(*c.Value), true
			}
		}
	}
	return "", false
}

// authenticated tells whether brokers can know this engine by its login.
func (m *Manager) authenticated() bool {
	mechanisms, _ := m.local.client.OptValue(kgo.SASL).([]sasl.Mechanism)
	config, _ := m.local.client.OptValue(kgo.DialTLSConfig).(*tls.Config)
	return m.opts.Principal != "" || len(mechanisms) > 0 || config != nil
}
