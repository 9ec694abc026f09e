// Package cluster reads the engine's local Kafka cluster as the REST contract
// shows it: topics, their partitions and configs, consumer groups and their lag.
//
// It changes nothing, keeps nothing and knows no link; each call asks the brokers.
// What the engine's principal may not describe, a broker hides or refuses. Start
// at Reader.
package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// requestTimeout bounds one request to a broker; callBudget bounds a whole call,
// which may ask every broker and ask again.
const (
	requestTimeout = 10 * time.Second
	callBudget     = 30 * time.Second
)

// cacheAge is how old the client's metadata may be, by which it finds leaders.
const cacheAge = 250 * time.Millisecond

// Reader reads one cluster. Its connections are its own: a dashboard that asks
// for every group does not stand in the way of the engine's own requests.
type Reader struct {
	client *kgo.Client
	adm    *kadm.Client
}

// New makes a Reader; it connects when it is first asked. name is the site's,
// part of the client id.
func New(local []kgo.Opt, name string) (*Reader, error) {
	client, err := kgo.NewClient(append(slices.Clone(local),
		kgo.ClientID("drawbridge-reader-"+name),
		kgo.MetadataMinAge(cacheAge),
		kgo.RequestTimeoutOverhead(requestTimeout), kgo.DialTimeout(requestTimeout), kgo.RetryTimeout(requestTimeout))...)
	if err != nil {
		return nil, fmt.Errorf("reader of the local cluster: %w", err)
	}
	return &Reader{client: client, adm: kadm.NewClient(client)}, nil
}

// Close lets the connections go.
func (r *Reader) Close() { r.client.Close() }

// bounded gives a call its time.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callBudget)
}
