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
// became of the run. Old values by topic and config, null where the topic had none.
type heldNote struct {
	OpID   string                        `json:"op_id"`
	Site   string                        `json:"site"`
	Since  time.Time                     `json:"since"`
	Topics map[string]map[string]*string `json:"topics"`

	index uint64 // ModifyIndex, 0 without a key
}

// heldPrefix leads to the notes of a pair; the site's name follows.
func heldPrefix(pair string) string { return "drawbridge/" + pair + "/retention/" }

// notedIn reads a key as a note; one that is damaged is not lost sight of.
func notedIn(pair string, kv *consul.KVPair) (heldNote, bool) {
	site, ok := strings.CutPrefix(kv.Key, heldPrefix(pair))
	if !ok || site == "" {
		return heldNote{}, false
	}
	n := heldNote{index: kv.ModifyIndex}
	if err := json.Unmarshal(kv.Value, &n); err != nil {
		n.OpID = "unknown"
	}
	n.Site = site
	return n, true
}

func (n heldNote) line() runbook.HeldRetention {
	return runbook.HeldRetention{Site: n.Site, OpID: n.OpID, Since: n.Since, Topics: len(n.Topics)}
}

// held is all of it, in the order of topics.
func (n heldNote) held() []workflows.HeldConfig {
	out := []workflows.HeldConfig{}
	for _, t := range slices.Sorted(maps.Keys(n.Topics)) {
		for _, h := range held {
			if old, ok := n.Topics[t][h.name]; ok {
				out = append(out, workflows.HeldConfig{Topic: t, Name: h.name, Old: old})
			}
		}
	}
	return out
}

// noted reads the note on a hold at site; without one it is empty.
func (a *Activities) noted(ctx context.Context, pair, site string, at runbook.Site) (heldNote, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	c, token, err := a.consul(at)
	if err != nil {
		return heldNote{}, err
	}
	opts := &consul.QueryOptions{RequireConsistent: true, Token: token}
	kv, _, err := c.KV().Get(heldPrefix(pair)+site, opts.WithContext(ctx))
	if err != nil {
		return heldNote{}, fmt.Errorf("read what is held at site %s in the consul of %s: %w", site, at.Name, err)
	}
	if kv == nil {
		return heldNote{Site: site}, nil
	}
	n, _ := notedIn(pair, kv)
	if n.Topics == nil {
		return n, refuse(workflows.ErrRefused, "key %s in the consul of %s is no note of what retention was held: put the topics' retention at site %s back by hand, then delete the key", kv.Key, at.Name, site)
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
	next := heldNote{OpID: in.Call.OperationID, Site: in.Site.Name, Since: n.Since, Topics: map[string]map[string]*string{}, index: n.index}
	for _, h := range slices.Concat(n.held(), found) {
		if next.Topics[h.Topic] == nil {
			next.Topics[h.Topic] = map[string]*string{}
		}
		next.Topics[h.Topic][h.Name] = h.Old
	}
	if next.Since.IsZero() {
		next.Since = time.Now().UTC()
	}
	if !in.LookOnly && len(next.Topics) > 0 {
		err = a.putNote(ctx, in.Call.Pair, next, in.RegisterAt)
	}
	return next.held(), err
}

// strikeHeld takes out of the note what was put back; the last takes the key with it.
func (a *Activities) strikeHeld(ctx context.Context, in workflows.PutBackRetentionInput) error {
	n, err := a.noted(ctx, in.Call.Pair, in.Site.Name, in.RegisterAt)
	if err != nil || n.index == 0 {
		return err
	}
	for _, h := range in.Held {
		delete(n.Topics[h.Topic], h.Name)
		if len(n.Topics[h.Topic]) == 0 {
			delete(n.Topics, h.Topic)
		}
	}
	return a.putNote(ctx, in.Call.Pair, n, in.RegisterAt)
}

// putNote writes the note, or deletes an empty one, over what was read and nothing else.
func (a *Activities) putNote(ctx context.Context, pair string, n heldNote, at runbook.Site) error {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	c, token, err := a.consul(at)
	if err != nil {
		return err
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	kv := &consul.KVPair{Key: heldPrefix(pair) + n.Site, Value: body, ModifyIndex: n.index}
	opts := (&consul.WriteOptions{Token: token}).WithContext(ctx)
	put := c.KV().CAS
	if len(n.Topics) == 0 {
		put = c.KV().DeleteCAS
	}
	ok, _, err := put(kv, opts)
	if err != nil {
		return fmt.Errorf("write down what is held at site %s in the consul of %s: %w", n.Site, at.Name, err)
	}
	if !ok {
		return notYet("key %s in the consul of %s changed while it was written; look again", kv.Key, at.Name)
	}
	return nil
}
