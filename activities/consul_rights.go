package activities

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/client/record"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// neverIndex is no key's ModifyIndex: it is that of a Raft log's very first entry, which
// is not a key's. A write that wants it is judged by the token's rights, and then finds
// that the key is another, or is none.
const neverIndex = 1

// consul finds out whether the token may read and write what runs will.
func (c check) consul(ctx context.Context, pair string, sites []runbook.Site) {
	have, err := c.a.read(ctx, pair, c.site)
	if err != nil {
		c.find(true, fmt.Sprintf("see consul.address and consul.token_file of the plan; the token needs key_prefix \"drawbridge/%s/\" read, and write as in deploy/consul/worker.hcl", pair), "consul cannot be read: %v", err)
		return
	}
	keys := record.KeysOf(pair)
	for _, k := range []struct{ key, value string }{
		{keys.Active, string(have.body)}, {keys.Bootstrap, have.plain[0]}, {keys.Security, have.plain[1]},
	} {
		c.writes(ctx, true, k.key, k.value, fmt.Sprintf("key %q", k.key), "no run can lock or move the pair")
	}
	for _, s := range sites {
		if s.Name != c.site.Name { // whose hold is noted here
			c.writes(ctx, false, heldPrefix(pair)+s.Name, "", fmt.Sprintf("key_prefix %q", heldPrefix(pair)), "a recovery stops before it holds retention at "+s.Name)
		}
	}
}

// writes tries to write a key where it cannot come to a write. The value is what stands
// there, so that not even that would change anything.
func (c check) writes(ctx context.Context, blocker bool, key, value, rule, means string) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	client, token, err := c.a.consul(c.site)
	if err == nil {
		_, _, err = client.KV().CAS(&consul.KVPair{Key: key, Value: []byte(value), ModifyIndex: neverIndex}, (&consul.WriteOptions{Token: token}).WithContext(ctx))
	}
	var status consul.StatusError
	switch {
	case err == nil:
	case errors.As(err, &status) && status.Code == http.StatusForbidden:
		c.find(blocker, fmt.Sprintf("allow the token: %s { policy = \"write\" }, as in deploy/consul/worker.hcl", rule), "the token of consul may not write key %s: %s", key, means)
	default:
		c.find(blocker, "look at consul; it may have no leader", "whether key %s may be written in consul is not known: %v", key, err)
	}
}
