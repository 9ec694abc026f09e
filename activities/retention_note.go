package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/drawbridge-dr/drawbridge/workflows"
	"github.com/drawbridge-dr/drawbridge/workflows/runbook"
)

// heldNote is what stands in a Consul of a hold on retention at a site, from before
// its first change until it is put back: whoever finds it can undo the hold, whatever
// became of the run. It has as many parts as Consul's bound on a value asks for. A topic
// stays in its part, so that no write of one can lose what another was about to take.
type heldNote struct {
	site  string
	parts []*heldPart
}

// heldPart is one key. Old values by topic and config, null where the topic had none.
type heldPart struct {
	OpID   string                        `json:"op_id"`
	Site   string                        `json:"site"`
	Since  time.Time                     `json:"since"`
	Topics map[string]map[string]*string `json:"topics"`

	key   string
	index uint64 // ModifyIndex, 0 without a key
	size  int    // of its value, in bytes, at most
}

// partRoom is how large a part may be to take another topic, in bytes. Values of topics that are in it
// already come on top; with them it stays well below what Consul takes
// (kv_max_value_size, 512 KiB if nobody changed it).
const partRoom = 128 << 10

// heldPrefix leads to the notes of a pair; the site's name follows, and behind a slash
// the number of a further part.
func heldPrefix(pair string) string { return "drawbridge/" + pair + "/retention/" }

// notedIn reads a key as a part of a note; one that is damaged is not lost sight of.
func notedIn(pair string, kv *consul.KVPair) (*heldPart, bool) {
	site, ok := strings.CutPrefix(kv.Key, heldPrefix(pair))
	if site, _, _ = strings.Cut(site, "/"); !ok || site == "" {
		return nil, false
	}
	p := &heldPart{key: kv.Key, index: kv.ModifyIndex, size: len(kv.Value)}
	if err := json.Unmarshal(kv.Value, p); err != nil {
		p.OpID, p.Topics = "unknown", nil
	}
	p.Site = site
	return p, true
}

// heldLines is what parts tell, a line per site.
func heldLines(parts []*heldPart) []runbook.HeldRetention {
	var out []runbook.HeldRetention
	for _, p := range parts {
		i := slices.IndexFunc(out, func(h runbook.HeldRetention) bool { return h.Site == p.Site })
		if i < 0 {
			out = append(out, runbook.HeldRetention{Site: p.Site, OpID: p.OpID, Since: p.Since, Topics: len(p.Topics)})
			continue
		}
		out[i].Topics += len(p.Topics)
		if p.Topics == nil {
			out[i].OpID = p.OpID
		}
		if p.Since.Before(out[i].Since) {
			out[i].Since = p.Since
		}
	}
	return out
}

// held is all of it, in the order of topics.
func (n heldNote) held() []workflows.HeldConfig {
	all := map[string]map[string]*string{}
	for _, p := range n.parts {
		maps.Copy(all, p.Topics)
	}
	out := []workflows.HeldConfig{}
	for _, t := range slices.Sorted(maps.Keys(all)) {
		for _, h := range held {
			if old, ok := all[t][h.name]; ok {
				out = append(out, workflows.HeldConfig{Topic: t, Name: h.name, Old: old})
			}
		}
	}
	return out
}

// part is where a topic is noted, or has room for size bytes more: a new one if need be.
func (n *heldNote) part(pair, topic string, size int) *heldPart {
	for _, p := range n.parts {
		if p.Topics[topic] != nil {
			return p
		}
	}
	for _, p := range n.parts {
		if p.size+size <= partRoom {
			return p
		}
	}
	key := heldPrefix(pair) + n.site
	for i := 1; slices.ContainsFunc(n.parts, func(p *heldPart) bool { return p.key == key }); i++ {
		key = fmt.Sprintf("%s%s/%d", heldPrefix(pair), n.site, i)
	}
	p := &heldPart{Site: n.site, Topics: map[string]map[string]*string{}, key: key, size: 1 << 10} // with its head
	n.parts = append(n.parts, p)
	return p
}

