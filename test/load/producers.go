package load

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/drawbridge-dr/drawbridge/test/local"
)

// Producers are idempotent producers of a cluster, one per codec; many writers
// may share them. They go round the cluster's proxies.
type Producers struct {
	kafka *local.Kafka
	user  local.User
	plain []*kgo.Client
}

func codecs() []kgo.CompressionCodec {
	return []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
}

// NewProducers makes the clients; end them with Close.
func NewProducers(k *local.Kafka, user local.User) (*Producers, error) {
	p := &Producers{kafka: k, user: user}
	for _, codec := range codecs() {
		cl, err := p.client(kgo.ProducerBatchCompression(codec))
		if err != nil {
			p.Close()
			return nil, err
		}
		p.plain = append(p.plain, cl)
	}
	return p, nil
}

func (p *Producers) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(append(p.kafka.DirectOptions(p.user), kgo.RecordPartitioner(kgo.ManualPartitioner())), opts...)...)
}

// Close ends the clients.
func (p *Producers) Close() {
	for _, cl := range p.plain {
		cl.Close()
	}
}
