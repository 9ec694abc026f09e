package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// What replicas of one engine say to each other, under PathReplica. The token is
// the callers' own; nobody else has a use for these calls.

// PathReplica is where a replica answers for itself; every other call of the API
// is answered by the replica that leads, whichever was asked.
const PathReplica = PrefixDrawbridge + "/replica"

// HeaderOnBehalf names the role and the caller for whom a replica passes a call on,
// whom it knows by a certificate. It counts beside an admin's token only.
const HeaderOnBehalf = "Drawbridge-On-Behalf"

// HeaderForwarded marks a call that another replica has passed on.
const HeaderForwarded = "Drawbridge-Forwarded"

// Replica is one replica of the engine, by what it took over last; it may have
// died since.
type Replica struct {
	Address string  `json:"address"`
	Shards  []int32 `json:"shards"`
	// Leading: it owns shard 0, and answers for links and mirrors.
	Leading bool `json:"leading"`
}

// ShardPut is what the leader wants written to a shard of another replica. Term
// numbers the leader's takeover: one of an older term is refused.
type ShardPut struct {
	Term    int64        `json:"term"`
	Entries []ShardEntry `json:"entries"`
}

// ShardEntry is one key of the state; no value removes it.
type ShardEntry struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value,omitempty"`
}

// ShardRead is the offset up to which the shard must be read to see a ShardPut
// and all before it.
type ShardRead struct {
	Offset int64 `json:"offset"`
}

// ReplicaPartitions is where the partitions stand that a replica mirrors.
type ReplicaPartitions struct {
	Address    string             `json:"address"`
	Partitions []ReplicaPartition `json:"partitions"`
}

// ReplicaPartition is one of them. Source and Dest are its position, if Known;
// Segments and Segment (the last one's destination start) name the map by which it
// was reached.
type ReplicaPartition struct {
	Link          string `json:"link"`
	Topic         string `json:"topic"`
	TopicID       string `json:"topic_id"`
	Partition     int32  `json:"partition"`
	Known         bool   `json:"known"`
	Source        int64  `json:"source"`
	Dest          int64  `json:"dest"`
	Markers       int64  `json:"markers"`
	Segments      int    `json:"segments"`
	Segment       int64  `json:"segment"`
	HighWatermark int64  `json:"high_watermark"`
	Stalled       string `json:"stalled,omitempty"`
	FailureCode   string `json:"failure_code,omitempty"`
	Failure       string `json:"failure,omitempty"`
}

// ReplicaURL is the base URL of a replica by its address: host:port, or a URL
// where replicas reach one another through a TLS proxy.
func ReplicaURL(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	return "http://" + address
}

// Healthy answers nil while the process answers.
func (c *Client) Healthy(ctx context.Context) error {
	return c.do(ctx, http.MethodGet, PathHealth, nil, nil, nil)
}

// PutShard writes to a shard that the replica owns.
func (c *Client) PutShard(ctx context.Context, shard int32, put ShardPut) (ShardRead, error) {
	var out ShardRead
	err := c.do(ctx, http.MethodPost, PathReplica+"/shards/"+strconv.Itoa(int(shard)), nil, put, &out)
	return out, err
}

// ReplicaPartitions tells where the replica's partitions stand.
func (c *Client) ReplicaPartitions(ctx context.Context) (ReplicaPartitions, error) {
	var out ReplicaPartitions
	err := c.do(ctx, http.MethodGet, PathReplica+"/partitions", nil, nil, &out)
	return out, err
}