// add notes a value, over what is noted of it.
func (n *heldNote) add(pair string, h workflows.HeldConfig) {
	size := len(h.Topic) + len(h.Name) + 32
	if h.Old != nil {
		size += 2 * len(*h.Old)
	}
	p := n.part(pair, h.Topic, size)
	if p.Topics[h.Topic] == nil {
		p.Topics[h.Topic] = map[string]*string{}
	}
	p.Topics[h.Topic][h.Name] = h.Old
	p.size += size
}

// noted reads the note on a hold at site; without one it is empty.
func (a *Activities) noted(ctx context.Context, pair, site string, at runbook.Site) (heldNote, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	n := heldNote{site: site}
	c, token, err := a.consul(at)
	if err != nil {
		return n, err
	}
	opts := &consul.QueryOptions{RequireConsistent: true, Token: token}
	list, _, err := c.KV().List(heldPrefix(pair)+site, opts.WithContext(ctx))
	if err != nil {
		return n, fmt.Errorf("read what is held at site %s in the consul of %s: %w", site, at.Name, err)
	}
	for _, kv := range list {
		p, ok := notedIn(pair, kv)
		if !ok || p.Site != site { // a site whose name is longer
			continue
		}
		if p.Topics == nil {
			return n, refuse(workflows.ErrRefused, "key %s in the consul of %s is no note of what retention was held: put the topics' retention at site %s back by hand, then delete the key", kv.Key, at.Name, site)
		}
		n.parts = append(n.parts, p)
	}
	return n, nil
}

// noteHeld joins what a hold has found with what is written down, and writes that down
// before anything is changed. Found rules: it stands there now. What was not found is
// the hold's own value already, so that only the note knows what was there before.
func (a *Activities) noteHeld(ctx context.Context, in workflows.HoldRetentionInput, found []workflows.HeldConfig) ([]workflows.HeldConfig, error) {
	n, err := a.noted(ctx, in.Call.Pair, in.Site.Name, in.RegisterAt)
	if err != nil {
		return found, err
	}
	for _, h := range found {
		n.add(in.Call.Pair, h)
	}
	for _, p := range n.parts {
		if p.OpID = in.Call.OperationID; p.Since.IsZero() {
			p.Since = time.Now().UTC()
		}
	}
	if !in.LookOnly {
		err = a.putNote(ctx, n, in.RegisterAt)
	}
	return n.held(), err
}

// strikeHeld takes out of the note what was put back; the last of a part takes its key with it.
func (a *Activities) strikeHeld(ctx context.Context, in workflows.PutBackRetentionInput) error {
	n, err := a.noted(ctx, in.Call.Pair, in.Site.Name, in.RegisterAt)
	if err != nil {
		return err
	}
	for _, p := range n.parts {
		for _, h := range in.Held {
			delete(p.Topics[h.Topic], h.Name)
			if len(p.Topics[h.Topic]) == 0 {
				delete(p.Topics, h.Topic)
			}
		}
	}
	return a.putNote(ctx, n, in.RegisterAt)
}

// putNote writes the parts, or deletes empty ones, over what was read and nothing else.
func (a *Activities) putNote(ctx context.Context, n heldNote, at runbook.Site) error {
	c, token, err := a.consul(at)
	if err != nil {
		return err
	}
	for _, p := range n.parts {
		if err := a.putPart(ctx, c.KV(), token, p, at); err != nil {
			return err
		}
	}
	return nil
}

func (a *Activities) putPart(ctx context.Context, to *consul.KV, token string, p *heldPart, at runbook.Site) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	kv := &consul.KVPair{Key: p.key, Value: body, ModifyIndex: p.index}
	opts := (&consul.WriteOptions{Token: token}).WithContext(ctx)
	put := to.CAS
	if len(p.Topics) == 0 {
		put = to.DeleteCAS
	}
	ok, _, err := put(kv, opts)
	if err != nil {
		return fmt.Errorf("write down what is held at site %s (%d topics, %d bytes) in the consul of %s: %w", p.Site, len(p.Topics), len(body), at.Name, err)
	}
	if !ok {
		return notYet("key %s in the consul of %s changed while it was written; look again", p.key, at.Name)
	}
	return nil
}
