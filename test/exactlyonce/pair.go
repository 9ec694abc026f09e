package exactlyonce

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Admin is the super user of both clusters.
var Admin = local.User{Name: "admin", Password: "admin-secret"}

// Pair is what seeds are played on, one after the other, each with topics, a
// link and a state topic of its own.
type Pair struct {
	Source, Dest *local.Kafka
	Dir          string
}

// follower is the destination's broker (counted from 0) that KillAtStall stalls.
// The engines' state has no replica there, or no engine could start meanwhile.
const follower = 0

// stateBrokers (ids, from 1) have the state's replicas.
var stateBrokers = []int32{2, 3}

// Start starts both clusters: Apache Kafka, three brokers each, replication
// factor 3, min.insync.replicas 2. End them with Stop.
func Start(ctx context.Context, dir string) (*Pair, error) {
	p := &Pair{Dir: dir}
	properties := func(remembered time.Duration) map[string]string {
		return map[string]string{
			// Cleaners look often, so that there is something to compact for them.
			"log.cleaner.backoff.ms": "200",
			// How long producers are known from their records' time on, and how often
			// that is looked at.
			"producer.id.expiration.ms": fmt.Sprint(remembered.Milliseconds()), "producer.id.expiration.check.interval.ms": "500",
			// How long a stalled follower counts as in sync.
			"replica.lag.time.max.ms": "60000",
		}
	}
	var group errgroup.Group
	for _, c := range []struct {
		into   **local.Kafka
		config local.KafkaConfig
	}{
		// The source knows the producers of week-old records too: what it doubled by
		// itself when a broker dies would not be the mirror's fault.
		{&p.Source, local.KafkaConfig{Name: "east", Properties: properties(3 * old)}},
		// The destination forgets them soon, as after a day and a ten minutes' sweep;
		// those of new records it does not.
		{&p.Dest, local.KafkaConfig{Name: "west", Proxied: true, ProxiedReplication: true, Properties: properties(time.Hour)}},
	} {
		group.Go(func() error {
			c.config.Kind, c.config.Dir, c.config.Brokers = local.Apache, filepath.Join(dir, c.config.Name), 3
			c.config.SuperUser = Admin
			k, err := local.StartKafka(ctx, c.config)
			if err != nil {
				return fmt.Errorf("%s: %w", c.config.Name, err)
			}
			*c.into = k
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// Stop ends the clusters.
func (p *Pair) Stop() error {
	var errs []error
	for _, k := range []*local.Kafka{p.Source, p.Dest} {
		if k != nil {
			errs = append(errs, k.Stop())
		}
	}
	return errors.Join(errs...)
}
