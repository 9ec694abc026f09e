package state

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// ownerEvery is how often an owner looks whether it still is one.
const ownerEvery = 2 * time.Second

// stamp is the producer id and epoch of a shard's transactional id as its owner
// knows them; nil while a transaction is under way, which may change them.
type stamp struct {
	id    int64
	epoch int16
}

// note keeps the stamp; called by the shard's writer alone.
func (s *shard) note(ctx context.Context) {
	id, epoch, err := s.client.ProducerID(ctx)
	if err != nil {
		return // no stamp, no look: the next write tells
	}
	s.stamp.Store(&stamp{id, epoch})
}

// watchOwner looks at shard 0's transactional id until ctx ends, and tells lost
// when another engine has it. Writes tell as well, but an engine that was frozen
// while another one took over may have nothing to write for long, and would go
// on moving what is not guarded by a write: group offsets, topic configs.
//
// It only looks, and what cannot be asked is not lost. Twice in a row, since an
// ending transaction shows the coordinator's next epoch for a moment.
func (s *Store) watchOwner(ctx context.Context) {
	sh := s.shards[0]
	adm := kadm.NewClient(sh.client)
	id := transactionalID(s.opts.ClusterID, sh.n)
	tick := time.NewTicker(ownerEvery)
	defer tick.Stop()
	var doubt *stamp
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		own := sh.stamp.Load()
		if own == nil {
			continue
		}
		res, err := adm.DescribeTransactions(ctx, id)
		now, ok := res[id]
		if err != nil || !ok || now.Err != nil || sh.stamp.Load() != own {
			continue
		}
		switch {
		case now.ProducerID == own.id && now.ProducerEpoch <= own.epoch:
			doubt = nil
		case doubt != own:
			doubt = own
		default:
			s.lost <- fmt.Errorf("%w: shard %d belongs to producer %d epoch %d, this engine is %d epoch %d",
				ErrFenced, sh.n, now.ProducerID, now.ProducerEpoch, own.id, own.epoch)
			return
		}
	}
}

// Lost tells, once, that another engine has taken the state over.
func (s *Store) Lost() <-chan error { return s.lost }

func transactionalID(cluster string, shard int32) string {
	return fmt.Sprintf("drawbridge-%s-%d", cluster, shard)
}
