package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/drawbridge-dr/drawbridge/mirrorengine/wire"
)

// requestTimeout bounds every single request to a broker; a connection that is
// held beyond it counts as lost.
const requestTimeout = 10 * time.Second

// answerTimeout is how long one broker of the local cluster may keep a request
// that any of them could answer, beyond the request's own wait.
const answerTimeout = 4 * time.Second

// cluster is one side of a link: a client, what it knows of the topics' leaders,
// and how to make connections of our own to these, for the record path.
type cluster struct {
	client *kgo.Client
	adm    *kadm.Client
	wire   wire.Options
	// unknown asks for topics that are not known yet.
	unknown gather[string, struct{}]
	// epochs asks where leader epochs ended.
	epochs byLeader[epochAt, epochEnd]

	mu      sync.RWMutex // guards what follows
	topics  map[string]topicMeta
	brokers map[int32]string // host:port by id
	contact time.Time        // last answer of any broker
}

// awayTimeout bounds the look at one broker.
const awayTimeout = 2 * time.Second

// away tries to get into each broker that is known, by a connection of its own,
// and tells why it came into none; nil if it came into one.
func (c *cluster) away(ctx context.Context) error {
	addrs := map[string]bool{}
	seeds, _ := c.client.OptValue(kgo.SeedBrokers).([]string)
	for _, s := range seeds {
		addrs[s] = true
	}
	c.mu.RLock()
	for _, a := range c.brokers {
		addrs[a] = true
	}
	c.mu.RUnlock()
	opts := c.wire
	opts.DialTimeout = min(opts.DialTimeout, awayTimeout)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	got := make(chan error, len(addrs))
	for a := range addrs {
		go func() {
			conn, err := wire.Dial(ctx, a, opts)
			if err == nil {
				conn.Close()
			}
			got <- err
		}()
	}
	var errs []error
	for range addrs {
		err := <-got
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// buffers lends the memory of all answers on the record path.
var buffers wire.Pool

type topicMeta struct {
	id      [16]byte
	leaders []int32
	err     error
}

// topicPartition names a partition on one side.
type topicPartition struct {
	topic     string
	partition int32
}

func newCluster(client *kgo.Client) *cluster {
	c := &cluster{client: client, adm: kadm.NewClient(client), wire: wireOptions(client), topics: map[string]topicMeta{}}
	c.unknown.ask, c.epochs.ask = c.refreshEach, c.epochEnds
	return c
}

// wireOptions make connections of our own like those of a client.
func wireOptions(client *kgo.Client) wire.Options {
	o := wire.Options{Timeout: requestTimeout, MaxFrame: maxAnswer, Pool: &buffers}
	o.ClientID, _ = client.OptValue(kgo.ClientID).(string)
	o.Dial, _ = client.OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	o.SASL, _ = client.OptValue(kgo.SASL).([]sasl.Mechanism)
	o.DialTimeout, _ = client.OptValue(kgo.DialTimeout).(time.Duration)
	o.DialTimeout = min(o.DialTimeout, requestTimeout)
	if software := client.OptValues(kgo.SoftwareNameAndVersion); len(software) == 2 {
		o.Software, _ = software[0].(string)
		o.SoftwareVersion, _ = software[1].(string)
	}
	return o
}

// maxAnswer bounds a broker's answer in bytes, beyond what was asked for: a broker
// answers with one batch at least, and takes none that is larger (its
// socket.request.max.bytes).
const maxAnswer = 100 << 20

// metadata is what some broker says of the topics now, and of no others.
func (c *cluster) metadata(ctx context.Context, topics ...string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = false
	for _, t := range topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(t)
		req.Topics = append(req.Topics, rt)
	}
	if len(topics) == 0 {
		req.Topics = []kmsg.MetadataRequestTopic{}
	}
	res, err := await(ctx, func() (*kmsg.MetadataResponse, error) { return req.RequestWith(ctx, c.client) })
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	c.touch()
	return res, nil
}

// refresh asks for the topics' ids and leaders.
func (c *cluster) refresh(ctx context.Context, topics ...string) error {
	res, err := c.metadata(ctx, topics...)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(res.Brokers) > 0 {
		c.brokers = make(map[int32]string, len(res.Brokers))
		for _, b := range res.Brokers {
			c.brokers[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		}
	}
	for _, t := range res.Topics {
		if t.Topic == nil {
			continue
		}
		m := topicMeta{id: t.TopicID, err: kerr.ErrorForCode(t.ErrorCode), leaders: make([]int32, len(t.Partitions))}
		for _, p := range t.Partitions {
			if int(p.Partition) < len(m.leaders) {
				m.leaders[p.Partition] = p.Leader
			}
		}
		c.topics[*t.Topic] = m
	}
	return nil
}

func (c *cluster) touch() {
	c.mu.Lock()
	c.contact = time.Now()
	c.mu.Unlock()
}

func (c *cluster) lastContact() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.contact
}

func (c *cluster) topic(name string) (topicMeta, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	m, ok := c.topics[name]
	return m, ok
}

// leader finds the partition's leader, asking once when it is not known.
func (c *cluster) leader(ctx context.Context, topic string, partition int32) (int32, [16]byte, error) {
	for asked := false; ; asked = true {
		m, ok := c.topic(topic)
		switch {
		case ok && m.err == nil && int(partition) < len(m.leaders) && m.leaders[partition] >= 0:
			return m.leaders[partition], m.id, nil
		case asked && ok && m.err != nil:
			return 0, m.id, fmt.Errorf("topic %s: %w", topic, m.err)
		case asked:
			return 0, m.id, fmt.Errorf("topic %s partition %d has no leader: %w", topic, partition, kerr.LeaderNotAvailable)
		}
		if _, err := c.unknown.one(ctx, topic); err != nil {
			return 0, m.id, err
		}
	}
}

// address is a broker's host:port, asked for once when it is not known.
func (c *cluster) address(ctx context.Context, broker int32) (string, error) {
	for asked := false; ; asked = true {
		c.mu.RLock()
		addr, ok := c.brokers[broker]
		c.mu.RUnlock()
		if ok {
			return addr, nil
		}
		if asked {
			return "", fmt.Errorf("the cluster's metadata have no broker %d: it is down, or was removed", broker)
		}
		if err := c.refresh(ctx); err != nil {
			return "", err
		}
	}
}

// forget drops what is known of a topic, so that the next use asks again.
func (c *cluster) forget(topic string) {
	c.mu.Lock()
	delete(c.topics, topic)
	c.mu.Unlock()
}

// await is f's answer, or ctx's error as soon as ctx ends. A kgo.Client's own
// requests (and all of kadm) do not come back with their ctx: one that makes a
// connection, or waits on one that has gone silent, holds on for the client's
// time-outs, half a minute and more. An end of a mirror must not wait for that.
// f goes on alone until then, or until its client is closed.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	out := make(chan answer, 1)
	go func() {
		value, err := f()
		out <- answer{value, err}
	}()
	select {
	case a := <-out:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// request sends to one broker and notes the contact.
func request[R kmsg.Response](ctx context.Context, c *cluster, broker int32, req kmsg.Request) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var zero R
	res, err := c.client.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		return zero, err
	}
	c.touch()
	return res.(R), nil
}

// stableOffset is the source's last stable offset: a transaction is open from
// there on if it lies before the high watermark.
func (c *cluster) stableOffset(ctx context.Context, topic string, partition int32) (int64, error) {
	res, err := await(ctx, func() (kadm.ListedOffsets, error) { return c.adm.ListCommittedOffsets(ctx, topic) })
	if err != nil {
		return 0, err
	}
	o, ok := res.Lookup(topic, partition)
	if !ok {
		return 0, fmt.Errorf("topic %s has no partition %d", topic, partition)
	}
	return o.Offset, o.Err
}
