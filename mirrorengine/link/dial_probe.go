package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/api"
)

// probeTimeout bounds a probe whose caller set no deadline.
const probeTimeout = 15 * time.Second

// Probe tries a link's source: every bootstrap server at once until one gives
// its cluster id, then the brokers that it names, of which one must answer too
// (a source whose advertised addresses lead nowhere is the commonest mistake of
// all). It returns the contract's link_error with err, NO_ERROR without.
func Probe(ctx context.Context, opts []kgo.Opt) (clusterID, linkError string, err error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, probeTimeout)
		defer cancel()
	}
	resp, err := askSeeds(ctx, opts)
	if err != nil {
		return "", classify(err), fmt.Errorf("source: %w%s", err, cure(err))
	}
	if resp.ClusterID == nil || *resp.ClusterID == "" {
		return "", api.LinkErrorTCP, errors.New("source: the server answers without a cluster id; is it a Kafka broker?")
	}
	if err := probeAdvertised(ctx, opts, resp); err != nil {
		return "", classify(err), err
	}
	return *resp.ClusterID, api.LinkErrorNone, nil
}

// probeAdvertised asks the brokers by the addresses that they name themselves,
// which is where every later connection goes.
func probeAdvertised(ctx context.Context, opts []kgo.Opt, resp *kmsg.MetadataResponse) error {
	var addresses []string
	for _, b := range resp.Brokers {
		addresses = append(addresses, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	if len(addresses) == 0 {
		return nil
	}
	opts = append(slices.Clone(opts), kgo.SeedBrokers(addresses...))
	if _, err := askSeeds(ctx, opts); err != nil {
		return fmt.Errorf("source: a bootstrap server answers (cluster %s), but no broker does at the address that it advertises (%s): %w%s",
			*resp.ClusterID, strings.Join(addresses, ", "), err, cure(err))
	}
	return nil
}

// askSeeds makes a client and asks all of its seed brokers.
func askSeeds(ctx context.Context, opts []kgo.Opt) (*kmsg.MetadataResponse, error) {
	login := &loginWatch{}
	client, err := kgo.NewClient(append(slices.Clone(opts), kgo.WithHooks(login))...)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	defer client.Close()
	resp, err := firstAnswer(ctx, client.SeedBrokers(), metadataOf)
	if err != nil && login.cut.Load() && classify(err) == api.LinkErrorTCP {
		err = &loginError{fmt.Errorf("the source closed the connection: %w", err)}
	}
	return resp, err
}

// loginWatch sees whether a connection was lost during the login: some servers
// refuse credentials by hanging up.
type loginWatch struct{ cut atomic.Bool }

// OnBrokerRead is called by the client after each response.
func (l *loginWatch) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err != nil && (key == int16(kmsg.SASLHandshake) || key == int16(kmsg.SASLAuthenticate)) {
		l.cut.Store(true)
	}
}

func metadataOf(ctx context.Context, b *kgo.Broker) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none: brokers and cluster id only
	return req.RequestWith(ctx, b)
}

// firstAnswer asks all brokers at once and takes the first good answer. Else it
// gives the most telling error: what a broker said counts more than silence.
func firstAnswer[T any](ctx context.Context, brokers []*kgo.Broker, ask func(context.Context, *kgo.Broker) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, len(brokers))
	for _, b := range brokers {
		go func() {
			value, err := ask(ctx, b)
			answers <- answer{value, err}
		}()
	}
	defer cancel()
	var (
		found T
		good  bool
		worst error
	)
	for range brokers { // all are waited for: cancel cuts short who is late
		a := <-answers
		switch {
		case a.err == nil && !good:
			found, good = a.value, true
			cancel()
		case a.err != nil && !good && (worst == nil || rank(a.err) > rank(worst)):
			worst = a.err
		}
	}
	if good {
		return found, nil
	}
	return found, worst
}

// classify names a failure to reach the source in the contract's words, by
// the types of the errors in its chain.
func classify(err error) string {
	var (
		dns     *net.DNSError
		login   *loginError
		cert    *tls.CertificateVerificationError
		alert   tls.AlertError
		closed  *kgo.ErrFirstReadEOF
		network net.Error
	)
	switch {
	case err == nil:
		return api.LinkErrorNone
	case errors.As(err, &login), errors.As(err, &cert), errors.As(err, &alert), refusedByTLS(err),
		errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism),
		errors.Is(err, kerr.IllegalSaslState), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return api.LinkErrorAuthentication
	case errors.As(err, &closed):
		// The source hung up at the first word: it wants TLS or SASL where the
		// link has none, or the other way round.
		return api.LinkErrorAuthentication
	case errors.As(err, &dns):
		return api.LinkErrorUnresolvable
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return api.LinkErrorTimeout
	default:
		return api.LinkErrorTCP
	}
}

// refusedByTLS: the source ended the handshake by an alert, as it does when it
// wants a client certificate that it has not seen, or does not trust. The alert's
// own type is not exported by crypto/tls.
func refusedByTLS(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// rank orders errors of several servers by how much they tell.
func rank(err error) int {
	switch classify(err) {
	case api.LinkErrorAuthentication:
		return 3
	case api.LinkErrorTCP:
		return 2
	case api.LinkErrorTimeout:
		return 1
	default:
		return 0
	}
}

// cure says what to look at.
func cure(err error) string {
	var (
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
		closed *kgo.ErrFirstReadEOF
	)
	switch {
	case errors.As(err, &cert):
		return "; check ssl.truststore.certificates and that bootstrap.servers has the names of the certificate"
	case refusedByTLS(err):
		return "; the source does not take this link's certificate, or wants one: check ssl.keystore.certificate.chain and ssl.keystore.key, and what the listener of this port trusts"
	case errors.As(err, &record):
		return "; the source does not speak TLS on this port: check security.protocol and the port"
	case errors.As(err, &closed):
		return "; the source closed the connection at once: check security.protocol against the listener of this port"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "; check sasl.mechanism against sasl.enabled.mechanisms of the source"
	}
	switch classify(err) {
	case api.LinkErrorAuthentication:
		return "; check sasl.mechanism and sasl.jaas.config"
	case api.LinkErrorUnresolvable:
		return "; check the host names, and the name service of the engine's host"
	case api.LinkErrorTimeout:
		return "; the source does not answer: check address, port and firewalls"
	default:
		return "; check address and port, and that the source is up"
	}
}
